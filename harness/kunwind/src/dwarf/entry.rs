//! The entries of a CFI section: where each begins, and what the augmentation of a CIE says.
//!
//! gimli's parser stops at a CIE whose augmentation it does not know, and it does not know the letters `B` (AADWARF64:
//! return addresses are signed with key B) and `G` (tagged memory), which carry no data. So the section is walked here,
//! and [`hide_letters`] makes a copy that gimli can read. Programs are not looked at here.

/// One of the two sections with CFI. They differ in how an FDE names its CIE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CfiSection {
    /// `.eh_frame` (Linux Standard Base Core, 10.6).
    EhFrame,
    /// `.debug_frame` (DWARF 5, 6.4.1).
    DebugFrame,
}

/// A CIE or an FDE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawEntry {
    /// Where it begins in the section.
    pub(super) offset: usize,
    /// Where the CIE of an FDE begins; none for a CIE.
    pub(super) cie: Option<usize>,
    /// What follows the length and the id.
    body: usize,
}

/// Walks a section to its end, or to an entry that does not fit.
#[derive(Clone, Debug)]
pub(super) struct RawEntries<'a> {
    section: CfiSection,
    bytes: &'a [u8],
    is_big_endian: bool,
    at: usize,
    /// An entry was cut off: what follows cannot be found.
    pub(super) is_truncated: bool,
}

impl<'a> RawEntries<'a> {
    pub(super) const fn new(section: CfiSection, bytes: &'a [u8], is_big_endian: bool) -> Self {
        Self { section, bytes, is_big_endian, at: 0, is_truncated: false }
    }

    /// Where the next entry begins.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    fn unsigned(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.is_big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) })
    }

    /// The entry at `offset`, and where the next begins; no entry if the length is zero.
    fn read(&self, offset: usize) -> Option<(Option<RawEntry>, usize)> {
        let short = self.unsigned(offset, 4)?;
        let (length, id_at, id_size) = match (short, self.section) {
            (0, _) => return Some((None, offset.checked_add(4)?)),
            (0xffff_ffff, CfiSection::EhFrame) => {
                (self.unsigned(offset.checked_add(4)?, 8)?, offset.checked_add(12)?, 4)
            }
            (0xffff_ffff, CfiSection::DebugFrame) => {
                (self.unsigned(offset.checked_add(4)?, 8)?, offset.checked_add(12)?, 8)
            }
            (short, _) => (short, offset.checked_add(4)?, 4),
        };
        let end = id_at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() || length < id_size {
            return None;
        }
        let id = self.unsigned(id_at, usize::try_from(id_size).ok()?)?;
        let cie = match self.section {
            CfiSection::EhFrame if id == 0 => None,
            CfiSection::EhFrame => Some(id_at.checked_sub(usize::try_from(id).ok()?)?),
            CfiSection::DebugFrame if id == u64::MAX >> (64 - 8 * id_size) => None,
            CfiSection::DebugFrame => Some(usize::try_from(id).ok()?),
        };
        let body = id_at.checked_add(usize::try_from(id_size).ok()?)?;
        Some((Some(RawEntry { offset, cie, body }), end))
    }

    /// The augmentation string of the CIE at `offset`, as a range of the section.
    fn augmentation(&self, offset: usize) -> Option<core::ops::Range<usize>> {
        let (entry, end) = self.read(offset)?;
        // A version byte stands before it.
        let start = entry.filter(|entry| entry.cie.is_none())?.body.checked_add(1)?;
        let length = self.bytes.get(start..end)?.iter().position(|byte| *byte == 0)?;
        Some(start..start.checked_add(length)?)
    }

    /// Whether the augmentation of the CIE at `offset` has a letter.
    pub(super) fn has_letter(&self, offset: usize, letter: u8) -> bool {
        let range = self.augmentation(offset).unwrap_or(0..0);
        self.bytes.get(range).is_some_and(|string| string.contains(&letter))
    }
}

impl Iterator for RawEntries<'_> {
    type Item = RawEntry;

    fn next(&mut self) -> Option<RawEntry> {
        while !self.is_truncated && self.at < self.bytes.len() {
            let Some((entry, end)) = self.read(self.at) else {
                self.is_truncated = true;
                return None;
            };
            self.at = end;
            if entry.is_some() {
                return entry;
            }
        }
        None
    }
}

/// Makes augmentations readable for gimli: in a copy of the section, the letters `B` and `G` become `S`, which carries
/// no data either. What the letters mean is read from the original. Returns how many letters were changed.
pub fn hide_letters(section: CfiSection, copy: &mut [u8], is_big_endian: bool) -> usize {
    let mut changed = 0;
    let mut at = 0;
    loop {
        let mut entries = RawEntries::new(section, copy, is_big_endian);
        entries.at = at;
        let Some(entry) = entries.next() else { return changed };
        at = entries.at;
        let range = entries.augmentation(entry.offset).unwrap_or(0..0);
        for letter in copy.get_mut(range).unwrap_or_default() {
            if matches!(*letter, b'B' | b'G') {
                *letter = b'S';
                changed += 1;
            }
        }
    }
}
