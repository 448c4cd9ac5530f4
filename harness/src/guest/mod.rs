//! Guests: an ELF file as a memory image with symbols, and the conventions of each kind of guest.

mod code_map;
pub mod conventions;
mod elf;
mod image;
pub mod layout;
mod listing;
pub mod literal;
mod program;
pub mod return_hook;
mod symbols;
mod tables;

use std::path::{Path, PathBuf};

use crate::cpu::Cpu;
use crate::{Error, file};

pub use code_map::CodeMap;
pub use conventions::Conventions;
pub use elf::{LoadedSection, OrcSections, UnreadSection, UnwindSections};
pub(crate) use elf::{infer_sizes, unwind_sections};
pub(crate) use image::{MAX_MEMORY, whole_pages};
pub use image::{PAGE, Segment};
pub use layout::{Layout, Poison};
pub use listing::{Line, Listing, Listings};
pub use program::{Answer, Constructor, Constructors, Indirect, Midway, Program, StartState, WaitingAtStart};
pub use symbols::{Symbol, Symbols, name_in, signed_hex};
pub(crate) use tables::cfi_columns;
pub use tables::{DwarfTable, Tables, Unread};

/// A loaded guest.
pub struct Guest {
    /// The file's stem.
    pub name: String,
    /// Where it came from.
    pub path: PathBuf,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub hash: String,
    /// The CPU it runs on.
    pub cpu: &'static Cpu,
    /// Its initial memory, by address; page-aligned and disjoint.
    pub segments: Vec<Segment>,
    /// Its symbols.
    pub symbols: Symbols,
    /// Its unwind data, for unwinders. The oracle does not look at it.
    pub unwind: UnwindSections,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guest").field("name", &self.name).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Guest {
    /// Reads an ELF file for this CPU.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, else as [`Guest::parse`].
    pub fn load(path: &Path, cpu: &'static Cpu) -> Result<Self, Error> {
        let data = file::read(path, file::MAX_BINARY)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(name, path, &data, cpu)
    }

    /// Reads the bytes of an ELF file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when it is not a 64-bit little-endian executable for `cpu`, is truncated, or asks for more memory than
    /// any guest needs.
    pub fn parse(name: String, path: &Path, data: &[u8], cpu: &'static Cpu) -> Result<Self, Error> {
        elf::parse(name, path, data, cpu).map_err(|reason| Error::Elf { path: path.to_path_buf(), reason })
    }

    /// The function of this name.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when there is none.
    pub fn function(&self, name: &str) -> Result<&Symbol, Error> {
        self.symbols.function_named(name).ok_or_else(|| self.missing(name, "it must name a function of the guest"))
    }

    /// The error for a symbol that the guest must have; `hint` says what it is needed for.
    #[must_use]
    pub fn missing(&self, symbol: &str, hint: &'static str) -> Error {
        let near = self.symbols.near(symbol);
        Error::MissingSymbol { path: self.path.clone(), symbol: symbol.to_owned(), hint, near }
    }

    /// The bytes of the image from `address` to the end of its segment; empty outside.
    #[must_use]
    pub fn bytes_at(&self, address: u64) -> &[u8] {
        self.segments
            .iter()
            .find(|segment| (segment.address..segment.end()).contains(&address))
            .map_or(&[], |segment| &segment.data[(address - segment.address) as usize..])
    }

    /// The executable ranges.
    pub fn text(&self) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        self.segments.iter().filter(|segment| segment.executable).map(|segment| segment.address..segment.end())
    }
}
