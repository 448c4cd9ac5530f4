//! The walk: an unwinder applied again and again, within bounds, and what comes of it.

use core::fmt;
use core::ops::ControlFlow;

use crate::kernel::OrcState;
use crate::orc::OrcTable;
use crate::rewrite::{Inside, RetStack, RewriteCursor, Trampoline};
use crate::{CodeAddress, Format, Register, Regs, StackBounds, StackWindows, Table};

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The walk started with it.
    Start,
    /// From the frame record at this address.
    FrameRecord {
        /// Guest address of the record's first word.
        at: u64,
    },
    /// What a trampoline stands for, from the task's list of rewritten return addresses.
    Rewritten {
        /// The trampoline's address that was found in its place.
        trampoline: u64,
    },
    /// From the registers that an exception saved at this address.
    PtRegs {
        /// Guest address of the pt_regs.
        at: u64,
    },
    /// By an unwind row.
    Row {
        /// The CFA that the row gave.
        cfa: u64,
    },
    /// The link register of the interrupted frame, because an unwind row says that the return address still is in it.
    LinkRegister,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => formatter.write_str("start"),
            Self::FrameRecord { at } => write!(formatter, "frame record at {at:#x}"),
            Self::PtRegs { at } => write!(formatter, "pt_regs at {at:#x}"),
            Self::Rewritten { trampoline } => write!(formatter, "what {trampoline:#x} stands for"),
            Self::Row { cfa } => write!(formatter, "unwind row, CFA {cfa:#x}"),
            Self::LinkRegister => formatter.write_str("link register"),
        }
    }
}

/// One entry of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the function was interrupted, or where it will go on.
    pub pc: CodeAddress,
    /// The registers as they will be when the function goes on; SP is the CFA of the frame before it.
    pub regs: Regs,
    /// How this frame was found.
    pub source: Source,
}

/// Why an unwinder could not go on. Small, `Copy`, with guest addresses and without text, so that every step can afford it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// The frame pointer is not known.
    NoFramePointer,
    /// The frame pointer is not aligned as the ABI demands.
    Misaligned(u64),
    /// The object at this address is in no stack that may still be read.
    OutsideStacks(u64),
    /// Guest memory at this address cannot be read.
    Unreadable(u64),
    /// A reliable walk may not cross the exception boundary at this pc.
    ExceptionBoundary(u64),
    /// The metadata record at this address is FINAL, but not where the task's outermost record is.
    StrayFinal(u64),
    /// The metadata record at this address has a type that does not exist.
    UnknownMetadata(u64),
    /// This return address is not in the kernel's text.
    NotText(u64),
    /// The target has no tasks, and without one the end of the stack is not known.
    NoTask,
    /// The return address is that of a trampoline, and nobody remembers what it stands for.
    Unrecovered(u64),
    /// The pc is inside a trampoline, at a place from where there is no way to its caller.
    InsideTrampoline(u64),
    /// The target has no unwind data of the format.
    NoTable,
    /// The unwind data have no row for this pc.
    NoRow(u64),
    /// The unwind data cannot be read at this pc.
    BadTable(u64),
    /// The unwind data say something at this pc that no row can.
    Unrepresentable(u64),
    /// A rule at this pc cannot be meant: a return address that is computed from the CFA, or one that is left in a register
    /// that the CPU does not have.
    UnusableRule(u64),
    /// The row needs a register that is not known in this frame.
    NoRegister(Register),
    /// The row at this pc says that there is no caller, where the stack of a kernel cannot end.
    OutermostInKernel(u64),
    /// The CFA is not aligned as the unwinder demands.
    MisalignedCfa(u64),
    /// The CFA is not above SP.
    CfaNotAbove(u64),
    /// The frame pointer is below SP.
    FramePointerBelowSp(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFramePointer => formatter.write_str("the frame pointer is not known"),
            Self::Misaligned(address) => write!(formatter, "misaligned frame pointer {address:#x}"),
            Self::OutsideStacks(address) => write!(formatter, "{address:#x} is in no stack that may still be read"),
            Self::Unreadable(address) => write!(formatter, "{address:#x} cannot be read"),
            Self::ExceptionBoundary(pc) => write!(formatter, "an exception was taken at {pc:#x}"),
            Self::StrayFinal(address) => write!(formatter, "the FINAL record at {address:#x} is not the task's"),
            Self::UnknownMetadata(address) => {
                write!(formatter, "the metadata record at {address:#x} has no known type")
            }
            Self::NotText(address) => write!(formatter, "the return address {address:#x} is not text"),
            Self::NoTask => formatter.write_str("there is no task to walk"),
            Self::Unrecovered(pc) => write!(formatter, "nothing tells what the trampoline at {pc:#x} stands for"),
            Self::InsideTrampoline(pc) => write!(formatter, "{pc:#x} is inside a trampoline that says no more"),
            Self::NoTable => formatter.write_str("there are no unwind data of this format"),
            Self::NoRow(pc) => write!(formatter, "no unwind row for {pc:#x}"),
            Self::BadTable(pc) => write!(formatter, "the unwind data cannot be read at {pc:#x}"),
            Self::Unrepresentable(pc) => write!(formatter, "no row can say what the unwind data say at {pc:#x}"),
            Self::UnusableRule(pc) => write!(formatter, "the unwind row for {pc:#x} has a rule that cannot be meant"),
            Self::NoRegister(Register(number)) => {
                write!(formatter, "the row needs DWARF register {number}, which is not known")
            }
            Self::OutermostInKernel(pc) => write!(formatter, "the row for {pc:#x} ends the stack inside of the kernel"),
            Self::MisalignedCfa(cfa) => write!(formatter, "misaligned CFA {cfa:#x}"),
            Self::CfaNotAbove(cfa) => write!(formatter, "the CFA {cfa:#x} is not above SP"),
            Self::FramePointerBelowSp(fp) => write!(formatter, "the frame pointer {fp:#x} is below SP"),
        }
    }
}

impl core::error::Error for Error {}

/// All that an unwinder may know of the world. Nothing has a default: a target that stands for another must pass everything on.
pub trait Target {
    /// The 64-bit word at a guest address, in the guest's byte order. A failed read is an answer and not a panic.
    fn read_u64(&self, address: u64) -> Option<u64>;

    /// The stacks that exist now and may be walked.
    fn stacks(&self) -> &[StackBounds];

    /// Whether this is an address of the kernel's text.
    fn is_text(&self, address: u64) -> bool;

    /// Whether this is an address of the code that enters and leaves exceptions.
    fn is_exception_entry(&self, address: u64) -> bool;

    /// The task whose stack is walked, where there are tasks.
    fn task(&self) -> Option<Task>;

    /// The unwind data of a format, where there are any.
    fn table(&self, format: Format) -> Option<&dyn Table>;

    /// The ORC table, where there is one.
    fn orc(&self) -> Option<OrcTable<'_>>;

    /// The trampoline that holds this address, if one does.
    fn trampoline(&self, address: u64) -> Option<Trampoline>;
}

/// What an unwinder knows of the task that it walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// The task's own stack. The pt_regs of its entry from user mode, or what stands for them, lie at its high end.
    pub stack: StackBounds,
    /// The return addresses that the function graph tracer has taken off the stack, where it can run.
    pub ret_stack: Option<RetStack>,
    /// The address of the word with the first of the task's kretprobe instances or rethook nodes, where there can be any.
    pub rethooks: Option<u64>,
    /// The address at which a new task begins (`ret_from_fork_asm`), where it begins in code of its own: what a switch goes on
    /// with there is no return address.
    pub fork_entry: Option<u64>,
}

/// What a walk uses up on its way, of fixed size.
#[derive(Clone, Copy, Debug)]
pub struct WalkState {
    /// What may still be read of the stacks.
    pub windows: StackWindows,
    /// What may still be recovered of the rewritten return addresses.
    pub rewritten: RewriteCursor,
    /// What a walk by ORC uses in the place of the windows.
    pub(crate) orc: OrcState,
    unreliable: bool,
}

impl WalkState {
    /// The state at the start of a walk.
    #[must_use]
    pub fn new(stacks: &[StackBounds]) -> Self {
        Self {
            windows: StackWindows::new(stacks),
            rewritten: RewriteCursor::default(),
            orc: OrcState::default(),
            unreliable: false,
        }
    }

    /// Says that from here on the trace may be wrong. There is no way back: one doubtful step spoils the whole walk.
    pub fn mark_unreliable(&mut self) {
        self.unreliable = true;
    }
}

/// How an unwinder says that a trace may be believed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claims {
    /// It reached the end and no step was marked unreliable ([`WalkState::mark_unreliable`]).
    Explicit,
    /// Reaching the end of the chain is the claim.
    ByEnd,
    /// However it ended: it says so unless an entry was consumed after a step that was marked unreliable. A mistake, which one
    /// of the proposals has.
    ByFlag,
    /// It never says so.
    Never,
}

/// Turns a frame into its caller's.
pub trait Unwinder {
    /// The name in reports and scenarios.
    fn name(&self) -> &'static str;

    /// How its walks claim to be reliable.
    fn claims(&self) -> Claims;

    /// The unwind data without which there is no point in asking it.
    fn needs(&self) -> Option<Format> {
        None
    }

    /// Its design against the windows of `return_to_handler`.
    fn inside(&self) -> Inside {
        Inside::Ignore
    }

    /// Turns a frame into its caller's, in place.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the unwinder admits that it cannot go on. The walk ends there; the frame means nothing any more.
    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error>;
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The frame is the caller's now.
    Caller,
    /// A claim: there is no caller, the frame is the outermost. It is unchanged.
    Outermost,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The unwinder says that the last frame has no caller.
    Outermost,
    /// It could not go on.
    Error(Error),
    /// The buffer was full before the end was seen.
    Full,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outermost => formatter.write_str("outermost"),
            Self::Error(error) => write!(formatter, "error: {error}"),
            Self::Full => formatter.write_str("buffer full"),
        }
    }
}

/// Whether a walk may be believed as a whole, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It claims to be complete and right.
    Reliable,
    /// It says that it may not be.
    Unreliable,
    /// Its unwinder never says.
    None,
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Reliable => "claimed reliable",
            Self::Unreliable => "said to be unreliable",
            Self::None => "makes no claim",
        })
    }
}

/// A finished walk.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'b> {
    /// The trace, youngest first; entry 0 is the start.
    pub frames: &'b [Frame],
    /// Why it is not longer.
    pub end: End,
    /// Sticky, for the whole walk.
    pub claim: Claim,
}

/// Walks from `frame` and shows every frame, the first included, to `consume`, until the unwinder sees the end or fails, or
/// the consumer breaks: then the walk is [`End::Full`].
///
/// A walk is as long as its consumer lets it be; one along stack memory ends in any case, because [`StackWindows`] are
/// consumed one way.
pub fn walk_each(
    unwinder: &dyn Unwinder,
    mut frame: Frame,
    target: &dyn Target,
    state: &mut WalkState,
    mut consume: impl FnMut(&Frame) -> ControlFlow<()>,
) -> (End, Claim) {
    let mut flag_was_seen = false;
    let end = loop {
        flag_was_seen |= state.unreliable;
        if consume(&frame).is_break() {
            break End::Full;
        }
        match unwinder.step(&mut frame, state, target) {
            Ok(Step::Caller) => {}
            Ok(Step::Outermost) => break End::Outermost,
            Err(error) => break End::Error(error),
        }
    };
    let claim = match unwinder.claims() {
        Claims::Never => Claim::None,
        Claims::ByEnd | Claims::Explicit if end == End::Outermost && !state.unreliable => Claim::Reliable,
        Claims::ByFlag if !flag_was_seen => Claim::Reliable,
        Claims::ByEnd | Claims::Explicit | Claims::ByFlag => Claim::Unreliable,
    };
    (end, claim)
}

/// Walks from `start` into a buffer. When it is full and there would be one more frame, the walk is [`End::Full`].
pub fn walk<'b>(
    unwinder: &dyn Unwinder,
    start: Frame,
    target: &dyn Target,
    state: &mut WalkState,
    buffer: &'b mut [Frame],
) -> Walk<'b> {
    let mut len = 0;
    let (end, claim) = walk_each(unwinder, start, target, state, |frame| match buffer.get_mut(len) {
        Some(slot) => {
            *slot = *frame;
            len += 1;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
    Walk { frames: &buffer[..len], end, claim }
}
