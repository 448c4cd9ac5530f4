//! Where a second exception can be taken inside of the first one's entry, handler and exit, and into which of the first ones
//! one is put.

use std::collections::BTreeSet;

use super::PointFilter;
use crate::guest::{CodeMap, Program, Symbol};
use crate::oracle::Truth;

/// The outer exceptions of a nested run.
pub(super) struct Nesting<'p> {
    program: &'p Program,
    filter: PointFilter<'p>,
    visits: CodeMap<u64>,
    /// The guest's marks, by address, and whether an exception may be nested from there on.
    marks: &'p [(u64, bool)],
    /// The states into which something has been nested already: the interrupted pc, SP, the frame pointer, and where the true
    /// trace's activations go on. Two interrupts with the same key differ in data alone, at which no unwinder looks that walks by
    /// records or by rows from SP and the frame pointer.
    known: BTreeSet<Vec<u64>>,
    /// How many outer exceptions there could have been.
    pub(super) seen: u64,
}

impl<'p> Nesting<'p> {
    pub(super) fn new(program: &'p Program, filter: PointFilter<'p>) -> Self {
        let visits = CodeMap::new(&program.guest, 0);
        Self { program, filter, visits, marks: &program.conventions.nesting, known: BTreeSet::new(), seen: 0 }
    }

    /// How many outer exceptions there were.
    pub(super) fn delivered(&self) -> u64 {
        self.known.len() as u64
    }

    /// Whether the instruction's present arrival is to be interrupted, and its name if it is.
    pub(super) fn takes_outer(&mut self, pc: u64, sp: u64, fp: u64, truth: &Truth) -> Option<String> {
        let symbols = &self.program.guest.symbols;
        let is_outer = |function: &Symbol| self.filter.outer.contains(&function.name);
        if !self.filter.outer.is_empty() && !symbols.function_at(pc).is_some_and(is_outer) {
            return None;
        }
        let visits = self.visits.get_mut(pc)?;
        *visits += 1;
        if *visits > self.filter.max_visits {
            return None;
        }
        self.seen += 1;
        let key = [pc, sp, fp].into_iter().chain(truth.activations().map(|activation| activation.resume)).collect();
        self.known.insert(key).then(|| format!("{}#{visits}:irq", symbols.name(pc)))
    }

    /// Whether an exception that is taken here leaves the first one's state alone. The guest says so with labels (KERNEL.md):
    /// from `nest_to_*` on, up to `nest_from_*` or the end of the function, the CPU's registers hold the only copy of it.
    pub(super) fn can_nest(&self, pc: u64) -> bool {
        let symbols = &self.program.guest.symbols;
        let Some(function) = symbols.function_at(pc) else { return false };
        let range = function.address..function.address + function.size;
        let mut marks = self.marks.iter().filter(|(at, _)| range.contains(at));
        match marks.clone().rev().find(|(at, _)| *at <= pc) {
            Some((_, can_nest)) => *can_nest,
            // Before the first label it is the other way round; without labels there is nothing to lose.
            None => marks.next().is_none_or(|(_, can_nest)| !can_nest),
        }
    }
}
