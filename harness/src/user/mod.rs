//! Code that was not made for this harness: a user's own programs and libraries.

pub mod process;
