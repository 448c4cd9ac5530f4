//! How far a walk has come, for those who have seen where it goes from there.

use kunwind::{Frame, StackBounds, Task, WalkState};

use super::GuestTarget;

/// All that the rest of a walk follows from, besides the guest: the frame, and what the walk has used up on its way.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'e> {
    pub(super) frame: &'e Frame,
    pub(super) state: &'e WalkState,
}

impl Progress<'_> {
    /// A copy.
    #[must_use]
    pub fn keep(self) -> KeptProgress {
        KeptProgress { frame: *self.frame, state: *self.state }
    }

    /// Whether it is the same.
    #[must_use]
    pub fn is(self, kept: &KeptProgress) -> bool {
        *self.frame == kept.frame && *self.state == kept.state
    }
}

/// A copy of a [`Progress`].
#[derive(Debug, Clone)]
pub struct KeptProgress {
    frame: Frame,
    state: WalkState,
}

/// What a walk is offered of a guest, besides its memory and what never changes.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    stacks: Vec<StackBounds>,
    task: Option<Task>,
    is_user: bool,
}

impl GuestTarget<'_> {
    /// What a walk is offered.
    #[must_use]
    pub fn offer(&self) -> Offer {
        Offer { stacks: self.stacks.to_vec(), task: self.task, is_user: self.is_user }
    }

    /// Whether it is this.
    #[must_use]
    pub fn offers(&self, offer: &Offer) -> bool {
        self.stacks == offer.stacks && self.task == offer.task && self.is_user == offer.is_user
    }

    /// Whether its memory reads as it is, and nobody looks on.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.changed.is_empty() && !self.is_dead_overwritten && self.reads.is_none()
    }
}
