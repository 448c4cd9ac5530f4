//! One ELF file as a module of a program: what is loaded, what it defines and asks for, and its unwind data.

use std::path::PathBuf;

use super::dynamic::Dynamic;
use super::memory::bytes_at;
use super::{refused, unwind};
use crate::Error;
use crate::cpu::Cpu;
use crate::guest::{LoadedSection, PAGE, Segment, Symbol, UnwindSections};

/// Where the addresses and stubs of an object's symbols are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTables {
    /// A word for each symbol, by its index: its address.
    pub addresses: u64,
    /// Four words for each symbol: of a thread-local variable the offset, and a pair of words or a descriptor.
    pub tls: u64,
    /// [`STUB_SIZE`] bytes for each symbol: code that jumps to it.
    pub stubs: u64,
}

/// How many bytes the stub of a symbol may have.
pub const STUB_SIZE: u64 = 16;

/// What kind of file a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Linked to fixed addresses (`ET_EXEC`).
    Fixed,
    /// To be loaded anywhere: a shared object or a position-independent executable (`ET_DYN`).
    Shared,
    /// To be linked (`ET_REL`).
    Object,
}

/// The initial contents of a module's thread-local variables (gABI chapter 5, `PT_TLS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsTemplate {
    /// Where the initialised part is in memory.
    pub address: u64,
    /// Its size in bytes.
    pub file_size: u64,
    /// The size of the whole in bytes; the rest is zero.
    pub memory_size: u64,
    /// The alignment in bytes.
    pub align: u64,
}

/// An ELF file in memory. All addresses have the load bias added already.
#[derive(Debug, Clone)]
pub struct Module {
    /// The file.
    pub path: PathBuf,
    /// Its name: `DT_SONAME`, else the file's.
    pub name: String,
    /// SHA-256 of the file, in lower-case hexadecimal digits.
    pub hash: String,
    /// The CPU it is for.
    pub cpu: &'static Cpu,
    /// What kind of file it is.
    pub kind: Kind,
    /// What was added to the addresses in the file.
    pub bias: u64,
    /// Where a program starts; the load bias alone if the file has no entry.
    pub entry: u64,
    /// Its memory, by address; whole pages, disjoint. Not relocated.
    pub segments: Vec<Segment>,
    /// Names for its addresses, from both of its symbol tables. Code that has no name but is described by an FDE is
    /// `sub_9c2a0`, by its address in the file.
    pub symbols: Vec<Symbol>,
    /// What it defines for others, what it asks for, and its relocations.
    pub dynamic: Dynamic,
    /// Its thread-local variables.
    pub tls: Option<TlsTemplate>,
    /// The path of its interpreter (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// The address and the number of its program headers, where they are loaded.
    pub program_headers: Option<(u64, u64)>,
    /// Its unwind data.
    pub unwind: UnwindSections,
    /// `.eh_frame_hdr`.
    pub eh_frame_hdr: Option<LoadedSection>,
    /// Of an object: where addresses and stubs of its symbols go.
    pub link: Option<LinkTables>,
}

impl Module {
    /// The first and the last address of what is loaded.
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        let low = self.segments.first().map_or(0, |segment| segment.address);
        (low, self.segments.last().map_or(0, Segment::end))
    }

    /// Moves everything by so many bytes, a multiple of [`PAGE`].
    ///
    /// # Errors
    ///
    /// [`Error::Elf`], when the file is linked to fixed addresses, or something would wrap around the address space.
    pub fn shift(&mut self, by: u64) -> Result<(), Error> {
        if by == 0 {
            return Ok(());
        }
        let (_, end) = self.extent();
        if self.kind == Kind::Fixed || !by.is_multiple_of(PAGE) || end.checked_add(by).is_none() {
            return Err(refused(&self.path, format!("it cannot be loaded {by:#x} bytes from where it was linked")));
        }
        self.bias += by;
        self.entry = self.entry.wrapping_add(by);
        for segment in &mut self.segments {
            segment.address += by;
        }
        for symbol in &mut self.symbols {
            symbol.address = symbol.address.wrapping_add(by);
        }
        self.dynamic.shift(by);
        if let Some(tls) = &mut self.tls {
            tls.address = tls.address.wrapping_add(by);
        }
        if let Some((address, _)) = &mut self.program_headers {
            *address = address.wrapping_add(by);
        }
        if let Some(link) = &mut self.link {
            *link = LinkTables { addresses: link.addresses + by, tls: link.tls + by, stubs: link.stubs + by };
        }
        unwind::shift(&mut self.unwind, &mut self.eh_frame_hdr, self.link.is_some(), by);
        Ok(())
    }

    /// The bytes from `address` to the end of its segment; empty outside.
    #[must_use]
    pub fn bytes_at(&self, address: u64) -> &[u8] {
        bytes_at(&self.segments, address)
    }

    /// Overwrites bytes that are loaded. False if they are not.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let holds = |segment: &&mut Segment| (segment.address..segment.end()).contains(&address);
        let Some(segment) = self.segments.iter_mut().find(holds) else { return false };
        let offset = (address - segment.address) as usize;
        let Some(place) = segment.data.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) else {
            return false;
        };
        place.copy_from_slice(bytes);
        true
    }

    /// The word at an address, if it is loaded.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        self.bytes_at(address).first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }
}
