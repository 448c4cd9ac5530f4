//! Runs a guest under Unicorn. The only module that drives the emulator, and the only one with `unsafe` code.
//!
//! One forward run, with a hook before every instruction. Memory belongs to the harness and is lent to Unicorn, so that an
//! observer reads guest memory through plain pointers while the guest stands still.
//!
//! The traps that shaped this module: with Unicorn's own page walk, kernel addresses do not work on x86-64 and arm64, so
//! addresses are mapped one to one by a TLB hook, with the exact permission of each page (one permission too many puts every
//! store on a slow path). The `until` address is translated into the code around it, so it never changes and has a page of
//! its own. A panic inside a hook would abort the process, so hooks do not panic.

mod memory;

use std::ffi::c_void;

use kunwind::{Register, Regs};
use unicorn_engine::{HookType, MemType, Prot, TlbEntry, TlbType, Unicorn, uc_engine, uc_error, uc_reg_read};

use crate::Error;
use crate::arch::{Arch, Exception};
use crate::guest::{Guest, PAGE};
use crate::layout::{self, Layout, Poison};

pub use memory::Memory;

/// Watches a run.
pub trait Observer {
    /// Called before each instruction; says what happens next.
    fn interrupted(&mut self, at: &Interrupt<'_>) -> Action;

    /// Called when the instruction, which has been seen already, touches a guard page: the CPU takes a fault now.
    fn faulted(&mut self, _: &Interrupt<'_>) {}

    /// Whether it wants to be told of every store. That costs time.
    fn wants_stores(&self) -> bool {
        false
    }

    /// The guest has written so many bytes at this address.
    fn stored(&mut self, address: u64, size: usize) {
        let _ = (address, size);
    }
}

/// What happens next, at an instruction that has not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It runs.
    Continue,
    /// The run ends here.
    Stop,
    /// The CPU takes an exception instead; the instruction runs when the guest's handler has returned to it.
    Deliver(Exception),
}

/// How the machine came to an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    /// This instruction ran.
    Retired {
        /// Its address.
        pc: u64,
        /// Its size in bytes.
        size: u32,
    },
    /// An exception was delivered instead of this instruction.
    Delivered {
        /// The address of the instruction, which is still to run.
        pc: u64,
        /// SP at that moment.
        sp: u64,
        /// Whether the CPU was in user mode.
        from_user: bool,
    },
}

/// The machine before an instruction retires.
#[derive(Debug)]
pub struct Interrupt<'a> {
    /// The instruction that would run next.
    pub pc: u64,
    /// Its size in bytes.
    pub size: u32,
    /// How the machine came here; nothing at the entry.
    pub previous: Option<Previous>,
    /// Guest memory as it is now.
    pub memory: &'a Memory,
    engine: *mut uc_engine,
}

impl Interrupt<'_> {
    /// Reads registers into `regs`, which keeps what else it knows.
    pub fn read(&self, set: &RegisterSet, regs: &mut Regs) {
        for (register, id) in set.registers.iter().zip(&set.ids) {
            regs.set(*register, self.register(*id));
        }
    }

    /// Reads registers in the order of the set, as far as `values` reaches.
    pub fn read_values(&self, set: &RegisterSet, values: &mut [u64]) {
        for (value, id) in values.iter_mut().zip(&set.ids) {
            *value = self.register(*id);
        }
    }

    /// Whether this exception can really arrive here, by the interrupt mask as it is now.
    #[must_use]
    pub fn can_arrive(&self, arch: &dyn Arch, exception: Exception) -> bool {
        // No kernel runs user mode with its interrupts masked.
        self.is_user(arch) || arch.can_arrive(exception, self.register(arch.status_id()))
    }

    /// The register with the interrupt mask and the flags, as far as an exception brings it back.
    #[must_use]
    pub fn status(&self, arch: &dyn Arch) -> u64 {
        // Of user mode the kernel's register says nothing, and on riscv64 it cannot even be read.
        if self.is_user(arch) { 0 } else { self.register(arch.status_id()) & arch.status_mask() }
    }

    /// Whether the CPU is in user mode.
    #[must_use]
    pub fn is_user(&self, arch: &dyn Arch) -> bool {
        arch.is_user(&|id| self.register(id))
    }

    /// One by one: Unicorn's batch costs as much, and wants arrays of pointers.
    fn register(&self, id: i32) -> u64 {
        let mut value = 0_u64;
        // SAFETY: the engine lives as long as this value, which is lent to observers inside its hook only. The ids of a
        // `RegisterSet` are of general registers, of which Unicorn writes 64 bits. It fails for no such id.
        unsafe { uc_reg_read(self.engine, id, std::ptr::from_mut(&mut value).cast::<c_void>()) };
        value
    }
}

/// Registers that are read together.
#[derive(Debug, Clone)]
pub struct RegisterSet {
    registers: Vec<Register>,
    ids: Vec<i32>,
}

impl RegisterSet {
    /// The set of these registers, in this order; what the CPU does not have is left out.
    #[must_use]
    pub fn new(arch: &dyn Arch, registers: impl IntoIterator<Item = Register>) -> Self {
        let mut registers: Vec<_> = registers.into_iter().collect();
        registers.retain(|register| usize::from(register.0) < arch.register_ids().len().min(Regs::LEN));
        let ids = registers.iter().map(|register| arch.register_ids()[usize::from(register.0)]).collect();
        Self { registers, ids }
    }

    /// All registers of a CPU.
    #[must_use]
    pub fn all(arch: &dyn Arch) -> Self {
        Self::new(arch, (0..arch.register_ids().len() as u8).map(Register))
    }
}

/// What the emulator's hooks share during a run.
pub struct Context<'a> {
    observer: &'a mut dyn Observer,
    memory: &'a Memory,
    previous: Option<Previous>,
    arch: &'static dyn Arch,
    vectors: &'a [Option<u64>],
    executed: u64,
    budget: u64,
    stop: Option<Stop>,
    /// What the firmware keeps of the code that it interrupted; empty while it has interrupted none.
    pub(crate) firmware: Vec<u64>,
    /// A state of the CPU in kernel mode, for a CPU that needs one to get back there.
    pub(crate) kernel_mode: Option<unicorn_engine::Context>,
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
    Access { kind: &'static str, page: u64 },
    Undefined,
    Halted,
    Exception(u32),
    Firmware(String),
    Undeliverable { exception: Exception, reason: String },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How many instructions were started.
    pub executed: u64,
    /// Whether the guest reached its sentinel; otherwise the observer broke off.
    pub complete: bool,
    /// How long the emulator ran, without setting it up.
    pub ran_for: std::time::Duration,
}

/// A guest in memory, ready for one run.
#[derive(Debug)]
pub struct Machine<'g> {
    guest: &'g Guest,
    memory: Memory,
    entry: u64,
    sentinel: u64,
    sp: u64,
    /// The addresses of [`Arch::vector_symbols`], as far as the guest has them.
    vectors: Vec<Option<u64>>,
    max_cpu: bool,
}

impl<'g> Machine<'g> {
    /// Loads a guest, places and poisons its stacks.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when the guest lacks `entry` or the sentinel.
    pub fn new(guest: &'g Guest, entry: &str, layout: &Layout, poison: &Poison) -> Result<Self, Error> {
        let entry = guest.function(entry)?.address;
        let sentinel =
            guest.require("__sentinel", "a run ends where the guest jumps to it; guests/guest.ld defines it")?;
        let mut memory = Memory::new(guest);
        memory.guard(&layout.stacks);
        for stack in &layout.stacks {
            for address in (stack.bounds.low..stack.bounds.high).step_by(8) {
                memory.write_u64(address, poison.word(address));
            }
        }
        for (address, value) in &layout.words {
            memory.write_u64(*address, *value);
        }
        let vectors = guest.arch.vector_symbols().iter().map(|symbol| guest.symbols.address(symbol)).collect();
        Ok(Self { guest, memory, entry, sentinel, sp: layout.sp, vectors, max_cpu: false })
    }

    /// Takes the CPU model with everything that the emulator can do.
    pub const fn use_max_cpu(&mut self) {
        self.max_cpu = true;
    }

    /// Its memory.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Runs the guest to its sentinel, or until the observer breaks, or until `budget` instructions have started.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] when the guest touches what it may not, executes what is no instruction, takes an exception that
    /// nobody handles, or exhausts the budget; [`Error::Emulator`] when Unicorn refuses a request.
    pub fn run(&mut self, observer: &mut dyn Observer, budget: u64) -> Result<Ended, Error> {
        let wants_stores = observer.wants_stores();
        let context = self.context(observer, budget);
        let mut engine = self.engine(context)?;
        engine.add_code_hook(1, 0, before_instruction).map_err(|error| refused("add the code hook", error))?;
        if wants_stores {
            engine
                .add_mem_hook(HookType::MEM_WRITE, 1, 0, |engine, _, address, size, _| {
                    engine.get_data_mut().observer.stored(address, size);
                    true
                })
                .map_err(|error| refused("add the store hook", error))?;
        }
        let start = std::time::Instant::now();
        let mut outcome = engine.emu_start(self.entry, self.sentinel, 0, 0);
        while let Some(pc) = fault_on_guard(&mut engine) {
            outcome = engine.emu_start(pc, self.sentinel, 0, 0);
        }
        let ran_for = start.elapsed();
        let context = engine.get_data();
        let stop = match (&context.stop, outcome) {
            (Some(stop), _) => Some(stop.clone()),
            // Unicorn also returns when the CPU waits for an interrupt, and says Ok.
            (None, Ok(())) if engine.pc_read().is_ok_and(|pc| pc != self.sentinel) => Some(Stop::Halted),
            (None, Ok(())) => None,
            (None, Err(uc_error::INSN_INVALID)) => Some(Stop::Undefined),
            (None, Err(error)) => return Err(refused("run the guest", error)),
        };
        let executed = context.executed;
        let reason = match stop {
            None => return Ok(Ended { executed, complete: true, ran_for }),
            Some(Stop::Observer) => return Ok(Ended { executed, complete: false, ran_for }),
            Some(Stop::Budget) => format!("no end within the budget of {budget} instructions"),
            Some(Stop::Access { kind, page }) => format!("{kind} in {}", self.describe(page)),
            Some(Stop::Undefined) => "undefined instruction".to_owned(),
            Some(Stop::Undeliverable { exception, reason }) => {
                format!("{} cannot be delivered: {reason}", exception.name())
            }
            Some(Stop::Firmware(reason)) => reason,
            Some(Stop::Halted) => "it waits for an interrupt for ever".to_owned(),
            Some(Stop::Exception(number)) => {
                format!("unhandled exception {number} ({})", self.guest.arch.exception_name(number))
            }
        };
        let at = context.previous.map_or(self.entry, |previous| match previous {
            Previous::Retired { pc, .. } | Previous::Delivered { pc, .. } => pc,
        });
        Err(Error::Run { guest: self.guest.name.clone(), reason, at: self.guest.symbols.name(at), executed })
    }

    /// Runs the guest to its sentinel without watching it: with a hook that does nothing before each instruction, or with
    /// none. The yardsticks of the benches; there is no budget.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when Unicorn refuses a request or the guest does not end well.
    pub fn run_unwatched(&mut self, empty_hook: bool) -> Result<std::time::Duration, Error> {
        struct Nobody;
        impl Observer for Nobody {
            fn interrupted(&mut self, _: &Interrupt<'_>) -> Action {
                Action::Continue
            }
        }
        let mut nobody = Nobody;
        let context = self.context(&mut nobody, u64::MAX);
        let mut engine = self.engine(context)?;
        if empty_hook {
            engine.add_code_hook(1, 0, |_, _, _| ()).map_err(|error| refused("add the code hook", error))?;
        }
        let start = std::time::Instant::now();
        engine.emu_start(self.entry, self.sentinel, 0, 0).map_err(|error| refused("run the guest", error))?;
        Ok(start.elapsed())
    }

    fn context<'a>(&'a self, observer: &'a mut dyn Observer, budget: u64) -> Context<'a> {
        Context {
            observer,
            memory: &self.memory,
            previous: None,
            arch: self.guest.arch,
            vectors: &self.vectors,
            executed: 0,
            budget,
            stop: None,
            firmware: Vec::new(),
            kernel_mode: None,
        }
    }

    /// A page with what is mapped there.
    fn describe(&self, page: u64) -> String {
        match self.memory.region(page) {
            _ if self.memory.is_guard(page) => format!("page {page:#x} between stacks"),
            None => format!("unmapped page {page:#x}"),
            Some(region) if region.permission & Prot::EXEC != Prot::NONE => format!("page {page:#x} of code"),
            Some(region) if region.permission & Prot::WRITE != Prot::NONE => format!("page {page:#x} of data"),
            Some(_) => format!("page {page:#x} of constants"),
        }
    }

    /// A new engine with the guest's memory, hooks and registers.
    fn engine<'a>(&'a self, context: Context<'a>) -> Result<Unicorn<'a, Context<'a>>, Error> {
        let arch = self.guest.arch;
        let parameters = arch.engine(self.max_cpu);
        let mut engine = Unicorn::new_with_data(parameters.arch, parameters.mode, context)
            .map_err(|error| refused("open an engine", error))?;
        if let Some(model) = parameters.model {
            engine.ctl_set_cpu_model(model).map_err(|error| refused("choose the CPU model", error))?;
        }
        engine.ctl_set_tlb_type(TlbType::VIRTUAL).map_err(|error| refused("set the TLB type", error))?;
        engine.add_tlb_hook(1, 0, fill_tlb).map_err(|error| refused("add the TLB hook", error))?;
        for region in &self.memory.regions {
            // SAFETY: the region outlives the engine, which borrows `self`, and is a whole number of pages.
            unsafe { engine.mem_map_ptr(region.address, region.size as u64, Prot::ALL, region.bytes.as_ptr().cast()) }
                .map_err(|error| refused("map guest memory", error))?;
        }
        arch.boot(&mut engine, &self.vectors, self.max_cpu).map_err(|error| refused("boot the CPU", error))?;
        for (number, id) in (0..).zip(arch.register_ids()) {
            let value = if Register(number) == arch.sp() { self.sp } else { layout::planted(number) };
            engine.reg_write(*id, value).map_err(|error| refused("set a register", error))?;
        }
        engine.add_intr_hook(exception).map_err(|error| refused("add the exception hook", error))?;
        engine
            .add_insn_invalid_hook(undefined)
            .map_err(|error| refused("add the undefined-instruction hook", error))?;
        Ok(engine)
    }
}

/// An error for what Unicorn refuses.
fn refused(doing: &'static str, error: uc_error) -> Error {
    Error::Emulator { doing, reason: format!("{error:?}") }
}

/// The code hook: hands the state before the instruction to the observer.
fn before_instruction(engine: &mut Unicorn<'_, Context<'_>>, pc: u64, size: u32) {
    let handle = engine.get_handle();
    let context = engine.get_data_mut();
    if context.stop.is_none() {
        if context.executed == context.budget {
            context.stop = Some(Stop::Budget);
        } else {
            context.executed += 1;
            let previous = context.previous.replace(Previous::Retired { pc, size });
            let at = Interrupt { pc, size, previous, memory: context.memory, engine: handle };
            match context.observer.interrupted(&at) {
                Action::Continue => {}
                Action::Stop => context.stop = Some(Stop::Observer),
                Action::Deliver(exception) => deliver(engine, exception, pc, pc),
            }
        }
    }
    if engine.get_data().stop.is_some() {
        let _ = engine.emu_stop(); // cannot fail for a live engine
    }
}

/// Lets the CPU take an exception, with `pc` as the address that it saves; the interrupted code will go on at `resume`.
fn deliver(engine: &mut Unicorn<'_, Context<'_>>, exception: Exception, pc: u64, resume: u64) {
    let Context { arch, memory, vectors, .. } = *engine.get_data();
    let sp = engine.reg_read(arch.register_ids()[usize::from(arch.sp().0)]).unwrap_or_default();
    let from_user = arch.is_user(&|id| engine.reg_read(id).unwrap_or_default());
    let taken = arch.take_exception(engine, memory, vectors, exception, pc);
    let context = engine.get_data_mut();
    context.previous = Some(Previous::Delivered { pc: resume, sp, from_user });
    if let Err(reason) = taken {
        context.stop = Some(Stop::Undeliverable { exception, reason });
    }
}

/// A kernel guest that touches a guard page takes a fault, and goes on in its handler: at the pc that this gives. Unicorn has
/// stopped before the instruction changed anything.
fn fault_on_guard(engine: &mut Unicorn<'_, Context<'_>>) -> Option<u64> {
    let handle = engine.get_handle();
    let context = engine.get_data_mut();
    let is_kernel = context.vectors.first().copied().flatten().is_some();
    let previous = context.previous;
    let (Some(Stop::Access { page, .. }), Some(Previous::Retired { pc, size })) = (&context.stop, previous) else {
        return None;
    };
    if !is_kernel || !context.memory.is_guard(*page) {
        return None;
    }
    context.stop = None;
    context.observer.faulted(&Interrupt { pc, size, previous, memory: context.memory, engine: handle });
    deliver(engine, Exception::Fault, pc, pc);
    if engine.get_data().stop.is_some() { None } else { engine.pc_read().ok() }
}

/// The TLB hook: every mapped page is where it says, with its segment's permission; the rest is a fault, noted here because
/// Unicorn does not tell its address. (Of the address it tells only the page.)
fn fill_tlb(engine: &mut Unicorn<'_, Context<'_>>, address: u64, kind: MemType) -> Option<TlbEntry> {
    let context = engine.get_data_mut();
    let (kind, needs) = match kind {
        MemType::WRITE | MemType::WRITE_UNMAPPED | MemType::WRITE_PROT => ("write", Prot::WRITE),
        MemType::FETCH | MemType::FETCH_UNMAPPED | MemType::FETCH_PROT => ("execution", Prot::EXEC),
        _ => ("read", Prot::READ),
    };
    match context.memory.region(address) {
        Some(region) if region.permission & needs != Prot::NONE && !context.memory.is_guard(address) => {
            // Not rounded to a page of ours: Unicorn's arm64 pages are 1 KiB, and it rounds by itself.
            Some(TlbEntry { paddr: address, perms: region.permission })
        }
        _ => {
            context.stop.get_or_insert(Stop::Access { kind, page: address & !(PAGE - 1) });
            None
        }
    }
}

/// The exception hook: a system call enters the guest's own kernel, if it has one, and a call of the firmware is answered;
/// nothing else may happen.
pub(crate) fn exception(engine: &mut Unicorn<'_, Context<'_>>, number: u32) {
    let Context { arch, vectors, .. } = *engine.get_data();
    let pc = engine.pc_read().unwrap_or_default();
    if let Some((saved, resume)) = arch.syscall(number, pc)
        && vectors.first().copied().flatten().is_some()
    {
        deliver(engine, Exception::Syscall, saved, resume);
    } else if let Some(done) = arch.firmware_call(engine, number, pc) {
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
