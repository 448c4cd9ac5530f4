//! A second engine over the memory of a stopped guest. It runs the guest's own code, an unwinder for example, and undoes whatever
//! that code writes.

use std::cell::RefCell;
use std::rc::Rc;

use unicorn_engine::{HookType, uc_error};

use super::memory::GuestMemory;
use super::{Context, Stop, new_engine, refused};
use crate::Error;
use crate::cpu::{Cpu, Linkage};
use crate::guest::conventions::Vectors;
use crate::guest::{Program, layout};
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
    /// How many instructions it may execute.
    pub budget: usize,
}

/// What a store has overwritten: address and bytes.
type Journal = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// Calls a guest function. Returns its result, and the words that it left at `result` (address, count) before its writes are
/// undone. If `memory` is a machine's, the engine shares its pages; otherwise it works on a copy.
///
/// # Errors
///
/// [`Error::Run`] when the function does what a guest must not do, or exhausts its budget, with the instruction at which it
/// stopped; [`Error::Emulator`] when Unicorn refuses a request.
pub fn call(
    program: &Program,
    memory: &dyn Memory,
    call: Call<'_>,
    result: (u64, usize),
) -> Result<(u64, Vec<u64>), Error> {
    let owned;
    let memory = match memory.as_any().and_then(|any| any.downcast_ref::<GuestMemory>()) {
        Some(shared) => shared,
        None => {
            owned = GuestMemory::copy(&program.guest, memory);
            &owned
        }
    };
    let journal = Journal::default();
    let ended = execute(program, memory, call, &journal);
    let words = (0..result.1 as u64).map(|word| memory.read_u64(result.0 + 8 * word).unwrap_or_default()).collect();
    for (address, bytes) in journal.borrow().iter().rev() {
        memory.restore(*address, bytes);
    }
    ended.map(|returned| (returned, words))
}

/// Runs the function and records in the journal what it overwrites.
fn execute(program: &Program, memory: &GuestMemory, call: Call<'_>, journal: &Journal) -> Result<u64, Error> {
    let cpu = program.guest.cpu;
    let core = super::core::of(cpu);
    let missing = || program.guest.missing("__sentinel", "a call returns there");
    let sentinel = program.conventions.sentinel.ok_or_else(missing)?;
    let mut unobserved = Unobserved;
    let vectors = Vectors::default();
    let context = Context {
        observer: &mut unobserved,
        memory,
        previous: None,
        cpu,
        core,
        ids: core.register_ids(),
        vectors: &vectors,
        executed: 0,
        budget: u64::MAX,
        stop: None,
        panic: None,
        firmware: Vec::new(),
        kernel_mode: None,
    };
    let mut engine = new_engine(context, false)?;
    let written = Rc::clone(journal);
    engine
        .add_mem_hook(HookType::MEM_WRITE, 1, 0, move |engine, _, address, size, _| {
            note(engine.get_data().memory, &written, address, size);
            true
        })
        .map_err(|error| refused("add the store hook", error))?;
    for (register, value) in registers(cpu, memory, &call, sentinel, journal) {
        let id = core.register_ids()[usize::from(register)];
        engine.reg_write(id, value).map_err(|error| refused("set a register", error))?;
    }
    let outcome = engine.emu_start(call.function, sentinel, 0, call.budget);
    let at = engine.pc_read().unwrap_or_default();
    let reason = match (&engine.get_data().stop, outcome) {
        (None, Ok(())) if at == sentinel => {
            let id = core.register_ids()[usize::from(cpu.result.0)];
            return engine.reg_read(id).map_err(|error| refused("read a register", error));
        }
        (None, Ok(())) => format!("it did not return within {} instructions", call.budget),
        (Some(Stop::Access { kind, page }), _) => format!("{kind} in page {page:#x}"),
        (None, Err(uc_error::INSN_INVALID)) | (Some(Stop::Undefined), _) => "undefined instruction".to_owned(),
        (Some(stop), _) => format!("{stop:?}"),
        (None, Err(error)) => return Err(refused("call a function of the guest", error)),
    };
    let at = program.guest.symbols.name(at);
    Err(Error::Run { guest: program.guest.name.clone(), reason, at, executed: 0 })
}

/// Notes what a store will overwrite.
fn note(memory: &GuestMemory, journal: &Journal, address: u64, size: usize) {
    let mut bytes = vec![0; size];
    if memory.read(address, &mut bytes) {
        journal.borrow_mut().push((address, bytes));
    }
}

/// The registers with which the function is entered: arguments, the return address where a call leaves it, SP; planted values in
/// all others.
fn registers(cpu: &Cpu, memory: &GuestMemory, call: &Call<'_>, sentinel: u64, journal: &Journal) -> Vec<(u8, u64)> {
    let mut registers: Vec<(u8, u64)> = (0..cpu.registers).map(|number| (number, layout::planted(number))).collect();
    registers.extend(cpu.arguments.iter().zip(call.arguments).map(|(register, value)| (register.0, *value)));
    let mut sp = call.sp & !15;
    match cpu.linkage {
        Linkage::Register(links) => registers.push((links[0].0, sentinel)),
        Linkage::Push => {
            sp -= 8;
            note(memory, journal, sp, 8);
            memory.write_u64(sp, sentinel);
            memory.take_writes();
        }
    }
    registers.push((cpu.sp.0, sp));
    registers
}
