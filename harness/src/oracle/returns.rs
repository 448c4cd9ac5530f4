//! How activations resume: the register witness, and arrivals with an SP that no convention explains.

use super::{Activation, Cause, Clobbered, Oracle, Place};
use crate::cpu::{MAX_CALLEE_SAVED, Register};
use crate::guest::conventions::{Preserved, SpAtReturn};
use crate::trace::{Point, Previous};

/// Control where an activation waits, but with another SP than that of its call. It can be another activation of the same
/// function that jumps there; but if the one that waits never resumes, this is why.
#[derive(Debug, Clone, Copy)]
pub(super) struct MovedArrival {
    /// The function that it called.
    entry: u64,
    /// SP at the arrival, and the instruction from which control came.
    sp: u64,
    from: u64,
}

impl Oracle<'_> {
    /// With which SP a call returns that has arrived here; and, if control comes from outside, the register in which a declared
    /// convention puts the return address.
    pub(super) fn convention(&self, at: &Point<'_>) -> (SpAtReturn, Option<Register>) {
        let calls = &self.conventions.calls;
        if calls.is_empty() {
            return (SpAtReturn::Same, None);
        }
        let Some((index, convention)) = calls.of(at.pc) else { return (SpAtReturn::Same, None) };
        let from = match at.previous {
            Some(Previous::Retired { pc, .. }) => calls.of(pc).map(|(index, _)| index),
            _ => None,
        };
        (convention.returns, convention.link.filter(|_| from != Some(index)))
    }

    /// What a call that has arrived here promises to preserve.
    pub(super) fn preserved(&self, at: &Point<'_>, cause: Cause) -> Preserved {
        let convention = self.conventions.calls.of(at.pc).filter(|_| cause == Cause::Call);
        convention.map_or(Preserved::ALL, |(_, convention)| convention.kept(self.guest.cpu.fp_index()))
    }

    /// The register witness: a function must restore the registers that the ABI, or its declared convention, makes it preserve.
    /// `call` is the number of the call from which the activation resumes, where that is known.
    pub(super) fn compare_saved(&mut self, at: &Point<'_>, activation: &Activation, call: Option<u64>, sp: u64) {
        let now = self.callee_saved(at);
        if now == activation.saved {
            return;
        }
        let count = self.guest.cpu.callee_saved.len();
        let changed: Vec<usize> = (0..count)
            .filter(|index| now[*index] != activation.saved[*index] && !self.may_change(activation, *index, &now, sp))
            .collect();
        let changed = changed.into_iter().find(|index| !self.may_be_private(activation, *index));
        if let Some(index) = changed {
            let (then, now) = (activation.saved[index], now[index]);
            let name = self.guest.cpu.abi.register_name(self.guest.cpu.callee_saved[index]);
            let place = activation.place().name(&self.guest.symbols);
            let (then, now) = (self.value(then), self.value(now));
            let mut what = format!("callee-saved {name} was {then} at the call and is {now} when {place} resumes");
            if let Some(evidence) = self.evidence(activation, index) {
                what += &format!(": {evidence}");
            }
            self.clobbered = call.map(|call| Clobbered { call, index });
            self.contradict(at.pc, &what);
        }
    }

    /// A value, by what it points at: the same wherever stacks and code are.
    fn value(&self, value: u64) -> String {
        match self.guest.symbols.function_at(value) {
            Some(_) => self.guest.symbols.name(value),
            None => self.layout.place(value),
        }
    }

    /// Whether a call may have changed the callee-saved register of this index.
    fn may_change(&self, call: &Activation, index: usize, now: &[u64; MAX_CALLEE_SAVED], sp: u64) -> bool {
        let convention = self.conventions.calls.of(call.entry).filter(|_| call.cause == Cause::Call);
        let Some((_, convention)) = convention else { return false };
        if !convention.preserves.holds(index) {
            return true;
        }
        match convention.returns {
            SpAtReturn::Same | SpAtReturn::Higher(_) => false,
            // It may make the frame pointer point into the frame that it has made.
            SpAtReturn::Lowered => self.guest.cpu.fp_index() == Some(index) && (sp..=call.cfa).contains(&now[index]),
            // It may restore what its caller's caller has in it.
            SpAtReturn::Raised => call.parent.as_ref().is_some_and(|parent| parent.saved[index] == now[index]),
        }
    }

    /// A transfer that is neither a call nor a return: notes if an activation waits where control is now.
    pub(super) fn note_arrival(&mut self, at: &Point<'_>, sp: u64) {
        if !self.resumes.contains(&at.pc) {
            return;
        }
        let waits = |activation: &&Activation| activation.resume == at.pc && activation.cause == Cause::Call;
        let Some(Previous::Retired { pc: from, .. }) = at.previous else { return };
        if let Some(activation) = self.truth.activations().find(waits) {
            let Activation { resume, cfa, entry, .. } = *activation;
            if cfa != sp {
                self.moved.entry((resume, cfa)).or_insert(MovedArrival { entry, sp, from });
            }
        }
    }

    /// An activation has resumed as it should: what arrived there before was another one.
    pub(super) fn forget_arrival(&mut self, activation: &Activation) {
        if !self.moved.is_empty() {
            self.moved.remove(&(activation.resume, activation.cfa));
        }
    }

    /// Why an activation that waits at this place never resumed, where that was seen.
    pub(super) fn moved_return(&self, place: Place) -> Option<String> {
        let here = self.moved.iter().filter(|((resume, _), _)| *resume == place.address);
        let ((resume, cfa), MovedArrival { entry, sp, from }) = here.min_by_key(|((_, cfa), _)| *cfa)?;
        let (resume, cfa, entry, sp, from) = (*resume, *cfa, *entry, *sp, *from);
        let symbols = &self.guest.symbols;
        let callee = symbols.function_at(entry).map_or("?", |function| &function.name);
        let (by, how, declare) = match sp.checked_sub(cfa) {
            Some(above) => (above, "higher", format!("pops = {above:#x}")),
            None => (cfa - sp, "lower", "outlined = \"prologue\"".to_owned()),
        };
        Some(format!(
            "{} resumed after its call of {callee}, but with SP {by:#x} {how} than at the call: {} instead of {}, coming from \
             {}. If {callee} returns so by convention, declare it: [[convention]] with functions = [\"{callee}\"] and {declare}",
            symbols.name_of_return(resume),
            self.layout.place(sp),
            self.layout.place(cfa),
            symbols.name(from),
        ))
    }
}
