//! A second engine over the memory of a stopped guest. It runs the guest's own code, an unwinder for example, and undoes whatever
//! that code writes.
//!
//! Both engines map the same pages, so the second sees exactly the memory of the first, and nothing is copied. The first never
//! executes anything while the second runs, and what the second writes is put back before the first goes on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use unicorn_engine::{HookType, Unicorn, uc_error};

use super::abort::{Name, emulate};
use super::memory::GuestMemory;
use super::{Context, Stop, context, enter, enter_kernel, loaded, new_engine, refused};
use crate::Error;
use crate::cpu::Linkage;
use crate::guest::{Constructor, Constructors, Program, layout};
use crate::trace::{Memory, Unobserved};

/// A call of a guest function, by the CPU's procedure call standard.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its address.
    pub function: u64,
    /// Integer arguments, at most as many as [`crate::cpu::Cpu::arguments`] has registers.
    pub arguments: &'a [u64],
    /// SP at the call: the function may use the stack below it, which must be mapped.
    pub sp: u64,
    /// Words that are written first, and restored with everything else: (address, value).
    pub words: &'a [(u64, u64)],
    /// Set where the function takes the place of one that the stopped guest has just called, so that it returns to that one's
    /// caller.
    pub instead: Option<Instead>,
    /// Whether the first of the words that it leaves is the address behind the last.
    pub has_cursor: bool,
    /// How many bytes of instructions it may execute.
    pub budget: u64,
}

/// The state in which a guest has just called a function, before that function's first instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instead {
    /// Where it returns to. On a CPU whose calls push, this is in the word at SP already.
    pub returns_to: u64,
    /// The frame pointer.
    pub fp: u64,
    /// The running task, by the address of its structure.
    pub task: u64,
}

/// What a store has overwritten: address and bytes.
type Journal = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// The result of a call, and the words (address, value) that it has written outside of the stacks.
type Kept = (u64, Vec<(u64, u64)>);

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The function's result.
    pub result: u64,
    /// The words that it left, as asked for.
    pub words: Vec<u64>,
}

/// A call that did not return: what happened, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// What happened.
    pub reason: String,
    /// The instruction, as `symbol+0x10`.
    pub at: String,
}

impl std::fmt::Display for Crash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at {}", self.reason, self.at)
    }
}

/// A second engine, for many calls.
pub struct Second<'p> {
    program: &'p Program,
    memory: Rc<GuestMemory>,
    engine: Unicorn<'p, Context<'p>>,
    journal: Journal,
    /// Whether the memory is the machine's, and not a copy of what was there once.
    is_shared: bool,
    /// How many bytes of instructions the running call may still execute.
    left: Rc<RefCell<u64>>,
}

impl std::fmt::Debug for Second<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Second").field("guest", &self.program.guest.name).finish_non_exhaustive()
    }
}

impl<'p> Second<'p> {
    /// A second engine over this memory of a guest. If it is a machine's, the engine shares its pages; otherwise it works on a
    /// copy of what is there now.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when Unicorn refuses a request.
    pub fn new(program: &'p Program, memory: &dyn Memory) -> Result<Self, Error> {
        let machine = memory.as_any().and_then(|any| any.downcast_ref::<GuestMemory>());
        let shared = machine.and_then(GuestMemory::shared);
        let is_shared = shared.is_some();
        let memory = shared.unwrap_or_else(|| GuestMemory::copy(&program.guest, memory).share());
        let cpu = program.guest.cpu;
        let core = super::core::of(cpu);
        let unobserved = Box::leak(Box::new(Unobserved)); // of no size, so that nothing leaks
        let context = context(unobserved, (cpu, core), &memory, &program.conventions.vectors, u64::MAX);
        let mut engine = new_engine(context, false)?;
        if let Some(start) = program.start.as_ref().filter(|start| start.thread.is_some()) {
            enter(&mut engine, core, start)?;
        }
        let (journal, left) = (Journal::default(), Rc::new(RefCell::new(0_u64)));
        let written = Rc::clone(&journal);
        let note_store = move |engine: &mut Unicorn<'_, Context<'_>>, _, address, size, _| {
            note(&engine.get_data().memory, &written, address, size);
            true
        };
        engine
            .add_mem_hook(HookType::MEM_WRITE, 1, 0, note_store)
            .map_err(|error| refused("add the store hook", error))?;
        let budget = Rc::clone(&left);
        let count_block = move |engine: &mut Unicorn<'_, Context<'_>>, _, size| {
            let mut left = budget.borrow_mut();
            *left = left.saturating_sub(u64::from(size));
            if *left == 0 {
                engine.get_data_mut().stop.get_or_insert(Stop::Budget);
                let _ = engine.emu_stop(); // cannot fail for a live engine
            }
        };
        engine.add_block_hook(1, 0, count_block).map_err(|error| refused("add the block hook", error))?;
        Ok(Self { program, memory, engine, journal, is_shared, left })
    }

    /// Whether the engine sees the machine's memory as it is now, and not a copy of what was there once.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Calls a guest function. Returns its result, and the words that it left at `result` (address, count) before its writes are
    /// undone.
    ///
    /// # Errors
    ///
    /// [`Error::Emulator`] when Unicorn refuses a request. That the function does what a guest must not do, or exhausts its
    /// budget, is no error but a [`Crash`].
    pub fn call(&mut self, call: Call<'_>, result: (u64, usize)) -> Result<Result<Called, Crash>, Error> {
        let ended = self.execute(call);
        let memory = &self.memory;
        let cursor = if call.has_cursor { memory.read_u64(result.0) } else { None };
        let used = cursor.map_or(u64::MAX, |cursor| cursor.saturating_sub(result.0) / 8);
        let words = (0..used.min(result.1 as u64)).map(|word| memory.read_u64(result.0 + 8 * word).unwrap_or_default());
        let called = ended.map(|ended| ended.map(|returned| Called { result: returned, words: words.collect() }));
        for (address, bytes) in self.journal.borrow_mut().drain(..).rev() {
            memory.restore(address, &bytes);
        }
        called
    }

    /// Calls a guest function whose writes stay, if it returns. Returns its result, and the words that it has written outside of the stacks.
    fn keep(&mut self, call: Call<'_>) -> Result<Result<Kept, Crash>, Error> {
        let ended = self.execute(call)?;
        if ended.is_err() {
            for (address, bytes) in self.journal.borrow_mut().drain(..).rev() {
                self.memory.restore(address, &bytes);
            }
        }
        let mut written = BTreeSet::new();
        for (address, bytes) in self.journal.borrow_mut().drain(..) {
            written.extend((address & !7..address + bytes.len() as u64).step_by(8));
        }
        let layout = &self.program.layout;
        let lasting = written.into_iter().filter(|address| layout.stack_of(*address).is_none());
        let words = lasting.filter_map(|address| Some((address, self.memory.read_u64(address)?))).collect();
        Ok(ended.map(|result| (result, words)))
    }

    fn execute(&mut self, call: Call<'_>) -> Result<Result<u64, Crash>, Error> {
        let Self { program, memory, engine, journal, .. } = self;
        let cpu = program.guest.cpu;
        let core = super::core::of(cpu);
        let until = match call.instead {
            Some(instead) => instead.returns_to,
            None => {
                let missing = || program.guest.missing("__sentinel", "a call returns there");
                program.conventions.sentinel.ok_or_else(missing)?
            }
        };
        if let Some(start) = &program.start {
            enter_kernel(engine, core, call.instead.map_or(start.task, |instead| instead.task))?;
        }
        for (address, value) in call.words {
            note(memory, journal, *address, 8);
            memory.write_u64(*address, *value);
        }
        memory.take_writes();
        for (register, value) in registers(program, memory, &call, until, journal) {
            let id = core.register_ids()[usize::from(register)];
            engine.reg_write(id, value).map_err(|error| refused("set a register", error))?;
        }
        *self.left.borrow_mut() = call.budget;
        engine.get_data_mut().stop = None;
        let outcome = emulate(engine, &Name::of(&program.guest), (call.function, until));
        let at = engine.pc_read().unwrap_or_default();
        let reason = match (&engine.get_data().stop, outcome) {
            (None, Ok(())) if at == until => {
                let id = core.register_ids()[usize::from(cpu.result.0)];
                return engine.reg_read(id).map(Ok).map_err(|error| refused("read a register", error));
            }
            (Some(Stop::Budget), _) => format!("it did not return within {} bytes of instructions", call.budget),
            (None, Ok(())) => "it waits forever for an interrupt".to_owned(),
            (Some(Stop::Access { kind, page }), _) => {
                let missing = program.conventions.missing.iter().find(|(address, _)| address == page);
                let named = |(_, name): &(u64, String)| format!("{kind} in `{name}`, which no loaded file defines");
                missing.map_or_else(|| format!("{kind} in page {page:#x}"), named)
            }
            (None, Err(uc_error::INSN_INVALID)) | (Some(Stop::Undefined), _) => "undefined instruction".to_owned(),
            (Some(Stop::Exception(number)), _) => format!("exception {number} ({})", core.exception_name(*number)),
            (Some(stop), _) => format!("{stop:?}"),
            (None, Err(error)) => return Err(refused("call a function of the guest", error)),
        };
        Ok(Err(Crash { reason, at: program.guest.symbols.name(at) }))
    }
}

/// Runs the functions that have run before a run begins ([`Program::indirect`], [`Program::booted_by`]): what they write is there.
///
/// # Errors
///
/// [`Error::Run`] when one crashes; [`Error::Emulator`] when Unicorn refuses a request.
pub fn boot(program: &mut Program) -> Result<(), Error> {
    /// How many bytes of instructions all of a function's may have: a fill of Linux's table for ORC needs a tenth of it.
    const BUDGET: u64 = 1 << 30;
    const FAILED: &str = ", which has to run first, failed: ";
    if program.indirect.words.is_empty() && program.booted_by.is_empty() && program.constructors.all.is_empty() {
        return Ok(());
    }
    let mut words = Vec::new();
    let Constructors { all, argument, mut ran, mut failed } = std::mem::take(&mut program.constructors);
    {
        let memory = loaded(program).share();
        let mut second = Second::new(program, &*memory)?;
        let run = |second: &mut Second<'_>, function: u64, arguments: &[u64]| {
            let (sp, budget) = (program.layout.sp, BUDGET);
            let call = Call { function, arguments, sp, words: &[], instead: None, has_cursor: false, budget };
            second.keep(call)?.map_err(|Crash { reason, at }| {
                let name = program.guest.symbols.name(function);
                let reason = format!("{name}{FAILED}{reason}");
                Error::Run { guest: program.guest.name.clone(), reason, at, executed: 0 }
            })
        };
        let mut chosen: BTreeMap<u64, u64> = BTreeMap::new();
        for (resolver, word) in &program.indirect.words {
            let address = match chosen.get(resolver) {
                Some(known) => *known,
                None => {
                    let (address, written) = run(&mut second, *resolver, &program.indirect.arguments)?;
                    words.extend(written);
                    chosen.insert(*resolver, address);
                    address
                }
            };
            memory.write_u64(*word, address);
            words.push((*word, address));
        }
        for function in &program.booted_by {
            words.extend(run(&mut second, *function, &[])?.1);
        }
        for Constructor { file, address } in all {
            // Without an argument, and without an environment.
            match run(&mut second, address, &[0, argument, argument]) {
                Ok((_, written)) => {
                    words.extend(written);
                    ran += 1;
                }
                Err(Error::Run { reason, at, .. }) => {
                    let reason = reason.rsplit(FAILED).next().unwrap_or_default();
                    let symbols = &program.guest.symbols;
                    let name = symbols.function_at(address).map_or_else(|| symbols.name(address), |it| it.name.clone());
                    failed.push(format!("{name} of {file}: {reason} at {at}"));
                }
                Err(error) => return Err(error),
            }
        }
        memory.take_writes();
    }
    program.constructors = Constructors { ran, failed, ..Constructors::default() };
    program.indirect.words.clear();
    program.booted_by.clear();
    program.layout.words.extend(words);
    Ok(())
}

/// Calls a guest function once, as [`Second::call`].
///
/// # Errors
///
/// [`Error::Run`] when the function crashes; [`Error::Emulator`] when Unicorn refuses a request.
pub fn call(
    program: &Program,
    memory: &dyn Memory,
    call: Call<'_>,
    result: (u64, usize),
) -> Result<(u64, Vec<u64>), Error> {
    match Second::new(program, memory)?.call(call, result)? {
        Ok(Called { result, words }) => Ok((result, words)),
        Err(Crash { reason, at }) => Err(Error::Run { guest: program.guest.name.clone(), reason, at, executed: 0 }),
    }
}

/// Notes what a store will overwrite.
fn note(memory: &GuestMemory, journal: &Journal, address: u64, size: usize) {
    let mut bytes = vec![0; size];
    if memory.read(address, &mut bytes) {
        journal.borrow_mut().push((address, bytes));
    }
}

/// The registers with which the function is entered: arguments, the return address where a call leaves it, SP; planted values in
/// all others, but for those that are constant in a kernel, if it has just called a function.
fn registers(
    program: &Program,
    memory: &GuestMemory,
    call: &Call<'_>,
    until: u64,
    journal: &Journal,
) -> Vec<(u8, u64)> {
    let cpu = program.guest.cpu;
    let mut registers: Vec<(u8, u64)> = (0..cpu.registers).map(|number| (number, layout::planted(number))).collect();
    registers.extend(cpu.arguments.iter().zip(call.arguments).map(|(register, value)| (register.0, *value)));
    let mut sp = call.sp;
    match (cpu.linkage, call.instead) {
        (Linkage::Register(links), _) => registers.push((links[0].0, until)),
        (Linkage::Push, Some(_)) => {}
        (Linkage::Push, None) => {
            sp = (sp & !15) - 8;
            note(memory, journal, sp, 8);
            memory.write_u64(sp, until);
            memory.take_writes();
        }
    }
    if let Some(instead) = call.instead {
        registers.push((cpu.abi.fp.0, instead.fp));
        let constant = program.start.iter().flat_map(|start| &start.constant);
        registers.extend(constant.map(|(register, value)| (register.0, *value)));
        let known = program.conventions.kernel.as_ref().and_then(|kernel| kernel.known.register);
        registers.extend(known.map(|register| (register.0, instead.task)));
    } else {
        sp = if matches!(cpu.linkage, Linkage::Push) { sp } else { sp & !15 };
        let start = program.start.iter().filter(|start| start.thread.is_some());
        registers.extend(start.flat_map(|start| &start.constant).map(|(register, value)| (register.0, *value)));
    }
    registers.push((cpu.sp.0, sp));
    registers
}
