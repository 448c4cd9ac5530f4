//! Logs: recorded runs, of any kind of interruption. A log holds registers, memory and events, the guest's file and the scenario, so
//! that it can be judged again anywhere, without the emulator: [`Replay`] is a [`super::Run`] like a machine.
//!
//! # The format
//!
//! A file is [`MAGIC`], then for each run its length (8 bytes, little endian) and its bytes. Integers in a run are LEB128, signed
//! ones zigzag; a string or byte array is its length and its bytes. A run is
//!
//! 1. the head: scenario (`<cpu>/<name>`), its TOML, variant, kind of interruption, the guest's file name and bytes;
//! 2. the words that an undisturbed run leaves (count, then 8 bytes each); none for a probe;
//! 3. memory at the start: the writable pages of the guest as (address, bytes);
//! 4. the events, as one byte array: see [`event`];
//! 5. keyframes: after every [`KEYFRAME_POINTS`] points the whole state, so that a log can be opened at any point without
//!    going through all that comes before.

mod decode;
mod encode;
mod replay;

pub use decode::Log;
pub use encode::{LogWriter, Logged};
pub use replay::Replay;

/// The first bytes of a file of logs; the digit is the version of the format.
pub const MAGIC: &[u8; 8] = b"uwh-log1";

/// How many points lie between two keyframes.
pub const KEYFRAME_POINTS: u64 = 512;

/// What a run is of.
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

/// The events of a run, each a byte and what follows it.
///
/// Before a [`POINT`], a [`FAULT`] or the [`END`] stand the stores since the point before, each (address relative to the store before,
/// size, bytes).
pub(super) mod event {
    /// The guest stored.
    pub(in crate::trace::log) const STORE: u8 = 1;
    /// The harness stored, in the part of the hardware.
    pub(in crate::trace::log) const HARDWARE_STORE: u8 = 2;
    /// A point, after the instruction of the point before has retired; the first point comes after nothing. pc relative to the
    /// point before, size, mode and status if they changed, changed registers.
    pub(in crate::trace::log) const POINT: u8 = 3;
    /// A point at which an exception arrived: the pc to which it will return, SP, whether user mode was interrupted, then as
    /// [`POINT`].
    pub(in crate::trace::log) const DELIVERED: u8 = 4;
    /// The instruction of the point before touches a guard page. As [`POINT`].
    pub(in crate::trace::log) const FAULT: u8 = 5;
    /// The observer had an exception delivered at the point before: its number, and the word that it wrote, if one.
    pub(in crate::trace::log) const ACTION_DELIVER: u8 = 6;
    /// The observer stopped the run at the point before.
    pub(in crate::trace::log) const ACTION_STOP: u8 = 7;
    /// The run is over: how many instructions were started, and whether the guest came to its end.
    pub(in crate::trace::log) const END: u8 = 8;
}
