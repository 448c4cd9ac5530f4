//! The functions of a process whose rows are judged, where only some are asked for.

use std::ops::Range;

use crate::guest::Program;
use crate::scenario::Text;

/// These functions, by address; none: all.
pub(super) struct Within(Vec<Range<u64>>);

impl Within {
    pub(super) fn new(program: &Program, text: &Text) -> Self {
        let names = if program.conventions.is_process { text.within.as_slice() } else { &[] };
        let found = names.iter().filter_map(|name| program.guest.symbols.function_named(name));
        let mut ranges: Vec<Range<u64>> = found.map(|it| it.address..it.address + it.size.max(1)).collect();
        ranges.sort_by_key(|range| range.start);
        Self(ranges)
    }

    /// Whether the instruction at this address is in one of them.
    pub(super) fn holds(&self, pc: u64) -> bool {
        let after = self.0.partition_point(|range| range.start <= pc);
        self.0.is_empty() || after > 0 && self.0[after - 1].contains(&pc)
    }
}
