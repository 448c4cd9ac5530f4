//! Calls that live patching redirects: the address at which a function would have resumed is rewritten, and another function
//! starts instead. The flow of control does not show it in advance, so the guest declares it (guests/KERNEL.md): at a label
//! `redirect_*`, the words `__redirect_from` and `__redirect_to` hold the two addresses.
//!
//! The declaration is checked against the run: control must arrive there with the call's SP and callee-saved registers, or the
//! call counts as one that never resumed.

use std::rc::Rc;

use super::{Activation, Cause, Oracle};
use crate::guest::conventions::Redirects;
use crate::trace::Point;

/// A call that has been redirected and has not resumed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingRedirect {
    task: u64,
    /// Where the call will resume now.
    resume: u64,
    /// With which SP.
    cfa: u64,
}

impl Oracle<'_> {
    /// The guest says that a call has just been redirected.
    pub(super) fn redirect(&mut self, at: &Point<'_>, redirects: &Redirects) {
        let words = at.memory.read_u64(redirects.from).zip(at.memory.read_u64(redirects.to));
        let Some((from, to)) = words else { return };
        let is_it = |activation: &Activation| activation.resume == from && activation.cause == Cause::Call;
        let Some(index) = self.truth.activations().position(is_it) else {
            // An exception at the label has returned: the redirection is already known.
            let is_done =
                self.pending_redirects.iter().any(|pending| (pending.task, pending.resume) == (self.strand(), to));
            if !is_done {
                let place = self.guest.symbols.name_of_return(from);
                self.contradict(at.pc, &format!("the guest redirects {place}, but no activation waits there"));
            }
            return;
        };
        let mut younger = Vec::new();
        while younger.len() <= index {
            let Some(activation) = self.truth.youngest.take() else { return };
            self.truth.youngest.clone_from(&activation.parent);
            younger.push(activation);
        }
        for (number, activation) in younger.iter().enumerate().rev() {
            let resume = if number == index { to } else { activation.resume };
            let parent = self.truth.youngest.take();
            let Activation { cfa, saved, preserved, entry, links, stack, cause, depth, .. } = **activation;
            if number == index {
                self.pending_redirects.push(PendingRedirect { task: self.strand(), resume, cfa });
            }
            let serial = self.next_serial();
            let again = Activation { resume, cfa, saved, preserved, entry, links, stack, cause, depth, serial, parent };
            self.truth.youngest = Some(Rc::new(again));
        }
    }

    /// A transfer that is neither a call nor a return may be the arrival of a redirected call.
    pub(super) fn arrive_redirected(&mut self, at: &Point<'_>, sp: u64) {
        let Some(activation) = self.truth.youngest.as_ref().filter(|activation| activation.resume == at.pc) else {
            return;
        };
        let key = PendingRedirect { task: self.strand(), resume: at.pc, cfa: sp };
        let Some(index) = self.pending_redirects.iter().position(|pending| *pending == key) else { return };
        self.pending_redirects.swap_remove(index);
        let activation = Rc::clone(activation);
        self.truth.youngest.clone_from(&activation.parent);
        self.compare_saved(at, &activation, None, sp);
    }
}
