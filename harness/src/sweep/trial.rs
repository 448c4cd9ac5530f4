//! One subject at one point: walks, and judges.

use std::ops::ControlFlow;

use kunwind::{Frame, Target, Unwinder, Walk, WalkState};

use crate::guest::Symbol;
use crate::oracle::{Activation, Truth};
use crate::prepared::Prepared;
use crate::subject::{Live, Subject};
use crate::verdict::{Rules, Verdict};

/// One subject at one point of a guest: walks and judges.
pub struct Trial<'a> {
    /// Who walks.
    pub subject: &'a Subject,
    /// Through which guest.
    pub prepared: &'a Prepared,
    /// Functions that a trace may leave out.
    pub omissible: &'a [String],
}

impl std::fmt::Debug for Trial<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Trial").field("subject", &self.subject.name).finish_non_exhaustive()
    }
}

impl Trial<'_> {
    /// Judges a walk by the truth.
    #[must_use]
    pub fn judge(&self, truth: &Truth, walk: &Walk<'_>) -> Verdict {
        self.with_rules(|rules| rules.judge(truth, walk))
    }

    /// Walks and judges. Most walks are judged as they go, and not kept.
    pub(super) fn run(&self, start: Frame, target: &Live<'_>, truth: &Truth, buffer: &mut [Frame]) -> Verdict {
        let followed = self.with_rules(|rules| {
            let mut follower = rules.follow(truth);
            let mut entries = 0;
            let mut is_followed = true;
            let mut state = WalkState::new(target.stacks);
            let (end, claim) = kunwind::walk_each(&*self.subject.unwinder, start, target, &mut state, |frame| {
                is_followed = entries == 0 || follower.takes(frame);
                entries += 1;
                self.goes_on(is_followed, entries)
            });
            is_followed.then(|| follower.verdict(end, claim))
        });
        followed.unwrap_or_else(|| self.judge(truth, &self.walk(start, target, buffer)))
    }

    /// Walks into the buffer. The guest stands still, so it is the same walk each time.
    pub(crate) fn walk<'b>(&self, start: Frame, target: &dyn Target, buffer: &'b mut [Frame]) -> Walk<'b> {
        self.walk_with(&*self.subject.unwinder, start, target, buffer)
    }

    /// Walks into the buffer with an unwinder that stands for the subject's own.
    pub(crate) fn walk_with<'b>(
        &self,
        unwinder: &dyn Unwinder,
        start: Frame,
        target: &dyn Target,
        buffer: &'b mut [Frame],
    ) -> Walk<'b> {
        let mut entries = 0;
        let mut state = WalkState::new(target.stacks());
        let (end, claim) = kunwind::walk_each(unwinder, start, target, &mut state, |frame| {
            let Some(slot) = buffer.get_mut(entries) else { return ControlFlow::Break(()) };
            *slot = *frame;
            entries += 1;
            self.goes_on(true, entries)
        });
        Walk { frames: &buffer[..entries], end, claim }
    }

    /// Whether a walk may go on that has this many entries.
    fn goes_on(&self, is_followed: bool, entries: usize) -> ControlFlow<()> {
        if is_followed && entries < self.subject.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn with_rules<T>(&self, work: impl FnOnce(&Rules<'_>) -> T) -> T {
        let guest = &self.prepared.guest;
        let omissible = |activation: &Activation| {
            let is_listed = |function: &Symbol| self.omissible.contains(&function.name);
            !self.omissible.is_empty() && activation.place().function(&guest.symbols).is_some_and(is_listed)
        };
        work(&Rules {
            compares: self.subject.compares,
            sp: guest.arch.sp(),
            fp: guest.arch.abi().fp,
            callee_saved: guest.arch.callee_saved(),
            omissible: &omissible,
        })
    }
}
