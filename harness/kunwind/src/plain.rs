//! Rows of the form that nearly all have, ready to be applied: everything lies at fixed distances from the CFA, and the CFA at one from a
//! register. Whatever a row says that this form cannot, is left to [`UnwindRow`]. Who applies them is not known here.

use core::num::NonZeroU64;

use crate::regs::Register;
use crate::row::{CfaRule, Rule, UnwindRow};

/// A register whose value in the caller is in the word at the CFA plus an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SavedWord {
    /// The register.
    pub register: Register,
    /// In bytes from the CFA.
    pub offset: i32,
}

impl SavedWord {
    /// The rule of this register, if it is of this form.
    #[must_use]
    pub fn of(register: Register, rule: Rule) -> Option<Self> {
        let Rule::CfaOffsetDeref(offset) = rule else { return None };
        Some(Self { register, offset: offset.try_into().ok()? })
    }
}

/// Which registers a [`PlainRow`] restores besides the return address and the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedWords {
    /// The format knows no others: nothing is known of them in the caller.
    Unknown,
    /// Those that [`Table::saved_words`](crate::Table::saved_words) has under this number, below [`SavedWords::MAX`]; under 0, none. A
    /// callee-saved register that is not among them is unchanged, and SP is the CFA.
    List(u16),
}

impl SavedWords {
    /// How many lists a table can have.
    pub const MAX: u16 = u16::MAX;
}

/// A row by which the CFA is a register plus an offset, the return address is in a word at an offset from the CFA, and so is the frame
/// pointer, or it is unchanged.
///
/// ```text
///  bit 63      48 | 40 .. 44 | 39   32 | 31      0        63      32 | 31       0
///      saved list | flags    | base    | fp offset         ra offset | cfa offset
/// ```
///
/// So it is returned in two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainRow {
    offsets: u64,
    /// Never 0, because of a flag.
    rest: NonZeroU64,
}

impl PlainRow {
    const IS_ROW: u64 = 1 << 40;
    const RESTORES_FP: u64 = 1 << 41;
    const MANGLED_RA: u64 = 1 << 42;
    const SIGNAL: u64 = 1 << 43;
    /// The frame pointer is restored from the word below the return address.
    const HAS_RECORD: u64 = 1 << 44;

    /// A row with the registers besides the return address and the frame pointer, if it is of this form.
    #[must_use]
    pub fn of(row: &UnwindRow, saved: SavedWords) -> Option<Self> {
        let (CfaRule::RegOffset(base, cfa), Rule::CfaOffsetDeref(ra)) = (row.cfa, row.ra) else { return None };
        let fp = match row.fp {
            Rule::Retain => None,
            Rule::CfaOffsetDeref(fp) => Some(fp),
            _ => return None,
        };
        let bits = |offset: i64| i32::try_from(offset).ok().map(|offset| u64::from(offset as u32));
        let list = match saved {
            SavedWords::Unknown => SavedWords::MAX,
            SavedWords::List(SavedWords::MAX) => return None,
            SavedWords::List(list) => list,
        };
        let flags = [
            (true, Self::IS_ROW),
            (fp.is_some(), Self::RESTORES_FP),
            (row.mangled_ra, Self::MANGLED_RA),
            (row.signal, Self::SIGNAL),
            (fp.is_some_and(|fp| ra.checked_sub(8) == Some(fp)), Self::HAS_RECORD),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag);
        let rest = u64::from(list) << 48 | flags | u64::from(base.0) << 32 | bits(fp.unwrap_or(0))?;
        Some(Self { offsets: bits(ra)? << 32 | bits(cfa)?, rest: NonZeroU64::new(rest)? })
    }

    const fn has(self, flag: u64) -> bool {
        self.rest.get() & flag != 0
    }

    /// What the row says.
    #[inline]
    pub(crate) const fn said(self) -> Said {
        let rest = self.rest.get();
        Said {
            base: Register((rest >> 32) as u8),
            cfa: self.offsets as i32 as i64,
            ra: self.offsets as i64 >> 32,
            fp: if self.has(Self::RESTORES_FP) { Some(rest as i32 as i64) } else { None },
            has_record: self.has(Self::HAS_RECORD),
            mangled_ra: self.has(Self::MANGLED_RA),
            signal: self.has(Self::SIGNAL),
        }
    }

    /// Whether it says [`Said::of_record`].
    #[inline]
    pub(crate) const fn is_of_record(self, fp: Register) -> bool {
        let flags = Self::IS_ROW | Self::RESTORES_FP | Self::HAS_RECORD;
        let rest = flags | (fp.0 as u64) << 32 | -16_i32 as u32 as u64;
        self.offsets == (-8_i64 << 32) as u64 | 16 && self.rest.get() << 16 == rest << 16
    }

    #[inline]
    pub(crate) const fn saved(self) -> SavedWords {
        match (self.rest.get() >> 48) as u16 {
            SavedWords::MAX => SavedWords::Unknown,
            list => SavedWords::List(list),
        }
    }
}

/// What a [`PlainRow`] says, besides the saved words. Offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// From what register the CFA is computed.
    pub(crate) base: Register,
    /// From there.
    pub(crate) cfa: i64,
    /// From the CFA.
    pub(crate) ra: i64,
    /// From the CFA; none if the frame pointer is unchanged.
    pub(crate) fp: Option<i64>,
    /// Whether the caller's frame pointer is in the word below the return address.
    pub(crate) has_record: bool,
    pub(crate) mangled_ra: bool,
    pub(crate) signal: bool,
}

impl Said {
    /// That the caller's frame pointer and the return address are where this register, the frame pointer, points, and end the frame.
    pub(crate) const fn of_record(fp: Register) -> Self {
        Self { base: fp, cfa: 16, ra: -8, fp: Some(-16), has_record: true, mangled_ra: false, signal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::{PlainRow, Said, SavedWords};
    use crate::regs::Register;
    use crate::row::{CfaRule, Rule, UnwindRow};

    fn row(base: u8, cfa: i64, ra: i64, fp: Rule) -> UnwindRow {
        let cfa = CfaRule::RegOffset(Register(base), cfa);
        UnwindRow { cfa, ra: Rule::CfaOffsetDeref(ra), fp, mangled_ra: false, signal: false }
    }

    #[test]
    fn what_a_row_says_is_found_in_it() {
        let (low, high) = (i32::MIN.into(), i32::MAX.into());
        for (base, cfa, ra, fp, list) in [
            (255, low, high, Some(low), 0xfffe),
            (0, high, low, Some(high), 0),
            (7, -1, -8, None, 3),
            (6, 16, -8, Some(-16), 1),
        ] {
            let saved = SavedWords::List(list);
            for (mangled_ra, signal) in [(false, false), (true, false), (false, true)] {
                let rule = fp.map_or(Rule::Retain, Rule::CfaOffsetDeref);
                let plain = PlainRow::of(&UnwindRow { mangled_ra, signal, ..row(base, cfa, ra, rule) }, saved);
                let plain = plain.expect("a plain row");
                let (base, has_record) = (Register(base), fp == Some(-16));
                assert_eq!(plain.said(), Said { base, cfa, ra, fp, has_record, mangled_ra, signal });
                assert_eq!(plain.saved(), saved);
                for fp in [Register(6), Register(7)] {
                    assert_eq!(plain.is_of_record(fp), plain.said() == Said::of_record(fp));
                }
            }
        }
        let plain = PlainRow::of(&row(7, 8, -8, Rule::Retain), SavedWords::Unknown).expect("a plain row");
        assert_eq!((plain.saved(), plain.said().fp), (SavedWords::Unknown, None));
    }

    #[test]
    fn what_it_has_no_room_for_is_no_plain_row() {
        let far = i64::from(i32::MAX) + 1;
        let plain = |row: UnwindRow| PlainRow::of(&row, SavedWords::Unknown);
        assert_eq!(plain(row(7, far, -8, Rule::Retain)), None);
        assert_eq!(plain(row(7, 8, -far - 1, Rule::Retain)), None);
        assert_eq!(plain(row(7, 8, -8, Rule::CfaOffsetDeref(far))), None);
        assert_eq!(plain(row(7, 8, -8, Rule::Undefined)), None);
        assert_eq!(plain(UnwindRow { ra: Rule::Retain, ..row(7, 8, -8, Rule::Retain) }), None);
        let cfa = CfaRule::RegOffsetDeref(Register(7), 8);
        assert_eq!(plain(UnwindRow { cfa, ..row(7, 8, -8, Rule::Retain) }), None);
        assert_eq!(PlainRow::of(&row(7, 8, -8, Rule::Retain), SavedWords::List(SavedWords::MAX)), None);
    }
}
