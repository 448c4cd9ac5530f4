//! The frames of a run, as its rows are asked about them: at each point that of the running function, and those of the functions
//! that wait for a call to return.

use rustc_hash::FxHashMap;

use super::frames::{Frames, Waiting};
use super::judge::FrameTruth;
use super::within::Within;
use crate::Error;
use crate::cpu::{Linkage, Regs};
use crate::guest::conventions::TaskPlace;
use crate::guest::{Program, Symbol};
use crate::interrupt::Interrupt;
use crate::oracle::{Activation, Cause, Oracle, Testimony, Truth, Witnesses, with_store};
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::subject::GuestTarget;
use crate::trace::{Action, Ended, Memory, Observer, Point, RegisterSet, Run as _, Watched};

/// How many of the functions that wait are judged at each point, youngest first. Each was the youngest when it made its call, and
/// will be again before it resumes, so that a deep recursion need not be walked to its end every time.
const WAITING_JUDGED: usize = 8;

/// Where a frame is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Where {
    /// The instruction: the next one of the running function, the call of one that waits.
    pub(super) instruction: u64,
    /// By what a table is asked, as an unwinder would: one byte before a return address.
    pub(super) pc: u64,
}

/// Judges the frames of a run.
pub(super) trait Judge {
    /// The machine is at a point with these registers. Points outside of what the scenario asks for are left out.
    fn point(&mut self, follow: &mut Follow<'_>, at: &Point<'_>, regs: &Regs);
}

/// Makes the undisturbed run of a guest, and has its frames judged. What the witnesses say of it comes with the store that changed a
/// callee-saved register, if one came back changed.
///
/// # Errors
///
/// Whatever keeps it from running to its end.
pub(super) fn judged<J: Judge>(
    program: &Program,
    scenario: &Scenario,
    interrupt: &Interrupt,
    judge: J,
) -> Result<(J, Testimony, Ended), Error> {
    let mut machine = scenario.live(program)?;
    let mut judged = Judged { follow: Follow::new(program, scenario), judge, progress: interrupt.progress() };
    let ended = Watched::new(&mut *machine, interrupt).drive(&mut judged)?;
    let Judged { follow, judge, .. } = judged;
    let never_resumes = &scenario.text.never_resumes;
    let mut testimony = follow.oracle.testimony(never_resumes, ended);
    if testimony.clobbered.is_some()
        && let Some(mut again) = machine.again()
    {
        testimony = with_store(program, &mut Watched::new(&mut *again, interrupt), never_resumes, testimony)?;
    }
    Ok((judge, testimony, ended))
}

/// A run whose frames are judged.
struct Judged<'p, J> {
    follow: Follow<'p>,
    judge: J,
    progress: &'p Progress,
}

impl<J: Judge> Observer for Judged<'_, J> {
    fn wants_stores(&self) -> bool {
        self.follow.oracle.wants_stores()
    }

    fn stored(&mut self, address: u64, size: usize) {
        self.follow.oracle.stored(address, size);
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.follow.oracle.stored(address, size);
    }

    fn point(&mut self, at: &Point<'_>) -> Action {
        let Some(regs) = self.follow.observe(at) else { return Action::Stop };
        if self.follow.within.holds(at.pc) {
            self.progress.point();
            self.judge.point(&mut self.follow, at, &regs);
        }
        Action::Continue
    }
}

/// Follows a run.
pub(super) struct Follow<'p> {
    program: &'p Program,
    oracle: Oracle<'p>,
    within: Within,
    frames: Frames,
    registers: RegisterSet,
    red_zone: u64,
    /// All tasks.
    tasks: &'p [TaskPlace],
    /// Functions that the scenario declares omissible and never to resume, because live patching has redirected their calls.
    /// The caller is then the function that called them.
    gone: Vec<&'p Symbol>,
    /// The call instruction before each return address.
    calls: FxHashMap<u64, Option<u64>>,
}

impl<'p> Follow<'p> {
    fn new(program: &'p Program, scenario: &Scenario) -> Self {
        let text = &scenario.text;
        let is_gone =
            |function: &&Symbol| text.omissible.contains(&function.name) && text.never_resumes.contains(&function.name);
        Self {
            program,
            oracle: Oracle::new(program, Witnesses::default()),
            within: Within::new(program, text),
            frames: Frames::new(program.midway.is_some()),
            registers: RegisterSet::all(program.guest.cpu),
            red_zone: text.red_zone(program),
            tasks: program.conventions.kernel.as_ref().map_or(&[], |kernel| &kernel.tasks),
            gone: program.guest.symbols.functions().iter().filter(is_gone).collect(),
            calls: FxHashMap::default(),
        }
    }

    /// The machine is at this point. Its registers; nothing if the run is void.
    fn observe(&mut self, at: &Point<'_>) -> Option<Regs> {
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return None;
        }
        let guest = &self.program.guest;
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        self.frames.follow(guest.cpu, guest, at, &regs, &self.oracle);
        Some(regs)
    }

    /// Whether the running code's stack is known: not while a process changes over to another one itself.
    pub(super) fn is_stack_known(&self) -> bool {
        !self.program.conventions.is_process || !self.oracle.is_between_strands()
    }

    /// The truth for code that runs with this SP. While a task switch is half done, SP is already on the stack of a task that is
    /// not yet the running one: then that of the other task.
    fn truth(&self, memory: &dyn Memory, sp: u64) -> Truth {
        let read = |address| memory.read_u64(address);
        let mut others = self.tasks.iter().filter(|task| task.address != self.oracle.task());
        let owner = others.find(|task| {
            let stack = self.program.conventions.task_stack(task.address, &read);
            stack.is_some_and(|stack| (stack.low..stack.high).contains(&sp))
        });
        owner.map_or_else(|| self.oracle.truth().clone(), |task| self.oracle.truth_of(task.address))
    }

    /// Whether an activation waits in a function whose calls live patching has redirected, and which is no caller any more.
    /// `sp` is that of the function that asks.
    fn is_gone(&self, activation: &Activation, sp: u64) -> bool {
        // It had pushed nothing yet.
        let is_bare = activation.parent.as_ref().is_some_and(|parent| parent.cfa == activation.cfa);
        // Or SP is above the word with its return address, to which no one has returned.
        let is_passed = matches!(self.program.guest.cpu.linkage, Linkage::Push) && activation.cfa <= sp;
        let waits = activation.place().function(&self.program.guest.symbols);
        (is_bare || is_passed)
            && waits.is_some_and(|waits| self.gone.iter().any(|function| function.address == waits.address))
    }

    /// Whether the unwinder of an exception has put the address of a landing pad where the return address of a call was: what was called
    /// will not return any more.
    fn is_overwritten(&self, memory: &dyn Memory, caller: &Activation) -> bool {
        let pushed = self.program.guest.cpu.linkage.pushed();
        let is_pushed = self.program.conventions.is_process && pushed > 0 && caller.cause == Cause::Call;
        is_pushed && memory.read_u64(caller.cfa.wrapping_sub(pushed)) != Some(caller.resume)
    }

    /// The call before a return address.
    fn call_before(&mut self, resume: u64) -> Option<u64> {
        let program = self.program;
        *self.calls.entry(resume).or_insert_with(|| {
            let function = program.guest.symbols.function_at(resume.wrapping_sub(1))?;
            let lines = program.listing.of(function);
            let after = lines.partition_point(|line| line.address < resume);
            lines[..after].last().map(|line| line.address)
        })
    }

    /// The frame of the running function, and the truth about the stack.
    pub(super) fn running<R>(
        &self,
        at: &Point<'_>,
        regs: &Regs,
        judge: impl FnOnce(&FrameTruth<'_>, &GuestTarget<'_>, &Truth) -> R,
    ) -> R {
        let program = self.program;
        let sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let truth = self.truth(at.memory, sp);
        let target = GuestTarget::new(program, at.memory, &program.bounds, None);
        // An activation that waits on the kernel's stack has not called what runs in user mode.
        let is_caller = |caller: &&Activation| !at.is_user() || caller.stack == program.layout.stack_of(sp);
        let mut waiting = truth.activations();
        let caller = waiting.find(|activation| !self.is_gone(activation, sp)).filter(is_caller);
        let caller = caller.filter(|_| self.is_stack_known());
        let frame = FrameTruth {
            target: &target,
            regs,
            live_from: sp.wrapping_sub(self.red_zone),
            signed: self.frames.signed(),
            is_signing_known: self.frames.is_signing_known(),
            caller,
        };
        judge(&frame, &target, &truth)
    }

    /// The frames of the youngest functions that wait, each looked up where an unwinder would: one byte before its return address,
    /// or at the interrupted instruction.
    pub(super) fn each_waiting(&mut self, at: &Point<'_>, mut judge: impl FnMut(Where, &FrameTruth<'_>)) {
        let program = self.program;
        let target = GuestTarget::new(program, at.memory, &program.bounds, None);
        let truth = self.oracle.truth().clone();
        let mut waiting = truth.activations().peekable();
        for _ in 0..WAITING_JUDGED {
            let Some(activation) = waiting.next() else { break };
            if activation.cause == Cause::Call && self.is_gone(activation, 0) {
                continue;
            }
            // What waits on the kernel's stack has not called a function in user mode.
            let is_user = program.conventions.user_text.iter().any(|text| text.contains(&activation.resume));
            let caller = waiting.peek().copied().filter(|caller| !is_user || caller.stack == activation.stack);
            let (pc, call) = match activation.cause {
                Cause::Call => (activation.resume.wrapping_sub(1), self.call_before(activation.resume)),
                Cause::Exception | Cause::UserException => (activation.resume, Some(activation.resume)),
            };
            let Some(call) = call.filter(|_| !caller.is_some_and(|it| self.is_overwritten(at.memory, it))) else {
                continue;
            };
            // Functions that have waited since before the first call of their task have no registers.
            let Some(Waiting { regs, signed, is_signing_known }) = self.frames.waiting(activation).copied() else {
                continue;
            };
            let frame = FrameTruth {
                target: &target,
                regs: &regs,
                live_from: activation.cfa.wrapping_sub(self.red_zone),
                signed,
                is_signing_known,
                caller,
            };
            judge(Where { instruction: call, pc }, &frame);
        }
    }
}
