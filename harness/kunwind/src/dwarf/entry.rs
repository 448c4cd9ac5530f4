//! The entries of a CFI section: where each begins, and what the augmentation of a CIE says.
//!
//! The section is walked here and not by gimli, whose walk ends at the first entry that it cannot parse. An entry that is
//! wrong in itself leads on to the next as long as its length is right. Programs are not looked at here.

use super::unsupported::Unsupported;

/// The largest CIE that is used, in bytes. Its instructions are run again for each of its FDEs, so that a small section
/// with one that is large could take hours. What compilers write has less than 100 bytes; rules for all registers of a
/// machine take a tenth of the limit.
const MAX_CIE: usize = 0x1000;

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
    /// Which of the two.
    pub(super) kind: EntryKind,
    /// What follows the length and the id.
    pub(super) body: usize,
    /// Where it ends.
    pub(super) end: usize,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A CIE.
    Cie,
    /// An FDE, and where its CIE should begin; none if its pointer leads out of the section.
    Fde(Option<usize>),
}

/// Walks a section to its end, or to an entry that does not fit.
#[derive(Clone, Debug)]
pub(super) struct RawEntries<'a> {
    section: CfiSection,
    bytes: &'a [u8],
    is_big_endian: bool,
    at: usize,
    /// An entry was cut off: what follows cannot be found.
    is_truncated: bool,
}

impl<'a> RawEntries<'a> {
    pub(super) const fn new(section: CfiSection, bytes: &'a [u8], is_big_endian: bool) -> Self {
        Self { section, bytes, is_big_endian, at: 0, is_truncated: false }
    }

    /// Continues at another entry.
    pub(super) const fn go_to(&mut self, at: usize) {
        self.at = at;
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

    /// How many bytes are left from where the next entry begins; none if they are zero, which is padding.
    pub(super) fn rest(&self) -> Option<usize> {
        let rest = self.bytes.get(self.at..)?;
        rest.iter().any(|byte| *byte != 0).then_some(rest.len())
    }

    /// The entry at `offset`, and where the next begins; no entry if the length is zero.
    pub(super) fn read(&self, offset: usize) -> Option<(Option<RawEntry>, usize)> {
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
        let kind = match self.section {
            CfiSection::EhFrame if id == 0 => EntryKind::Cie,
            CfiSection::EhFrame => EntryKind::Fde(usize::try_from(id).ok().and_then(|id| id_at.checked_sub(id))),
            CfiSection::DebugFrame if id == u64::MAX >> (64 - 8 * id_size) => EntryKind::Cie,
            CfiSection::DebugFrame => EntryKind::Fde(usize::try_from(id).ok().filter(|id| *id < self.bytes.len())),
        };
        let body = id_at.checked_add(usize::try_from(id_size).ok()?)?;
        Some((Some(RawEntry { offset, kind, body, end }), end))
    }

    /// Whether an FDE's CIE is where its pointer says, and may be used.
    pub(super) fn check_cie(&self, cie: Option<usize>) -> Result<(), Unsupported> {
        let entry = cie.and_then(|cie| self.read(cie)?.0).filter(|entry| entry.kind == EntryKind::Cie);
        let entry = entry.ok_or(Unsupported::CiePointer)?;
        let size = entry.end - entry.offset;
        if size > MAX_CIE { Err(Unsupported::LargeCie(size as u64)) } else { Ok(()) }
    }

    /// The augmentation string of the CIE at `offset`, as a range of the section.
    pub(super) fn augmentation(&self, offset: usize) -> Option<core::ops::Range<usize>> {
        let entry = self.read(offset)?.0.filter(|entry| entry.kind == EntryKind::Cie)?;
        // A version byte stands before it.
        let start = entry.body.checked_add(1)?;
        let length = self.bytes.get(start..entry.end)?.iter().position(|byte| *byte == 0)?;
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
