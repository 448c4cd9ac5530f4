//! Runs a guest under Unicorn. The only module that drives the emulator, and the only one with `unsafe` code.
//!
//! One forward run, with a hook before every instruction. The harness owns the memory and lends it to Unicorn, so that an
//! observer reads guest memory through plain pointers while the guest is stopped.
//!
//! The traps that shaped this module: Unicorn's own page walk loses kernel addresses on x86-64 and arm64, so a TLB hook maps
//! addresses one to one, with the exact permission of each page (one permission too many puts every store on a slow path).
//! Unicorn translates the `until` address into the code around it, so it never changes and has a page of its own. A panic
//! inside a hook would abort the process, so hooks do not panic, and one of the observer's is carried past the emulator.

mod abort;
mod answered;
mod answers;
mod arena;
mod core;
mod engine;
mod hands;
mod memory;
mod pages;
mod permission;
mod process;
mod reason;
mod registers;
mod second;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use unicorn_engine::{MemType, Prot, TlbEntry, Unicorn, uc_error};

use crate::Error;
use crate::cpu::{Cpu, Exception, Register};
use crate::guest::conventions::Vectors;
use crate::guest::{Answer, Guest, PAGE, Program, layout};
use crate::trace::{Action, Ended, Memory, Observer, Point, Previous, Run, Unobserved};
use crate::user::process::Written;

use self::abort::{Name, emulate};
use self::core::Core;
use self::engine::{context, enter, enter_kernel, float_result, new_engine, set_float_arguments, watch_stores};
use self::pages::Watch;
use self::process::Running;
use self::registers::{EngineRegisters, Kept};
pub use answered::Answers;
pub use memory::{GuestMemory, MappedPage};
pub use process::{ProcessMachine, Shown};
pub use second::{Call, Called, Crash, Instead, Second, boot, call};

/// What the emulator's hooks share during a run.
pub struct Context<'a> {
    observer: &'a mut dyn Observer,
    memory: Rc<GuestMemory>,
    previous: Option<Previous>,
    cpu: &'static Cpu,
    core: &'static dyn Core,
    ids: &'static [i32],
    kept: Kept,
    vectors: &'a Vectors,
    executed: u64,
    budget: u64,
    stop: Option<Stop>,
    /// What the observer panicked with: it must not unwind through the emulator's frames, which would abort the process.
    panic: Option<Box<dyn Any + Send>>,
    /// The interrupted registers that the firmware keeps; empty while it handles no event.
    firmware: Vec<u64>,
    /// A saved CPU state in kernel mode, for a CPU that needs one to return there.
    kernel_mode: Option<unicorn_engine::Context>,
    /// The process that runs, if one does, and its kernel.
    process: Option<Box<Running>>,
    /// In a run that begins in the middle of a program: what its kernel will answer.
    answers: Option<std::slice::Iter<'a, Answer>>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("executed", &self.executed)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

/// Why a run ended before its sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Observer,
    Budget,
    Access {
        kind: &'static str,
        page: u64,
    },
    Undefined,
    Halted,
    Exception(u32),
    Firmware(String),
    Undeliverable {
        exception: Exception,
        reason: String,
    },
    /// A page that the frozen case does not hold.
    Missing(u64),
    /// A system call that cannot be answered.
    Refused(String),
    /// A process makes a system call, and goes on there.
    SystemCall {
        resume: u64,
    },
    /// The next thread of a process has its turn.
    Turn,
    /// A signal arrives.
    Signal(u32),
}

/// What a function that was called alone has left, besides its result.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// What it has written to standard output, and to standard error.
    pub output: [Written; 2],
    /// The register of floating-point results, or its lower 64 bits.
    pub float: u64,
}

/// A guest in memory, ready for one run.
#[derive(Debug)]
pub struct Machine<'g> {
    program: &'g Program,
    guest: &'g Guest,
    core: &'static dyn Core,
    memory: Rc<GuestMemory>,
    entry: u64,
    sentinel: u64,
    sp: u64,
    vectors: Vectors,
    budget: u64,
    max_cpu: bool,
    /// What a function that is called alone has left when it has returned.
    left: RefCell<Left>,
}

impl<'g> Machine<'g> {
    /// Loads a program and places and poisons its stacks. The run will enter the function `entry` and start at most `budget`
    /// instructions.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when the guest lacks `entry` or the sentinel.
    pub fn new(program: &'g Program, entry: &str, budget: u64) -> Result<Self, Error> {
        let Program { guest, conventions, layout, .. } = program;
        let entry = match &program.start {
            Some(start) => start.pc,
            None => guest.function(entry)?.address,
        };
        let sentinel = conventions.sentinel.ok_or_else(|| {
            guest.missing("__sentinel", "a run ends where the guest jumps to it; guests/guest.ld defines it")
        })?;
        let core = self::core::of(guest.cpu);
        Ok(Self {
            program,
            guest,
            core,
            memory: loaded(program).share(),
            entry,
            sentinel,
            sp: layout.sp,
            vectors: conventions.vectors,
            budget,
            max_cpu: false,
            left: RefCell::default(),
        })
    }

    /// Selects the CPU model with every feature that the emulator has.
    pub const fn use_max_cpu(&mut self) {
        self.max_cpu = true;
    }

    /// Runs the guest to its sentinel without an observer: with an empty hook before each instruction, or with no hook. The
    /// baselines of the benches; there is no budget.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when Unicorn refuses a request or the guest does not end well.
    pub fn run_unwatched(&mut self, empty_hook: bool) -> Result<std::time::Duration, Error> {
        let mut unobserved = Unobserved;
        let context = self.context(&mut unobserved, u64::MAX);
        let mut engine = self.engine(context)?;
        if empty_hook {
            engine.add_code_hook(1, 0, |_, _, _| ()).map_err(|error| refused("add the code hook", error))?;
        }
        let start = std::time::Instant::now();
        engine.emu_start(self.entry, self.sentinel, 0, 0).map_err(|error| refused("run the guest", error))?;
        Ok(start.elapsed())
    }

    fn context<'a>(&'a self, observer: &'a mut dyn Observer, budget: u64) -> Context<'a> {
        let context = context(observer, (self.guest.cpu, self.core), &self.memory, &self.vectors, budget);
        let answers = self.program.midway.as_ref().map(|midway| midway.answers.iter());
        let is_call = self.is_program() && answers.is_none();
        let process = is_call.then(|| Box::new(Running::of_call(self.guest.cpu)));
        // Where a kernel is played, it changes registers as well.
        let kept = Kept::new((process.is_none() && answers.is_none()).then_some(self.guest));
        Context { answers, process, kept, ..context }
    }

    /// What a function that is called alone has left when it has returned.
    #[must_use]
    pub fn left(&self) -> Left {
        self.left.borrow().clone()
    }

    /// A new engine with the guest's memory, hooks and registers.
    fn engine<'a>(&'a self, context: Context<'a>) -> Result<Unicorn<'a, Context<'a>>, Error> {
        let mut engine = new_engine(context, self.max_cpu)?;
        for (number, id) in (0..).zip(self.core.register_ids()) {
            let value = if Register(number) == self.guest.cpu.sp { self.sp } else { layout::planted(number) };
            engine.reg_write(*id, value).map_err(|error| refused("set a register", error))?;
        }
        if let Some(start) = &self.program.start {
            enter(&mut engine, self.core, start)?;
            for (register, value) in start.constant.iter().chain(&start.registers) {
                let id = self.core.register_ids()[usize::from(register.0)];
                engine.reg_write(id, *value).map_err(|error| refused("set a register", error))?;
            }
        }
        set_float_arguments(&mut engine, self.core, &self.program.float_arguments)?;
        for (name, value) in self.program.midway.iter().flat_map(|midway| &midway.registers) {
            let is_known = self.core.set_named(&mut engine, name, *value);
            if !is_known.map_err(|error| refused("set a register", error))? {
                let cpu = self.guest.cpu.name;
                return Err(Error::Usage(format!(
                    "registers.{name}: there is no such register of {cpu}, or the emulator cannot set it"
                )));
            }
        }
        Ok(engine)
    }
}

/// The memory of a program before it runs: its segments, and its stacks with their poison.
fn loaded(program: &Program) -> GuestMemory {
    let Program { guest, layout, poison, .. } = program;
    let mut memory = GuestMemory::new(guest);
    if layout.has_guards {
        memory.guard(&layout.stacks);
    }
    if let Some(held) = &program.held {
        memory.watch(Watch::require(held)); // which are as they were when the run began
        return memory;
    }
    for stack in &layout.stacks {
        for address in (stack.bounds.low..stack.bounds.high).step_by(8) {
            memory.write_u64(address, poison.word(address));
        }
    }
    for (address, value) in &layout.words {
        memory.write_u64(*address, *value);
    }
    memory.take_writes();
    memory
}

impl Run for Machine<'_> {
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error> {
        let wants_stores = observer.wants_stores();
        let context = self.context(observer, self.budget);
        let mut engine = self.engine(context)?;
        engine.add_code_hook(1, 0, before_instruction).map_err(|error| refused("add the code hook", error))?;
        if wants_stores {
            watch_stores(&mut engine)?;
        }
        let start = std::time::Instant::now();
        let mut outcome = emulate(&mut engine, &Name::of(self.guest), (self.entry, self.sentinel));
        while let Some(pc) = fault_on_guard(&mut engine)
            .or_else(|| answers::answer(&mut engine))
            .or_else(|| process::answer_call(&mut engine))
        {
            engine.get_data_mut().kept.forget();
            outcome = emulate(&mut engine, &Name::of(self.guest), (pc, self.sentinel));
        }
        let ran_for = start.elapsed();
        self.memory.watched().inspect(|watch| watch.end());
        if let Some(panic) = engine.get_data_mut().panic.take() {
            resume_unwind(panic);
        }
        let context = engine.get_data();
        if let Some(process) = &context.process {
            let float = float_result(&engine, self.core);
            self.left.replace(Left { output: process.output().clone(), float });
        }
        let missing = self.memory.watched().and_then(Watch::missing).map(Stop::Missing);
        let stop = match (missing.as_ref().or(context.stop.as_ref()), outcome) {
            (Some(stop), _) => Some(stop.clone()),
            // Unicorn also returns Ok when the CPU waits for an interrupt.
            (None, Ok(())) if engine.pc_read().is_ok_and(|pc| pc != self.sentinel) => Some(Stop::Halted),
            (None, Ok(())) => None,
            (None, Err(uc_error::INSN_INVALID)) => Some(Stop::Undefined),
            (None, Err(error)) => return Err(refused("run the guest", error)),
        };
        let executed = context.executed;
        let at = context.previous.map_or(self.entry, |previous| match previous {
            Previous::Retired { pc, .. } | Previous::Delivered { pc, .. } => pc,
        });
        let reason = match stop {
            None => return Ok(Ended { executed, complete: true, interrupted: false, ran_for }),
            Some(Stop::Observer) => return Ok(Ended { executed, complete: false, interrupted: false, ran_for }),
            Some(stop) => self.reason(&engine, stop),
        };
        Err(Error::Run { guest: self.guest.name.clone(), reason, at: self.guest.symbols.name(at), executed })
    }

    fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    fn again(&self) -> Option<Box<dyn Run + '_>> {
        let Self { program, guest, core, entry, sentinel, sp, vectors, budget, max_cpu, .. } = *self;
        let memory = loaded(program).share();
        let left = RefCell::default();
        Some(Box::new(Self { program, guest, core, memory, entry, sentinel, sp, vectors, budget, max_cpu, left }))
    }
}

/// The error for a request that Unicorn refused.
fn refused(doing: &'static str, error: uc_error) -> Error {
    Error::Emulator { doing, reason: format!("{error:?}") }
}

/// The code hook: shows the observer the state before the instruction.
fn before_instruction(engine: &mut Unicorn<'_, Context<'_>>, pc: u64, size: u32) {
    let handle = engine.get_handle();
    if engine.get_data().process.is_some() {
        set_clock(engine);
    }
    let context = engine.get_data_mut();
    context.kept.stop();
    if context.stop.is_none() {
        if context.executed == context.budget {
            context.stop = Some(Stop::Budget);
        } else if context.process.as_mut().is_some_and(|process| process.is_over()) {
            context.stop = Some(Stop::Turn);
        } else {
            context.executed += 1;
            let thread = context.process.as_ref().map_or(0, |process| process.thread());
            let previous = context.previous.replace(Previous::Retired { pc, size });
            let regs = EngineRegisters { engine: handle, core: context.core, ids: context.ids, kept: &context.kept };
            let at = Point { pc, size, previous, thread, regs: &regs, memory: &*context.memory };
            // Guests are input, and a mistake of ours that one of them meets must not take down the runs of the others.
            let action = catch_unwind(AssertUnwindSafe(|| context.observer.point(&at)));
            if let Some(page) = context.memory.watched().and_then(Watch::missing) {
                context.stop = Some(Stop::Missing(page)); // whatever the observer makes of it is no verdict
            }
            match action.unwrap_or_else(|panic| {
                context.panic = Some(panic);
                Action::Stop
            }) {
                _ if context.stop.is_some() => {}
                Action::Continue => {
                    if let Some(process) = &mut context.process {
                        context.stop = process.arrival(pc);
                    }
                    context.kept.will_run(context.cpu, &context.memory, (pc, size));
                }
                Action::Stop => context.stop = Some(Stop::Observer),
                Action::Deliver { exception, write } => {
                    if let Some((address, value)) = write {
                        context.memory.write_u64(address, value);
                    }
                    deliver(engine, exception, pc, pc);
                }
            }
        }
    }
    if engine.get_data().stop.is_some() {
        let _ = engine.emu_stop(); // cannot fail for a live engine
    }
}

/// If the instruction that has just retired has read the clock of this machine, lets it have read how many instructions have run.
fn set_clock(engine: &mut Unicorn<'_, Context<'_>>) {
    let Context { process, previous, ids, cpu, memory, executed, .. } = engine.get_data_mut();
    let (Some(process), Some(Previous::Retired { pc, .. })) = (process, *previous) else { return };
    let parts = process.clock(pc, cpu, memory).iter();
    let values: Vec<(i32, u64)> = parts.map(|part| (ids[usize::from(part.register.0)], part.of(*executed))).collect();
    for (id, value) in values {
        let _ = engine.reg_write(id, value); // fails for none of these ids
    }
}

/// Makes the CPU take an exception and save `pc`; the interrupted code will resume at `resume`.
fn deliver(engine: &mut Unicorn<'_, Context<'_>>, exception: Exception, pc: u64, resume: u64) {
    engine.get_data_mut().kept.forget();
    let Context { cpu, core, vectors, .. } = *engine.get_data();
    let memory = Rc::clone(&engine.get_data().memory);
    let sp = engine.reg_read(core.register_ids()[usize::from(cpu.sp.0)]).unwrap_or_default();
    let from_user = core.is_user(&|id| engine.reg_read(id).unwrap_or_default());
    let taken = core.take_exception(engine, &memory, vectors, exception, pc);
    let context = engine.get_data_mut();
    for address in memory.take_writes() {
        context.observer.hardware_stored(address, 8);
    }
    context.previous = Some(Previous::Delivered { pc: resume, sp, from_user, signal: None });
    if let Err(reason) = taken {
        context.stop = Some(Stop::Undeliverable { exception, reason });
    }
}

/// Delivers a fault to a kernel guest that has touched a guard page, and returns the pc at which to continue: its handler's.
/// Unicorn stopped before the instruction changed anything.
fn fault_on_guard(engine: &mut Unicorn<'_, Context<'_>>) -> Option<u64> {
    let handle = engine.get_handle();
    let context = engine.get_data_mut();
    let previous = context.previous;
    let (Some(Stop::Access { page, .. }), Some(Previous::Retired { pc, size })) = (&context.stop, previous) else {
        return None;
    };
    if !context.vectors.is_kernel() || !context.memory.is_guard(*page) {
        return None;
    }
    context.stop = None;
    context.kept.forget();
    let regs = EngineRegisters { engine: handle, core: context.core, ids: context.ids, kept: &context.kept };
    let at = Point { pc, size, previous, thread: 0, regs: &regs, memory: &*context.memory };
    // The emulator is not running here, so a panic may unwind.
    context.observer.faulted(&at);
    deliver(engine, Exception::Fault, pc, pc);
    if engine.get_data().stop.is_some() { None } else { engine.pc_read().ok() }
}

/// The TLB hook: maps every page one to one, with its segment's permission. Everything else is a fault, noted here because
/// Unicorn does not report its address. (Even here it reports only the page.)
fn fill_tlb(engine: &mut Unicorn<'_, Context<'_>>, address: u64, kind: MemType) -> Option<TlbEntry> {
    let context = engine.get_data_mut();
    let (kind, needs) = match kind {
        MemType::WRITE | MemType::WRITE_UNMAPPED | MemType::WRITE_PROT => ("write", Prot::WRITE),
        MemType::FETCH | MemType::FETCH_UNMAPPED | MemType::FETCH_PROT => ("execution", Prot::EXEC),
        _ => ("read", Prot::READ),
    };
    match context.memory.region(address) {
        Some(region) if region.permission_at(address) & needs != Prot::NONE && !context.memory.is_guard(address) => {
            if !context.memory.may_use(address, 1) {
                context.stop.get_or_insert(Stop::Missing(address & !(PAGE - 1)));
                return None;
            }
            // Not rounded to our page size: Unicorn's arm64 pages are 1 KiB, and it rounds by itself.
            Some(TlbEntry { paddr: address, perms: region.permission_at(address) })
        }
        _ => {
            context.stop.get_or_insert(Stop::Access { kind, page: address & !(PAGE - 1) });
            None
        }
    }
}

/// The exception hook: a system call enters the guest's own kernel, if it has one, and a firmware call is answered. Any other
/// exception ends the run.
fn exception(engine: &mut Unicorn<'_, Context<'_>>, number: u32) {
    engine.get_data_mut().kept.forget();
    let Context { core, vectors, .. } = *engine.get_data();
    let pc = engine.pc_read().unwrap_or_default();
    let mut word = [0; 4];
    if engine.mem_read(pc, &mut word).is_err() {
        word = [0; 4];
    }
    let is_served = engine.get_data().process.is_some() || engine.get_data().answers.is_some();
    if is_served && core.is_system_call(number) {
        let resume = core.syscall(number, pc, 0).map_or(pc, |(_, resume)| resume);
        engine.get_data_mut().stop.get_or_insert(Stop::SystemCall { resume });
    } else if let Some((saved, resume)) = core.syscall(number, pc, u32::from_le_bytes(word))
        && vectors.is_kernel()
    {
        deliver(engine, Exception::Syscall, saved, resume);
    } else if let Some(done) = core.firmware_call(engine, number, pc) {
        if let Err(reason) = done {
            engine.get_data_mut().stop.get_or_insert(Stop::Firmware(reason));
        }
    } else {
        engine.get_data_mut().stop.get_or_insert(Stop::Exception(number));
    }
    if engine.get_data().stop.is_some() {
        let _ = engine.emu_stop(); // cannot fail for a live engine
    }
}

/// The undefined-instruction hook.
fn undefined(engine: &mut Unicorn<'_, Context<'_>>) -> bool {
    engine.get_data_mut().stop.get_or_insert(Stop::Undefined);
    false
}
