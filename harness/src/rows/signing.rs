//! With which key each function has signed its return address, from the instructions that ran: the truth for what unwind data
//! say of pointer authentication.

use kunwind::PauthKey;
use rustc_hash::FxHashMap;

use crate::cpu::{Cpu, Signing};
use crate::guest::Guest;
use crate::oracle::{Activation, Oracle};
use crate::trace::{Point, Previous};

/// An activation, as (task, resume pc, CFA).
type Key = (u64, u64, u64);

/// Follows a run. A function that is called starts with a return address that nobody has signed; one that waits keeps its state
/// until it resumes. A jump does not change the function's return address, and so not its state.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// The state of the running function.
    running: Option<PauthKey>,
    /// Those of functions that wait, and of the running ones of other tasks (with a resume pc of 0).
    waiting: FxHashMap<Key, Option<PauthKey>>,
    task: u64,
    /// The youngest activation and the one below it at the last point.
    youngest: Option<(Key, Option<Key>)>,
}

fn key(task: u64, activation: &Activation) -> Key {
    (task, activation.resume, activation.cfa)
}

impl Signatures {
    /// The machine is at this point, and the oracle has observed it.
    pub(super) fn follow(&mut self, cpu: &Cpu, guest: &Guest, at: &Point<'_>, oracle: &Oracle<'_>) {
        if !cpu.can_sign() {
            return;
        }
        if let Some(Previous::Retired { pc, .. }) = at.previous {
            match cpu.signing(guest.bytes_at(pc)) {
                Some(Signing::Sign(key)) => self.running = Some(key),
                Some(Signing::Authenticate) => self.running = None,
                None => {}
            }
        }
        let task = oracle.task();
        if task != self.task {
            self.waiting.insert((self.task, 0, 0), self.running);
            self.running = self.waiting.remove(&(task, 0, 0)).flatten();
            self.task = task;
        }
        let mut activations = oracle.truth().activations();
        let now =
            activations.next().map(|youngest| (key(task, youngest), activations.next().map(|next| key(task, next))));
        if now == self.youngest {
            return;
        }
        match (self.youngest, now) {
            // A call: the youngest of before is now the second.
            (before, Some((called, second))) if second == before.map(|(key, _)| key) => {
                self.waiting.insert(called, self.running);
                self.running = None;
            }
            // A return, to the function that waited for it.
            (Some((resumed, second)), now) if second == now.map(|(key, _)| key) => {
                self.running = self.waiting.remove(&resumed).flatten();
            }
            // Several at once (a longjmp, another task): what resumes has its state under its own key, which is gone.
            _ => self.running = None,
        }
        self.youngest = now;
    }

    /// The state of the running function.
    pub(super) const fn running(&self) -> Option<PauthKey> {
        self.running
    }

    /// The state of a function that waits.
    pub(super) fn waiting(&self, activation: &Activation) -> Option<PauthKey> {
        self.waiting.get(&key(self.task, activation)).copied().flatten()
    }
}
