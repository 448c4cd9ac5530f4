//! A run that stops at the next point when the user asks.

use super::{Action, Ended, Memory, Observer, Point, Run};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// A run that the user can stop between two points. Its observer never sees the point at which it stops.
pub struct Watched<'a> {
    run: &'a mut dyn Run,
    interrupt: &'a Interrupt,
}

impl std::fmt::Debug for Watched<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watched").field("interrupt", &self.interrupt).finish_non_exhaustive()
    }
}

impl<'a> Watched<'a> {
    /// The run, which stops when it is interrupted.
    #[must_use]
    pub fn new(run: &'a mut dyn Run, interrupt: &'a Interrupt) -> Self {
        Self { run, interrupt }
    }
}

impl Run for Watched<'_> {
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error> {
        let mut watch = Watch { observer, interrupt: self.interrupt, has_stopped: false };
        let ended = self.run.drive(&mut watch)?;
        Ok(Ended { interrupted: ended.interrupted || watch.has_stopped, ..ended })
    }

    fn memory(&self) -> &dyn Memory {
        self.run.memory()
    }

    fn again(&self) -> Option<Box<dyn Run + '_>> {
        self.run.again()
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.interrupt.progress().clone())
    }
}

struct Watch<'a> {
    observer: &'a mut dyn Observer,
    interrupt: &'a Interrupt,
    has_stopped: bool,
}

impl Observer for Watch<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        if self.interrupt.is_asked() {
            self.has_stopped = true;
            return Action::Stop;
        }
        self.observer.point(at)
    }

    fn faulted(&mut self, at: &Point<'_>) {
        self.observer.faulted(at);
    }

    fn wants_stores(&self) -> bool {
        self.observer.wants_stores()
    }

    fn stored(&mut self, address: u64, size: usize) {
        self.observer.stored(address, size);
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.observer.hardware_stored(address, size);
    }
}
