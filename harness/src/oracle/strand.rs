//! Strands: what has a list of activations of its own. Each task of a kernel is one, and each fiber of a program.
//!
//! A kernel says which task runs (`__current`). A program does not say which fiber runs, but each has a stack of its own, which
//! the scenario names: a switch is when SP enters it. Stacks that are nobody's (an interrupt's, say) belong to whichever
//! strand moves SP there.
//!
//! ```text
//!   main's stack                   a fiber's stack
//!   main waits in jump()           (nothing waits: the fiber has not begun)
//!   jump: mov sp, x0  ---------->  jump: ldp x29, x30, [sp]; ret
//!                                  the fiber's first function: no caller
//!                                  it waits in jump()
//!   jump: ldp ..; ret  <---------  jump: mov sp, x0
//!   main resumes
//! ```
//!
//! In a process, threads are strands, and so are the fibers that `makecontext` has made, whichever thread runs them.
//!
//! Between the switch and the first instruction of a fiber that has not begun, nobody can say who will resume: the function that
//! switches runs already on the fiber's stack, and will not return to its caller. Such points are not judged.

use super::{Oracle, Truth};
use crate::guest::Program;
use crate::guest::conventions::StackRole;
use crate::trace::{Point, RegisterSet};

/// What tells which task runs.
#[derive(Debug)]
enum Current {
    /// The word that holds the address of its structure.
    Word(u64),
    /// The stack on which SP is, where that is a task's.
    Stack(RegisterSet),
}

/// The strands of a run.
#[derive(Debug)]
pub(super) struct Strands {
    /// What tells the running task, in guests that have tasks.
    current: Option<Current>,
    /// The running task, by the address of its structure.
    task: u64,
    /// SP, in guests that have fibers.
    sp: Option<RegisterSet>,
    /// The running fiber, by the lowest address of its stack; 0 for what runs on the first stack.
    fiber: u64,
    /// The function that has switched to a fiber which has not begun: its addresses.
    starts: Option<std::ops::Range<u64>>,
    /// In a process: the running thread, where it has fibers.
    thread: u64,
    /// In a process: what the function that has just switched to another fiber will do.
    after: After,
}

/// What is expected of a function of a process that has switched to another fiber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It has left, or none has switched.
    Nothing,
    /// It enters the fiber's first function.
    Begins,
    /// It goes to where the fiber has switched away. What switched there waits no more.
    Resumes,
}

impl Strands {
    pub(super) fn new(program: &Program) -> Self {
        let cpu = program.guest.cpu;
        let has_fibers = program.layout.stacks.iter().any(|stack| stack.role == StackRole::Fiber);
        Self {
            current: program.conventions.kernel.as_ref().map(|kernel| match kernel.current {
                Some(word) => Current::Word(word),
                None => Current::Stack(RegisterSet::new(cpu, [cpu.sp])),
            }),
            task: 0,
            sp: has_fibers.then(|| RegisterSet::new(cpu, [cpu.sp])),
            fiber: 0,
            starts: None,
            thread: 0,
            after: After::Nothing,
        }
    }

    /// Whether anything but a thread of a process can begin to run.
    pub(super) const fn can_switch(&self) -> bool {
        self.current.is_some() || self.sp.is_some()
    }
}

impl Oracle<'_> {
    /// The running task, by the address of its structure; 0 in a guest without tasks.
    #[must_use]
    pub const fn task(&self) -> u64 {
        self.strands.task
    }

    /// The truth of a task that is switched out. The stack of a task that never ran is empty.
    #[must_use]
    pub fn truth_of(&self, task: u64) -> Truth {
        if task == self.task() { self.truth.clone() } else { self.others.get(&task).cloned().unwrap_or_default() }
    }

    /// Whether SP is on the stack of a fiber that has not begun, so that the truth is not known.
    #[must_use]
    pub const fn is_between_strands(&self) -> bool {
        self.strands.starts.is_some()
    }

    /// What runs, of tasks or of fibers; 0 in a guest that has neither.
    pub(super) const fn strand(&self) -> u64 {
        if self.strands.sp.is_some() && !self.conventions.is_process { self.strands.fiber } else { self.strands.task }
    }

    /// Switches to the list of activations of what runs now.
    pub(super) fn switch_strand(&mut self, at: &Point<'_>) {
        if at.thread != 0 {
            self.switch_in_process(at);
            return;
        }
        if self.strands.sp.is_some() {
            self.switch_fiber(at);
            return;
        }
        let running = match &self.strands.current {
            None => return,
            Some(Current::Word(word)) => at.memory.read_u64(*word),
            Some(Current::Stack(set)) => {
                let mut sp = [0];
                at.read_values(set, &mut sp);
                self.task_of_stack(at, sp[0])
            }
        };
        if let Some(task) = running {
            self.switch_task(task);
        }
    }

    fn switch_in_process(&mut self, at: &Point<'_>) {
        let Some(set) = &self.strands.sp else { return self.switch_task(at.thread) };
        let mut sp = [0];
        at.read_values(set, &mut sp);
        let stack = self.layout.stack_of(sp[0]).map(|index| &self.layout.stacks[index]);
        let strand = match stack {
            Some(stack) if stack.role == StackRole::Fiber => stack.bounds.low,
            Some(_) => at.thread,
            None if self.strands.task == 0 => at.thread,
            None => self.strands.task,
        };
        let is_turn = std::mem::replace(&mut self.strands.thread, at.thread) != at.thread;
        if strand != self.strands.task {
            // Threads take turns anywhere; a fiber is left by a function, which runs on for some instructions.
            let switches = self.guest.symbols.function_at(at.pc).filter(|_| !is_turn);
            self.strands.starts = switches.map(|function| function.address..function.address + function.size);
            let is_new = strand != at.thread && !self.others.contains_key(&strand);
            self.strands.after = match (is_turn, is_new) {
                (true, _) => After::Nothing,
                (false, true) => After::Begins,
                (false, false) => After::Resumes,
            };
            self.switch_task(strand);
        }
        if self.conventions.makes_context == Some(at.pc) {
            self.make_context(at);
        }
        if self.strands.starts.as_ref().is_some_and(|function| !function.contains(&at.pc)) {
            self.strands.starts = None;
            if self.strands.after == After::Begins {
                self.strands.after = After::Nothing;
                self.begin_fiber(at);
            }
        }
    }

    /// Whether what is passed over by a return may be so: the function that has switched away from here does not run on.
    pub(super) fn resumes_fiber(&mut self) -> bool {
        let resumes = self.strands.after == After::Resumes;
        self.strands.after = After::Nothing;
        resumes
    }

    fn switch_task(&mut self, task: u64) {
        if task != self.strands.task {
            let next = self.others.remove(&task).unwrap_or_default();
            let previous = std::mem::replace(&mut self.truth, next);
            if self.strands.task != 0 {
                self.others.insert(self.strands.task, previous);
            } else {
                self.truth = previous; // boot code becomes the first task
            }
            self.strands.task = task;
        }
    }

    /// The task on whose stack SP is.
    fn task_of_stack(&self, at: &Point<'_>, sp: u64) -> Option<u64> {
        let kernel = self.conventions.kernel.as_ref()?;
        let read = |address| at.memory.read_u64(address);
        let is_its = |task: &u64| {
            let stack = self.conventions.task_stack(*task, &read);
            stack.is_some_and(|stack| stack.low <= sp && sp <= stack.high)
        };
        kernel.tasks.iter().map(|task| task.address).find(is_its)
    }

    /// A function has moved SP to the stack of a fiber that has not begun, and calls another there: it borrows the stack, and the
    /// call returns to it. Then its caller waits on another stack, and no fiber begins.
    pub(super) fn borrows_stack(&mut self, at: &Point<'_>, resume: u64) {
        let stack = self.layout.stacks.iter().find(|stack| stack.bounds.low == self.strands.fiber);
        let name = stack.map_or("?", |stack| &stack.name);
        let what = format!(
            "{} calls on the stack {name}, where no fiber has begun: if it only borrows that stack, take {name:?} out of fibers",
            self.guest.symbols.name_of_return(resume)
        );
        self.contradict(at.pc, &what);
    }

    fn switch_fiber(&mut self, at: &Point<'_>) {
        let Some(set) = &self.strands.sp else { return };
        let mut sp = [0];
        at.read_values(set, &mut sp);
        if self.strands.starts.as_ref().is_some_and(|function| !function.contains(&at.pc)) {
            self.strands.starts = None;
        }
        let Some(stack) = self.layout.stack_of(sp[0]).map(|index| &self.layout.stacks[index]) else { return };
        let fiber = match stack.role {
            StackRole::First => 0,
            StackRole::Fiber => stack.bounds.low,
            StackRole::User | StackRole::Kernel => return,
        };
        if fiber == self.strands.fiber {
            return;
        }
        let next = self.others.remove(&fiber);
        self.strands.starts = None;
        if next.is_none() {
            let function = self.guest.symbols.function_at(at.pc);
            self.strands.starts = function.map(|function| function.address..function.address + function.size);
        }
        let previous = std::mem::replace(&mut self.truth, next.unwrap_or_default());
        self.others.insert(self.strands.fiber, previous);
        self.strands.fiber = fiber;
    }
}
