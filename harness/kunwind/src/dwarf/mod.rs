//! DWARF call frame information (`.eh_frame`, `.debug_frame`) as unwind rows.
//!
//! gimli parses and runs the programs; this module says what a row of its table means in the vocabulary of
//! [`UnwindRow`](crate::UnwindRow), and why not where that cannot be expressed. Readers allocate nothing: the one large
//! thing, [`Storage`], is the caller's to place. Machines are [`Columns`] here; which CPU has which is not known.

mod cfi;
mod columns;
mod entry;
mod expression;
#[cfg(feature = "alloc")]
mod kept_expressions;
mod lower;
mod readable;
mod storage;
#[cfg(feature = "alloc")]
mod table;
mod unsupported;

pub use cfi::{Cfi, CfiFunction, CfiRow, Lookup, Unreadable};
pub use columns::Columns;
pub use entry::CfiSection;
pub use expression::evaluate;
pub use readable::make_readable;
pub use storage::Storage;
#[cfg(feature = "alloc")]
pub use table::{CfiTable, CfiTrouble, TableFunction, TablePlace, TableRow};
pub use unsupported::Unsupported;
