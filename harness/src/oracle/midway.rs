//! Runs that begin in the middle of a program: whoever froze the state says who waits, and the witnesses are told.

use std::rc::Rc;

use super::{Activation, Cause, MAX_LINKS, Oracle};
use crate::cpu::MAX_CALLEE_SAVED;
use crate::guest::WaitingAtStart;
use crate::guest::conventions::Preserved;

impl Oracle<'_> {
    /// The same oracle, which knows that these activations wait, youngest first. Their calls count as the first transfers.
    pub(super) fn begin_midway(mut self, waiting: &[WaitingAtStart]) -> Self {
        for (number, WaitingAtStart { resume, cfa, saved }) in (0..).zip(waiting.iter().rev()) {
            self.witnesses.ledger.waits(*resume, *cfa, number);
            self.witnesses.future.waits(*resume, *cfa, number);
            self.transfers = number + 1;
            self.resumes.insert(*resume);
            let known = saved.len().min(MAX_CALLEE_SAVED);
            let mut values = [0; MAX_CALLEE_SAVED];
            values[..known].copy_from_slice(&saved[..known]);
            let parent = self.truth.youngest.take();
            let serial = self.next_serial();
            let activation = Activation {
                resume: *resume,
                cfa: *cfa,
                saved: values,
                preserved: Preserved::of(0..known),
                entry: 0,
                links: [0; MAX_LINKS],
                stack: self.layout.stack_of(*cfa),
                cause: Cause::Call,
                depth: parent.as_ref().map_or(0, |parent| parent.depth) + 1,
                serial,
                parent,
            };
            self.truth.youngest = Some(Rc::new(activation));
        }
        self
    }
}
