//! Walks that begin alike. A walk along frame records does not look at the pc: at the next instruction of a function it starts with the
//! same frame pointer, reads the same words and comes to the same caller, as long as nothing of that has changed. So the verdict on it is
//! known before it begins; in the next call of the function, too, if the call differs only in what no verdict on it looks at.

use super::Verdict;
use crate::oracle::{Cause, Truth};
use crate::subject::{GuestTarget, Question, Subject};

/// A subject that starts with more registers than this looks at the pc as well.
const REGISTERS: usize = 2;
/// More than so many bytes are not kept: a frame record has 16.
const BYTES: usize = 64;
/// So many are kept: those of a loop, and those of what it calls.
const LATEST: usize = 2;

/// Whether neither the walks of a subject nor the verdicts on them look at the pc, or at registers that it does not name.
#[inline]
pub fn ignores_pc(subject: &dyn Subject) -> bool {
    subject.ignores_pc() && !subject.about().compares.callee_saved
}

/// What a walk begins with: all that a verdict on it looks at, where callee-saved registers are not compared. In plain words, because
/// two of them are compared at nearly every point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beginning {
    registers: [u64; REGISTERS],
    /// Of the youngest activation: where it resumes, its CFA, its frame pointer.
    youngest: [u64; 3],
    /// The serial of the activation that is older than that.
    older: u64,
    /// Which of these there are, what the youngest activation waits for, and whether the trace ends where the kernel was entered from
    /// user mode.
    flags: u64,
}

impl Beginning {
    /// What this walk begins with, if walks that begin so are alike. `fp` is the index of the frame pointer among the callee-saved
    /// registers.
    #[inline]
    pub(super) fn of(subject: &dyn Subject, question: &Question<'_>, truth: &Truth, fp: Option<usize>) -> Option<Self> {
        if !ignores_pc(subject) {
            return None;
        }
        let declared = &subject.about().registers;
        if declared.len() > REGISTERS || question.pt_regs.is_some() {
            return None;
        }
        let mut registers = [0; REGISTERS];
        let mut flags = u64::from(truth.is_of_kernel());
        for (bit, (value, register)) in registers.iter_mut().zip(declared).enumerate() {
            let known = question.regs.get(*register);
            flags |= u64::from(known.is_some()) << (bit + 8);
            *value = known.unwrap_or_default();
        }
        let mut youngest = [0; 3];
        let mut activations = truth.activations();
        if let Some(activation) = activations.next() {
            let fp = fp.and_then(|index| activation.kept(index));
            flags |= match activation.cause {
                Cause::Call => 1 << 1,
                Cause::Exception => 2 << 1,
                Cause::UserException => 3 << 1,
            };
            flags |= u64::from(fp.is_some()) << 3;
            youngest = [activation.resume, activation.cfa, fp.unwrap_or_default()];
        }
        Some(Self { registers, youngest, older: activations.due(), flags })
    }
}

/// A walk that came to an entry whose rest was known.
#[derive(Debug, Clone, Copy)]
struct Started {
    beginning: Beginning,
    /// What it had read by then: from this address on, so many bytes.
    low: u64,
    len: usize,
    bytes: [u8; BYTES],
    /// The index of that entry among those that are kept.
    rest: usize,
    /// The verdict on the whole walk.
    verdict: Verdict,
}

/// The latest of them.
#[derive(Debug, Default)]
pub(super) struct Starts {
    latest: [Option<Started>; LATEST],
    /// The one that was used least recently: of two, the other.
    oldest: usize,
}

impl Starts {
    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.latest = [None; LATEST];
    }

    /// The verdict on a walk that began so and had read what is still there before it came to a known entry; and the index of that.
    #[inline]
    pub(super) fn find(&mut self, beginning: &Beginning, target: &GuestTarget<'_>) -> Option<(Verdict, usize)> {
        let mut latest = self.latest.iter().enumerate();
        let (index, started) = latest.find_map(|(index, started)| {
            Some((index, started.as_ref()?)).filter(|(_, started)| started.beginning == *beginning)
        })?;
        self.oldest = (index + 1) % LATEST;
        let is_dead =
            started.low < target.dead.end && started.low.saturating_add(started.len as u64) > target.dead.start;
        (!is_dead && target.memory.holds(started.low, &started.bytes[..started.len]))
            .then_some((started.verdict, started.rest))
    }

    /// Keeps a walk that has begun so and has come to a known entry.
    pub(super) fn keep(&mut self, beginning: Beginning, target: &GuestTarget<'_>, rest: usize, verdict: Verdict) {
        let read = target.touched.take();
        let len = (read.end - read.start) as usize;
        if len > BYTES || target.read_dead.get() || target.read_outside_stacks.get() {
            return;
        }
        let mut bytes = [0; BYTES];
        if target.memory.read(read.start, &mut bytes[..len]) {
            let started = Started { beginning, low: read.start, len, bytes, rest, verdict };
            self.latest[self.oldest] = Some(started);
            self.oldest = (self.oldest + 1) % LATEST;
        }
    }
}
