//! Runs small guests under a CPU emulator, interrupts them before every instruction, lets stack unwinders walk at every
//! point, and compares each walk with a truth that reads no unwind information.
//!
//! Data flows one way: guest, machine, { oracle, subject }, verdict, sweep, report. ARCHITECTURE.md draws the map and
//! lists the lines that must not be crossed.

pub mod arch;
pub mod check;
pub mod claim;
pub mod cli;
pub mod design;
pub mod error;
pub mod explain;
pub mod gate;
pub mod guest;
pub mod layout;
pub mod listing;
pub mod machine;
pub mod oracle;
pub mod prepared;
pub mod report;
pub mod scenario;
pub mod sframe;
pub mod subject;
pub mod sweep;
pub mod tables;
pub mod verdict;

pub use error::Error;
