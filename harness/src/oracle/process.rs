//! What happens in a process and not in a guest of this repository: signals, threads, and calls that return twice.
//!
//! ```text
//!   the handler                  youngest
//!   the signal's trampoline      waits for the handler to return, as if it had called it
//!   the interrupted code         waits as at an exception: nothing of it is changed when the trampoline has done its work
//! ```

use std::rc::Rc;

use super::{Activation, Cause, Event, Oracle, Transfer};
use crate::cpu::{Flow, Linkage, Register};
use crate::guest::conventions::SpAtReturn;
use crate::trace::{Point, RegisterSet, Signal};

impl Oracle<'_> {
    /// The first instruction of a thread: nothing waits for anything.
    pub(super) fn begin_thread(&mut self, at: &Point<'_>) {
        if at.thread != 0 {
            self.switch_strand(at);
        }
    }

    /// A signal has been delivered: the kernel has entered the handler, which returns to its trampoline.
    pub(super) fn signalled(&mut self, at: &Point<'_>, (pc, sp): (u64, u64), signal: Signal) {
        self.switch_strand(at);
        let trampoline = signal.returns_to;
        let in_handler = self.callee_saved(at);
        // On some CPUs the kernel leaves a frame record for the handler, and makes the frame pointer point there.
        let mut interrupted = in_handler;
        if let Some(fp) = self.guest.cpu.fp_index() {
            interrupted[fp] = signal.fp;
        }
        let cpu = self.guest.cpu;
        let mut value = [0];
        at.read_values(&RegisterSet::new(cpu, [cpu.sp]), &mut value);
        let [now] = value;
        // Where a call leaves the return address is where the kernel has put that of the trampoline.
        let returns_with = now.wrapping_add(cpu.linkage.pushed());
        let holds = match cpu.linkage {
            Linkage::Push => at.memory.read_u64(now) == Some(trampoline),
            Linkage::Register(links) => links.iter().any(|link| self.holds(at, *link, trampoline)),
        };
        if !holds {
            self.contradict(at.pc, "a signal's handler does not find the address to which it must return");
            return;
        }
        for (next, to, call_sp, cause, saved) in [
            (pc, trampoline, sp, Cause::UserException, interrupted),
            (trampoline, at.pc, returns_with, Cause::Call, in_handler),
        ] {
            let transfer = Transfer {
                task: self.strand(),
                next,
                to,
                sp: now,
                call_sp,
                may_move: false,
                returns: SpAtReturn::Same,
                enters_by_jump: false,
                is_exception: true, // no witness is needed: the harness has done both
                may_return_again: false,
                number: self.transfers,
                flow: Flow::SEQUENTIAL,
                linked: true,
            };
            self.transfers += 1;
            let expected = Some(Event::Called { resume: next, cfa: call_sp });
            let (by_ledger, by_future) =
                (self.witnesses.ledger.arrived(&transfer), self.witnesses.future.arrived(&transfer));
            if by_ledger != expected || by_future != expected {
                let (ledger, future) = (self.describe(by_ledger), self.describe(by_future));
                let what = format!("at a signal, the ledger says {ledger}, the future witness says {future}");
                self.contradict(at.pc, &what);
                return;
            }
            self.waits(at, (next, call_sp), cause, saved);
        }
    }

    fn holds(&self, at: &Point<'_>, register: Register, value: u64) -> bool {
        let mut values = [0];
        at.read_values(&RegisterSet::new(self.guest.cpu, [register]), &mut values);
        values == [value]
    }

    /// A call has returned here: it may do so again.
    pub(super) fn note_return(&mut self, at: &Point<'_>, sp: u64) {
        if self.conventions.is_process {
            self.returned.insert((self.strand(), at.pc, sp), self.truth.youngest.clone());
        }
    }

    /// Control is where a call has returned to already. If what waited then still waits, and younger activations with it that are
    /// not above SP, it was `longjmp`: they wait no more. Otherwise it was a jump, perhaps of a later activation at the same SP.
    pub(super) fn returned_again(&mut self, at: &Point<'_>, since: u64, sp: u64) {
        let Some(then) = self.returned.get(&(self.strand(), at.pc, sp)).cloned() else {
            let what =
                format!("the witnesses say that transfer {since} returns again, but it was never seen to return");
            self.contradict(at.pc, &what);
            return;
        };
        let stack = self.layout.stack_of(sp);
        let is_over = |activation: &Rc<Activation>| {
            // A handler may have a stack of its own.
            activation.cfa <= sp || activation.stack != stack
        };
        let (mut next, mut ended) = (self.truth.youngest.clone(), Vec::new());
        while next.as_ref().map(Rc::as_ptr) != then.as_ref().map(Rc::as_ptr) {
            let Some(activation) = next.filter(is_over) else { return };
            next = activation.parent.clone();
            ended.push(activation);
        }
        self.truth.youngest = next;
        let strand = self.strand();
        for activation in ended {
            let call = (activation.resume, activation.cfa);
            self.witnesses.ledger.ends(strand, call);
            self.witnesses.future.ends(strand, call);
            self.forget(&activation);
        }
    }
}
