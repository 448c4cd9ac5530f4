//! A kernel image as a guest: in the state of a kernel that has long been booted, about to call one of its functions in a kernel
//! thread. Nothing boots; the few words and stubs that the state needs are written into a copy of the image.
//!
//! All offsets come from the image's types, all addresses from its symbols. What is found by decoding is checked; an image in which
//! it looks otherwise is refused.

mod arm64;
mod edit;
mod entry;
mod fgraph;
mod riscv64;
mod workload;
mod x86_64;

use std::ops::Range;

use crate::Error;
use crate::cpu::Register;
use crate::guest::conventions::{
    Conventions, Kernel, KernelSymbols, KnownTask, OwnUnwinder, RetStackPlace, RetStackWords, SavedContext, StackRole,
    TaskPlace, TaskStack, Trampoline, Vectors,
};
use crate::guest::layout::Stack;
use crate::guest::{Guest, Layout, LoadedSection, OrcSections, Program, StartState, UnwindSections};

use super::{KernelImage, refused};
use edit::Edit;

pub use entry::{EntryState, Place, Word};
pub use workload::{Argument, Workload};

/// Every stack of a task: THREAD_SIZE of arch/arm64 and x86 (without KASAN) and of arch/riscv for 64 bits.
const THREAD_SIZE: u64 = 16 << 10;
/// kernel/sched/core.c, include/uapi/linux/magic.h: STACK_END_MAGIC, in the lowest word of a task's stack.
const STACK_END_MAGIC: u64 = 0x57ac_6e9d;

/// What differs between CPUs.
trait OfCpu: Sync {
    /// Where memory of ours goes: far from the kernel and from everything it maps.
    fn scratch(&self) -> u64;

    /// The kernel's text.
    fn text(&self, image: &KernelImage) -> Result<Vec<Range<u64>>, Error> {
        let between = |low, high| Ok(image.address(low)?..image.address(high)?);
        Ok(vec![between("_stext", "_etext")?, between("_sinittext", "_einittext")?])
    }

    /// Text that nothing runs in a booted kernel, for functions of ours. Unwind data that the kernel may look up there must fit
    /// functions that leave the stack alone.
    fn spare_text(&self, image: &KernelImage) -> Result<Range<u64>, Error> {
        boot_text(image)
    }

    /// How many arguments a function can be called with that fit in no register.
    fn stack_arguments(&self) -> usize {
        0
    }

    /// Whether our models do what its own unwinder does. They follow v7.3, from which older releases of this series differ in
    /// nothing that they model.
    fn is_modelled(&self, image: &KernelImage) -> bool {
        image.release.starts_with("7.")
    }

    /// Puts the image into the state of a running kernel.
    fn set_up(&self, edit: &mut Edit<'_>, function: u64, arguments: &[u64]) -> Result<Running, Error>;

    /// The alignment of instructions in bytes.
    fn instruction_align(&self) -> u64 {
        1
    }

    /// Whether the scheduler can be put into a state in which it runs.
    fn can_schedule(&self) -> bool {
        false
    }

    /// The capabilities of CPUs for which the kernel has alternatives that can be applied, by its own names for them, with their
    /// numbers.
    fn capabilities(&self, image: &KernelImage) -> Result<Vec<(String, u16)>, Error>;

    /// Makes a run begin at an instruction as if it had just been called, with these registers, instead of with a call of a function.
    fn begin_at(&self, edit: &mut Edit<'_>, _: &mut Running, _: u64, _: &[(Register, u64)]) -> Result<(), Error> {
        Err(edit.refuse("pc: no run begins there in images of this CPU yet; call a function"))
    }

    /// Patches the call of the tracer into a function, as the kernel does.
    fn trace(&self, edit: &mut Edit<'_>, function: u64) -> Result<(), Error>;

    /// Makes the tracer call its user, whose callbacks for entries and for returns are these, where that takes more than data.
    fn call_tracer(&self, _: &mut Edit<'_>, _user: u64, _callbacks: (u64, u64)) -> Result<(), Error> {
        Ok(())
    }

    /// The code of `bool consume(void *cookie, unsigned long pc)`, of [`OwnUnwinder::consume`].
    fn consume(&self) -> Vec<u8>;

    /// The tracer's callbacks: for entries, which returns 1, and for returns. Both ask to reschedule if `preempts`.
    fn graph_callbacks(&self, edit: &Edit<'_>, preempts: bool) -> Result<(Vec<u8>, Vec<u8>), Error>;

    /// `int compare(const u32 *, const u32 *)`.
    fn compares(&self) -> Vec<u8>;
}

/// What a CPU's set-up establishes.
struct Running {
    start: StartState,
    sp: u64,
    sentinel: u64,
    /// Stacks besides the task's own.
    stacks: Vec<Stack>,
    vectors: Vectors,
    /// Where the kernel calls a function of ours with the address of pt_regs as its first argument.
    walk_here: u64,
    /// Where another task calls a function of ours with the address of this task as its first argument.
    walk_task: u64,
    /// The other task, to which `__schedule` always switches.
    other_task: Option<u64>,
    /// What makes an exception's exit path schedule: this value in the word at this address.
    need_resched: (u64, u64),
    context: SavedContext,
    saved_pc: Option<i64>,
    exception_text: Vec<Range<u64>>,
    moved_returns: Vec<u64>,
    nesting: Vec<(u64, bool)>,
    /// Where entry code keeps registers for some instructions, until it has a stack to save them on.
    unsettled: Vec<std::ops::Range<u64>>,
    /// Words that are written when the stacks have their poison.
    words: Vec<(u64, u64)>,
    /// Where the kernel's own code knows the running task from, if not by its stack.
    known: KnownTask,
    /// What only one CPU's kernel has.
    special: Special,
}

impl Running {
    /// Takes away the registers of a call, but for the frame pointer where it is not given: there the chain of records ends.
    fn keep_frame_pointer(&mut self, fp: Register, given: &[(Register, u64)]) {
        let is_given = given.iter().any(|(register, _)| *register == fp);
        self.start.registers.retain(|(register, _)| *register == fp && !is_given);
    }
}

/// What only one CPU's kernel has, as [`Conventions`] and [`Program`] say it.
#[derive(Default)]
struct Special {
    pushes: Vec<u64>,
    outermost: Vec<Range<u64>>,
    other_markers: Vec<u64>,
    booted_by: Vec<u64>,
}

/// The function that boots the kernel.
fn boot_text(image: &KernelImage) -> Result<Range<u64>, Error> {
    let boot = image.symbol("start_kernel")?;
    Ok(boot.address..boot.address + boot.size)
}

/// A task besides the one that runs.
struct OtherTask {
    task: u64,
    stack: Stack,
}

impl OtherTask {
    /// A copy of a task, with a stack of its own, which is aligned to twice its size as VMAP_STACK has it.
    fn copy_of(edit: &mut Edit<'_>, task: u64) -> Result<Self, Error> {
        let size = edit.size("task_struct")?;
        let (other, low) = (edit.allocate(size, 64)?, edit.allocate(THREAD_SIZE, 2 * THREAD_SIZE)?);
        let copy = edit.read(task..task + size)?.to_vec();
        edit.set(other, &copy)?;
        edit.set_u64(other + edit.offset("task_struct", "stack")?, low)?;
        let bounds = kunwind::StackBounds { low, high: low + THREAD_SIZE };
        Ok(Self { task: other, stack: Stack { name: "other".to_owned(), bounds, role: StackRole::Kernel } })
    }
}

/// Refuses a kernel that is not preempted while it runs in the kernel (CONFIG_PREEMPTION is off).
///
/// # Errors
///
/// [`Error::Linux`].
pub fn require_preemption(image: &KernelImage) -> Result<(), Error> {
    // Only with it is there something to call where tracers enable preemption (kernel/sched/core.c).
    const NEEDS: &str = "preempt_schedule_notrace";
    if image.symbols.has(NEEDS) {
        return Ok(());
    }
    Err(refused(
        &image.path,
        format!("it is not preempted in the kernel: no symbol `{NEEDS}` (CONFIG_PREEMPTION is off)"),
    ))
}

/// Refuses names of capabilities for which no alternatives can be applied, and says which there are.
///
/// # Errors
///
/// [`Error::Linux`].
pub fn require_capabilities(image: &KernelImage, named: &[String]) -> Result<(), Error> {
    if named.is_empty() {
        return Ok(());
    }
    let known = of_cpu(image)?.capabilities(image)?;
    match named.iter().find(|name| !known.iter().any(|(other, _)| other == *name)) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
            Err(refused(&image.path, format!("no capability {unknown:?}; this kernel knows {}", known.join(", "))))
        }
    }
}

fn of_cpu(image: &KernelImage) -> Result<&'static dyn OfCpu, Error> {
    match image.cpu.name {
        "arm64" => Ok(&arm64::Arm64),
        "riscv64" => Ok(&riscv64::Riscv64),
        "x86_64" => Ok(&x86_64::X86_64),
        other => Err(refused(&image.path, format!("images for {other} cannot be run yet"))),
    }
}

/// The program that runs this workload in this image.
///
/// # Errors
///
/// [`Error::Linux`] when the image lacks something that the workload needs, or looks otherwise than expected.
pub fn program(image: &KernelImage, workload: &Workload) -> Result<Program, Error> {
    let of_cpu = of_cpu(image)?;
    let mut edit = Edit::new(image, of_cpu)?;
    edit.alternatives.clone_from(&workload.alternatives);
    edit.has_real_scheduler = workload.real_scheduler;
    if workload.real_scheduler && !of_cpu.can_schedule() {
        return Err(edit.refuse("the state of its scheduler is not made on this CPU"));
    }
    require_capabilities(image, &workload.alternatives)?;
    if workload.preempts_tracer {
        require_preemption(image)?;
    }
    let task = edit.address("init_task")?;
    let stack = edit.u64_at(task + edit.offset("task_struct", "stack")?)?;
    if stack != edit.address("init_stack")? {
        return Err(edit.refuse("init_task.stack is not init_stack: the image was not loaded as it was linked"));
    }
    let function = match workload.entry.begins_at(&edit, of_cpu)? {
        Some(pc) => pc,
        None => edit.function(&workload.call)?,
    };
    let arguments = workload.place(&mut edit, of_cpu)?;
    let mut running = of_cpu.set_up(&mut edit, function, &arguments)?;
    let own = own_unwinder(&mut edit, of_cpu)?;
    if !workload.trace.is_empty() {
        fgraph::switch_on(&mut edit, of_cpu, task, workload)?;
    }
    workload.entry.apply(&mut edit, of_cpu, &mut running, &(stack..stack + THREAD_SIZE))?;
    running.words.push((stack, STACK_END_MAGIC));
    let is_traced = !workload.trace.is_empty();
    let conventions = conventions(&edit, &running, own, (task, is_traced), function)?;
    let bounds = |low, size| kunwind::StackBounds { low, high: low + size };
    let first = Stack { name: "task".to_owned(), bounds: bounds(stack, THREAD_SIZE), role: StackRole::First };
    let stacks = [first].into_iter().chain(running.stacks).collect();
    let layout = Layout { words: running.words, ..Layout::fixed(stacks, running.sp) };
    let (start, booted_by, offsets) = (Some(running.start), running.special.booted_by, edit.offsets());
    let guest = guest(image, edit)?;
    Ok(Program { start, booted_by, offsets, ..Program::with_layout(guest, conventions, layout)? })
}

fn guest(image: &KernelImage, edit: Edit<'_>) -> Result<Guest, Error> {
    let (segments, symbols) = edit.finish();
    Ok(Guest {
        name: image.release.clone(),
        path: image.path.clone(),
        hash: image.hash.clone(),
        cpu: image.cpu,
        segments,
        symbols,
        unwind: UnwindSections { orc: orc(image)?, ..UnwindSections::default() },
    })
}

/// The kernel's ORC table, if it has one (include/asm-generic/vmlinux.lds.h: ORC_UNWIND_TABLE; arch/x86/kernel/unwind_orc.c:
/// ORC_HEADER).
fn orc(image: &KernelImage) -> Result<Option<OrcSections>, Error> {
    const HEADER_SIZE: usize = 20;
    if image.symbols.address("__start_orc_unwind_ip").is_err() {
        return Ok(None);
    }
    let between = |start: &str, end: &str| -> Result<LoadedSection, Error> {
        let (address, end) = (image.address(start)?, image.address(end)?);
        let mut data = vec![0; end.saturating_sub(address) as usize];
        let outside = || refused(&image.path, format!("{start} lies outside of the image"));
        image.read(address, &mut data).ok_or_else(outside)?;
        Ok(LoadedSection { address, data })
    };
    // 6.1 has none, and no reader but the kernel's own knows its entries.
    let header = image.address("orc_header").map_or(&[][..], |header| image.bytes_at(header));
    Ok(Some(OrcSections {
        offsets: between("__start_orc_unwind_ip", "__stop_orc_unwind_ip")?,
        entries: between("__start_orc_unwind", "__stop_orc_unwind")?.data,
        header: header.get(..HEADER_SIZE).unwrap_or_default().to_vec(),
    }))
}

/// Functions of a kernel's own unwinder.
const RELIABLE: &str = "arch_stack_walk_reliable";
const BEST_EFFORT: &str = "arch_stack_walk";
const SAVE_RELIABLE: &str = "stack_trace_save_tsk_reliable";

/// Whether our models of its walks stand for this kernel's. They follow v7.3. What older releases of this series have differs in
/// nothing that they model.
fn is_modelled(image: &KernelImage) -> bool {
    image.release.starts_with("7.")
}

/// The subjects that an image has not, by their names, and why; `None`: our models of its walks.
#[must_use]
pub fn absent(image: &KernelImage) -> Vec<(Option<&'static str>, String)> {
    let walks = [("linux", RELIABLE), ("linux:best-effort", BEST_EFFORT), ("linux:task", SAVE_RELIABLE)];
    let walks = walks.into_iter().filter(|(_, function)| image.address(function).is_err());
    let walks = walks.map(|(subject, function)| (Some(subject), format!("the image has no {function}")));
    let models = (!is_modelled(image)).then(|| (None, "our models follow v7.3".to_owned()));
    walks.chain(models).collect()
}

/// The stacks of a CPU, on arm64 and riscv64. The IRQ's is aligned to twice its size, as VMAP_STACK has it: entry code tests one bit
/// of SP for an overflow. The overflow stack has this size in bytes.
fn irq_and_overflow_stacks(edit: &mut Edit<'_>, overflow_size: u64) -> Result<Vec<Stack>, Error> {
    let bounds = |low, size| kunwind::StackBounds { low, high: low + size };
    let irq = edit.allocate(2 * THREAD_SIZE, 2 * THREAD_SIZE)?;
    edit.set_u64(edit.address("irq_stack_ptr")?, irq)?;
    let overflow = edit.address("overflow_stack")?;
    let stack = |name: &str, bounds| Stack { name: name.to_owned(), bounds, role: StackRole::Kernel };
    Ok(vec![stack("irq", bounds(irq, THREAD_SIZE)), stack("overflow", bounds(overflow, overflow_size))])
}

/// The kernel's own unwinder, as far as the image has it.
fn own_unwinder(edit: &mut Edit<'_>, of_cpu: &dyn OfCpu) -> Result<OwnUnwinder, Error> {
    const BUFFER: u64 = 0x2000;
    let consume = edit.code("harness_consume", &of_cpu.consume())?;
    let buffer = edit.allocate(BUFFER, 64)?;
    let address = |name: &str| edit.address(name).ok();
    Ok(OwnUnwinder {
        reliable: address(RELIABLE),
        best_effort: address(BEST_EFFORT),
        save_reliable: address(SAVE_RELIABLE),
        is_modelled: of_cpu.is_modelled(edit.image()),
        consume,
        buffer: buffer..buffer + BUFFER,
    })
}

fn conventions(
    edit: &Edit<'_>,
    running: &Running,
    own: OwnUnwinder,
    (task, is_traced): (u64, bool),
    subject: u64,
) -> Result<Conventions, Error> {
    // Without a tracer, no address is looked for that it might have taken.
    let in_task =
        |path: &str| is_traced.then(|| edit.offset("task_struct", path).map(|offset| task + offset).ok()).flatten();
    let ret_stack = in_task("curr_ret_stack").zip(in_task("ret_stack"));
    let entry_words = if is_traced { edit.size("ftrace_ret_stack")? / 8 } else { 0 };
    let place = |(index, pointer)| RetStackPlace { index, words: RetStackWords::Pointed(pointer), entry_words };
    let ret_stack = ret_stack.map(place);
    let tasks = [TaskPlace { address: task, ret_stack, rethooks: in_task("rethooks") }].into_iter();
    let other = |address| TaskPlace { address, ret_stack: None, rethooks: None };
    let trampolines =
        [("return_to_handler", kunwind::ReturnHook::Fgraph), ("arch_rethook_trampoline", kunwind::ReturnHook::Rethook)];
    let trampolines = trampolines.into_iter().filter_map(|(name, hook)| {
        let symbol = edit.image().symbol(name).ok()?;
        Some(Trampoline { hook, start: symbol.address, end: symbol.address + symbol.size })
    });
    Ok(Conventions {
        sentinel: Some(running.sentinel),
        scratch: Some(edit.scratch()),
        unsettled: [saved_context(edit, task)?].into_iter().chain(running.unsettled.clone()).collect(),
        vectors: running.vectors,
        kernel: Some(Kernel {
            current: None,
            known: running.known,
            frame_pointers: None,
            entered_from: Vec::new(),
            stack: TaskStack::Sized(edit.offset("task_struct", "stack")?, THREAD_SIZE),
            tasks: tasks.chain(running.other_task.map(other)).collect(),
            fork_entry: None,
            context: running.context.clone(),
            pt_regs: edit.image().cpu.abi.pt_regs,
            saved_pc: running.saved_pc,
            symbols: KernelSymbols {
                subject: Some(subject),
                walk_here: Some(running.walk_here),
                walk_task: Some(running.walk_task),
                walk_user: None,
                need_resched: Some(running.need_resched),
            },
        }),
        own_unwinder: Some(own),
        exception_text: running.exception_text.clone(),
        trampolines: trampolines.collect(),
        moved_returns: running.moved_returns.clone(),
        pushes: running.special.pushes.clone(),
        outermost: running.special.outermost.clone(),
        other_markers: running.special.other_markers.clone(),
        nesting: running.nesting.clone(),
        ..Conventions::default()
    })
}

/// The part of a task's structure that belongs to its CPU (`struct thread_struct`): a switch of tasks saves registers there.
fn saved_context(edit: &Edit<'_>, task: u64) -> Result<std::ops::Range<u64>, Error> {
    let start = task + edit.offset("task_struct", "thread")?;
    Ok(start..start + edit.size("thread_struct")?)
}

/// The instructions of a function of ours, as the CPU's disassembler writes them.
#[cfg(test)]
fn listed(cpu: &str, address: u64, code: &[u8]) -> Vec<String> {
    let cpu = crate::cpu::by_name(cpu).expect("a CPU");
    let disassembler = cpu.disassembler().expect("a disassembler");
    let all = disassembler.disasm_all(code, address).expect("it decodes");
    let line = |name: Option<&str>, operands: Option<&str>| {
        format!("{} {}", name.unwrap_or_default(), operands.unwrap_or_default()).trim().to_owned()
    };
    let parts = all.iter().map(|one| (line(one.mnemonic(), one.op_str()), one.bytes().len()));
    let (lines, size): (Vec<_>, Vec<_>) = parts.unzip();
    assert_eq!(size.iter().sum::<usize>(), code.len(), "{lines:?}");
    lines
}
