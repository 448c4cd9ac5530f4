//! SFrame: the section of simple unwind rows that GNU as writes (`.sframe`), versions 2 and 3, every ABI, both byte
//! orders.
//!
//! [`SFrameSection`] reads: no allocation, no panic, and nothing is looked at before it is asked for. [`SFrameTable`]
//! keeps a section with its header. [`validate()`] looks at everything and reports all that is wrong. How a walk
//! follows the rows, and whether they are true, this module does not know.
//!
//! ```text
//!  +--------+-----------+- - -+------------------+- - -+-------------------------------------------+
//!  | header | auxiliary | gap | index: one entry | gap | rows; in version 3 each function's rows   |
//!  | 28     | header    |     | per function     |     | come after its attribute                  |
//!  +--------+-----------+- - -+------------------+- - -+-------------------------------------------+
//!                       ^ fdeoff and freoff count from here
//! ```
//!
//! The files build on each other: bytes, format, header, fre, rule, fde, section, table.

pub mod format;
#[cfg(feature = "alloc")]
pub mod write;

mod bytes;
mod columns;
mod error;
mod fde;
mod fre;
mod header;
mod rule;
mod search;
mod section;
mod table;
mod usual;
mod validate;

pub use crate::row::PauthKey;
pub use error::{Error, ErrorKind, Field};
pub use fde::Fde;
pub use format::{FdeType, PcType, SFrameAbi, Version};
pub use fre::{Fre, Fres};
pub use header::Header;
pub use section::SFrameSection;
pub use table::SFrameTable;
pub use validate::{Finding, Profile, Severity, Surroundings, validate};
