//! The kernel's own symbol table (kernel/kallsyms.c, written by scripts/kallsyms.c), found in an image without symbols by its shape.
//!
//! In the order of 6.12 and later: `num_syms` (u32), `names`, `markers` (u32 for every 256 symbols), `token_table` (256 strings),
//! `token_index` (256 u16), `offsets` (32 bits each), in 6.x `relative_base` (u64), `seqs_of_names`. In 6.1 `offsets` and
//! `relative_base` come first, and `seqs_of_names` stands in front of `token_table`, if it is there. Each begins at a multiple of 8,
//! in 7.x of 4. A name is a length and as many token numbers; the first letter of the tokens together is the type (nm(1)). Each step
//! of the search is a check that a wrong candidate fails.

use super::bytes::{find, i32_at, string_at, u8_at, u32_at, u64_at};

/// No name is longer, in bytes: the kernel's own bound is 512 (`KSYM_NAME_LEN`).
const MAX_NAME: usize = 1024;

/// The most bytes that all names may have, thirty times those of a kernel's.
const MAX_NAMES: usize = 1 << 28;

/// The most bytes that 256 names may have as token numbers, and so the distance from the last marker to the end of the names.
const MAX_BLOCK: usize = 256 * (MAX_NAME + 2);

/// The most bytes between the beginning of the markers and the token table: what a million symbols need.
const MAX_SEQUENCES: usize = 1 << 22;

/// What an offset of the table means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFormat {
    /// The distance from the offset itself (7.x).
    SelfRelative,
    /// The distance from this base, unsigned.
    BaseRelative(u64),
    /// A value from 0 on is absolute, as of x86-64's per-CPU variables; below 0, `base - 1 - offset`.
    AbsolutePerCpu(u64),
}

/// One entry of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) address: u64,
    /// As nm(1) shows it: `T` is global text.
    pub(super) kind: u8,
    pub(super) name: String,
    /// Whether the address is a value that is not a place in the image.
    pub(super) is_absolute: bool,
}

/// The decoded table.
#[derive(Debug)]
pub(super) struct Kallsyms {
    /// In the order of the table.
    pub(super) entries: Vec<Entry>,
    pub(super) format: AddressFormat,
}

/// Finds and decodes the table of an image whose bytes lie one after another from `base` on.
pub(super) fn decode(image: &[u8], base: u64) -> Result<Kallsyms, String> {
    let mut furthest = "no token table of kallsyms is in the image (CONFIG_KALLSYMS is off, or the format is new)";
    for tokens in token_tables(image) {
        let Some(names) = Markers::below(image, tokens.table).find_map(|markers| Names::below(image, &markers)) else {
            furthest = "a token table of kallsyms is there, without markers and names in front of it";
            continue;
        };
        let Some(entries) = names.expand(image, &tokens) else {
            furthest = "the names of kallsyms are not made of its tokens";
            continue;
        };
        let after = tokens.index + 512;
        return addresses(image, base, entries, &names, after)
            .ok_or_else(|| "no reading of the offsets of kallsyms puts _text at the link address".to_owned());
    }
    Err(furthest.to_owned())
}

/// The strings that token numbers stand for.
struct Tokens<'a> {
    /// Where the table begins.
    table: usize,
    /// Where its index begins.
    index: usize,
    strings: Vec<&'a [u8]>,
}

/// All places that look like a token table with its index. A letter that occurs in names is a token of its own, with its ASCII code
/// as number, and the ten digits do occur.
fn token_tables(image: &[u8]) -> impl Iterator<Item = Tokens<'_>> {
    const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = find(image, DIGITS, from)?;
        from = at + 1;
        Some(at)
    })
    .filter_map(move |digits| {
        let second = strings_before(image, digits, usize::from(b'0') - 1)?;
        // In front of the first string there may be anything, so its length is tried.
        let firsts = (1..=MAX_NAME).map_while(|length| second.checked_sub(length));
        firsts.filter(|table| table % 4 == 0).find_map(|table| tokens(image, table))
    })
}

/// The table at this place, if it ends with its index.
fn tokens(image: &[u8], table: usize) -> Option<Tokens<'_>> {
    let mut strings = Vec::with_capacity(256);
    let mut starts = Vec::with_capacity(512);
    let mut at = table;
    for _ in 0..256 {
        starts.extend(u16::try_from(at - table).ok()?.to_le_bytes());
        let string = string_at(image, at).filter(|string| string.len() <= MAX_NAME)?;
        strings.push(string);
        at += string.len() + 1;
    }
    let index = find(image.get(..at.saturating_add(8 + 512).min(image.len()))?, &starts, at)?;
    Some(Tokens { table, index, strings })
}

/// Where the string begins that is `count` NUL-terminated strings in front of the one at `at`.
fn strings_before(image: &[u8], at: usize, count: usize) -> Option<usize> {
    let mut start = at;
    for _ in 0..count {
        let end = start.checked_sub(1)?;
        if *image.get(end)? != 0 {
            return None;
        }
        let bytes = &image[end.saturating_sub(MAX_NAME)..end];
        start = end - bytes.iter().rev().position(|byte| *byte == 0)?;
    }
    Some(start)
}

/// For every 256 symbols where their names begin, from the first name on.
struct Markers {
    at: usize,
    values: Vec<u32>,
}

impl Markers {
    /// All that look like the table in front of a token table: from 0 on, rising by what 256 names may have. Between the two there
    /// are up to 7 bytes of padding, or 3 bytes for each symbol (`seqs_of_names` of 6.1).
    fn below(image: &[u8], token_table: usize) -> impl Iterator<Item = Self> {
        let highest = (token_table & !3).saturating_sub(4);
        let starts = (token_table.saturating_sub(MAX_SEQUENCES)..=highest).rev().filter(|at| at % 4 == 0);
        starts.filter(|at| u32_at(image, *at) == Some(0)).flat_map(move |at| {
            let mut rising = vec![0];
            let mut candidates = Vec::new();
            while let Some(gap) = token_table.checked_sub(at + 4 * rising.len()) {
                let count = rising.len();
                if gap < 8 || (3 * (256 * (count - 1) + 1)..3 * 256 * count + 8).contains(&gap) {
                    candidates.push(Self { at, values: rising.clone() });
                }
                let (last, next) = (rising[count - 1], u32_at(image, at + 4 * count).unwrap_or_default());
                if next <= last || (next - last) as usize > MAX_BLOCK {
                    break;
                }
                rising.push(next);
            }
            candidates
        })
    }
}

/// The compressed names.
struct Names {
    /// Where the number of symbols stands.
    count_at: usize,
    /// For each symbol where its token numbers are.
    spans: Vec<std::ops::Range<usize>>,
}

impl Names {
    fn below(image: &[u8], markers: &Markers) -> Option<Self> {
        let highest = markers.at.checked_sub(*markers.values.last()? as usize)?.checked_sub(1)?;
        for start in (highest.saturating_sub(MAX_BLOCK)..=highest).rev() {
            for back in [4, 8] {
                let Some(count_at) = start.checked_sub(back) else { continue };
                let count = u32_at(image, count_at)? as usize;
                if count.div_ceil(256) != markers.values.len() {
                    continue;
                }
                if let Some((spans, end)) = spans(image, start, count, &markers.values)
                    && (end..end + 8).contains(&markers.at)
                {
                    return Some(Self { count_at, spans });
                }
            }
        }
        None
    }

    /// The type and the name of each symbol.
    fn expand(&self, image: &[u8], tokens: &Tokens<'_>) -> Option<Vec<(u8, String)>> {
        let mut all = Vec::with_capacity(self.spans.len());
        let mut bytes = 0;
        let mut letters = Vec::new();
        for span in &self.spans {
            letters.clear();
            for token in &image[span.clone()] {
                letters.extend_from_slice(tokens.strings[usize::from(*token)]);
            }
            bytes += letters.len();
            let (kind, name) = letters.split_first()?;
            if letters.len() > MAX_NAME || bytes > MAX_NAMES || !kind.is_ascii_alphabetic() {
                return None;
            }
            all.push((*kind, String::from_utf8_lossy(name).into_owned()));
        }
        Some(all)
    }
}

/// Where each of `count` names is, and where they end, if they hit every marker.
fn spans(image: &[u8], start: usize, count: usize, markers: &[u32]) -> Option<(Vec<std::ops::Range<usize>>, usize)> {
    let mut spans = Vec::with_capacity(count.min(image.len() / 2));
    let mut at = start;
    for index in 0..count {
        if index % 256 == 0 && at - start != *markers.get(index / 256)? as usize {
            return None;
        }
        let mut length = usize::from(u8_at(image, at)?);
        at += 1;
        if length >= 0x80 {
            length = length & 0x7f | usize::from(u8_at(image, at)?) << 7;
            at += 1;
        }
        let end = at.checked_add(length).filter(|end| length > 0 && *end <= image.len())?;
        spans.push(at..end);
        at = end;
    }
    Some((spans, at))
}

/// Reads the offsets in each of the ways and from each of the places. Right is what rises and puts the first symbol of the image at
/// its base: a rising table rises under another reading, too.
fn addresses(image: &[u8], base: u64, named: Vec<(u8, String)>, names: &Names, after: usize) -> Option<Kallsyms> {
    let count = named.len();
    let is_first = |(_, name): &(u8, String)| matches!(name.as_str(), "_text" | "_start" | "_stext");
    let first: Vec<usize> = (0..count).filter(|index| is_first(&named[*index])).collect();
    // In front of the number of symbols, in 6.1.
    let base_before = names.count_at.checked_sub(8).map(|at| at & !7);
    let before = base_before.and_then(|at| Some((at.checked_sub(4 * count)? & !7, at)));
    let behind = |start: usize| (start, (start + 4 * count).next_multiple_of(8));
    let places = [Some(behind(after.next_multiple_of(4))), Some(behind(after.next_multiple_of(8))), before];
    for (start, base_at) in places.into_iter().flatten() {
        if start.checked_add(4 * count).is_none_or(|end| end > image.len()) {
            continue;
        }
        let offset = |index: usize| i32_at(image, start + 4 * index).unwrap_or_default();
        let relative_base = u64_at(image, base_at);
        let formats = [
            Some(AddressFormat::SelfRelative),
            relative_base.map(AddressFormat::BaseRelative),
            relative_base.map(AddressFormat::AbsolutePerCpu),
        ];
        for format in formats.into_iter().flatten() {
            let address = |index: usize| match format {
                AddressFormat::SelfRelative => {
                    let here = base.wrapping_add((start + 4 * index) as u64);
                    (here.wrapping_add_signed(offset(index).into()), false)
                }
                AddressFormat::BaseRelative(base) => {
                    (base.wrapping_add(u64::from(offset(index).cast_unsigned())), false)
                }
                AddressFormat::AbsolutePerCpu(base) => match u64::try_from(offset(index)) {
                    Ok(absolute) => (absolute, true),
                    Err(_) => (base.wrapping_sub(1).wrapping_add_signed(-i64::from(offset(index))), false),
                },
            };
            // In 6.1 the table begins with `_stext`, which may lie behind the base.
            let lowest = match format {
                AddressFormat::BaseRelative(lowest) if lowest.wrapping_sub(base) < image.len() as u64 => lowest,
                _ => base,
            };
            if !first.iter().any(|index| [(base, false), (lowest, false)].contains(&address(*index))) {
                continue;
            }
            let places = (0..count).map(address).filter(|(_, is_absolute)| !is_absolute).map(|(address, _)| address);
            if places.is_sorted() {
                let entries = named.into_iter().enumerate().map(|(index, (kind, name))| {
                    let (address, is_absolute) = address(index);
                    Entry { address, kind, name, is_absolute }
                });
                return Some(Kallsyms { entries: entries.collect(), format });
            }
        }
    }
    None
}
