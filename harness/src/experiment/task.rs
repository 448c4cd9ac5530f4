//! What a walk is told about the task whose stack it walks.

use kunwind::{RetStack, StackBounds, Task};

use crate::cpu::{Exception, Register, Regs};
use crate::guest::Program;
use crate::guest::conventions::{KnownTask, StackRole};
use crate::oracle::{Activation, AddressPlaces, LiveWords, MachineView, Truth, displaced};
use crate::scenario::Text;
use crate::trace::{Memory, Point, RegisterSet};

/// The stacks that a walk of this task is offered: its own and, if `with_cpu`, the CPU's; never another task's or user mode's.
pub(super) fn offered(program: &Program, memory: &dyn Memory, task: Task, with_cpu: bool) -> Vec<StackBounds> {
    let kernel = program.conventions.kernel.as_ref();
    let tasks = kernel.map_or(&[][..], |kernel| &kernel.tasks);
    let read = |address| memory.read_u64(address);
    let is_tasks = |bounds: StackBounds| {
        tasks
            .iter()
            .any(|task| program.conventions.task_stack(task.address, &read).map(|it| it.low) == Some(bounds.low))
    };
    let stacks = program.layout.stacks.iter().filter(|stack| with_cpu && stack.role != StackRole::User);
    let cpus = stacks.map(|stack| stack.bounds).filter(|bounds| !is_tasks(*bounds));
    [task.stack].into_iter().chain(cpus).collect()
}

/// What an unwinder may know of the task whose structure is at this address.
pub(super) fn task(program: &Program, memory: &dyn Memory, address: u64) -> Option<Task> {
    let stack = program.conventions.task_stack(address, &|address| memory.read_u64(address))?;
    let place = program.conventions.task_place(address);
    let ret_stack = place.and_then(|place| place.ret_stack).and_then(|place| {
        let (words, index) = place.read(&|address| memory.read_u64(address))?;
        Some(RetStack { words, index, entry_words: place.entry_words })
    });
    let fork_entry = program.conventions.kernel.as_ref().and_then(|kernel| kernel.fork_entry);
    Some(Task { stack, ret_stack, rethooks: place.and_then(|place| place.rethooks), fork_entry })
}

/// The running task as the kernel's own code knows it in the handler of this exception, by the address of its structure.
pub(super) fn known(
    known: KnownTask,
    handled: Option<Exception>,
    memory: &dyn Memory,
    registers: &Regs,
    running: u64,
) -> Option<u64> {
    match (handled, known) {
        (Some(Exception::Sdei), KnownTask { at_firmware_event: Some(word), .. }) => memory.read_u64(word),
        (_, KnownTask { register: Some(register), .. }) => registers.get(register),
        (_, KnownTask { word: Some(word), .. }) => memory.read_u64(word),
        _ => Some(running),
    }
}

/// The addresses of functions that a trace may leave out and that never resume: trampolines whose call only made room for an
/// address, or functions whose return live patching has redirected.
pub(super) fn gone(program: &Program, text: &Text) -> Vec<u64> {
    let functions = program.guest.symbols.functions().iter();
    let is_gone = |name: &String| text.omissible.contains(name) && text.never_resumes.contains(name);
    functions.filter(|function| is_gone(&function.name)).map(|function| function.address).collect()
}

/// Looks for displaced return addresses, in guests with return hooks.
pub(super) struct Locator<'p> {
    program: &'p Program,
    /// Which stack words are live.
    live: LiveWords,
    gone: Vec<u64>,
    sp: RegisterSet,
}

impl<'p> Locator<'p> {
    /// `None` in a guest without return hooks.
    pub(super) fn new(program: &'p Program, text: &Text) -> Option<Self> {
        program.conventions.rewrites_returns().then(|| Self {
            program,
            live: LiveWords::new(&program.layout),
            gone: gone(program, text),
            sp: RegisterSet::new(program.guest.cpu, [program.guest.cpu.sp]),
        })
    }

    /// The guest is about to write.
    pub(super) fn store(&mut self, address: u64, size: usize) {
        self.live.store(address, size);
    }

    /// The machine is here now.
    pub(super) fn follow(&mut self, at: &Point<'_>) {
        let mut sp = [0];
        at.read_values(&self.sp, &mut sp);
        self.live.follow(sp[0], &self.program.layout);
    }

    /// The places of the youngest displaced return address of the task whose structure is at `task`; `None` if none is
    /// displaced.
    pub(super) fn locate(
        &self,
        memory: &dyn Memory,
        task: u64,
        truth: &Truth,
        register: &dyn Fn(Register) -> Option<u64>,
    ) -> Option<AddressPlaces> {
        let Self { program, live, gone, .. } = self;
        let task = self::task(program, memory, task)?;
        let cpu = program.guest.cpu;
        let symbols = &program.guest.symbols;
        let is_gone = |activation: &Activation| {
            activation.place().function(symbols).is_some_and(|function| gone.contains(&function.address))
        };
        let view = MachineView {
            cpu,
            layout: &program.layout,
            memory,
            live,
            register,
            saved_pc: program.conventions.kernel.as_ref().and_then(|kernel| kernel.saved_pc),
            fp: cpu.abi.fp,
            record: cpu.abi.frame_record.offset_from_fp,
            ret_stack: task.ret_stack.map(|stack| (stack.words, stack.index)),
            rethooks: task.rethooks,
            is_gone: &is_gone,
        };
        displaced(truth, &view)
    }
}
