//! Engines: opened over a guest's memory, with the hooks that every run needs, and put into the state in which a run begins.

use std::rc::Rc;

use unicorn_engine::{HookType, Prot, TlbType, Unicorn};

use super::core::Core;
use super::registers::Kept;
use super::{Context, GuestMemory, exception, fill_tlb, refused, undefined};
use crate::Error;
use crate::cpu::Cpu;
use crate::guest::StartState;
use crate::guest::conventions::Vectors;
use crate::trace::Observer;

/// The context of a run that has not begun.
pub(super) fn context<'a>(
    observer: &'a mut dyn Observer,
    (cpu, core): (&'static Cpu, &'static dyn Core),
    memory: &Rc<GuestMemory>,
    vectors: &'a Vectors,
    budget: u64,
) -> Context<'a> {
    Context {
        observer,
        memory: Rc::clone(memory),
        previous: None,
        cpu,
        core,
        ids: core.register_ids(),
        kept: Kept::new(None),
        vectors,
        executed: 0,
        budget,
        stop: None,
        panic: None,
        firmware: Vec::new(),
        kernel_mode: None,
        process: None,
        answers: None,
    }
}

/// Puts an engine into the state in which this run begins, but for its general registers.
pub(super) fn enter(engine: &mut Unicorn<'_, Context<'_>>, core: &dyn Core, start: &StartState) -> Result<(), Error> {
    match start.thread {
        Some(thread) => {
            core.enter_program(engine, thread).map_err(|error| refused("set the state of a program", error))
        }
        None => enter_kernel(engine, core, start.task),
    }
}

/// Puts an engine into the state in which a booted kernel runs a task.
pub(super) fn enter_kernel(engine: &mut Unicorn<'_, Context<'_>>, core: &dyn Core, task: u64) -> Result<(), Error> {
    core.enter_kernel(engine, task).map_err(|error| refused("set the state of a running kernel", error))
}

/// A new engine over the memory of the context, with hooks, in the state in which guests start but for its general registers.
pub(super) fn new_engine<'a>(context: Context<'a>, max_cpu: bool) -> Result<Unicorn<'a, Context<'a>>, Error> {
    let Context { core, vectors, .. } = context;
    let memory = Rc::clone(&context.memory);
    let parameters = core.engine(max_cpu);
    let mut engine = Unicorn::new_with_data(parameters.arch, parameters.mode, context)
        .map_err(|error| refused("open an engine", error))?;
    if let Some(model) = parameters.model {
        engine.ctl_set_cpu_model(model).map_err(|error| refused("choose the CPU model", error))?;
    }
    engine.ctl_set_tlb_type(TlbType::VIRTUAL).map_err(|error| refused("set the TLB type", error))?;
    engine.add_tlb_hook(1, 0, fill_tlb).map_err(|error| refused("add the TLB hook", error))?;
    for region in &memory.regions {
        // SAFETY: the engine's context shares the memory, so that the region outlives it, and a region is a whole number of pages.
        unsafe { engine.mem_map_ptr(region.address, region.size as u64, Prot::ALL, region.bytes.as_ptr().cast()) }
            .map_err(|error| refused("map guest memory", error))?;
    }
    core.boot(&mut engine, vectors, max_cpu).map_err(|error| refused("boot the CPU", error))?;
    engine.add_intr_hook(exception).map_err(|error| refused("add the exception hook", error))?;
    engine.add_insn_invalid_hook(undefined).map_err(|error| refused("add the undefined-instruction hook", error))?;
    Ok(engine)
}

/// Sets the registers for floating-point arguments, as many as there are values.
pub(super) fn set_float_arguments(
    engine: &mut Unicorn<'_, Context<'_>>,
    core: &dyn Core,
    values: &[u64],
) -> Result<(), Error> {
    let user = core.user_registers();
    let (ids, size) = user.floats;
    for (id, value) in ids[user.first_argument..].iter().zip(values) {
        let set = match size {
            8 => engine.reg_write(*id, *value),
            _ => engine.reg_write_long(*id, &u128::from(*value).to_le_bytes()),
        };
        set.map_err(|error| refused("set a register", error))?;
    }
    Ok(())
}

/// The register of floating-point results, or its lower 64 bits.
pub(super) fn float_result(engine: &Unicorn<'_, Context<'_>>, core: &dyn Core) -> u64 {
    let user = core.user_registers();
    let (ids, size) = user.floats;
    let id = ids[user.first_argument];
    if size == 8 {
        return engine.reg_read(id).unwrap_or_default();
    }
    let bytes = engine.reg_read_long(id).unwrap_or_default();
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Tells the observer of every store.
pub(super) fn watch_stores(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), Error> {
    let added = engine.add_mem_hook(HookType::MEM_WRITE, 1, 0, |engine, _, address, size, _| {
        engine.get_data_mut().observer.stored(address, size);
        true
    });
    added.map(|_| ()).map_err(|error| refused("add the store hook", error))
}
