//! Runs guests under a CPU emulator, interrupts them before every instruction, lets stack unwinders walk at every point, and compares
//! each walk with a truth that reads no unwind information.
//!
//! Data flows one way: guest, run, { oracle, subject }, verdict, experiment, recording, report. ARCHITECTURE.md draws the map and
//! lists the lines that must not be crossed.

pub mod analysis;
pub mod case;
pub mod cli;
pub mod cpu;
pub mod error;
pub mod experiment;
pub mod explain;
pub mod export;
pub mod fidelity;
pub mod file;
pub mod guest;
pub mod interrupt;
pub mod linux;
pub mod machine;
pub mod museum;
pub mod near;
pub mod oracle;
pub mod pool;
pub mod progress;
pub mod recording;
pub mod report;
pub mod rows;
pub mod scenario;
pub mod sframe;
pub mod subject;
pub mod suite;
pub mod trace;
pub mod user;
pub mod verdict;

pub use error::Error;
