//! What a walk uses up on its way. It is of fixed size, and knows nothing of the target.

use crate::return_hook::ReturnHookCursor;
use crate::stack::{StackBounds, StackVisits, StackWindows};

/// What a walk uses up on its way, of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkState {
    /// What may still be read of the stacks.
    pub windows: StackWindows,
    /// Which return hooks may still be used.
    pub return_hooks: ReturnHookCursor,
    /// x86-64's walks: which stacks they have been on.
    pub(crate) visits: StackVisits,
    /// What a walk by ORC knows besides the frame.
    pub(crate) orc: OrcState,
    /// What a walk by arm64's SFrame series knows besides the frame.
    pub(crate) kunwind: KunwindState,
    unreliable: bool,
}

impl WalkState {
    /// The state at the start of a walk.
    #[must_use]
    pub fn new(stacks: &[StackBounds]) -> Self {
        Self {
            windows: StackWindows::new(stacks),
            return_hooks: ReturnHookCursor::default(),
            visits: StackVisits::default(),
            orc: OrcState::default(),
            kunwind: KunwindState::default(),
            unreliable: false,
        }
    }

    /// Says that from here on the trace may be wrong. This cannot be undone: one doubtful step spoils the whole walk.
    pub fn mark_unreliable(&mut self) {
        self.unreliable = true;
    }

    pub(crate) const fn is_unreliable(&self) -> bool {
        self.unreliable
    }
}

/// What `struct unwind_state` of Linux's ORC unwinder holds besides the frame (arch/x86/include/asm/unwind.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrcState {
    pub(crate) has_started: bool,
    /// `regs`: the registers that were saved in the present frame.
    pub(crate) regs: Option<SavedRegs>,
    /// `full_regs`: whether they are all there, and not only what the CPU pushed.
    pub(crate) is_full: bool,
    /// `prev_regs`: if not, the last full ones, when nothing was called since.
    pub(crate) prev_regs: Option<SavedRegs>,
}

impl OrcState {
    /// Whether a rule may still ask for the registers of the start: they travel with the frame.
    pub(crate) fn holds_start(&self) -> bool {
        [self.regs, self.prev_regs].contains(&Some(SavedRegs::InFrame))
    }
}

/// What `struct kunwind_state` of arm64's SFrame series holds besides the frame (arch/arm64/kernel/stacktrace.c in the
/// patches "unwind: arm64: Use sframe to unwind interrupt frames" of versions 5 and 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KunwindState {
    /// `common.sp`, which version 5 alone has. None before the first step.
    pub(crate) sp: Option<u64>,
    /// `regs` is a null pointer, although the frame's pc comes from pt_regs.
    pub(crate) regs_are_lost: bool,
}

/// Where saved registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SavedRegs {
    /// The walk was started with them.
    InFrame,
    /// In pt_regs at this address.
    At(u64),
}
