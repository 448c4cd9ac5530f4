//! Reading a file as a module, and modules as a guest.

use std::path::Path;

use object::elf;
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use sha2::{Digest as _, Sha256};

use super::dynamic::{self, Dynamic};
use super::memory::Header;
use super::module::{Kind, Module, TlsTemplate};
use super::{names, object as relocatable, refused, unwind};
use crate::cpu;
use crate::guest::{Guest, MAX_MEMORY, PAGE, Segment, Symbols, UnwindSections, whole_pages};
use crate::{Error, file};

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
}

fn parse(path: &Path, data: &[u8]) -> Result<Module, String> {
    let endian = LittleEndian;
    if !data.starts_with(&elf::ELFMAG) {
        return Err("it is no ELF file".to_owned());
    }
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
        (module.unwind, module.eh_frame_hdr) = unwind::read(&module.segments, header, data)?;
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
    module.segments = relocatable::merged(pieces)?;
    if let Some(address) = dynamic {
        module.dynamic = dynamic::read(&module.segments, address)?;
        if let Some(name) = &module.dynamic.soname {
            module.name.clone_from(name);
        }
    }
    Ok(())
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
        unwind.add(module.unwind.clone());
        unwind.index_size += module.eh_frame_hdr.as_ref().map_or(0, |index| index.data.len());
        let (low, high) = module.extent();
        unwind.files.push(low..high);
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
