//! All integration tests of kunwind, as one executable. Those that write something need the feature `alloc`.

mod alike;
mod boundary;
mod by_pc;
mod expression;
mod frame_record;
mod imports;
mod kernel;
mod next_sp;
mod no_exceptions;
mod no_kernel;
#[cfg(feature = "alloc")]
mod orc;
mod plain;
mod repeat;
mod return_hook;
mod row;
mod sframe;
#[cfg(feature = "alloc")]
mod sframe_write;
mod table;
mod trampoline;
mod user;
