//! SFrame: the section of simple unwind rows that GNU as writes (`.sframe`).

pub mod format;

pub use format::SFrameAbi;
