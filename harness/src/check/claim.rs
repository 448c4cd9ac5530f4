//! The claim to be a leaf: rows that say, for a whole function, that it has no frame and calls nobody.

use kunwind::{CfaRule, Entry, Rule};

use crate::arch::{Arch, Linkage};

/// Whether a function's rows claim that it is a leaf, and whether that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// They claim nothing of the kind.
    NotClaimed,
    /// They do, and the function never ran.
    Untested,
    /// They do, and at each instruction that ran it was so.
    Holds,
    /// They do, and it is not so: first at this offset.
    Refuted(u64),
}

impl Leaf {
    /// The word in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotClaimed => "-",
            Self::Untested => "untested",
            Self::Holds => "true",
            Self::Refuted(_) => "false",
        }
    }
}

/// Whether an entry says what holds at the first instruction of every function: nothing has been pushed or changed.
pub(super) fn is_frameless(entry: Option<&Entry>, arch: &dyn Arch) -> bool {
    let linkage = arch.linkage();
    let pushed = linkage.pushed().cast_signed();
    let ra = match linkage {
        Linkage::Register(_) => Rule::Retain,
        Linkage::Push => Rule::CfaOffsetDeref(-pushed),
    };
    let cfa = CfaRule::RegOffset(arch.sp(), pushed);
    matches!(entry, Some(Entry::Row(row)) if row.cfa == cfa && row.ra == ra && row.fp == Rule::Retain)
}
