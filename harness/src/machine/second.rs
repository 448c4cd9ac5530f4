//! A second engine over the memory of a stopped guest. It runs the guest's own code, an unwinder for example, and undoes whatever
//! that code writes.

use std::cell::RefCell;
use std::rc::Rc;

use unicorn_engine::{HookType, uc_error};

use super::memory::GuestMemory;
use super::{Context, Stop, new_engine, refused};
use crate::Error;
use crate::cpu::Linkage;
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
    let cpu = program.guest.cpu;
    let core = super::core::of(cpu);
    let owned;
    let memory = match memory.as_any().and_then(|any| any.downcast_ref::<GuestMemory>()) {
        Some(shared) => shared,
        None => {
            owned = GuestMemory::copy(&program.guest, memory);
            &owned
        }
    };
    let missing = || program.guest.missing("__sentinel", "a call returns there");
    let sentinel = program.conventions.sentinel.ok_or_else(missing)?;
    let mut unobserved = Unobserved;
    let vectors = crate::guest::conventions::Vectors::default();
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
        firmware: Vec::new(),
        kernel_mode: None,
    };
    let mut engine = new_engine(context, false)?;
    let journal: Rc<RefCell<Vec<(u64, Vec<u8>)>>> = Rc::default();
    let written = Rc::clone(&journal);
    engine
        .add_mem_hook(HookType::MEM_WRITE, 1, 0, move |engine, _, address, size, _| {
            let mut bytes = vec![0; size];
            if engine.get_data().memory.read(address, &mut bytes) {
                written.borrow_mut().push((address, bytes));
            }
            true
        })
        .map_err(|error| refused("add the store hook", error))?;
    let set = |engine: &mut unicorn_engine::Unicorn<'_, Context<'_>>, register: u8, value: u64| {
        engine
            .reg_write(core.register_ids()[usize::from(register)], value)
            .map_err(|error| refused("set a register", error))
    };
    for register in 0..cpu.registers {
        set(&mut engine, register, layout::planted(register))?;
    }
    for (register, value) in cpu.arguments.iter().zip(call.arguments) {
        set(&mut engine, register.0, *value)?;
    }
    let mut sp = call.sp & !15;
    match cpu.linkage {
        Linkage::Register(links) => set(&mut engine, links[0].0, sentinel)?,
        Linkage::Push => {
            sp -= 8;
            let mut bytes = vec![0; 8];
            memory.read(sp, &mut bytes);
            journal.borrow_mut().push((sp, bytes));
            memory.write_u64(sp, sentinel);
            memory.take_writes();
        }
    }
    set(&mut engine, cpu.sp.0, sp)?;
    let outcome = engine.emu_start(call.function, sentinel, 0, call.budget);
    let at = engine.pc_read().unwrap_or_default();
    let returned = engine.reg_read(core.register_ids()[usize::from(cpu.result.0)]).unwrap_or_default();
    let stop = engine.get_data().stop.clone();
    let words = (0..result.1 as u64).map(|word| memory.read_u64(result.0 + 8 * word).unwrap_or_default()).collect();
    drop(engine);
    for (address, bytes) in journal.borrow().iter().rev() {
        memory.restore(*address, bytes);
    }
    let reason = match (stop, outcome) {
        (None, Ok(())) if at == sentinel => return Ok((returned, words)),
        (None, Ok(())) => format!("it did not return within {} instructions", call.budget),
        (Some(Stop::Access { kind, page }), _) => format!("{kind} in page {page:#x}"),
        (None, Err(uc_error::INSN_INVALID)) | (Some(Stop::Undefined), _) => "undefined instruction".to_owned(),
        (Some(stop), _) => format!("{stop:?}"),
        (None, Err(error)) => return Err(refused("call a function of the guest", error)),
    };
    let place = program.guest.symbols.name(at);
    Err(Error::Run { guest: program.guest.name.clone(), reason, at: place, executed: 0 })
}
