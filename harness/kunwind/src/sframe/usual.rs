//! The usual section, looked up in one go: version 3, little endian, sorted, its starts relative to their own fields, its rows default
//! ones. Whatever is not usual or not sound, in the section, a function or a row, is left to the general code, which says what is
//! wrong. `tests/sframe/property.rs` holds both equal.

use super::format::{FDE_ATTRIBUTE_SIZE, FDE_V3_SIZE, Version};
use super::header::Header;
use super::search::last_at_or_before;
use crate::regs::Register;
use crate::row::{CfaRule, Entry, Rule, UnwindRow};

/// Distances from a section that are below this can be added to those inside of it. No code is farther away.
const FAR: i64 = 1 << 62;

/// What a lookup needs of the header of a usual section, prepared once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    address: u64,
    /// Where the index and the rows begin and end, in bytes from the start of the section.
    index: (usize, usize),
    rows: (usize, usize),
    sp: Register,
    fp: Register,
    has_pauth: bool,
    /// The header's rules; none where the rows give them.
    fixed_ra: Option<Rule>,
    fixed_fp: Option<Rule>,
}

/// A row's info byte and its words.
type Row<'a> = (u8, &'a [u8]);

impl Usual {
    /// Prepares the section with this header, if it is a usual one.
    pub(super) fn of(header: &Header, address: u64) -> Option<Self> {
        let is_usual = header.version == Version::V3
            && !header.is_big_endian
            && header.is_sorted()
            && header.is_pcrel()
            // Words are offsets as they stand, and none of them means something else.
            && header.abi.cfa_offset(0) == 0
            && !header.abi.pads_ra();
        // The mutants are planted in the general code.
        if !is_usual || cfg!(feature = "mutants") {
            return None;
        }
        let offset = |offset: u64| usize::try_from(offset).ok();
        let fixed = |offset: i8| (offset != 0).then_some(Rule::CfaOffsetDeref(offset.into()));
        Some(Self {
            address,
            index: (offset(header.index_start())?, offset(header.index_end())?),
            rows: (offset(header.rows_start())?, offset(header.rows_end())?),
            sp: header.abi.sp(),
            fp: header.abi.fp(),
            has_pauth: header.abi.has_pauth(),
            fixed_ra: fixed(header.fixed_ra_offset),
            fixed_fp: fixed(header.fixed_fp_offset),
        })
    }

    /// What [`SFrameSection::lookup`](super::SFrameSection::lookup) says of a pc; none if the general code has to be asked.
    #[inline]
    pub(super) fn lookup(&self, section: &[u8], pc: u64) -> Option<Option<Entry>> {
        let Some((key, fre_offset)) = self.function(section, pc)? else { return Some(None) };
        let function = section.get(self.rows.0..self.rows.1)?.get(fre_offset as usize..)?;
        let (attribute, rows) = function.split_first_chunk::<FDE_ATTRIBUTE_SIZE>()?;
        let [count_low, count_high, info, info2, _] = *attribute;
        // Bit 4: the rows are those of a block that repeats. Low bits of the second byte: their words are not default ones.
        if info & 0x10 != 0 || info2 & 0x1f != 0 {
            return None;
        }
        let count = u16::from_le_bytes([count_low, count_high]);
        let row = match info & 0xf {
            0 => row_at::<1>(rows, count, key)?,
            1 => row_at::<2>(rows, count, key)?,
            2 => row_at::<4>(rows, count, key)?,
            _ => return None,
        };
        let signal = info & 0x80 != 0;
        row.map_or(Some(Entry::NoRow { signal }), |row| self.entry(row, signal)).map(Some)
    }

    /// The function that holds a pc: how far the pc is from its start, and where its attribute is among the rows.
    #[inline]
    fn function(&self, section: &[u8], pc: u64) -> Option<Option<(u32, u32)>> {
        let (entries, _) = section.get(self.index.0..self.index.1)?.as_chunks::<FDE_V3_SIZE>();
        let at = pc.wrapping_sub(self.address) as i64;
        if (at < 0) != (pc < self.address) || !(-FAR..FAR).contains(&at) {
            return None;
        }
        // How far the pc is from an entry: what the start in it is compared with.
        let from = |entry: usize| at - (self.index.0 + FDE_V3_SIZE * entry) as i64;
        let start = |entry: &[u8; FDE_V3_SIZE]| entry.first_chunk().map_or(0, |start| i64::from_le_bytes(*start));
        let is_at_or_before = |number: usize| entries.get(number).map(|entry| start(entry) <= from(number)).ok_or(());
        let last = last_at_or_before(entries.len(), is_at_or_before).ok()?;
        let entry = entries.get(last)?;
        if start(entry) > from(last) {
            return Some(None);
        }
        let has_twin =
            last > 0 && entries.get(last - 1).is_some_and(|twin| start(twin) == start(entry) + FDE_V3_SIZE as i64);
        let &[.., s0, s1, s2, s3, f0, f1, f2, f3] = entry;
        let (size, fre_offset) = (u32::from_le_bytes([s0, s1, s2, s3]), u32::from_le_bytes([f0, f1, f2, f3]));
        let key = from(last).wrapping_sub(start(entry)) as u64;
        if has_twin || size == 0 {
            return None;
        }
        if key >= size.into() {
            return Some(None);
        }
        // It begins at 0 or later, and ends in 64 bits.
        pc.checked_sub(key)?.checked_add(size.into())?;
        Some(Some((key as u32, fre_offset)))
    }

    fn entry(&self, (info, words): Row<'_>, signal: bool) -> Option<Entry> {
        if info >> 1 & 0xf == 0 {
            return Some(Entry::Outermost);
        }
        let base = if info & 1 != 0 { self.sp } else { self.fp };
        let mut words = Words { words, size: info >> 5 & 3 };
        let cfa = CfaRule::RegOffset(base, words.next()?);
        let mut rule =
            |fixed: Option<Rule>| fixed.or_else(|| words.next().map(Rule::CfaOffsetDeref)).unwrap_or(Rule::Retain);
        let (ra, fp) = (rule(self.fixed_ra), rule(self.fixed_fp));
        // No part of a frame lies at its CFA; and there is nothing else that a word could mean.
        if ra == Rule::CfaOffsetDeref(0) || !words.words.is_empty() {
            return None;
        }
        Some(Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: info & 0x80 != 0 && self.has_pauth, signal }))
    }
}

/// The last row that starts at or before a distance from the function's start. A row starts after so many bytes, in `SIZE` bytes.
#[inline]
fn row_at<const SIZE: usize>(mut rows: &[u8], count: u16, key: u32) -> Option<Option<Row<'_>>> {
    if usize::from(count) * (SIZE + 1) > rows.len() {
        return None;
    }
    let mut found = None;
    let mut last = 0;
    for _ in 0..count {
        let (bytes, rest) = rows.split_first_chunk::<SIZE>()?;
        let mut start = [0; 4];
        start[..SIZE].copy_from_slice(bytes);
        let start = u32::from_le_bytes(start);
        let (info, rest) = rest.split_first()?;
        let word_size = info >> 5 & 3;
        if word_size == 3 || (found.is_some() && start <= last) {
            return None;
        }
        let (words, rest) = rest.split_at_checked(usize::from(info >> 1 & 0xf) << word_size)?;
        if start > key {
            break;
        }
        (found, last, rows) = (Some((*info, words)), start, rest);
    }
    Some(found)
}

/// The words of a row, one after the other: of one byte, two (1) or four (2).
struct Words<'a> {
    words: &'a [u8],
    size: u8,
}

impl Words<'_> {
    #[inline]
    fn next(&mut self) -> Option<i64> {
        match self.size {
            0 => self.take().map(|word| i8::from_le_bytes(word).into()),
            1 => self.take().map(|word| i16::from_le_bytes(word).into()),
            _ => self.take().map(|word| i32::from_le_bytes(word).into()),
        }
    }

    #[inline]
    fn take<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (word, rest) = self.words.split_first_chunk()?;
        self.words = rest;
        Some(*word)
    }
}

#[cfg(test)]
mod tests {
    use super::Usual;
    use crate::row::Entry;
    use crate::sframe::SFrameSection;

    const LINKED: [&[u8]; 4] = [
        include_bytes!("../../tests/fixtures/sframe/al_lib.v3.so.sframe"),
        include_bytes!("../../tests/fixtures/sframe/al_static.v3.exe.sframe"),
        include_bytes!("../../tests/fixtures/sframe/xl_addr.v3.so.sframe"),
        include_bytes!("../../tests/fixtures/sframe/xl_lib.v3.so.sframe"),
    ];

    /// That both ways agree, `tests/sframe/property.rs` checks; here, that the short one is taken.
    #[test]
    #[cfg_attr(feature = "mutants", ignore = "they are planted in the general code, so that nothing is usual")]
    fn what_linkers_make_is_usual() {
        let (mut rows, mut others) = (0, 0);
        for data in LINKED {
            let section = SFrameSection::parse(data, 0x40_0000).expect("a sound section");
            let usual = Usual::of(section.header(), 0x40_0000).expect("a usual section");
            for function in section.functions() {
                let function = function.expect("it can be read");
                for pc in function.start()..function.start() + u64::from(function.size()) {
                    match usual.lookup(data, pc) {
                        Some(Some(Entry::Row(_) | Entry::Outermost)) => rows += 1,
                        _ => others += 1,
                    }
                }
            }
        }
        // The others are in functions with flexible rows, and in PLTs.
        assert!(rows > 4 * others && others > 0, "{rows} {others}");
    }
}
