//! The walk: an unwinder applied again and again, within bounds, and what comes of it. The driver knows no unwinder's
//! rules, and not whether a walk is right; it only hands on what the unwinder claims.

use core::fmt;
use core::ops::ControlFlow;

use crate::address::CodeAddress;
use crate::error::Error;
use crate::regs::Regs;
use crate::return_hook::Fix;
use crate::row::{CfaRule, Rule};
use crate::state::WalkState;
use crate::target::{Format, Target};

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
    /// From a return hook: the walk came to a trampoline, and the task's hooks hold the original address.
    ReturnHook {
        /// The trampoline's address, which stood in place of the original.
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
        /// How the row says that the CFA is found.
        rule: CfaRule,
        /// Where the row says that the return address is.
        ra: Rule,
    },
    /// The link register of the interrupted frame, because an unwind row says that it still holds the return address.
    LinkRegister,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => formatter.write_str("start"),
            Self::FrameRecord { at } => write!(formatter, "frame record at {at:#x}"),
            Self::PtRegs { at } => write!(formatter, "pt_regs at {at:#x}"),
            Self::ReturnHook { trampoline } => write!(formatter, "return hook of {trampoline:#x}"),
            Self::Row { cfa, .. } => write!(formatter, "unwind row, CFA {cfa:#x}"),
            Self::LinkRegister => formatter.write_str("link register"),
        }
    }
}

/// One entry of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the function was interrupted, or where it resumes.
    pub pc: CodeAddress,
    /// The registers as they will be when the function resumes; SP is the CFA of the frame before it.
    pub regs: Regs,
    /// How this frame was found.
    pub source: Source,
}

impl Frame {
    /// Becomes another frame, of whose registers nothing is known yet.
    #[inline]
    pub const fn become_frame(&mut self, pc: CodeAddress, source: Source) {
        self.pc = pc;
        self.source = source;
        self.regs.clear();
    }
}

/// How an unwinder says that a trace may be believed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claims {
    /// It reached the end and no step was marked unreliable ([`WalkState::mark_unreliable`]).
    Explicit,
    /// Reaching the end of the chain is the claim.
    ByEnd,
    /// It claims however the walk ended, unless an entry was consumed after a step that was marked unreliable. This is
    /// a mistake of versions 5 and 6 of arm64's SFrame series: `arch_stack_walk_reliable` looks at a flag that
    /// `arch_kunwind_reliable_consume_entry` sets, and drops the return code. Theirs stops at that entry, before it is
    /// stored; this walk goes on, to show what it would have found, and does not claim either.
    ByFlag,
    /// It never claims.
    Never,
}

/// Turns a frame into its caller's.
pub trait Unwinder {
    /// The name in reports and scenarios.
    fn name(&self) -> &'static str;

    /// How its walks claim to be reliable.
    fn claims(&self) -> Claims;

    /// The unwind data without which it cannot do its work.
    fn needs(&self) -> Option<Format> {
        None
    }

    /// Its remedy for the windows of `return_to_handler`.
    fn fix(&self) -> Fix {
        Fix::None
    }

    /// Turns a frame into its caller's, in place. What it does follows from its arguments alone: a caller that has seen the
    /// rest of a walk from an equal frame and state, over a target that says the same, need not walk again.
    /// [`check_steps`](crate::check_steps) looks whether that is so.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the unwinder admits that it cannot continue. The walk ends there, and the frame is meaningless.
    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error>;
}

impl<U: Unwinder + ?Sized> Unwinder for &U {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn claims(&self) -> Claims {
        (**self).claims()
    }

    fn needs(&self) -> Option<Format> {
        (**self).needs()
    }

    fn fix(&self) -> Fix {
        (**self).fix()
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        (**self).step(frame, state, target)
    }
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The frame is now the caller's.
    Caller,
    /// A claim: there is no caller, the frame is the outermost. It is unchanged.
    Outermost,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The unwinder says that the last frame has no caller.
    Outermost,
    /// The unwinder could not continue.
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

/// What a walk says of itself: whether it may be believed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It claims to be complete and right.
    Reliable,
    /// It says that it may not be.
    Unreliable,
    /// Its unwinder never claims.
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
    /// What it says of itself as a whole.
    pub claim: Claim,
}

/// Walks from `frame` and shows every frame, the first included, with the state there to `consume`, until the unwinder sees the end or
/// fails, or the consumer breaks: then the walk is [`End::Full`].
///
/// The consumer bounds the length of the walk. A walk along stack memory ends in any case, because
/// [`StackWindows`](crate::StackWindows) are consumed one way.
#[inline]
pub fn walk_each<U: Unwinder + ?Sized>(
    unwinder: &U,
    mut frame: Frame,
    target: &dyn Target,
    state: &mut WalkState,
    consume: impl FnMut(&Frame, &WalkState) -> ControlFlow<()>,
) -> (End, Claim) {
    walk_by(unwinder.claims(), |frame, state| unwinder.step(frame, state, target), &mut frame, state, consume)
}

/// [`walk_each`] with the claims and the step of an unwinder: for one whose step is compiled for a kind of target. The frame becomes the
/// last one.
#[inline]
pub fn walk_by(
    claims: Claims,
    mut step: impl FnMut(&mut Frame, &mut WalkState) -> Result<Step, Error>,
    frame: &mut Frame,
    state: &mut WalkState,
    mut consume: impl FnMut(&Frame, &WalkState) -> ControlFlow<()>,
) -> (End, Claim) {
    let mut flag_was_seen = false;
    let end = loop {
        flag_was_seen |= state.is_unreliable();
        if consume(frame, state).is_break() {
            break End::Full;
        }
        match step(frame, state) {
            Ok(Step::Caller) => {}
            Ok(Step::Outermost) => break End::Outermost,
            Err(error) => break End::Error(error),
        }
    };
    let claim = match claims {
        Claims::Never => Claim::None,
        Claims::ByEnd | Claims::Explicit
            if mutant!("claim-without-end", end == End::Outermost, true)
                && !mutant!("claim-with-flag", state.is_unreliable(), false) =>
        {
            Claim::Reliable
        }
        Claims::ByFlag if !mutant!("claim-flag-of-last-step", flag_was_seen, state.is_unreliable()) => Claim::Reliable,
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
    let (end, claim) = walk_each(unwinder, start, target, state, |frame, _| match buffer.get_mut(len) {
        Some(slot) => {
            *slot = *frame;
            len += 1;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
    Walk { frames: &buffer[..len], end, claim }
}
