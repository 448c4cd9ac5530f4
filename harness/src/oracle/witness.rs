//! The two witnesses of calls and returns, which watch the same transfers in different ways.

use rustc_hash::FxHashMap;

use crate::cpu::{Flow, FlowKind};
use crate::guest::conventions::SpAtReturn;

/// A transfer of control: the last instruction did not continue at the next one, or an exception was taken.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// The running task, by the address of its structure; 0 in a guest without tasks.
    pub task: u64,
    /// The address after the instruction that transferred control; that of the interrupted one, if an exception was taken.
    pub next: u64,
    /// Where control is now.
    pub to: u64,
    /// SP now.
    pub sp: u64,
    /// SP at the call site, if the transfer was a call; SP when the exception was taken.
    pub call_sp: u64,
    /// Whether control is where the guest declares that a return may arrive with another SP than that of its call
    /// (`moved_return_*`): entry code that builds a frame on its caller's stack.
    pub may_move: bool,
    /// With which SP a function returns that is called by this transfer, by its declared convention.
    pub returns: SpAtReturn,
    /// Whether control has entered, from outside, a function that is declared to be called by jumps, with the return address in
    /// a register of its own. Only the ledger looks at it; the future witness looks at `linked`, which is then of that register.
    pub enters_by_jump: bool,
    /// Whether an exception was taken. No witness is needed for that: the harness delivered it.
    pub is_exception: bool,
    /// Whether a call may return more than once, as `setjmp` does.
    pub may_return_again: bool,
    /// The number of this transfer, from 0.
    pub number: u64,
    /// What the opcode says. Only the ledger looks at it.
    pub flow: Flow,
    /// Whether the address after the instruction stands where a call leaves it. Only the future witness looks at it.
    pub linked: bool,
}

/// What a witness saw in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A call: its activation will resume at `resume` with SP = `cfa`.
    Called {
        /// Where it will resume.
        resume: u64,
        /// SP at the call site.
        cfa: u64,
    },
    /// An activation resumes: the one whose call was transfer number `since`.
    Resumed {
        /// Where it resumes.
        resume: u64,
        /// SP, as it was at the call site.
        cfa: u64,
        /// The number of the transfer that was its call.
        since: u64,
    },
    /// Control is where a call has returned to already, with the SP that it had then: `longjmp`, or a jump within the function.
    Again {
        /// The number of the transfer that was the call.
        since: u64,
    },
}

/// Watches transfers of control and recognises calls and returns.
pub trait Witness {
    /// What this transfer was, if it was a call or a return.
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event>;

    /// A run begins in the middle of a program: before its first transfer, this activation waits. The oldest is told first; `number`
    /// is that of its call, as if it had been a transfer.
    fn waits(&mut self, resume: u64, cfa: u64, number: u64);

    /// A call of this task, with the place and SP of its return, will not return: `longjmp` has passed it over.
    fn ends(&mut self, task: u64, call: (u64, u64));
}

/// A call that has not returned.
#[derive(Debug, Clone, Copy)]
struct Outstanding {
    resume: u64,
    cfa: u64,
    returns: SpAtReturn,
    /// The number of the call.
    since: u64,
}

/// The shadow stack: knows a call by its opcode, and a return by its matching an outstanding call.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What is outstanding of the task that ran last, oldest first; and of the others.
    outstanding: Vec<Outstanding>,
    task: u64,
    others: FxHashMap<u64, Vec<Outstanding>>,
    /// How many outstanding activations resume at an address: most jumps go where none does.
    waiting: FxHashMap<u64, u32>,
    /// By task, place and SP: the call that has returned there last.
    returned: FxHashMap<(u64, u64, u64), u64>,
}

impl Ledger {
    fn forget(&mut self, resume: u64) {
        if let Some(count) = self.waiting.get_mut(&resume) {
            *count -= 1;
        }
    }

    /// Makes this task the one that runs.
    fn switch(&mut self, task: u64) {
        if task != self.task {
            let next = self.others.remove(&task).unwrap_or_default();
            let before = std::mem::replace(&mut self.outstanding, next);
            self.others.insert(std::mem::replace(&mut self.task, task), before);
        }
    }

    /// The index of the outstanding call that returns by this transfer.
    fn returned_by(&self, transfer: &Transfer) -> Option<usize> {
        let Transfer { to, sp, may_move, .. } = *transfer;
        let is_it = |call: &Outstanding| call.resume == to && (call.returns.allows(call.cfa, sp) || may_move);
        match self.outstanding.last() {
            Some(latest) if is_it(latest) => Some(self.outstanding.len() - 1),
            _ if self.waiting.get(&to).is_none_or(|count| *count == 0) => None,
            _ => self.outstanding.iter().rposition(is_it),
        }
    }
}

impl Witness for Ledger {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        let Transfer { task, next, to, sp, call_sp, number, flow, is_exception, returns, .. } = *transfer;
        self.switch(task);
        if let Some(index) = self.returned_by(transfer) {
            let Outstanding { cfa, since, .. } = self.outstanding[index];
            while self.outstanding.len() > index
                && let Some(gone) = self.outstanding.pop()
            {
                self.forget(gone.resume);
            }
            if transfer.may_return_again {
                self.returned.insert((task, to, sp), since);
            }
            return Some(Event::Resumed { resume: to, cfa, since });
        }
        let is_call = flow.kind == FlowKind::Call || (transfer.enters_by_jump && flow.kind == FlowKind::Jump);
        // A "call" to the next instruction (the old idiom to learn one's own address) calls no function.
        if !is_exception && (!is_call || to == next) {
            let again = if transfer.may_return_again { self.returned.get(&(task, to, sp)) } else { None };
            return again.filter(|_| !is_call).map(|since| Event::Again { since: *since });
        }
        self.outstanding.push(Outstanding { resume: next, cfa: call_sp, returns, since: number });
        *self.waiting.entry(next).or_default() += 1;
        Some(Event::Called { resume: next, cfa: call_sp })
    }

    fn waits(&mut self, resume: u64, cfa: u64, number: u64) {
        let call = Outstanding { resume, cfa, returns: SpAtReturn::Same, since: number };
        self.switch(0);
        self.outstanding.push(call);
        *self.waiting.entry(resume).or_default() += 1;
    }

    fn ends(&mut self, task: u64, (resume, cfa): (u64, u64)) {
        self.switch(task);
        if let Some(index) = self.outstanding.iter().rposition(|call| (call.resume, call.cfa) == (resume, cfa)) {
            self.outstanding.remove(index);
            self.forget(resume);
        }
    }
}

/// The witness of effects: recognises a call by the return address that it left, and keeps no order. Control that arrives at a
/// pending place with the SP of its call has returned there.
#[derive(Debug, Default)]
pub struct Future {
    /// By task, place and the SP with which control will arrive there: the number of the transfer that was the call, and its
    /// SP. There cannot be two calls from one place with one SP, unless the older one is dead.
    pending: FxHashMap<(u64, u64, u64), (u64, u64)>,
    /// Calls of outlined code, whose SP at the return is not known.
    outlined: Vec<OutlinedCall>,
    /// What is pending no more, because control has come: it may come again.
    came: FxHashMap<(u64, u64, u64), u64>,
}

/// A call that will return to a place with an SP of which only the direction is known.
#[derive(Debug, Clone, Copy)]
struct OutlinedCall {
    task: u64,
    place: u64,
    /// The number of the transfer that was the call, and its SP.
    since: u64,
    cfa: u64,
    returns: SpAtReturn,
}

impl Future {
    /// The call that returns to this place, if its SP need not be that of the call.
    fn moved(&mut self, transfer: &Transfer) -> Option<(u64, u64)> {
        let Transfer { task, to, sp, .. } = *transfer;
        if transfer.may_move {
            let places = self.pending.iter().filter(|((of, place, _), _)| (*of, *place) == (task, to));
            let latest = places.max_by_key(|(_, (since, _))| *since).map(|(place, _)| *place);
            if let Some(call) = latest.and_then(|place| self.pending.remove(&place)) {
                return Some(call);
            }
        }
        let is_it = |call: &OutlinedCall| (call.task, call.place) == (task, to) && call.returns.allows(call.cfa, sp);
        let latest = (0..self.outlined.len()).filter(|index| is_it(&self.outlined[*index]));
        let latest = latest.max_by_key(|index| self.outlined[*index].since)?;
        let OutlinedCall { since, cfa, .. } = self.outlined.swap_remove(latest);
        Some((since, cfa))
    }
}

impl Witness for Future {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        let Transfer { task, next, to, sp, call_sp, number, linked, is_exception, returns, .. } = *transfer;
        let moved = if transfer.may_move || !self.outlined.is_empty() { self.moved(transfer) } else { None };
        if let Some((since, cfa)) = moved.or_else(|| self.pending.remove(&(task, to, sp))) {
            if transfer.may_return_again {
                self.came.insert((task, to, sp), since);
            }
            return Some(Event::Resumed { resume: to, cfa, since });
        }
        if !is_exception && (!linked || to == next) {
            let again = if transfer.may_return_again { self.came.get(&(task, to, sp)) } else { None };
            return again.filter(|_| !linked).map(|since| Event::Again { since: *since });
        }
        let arrives = match returns {
            SpAtReturn::Same => Some(call_sp),
            SpAtReturn::Higher(bytes) => Some(call_sp.wrapping_add(bytes)),
            SpAtReturn::Lowered | SpAtReturn::Raised => None,
        };
        match arrives {
            Some(sp) => _ = self.pending.insert((task, next, sp), (number, call_sp)),
            None => self.outlined.push(OutlinedCall { task, place: next, since: number, cfa: call_sp, returns }),
        }
        Some(Event::Called { resume: next, cfa: call_sp })
    }

    fn waits(&mut self, resume: u64, cfa: u64, number: u64) {
        self.pending.insert((0, resume, cfa), (number, cfa));
    }

    fn ends(&mut self, task: u64, (resume, cfa): (u64, u64)) {
        // In a process, each call returns with the SP that it was made with.
        self.pending.remove(&(task, resume, cfa));
    }
}
