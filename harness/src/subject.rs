//! Anything whose walks can be judged, with the descriptor from which columns and verdict rules derive.

use std::cell::Cell;

use kunwind::{Claims, FrameRecordUnwinder, Register, StackBounds, Target, Task, Unwinder};

use crate::arch::Arch;
use crate::guest::{Guest, Symbol};
use crate::machine::Memory;
use crate::verdict::Compares;

/// How many entries a trace may have, where nobody says otherwise. Deeper than any guest's stack, so that a full buffer means a
/// walk gone wild.
pub const MAX_FRAMES: usize = 512;

/// What live patching offers to a reliable walk: MAX_STACK_ENTRIES in Linux kernel/livepatch/transition.c.
const LIVEPATCH_ENTRIES: usize = 100;

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
    /// Whether it knows kernels: walks from handlers and of tasks. Others are asked at every point all the same.
    pub kernel: bool,
    /// The unwinder itself.
    pub unwinder: Box<dyn Unwinder + Send + Sync>,
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
            kernel: false,
            unwinder: Box::new(unwinder),
        }
    }
}

/// Every subject of a CPU, in the order of columns.
#[must_use]
pub fn all(arch: &dyn Arch) -> Vec<Subject> {
    let mut subjects = vec![Subject::frame_record(arch)];
    subjects.extend(arch.kernel_unwinders().into_iter().map(|unwinder| Subject {
        name: unwinder.name().to_owned(),
        // Kernels report pcs; what they keep of SP is their own bookkeeping.
        compares: Compares { cfa: false, fp: true, callee_saved: false },
        registers: [arch.abi().fp, arch.abi().sp].into_iter().chain(arch.abi().ra).collect(),
        limit: if unwinder.claims() == Claims::Explicit { LIVEPATCH_ENTRIES } else { MAX_FRAMES },
        kernel: true,
        unwinder,
    }));
    subjects
}

/// The guest as it stands at a point.
#[derive(Debug, Clone)]
pub struct Live<'a> {
    /// What it is.
    pub guest: &'a Guest,
    /// Its memory.
    pub memory: &'a Memory,
    /// Words that read differently than they are: a corrupt stack, without touching the real one.
    pub changed: &'a [(u64, u64)],
    /// The stacks that may be walked.
    pub stacks: &'a [StackBounds],
    /// The task whose stack is walked, where there are tasks.
    pub task: Option<Task>,
    /// Set when something outside of those stacks is read: an unwinder may not.
    pub strayed: Cell<bool>,
}

impl<'a> Live<'a> {
    /// The guest as it is, with the stacks and the task that a walk is offered.
    #[must_use]
    pub const fn new(guest: &'a Guest, memory: &'a Memory, stacks: &'a [StackBounds], task: Option<Task>) -> Self {
        Self { guest, memory, changed: &[], stacks, task, strayed: Cell::new(false) }
    }

    /// The same with words that read differently than they are.
    #[must_use]
    pub const fn with_changed(&self, changed: &'a [(u64, u64)]) -> Self {
        Self { changed, ..Self::new(self.guest, self.memory, self.stacks, self.task) }
    }
}

impl Target for Live<'_> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        if !self.stacks.iter().any(|stack| stack.contains(address, 8)) {
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
}
