//! The guest at a point, as subjects may see it.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use kunwind::{Format, StackBounds, Table, Target, Task, Trampoline};

use super::OwnFrame;
use crate::guest::Program;
use crate::trace::Memory;

/// The words that a walk has read: address, and value if it could be read.
pub type Reads = RefCell<Vec<(u64, Option<u64>)>>;

/// A range that holds all the words that were read, readable or not.
#[derive(Debug, Clone)]
pub struct Touched {
    lowest: Cell<u64>,
    highest: Cell<u64>,
}

impl Touched {
    const fn new() -> Self {
        Self { lowest: Cell::new(u64::MAX), highest: Cell::new(0) }
    }

    #[inline]
    fn note(&self, address: u64) {
        self.lowest.set(self.lowest.get().min(address));
        self.highest.set(self.highest.get().max(address));
    }

    /// The range since the last call; empty if nothing was read.
    pub fn take(&self) -> Range<u64> {
        let (lowest, highest) = (self.lowest.replace(u64::MAX), self.highest.replace(0));
        if lowest > highest { 0..0 } else { lowest..highest.saturating_add(8) }
    }
}

/// Where a word is nothing but the memory's, as was found for the word that was read last: most likely the next one lies there too.
/// Empty at first, and in a copy, whose words may read differently.
#[derive(Debug)]
pub(crate) struct Plain(Cell<StackBounds>);

impl Plain {
    const fn none() -> Self {
        Self(Cell::new(StackBounds { low: 0, high: 0 }))
    }
}

impl Clone for Plain {
    fn clone(&self) -> Self {
        Self::none()
    }
}

/// What overwrites a dead word differs from it in these bits, so that neither a stack address nor a code address stays one.
const OVERWRITTEN: u64 = 0x0005_5555_5555_5550;

/// The guest at a point.
#[derive(Clone)]
pub struct GuestTarget<'a> {
    /// The guest.
    pub program: &'a Program,
    /// Its memory.
    pub memory: &'a dyn Memory,
    /// Words that read differently, as (address, value): a corrupt stack without touching the real one.
    pub changed: &'a [(u64, u64)],
    /// The stacks that may be walked.
    pub stacks: &'a [StackBounds],
    /// The task whose stack is walked, where there are tasks.
    pub task: Option<Task>,
    /// Whether nothing else can be read: for a kernel that reads user memory, other addresses fault.
    pub is_user: bool,
    /// Set when something outside those stacks is read, which an unwinder must not do.
    pub read_outside_stacks: Cell<bool>,
    /// Stack memory below SP, less the red zone: what is there may be overwritten by the next interrupt.
    pub dead: Range<u64>,
    /// Set when such memory is read.
    pub read_dead: Cell<bool>,
    /// Whether such memory reads as if it had been overwritten.
    pub is_dead_overwritten: bool,
    /// The words that were read since somebody last asked.
    pub touched: Touched,
    /// Where the next word is most likely plain.
    pub(crate) plain: Plain,
    /// Records all reads, where wanted.
    pub reads: Option<&'a Reads>,
    /// Where the guest's own unwinder can be asked.
    pub own: Option<OwnFrame<'a>>,
}

impl std::fmt::Debug for GuestTarget<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GuestTarget")
            .field("stacks", &self.stacks)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

impl<'a> GuestTarget<'a> {
    /// The guest, with the stacks and the task that a walk is offered.
    #[must_use]
    #[inline]
    pub const fn new(
        program: &'a Program,
        memory: &'a dyn Memory,
        stacks: &'a [StackBounds],
        task: Option<Task>,
    ) -> Self {
        Self {
            program,
            memory,
            changed: &[],
            stacks,
            task,
            is_user: false,
            read_outside_stacks: Cell::new(false),
            dead: 0..0,
            read_dead: Cell::new(false),
            is_dead_overwritten: false,
            touched: Touched::new(),
            plain: Plain::none(),
            reads: None,
            own: None,
        }
    }

    /// The same, where the guest's own unwinder can be asked.
    #[must_use]
    pub fn with_own(self, own: Option<OwnFrame<'a>>) -> Self {
        Self { own, ..self }
    }

    /// The same, where the running code's SP is here and this many bytes below it still belong to it.
    #[must_use]
    pub fn with_sp(self, sp: u64, red_zone: u64) -> Self {
        Self { dead: Self::dead_below(self.program, sp, red_zone), plain: Plain::none(), ..self }
    }

    /// The stack memory below this SP, less the red zone.
    #[must_use]
    #[inline]
    pub fn dead_below(program: &Program, sp: u64, red_zone: u64) -> Range<u64> {
        let layout = &program.layout;
        let low = layout.stack_of(sp).map(|stack| layout.stacks[stack].bounds.low);
        let end = sp.wrapping_sub(red_zone);
        low.map_or(0..0, |low| low..end.max(low))
    }

    /// The same after an interrupt has overwritten what lies below SP.
    #[must_use]
    pub fn with_dead_overwritten(&self) -> Self {
        Self { is_dead_overwritten: true, ..self.clone() }
    }

    /// What an interrupt has written below SP, if it has: (address, value). Not into the stack's lowest word, where a kernel looks for
    /// its mark of the end (kernel/sched/core.c: STACK_END_MAGIC).
    pub(super) fn overwritten(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let dead = if self.is_dead_overwritten { self.dead.clone() } else { 0..0 };
        let words = (dead.start.next_multiple_of(8)..dead.end & !7).step_by(8).skip(1);
        words.filter_map(|address| Some((address, self.memory.read_u64(address)? ^ OVERWRITTEN)))
    }

    /// The guest with the user stacks, as a kernel reads them.
    #[must_use]
    pub fn of_user(program: &'a Program, memory: &'a dyn Memory, stacks: &'a [StackBounds]) -> Self {
        Self { is_user: true, ..Self::new(program, memory, stacks, None) }
    }

    /// The same, with words that read differently.
    #[must_use]
    pub fn with_changed(&self, changed: &'a [(u64, u64)]) -> Self {
        Self { changed, read_outside_stacks: Cell::new(false), read_dead: Cell::new(false), ..self.clone() }
    }

    /// The same, with all reads recorded.
    #[must_use]
    pub fn with_reads(&self, reads: &'a Reads) -> Self {
        Self { reads: Some(reads), read_outside_stacks: Cell::new(false), read_dead: Cell::new(false), ..self.clone() }
    }

    /// Whether a kernel's walk may read this word outside the stacks: where a return hook keeps the task's original return
    /// addresses. Guests keep those in `.scratch`.
    fn is_kernel_data(&self, address: u64) -> bool {
        self.task.is_some_and(|task| task.ret_stack.is_some() || task.rethooks.is_some())
            && self.program.conventions.scratch.as_ref().is_some_and(|scratch| scratch.contains(&address))
    }

    /// The part of a stack with this word in which words are nothing but the memory's.
    fn plain_part(&self, address: u64) -> Option<StackBounds> {
        let stack = *self.stacks.iter().find(|stack| stack.contains(address, 8))?;
        let is_plain = self.changed.is_empty() && self.reads.is_none() && !self.dead.contains(&address);
        let above_dead = self.dead.end.clamp(stack.low, stack.high);
        let low = if address >= above_dead { above_dead } else { stack.low };
        let high = if address >= self.dead.start { stack.high } else { self.dead.start.clamp(stack.low, stack.high) };
        is_plain.then_some(StackBounds { low, high })
    }

    /// A word outside the stacks, or whose read is recorded, or that reads differently.
    #[cold]
    fn read_specially(&self, address: u64) -> Option<u64> {
        let is_on_stack = self.stacks.iter().any(|stack| stack.contains(address, 8));
        let is_offered = is_on_stack || self.is_kernel_data(address);
        let changed = self.changed.iter().find(|(changed, _)| *changed == address);
        let is_dead = self.dead.contains(&address);
        if is_dead {
            self.read_dead.set(true);
        }
        let value = match changed {
            _ if !is_offered && self.is_user => None,
            Some((_, value)) => Some(*value),
            None if is_dead && self.is_dead_overwritten => {
                self.memory.read_u64(address).map(|value| value ^ OVERWRITTEN)
            }
            None => self.memory.read_u64(address),
        };
        if !is_offered && !self.is_user {
            self.read_outside_stacks.set(true);
        }
        if let Some(reads) = self.reads {
            reads.borrow_mut().push((address, value));
        }
        value
    }
}

impl Target for GuestTarget<'_> {
    #[inline]
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.touched.note(address);
        if !self.plain.0.get().contains(address, 8) {
            match self.plain_part(address) {
                Some(part) => self.plain.0.set(part),
                None => return self.read_specially(address),
            }
        }
        self.memory.read_u64(address)
    }

    #[inline]
    fn stacks(&self) -> &[StackBounds] {
        self.stacks
    }

    fn entered_from(&self, stack: &StackBounds) -> Option<u64> {
        let kernel = self.program.conventions.kernel.as_ref()?;
        let placed = self.program.layout.stacks.iter().find(|placed| placed.bounds == *stack)?;
        let (_, below_top) = kernel.entered_from.iter().find(|(name, _)| *name == placed.name)?;
        self.read_u64(stack.high - below_top)
    }

    fn is_text(&self, address: u64) -> bool {
        self.program.guest.text().any(|text| text.contains(&address))
            && !self.program.conventions.user_text.iter().any(|text| text.contains(&address))
    }

    fn is_exception_entry(&self, address: u64) -> bool {
        self.program.conventions.exception_text.iter().any(|text| text.contains(&address))
    }

    #[inline]
    fn task(&self) -> Option<Task> {
        self.task
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        self.program.tables.get(format)
    }

    #[inline]
    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        let trampolines = &self.program.conventions.trampolines;
        let found = trampolines.iter().find(|trampoline| (trampoline.start..trampoline.end).contains(&address))?;
        Some(Trampoline { hook: found.hook, start: found.start, end: found.end })
    }
}
