//! The rest of a walk is not walked again where nothing that it follows from has changed. Most walks come to a frame of the
//! walk before after a step or two:
//!
//! ```text
//! the walk before:  start -> a -> b -> c -> d -> end
//! this walk:        start -> e -> b            -> what followed b then, and what was wrong with it
//! ```
//!
//! The rest follows from the frame and the walk's state there, from the stacks and the task that the walk is offered, and from the
//! words that it reads; its verdict also from the activation that is due. All of them must be as they were. An activation is known by
//! its serial, which is never given twice, and activations never change, so those that are older are the same too. Words are compared
//! by the spans of memory that hold them: what else lies in a span may cost a walk, but never a verdict.

use std::ops::Range;

use super::Verdict;
use super::align::{Findings, Follower, Judged};
use super::start::{Beginning, Starts};
use crate::subject::{End, Entry, GuestTarget, KeptProgress, Offer, Outcome};
use crate::trace::Memory;

/// How many entries of a walk are kept, and at how many a later one may continue.
const MOST: usize = 16;
/// A walk that comes to a known entry at once, or after one step more, is short.
const SHORT: usize = 2;
/// After so many walks that were longer, one is kept: the stack has grown, or nothing is known of it. Keeping one costs about as much as
/// making it; where the next walks are as long (each from an exception of its own, say), twice as many must come, and so on.
const LONGER: u32 = 4;
const LONGER_AT_MOST: u32 = 64;
/// The words that one step reads are in a span of so many bytes, or what follows is not kept: they are on more than one stack.
const STEP: u64 = 1024;
/// Spans with no more than so many bytes between them become one. Less than a page: only pages count that were read.
const GAP: u64 = 256;

/// What a walk of one subject from one start has shown.
#[derive(Debug, Default)]
pub struct Memo {
    offer: Offer,
    of_kernel: bool,
    outcome: Option<Outcome>,
    /// Youngest first.
    kept: Vec<Kept>,
    /// How walks began that have come to one of these.
    starts: Starts,
    /// What was read. What was read last comes first.
    spans: Vec<Span>,
    bytes: Vec<u8>,
    /// How many walks were not made to their end.
    reused: u64,
    /// Whether that was so since one was kept last.
    is_used: bool,
    /// How many walks in a row were longer than they need be, and how many must be before one is kept.
    longer: u32,
    patience: u32,
    /// Whether the walk that is being made will be kept.
    keeps: bool,
    /// Its entries.
    now: Vec<Kept>,
    /// What it has read before each of its entries, and in the end after the last.
    steps: Vec<Range<u64>>,
}

/// An entry of a walk, and what followed.
#[derive(Debug)]
struct Kept {
    progress: KeptProgress,
    /// The serial of the activation that was due next.
    due: u64,
    /// How many entries had come, this one included; in the end, how many followed.
    entries: usize,
    /// What is wrong with what followed.
    findings: Findings,
    /// What followed has read so many spans, the last of them from this address on.
    spans: usize,
    low: u64,
}

/// Memory that was read.
#[derive(Debug)]
struct Span {
    low: u64,
    high: u64,
    /// Where its bytes begin.
    bytes: usize,
}

/// The rest of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// The index of its first entry among those that are kept.
    kept: usize,
    entries: usize,
    findings: Findings,
    outcome: Outcome,
}

impl Rest {
    /// What came of the whole walk.
    pub(super) fn judged(self, follower: &Follower<'_>) -> Judged {
        follower.judged_with(self.entries, self.findings, self.outcome)
    }
}

impl Memo {
    /// How many walks were not made to their end.
    #[must_use]
    pub const fn reused(&self) -> u64 {
        self.reused
    }

    /// The verdict on a walk that is about to begin, if it follows from what is known. Else the walk begins.
    #[inline]
    pub(super) fn begin(&mut self, beginning: Option<&Beginning>, target: &GuestTarget<'_>) -> Option<Verdict> {
        if let Some((verdict, rest)) = beginning.and_then(|beginning| self.starts.find(beginning, target))
            && target.offers(&self.offer)
            && self.is_unchanged(&self.kept[rest], target)
        {
            self.was_short();
            self.was_used();
            return Some(verdict);
        }
        let _ = target.touched.take(); // others have read, before this walk
        self.longer += 1; // unless it is seen to be short
        self.keeps = self.longer > self.patience.max(LONGER);
        if self.keeps {
            (self.longer, self.is_used) = (0, false);
            self.patience = (2 * self.patience).clamp(LONGER, LONGER_AT_MOST);
            self.now.clear();
            self.steps.clear();
        }
        None
    }

    const fn was_used(&mut self) {
        self.reused += 1;
        self.is_used = true;
    }

    const fn was_short(&mut self) {
        (self.longer, self.patience) = (0, LONGER);
    }

    /// A walk that began so has this verdict, which follows from a rest that was known.
    pub(super) fn began(&mut self, beginning: Beginning, target: &GuestTarget<'_>, rest: Rest, verdict: Verdict) {
        self.starts.keep(beginning, target, rest.kept, verdict);
    }

    /// The walk has come to an entry, which the follower has taken. Returns the rest of it, if that is known, and if the walk then
    /// has less than `limit` entries with its start.
    #[inline]
    pub(super) fn entry(
        &mut self,
        entry: &Entry<'_>,
        follower: &mut Follower<'_>,
        target: &GuestTarget<'_>,
        asked: (bool, usize),
    ) -> Option<Rest> {
        if self.keeps {
            self.note(entry, follower, target);
            return None;
        }
        // Nothing is known of what is younger than all that is kept.
        let due = follower.due();
        if self.kept.first().is_none_or(|youngest| youngest.due < due) {
            return None;
        }
        self.rest(entry, due, follower.entries(), target, asked)
    }

    /// What is known of the rest of a walk that has so many entries.
    fn rest(
        &mut self,
        entry: &Entry<'_>,
        due: u64,
        entries: usize,
        target: &GuestTarget<'_>,
        (of_kernel, limit): (bool, usize),
    ) -> Option<Rest> {
        let progress = entry.progress?;
        if entries == 0 || entries > MOST {
            return None;
        }
        let index = self.kept.iter().position(|kept| kept.due <= due)?;
        let kept = Some(&self.kept[index]).filter(|kept| kept.due == due)?;
        let is_known = entries + kept.entries + 1 < limit
            && of_kernel == self.of_kernel
            && progress.is(&kept.progress)
            && target.offers(&self.offer)
            && self.is_unchanged(kept, target);
        if !is_known {
            return None;
        }
        let rest = Rest { kept: index, entries: kept.entries, findings: kept.findings, outcome: self.outcome? };
        if entries <= SHORT {
            self.was_short();
        }
        self.was_used();
        Some(rest)
    }

    /// Notes an entry of a walk that will be kept.
    fn note(&mut self, entry: &Entry<'_>, follower: &mut Follower<'_>, target: &GuestTarget<'_>) {
        self.steps.push(target.touched.take());
        let (Some(progress), entries) = (entry.progress, follower.entries()) else { return };
        if entries == 0 || entries > MOST {
            return;
        }
        let due = follower.due();
        let found = follower.mark();
        if let Some(before) = self.now.last_mut() {
            before.findings = found;
        }
        let (progress, findings) = (progress.keep(), Findings::default());
        self.now.push(Kept { progress, due, entries, findings, spans: 0, low: 0 });
    }

    /// Whether all that was read after an entry is as it was, and belongs to a live part of the stack.
    fn is_unchanged(&self, kept: &Kept, target: &GuestTarget<'_>) -> bool {
        self.spans.iter().take(kept.spans).enumerate().all(|(index, span)| {
            let low = if index + 1 == kept.spans { kept.low } else { span.low };
            let (start, end) = (span.bytes + (low - span.low) as usize, span.bytes + (span.high - span.low) as usize);
            let is_dead = low < target.dead.end && span.high > target.dead.start;
            !is_dead && target.memory.holds(low, &self.bytes[start..end])
        })
    }

    /// The walk is complete. Keeps it, if it is to be kept, in place of the one before.
    pub(super) fn keep(
        &mut self,
        follower: &mut Follower<'_>,
        outcome: Outcome,
        of_kernel: bool,
        target: &GuestTarget<'_>,
    ) {
        if !self.keeps {
            if self.is_used {
                self.patience = LONGER; // nothing of it was known, as something of others was
            }
            return;
        }
        follower.end();
        let is_whole = matches!(outcome.end, End::Outermost | End::Stopped);
        if !is_whole || self.now.is_empty() || target.read_dead.get() || target.read_outside_stacks.get() {
            return;
        }
        self.steps.push(target.touched.take());
        if let Some(last) = self.now.last_mut() {
            last.findings = follower.mark();
        }
        let total = follower.entries();
        let mut older = Findings::default();
        for kept in self.now.iter_mut().rev() {
            older = kept.findings.or(older);
            kept.findings = older;
        }
        std::mem::swap(&mut self.kept, &mut self.now);
        self.starts.forget();
        self.find_spans();
        for kept in &mut self.kept {
            kept.entries = total - kept.entries;
        }
        self.outcome = Some(outcome);
        self.of_kernel = of_kernel;
        if !target.offers(&self.offer) {
            self.offer = target.offer();
        }
        if !self.copy(target.memory) {
            self.kept.clear();
        }
    }

    /// Finds what was read after each entry that is kept, from the oldest to the youngest.
    fn find_spans(&mut self) {
        self.spans.clear();
        let mut youngest = self.kept.len();
        for (number, step) in self.steps.iter().enumerate().skip(2).rev() {
            if step.end - step.start > STEP {
                break;
            }
            match self.spans.last_mut() {
                _ if step.is_empty() => {}
                Some(span) if step.end <= span.high && step.end.saturating_add(GAP) >= span.low => {
                    span.low = span.low.min(step.start);
                }
                _ => self.spans.push(Span { low: step.start, high: step.end, bytes: 0 }),
            }
            // Step 2 is the one from entry 1, the first that is kept.
            if let Some(kept) = self.kept.get_mut(number - 2) {
                (kept.spans, kept.low) = (self.spans.len(), self.spans.last().map_or(0, |span| span.low));
                youngest = number - 2;
            }
        }
        self.kept.drain(..youngest);
    }

    /// Copies what was read. False if it cannot be read.
    fn copy(&mut self, memory: &dyn Memory) -> bool {
        self.bytes.clear();
        self.spans.iter_mut().all(|span| {
            span.bytes = self.bytes.len();
            self.bytes.resize(span.bytes + (span.high - span.low) as usize, 0);
            memory.read(span.low, &mut self.bytes[span.bytes..])
        })
    }
}
