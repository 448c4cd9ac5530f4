//! The conventions of a KIND of guest: where its stacks are declared, which word holds the running task, where exceptions
//! enter, which functions mark the places for walks, what replaces return addresses. They are resolved once, into addresses;
//! no other module knows a guest's symbols by name.
//!
//! The mimics (guests/README.md, guests/KERNEL.md) are one kind; [`mimic()`] finds their conventions by symbols. Another kind
//! fills in the same fields from its own sources.

mod call;
mod mimic;

use std::ops::Range;

use kunwind::{PtRegs, ReturnHook, StackBounds};
use serde::{Deserialize, Serialize};

use super::Guest;
use crate::Error;
use crate::cpu::{Register, Regs};

pub use call::{CallConvention, CallConventions, Preserved, SpAtReturn};
pub use mimic::{TRAMPOLINES, mimic, trampoline_of};

/// What the harness must know about a guest and cannot see in its memory and instructions.
#[derive(Debug, Clone, Default)]
pub struct Conventions {
    /// The run ends when control arrives here; the instruction is not executed.
    pub sentinel: Option<u64>,
    /// The stacks that it declares, by name.
    pub stacks: Vec<DeclaredStack>,
    /// Where the declared stacks are placed.
    pub arena: Option<Range<u64>>,
    /// Memory that an exception may leave changed: counters, tracers' lists.
    pub scratch: Option<Range<u64>>,
    /// Other memory that an exception may leave changed: where a task keeps its registers while it is switched out.
    pub unsettled: Vec<Range<u64>>,
    /// Where the CPU enters the guest at an exception.
    pub vectors: Vectors,
    /// The kernel, in a guest that has one.
    pub kernel: Option<Kernel>,
    /// The guest's own unwinder, in a guest that has one.
    pub own_unwinder: Option<OwnUnwinder>,
    /// User-mode functions, which are not kernel text.
    pub user_text: Vec<Range<u64>>,
    /// Exception entry and exit functions, for unwinders that recognise them by address.
    pub exception_text: Vec<Range<u64>>,
    /// Code whose address replaces return addresses.
    pub trampolines: Vec<Trampoline>,
    /// From here on, code counts as generated at run time: ORC has entries there only from hints.
    pub generated_text: Option<u64>,
    /// Where a return may arrive with another SP than its call had, and with other registers: entry code that builds pt_regs
    /// on its caller's stack.
    pub moved_returns: Vec<u64>,
    /// The addresses after calls that only push: what such a call pushes is overwritten before anything returns to it, as in a
    /// retpoline. Nothing may arrive there.
    pub pushes: Vec<u64>,
    /// Functions whose calls never return, because a run begins inside of them and ends before they do.
    pub outermost: Vec<Range<u64>>,
    /// The markers of other exceptions' handlers than those that call [`KernelSymbols::walk_here`]; their first argument is the same.
    pub other_markers: Vec<u64>,
    /// Whether it is a process under an emulated kernel: it ends in the middle of what it does, and a call may return twice (`setjmp`).
    pub is_process: bool,
    /// Where a process makes contexts (`makecontext`): the first argument of this function has the stack of a fiber, whatever waited
    /// there waits no more, and the fiber's first function is entered as if it were called from the address that it returns to.
    pub makes_context: Option<u64>,
    /// Functions that are not called as the ABI says.
    pub calls: CallConventions,
    /// Calls that live patching redirects.
    pub redirects: Option<Redirects>,
    /// Pages where symbols are that no file defines: nothing is mapped there. By address.
    pub missing: Vec<(u64, String)>,
    /// From each address on: whether a second exception may be nested (true), or would destroy the first one's state
    /// (false). By address.
    pub nesting: Vec<(u64, bool)>,
}

/// The functions of a kernel that walk its stacks, and what they need of us (Linux include/linux/stacktrace.h).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUnwinder {
    /// `int arch_stack_walk_reliable(consume, cookie, task)`: 0 says that the trace is reliable.
    pub reliable: Option<u64>,
    /// `void arch_stack_walk(consume, cookie, task, regs)`.
    pub best_effort: Option<u64>,
    /// `int stack_trace_save_tsk_reliable(task, store, size)`: the number of entries, or a negative error.
    pub save_reliable: Option<u64>,
    /// Whether it is of a release that our models of it follow.
    pub is_modelled: bool,
    /// `bool consume(void *cookie, unsigned long pc)`: a routine of ours that stores pc where `*cookie` points, moves that on by 8
    /// bytes, and returns true.
    pub consume: u64,
    /// Memory for `*cookie` (its first word) and the entries; nothing else uses it.
    pub buffer: Range<u64>,
}

/// A stack that a guest declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredStack {
    /// Its name in scenarios.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The word that will hold its lowest address.
    pub low_word: u64,
    /// The word that will hold the address after its last byte.
    pub high_word: u64,
    /// Whose it is.
    pub role: StackRole,
}

/// Whose a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackRole {
    /// The run begins on it.
    First,
    /// User mode's.
    User,
    /// A task's or the CPU's.
    Kernel,
    /// A fiber's, which has activations of its own.
    Fiber,
}

/// The conventions of a kernel with tasks.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The word that holds the address of the task whose stack is in use; it is written with the switch of stacks. Without one,
    /// it is the task on whose stack SP was last. The truth goes by it.
    pub current: Option<u64>,
    /// Where the kernel itself knows the running task from.
    pub known: KnownTask,
    /// Whether it is built with frame pointers (x86-64: `UNWINDER_FRAME_POINTER`) or without (`UNWINDER_ORC`), where that decides
    /// which unwinder the kernel has; else all walk.
    pub frame_pointers: Option<bool>,
    /// How a task's structure says where its stack is.
    pub stack: TaskStack,
    /// Where stacks hold the SP with which they were entered: by name, how far below the stack's high end, in bytes.
    pub entered_from: Vec<(String, u64)>,
    /// All tasks.
    pub tasks: Vec<TaskPlace>,
    /// The first instruction of a new task; no call returns to it.
    pub fork_entry: Option<u64>,
    /// Where a task that is switched out keeps its registers.
    pub context: SavedContext,
    /// How entry code lays out pt_regs.
    pub pt_regs: PtRegs,
    /// Where handlers may change the pc in pt_regs (kretprobes): the offset of that word from the interrupted SP, in bytes.
    ///
    /// ```text
    ///   interrupted SP ->  +---------------+  +320   arm64 (guests/arm64/include/kernel.S)
    ///                      | type          |  +312
    ///   FP in a handler -> | record {0, 0} |  +296   the metadata record
    ///                      | ...           |
    ///                      | pstate        |  +264
    ///   SP + saved_pc  ->  | pc            |  +256
    ///                      | sp            |  +248
    ///                      | x0 .. x30     |
    ///   pt_regs        ->  +---------------+  +0
    /// ```
    pub saved_pc: Option<i64>,
    /// The markers for walks, and the request to reschedule.
    pub symbols: KernelSymbols,
}

/// Where a kernel's own code knows the running task from: Linux's `current`, and so the task that a walk is told about. In a
/// switch of tasks it changes before or after the stack does.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownTask {
    /// The register that holds the address of its structure (riscv64's tp).
    pub register: Option<Register>,
    /// The word that holds it (x86-64's `current_task`). With neither, it is the task whose stack is in use.
    pub word: Option<u64>,
    /// The word from which entry from firmware has it.
    pub at_firmware_event: Option<u64>,
}

/// The kernel addresses that deliveries need.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelSymbols {
    /// The function whose instructions, and those of its callees, are interrupted.
    pub subject: Option<u64>,
    /// Called by handlers where a kernel takes a backtrace of itself; its first argument is the address of the pt_regs.
    pub walk_here: Option<u64>,
    /// Its first argument is a task that is switched out.
    pub walk_task: Option<u64>,
    /// Called before the kernel returns to user mode; its first argument is the address of the pt_regs of the entry.
    pub walk_user: Option<u64>,
    /// What makes an exception's exit path schedule: this value in the word at this address.
    pub need_resched: Option<(u64, u64)>,
}

/// A task, by the address of its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskPlace {
    /// The structure.
    pub address: u64,
    /// The return addresses that the function graph tracer has replaced.
    pub ret_stack: Option<RetStackPlace>,
    /// The word with the address of its first rethook node.
    pub rethooks: Option<u64>,
}

/// How a task's structure says where its stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStack {
    /// Two words, at these offsets in bytes: its lowest address, and the address after its last byte.
    Bounds(u64, u64),
    /// One word at this offset in bytes, its lowest address; all stacks have this size in bytes.
    Sized(u64, u64),
}

/// Where a task's ret_stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetStackPlace {
    /// The index of the first free word: 32 bits.
    pub index: u64,
    /// Its words.
    pub words: RetStackWords,
    /// The size of an entry (`struct ftrace_ret_stack`), in words.
    pub entry_words: u64,
}

/// Where the words of a ret_stack are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetStackWords {
    /// At this address.
    At(u64),
    /// Where the word at this address points; nowhere while it is 0.
    Pointed(u64),
}

impl RetStackPlace {
    /// The address of the first word, and the index of the first free one. `None` while there is no ret_stack.
    pub fn read(&self, read: &dyn Fn(u64) -> Option<u64>) -> Option<(u64, u64)> {
        let words = match self.words {
            RetStackWords::At(address) => address,
            RetStackWords::Pointed(pointer) => read(pointer).filter(|address| *address != 0)?,
        };
        Some((words, read(self.index)? & 0xffff_ffff))
    }
}

/// Where a task that is switched out keeps the state with which it will resume.
#[derive(Debug, Clone)]
pub enum SavedContext {
    /// Entirely in the task's structure, at these offsets in bytes.
    InTask {
        /// The pc.
        pc: u64,
        /// The registers.
        registers: Vec<(Register, u64)>,
    },
    /// SP in the task's structure, the rest on the stack from that address up.
    OnStack {
        /// The offset of SP in the structure.
        sp: u64,
        /// The offset of the pc from SP.
        pc: u64,
        /// The registers, by their offsets from SP.
        registers: Vec<(Register, u64)>,
        /// The size of the saved context: SP will be this much higher when the task resumes.
        size: u64,
        /// The stack pointer.
        sp_register: Register,
    },
}

impl SavedContext {
    /// The pc and the registers of the task whose structure is at this address; `None` if a word cannot be read.
    pub fn read(&self, task: u64, read: &dyn Fn(u64) -> Option<u64>) -> Option<(u64, Regs)> {
        let mut regs = Regs::none();
        match self {
            Self::InTask { pc, registers } => {
                for (register, offset) in registers {
                    regs.set(*register, read(task.wrapping_add(*offset))?);
                }
                Some((read(task.wrapping_add(*pc))?, regs))
            }
            Self::OnStack { sp, pc, registers, size, sp_register } => {
                let sp = read(task.wrapping_add(*sp))?;
                for (register, offset) in registers {
                    regs.set(*register, read(sp.wrapping_add(*offset))?);
                }
                regs.set(*sp_register, sp.wrapping_add(*size));
                Some((read(sp.wrapping_add(*pc))?, regs))
            }
        }
    }
}

/// Code whose first address replaces return addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trampoline {
    /// The hook that it belongs to.
    pub hook: ReturnHook,
    /// The address of the first instruction, which replaces return addresses.
    pub start: u64,
    /// The address after the last instruction.
    pub end: u64,
}

/// How a guest announces that it has redirected a call.
#[derive(Debug, Clone)]
pub struct Redirects {
    /// The instructions that follow a redirection.
    pub marks: Vec<u64>,
    /// The word that holds where the caller would have resumed.
    pub from: u64,
    /// The word that holds where control will arrive instead.
    pub to: u64,
}

/// Where, and with what, the CPU enters a guest at an exception. `machine/core` says which of them each CPU needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vector {
    /// arm64's vector table (VBAR_EL1), riscv64's trap entry (stvec).
    Table,
    /// The handler of SDEI events that the kernel registered with the firmware.
    SdeiHandler,
    /// The argument that it registered with the handler.
    SdeiArgument,
    /// The gate of interrupts.
    Irq,
    /// The gate of page faults.
    Fault,
    /// The gate of NMIs.
    Nmi,
    /// The gate of debug exceptions.
    Debug,
    /// The gate of double faults.
    DoubleFault,
    /// The entry of system calls (LSTAR).
    Syscall,
    /// The word with the top of the stack for entries from user mode (RSP0).
    EntryStack,
    /// The word with the top of the NMI's stack.
    NmiStack,
    /// The word with the top of the debug exception's stack.
    DebugStack,
    /// The word with the top of the double fault's stack.
    DoubleFaultStack,
    /// The global descriptor table.
    Gdt,
    /// What a booted kernel has in GS: where the CPU's own variables are, by how they are linked.
    PerCpu,
}

impl Vector {
    /// All of them, in order.
    const ALL: [Self; Vectors::COUNT] = [
        Self::Table,
        Self::SdeiHandler,
        Self::SdeiArgument,
        Self::Irq,
        Self::Fault,
        Self::Nmi,
        Self::Debug,
        Self::DoubleFault,
        Self::Syscall,
        Self::EntryStack,
        Self::NmiStack,
        Self::DebugStack,
        Self::DoubleFaultStack,
        Self::Gdt,
        Self::PerCpu,
    ];
}

/// The [`Vector`]s that a guest has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vectors {
    addresses: [Option<u64>; Self::COUNT],
    names: [&'static str; Self::COUNT],
}

impl Vectors {
    const COUNT: usize = Vector::PerCpu as usize + 1;

    /// Sets a vector; `name` is what a guest without it lacks.
    pub fn set(&mut self, vector: Vector, name: &'static str, address: Option<u64>) {
        self.names[vector as usize] = name;
        self.addresses[vector as usize] = address;
    }

    /// The vectors that the guest has, with their addresses.
    pub fn all(&self) -> impl Iterator<Item = (Vector, u64)> + '_ {
        Vector::ALL.into_iter().filter_map(|vector| Some((vector, self.addresses[vector as usize]?)))
    }

    /// The address of a vector.
    ///
    /// # Errors
    ///
    /// What the guest lacks.
    pub fn get(&self, vector: Vector) -> Result<u64, String> {
        self.addresses[vector as usize].ok_or_else(|| {
            let name = self.names[vector as usize];
            if name.is_empty() {
                format!("the guest has no {vector:?}")
            } else {
                format!("the guest has no symbol `{name}`")
            }
        })
    }

    /// Whether exceptions can enter the guest.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.addresses[Vector::Table as usize].is_some() || self.addresses[Vector::Irq as usize].is_some()
    }
}

impl Conventions {
    /// Checks what belongs to kernels alone.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when a program has it.
    pub fn check(&self, guest: &Guest) -> Result<(), Error> {
        let Some(at) = self.moved_returns.first().filter(|_| self.kernel.is_none()) else { return Ok(()) };
        let name = guest.symbols.name_of_data(*at);
        let reason = format!(
            "{name} says that a return may have another SP: only the entry code of a kernel (guests/KERNEL.md) may say so; \
             a scenario declares how other functions return ([[convention]], docs/scenario.md)"
        );
        Err(Error::Elf { path: guest.path.clone(), reason })
    }

    /// The task at this address.
    #[must_use]
    pub fn task_place(&self, address: u64) -> Option<TaskPlace> {
        self.kernel.as_ref()?.tasks.iter().find(|task| task.address == address).copied()
    }

    /// The stack of the task at this address, as its structure says.
    pub fn task_stack(&self, address: u64, read: &dyn Fn(u64) -> Option<u64>) -> Option<StackBounds> {
        let word = |offset| read(address.wrapping_add(offset));
        let (low, high) = match self.kernel.as_ref()?.stack {
            TaskStack::Bounds(low, high) => (word(low)?, word(high)?),
            TaskStack::Sized(low, size) => (word(low)?, word(low)?.wrapping_add(size)),
        };
        Some(StackBounds { low, high })
    }

    /// Whether return addresses are rewritten in this guest.
    #[must_use]
    pub fn rewrites_returns(&self) -> bool {
        let has_lists = |task: &TaskPlace| task.ret_stack.is_some() || task.rethooks.is_some();
        self.kernel.as_ref().is_some_and(|kernel| kernel.tasks.iter().any(has_lists))
    }

    /// The marker that the kernel calls before it returns to user mode.
    #[must_use]
    pub fn walk_user(&self) -> Option<u64> {
        self.kernel.as_ref().and_then(|kernel| kernel.symbols.walk_user)
    }

    /// What deliveries need of a kernel.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] for what the guest lacks.
    pub fn require_kernel(&self, guest: &Guest) -> Result<Deliverable, Error> {
        let missing = |name| guest.missing(name, "guests/KERNEL.md lists what a kernel guest defines");
        let kernel = self.kernel.as_ref().ok_or_else(|| missing(mimic::CURRENT))?;
        let KernelSymbols { subject, walk_here, walk_task, need_resched, .. } = kernel.symbols;
        Ok(Deliverable {
            subject: subject.ok_or_else(|| missing(mimic::SUBJECT))?,
            walk_here: walk_here.ok_or_else(|| missing(mimic::WALK_HERE))?,
            walk_task: walk_task.ok_or_else(|| missing(mimic::WALK_TASK))?,
            need_resched: need_resched.ok_or_else(|| missing(mimic::NEED_RESCHED))?,
            known: kernel.known,
        })
    }
}

/// The kernel addresses without which exceptions cannot be delivered and walked.
#[derive(Debug, Clone, Copy)]
pub struct Deliverable {
    /// As [`KernelSymbols::subject`].
    pub subject: u64,
    /// As [`KernelSymbols::walk_here`].
    pub walk_here: u64,
    /// As [`KernelSymbols::walk_task`].
    pub walk_task: u64,
    /// As [`KernelSymbols::need_resched`].
    pub need_resched: (u64, u64),
    /// As [`Kernel::known`].
    pub known: KnownTask,
}
