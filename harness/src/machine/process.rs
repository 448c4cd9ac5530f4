//! Runs a process: the program under Unicorn, and its kernel between two instructions.
//!
//! At a system call the emulator stops, the kernel does what is asked, and the emulator starts again behind it, in whichever thread
//! runs now. So the kernel never acts inside of a hook, and may map memory and change every register.

use std::cell::Cell;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use unicorn_engine::{Unicorn, uc_error};

use super::abort::{Name, emulate};
use super::answered::Answers;
use super::core::Core;
use super::hands::{Hands, Threads};
use super::{Context, GuestMemory, Stop, before_instruction, context, new_engine, refused};
use crate::Error;
use crate::cpu::{ClockPart, Cpu, Register};
use crate::guest::conventions::Vectors;
use crate::guest::{Symbols, layout};
use crate::trace::{Ended, Memory, Observer, Previous, Run, Signal};
use crate::user::process::{self, Arrival, Hardware, Launch, Next, Process, QUANTUM};

/// An address at which nothing is ever mapped: a run never comes to its end there.
const NOWHERE: u64 = 0x7f_ffff_f800;
/// Why a run ends whose kernel is lost; it never is.
const LOST: &str = "the process has lost its kernel";

/// A process while it runs, as the hooks see it.
#[derive(Debug)]
pub(super) struct Running {
    kernel: Process,
    /// How many instructions the thread may still run before another one does, if one can.
    left: u64,
    takes_turns: bool,
    /// The signals from outside, each with how often control came to its instructions.
    arrivals: Vec<(Arrival, FxHashMap<u64, u64>)>,
    /// How many of them were delivered.
    delivered: u64,
    /// Whether a function is called alone, so that there are no threads.
    is_call: bool,
    /// Where its answers are noted, if somebody wants to know.
    answers: Option<Rc<Answers>>,
    /// Of each instruction that has run: [`Running::clock`].
    clocks: FxHashMap<u64, Vec<ClockPart>>,
}

impl Running {
    fn new(kernel: Process, launch: &Launch, answers: Option<Rc<Answers>>) -> Self {
        let arrivals = launch.signals.iter().map(|arrival| (arrival.clone(), FxHashMap::default())).collect();
        Self { arrivals, is_call: false, answers, ..Self::alone(kernel) }
    }

    fn alone(kernel: Process) -> Self {
        let arrivals = Vec::new();
        let clocks = FxHashMap::default();
        Self { kernel, left: QUANTUM, takes_turns: false, arrivals, delivered: 0, is_call: true, answers: None, clocks }
    }

    /// The kernel of a function that is called alone.
    pub(super) fn of_call(cpu: &Cpu) -> Self {
        Self::alone(Process::of_call(cpu, crate::user::areas()))
    }

    /// The registers into which this instruction, which has retired, has read a clock. The emulator's clock is that of this machine, and
    /// a run is to be the same as any other.
    pub(super) fn clock(&mut self, pc: u64, cpu: &Cpu, memory: &GuestMemory) -> &[ClockPart] {
        self.clocks.entry(pc).or_insert_with(|| {
            let mut bytes = [0; 4];
            let is_there = memory.read(pc, &mut bytes) || memory.read(pc, &mut bytes[..2]);
            if is_there { cpu.clock(&bytes) } else { Vec::new() }
        })
    }

    /// What it has written to standard output, and to standard error.
    pub(super) fn output(&self) -> &[process::Written; 2] {
        self.kernel.output()
    }

    /// Whether another thread has its turn before the next instruction. Counts the instruction otherwise.
    pub(super) const fn is_over(&mut self) -> bool {
        if self.takes_turns && self.left == 0 {
            return true;
        }
        self.left = self.left.saturating_sub(1);
        false
    }

    /// The running thread; 0 where there are none.
    pub(super) const fn thread(&self) -> u64 {
        if self.is_call { 0 } else { self.kernel.thread() }
    }

    /// The signal that arrives before this instruction, if one does.
    pub(super) fn arrival(&mut self, pc: u64) -> Option<Stop> {
        for (arrival, visits) in &mut self.arrivals {
            if !arrival.range.contains(&pc) || !self.kernel.would_take(arrival.signal) {
                continue;
            }
            let visit = visits.entry(pc).or_default();
            *visit += 1;
            if arrival.takes(*visit) {
                return Some(Stop::Signal(arrival.signal));
            }
        }
        None
    }

    fn turn(&mut self) {
        self.left = QUANTUM;
        self.takes_turns = self.kernel.takes_turns();
    }
}

/// What a process has shown when it has ended, or was stopped.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its exit status; `None` if it did not come to its end.
    pub status: Option<u8>,
    /// Its kernel, with what is mapped, and what it has written.
    pub kernel: Process,
    /// How many signals from outside were delivered.
    pub delivered: u64,
}

/// A process, ready for one run.
#[derive(Debug)]
pub struct ProcessMachine<'l> {
    launch: &'l Launch,
    symbols: Option<&'l Symbols>,
    core: &'static dyn Core,
    memory: Rc<GuestMemory>,
    vectors: Vectors,
    shown: Option<Shown>,
    answers: Option<Rc<Answers>>,
}

impl<'l> ProcessMachine<'l> {
    /// A process that has not started. `symbols` name places in errors, where they are known.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when the program cannot be loaded.
    pub fn new(launch: &'l Launch, symbols: Option<&'l Symbols>) -> Result<Self, Error> {
        let arenas = launch.arenas().map_err(|reason| Error::Elf { path: launch.file.clone(), reason })?;
        let memory = GuestMemory::of_arenas(&arenas).share();
        let core = super::core::of(launch.cpu);
        Ok(Self { launch, symbols, core, memory, vectors: Vectors::default(), shown: None, answers: None })
    }

    /// Notes what its kernel answers, from when somebody begins to be interested ([`Answers::begin`]).
    pub fn note_answers(&mut self) -> Rc<Answers> {
        Rc::clone(self.answers.get_or_insert_default())
    }

    /// What the process has shown; `None` before it has run.
    #[must_use]
    pub const fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// An engine with the process loaded, at its first instruction.
    fn engine<'a>(&'a self, observer: &'a mut dyn Observer) -> Result<Unicorn<'a, Context<'a>>, Error> {
        let Self { launch, core, memory, vectors, .. } = self;
        let context = context(observer, (launch.cpu, *core), memory, vectors, launch.budget);
        let mut engine = new_engine(context, false)?;
        core.enter_program(&mut engine, 0).map_err(|error| refused("set the state of a process", error))?;
        // Linux leaves zeros in all registers. Whatever is in those that a function must preserve means nothing.
        for (number, id) in (0..).map(Register).zip(core.register_ids()) {
            let is_planted = launch.cpu.callee_saved.contains(&number) && number != launch.cpu.abi.fp;
            let value = if is_planted { layout::planted(number.0) } else { 0 };
            engine.reg_write(*id, value).map_err(|error| refused("set a register", error))?;
        }
        let mut threads = FxHashMap::default();
        let mut hardware = Hands {
            engine: &mut engine,
            core: *core,
            threads: &mut threads,
            is_stale: Cell::new(false),
            is_call: false,
            notes: None,
        };
        let started = Process::start(launch, &mut hardware);
        let kernel = started.map_err(|reason| Error::Elf { path: launch.file.clone(), reason })?;
        engine.get_data_mut().process = Some(Box::new(Running::new(kernel, launch, self.answers.clone())));
        memory.take_writes();
        Ok(engine)
    }

    /// A place, by its function if that is known, else by the file that is mapped there.
    fn name(&self, kernel: Option<&Process>, address: u64) -> String {
        if let Some(symbols) = self.symbols.filter(|symbols| symbols.function_at(address).is_some()) {
            return symbols.name(address);
        }
        let mapped = kernel.into_iter().flat_map(Process::mappings).find(|mapping| mapping.range.contains(&address));
        mapped.map_or_else(
            || format!("{address:#x}"),
            |mapping| {
                format!("{} (offset {:#x} in the file)", mapping.path, address - mapping.range.start + mapping.offset)
            },
        )
    }

    /// Why a run has stopped that did not end.
    fn reason(&self, stop: &Stop, at: u64) -> String {
        match stop {
            Stop::Budget => format!("no end within the budget of {} instructions", self.launch.budget),
            Stop::Access { kind, page } => format!("{kind} in {}", self.describe_page(*page)),
            Stop::Undefined => {
                let mut bytes = [0; 15];
                let count =
                    (0..=bytes.len()).rev().find(|count| self.memory.read(at, &mut bytes[..*count])).unwrap_or(0);
                let bytes: Vec<String> = bytes[..count.min(8)].iter().map(|byte| format!("{byte:02x}")).collect();
                format!("an instruction that the emulator does not have ({} ...)", bytes.join(" "))
            }
            Stop::Exception(number) => format!("exception {number} ({})", self.core.exception_name(*number)),
            Stop::Halted => "it waits forever for an interrupt".to_owned(),
            stop => format!("{stop:?}"),
        }
    }

    fn describe_page(&self, page: u64) -> String {
        let is_mapped = self.memory.region(page).is_some_and(|it| it.permission_at(page) != unicorn_engine::Prot::NONE);
        if is_mapped { format!("page {page:#x}, which does not permit it") } else { format!("unmapped page {page:#x}") }
    }
}

/// What follows when the emulator has stopped.
enum After {
    /// It starts again here.
    Start(u64),
    /// The process has ended, with this status.
    Ended(u8),
    /// The observer has stopped it.
    Stopped,
    /// It cannot go on.
    Failed(String),
}

/// Does what the emulator has stopped for.
fn serve(engine: &mut Unicorn<'_, Context<'_>>, core: &'static dyn Core, threads: &mut Threads, stop: &Stop) -> After {
    let Some(mut running) = engine.get_data_mut().process.take() else { return After::Failed(LOST.to_owned()) };
    let before = running.thread();
    let mut previous = engine.get_data().previous;
    if let Stop::SystemCall { resume } = stop
        && let Err(error) = engine.set_pc(*resume)
    {
        return After::Failed(format!("{error:?}"));
    }
    let is_call = running.is_call;
    let notes = running.answers.clone().filter(|notes| notes.has_begun());
    let mut hands = Hands { engine, core, threads, is_stale: Cell::new(false), is_call, notes: notes.clone() };
    let next = match stop {
        Stop::SystemCall { .. } => running.kernel.system_call(&mut hands),
        Stop::Turn => running.kernel.switch(&mut hands).map(|()| Next::Continue),
        Stop::Signal(signal) => {
            let interrupted = running.kernel.interrupt(&mut hands, *signal);
            running.delivered += 1;
            interrupted.map(|delivered| delivered.map_or(Next::Continue, Next::Delivered))
        }
        _ => return After::Stopped,
    };
    let is_stale = hands.is_stale.get();
    let pc = hands.pc();
    if let (Some(notes), Stop::SystemCall { .. }) = (notes, stop) {
        notes.answered(hands.register(hands.cpu().result));
    }
    if is_stale {
        let _ = engine.ctl_flush_tlb(); // cannot fail for a live engine
        let _ = engine.ctl_flush_tb();
    }
    let after = running.thread();
    if after != before {
        threads.entry(before).or_insert((None, None)).1 = previous;
        previous = threads.get_mut(&after).and_then(|(_, previous)| previous.take());
    }
    if !matches!(stop, Stop::SystemCall { .. }) || after != before {
        running.turn();
    } else {
        running.takes_turns = running.kernel.takes_turns();
    }
    let context = engine.get_data_mut();
    context.process = Some(running);
    context.stop = None;
    for address in context.memory.take_writes() {
        context.observer.hardware_stored(address, 8);
    }
    context.previous = previous;
    match next {
        Ok(Next::Continue) => After::Start(pc),
        Ok(Next::Delivered(process::Delivered { pc: interrupted, sp, fp, returns_to })) => {
            let signal = Some(Signal { returns_to, fp });
            context.previous = Some(Previous::Delivered { pc: interrupted, sp, from_user: true, signal });
            After::Start(pc)
        }
        Ok(Next::Ended(ended)) => After::Ended(ended.status),
        Err(reason) => After::Failed(reason),
    }
}

/// Answers a system call of a function that is called alone, and returns the pc at which to continue.
pub(super) fn answer_call(engine: &mut Unicorn<'_, Context<'_>>) -> Option<u64> {
    let context = engine.get_data();
    let stop = context.stop.clone().filter(|stop| matches!(stop, Stop::SystemCall { .. }))?;
    let core = context.process.as_ref().filter(|process| process.is_call).map(|_| context.core)?;
    match serve(engine, core, &mut Threads::default(), &stop) {
        After::Start(pc) => return Some(pc),
        After::Failed(reason) => engine.get_data_mut().stop = Some(Stop::Refused(reason)),
        After::Ended(_) | After::Stopped => engine.get_data_mut().stop = Some(stop),
    }
    None
}

impl Run for ProcessMachine<'_> {
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error> {
        let wants_stores = observer.wants_stores();
        let mut threads = Threads::default();
        let this = &*self;
        let mut engine = this.engine(observer)?;
        engine.add_code_hook(1, 0, before_instruction).map_err(|error| refused("add the code hook", error))?;
        if wants_stores {
            super::watch_stores(&mut engine)?;
        }
        let mut pc = engine.pc_read().map_err(|error| refused("read a register", error))?;
        let start = std::time::Instant::now();
        let program = this.launch.name();
        let name = Name { cpu: this.launch.cpu.name, program: &program, symbols: this.symbols };
        let (status, failure) = loop {
            let outcome = emulate(&mut engine, &name, (pc, NOWHERE));
            if let Some(panic) = engine.get_data_mut().panic.take() {
                std::panic::resume_unwind(panic);
            }
            let stop = match (engine.get_data().stop.clone(), outcome) {
                (Some(stop), _) => stop,
                (None, Ok(())) => Stop::Halted,
                (None, Err(uc_error::INSN_INVALID)) => Stop::Undefined,
                (None, Err(error)) => return Err(refused("run the process", error)),
            };
            let after = match stop {
                Stop::SystemCall { .. } | Stop::Turn | Stop::Signal(_) => {
                    serve(&mut engine, this.core, &mut threads, &stop)
                }
                Stop::Observer => After::Stopped,
                stop => {
                    let at = engine.get_data().previous.map_or(pc, of_previous);
                    After::Failed(this.reason(&stop, at))
                }
            };
            match after {
                After::Start(next) => pc = next,
                After::Ended(status) => break (Some(status), None),
                After::Stopped => break (None, None),
                After::Failed(reason) => break (None, Some(reason)),
            }
        };
        let ran_for = start.elapsed();
        let context = engine.get_data_mut();
        let (executed, at) = (context.executed, context.previous.map_or(pc, of_previous));
        let running = context.process.take();
        let failure = failure.map(|reason| {
            let at = this.name(running.as_ref().map(|running| &running.kernel), at);
            Error::Run { guest: this.launch.name(), reason, at, executed }
        });
        drop(engine);
        self.shown = running.map(|running| {
            let Running { kernel, delivered, .. } = *running;
            Shown { status, kernel, delivered }
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(Ended { executed, complete: status.is_some(), interrupted: false, ran_for }),
        }
    }

    fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    fn again(&self) -> Option<Box<dyn Run + '_>> {
        let again = ProcessMachine::new(self.launch, self.symbols).ok()?;
        Some(Box::new(again))
    }
}

const fn of_previous(previous: Previous) -> u64 {
    match previous {
        Previous::Retired { pc, .. } | Previous::Delivered { pc, .. } => pc,
    }
}
