//! Walks that begin alike. A walk along frame records does not look at the pc: at the next instruction of a function it starts with the
//! same frame pointer, reads the same words and comes to the same caller, as long as nothing of that has changed. So the verdict on it is
//! known before it begins.

use super::Verdict;
use crate::subject::{GuestTarget, Question, Subject};

/// A subject that starts with more registers than this looks at the pc as well.
const REGISTERS: usize = 2;
/// More than so many bytes are not kept: a frame record has 16.
const BYTES: usize = 64;
/// So many are kept: those of a loop, and those of what it calls.
const LATEST: usize = 2;

/// What a walk begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beginning {
    registers: [Option<u64>; REGISTERS],
    /// The serial of the youngest activation, and whether the trace ends where the kernel was entered from user mode.
    due: u64,
    of_kernel: bool,
}

impl Beginning {
    /// What this walk begins with, if walks that begin so are alike.
    #[inline]
    pub(super) fn of(subject: &dyn Subject, question: &Question<'_>, due: u64, of_kernel: bool) -> Option<Self> {
        let declared = &subject.about().registers;
        if !subject.ignores_pc() || question.pt_regs.is_some() || declared.len() > REGISTERS {
            return None;
        }
        let mut registers = [None; REGISTERS];
        for (value, register) in registers.iter_mut().zip(declared) {
            *value = question.regs.get(*register);
        }
        Some(Self { registers, due, of_kernel })
    }
}

/// A walk that came to an entry whose rest was known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    beginning: Beginning,
    /// What it had read by then: from this address on, so many bytes.
    low: u64,
    len: usize,
    bytes: [u8; BYTES],
    /// The index of that entry among those that are kept.
    pub(super) rest: usize,
    /// The verdict on the whole walk.
    pub(super) verdict: Verdict,
}

/// The latest of them.
#[derive(Debug, Default)]
pub(super) struct Starts {
    latest: [Option<Started>; LATEST],
    /// Which of them is the oldest.
    oldest: usize,
}

impl Starts {
    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.latest = [None; LATEST];
    }

    /// A walk that began so and had read what is still there before it came to a known entry.
    #[inline]
    pub(super) fn find(&self, beginning: &Beginning, target: &GuestTarget<'_>) -> Option<&Started> {
        let started = self.latest.iter().flatten().find(|started| started.beginning == *beginning)?;
        let is_dead = started.low < target.dead.end && started.low + started.len as u64 > target.dead.start;
        (!is_dead && target.memory.holds(started.low, &started.bytes[..started.len])).then_some(started)
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
