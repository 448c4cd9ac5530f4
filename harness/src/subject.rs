//! Anything whose walks can be judged, with the descriptor from which columns and verdict rules derive.

use std::cell::Cell;

use kunwind::kernel::KernelUnwinder;
use kunwind::sframe::SFrameAbi;
use kunwind::{
    Claims, Fix, Format, FrameRecordUnwinder, Register, ReturnHook, StackBounds, Table, TableUnwinder, Target, Task,
    Trampoline, UnwindUser, Unwinder,
};

use crate::arch::Arch;
use crate::design::{self, Rewriter};
use crate::guest::{Guest, Symbol};
use crate::machine::Memory;
use crate::prepared::Prepared;
use crate::scenario::Kind;
use crate::tables::Tables;
use crate::verdict::Compares;

/// How many entries a trace may have, where nobody says otherwise. Deeper than any guest's stack, so that a full buffer means a
/// walk gone wild.
pub const MAX_FRAMES: usize = 512;

/// What live patching offers to a reliable walk: MAX_STACK_ENTRIES in Linux kernel/livepatch/transition.c.
const LIVEPATCH_ENTRIES: usize = 100;

/// The trampolines that stand for return addresses, by their symbols in Linux.
const TRAMPOLINES: [(&str, ReturnHook); 3] = [
    ("return_to_handler", ReturnHook::Fgraph),
    ("arch_rethook_trampoline", ReturnHook::Rethook),
    ("__kretprobe_trampoline", ReturnHook::Rethook),
];

/// An unwinder under test, and what it needs and promises.
pub struct Subject {
    /// The name in scenarios, reports and on the command line.
    pub name: String,
    /// What its walks are judged by, beyond pcs.
    pub compares: Compares,
    /// The registers that a walk starts with, the pc apart.
    pub registers: Vec<Register>,
    /// How many entries a trace may have. As in the kernel, a buffer is full when its last slot is taken, even if the trace
    /// were complete.
    pub limit: usize,
    /// In which guests it is asked.
    pub scope: Scope,
    /// The unwind data without which it is not asked.
    pub needs: Option<Format>,
    /// Whether it may read all memory, and not only the stacks that it is offered.
    pub roams: bool,
    /// The unwinder itself.
    pub unwinder: Box<dyn Unwinder + Send + Sync>,
}

/// In which guests a subject is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In all.
    Any,
    /// Where there is a kernel with tasks: it walks from handlers and of tasks.
    Kernel,
    /// Where the function graph tracer runs in a build that it belongs to: it is a design against the tracer's windows, and
    /// elsewhere like its plain form.
    Tracer,
    /// Where there is none: it knows nothing of exceptions.
    Program,
    /// The same, and where a kernel walks the stacks of user mode.
    User,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Subject {
    /// The bare walk along frame records.
    #[must_use]
    pub fn frame_record(arch: &dyn Arch) -> Self {
        let abi = arch.abi();
        let unwinder = FrameRecordUnwinder::new(abi);
        Self {
            name: unwinder.name().to_owned(),
            compares: Compares { cfa: true, fp: true, callee_saved: false },
            registers: vec![abi.fp],
            limit: MAX_FRAMES,
            scope: Scope::Any,
            needs: None,
            roams: false,
            unwinder: Box::new(unwinder),
        }
    }

    /// A walk by tables of this format, in every frame.
    fn table(arch: &dyn Arch, format: Format) -> Self {
        Self {
            registers: all_registers(arch),
            scope: Scope::Program,
            needs: Some(format),
            unwinder: Box::new(TableUnwinder::new(arch.abi(), format)),
            name: format.name().to_owned(),
            ..Self::frame_record(arch)
        }
    }

    /// A kernel's walk of a user stack. Its CFAs and frame pointers are its own bookkeeping, as in all kernels.
    fn user(arch: &dyn Arch, unwinder: UnwindUser) -> Self {
        Self {
            registers: all_registers(arch),
            compares: Compares { cfa: false, fp: false, callee_saved: false },
            scope: Scope::User,
            roams: true,
            name: unwinder.name().to_owned(),
            unwinder: Box::new(unwinder),
            ..Self::frame_record(arch)
        }
    }

    /// Whether it is asked in this guest, in which this one rewrites return addresses, interrupted like this.
    #[must_use]
    pub fn fits(&self, guest: &Guest, rewriter: Option<&Rewriter>, tables: &Tables, kind: Kind) -> bool {
        let has_tasks = guest.symbols.address("__current").is_some();
        let in_scope = match self.scope {
            Scope::Any => true,
            Scope::Kernel => has_tasks,
            Scope::Tracer => {
                let fix = self.unwinder.fix();
                rewriter.is_some_and(|it| it.is_tracer() && design::together(&it.design, fix).is_some())
            }
            Scope::Program => !has_tasks,
            Scope::User => !has_tasks || (guest.symbols.address("walk_user").is_some() && kind.walks_user()),
        };
        in_scope && self.needs.is_none_or(|format| tables.has(format))
    }
}

fn all_registers(arch: &dyn Arch) -> Vec<Register> {
    (0..arch.register_ids().len() as u8).map(Register).collect()
}

/// Every subject of a CPU, in the order of columns.
#[must_use]
pub fn all(arch: &dyn Arch) -> Vec<Subject> {
    let mut subjects = vec![Subject::frame_record(arch)];
    if SFrameAbi::of(arch.abi()).is_some() {
        subjects.push(Subject::table(arch, Format::SFrame));
    }
    subjects.push(Subject::table(arch, Format::Dwarf));
    if SFrameAbi::of(arch.abi()).is_some() {
        subjects.push(Subject::user(arch, UnwindUser::new(arch.abi())));
        subjects.push(Subject::user(arch, UnwindUser::by_frame_pointer(arch.abi())));
    }
    subjects.extend(KernelUnwinder::of(arch.abi()).map(|unwinder| Subject {
        name: unwinder.name().to_owned(),
        // Kernels report pcs; what they keep of SP is their own bookkeeping.
        compares: Compares { cfa: false, fp: true, callee_saved: false },
        registers: [arch.abi().fp, arch.abi().sp].into_iter().chain(arch.abi().ra).collect(),
        limit: if unwinder.claims() == Claims::Never { MAX_FRAMES } else { LIVEPATCH_ENTRIES },
        scope: if unwinder.fix() == Fix::None { Scope::Kernel } else { Scope::Tracer },
        needs: unwinder.needs(),
        roams: false,
        unwinder: Box::new(unwinder),
    }));
    subjects
}

/// The guest as it stands at a point.
#[derive(Debug, Clone)]
pub struct Live<'a> {
    /// What it is.
    pub guest: &'a Guest,
    /// Its unwind data.
    pub tables: &'a Tables,
    /// Its memory.
    pub memory: &'a Memory,
    /// Words that read differently than they are: a corrupt stack, without touching the real one.
    pub changed: &'a [(u64, u64)],
    /// The stacks that may be walked.
    pub stacks: &'a [StackBounds],
    /// The task whose stack is walked, where there are tasks.
    pub task: Option<Task>,
    /// Whether nothing else can be read: to a kernel that reads user memory, other addresses are a fault.
    pub is_user: bool,
    /// Set when something outside of those stacks is read: an unwinder may not.
    pub strayed: Cell<bool>,
}

impl<'a> Live<'a> {
    /// The guest as it is, with the stacks and the task that a walk is offered.
    #[must_use]
    pub const fn new(
        prepared: &'a Prepared,
        memory: &'a Memory,
        stacks: &'a [StackBounds],
        task: Option<Task>,
    ) -> Self {
        let Prepared { guest, tables, .. } = prepared;
        Self { guest, tables, memory, changed: &[], stacks, task, is_user: false, strayed: Cell::new(false) }
    }

    /// The guest with the stack of user mode, as a kernel reads it.
    #[must_use]
    pub const fn of_user(prepared: &'a Prepared, memory: &'a Memory, stacks: &'a [StackBounds]) -> Self {
        let Prepared { guest, tables, .. } = prepared;
        Self { guest, tables, memory, changed: &[], stacks, task: None, is_user: true, strayed: Cell::new(false) }
    }

    /// The same with words that read differently than they are.
    #[must_use]
    pub const fn with_changed(&self, changed: &'a [(u64, u64)]) -> Self {
        let Self { guest, tables, memory, stacks, task, is_user, .. } = *self;
        Self { guest, tables, memory, changed, stacks, task, is_user, strayed: Cell::new(false) }
    }
}

impl Live<'_> {
    /// Whether a kernel's walk reads this word besides the stacks: the task's rewritten return addresses. Guests keep them in
    /// `.scratch`.
    fn is_kernel_data(&self, address: u64) -> bool {
        let symbols = &self.guest.symbols;
        let bounds = symbols.address("__scratch_low").zip(symbols.address("__scratch_high"));
        self.task.is_some_and(|task| task.ret_stack.is_some() || task.rethooks.is_some())
            && bounds.is_some_and(|(low, high)| (low..high).contains(&address))
    }
}

impl Target for Live<'_> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        if !self.stacks.iter().any(|stack| stack.contains(address, 8)) && !self.is_kernel_data(address) {
            if self.is_user {
                return None;
            }
            self.strayed.set(true);
        }
        if let Some((_, value)) = self.changed.iter().find(|(changed, _)| *changed == address) {
            return Some(*value);
        }
        self.memory.read_u64(address)
    }

    fn stacks(&self) -> &[StackBounds] {
        self.stacks
    }

    fn is_text(&self, address: u64) -> bool {
        let is_user = |function: &Symbol| function.name.starts_with("user_"); // guests/KERNEL.md
        self.guest.text().any(|text| text.contains(&address))
            && !self.guest.symbols.function_at(address).is_some_and(is_user)
    }

    fn is_exception_entry(&self, address: u64) -> bool {
        let function = self.guest.symbols.function_at(address);
        function.is_some_and(|function| self.guest.arch.exception_functions().contains(&&*function.name))
    }

    fn task(&self) -> Option<Task> {
        self.task
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        self.tables.get(format)
    }

    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        let function = self.guest.symbols.function_at(address)?;
        let (_, hook) = TRAMPOLINES.iter().find(|(name, _)| *name == function.name)?;
        Some(Trampoline { hook: *hook, start: function.address, end: function.address + function.size })
    }
}
