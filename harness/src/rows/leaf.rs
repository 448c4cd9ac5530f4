//! The leaf claim: rows that say, for a whole function, that it has no frame and calls nothing.

use kunwind::{CfaRule, Entry, Rule};

use crate::cpu::{Cpu, Linkage};

/// Whether an entry is the one that is right at the first instruction of every function: nothing has been pushed or changed.
pub(super) fn is_frameless(entry: Option<&Entry>, cpu: &Cpu) -> bool {
    let linkage = cpu.linkage;
    let pushed = linkage.pushed().cast_signed();
    let ra = match linkage {
        Linkage::Register(_) => Rule::Retain,
        Linkage::Push => Rule::CfaOffsetDeref(-pushed),
    };
    let cfa = CfaRule::RegOffset(cpu.sp, pushed);
    matches!(entry, Some(Entry::Row(row)) if row.cfa == cfa && row.ra == ra && row.fp == Rule::Retain)
}
