//! ORC, the unwind data of Linux on x86-64, as it is in v7.3: `arch/x86/include/asm/orc_types.h` (the entry), the two
//! arrays `.orc_unwind_ip` and `.orc_unwind`, and the lookup of `arch/x86/kernel/unwind_orc.c`. The numbers of its bases
//! ([`OrcNumbers`]) have changed over time: tables written here have their own, a kernel's are chosen by its `.orc_header`.
//!
//! [`OrcTable`] reads the two arrays where they lie, without allocation, and is a [`Table`](crate::Table) like any
//! other. With the feature `alloc`, `write` makes them. How a walk uses what the entries say, this module does not
//! know.

mod entry;
mod error;
mod table;
#[cfg(feature = "alloc")]
mod write;

pub use entry::{ENTRY_SIZE, OrcBase, OrcEntry, OrcNumbers, OrcType};
pub use error::OrcError;
pub use table::OrcTable;
#[cfg(feature = "alloc")]
pub use write::{OrcWriteError, WrittenOrc, write};
