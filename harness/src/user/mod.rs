//! Other people's programs as guests: a shared object, an executable or a relocatable object of any compiler, loaded as a dynamic
//! linker would load it.
//!
//! Nothing here runs anything. What only running code can say, such as the function that an IFUNC stands for, is left for
//! [`crate::machine::boot`].

mod argument;
mod call;
mod dynamic;
mod index;
mod link;
mod memory;
mod module;
mod names;
mod object;
mod of_cpu;
mod ours;
pub mod process;
mod read;
mod tls;
mod unwind;

use std::path::Path;

use crate::Error;

pub use argument::{Argument, Buffer};
pub use call::{ElfCall, Prepared, areas, load, prepare};
pub use dynamic::{Dynamic, DynamicSymbol, Relocation, SymbolKind};
pub use link::MISSING;
pub use module::{Kind, LinkTables, Module, STUB_SIZE, TlsTemplate};
pub use ours::{CALLBACK, CALLER};
pub use read::guest;

/// The error for a file that cannot be loaded; the reason says what to do.
fn refused(path: &Path, reason: impl Into<String>) -> Error {
    Error::Elf { path: path.to_path_buf(), reason: reason.into() }
}
