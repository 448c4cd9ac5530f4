//! What happens in a process and not in a guest of this repository: signals, threads, calls that return twice, exceptions of C++, and
//! contexts.
//!
//! ```text
//!   the handler                  youngest
//!   the signal's trampoline      waits for the handler to return, as if it had called it
//!   the interrupted code         waits as at an exception: nothing of it is changed when the trampoline has done its work
//! ```

use std::rc::Rc;

use super::activation::are_same;
use super::{Activation, Cause, Event, MAX_LINKS, Oracle, Transfer};
use crate::cpu::{Flow, Linkage, MAX_CALLEE_SAVED, Register};
use crate::guest::conventions::{SpAtReturn, StackRole};
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
        let _ = self.told(at, (pc, sp), trampoline, Cause::UserException, interrupted)
            && self.told(at, (trampoline, returns_with), at.pc, Cause::Call, in_handler);
    }

    /// The witnesses are told of a call that no instruction has made: it will return to a place with this SP, and leads `to` here. False
    /// if they do not take it for one.
    fn told(
        &mut self,
        at: &Point<'_>,
        (next, call_sp): (u64, u64),
        to: u64,
        cause: Cause,
        saved: [u64; MAX_CALLEE_SAVED],
    ) -> bool {
        let mut values = [0; 1 + MAX_LINKS];
        at.read_values(&self.transfer_set, &mut values);
        let [sp, ..] = values;
        let transfer = Transfer {
            task: self.strand(),
            next,
            to,
            sp,
            call_sp,
            may_move: false,
            returns: SpAtReturn::Same,
            enters_by_jump: false,
            is_exception: true, // no witness is needed: the harness has done it, or seen it
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
            let what = format!("at a call by the kernel, the ledger says {ledger}, the future witness says {future}");
            self.contradict(at.pc, &what);
            return false;
        }
        self.waits(at, (next, call_sp), cause, saved);
        true
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
        while !are_same(next.as_ref(), then.as_ref()) {
            let Some(activation) = next.filter(is_over) else { return };
            next = activation.parent.clone();
            ended.push(activation);
        }
        self.end(ended);
        self.truth.youngest = next;
    }

    /// These activations of the running strand wait no more, and will not return.
    fn end(&mut self, ended: Vec<Rc<Activation>>) {
        let strand = self.strand();
        for activation in ended {
            let call = (activation.resume, activation.cfa);
            self.witnesses.ledger.ends(strand, call);
            self.witnesses.future.ends(strand, call);
        }
    }

    /// Whether an activation that a return passes over was ended by it: an unwinder has gone to a landing pad right behind the call where
    /// an older one waited. Nothing of it is left on the stack.
    pub(super) fn is_unwound(&self, activation: &Activation, sp: u64) -> bool {
        let is_gone = activation.cfa <= sp && activation.stack == self.layout.stack_of(sp);
        is_gone && activation.cause == Cause::Call && self.conventions.is_process
    }

    /// Control arrives by neither a call nor a return, with SP above all that a younger activation left on this stack, at that of an
    /// older one, and its callee-saved registers are as that one left them: an unwinder (of a C++ exception) has gone to a landing pad of
    /// the function that waited there. It waits no more, and neither does what it had called.
    pub(super) fn landed(&mut self, at: &Point<'_>, sp: u64) {
        let is_above = self.truth.youngest.as_ref().is_some_and(|youngest| youngest.cfa < sp);
        if !is_above || !self.conventions.is_process {
            return;
        }
        let stack = self.layout.stack_of(sp);
        let (mut next, mut ended) = (self.truth.youngest.clone(), Vec::new());
        loop {
            let Some(activation) = next.filter(|it| it.cfa <= sp && it.stack == stack && it.cause == Cause::Call)
            else {
                return;
            };
            next = activation.parent.clone();
            let is_it = activation.cfa == sp;
            let saved = is_it.then(|| activation.saved);
            ended.push(activation);
            if let Some(saved) = saved {
                if self.callee_saved(at) == saved {
                    break;
                }
                return;
            }
        }
        self.end(ended);
        self.truth.youngest = next;
    }

    /// The first function of a fiber has been entered by a jump, as if the code to which it returns had called it.
    pub(super) fn begin_fiber(&mut self, at: &Point<'_>) {
        let mut values = [0; 1 + MAX_LINKS];
        at.read_values(&self.transfer_set, &mut values);
        let [sp, link, ..] = values;
        let cpu = self.guest.cpu;
        let returns_to = match cpu.linkage {
            Linkage::Push => at.memory.read_u64(sp).unwrap_or_default(),
            Linkage::Register(_) => link,
        };
        // Without one it never returns.
        if self.guest.symbols.function_at(returns_to).is_some() {
            let saved = self.callee_saved(at);
            self.told(at, (returns_to, sp.wrapping_add(cpu.linkage.pushed())), at.pc, Cause::Call, saved);
        }
    }

    /// A context is made: what waited on its stack waits no more.
    pub(super) fn make_context(&mut self, at: &Point<'_>) {
        let mut context = [0];
        let argument = self.guest.cpu.arguments.first().copied();
        at.read_values(&RegisterSet::new(self.guest.cpu, argument), &mut context);
        let read = |address| at.memory.read_u64(address);
        let Some(stack) = crate::user::process::context_stack(read, context[0]) else { return };
        let is_known = { self.layout.stacks.iter() }
            .any(|it| it.role == StackRole::Fiber && (it.bounds.low..it.bounds.high) == stack);
        if !is_known {
            let what = format!("a context is made on a stack that overlaps another, {stack:#x?}");
            self.contradict(at.pc, &what);
        } else if let Some(truth) = self.others.remove(&stack.start) {
            for activation in truth.activations() {
                let call = (activation.resume, activation.cfa);
                self.witnesses.ledger.ends(stack.start, call);
                self.witnesses.future.ends(stack.start, call);
            }
        }
    }
}
