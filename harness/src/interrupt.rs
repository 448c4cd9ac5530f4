//! Signals that ask the program to stop. The first one is a request: the work stops at the next point, and what is known is
//! written. The second one ends the program at once, and so does the first where nothing could be kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::progress::Progress;

/// The exit status of an interrupted program: that of a shell for one that SIGINT has ended (128 + 2). It is the same for
/// SIGTERM.
pub const STATUS: u8 = 130;

/// Whether someone has asked the program to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Whether the next signal ends the program.
    kills: Arc<AtomicBool>,
    /// How far the work is that can be stopped.
    progress: Progress,
}

impl Interrupt {
    /// Watches SIGINT and SIGTERM. Until [`Interrupt::defer`], a signal ends the program at once.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a handler.
    pub fn of_signals() -> io::Result<Self> {
        let interrupt = Self::default();
        interrupt.kills.store(true, Ordering::SeqCst);
        for signal in [SIGINT, SIGTERM] {
            // In this order: what the first signal sets must not end the program before the second one.
            flag::register_conditional_shutdown(signal, STATUS.into(), Arc::clone(&interrupt.kills))?;
            flag::register(signal, Arc::clone(&interrupt.asked))?;
            flag::register(signal, Arc::clone(&interrupt.kills))?;
        }
        Ok(interrupt)
    }

    /// From now on the program itself looks whether it is asked to stop.
    pub fn defer(&self) {
        if !self.is_asked() {
            self.kills.store(false, Ordering::SeqCst);
        }
    }

    /// From now on there is nothing left to keep: a signal ends the program at once.
    pub fn no_longer_defer(&self) {
        self.kills.store(true, Ordering::SeqCst);
    }

    /// How far the work is that looks whether it is asked to stop.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether someone has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Asks, as a first signal does.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.kills.store(true, Ordering::SeqCst);
    }
}
