//! Logs: recorded runs, with any kind of interruption. A log holds registers, memory and events, the guest's file and the
//! scenario, so that it can be judged again anywhere, without the emulator: [`Replay`] is a [`super::Run`] like a machine.
//!
//! # The format
//!
//! A file is [`MAGIC`], then for each run its length (8 bytes, little endian) and its bytes. A file that is not whole begins with
//! [`PARTIAL_MAGIC`] and the number of runs that it should hold (8 bytes, little endian) instead. Integers in a run are LEB128,
//! signed ones zigzag; a string or byte array is its length and its bytes. A run is
//!
//! 1. the head: scenario (`<cpu>/<name>`), its TOML, variant, kind of interruption, the guest's file name and bytes;
//! 2. the lasting words after an undisturbed run (count, then 8 bytes each); none for a probe;
//! 3. the initial memory: the guest's writable pages as (address, bytes);
//! 4. the events, as one byte array: see `event`;
//! 5. keyframes: the whole state after every [`KEYFRAME_POINTS`] points, so that a replay can start at any point without
//!    decoding everything before it.

mod decode;
mod encode;
mod replay;

pub use decode::{Log, LogFile};
pub use encode::{LogWriter, Logged};
pub use replay::Replay;

/// The first bytes of a file of logs; the digit is the version of the format.
pub const MAGIC: &[u8; 8] = b"uwh-log1";

/// The first bytes of a file that does not hold all the runs that it should, or holds one that was interrupted. It is another
/// word, so that no reader takes such a file for a whole one.
pub const PARTIAL_MAGIC: &[u8; 8] = b"uwh-part";

/// The most bytes of events and keyframes in the log of one run: as much as some ten million instructions need. They are kept in
/// memory until the log is written.
pub const MAX_EVENTS: usize = 1 << 30;

/// The number of points between two keyframes.
pub const KEYFRAME_POINTS: u64 = 512;

/// Which run a log records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// `<cpu>/<name>`.
    pub scenario: String,
    /// The scenario's TOML.
    pub source: String,
    /// The variant's name; empty for the only one.
    pub variant: String,
    /// The kind of interruption.
    pub interrupt: String,
    /// The guest's file name.
    pub guest: String,
    /// The guest's file.
    pub file: Vec<u8>,
}

impl Head {
    /// Scenario, variant and kind, for messages.
    #[must_use]
    pub fn run(&self) -> String {
        let Self { scenario, variant, interrupt, .. } = self;
        let variant = if variant.is_empty() { String::new() } else { format!(" [{variant}]") };
        format!("{scenario}{variant} {interrupt}")
    }
}

/// The events of a run: each is a byte, followed by its fields.
///
/// A `POINT`, a `FAULT` or the `END` is preceded by the stores since the point before, each as (address relative to the
/// previous store, size, bytes).
pub(super) mod event {
    /// A store by the guest.
    pub(in crate::trace::log) const STORE: u8 = 1;
    /// A store by the harness, acting as the hardware.
    pub(in crate::trace::log) const HARDWARE_STORE: u8 = 2;
    /// A point, after the instruction of the point before has retired; the first point follows nothing. pc relative to the
    /// point before, size, mode and status if they changed, changed registers.
    pub(in crate::trace::log) const POINT: u8 = 3;
    /// The first point after an exception was delivered: the pc to which it will return, SP, whether it interrupted user mode,
    /// then as `POINT`.
    pub(in crate::trace::log) const DELIVERED: u8 = 4;
    /// The instruction of the point before touches a guard page. As `POINT`.
    pub(in crate::trace::log) const FAULT: u8 = 5;
    /// The observer delivered an exception at the point before: its number, and the word written first, if any.
    pub(in crate::trace::log) const ACTION_DELIVER: u8 = 6;
    /// The observer stopped the run at the point before.
    pub(in crate::trace::log) const ACTION_STOP: u8 = 7;
    /// The run is over: how many instructions were started, and why it ended.
    pub(in crate::trace::log) const END: u8 = 8;

    /// Why a run ended: the observer stopped it.
    pub(in crate::trace::log) const STOPPED: u64 = 0;
    /// The guest reached its end.
    pub(in crate::trace::log) const COMPLETE: u64 = 1;
    /// The user stopped it.
    pub(in crate::trace::log) const INTERRUPTED: u64 = 2;
}
