//! What an unwinder may know of the world: words of memory, the stacks that exist, the task, the trampolines, and
//! tables of unwind data. What is true is not part of it: an implementation of [`Target`] may know, but has no way to
//! tell an unwinder.

use crate::error::Error;
use crate::plain::{PlainRow, SavedWord};
use crate::regs::{Register, Regs};
use crate::row::{Ask, Entry, Expression, PauthKey, Rule, Slot};
use crate::stack::StackBounds;

/// A format of unwind data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.sframe`.
    SFrame,
    /// `.eh_frame` or `.debug_frame`.
    Dwarf,
    /// `.orc_unwind_ip` and `.orc_unwind`.
    Orc,
}

impl Format {
    /// The name in reports and scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SFrame => "sframe",
            Self::Dwarf => "dwarf",
            Self::Orc => "orc",
        }
    }
}

/// Unwind data of one format.
pub trait Table {
    /// What there is for a pc; nothing if it lies in no function of the table.
    ///
    /// # Errors
    ///
    /// [`Error::BadTable`] when the data for this pc is malformed, [`Error::Unrepresentable`] when it says something
    /// that no row can express, [`Error::UnusableRule`] when it says something that has no meaning.
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error>;

    /// The rules at a pc of registers other than the return address and the frame pointer, SP among them where the
    /// caller's is not the CFA. `None`: the format knows no other registers, so that nothing is known of them in the
    /// caller. A callee-saved register without a rule is unchanged.
    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        let _ = pc;
        None
    }

    /// What [`Table::entry`] and [`Table::saved`] say of a pc, where the table has that at hand as a plain row. Where it has not, which
    /// is no answer, it is asked for these. A walk is the same either way.
    fn plain(&self, pc: u64) -> Option<PlainRow> {
        let _ = pc;
        None
    }

    /// The registers of a list that a row of [`Table::plain`] names.
    fn saved_words(&self, list: u16) -> &[SavedWord] {
        let _ = list;
        &[]
    }

    /// With which key the return address is signed where the row at this pc says that it is.
    fn pauth_key(&self, pc: u64) -> PauthKey {
        let _ = pc;
        PauthKey::A
    }

    /// Evaluates an expression of this table, as [`Ask::expression`].
    ///
    /// # Errors
    ///
    /// [`Error::BadExpression`] when it cannot be evaluated, [`Error::NoRegister`], or the error of `read`.
    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        let _ = (expression, cfa, regs, read);
        Err(Error::NoExpression)
    }
}

/// Reads words, and has a table evaluate the expressions in its rows.
pub struct AskTable<'t, F> {
    /// The table that the row is from.
    pub table: &'t dyn Table,
    /// Reads a word.
    pub read: F,
}

impl<F> core::fmt::Debug for AskTable<'_, F> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("AskTable").finish_non_exhaustive()
    }
}

impl<F: FnMut(Slot) -> Result<u64, Error>> Ask for AskTable<'_, F> {
    #[inline]
    fn word(&mut self, slot: Slot) -> Result<u64, Error> {
        (self.read)(slot)
    }

    fn expression(&mut self, expression: Expression, cfa: Option<u64>, regs: &Regs) -> Result<u64, Error> {
        self.table.expression(expression, cfa, regs, &mut self.read)
    }
}

/// All that an unwinder may know of the world. No method has a default: a target that wraps another must pass
/// everything on.
pub trait Target {
    /// The 64-bit word at a guest address, in the guest's byte order. A failed read is an answer and not a panic.
    fn read_u64(&self, address: u64) -> Option<u64>;

    /// The stacks that exist now and may be walked.
    fn stacks(&self) -> &[StackBounds];

    /// The SP with which the kernel came to this stack, where it keeps that on the stack itself: x86-64's
    /// `stack_info.next_sp` (arch/x86/kernel/dumpstack_64.c), the topmost word of an IRQ stack, and `sp` in the pt_regs at
    /// the top of an exception's. `None` for a task's stack.
    fn entered_from(&self, stack: &StackBounds) -> Option<u64>;

    /// Whether this is an address in the kernel's text.
    fn is_text(&self, address: u64) -> bool;

    /// Whether this is an address in the code that enters and leaves exceptions.
    fn is_exception_entry(&self, address: u64) -> bool;

    /// The task whose stack is walked, where there are tasks.
    fn task(&self) -> Option<Task>;

    /// The unwind data of a format, where there is any.
    fn table(&self, format: Format) -> Option<&dyn Table>;

    /// The trampoline that holds this address, if one does.
    fn trampoline(&self, address: u64) -> Option<Trampoline>;
}

/// What an unwinder knows of the task that it walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The task's own stack. The pt_regs of its entry from user mode, or what stands in for them, lie at its high end.
    pub stack: StackBounds,
    /// The return addresses that the function graph tracer has replaced, where it can run.
    pub ret_stack: Option<RetStack>,
    /// The address of the word that points to the task's first kretprobe instance or rethook node, where there can be
    /// any.
    pub rethooks: Option<u64>,
    /// The address at which a new task begins (`ret_from_fork_asm`), where that is code of its own: the pc at which
    /// such a task is resumed for the first time is no return address.
    pub fork_entry: Option<u64>,
}

/// A task's stack of original return addresses (Linux v7.3, kernel/trace/fgraph.c). It grows upwards: a `struct
/// ftrace_ret_stack` for each traced call, then a control word.
///
/// ```text
/// words                                                          index
///  | ret func [fp] retp | control | ret func [fp] retp | control | free ...
///    the oldest call                the youngest call
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetStack {
    /// The address of the first word.
    pub words: u64,
    /// The index of the first free word; 0 if it is empty.
    pub index: u64,
    /// The words of one structure: {ret, func, fp, retp}, or without fp.
    pub entry_words: u64,
}

impl RetStack {
    /// SHADOW_STACK_SIZE: 4096 bytes, in words.
    pub const WORDS: u64 = 512;

    /// Whether an address lies in the ret_stack.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.words && address - self.words < Self::WORDS * 8
    }
}

/// A mechanism that replaces return addresses by the address of its trampoline, and keeps the originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReturnHook {
    /// The function graph tracer: its trampoline is `return_to_handler`, and the originals are on the [`RetStack`].
    Fgraph,
    /// Kretprobes or rethooks: the originals are in a list of nodes.
    Rethook,
}

/// Code whose address stands in place of hooked return addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trampoline {
    /// The return hook that it belongs to.
    pub hook: ReturnHook,
    /// The address of its first instruction, which replaces return addresses.
    pub start: u64,
    /// The address after its last instruction.
    pub end: u64,
}

impl Trampoline {
    /// The trampoline that begins at exactly this address: only there does an address stand for another.
    #[inline]
    pub(crate) fn starting_at(address: u64, target: &(impl Target + ?Sized)) -> Option<Self> {
        target.trampoline(address).filter(|trampoline| trampoline.start == address)
    }
}
