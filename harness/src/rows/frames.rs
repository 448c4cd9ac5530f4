//! What is true of the frames themselves: the registers of each function that waits, as its call found them, and with which key
//! each function has signed its return address. Both come from the instructions that ran, not from unwind data.

use kunwind::PauthKey;
use rustc_hash::FxHashMap;

use crate::cpu::{Cpu, Regs, Signing};
use crate::guest::Guest;
use crate::oracle::{Activation, Oracle};
use crate::trace::{Point, Previous};

/// An activation, as (task, resume pc, CFA).
type Key = (u64, u64, u64);

/// A function that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// Its registers after the call: as the call found them, but for the link register, which now holds the return address.
    pub(super) regs: Regs,
    /// The key with which it has signed its own return address.
    pub(super) signed: Option<PauthKey>,
    /// Whether that is known: not of a function that ran before the run began.
    pub(super) is_signing_known: bool,
}

/// Follows a run. A function that is called starts with a return address that nobody has signed; one that waits keeps its state
/// until it resumes. A jump does not change the function's return address, and so not its state.
#[derive(Debug, Default)]
pub(super) struct Frames {
    signed: Option<PauthKey>,
    /// Whether the running function began before the run did, so that it may have signed its return address unseen.
    is_older: bool,
    /// Whether the run begins in the middle of a program.
    is_midway: bool,
    waiting: FxHashMap<Key, Waiting>,
    /// The states of other tasks' youngest functions.
    others: FxHashMap<u64, Option<PauthKey>>,
    task: u64,
    /// The youngest activation and the one below it at the last point.
    youngest: (Option<Key>, Option<Key>),
}

fn key(task: u64, activation: &Activation) -> Key {
    (task, activation.resume, activation.cfa)
}

impl Frames {
    /// For a run that begins in the middle of a program, or not.
    pub(super) fn new(is_midway: bool) -> Self {
        Self { is_older: is_midway, is_midway, ..Self::default() }
    }

    /// The machine is at this point with these registers, and the oracle has observed it.
    pub(super) fn follow(&mut self, cpu: &Cpu, guest: &Guest, at: &Point<'_>, regs: &Regs, oracle: &Oracle<'_>) {
        if let Some(Previous::Retired { pc, .. }) = at.previous
            && cpu.can_sign()
        {
            match cpu.signing(guest.bytes_at(pc)) {
                Some(Signing::Sign(key)) => self.signed = Some(key),
                Some(Signing::Authenticate) => self.signed = None,
                None => {}
            }
        }
        let task = oracle.task();
        let mut activations = oracle.truth().activations();
        let youngest = activations.next();
        let now = (youngest.map(|it| key(task, it)), activations.next().map(|it| key(task, it)));
        let before = std::mem::replace(&mut self.youngest, now);
        if task != std::mem::replace(&mut self.task, task) {
            self.others.insert(before.0.map_or(0, |(task, ..)| task), self.signed);
            self.signed = self.others.remove(&task).flatten();
            return;
        }
        if now == before {
            return;
        }
        if let (Some(called), Some(youngest)) = (now.0, youngest)
            && now.1 == before.0
        {
            let mut regs = *regs;
            regs.set(cpu.sp, youngest.cfa);
            let is_signing_known = !std::mem::take(&mut self.is_older);
            self.waiting.insert(called, Waiting { regs, signed: self.signed.take(), is_signing_known });
        } else {
            // What resumes is what waited below the youngest that is gone; after a longjmp that may be several.
            let resumed = before.0.and_then(|resumed| self.waiting.remove(&resumed));
            let resumed = resumed.filter(|_| before.1 == now.0);
            self.is_older = self.is_midway && resumed.is_none_or(|waiting| !waiting.is_signing_known);
            self.signed = resumed.and_then(|waiting| waiting.signed);
        }
    }

    /// With which key the running function has signed its return address.
    pub(super) const fn signed(&self) -> Option<PauthKey> {
        self.signed
    }

    /// Whether that is known.
    pub(super) const fn is_signing_known(&self) -> bool {
        !self.is_older
    }

    /// A function that waits in the running task.
    pub(super) fn waiting(&self, activation: &Activation) -> Option<&Waiting> {
        self.waiting.get(&key(self.task, activation))
    }
}
