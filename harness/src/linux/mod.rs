//! Linux images: packages, boot files and `vmlinux` as the kernel's bytes at its link addresses, with symbols and types.
//!
//! An image needs nothing beside itself: its symbols are in kallsyms, its types in BTF. All input is untrusted: what is malformed is
//! an error, and nothing is allocated beyond bounds that are named.

mod archive;
mod boot;
mod btf;
mod bytes;
mod config;
mod data;
mod decompress;
mod features;
mod image;
mod kallsyms;
mod package;
pub mod state;
mod symbols;

use std::path::Path;

use crate::Error;

pub use boot::Load;
pub use btf::{Btf, Member};
pub use config::Config;
pub use features::Lack;
pub use image::KernelImage;
pub use kallsyms::AddressFormat;
pub use package::{Listing, list};
pub use symbols::{KernelSymbols, SymbolSource};

fn refused(path: &Path, reason: String) -> Error {
    Error::Linux { path: path.to_path_buf(), reason }
}
