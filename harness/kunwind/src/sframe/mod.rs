//! SFrame: the section of simple unwind rows that GNU as writes (`.sframe`), versions 2 and 3, every ABI, both byte orders.
//!
//! [`Section`] reads: no allocation, no panic, and nothing is looked at before it is asked for. [`validate()`] looks at
//! everything and says all that is wrong.

pub mod format;
#[cfg(feature = "alloc")]
pub mod write;

mod bytes;
mod error;
mod fre;
mod function;
mod header;
mod rule;
mod section;
mod validate;

pub use error::{Error, ErrorKind, Field};
pub use format::SFrameAbi;
pub use fre::{Fre, Fres};
pub use function::{FdeType, Function, PauthKey, PcType};
pub use header::{Header, Version};
pub use section::Section;
pub use validate::{Finding, Profile, Severity, Surroundings, validate};
