//! How a walk goes, apart from what it claims: walks of several subjects from one start may go the same way, all of it or its beginning.

use std::ops::ControlFlow;

use kunwind::kernel::KernelUnwinder;

use super::kunwind::{kernel_walk, outcome, show, start};
use super::{Entry, KeptProgress, Outcome, Question};

/// How a subject walks.
#[derive(Debug, Clone, Copy)]
pub struct Way(pub(super) &'static KernelUnwinder);

impl Way {
    /// Whether walks of both from one start have the same entries and the same end.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.0.walks_as(other.0)
    }

    /// Whether [`Way::beginning`] is the same.
    #[must_use]
    pub fn begins_as(self, other: Self) -> bool {
        self.0.begins_as(other.0)
    }

    /// How far the walks from here go that begin alike, as far as `takes` lets them: it is shown each entry but the start. None if they
    /// have no step in common.
    pub fn beginning(self, question: &Question<'_>, mut takes: impl FnMut(&Entry<'_>) -> bool) -> Option<KeptProgress> {
        let (mut frame, mut state) = start(question);
        let mut has_begun = false;
        loop {
            let (mut next, mut then) = (frame, state);
            if !self.0.common_step(&mut next, &mut then, question.target) || !show(&next, &then, question, &mut takes) {
                return has_begun.then_some(KeptProgress { frame, state });
            }
            (frame, state, has_begun) = (next, then, true);
        }
    }

    /// The rest of a walk that has come here: shows this entry, and then those that follow.
    pub fn walk_from(
        self,
        from: &KeptProgress,
        question: &Question<'_>,
        each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>,
    ) -> Outcome {
        let (mut frame, mut state) = (from.frame, from.state);
        let (end, claim, _) = kernel_walk(self.0, &mut frame, &mut state, question, each);
        outcome(end, claim)
    }
}
