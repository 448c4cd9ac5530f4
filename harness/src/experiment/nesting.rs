//! Where a second exception can be taken inside the first one's entry, handler and exit, and which outer exceptions are
//! delivered for it.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::sample::Tally;
use super::{LeftOut, PointFilter};
use crate::guest::{Program, Symbol};
use crate::oracle::{ReturnPlace, State, Truth};

/// How many outer exceptions there could have been and how many were delivered, and the arrivals at which none was considered.
pub(super) type Outers = ((u64, u64), LeftOut);

/// The outer exceptions of a nested run.
pub(super) struct Nesting<'p> {
    program: &'p Program,
    filter: PointFilter<'p>,
    /// The arrivals at each instruction at which one could be taken.
    arrivals: FxHashMap<u64, Tally>,
    /// The guest's labels, by address, and whether an exception may be nested from there on.
    marks: &'p [(u64, bool)],
    /// The states that have been interrupted already: pc, SP, the frame pointer, and by its number in `traces` where the
    /// activations of the true trace resume. Two interrupts with the same key differ only in data that no unwinder reads which walks by records, or by rows
    /// from SP and the frame pointer.
    known: BTreeSet<[u64; 4]>,
    /// The number of each list of places that was seen: of its oldest place alone, of its two oldest, and so on. Each is found by
    /// where its youngest activation resumes and the number of the rest (0: none), so that long lists share memory.
    traces: BTreeMap<(u64, u64), u64>,
    /// How many outer exceptions there could have been.
    seen: u64,
}

impl<'p> Nesting<'p> {
    pub(super) fn new(program: &'p Program, filter: PointFilter<'p>) -> Self {
        Self {
            program,
            filter,
            arrivals: FxHashMap::default(),
            marks: &program.conventions.nesting,
            known: BTreeSet::new(),
            traces: BTreeMap::new(),
            seen: 0,
        }
    }

    /// Their numbers.
    pub(super) fn outers(&self) -> Outers {
        let left_out = self.arrivals.values().fold(LeftOut::default(), |sum, tally| sum.plus(tally.left_out()));
        ((self.seen, self.known.len() as u64), left_out)
    }

    /// The name of the outer exception to deliver at this arrival, if one is.
    pub(super) fn takes_outer(
        &mut self,
        pc: u64,
        sp: u64,
        fp: u64,
        truth: &Truth,
        state: impl FnOnce(Option<ReturnPlace>) -> State,
    ) -> Option<String> {
        let symbols = &self.program.guest.symbols;
        let is_outer = |function: &Symbol| self.filter.outer.contains(&function.name);
        if !self.filter.outer.is_empty() && !symbols.function_at(pc).is_some_and(is_outer) {
            return None;
        }
        let tally = self.arrivals.entry(pc).or_default();
        if !tally.takes(self.filter.max_visits, None, state) {
            return None;
        }
        let visits = tally.arrivals();
        self.seen += 1;
        let places: Vec<u64> = truth.activations().map(|activation| activation.resume).collect();
        let mut trace = 0;
        for place in places.into_iter().rev() {
            let new = self.traces.len() as u64 + 1;
            trace = *self.traces.entry((place, trace)).or_insert(new);
        }
        self.known.insert([pc, sp, fp, trace]).then(|| format!("{}#{visits}:irq", symbols.name(pc)))
    }

    /// Whether an exception taken here leaves the first one's state intact. The guest declares it with labels (KERNEL.md):
    /// from `nest_to_*` up to `nest_from_*` or the end of the function, the CPU's registers hold the only copy of that state.
    pub(super) fn can_nest(&self, pc: u64) -> bool {
        let symbols = &self.program.guest.symbols;
        let Some(function) = symbols.function_at(pc) else { return false };
        let range = function.address..function.address + function.size;
        let mut marks = self.marks.iter().filter(|(at, _)| range.contains(at));
        match marks.clone().rev().find(|(at, _)| *at <= pc) {
            Some((_, can_nest)) => *can_nest,
            // Before the first label the opposite holds; without labels there is nothing to lose.
            None => marks.next().is_none_or(|(_, can_nest)| !can_nest),
        }
    }
}
