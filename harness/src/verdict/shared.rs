//! Walks that answer one question. Several subjects may walk the same way from one start: what is the same by their [`Way`]s is walked
//! and judged once.

use std::num::NonZeroU64;

use super::align::Judged;
use crate::subject::{About, Claims, Compares, End, Way};

/// So many walks are known: two questions are asked by turns, from a handler's frame and from pt_regs.
const LATEST: usize = 2;

/// A walk that was judged.
#[derive(Debug)]
struct Made {
    question: NonZeroU64,
    way: Way,
    compares: Compares,
    judged: Judged,
}

/// The latest walks of those that go a way that others go, too.
#[derive(Debug, Default)]
pub(super) struct Shared {
    latest: [Option<Made>; LATEST],
    oldest: usize,
}

impl Shared {
    /// What is known of a walk that claims nothing, because one that goes the same way was made.
    pub(super) fn made(&self, question: NonZeroU64, way: Way, about: &About) -> Option<Judged> {
        let is_this =
            |made: &&Made| made.question == question && made.compares == about.compares && made.way.is_same(way);
        let made = self.latest.iter().flatten().find(is_this).map(|made| made.judged.unclaimed());
        made.filter(|judged| about.claims == Claims::Never && judged.is_shorter_than(about.limit))
    }

    /// Keeps a walk, if it has ended by itself.
    pub(super) fn keep(&mut self, question: NonZeroU64, way: Way, about: &About, judged: Judged) {
        if matches!(judged.outcome.end, End::Outermost | End::Stopped) {
            self.latest[self.oldest] = Some(Made { question, way, compares: about.compares, judged });
            self.oldest = (self.oldest + 1) % LATEST;
        }
    }
}
