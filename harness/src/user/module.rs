//! One ELF file as a module of a program: what is loaded, what it defines and asks for, and its unwind data.

use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use sha2::{Digest as _, Sha256};

use super::dynamic::{self, Dynamic};
use super::object::LinkTables;
use super::{names, object as relocatable, refused, unwind};
use crate::cpu::{self, Cpu};
use crate::guest::{Guest, LoadedSection, MAX_MEMORY, PAGE, Segment, Symbol, Symbols, UnwindSections, whole_pages};
use crate::{Error, file};

pub(super) type Header = FileHeader64<LittleEndian>;

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
    /// Reads a file; the load bias is 0.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, else as [`Module::parse`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(path, &file::read(path, file::MAX_BINARY)?)
    }

    /// Reads the bytes of a file; `path` is for messages and the name.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when it is not a 64-bit little-endian ELF file for a CPU that is known, or is malformed.
    pub fn parse(path: &Path, data: &[u8]) -> Result<Self, Error> {
        parse(path, data).map_err(|reason| refused(path, reason))
    }

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
        unwind::shift(self, by);
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

pub(super) fn bytes_at(segments: &[Segment], address: u64) -> &[u8] {
    segments
        .iter()
        .find(|segment| (segment.address..segment.end()).contains(&address))
        .map_or(&[], |segment| &segment.data[(address - segment.address) as usize..])
}

fn parse(path: &Path, data: &[u8]) -> Result<Module, String> {
    let endian = LittleEndian;
    let header = Header::parse(data).map_err(|error| error.to_string())?;
    let machine = header.e_machine(endian).0;
    let cpu = cpu::ALL.iter().copied().find(|cpu| cpu.elf_machine == machine);
    let cpu = cpu.ok_or_else(|| format!("it is for e_machine {machine}; there are {}", cpu::names()))?;
    let hash = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = match header.e_type(endian) {
        elf::ET_EXEC => Kind::Fixed,
        elf::ET_DYN => Kind::Shared,
        elf::ET_REL => Kind::Object,
        other => return Err(format!("e_type is {}: it is neither linked nor an object", other.0)),
    };
    let mut module = Module {
        path: path.to_path_buf(),
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        hash,
        cpu,
        kind,
        bias: 0,
        entry: header.e_entry(endian),
        segments: Vec::new(),
        symbols: Vec::new(),
        dynamic: Dynamic::default(),
        tls: None,
        interpreter: None,
        program_headers: None,
        unwind: UnwindSections::default(),
        eh_frame_hdr: None,
        link: None,
    };
    if kind == Kind::Object {
        relocatable::lay_out(&mut module, header, data)?;
    } else {
        load(&mut module, header, data)?;
        names::read(&mut module, header, data)?;
        unwind::read(&mut module, header, data)?;
        names::complete(&mut module);
    }
    Ok(module)
}

/// Reads what the program headers of a linked file describe.
fn load(module: &mut Module, header: &Header, data: &[u8]) -> Result<(), String> {
    let endian = LittleEndian;
    let headers = header.program_headers(endian, data).map_err(|error| error.to_string())?;
    let mut dynamic = None;
    let mut pieces = Vec::new();
    for part in headers {
        let (address, size) = (part.p_vaddr(endian), part.p_memsz(endian));
        match part.p_type(endian) {
            elf::PT_LOAD if size > 0 => {
                let bytes = part.data(endian, data).map_err(|()| {
                    format!("the segment at {address:#x} reaches beyond the end of the file: truncated?")
                })?;
                let flags = part.p_flags(endian);
                let (executable, writable) = (flags.contains(elf::PF_X), flags.contains(elf::PF_W));
                pieces.push(whole_pages(Segment { address, data: bytes.to_vec(), executable, writable }, size)?);
                let (offset, table) = (part.p_offset(endian), header.e_phoff(endian));
                let end = table + headers.len() as u64 * u64::from(header.e_phentsize(endian));
                if offset <= table && end <= offset.saturating_add(part.p_filesz(endian)) {
                    module.program_headers = Some((address.wrapping_add(table - offset), headers.len() as u64));
                }
            }
            elf::PT_DYNAMIC => dynamic = Some(address),
            elf::PT_TLS => {
                let (file_size, align) = (part.p_filesz(endian), part.p_align(endian).max(1));
                if size > MAX_MEMORY || file_size > size || !align.is_power_of_two() || align > PAGE {
                    return Err(format!("PT_TLS has an impossible size of {size:#x} or alignment of {align:#x}"));
                }
                module.tls = Some(TlsTemplate { address, file_size, memory_size: size, align });
            }
            elf::PT_INTERP => {
                let bytes = part.data(endian, data).map_err(|()| "PT_INTERP lies outside of the file".to_owned())?;
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                module.interpreter = Some(String::from_utf8_lossy(text).into_owned());
            }
            _ => {}
        }
    }
    module.segments = merged(pieces)?;
    if let Some(address) = dynamic {
        module.dynamic = dynamic::read(module, address)?;
        if let Some(name) = &module.dynamic.soname {
            module.name.clone_from(name);
        }
    }
    Ok(())
}

/// Sorts segments, and makes one of those that share a page; such a page has the permissions of both.
pub(super) fn merged(mut pieces: Vec<Segment>) -> Result<Vec<Segment>, String> {
    pieces.sort_by_key(|piece| piece.address);
    let mut segments: Vec<Segment> = Vec::new();
    for piece in pieces {
        let Some(last) = segments.last_mut().filter(|last| piece.address < last.end()) else {
            segments.push(piece);
            continue;
        };
        let at = (piece.address - last.address) as usize;
        last.data.resize(last.data.len().max(at + piece.data.len()), 0);
        for (old, new) in last.data[at..].iter_mut().zip(&piece.data) {
            *old |= new; // around its own bytes, a piece of whole pages is zero
        }
        last.executable |= piece.executable;
        last.writable |= piece.writable;
    }
    let size: u64 = segments.iter().map(|segment| segment.data.len() as u64).sum();
    match size {
        0 => Err("it has nothing to load".to_owned()),
        size if size > MAX_MEMORY => Err(format!("it needs more than {MAX_MEMORY:#x} bytes of memory")),
        _ => Ok(segments),
    }
}

/// A guest of several modules, the first of which gives it its name. Names that modules share are those of the first that has them;
/// in the others, the module's name stands before them: `ld.so:memcpy`.
#[must_use]
pub fn guest(modules: &[Module], name: String) -> Option<Guest> {
    let first = modules.first()?;
    let mut unwind = UnwindSections::default();
    let mut segments = Vec::new();
    for module in modules {
        segments.extend(module.segments.iter().cloned());
        unwind.eh_frame.extend(module.unwind.eh_frame.iter().cloned());
        unwind.debug_frame.extend(module.unwind.debug_frame.iter().cloned());
        unwind.sframe.extend(module.unwind.sframe.iter().cloned());
        unwind.unread.extend(module.unwind.unread.iter().cloned());
    }
    segments.sort_by_key(|segment| segment.address);
    Some(Guest {
        name,
        path: first.path.clone(),
        hash: first.hash.clone(),
        cpu: first.cpu,
        segments,
        symbols: Symbols::new(names::of_all(modules)),
        unwind,
    })
}
