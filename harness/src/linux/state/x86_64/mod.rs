//! x86-64: a kernel thread whose function the real `ret_from_fork` calls (arch/x86/entry/entry_64.S, kernel/process.c).
//!
//! ```text
//!   top of the task's stack     ->  +----------------------------------+
//!                                   | padding for FRED                 |
//!                                   | pt_regs                          |
//!   __top_init_kernel_stack, SP ->  +----------------------------------+  ret_from_fork_asm: the end of every trace
//!                                   | return address                   |
//!                                   | rbx, rbp, r12 of ret_from_fork   |  arguments that fit in no register go over these
//!                                   | return address                   |  it calls the function in rbx, with r12 in rdi
//!                                   | the function                     |
//! ```
//!
//! What is patched: every call of the tracer becomes a nop, as at boot; in place of `schedule_tail`, a function of ours is called that
//! loads the other arguments; the functions that handle the timer's interrupt, NMIs and faults on user addresses return at once, and
//! are the markers; `__schedule` switches to one other task.

mod per_cpu;
mod tasks;

use std::ops::Range;

use self::per_cpu::PerCpu;
use super::edit::Edit;
use super::{KernelImage, OfCpu, Running, Special, THREAD_SIZE};
use crate::Error;
use crate::cpu::Register;
use crate::guest::StartState;
use crate::guest::conventions::{KnownTask, SavedContext, StackRole, Vector, Vectors};
use crate::guest::layout::Stack;

pub(super) struct X86_64;

const RAX: Register = Register(0);
const RBX: Register = Register(3);
const RBP: Register = Register(6);
const RSP: Register = Register(7);
const R12: Register = Register(12);
const RET: u8 = 0xc3;
const CALL: u8 = 0xe8;
const JMP: u8 = 0xe9;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// The size of a call of an address, and of its nop.
const CALL_SIZE: u64 = 5;
/// arch/x86/include/asm/orc_types.h: sizeof(struct orc_entry), in all versions.
const ORC_ENTRY_SIZE: usize = 6;
/// More than the size of ret_from_fork, in bytes.
const MOST_OF_FORK: u64 = 0x1000;
/// arch/x86/include/asm/nops.h: BYTES_NOP5.
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];
/// `movabs` of a constant to rsi, rdx, rcx, r8, r9: the arguments after the first.
const LOAD: [[u8; 2]; 5] = [[0x48, 0xbe], [0x48, 0xba], [0x48, 0xb9], [0x49, 0xb8], [0x49, 0xb9]];
/// `movabs` of a constant to rax.
const LOAD_RAX: [u8; 2] = [0x48, 0xb8];
/// ret_from_fork saves registers on the stack, and never returns: so many of these words can hold arguments.
const STACK_ARGUMENTS: usize = 3;
/// `call 1f; int3; 1:`, in a retpoline and in return_to_handler: what it pushes is overwritten, and the return goes elsewhere
/// (arch/x86/lib/retpoline.S, arch/x86/kernel/ftrace_64.S). In retpolines of 6.1: `call 1f; 2: pause; lfence; jmp 2b; 1:`.
const PUSHES: [&[u8]; 2] = [&[CALL, 1, 0, 0, 0, 0xcc], &[CALL, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9]];
/// arch/x86/entry/entry_64.S, asm_exc_nmi: how far below the top of its stack the word "NMI executing" is. It is under the frame that
/// the CPU pushes, and the saved rdx.
const NMI_EXECUTING: u64 = 7 * 8;
/// arch/x86/include/asm/page_64_types.h: EXCEPTION_STKSZ and IRQ_STACK_SIZE, without KASAN.
const EXCEPTION_STACK_SIZE: u64 = 8 << 10;
const IRQ_STACK_SIZE: u64 = 16 << 10;

impl OfCpu for X86_64 {
    fn scratch(&self) -> u64 {
        0xffff_8880_0000_0000
    }

    /// Behind `_einittext` is `.altinstr_aux`, where static_cpu_has() jumps before alternatives are applied; it has no symbols.
    fn text(&self, image: &KernelImage) -> Result<Vec<Range<u64>>, Error> {
        let end = image.address("_einittext")?;
        let symbols = image.symbols.all();
        let next =
            symbols.get(symbols.partition_point(|symbol| symbol.address <= end)).map_or(end, |symbol| symbol.address);
        Ok(vec![image.address("_stext")?..image.address("_etext")?, image.address("_sinittext")?..next])
    }

    fn stack_arguments(&self) -> usize {
        STACK_ARGUMENTS
    }

    fn capabilities(&self, image: &KernelImage) -> Result<Vec<(String, u16)>, Error> {
        let reason =
            "alternatives are as linked: on this CPU the kernel's own code has to apply them, and it is not run";
        Err(super::refused(&image.path, reason.to_owned()))
    }

    /// The longest stretch of boot code for which ORC says what it says where a function begins: that only the return address is on
    /// the stack. That is true of our functions.
    fn spare_text(&self, image: &KernelImage) -> Result<Range<u64>, Error> {
        let boot = image.address("_sinittext")?..image.address("_einittext")?;
        let Some(sections) = super::orc(image)? else { return super::boot_text(image) };
        let entries: Vec<(u64, &[u8])> = sections.addresses().zip(sections.entries.chunks(ORC_ENTRY_SIZE)).collect();
        let begins = image.address("start_kernel")?;
        let of_begin = entries.partition_point(|(address, _)| *address <= begins).checked_sub(1);
        let Some(of_begin) = of_begin else { return super::boot_text(image) };
        let bare = entries[of_begin].1;
        let mut longest = 0..0;
        for pair in entries.windows(2) {
            let ((start, entry), end) = (pair[0], pair[1].0);
            let is_longer = boot.contains(&start) && boot.contains(&end) && end - start > longest.end - longest.start;
            if is_longer && entry == bare {
                longest = start..end;
            }
        }
        // An unwinder looks up what a call would return to one byte lower: there, too, nothing else may hold.
        Ok(longest.start + 16..longest.end)
    }

    /// Our model reads ORC tables whose definitions it knows; what the kernels that have these do with them is the same.
    fn is_modelled(&self, image: &KernelImage) -> bool {
        super::orc(image).is_ok_and(|sections| sections.is_some_and(|sections| sections.numbers().is_ok()))
    }

    fn set_up(&self, edit: &mut Edit<'_>, function: u64, arguments: &[u64]) -> Result<Running, Error> {
        let task = edit.address("init_task")?;
        let per_cpu = PerCpu::of(edit)?;
        no_tracer_calls(edit)?;
        pass(edit, arguments)?;
        let pt_regs = pt_regs(edit, task)?;
        let (resume, sentinel) = thread_function_call(edit)?;
        let walk_task = edit.code("harness_walk_task", &[RET])?;
        let walk_here = edit.function("__sysvec_apic_timer_interrupt")?;
        let others = ["default_do_nmi", "do_user_addr_fault"].map(|name| edit.function(name));
        let other_markers: Vec<u64> = others.into_iter().flatten().collect();
        for marker in [&[walk_here][..], &other_markers].concat() {
            edit.set(marker, &[RET])?;
        }
        let preempt_count = per_cpu.preempt_count(edit)?;
        preempt_count.enable(edit)?;
        let (other, other_words) = tasks::other_task(edit, task, walk_task, &preempt_count)?;
        let online = edit.address("__cpu_online_mask")?;
        edit.set_u64(online, 1)?;
        let mut vectors = Vectors::default();
        let (mut stacks, no_nmi) = stacks(edit, &per_cpu, &mut vectors)?;
        stacks.push(other.stack);
        for (vector, name) in [
            (Vector::Irq, "asm_sysvec_apic_timer_interrupt"),
            (Vector::Fault, "asm_exc_page_fault"),
            (Vector::Nmi, "asm_exc_nmi"),
        ] {
            vectors.set(vector, name, Some(edit.address(name)?));
        }
        vectors.set(Vector::Gdt, "gdt_page", Some(per_cpu.address(edit, "gdt_page")?));
        vectors.set(Vector::PerCpu, "__per_cpu_load", Some(per_cpu.base));
        let first = arguments.first().copied().unwrap_or(0);
        let registers = vec![(RAX, task), (RBX, function), (R12, first), (RBP, 0)];
        let words = (0..edit.size("pt_regs")?).step_by(8).map(|offset| (pt_regs + offset, 0));
        let outermost = outermost(edit)?;
        debug_assert!(outermost.iter().any(|it| it.contains(&resume)), "the thread's function is called there");
        Ok(Running {
            start: StartState { pc: outermost[0].start, registers, constant: Vec::new(), task, thread: None },
            sp: pt_regs,
            sentinel,
            stacks,
            vectors,
            walk_here,
            walk_task,
            context: context(edit)?,
            saved_pc: None,
            exception_text: Vec::new(),
            moved_returns: moved_returns(edit)?,
            nesting: Vec::new(),
            unsettled: counters(edit, &per_cpu)?,
            other_task: Some(other.task),
            need_resched: (task, u64::from(preempt_count.need_resched)),
            words: words.chain(other_words).chain([no_nmi]).collect(),
            known: KnownTask { word: Some(per_cpu.current_task(edit)?), ..KnownTask::default() },
            special: Special {
                pushes: pushes(edit)?,
                outermost,
                other_markers,
                booted_by: vec![edit.function("unwind_init")?],
            },
        })
    }

    /// The nop that boot has made of the call of the tracer becomes a call again (arch/x86/kernel/ftrace.c).
    fn trace(&self, edit: &mut Edit<'_>, function: u64) -> Result<(), Error> {
        let site = if edit.bytes(function)? == ENDBR64 { function + ENDBR64.len() as u64 } else { function };
        if edit.bytes(site)? != NOP5 {
            let name = edit.image().symbols.name(function);
            return Err(edit.refuse(format!("{name} does not begin with the nop of ftrace")));
        }
        let tracer = edit.address("ftrace_caller")?;
        branch(edit, CALL, site, tracer)
    }

    /// ftrace_caller calls ftrace_graph_func, and one user of the tracer is called directly, by static calls (ftrace_update_func,
    /// ftrace_graph_enable_direct).
    fn call_tracer(&self, edit: &mut Edit<'_>, user: u64, (entry, exit): (u64, u64)) -> Result<(), Error> {
        let branches = [
            (CALL, "ftrace_call", edit.address("ftrace_graph_func")?),
            (JMP, "__SCT__fgraph_func", entry),
            (JMP, "__SCT__fgraph_retfunc", exit),
        ];
        for (opcode, name, to) in branches {
            let at = edit.address(name)?;
            if edit.bytes(at)? != [opcode] {
                return Err(edit.refuse(format!("{name} is no place where a call can be patched")));
            }
            branch(edit, opcode, at, to)?;
        }
        for (word, value) in [("function_trace_op", edit.address("graph_ops")?), ("fgraph_direct_gops", user)] {
            let word = edit.address(word)?;
            edit.set_u64(word, value)?;
        }
        Ok(())
    }

    fn consume(&self) -> Vec<u8> {
        // mov (%rdi),%rax; mov %rsi,(%rax); addq $8,(%rdi); mov $1,%eax; ret
        vec![0x48, 0x8b, 0x07, 0x48, 0x89, 0x30, 0x48, 0x83, 0x07, 8, 0xb8, 1, 0, 0, 0, RET]
    }

    fn graph_callbacks(&self, edit: &Edit<'_>, preempts: bool) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let mut ask = Vec::new();
        if preempts {
            let count = PerCpu::of(edit)?.preempt_count(edit)?;
            if count.need_resched == 0 {
                return Err(edit.refuse("it cannot be preempted in the kernel"));
            }
            ask = tasks::ask(edit.address("init_task")?, &count);
        }
        Ok(([&ask[..], &[0xb8, 1, 0, 0, 0, RET]].concat(), [&ask[..], &[RET]].concat())) // mov $1,%eax; ret
    }

    fn compares(&self) -> Vec<u8> {
        // mov (%rdi),%ecx; xor %eax,%eax; cmp (%rsi),%ecx; seta %al; sbb $0,%eax; ret
        vec![0x8b, 0x0f, 0x31, 0xc0, 0x3b, 0x0e, 0x0f, 0x97, 0xc0, 0x83, 0xd8, 0, RET]
    }
}

/// Where the first task's pt_regs are. In 6.1 no symbol says it; the words above them (FRED) are younger.
fn pt_regs(edit: &Edit<'_>, task: u64) -> Result<u64, Error> {
    if edit.image().symbols.has("__top_init_kernel_stack") {
        return edit.address("__top_init_kernel_stack");
    }
    let stack = edit.u64_at(task + edit.offset("task_struct", "stack")?)?;
    Ok(stack + THREAD_SIZE - edit.size("pt_regs")?)
}

/// The functions with which every thread begins: in 6.1 one in assembly; later a small one, and C.
fn outermost(edit: &Edit<'_>) -> Result<Vec<Range<u64>>, Error> {
    let names = ["ret_from_fork_asm", "ret_from_fork"].into_iter().filter(|name| edit.image().symbols.has(name));
    let symbols = names.map(|name| edit.image().symbol(name));
    symbols.map(|symbol| symbol.map(|symbol| symbol.address..symbol.address + symbol.size)).collect()
}

/// Makes what is here a call or jump to there.
fn branch(edit: &mut Edit<'_>, opcode: u8, at: u64, to: u64) -> Result<(), Error> {
    edit.set(at, &tasks::to(opcode, at, to))
}

/// What boot does with CONFIG_DYNAMIC_FTRACE: each call of the tracer becomes a nop (ftrace_init).
fn no_tracer_calls(edit: &mut Edit<'_>) -> Result<(), Error> {
    let (start, end) = (edit.address("__start_mcount_loc")?, edit.address("__stop_mcount_loc")?);
    for at in (start..end).step_by(8) {
        let site = edit.u64_at(at)?;
        if site != 0 && edit.bytes(site)? == [CALL] {
            edit.set(site, &NOP5)?;
        }
    }
    Ok(())
}

/// ret_from_fork passes one argument. A function of ours loads the others, in place of `schedule_tail`, which ret_from_fork calls before
/// and which has nothing to do here.
fn pass(edit: &mut Edit<'_>, arguments: &[u64]) -> Result<(), Error> {
    let load = |opcode: [u8; 2], value: &u64| [&opcode[..], &value.to_le_bytes()].concat();
    let rest = arguments.get(1..).unwrap_or_default();
    let mut code: Vec<u8> = LOAD.iter().zip(rest).flat_map(|(opcode, value)| load(*opcode, value)).collect();
    let on_stack = rest.get(LOAD.len()..).unwrap_or_default();
    for (value, slot) in on_stack.iter().zip(1..) {
        code.extend(load(LOAD_RAX, value));
        code.extend([0x48, 0x89, 0x44, 0x24, 8 * slot]); // mov %rax,8*slot(%rsp): above the return address
    }
    code.push(RET);
    // Without a caller, what is above them is pt_regs, in which a kernel thread has nothing.
    let is_outermost = !edit.image().symbols.has("ret_from_fork_asm");
    if !on_stack.is_empty() && on_stack.len() > saved_registers(edit)? && !is_outermost {
        return Err(edit.refuse(format!("ret_from_fork saves less than {} registers", on_stack.len())));
    }
    let fork = edit.image().symbol("ret_from_fork")?;
    let found = calls(edit, fork.address..fork.address + fork.size.min(MOST_OF_FORK), edit.address("schedule_tail")?)?;
    let [behind] = found[..] else {
        return Err(edit.refuse(format!("ret_from_fork calls schedule_tail {} times, not once", found.len())));
    };
    let pass = edit.code("harness_arguments", &code)?;
    branch(edit, CALL, behind - CALL_SIZE, pass)
}

/// How many registers ret_from_fork has pushed when it calls schedule_tail.
fn saved_registers(edit: &Edit<'_>) -> Result<usize, Error> {
    let fork = edit.address("ret_from_fork")?;
    let mut code = &edit.bytes::<64>(fork)?[..];
    let mut pushed = 0;
    loop {
        code = match code {
            [CALL, ..] => return Ok(pushed),
            [0xf3, 0x0f, 0x1e, 0xfa, rest @ ..] | [0x0f, 0x1f, 0x44, 0, 0, rest @ ..] => rest, // endbr64, nop
            [0x41, 0x50..=0x57, rest @ ..] | [0x50..=0x57, rest @ ..] => {
                pushed += 1;
                rest
            }
            [0x48..=0x4d, 0x89, 0xc0..=0xff, rest @ ..] => rest, // mov of a register to another
            _ => return Err(edit.refuse("ret_from_fork does not begin as expected")),
        };
    }
}

/// Where the thread's function returns to in ret_from_fork, and the instruction after that one.
fn thread_function_call(edit: &Edit<'_>) -> Result<(u64, u64), Error> {
    let fork = edit.image().symbol("ret_from_fork")?.clone();
    let range = fork.address..fork.address + fork.size.min(MOST_OF_FORK);
    let is_thunk = |name: &str| name.starts_with("__x86_indirect_thunk_") && name != "__x86_indirect_thunk_array";
    let symbols = edit.image().symbols.all();
    let mut found = Vec::new();
    for thunk in symbols.iter().filter(|symbol| is_thunk(&symbol.name)) {
        found.extend(calls(edit, range.clone(), thunk.address)?);
    }
    let [resume] = found[..] else {
        return Err(edit.refuse(format!("ret_from_fork has {} calls of pointers, not one", found.len())));
    };
    // movq $0,ax(regs): user mode would see the result of a system call.
    let size = match edit.bytes(resume)? {
        [0x48 | 0x49, 0xc7, 0x44, 0x24] => 9,
        [0x48 | 0x49, 0xc7, 0x40..=0x43 | 0x45..=0x47, _] => 8,
        _ => return Err(edit.refuse("ret_from_fork does not go on as expected when the thread's function returns")),
    };
    Ok((resume, resume + size))
}

/// The addresses behind the calls of this function.
fn calls(edit: &Edit<'_>, within: Range<u64>, function: u64) -> Result<Vec<u64>, Error> {
    let text = edit.read(within.clone())?;
    let is_it = |(at, bytes): &(u64, &[u8])| {
        let distance = function.wrapping_sub(at + CALL_SIZE) as u32;
        bytes[0] == CALL && bytes[1..] == distance.to_le_bytes()
    };
    let sites = (within.start..).zip(text.windows(CALL_SIZE as usize)).filter(is_it);
    Ok(sites.map(|(at, _)| at + CALL_SIZE).collect())
}

/// Where entry code resumes with pt_regs on its stack, below where it has made the call (PUSH_AND_CLEAR_REGS with save_ret in
/// arch/x86/entry/calling.h).
fn moved_returns(edit: &Edit<'_>) -> Result<Vec<u64>, Error> {
    let text = edit.address("__entry_text_start")?..edit.address("__entry_text_end")?;
    let mut found = Vec::new();
    for callee in ["error_entry", "paranoid_entry"] {
        found.extend(calls(edit, text.clone(), edit.address(callee)?)?);
    }
    Ok(found)
}

/// Behind the calls that only push: in thunks, and in the tracer's trampoline.
fn pushes(edit: &Edit<'_>) -> Result<Vec<u64>, Error> {
    /// RETPOLINE_THUNK_SIZE (arch/x86/include/asm/nospec-branch.h), and more than return_to_handler's size.
    const MOST: u64 = 0x80;
    let symbols = edit.image().symbols.all();
    let is_such = |name: &str| name.starts_with("__x86_indirect_") || name == "return_to_handler";
    let mut found = Vec::new();
    for symbol in symbols.iter().filter(|symbol| is_such(&symbol.name)) {
        let code = edit.read(symbol.address..symbol.address + symbol.size.min(MOST))?;
        for push in PUSHES {
            let at = code.windows(push.len()).position(|window| window == push);
            found.extend(at.map(|at| symbol.address + at as u64 + CALL_SIZE));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Words in which the entry code of exceptions counts them, and in which NMIs keep what they find.
fn counters(edit: &Edit<'_>, per_cpu: &PerCpu) -> Result<Vec<Range<u64>>, Error> {
    let statistics = per_cpu.address(edit, "irq_stat")?;
    let statistics = statistics..statistics + edit.size("irq_cpustat_t")?;
    let of_nmi = ["nmi_cr2", "nmi_dr7"].into_iter().filter_map(|name| per_cpu.address(edit, name).ok());
    Ok([statistics].into_iter().chain(of_nmi.map(|word| (word & !7)..word + 8)).collect())
}

/// What __switch_to_asm leaves on the stack.
fn context(edit: &Edit<'_>) -> Result<SavedContext, Error> {
    use tasks::FRAME;
    let saved = [("bx", 3), ("bp", 6), ("r12", 12), ("r13", 13), ("r14", 14), ("r15", 15)];
    let registers: Result<_, Error> =
        saved.iter().map(|(member, number)| Ok((Register(*number), edit.offset(FRAME, member)?))).collect();
    Ok(SavedContext::OnStack {
        sp: edit.offset("task_struct", "thread.sp")?,
        pc: edit.offset(FRAME, "ret_addr")?,
        registers: registers?,
        size: edit.size(FRAME)?,
        sp_register: RSP,
    })
}

/// The CPU's stacks, and the word of the NMI's that says that none is handled.
fn stacks(edit: &mut Edit<'_>, per_cpu: &PerCpu, vectors: &mut Vectors) -> Result<(Vec<Stack>, (u64, u64)), Error> {
    let stack = |name: &str, low, size| {
        let bounds = kunwind::StackBounds { low, high: low + size };
        Stack { name: name.to_owned(), bounds, role: StackRole::Kernel }
    };
    // arch/x86/kernel/irq_64.c: the word points to the highest word, not behind it.
    let irq = per_cpu.address(edit, "irq_stack_backing_store")?;
    let top = per_cpu.hardirq_stack(edit)?;
    edit.set_u64(top, irq + IRQ_STACK_SIZE - 8)?;
    // arch/x86/include/asm/cpu_entry_area.h: all exception stacks, each above a guard page.
    let exceptions = edit.allocate(edit.size("cea_exception_stacks")?, THREAD_SIZE)?;
    let pointer = per_cpu.address(edit, "cea_exception_stacks")?;
    edit.set_u64(pointer, exceptions)?;
    let nmi = exceptions + edit.offset("cea_exception_stacks", "NMI_stack")?;
    let word = edit.place(&(nmi + EXCEPTION_STACK_SIZE).to_le_bytes(), 8)?;
    vectors.set(Vector::NmiStack, "cea_exception_stacks", Some(word));
    let stacks = vec![stack("irq", irq, IRQ_STACK_SIZE), stack("nmi", nmi, EXCEPTION_STACK_SIZE)];
    Ok((stacks, (nmi + EXCEPTION_STACK_SIZE - NMI_EXECUTING, 0)))
}
