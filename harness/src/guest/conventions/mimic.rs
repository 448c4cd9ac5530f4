//! The conventions of the guests in this repository, found by their symbols (guests/README.md, guests/KERNEL.md). Only this
//! file knows the names.

use std::ops::Range;

use kunwind::ReturnHook;

use super::{
    CallConventions, Conventions, DeclaredStack, Kernel, KernelSymbols, KnownTask, Redirects, RetStackPlace,
    RetStackWords, SavedContext, StackRole, TaskPlace, TaskStack, Trampoline, Vector, Vectors,
};
use crate::cpu::Register;
use crate::guest::{Guest, Symbol};

pub(super) const CURRENT: &str = "__current";
const CURRENT_TASK: &str = "current_task";
const CONFIG_FRAME_POINTER: &str = "__config_frame_pointer";
const CONFIG_UNWINDER_ORC: &str = "__config_unwinder_orc";
pub(super) const SUBJECT: &str = "guest_main";
pub(super) const WALK_HERE: &str = "walk_here";
pub(super) const WALK_TASK: &str = "walk_task";
/// As Linux calls the word, on arm64.
const ENTRY_TASK: &str = "__entry_task";
const WALK_USER: &str = "walk_user";
pub(super) const NEED_RESCHED: &str = "need_resched";
const FORK_ENTRY: &str = "ret_from_fork_asm";
const SENTINEL: &str = "__sentinel";
/// The stack on which every guest starts.
const FIRST_STACK: &str = "task";
const USER_STACK: &str = "user";
/// Not a stack, but the memory in which stacks are placed.
const ARENA: &str = "arena";
const USER_PREFIX: &str = "user_";
const GENERATED_PREFIX: &str = "bpf_";

/// The trampolines that stand in for return addresses, by their symbols in Linux.
const RETURN_TRAMPOLINES: [(&str, ReturnHook); 3] = [
    ("return_to_handler", ReturnHook::Fgraph),
    ("arch_rethook_trampoline", ReturnHook::Rethook),
    ("__kretprobe_trampoline", ReturnHook::Rethook),
];

/// Functions that run between a function and its caller, with the hook that puts them there. The atlas counts their points
/// even where the return address is in its frame.
pub const TRAMPOLINES: [(&str, &str); 7] = [
    ("return_to_handler", "fgraph"),
    ("ftrace_caller", "ftrace"),
    ("ftrace_regs_caller", "ftrace"),
    ("bpf_trampoline_call", "bpf"),
    ("bpf_trampoline_entry", "bpf"),
    ("arch_rethook_trampoline", "rethook"),
    ("__kretprobe_trampoline", "kretprobe"),
];

/// Which return hook or entry tracer puts the function of this name between a function and its caller.
#[must_use]
pub fn trampoline_of(function: &str) -> Option<&'static str> {
    TRAMPOLINES.into_iter().find(|(name, _)| *name == function).map(|(_, hook)| hook)
}

/// What differs between the mimic kernels of the CPUs.
struct KernelOfCpu {
    vectors: &'static [(Vector, &'static str)],
    context: SavedContext,
    saved_pc: Option<i64>,
    /// The register that holds the running task.
    task_register: Option<Register>,
    exception_functions: &'static [&'static str],
    /// As [`Kernel::entered_from`].
    entered_from: &'static [(&'static str, u64)],
}

/// By the CPU's name: arm64, riscv64, x86_64.
///
/// A task that is switched out keeps what it will resume with here (`guests/<cpu>/include/kernel.S`):
///
/// ```text
///  arm64, riscv64: struct task            x86-64: struct task         its stack, from the saved SP up
///  +0   stack low, stack high             +0   stack low, high        +48  return address
///  +16  arm64: x19..x28, fp, sp, pc       +16  saved SP --------+     +40  rbp
///       riscv64: ra, sp, s0..s11                                |     +8   r14, r13, r12, rbx (8 bytes each)
///                                                               +---> +0   r15
/// ```
fn kernel_of(cpu: &str) -> KernelOfCpu {
    match cpu {
        "arm64" => KernelOfCpu {
            vectors: &[
                (Vector::Table, "vectors"),
                (Vector::SdeiHandler, "sdei_entry"),
                (Vector::SdeiArgument, "sdei_event"),
            ],
            // x19..x28, fp, sp, pc from byte 16 on.
            context: SavedContext::InTask { pc: 112, registers: vec![(Register(29), 96), (Register(31), 104)] },
            saved_pc: Some(256 - 320), // PT_PC and PT_SIZE of guests/arm64/include/kernel.S
            task_register: None,       // SP_EL0, written right after SP
            exception_functions: &[],
            entered_from: &[],
        },
        "riscv64" => KernelOfCpu {
            vectors: &[(Vector::Table, "handle_exception")],
            // ra, sp, s0..s11 from byte 16 on.
            context: SavedContext::InTask { pc: 16, registers: vec![(Register(2), 24), (Register(8), 32)] },
            saved_pc: None,
            task_register: Some(Register(4)),                                 // tp
            exception_functions: &["handle_exception", "ret_from_exception"], // Linux arch/riscv/kernel/stacktrace.c
            entered_from: &[],
        },
        _ => KernelOfCpu {
            vectors: &[
                (Vector::Irq, "idt_irq"),
                (Vector::Fault, "idt_fault"),
                (Vector::Nmi, "idt_nmi"),
                (Vector::Debug, "idt_debug"),
                (Vector::DoubleFault, "idt_double_fault"),
                (Vector::Syscall, "entry_SYSCALL_64"),
                (Vector::EntryStack, "__stack_entry_high"),
                (Vector::NmiStack, "__stack_nmi_high"),
                (Vector::DebugStack, "__stack_db_high"),
                (Vector::DoubleFaultStack, "__stack_df_high"),
                (Vector::Gdt, "__gdt"),
            ],
            // SP at byte 16; on the stack r15, r14, r13, r12, rbx, rbp and the return address.
            context: SavedContext::OnStack {
                sp: 16,
                pc: 48,
                registers: vec![(Register(6), 40)],
                size: 56,
                sp_register: Register(7),
            },
            saved_pc: None,
            task_register: None,
            exception_functions: &[],
            // The topmost word; sp in the pt_regs at the top (Linux arch/x86/kernel/dumpstack_64.c).
            entered_from: &[("irq", 8), ("nmi", 16), ("db", 16), ("df", 16)],
        },
    }
}

/// The conventions of a guest of this repository.
#[must_use]
pub fn mimic(guest: &Guest) -> Conventions {
    let symbols = &guest.symbols;
    let of_cpu = kernel_of(guest.cpu.name);
    let range = |low: &str, high: &str| Some(symbols.address(low)?..symbols.address(high)?);
    let functions = |wanted: &dyn Fn(&Symbol) -> bool| -> Vec<Range<u64>> {
        let functions = symbols.functions().iter().filter(|function| wanted(function));
        functions.map(|function| function.address..function.address + function.size).collect()
    };
    let labels = labels(guest);
    let mut vectors = Vectors::default();
    for (vector, name) in of_cpu.vectors {
        vectors.set(*vector, name, symbols.address(name));
    }
    let trampolines = RETURN_TRAMPOLINES.iter().filter_map(|(name, hook)| {
        let function = symbols.function_named(name)?;
        Some(Trampoline { hook: *hook, start: function.address, end: function.address + function.size })
    });
    let generated = symbols.functions().iter().filter(|function| function.name.starts_with(GENERATED_PREFIX));
    let redirect_words = symbols.address("__redirect_from").zip(symbols.address("__redirect_to"));
    Conventions {
        is_process: false,
        makes_context: None,
        sentinel: symbols.address(SENTINEL),
        stacks: declared_stacks(guest),
        arena: range("__stack_arena_low", "__stack_arena_high"),
        scratch: range("__scratch_low", "__scratch_high"),
        unsettled: Vec::new(),
        vectors,
        kernel: kernel(guest, &of_cpu),
        own_unwinder: None,
        user_text: functions(&|function| function.name.starts_with(USER_PREFIX)),
        exception_text: functions(&|function| of_cpu.exception_functions.contains(&&*function.name)),
        trampolines: trampolines.collect(),
        generated_text: generated.map(|function| function.address).min(),
        moved_returns: labels.moved_returns,
        pushes: Vec::new(),
        outermost: Vec::new(),
        other_markers: Vec::new(),
        calls: CallConventions::default(),
        missing: Vec::new(),
        redirects: redirect_words.map(|(from, to)| Redirects { marks: labels.redirects, from, to }),
        nesting: labels.nesting,
    }
}

/// The labels by which a guest declares what its instructions do not show.
#[derive(Default)]
struct Labels {
    moved_returns: Vec<u64>,
    redirects: Vec<u64>,
    nesting: Vec<(u64, bool)>,
}

fn labels(guest: &Guest) -> Labels {
    let mut labels = Labels::default();
    for symbol in guest.symbols.all() {
        let (name, at) = (&symbol.name, symbol.address);
        if name.starts_with("moved_return_") {
            labels.moved_returns.push(at);
        } else if name.starts_with("redirect_") {
            labels.redirects.push(at);
        } else if name.starts_with("nest_from") {
            labels.nesting.push((at, true));
        } else if name.starts_with("nest_to") {
            labels.nesting.push((at, false));
        }
    }
    labels.nesting.sort_unstable();
    labels
}

/// The declared stacks, by name. In the ELF file, the two words of each hold 0 and its size.
fn declared_stacks(guest: &Guest) -> Vec<DeclaredStack> {
    let mut stacks: Vec<DeclaredStack> = Vec::new();
    for symbol in guest.symbols.all() {
        let name = symbol.name.strip_prefix("__stack_").and_then(|rest| rest.strip_suffix("_high"));
        let Some(name) = name.filter(|name| *name != ARENA) else { continue };
        let Some(low_word) = guest.symbols.address(&format!("__stack_{name}_low")) else { continue };
        let word = guest.bytes_at(symbol.address).first_chunk();
        let role = match name {
            FIRST_STACK => StackRole::First,
            USER_STACK => StackRole::User,
            _ => StackRole::Kernel,
        };
        let size = word.map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default();
        stacks.push(DeclaredStack { name: name.to_owned(), size, low_word, high_word: symbol.address, role });
    }
    stacks.sort_by(|left, right| left.name.cmp(&right.name));
    stacks
}

fn kernel(guest: &Guest, of_cpu: &KernelOfCpu) -> Option<Kernel> {
    let address = |name: &str| guest.symbols.address(name);
    let task = |name: &str| {
        Some(TaskPlace {
            address: address(&format!("task_{name}"))?,
            // The index; the words follow it.
            ret_stack: address(&format!("ret_stack_{name}")).map(|index| RetStackPlace {
                index,
                words: RetStackWords::At(index + 8),
                entry_words: guest.cpu.abi.ret_stack_entry_words,
            }),
            rethooks: address(&format!("rethooks_{name}")),
        })
    };
    Some(Kernel {
        current: Some(address(CURRENT)?),
        known: KnownTask {
            register: of_cpu.task_register,
            word: address(CURRENT_TASK),
            at_firmware_event: address(ENTRY_TASK),
        },
        frame_pointers: match (address(CONFIG_FRAME_POINTER), address(CONFIG_UNWINDER_ORC)) {
            (Some(_), _) => Some(true),
            (None, Some(_)) => Some(false),
            (None, None) => None,
        },
        stack: TaskStack::Bounds(0, 8),
        entered_from: of_cpu.entered_from.iter().map(|(name, below)| ((*name).to_owned(), *below)).collect(),
        tasks: ["boot", "other"].into_iter().filter_map(task).collect(),
        fork_entry: address(FORK_ENTRY),
        context: of_cpu.context.clone(),
        pt_regs: guest.cpu.abi.pt_regs,
        saved_pc: of_cpu.saved_pc,
        symbols: KernelSymbols {
            subject: address(SUBJECT),
            walk_here: address(WALK_HERE),
            walk_task: address(WALK_TASK),
            walk_user: address(WALK_USER),
            need_resched: address(NEED_RESCHED).map(|word| (word, 1)),
        },
    })
}
