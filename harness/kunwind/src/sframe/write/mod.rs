//! Sections of version 3, as GNU as and ld 2.47 write them where they are right.
//!
//! [`write()`] makes a section from functions with their rows, [`from_cfi`] from a section with CFI, and [`from_sections`]
//! from all sections with CFI of a file. A function that the format cannot hold is left out and named with its
//! [`Reason`]; nothing is rounded, cut off or guessed.

mod convert;
mod error;
mod row;
mod section;

pub use convert::{Choice, FromCfi, Refusal, Skipped, Unneeded, from_cfi, from_sections};
pub use error::{Reason, RowError, TooLarge};
pub use section::{FunctionRows, Placement, Relocation, Written, write};
