//! ORC: the arrays byte by byte, the look-up, each rule of the walk, and that nothing panics or runs for ever.

mod memory;
mod property;
mod start;
mod step;
mod table;
mod trampoline;
