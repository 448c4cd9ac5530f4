//! What the walks that answer one question have in common. Several subjects may walk the same way from one start, or begin so; what is
//! the same by their [`Way`]s is walked and judged once.

use std::num::NonZeroU64;

use super::align::{Judged, Rules};
use crate::cpu::CodeAddress;
use crate::oracle::Truth;
use crate::subject::{About, Claims, Compares, End, KeptProgress, Question, Way};

/// A beginning is no longer.
const MOST: usize = 16;

/// So many questions are asked by turns: from a handler's frame, and from pt_regs.
const BY_TURNS: usize = 2;

/// What is known of the walks that answer the latest questions.
#[derive(Debug, Default)]
pub(super) struct Latest {
    known: [Shared; BY_TURNS],
    /// The one that was asked first.
    oldest: usize,
}

impl Latest {
    /// What is known of this question: nothing, if it is a new one.
    #[inline]
    pub(super) fn of(&mut self, question: NonZeroU64) -> &mut Shared {
        let index = self.known.iter().position(|known| known.question == Some(question)).unwrap_or_else(|| {
            let index = self.oldest;
            self.oldest = (index + 1) % BY_TURNS;
            let known = &mut self.known[index];
            known.question = Some(question);
            known.begun.clear();
            known.made.clear();
            index
        });
        &mut self.known[index]
    }
}

/// What is known of the walks that answer one question.
#[derive(Debug, Default)]
pub(super) struct Shared {
    question: Option<NonZeroU64>,
    begun: Vec<Begun>,
    made: Vec<Made>,
}

/// How walks begin that have been asked for.
#[derive(Debug)]
struct Begun {
    way: Way,
    compares: Compares,
    beginning: Option<Beginning>,
}

/// What walks have in common before they part.
#[derive(Debug)]
pub(super) struct Beginning {
    /// They come here.
    pub(super) from: KeptProgress,
    /// Before, they have so many right entries, besides the start.
    pub(super) taken: usize,
}

/// A walk that was judged.
#[derive(Debug)]
struct Made {
    way: Way,
    compares: Compares,
    judged: Judged,
}

impl Shared {
    /// What is known of a walk that claims nothing, because one that goes the same way was made.
    pub(super) fn made(&self, way: Way, about: &About) -> Option<Judged> {
        if about.claims != Claims::Never {
            return None;
        }
        let is_this = |made: &&Made| made.compares == about.compares && made.way.is_same(way);
        let made = self.made.iter().find(is_this).filter(|made| made.judged.is_shorter_than(about.limit));
        made.map(|made| made.judged.unclaimed())
    }

    /// Keeps a walk that has ended by itself.
    pub(super) fn keep(&mut self, way: Way, about: &About, judged: Judged) {
        let is_whole = matches!(judged.outcome.end, End::Outermost | End::Stopped);
        if is_whole && about.claims != Claims::Never && judged.is_shorter_than(about.limit) {
            self.made.push(Made { way, compares: about.compares, judged });
        }
    }

    /// How the walks begin that go this way, if others do, too.
    pub(super) fn beginning(
        &mut self,
        way: Way,
        compares: Compares,
        question: &Question<'_>,
        truth: &Truth,
        rules: &Rules<'_>,
    ) -> Option<&Beginning> {
        if matches!(question.pc, CodeAddress::Interrupted(_)) {
            return None; // each crosses its boundary in its own way
        }
        let is_this = |begun: &Begun| begun.compares == compares && begun.way.begins_as(way);
        let index = self.begun.iter().position(is_this).unwrap_or_else(|| {
            self.begun.push(Begun { way, compares, beginning: begin(way, question, truth, rules) });
            self.begun.len() - 1
        });
        self.begun[index].beginning.as_ref()
    }
}

/// Makes the steps that the walks have in common, as far as each entry is right.
fn begin(way: Way, question: &Question<'_>, truth: &Truth, rules: &Rules<'_>) -> Option<Beginning> {
    let target = question.target;
    let outside = target.read_outside_stacks.replace(false);
    let mut follower = rules.follow(truth);
    let from = way
        .beginning(question, |entry| follower.entries() < MOST && follower.takes_right(entry.pc.value(), entry.regs));
    // What has read such words, every subject must be seen to have read.
    let is_plain = !target.read_outside_stacks.replace(outside) && !target.read_dead.replace(false);
    // The last entry is shown once more, to each.
    from.filter(|_| is_plain).map(|from| Beginning { from, taken: follower.entries() - 1 })
}
