//! The ELF file `vmlinux`, with or without symbols.

use object::elf::{self, FileHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};

use super::{Load, MAX_IMAGE};
use crate::guest::Symbol;

pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// The most bytes that the names of all symbols may have: thirty times those of a kernel's. Names may overlap in the file.
const MAX_NAMES: usize = 1 << 28;

/// `e_machine`, what is loaded, and the symbols.
pub(super) fn read(data: &[u8]) -> Result<(u16, Vec<Load>, Vec<Symbol>), String> {
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(data).map_err(|error| format!("ELF: {error}"))?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(format!("ELF: e_type is {}: no linked vmlinux", header.e_type(endian).0));
    }
    Ok((header.e_machine(endian).0, loads(header, data)?, symbols(header, data)?))
}

fn loads(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<Vec<Load>, String> {
    let endian = LittleEndian;
    let mut loads: Vec<Load> = Vec::new();
    // From physical addresses to the addresses of the kernel's text.
    let mut text = None;
    for segment in header.program_headers(endian, data).map_err(|error| format!("ELF: {error}"))? {
        if segment.p_type(endian) != elf::PT_LOAD || segment.p_memsz(endian) == 0 {
            continue;
        }
        let (mut address, physical) = (segment.p_vaddr(endian), segment.p_paddr(endian));
        if address >> 63 == 1 {
            text = text.or(Some(address.wrapping_sub(physical)));
        } else {
            // The per-CPU area of x86-64 before 6.15 is linked at 0 and loaded among the rest (`__per_cpu_load`).
            let text = text.ok_or_else(|| format!("ELF: the first load is at {address:#x}, in user space"))?;
            address = physical.wrapping_add(text);
        }
        let bytes = segment
            .data(endian, data)
            .map_err(|()| format!("ELF: the load at {address:#x} reaches beyond the end of the file: truncated?"))?;
        loads.push(Load::new(address, bytes.to_vec(), segment.p_memsz(endian))?);
        if loads.iter().map(|load| load.memory_size).sum::<u64>() > MAX_IMAGE {
            return Err(format!("ELF: its loads need more than {MAX_IMAGE:#x} bytes"));
        }
    }
    loads.sort_by_key(|load| load.address);
    match loads.windows(2).find(|pair| pair[0].end() > pair[1].address) {
        Some(pair) => Err(format!("ELF: two loads share the address {:#x}", pair[1].address)),
        None if loads.is_empty() => Err("ELF: it has nothing to load".to_owned()),
        None => Ok(loads),
    }
}

fn symbols(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<Vec<Symbol>, String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| format!("ELF: {error}"))?;
    let table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(|error| format!("ELF: {error}"))?;
    let mut found = Vec::new();
    let mut name_bytes = 0;
    for symbol in table.iter() {
        let name = symbol.name(endian, table.strings()).map_err(|error| format!("ELF: {error}"))?;
        let is_place = !symbol.is_undefined(endian) && symbol.st_shndx(endian) != elf::SHN_ABS;
        let is_name = matches!(symbol.st_type(), elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC)
            && !name.is_empty()
            && !name.starts_with(b"$") // mapping symbols (AAELF64, RISC-V ELF psABI)
            && !name.starts_with(b".L");
        if !is_place || !is_name {
            continue;
        }
        name_bytes += name.len();
        if name_bytes > MAX_NAMES {
            return Err(format!("ELF: the names of its symbols have more than {MAX_NAMES:#x} bytes"));
        }
        found.push(Symbol {
            name: String::from_utf8_lossy(name).into_owned(),
            address: symbol.st_value(endian),
            size: symbol.st_size(endian).min(MAX_IMAGE),
            is_function: symbol.st_type() == elf::STT_FUNC,
            is_global: symbol.st_bind() != elf::STB_LOCAL,
            is_size_inferred: symbol.st_size(endian) == 0,
        });
    }
    Ok(found)
}
