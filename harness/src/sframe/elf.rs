//! Finds SFrame sections in ELF files, and applies the relocations of those in object files.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use kunwind::sframe::{SFrameAbi, SFrameSection};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _, Relocation, RelocationFlags, RelocationTarget};
use object::{Endianness, ObjectKind, SectionFlags, SectionIndex, elf};

use super::refuse;
use crate::{Error, file};

type File<'a> = ElfFile64<'a, Endianness>;

/// A file with SFrame sections.
pub(super) struct Input {
    /// The sections, at least one.
    pub(super) tables: Vec<Table>,
    /// The addresses of code; empty where they are unknown.
    pub(super) text: Vec<Range<u64>>,
    /// The ABI of the file's machine; `None` for raw bytes, or if the format has no ABI for the machine.
    pub(super) abi: Option<SFrameAbi>,
    /// Whether it is an object file: its addresses are offsets in sections.
    pub(super) is_relocatable: bool,
    /// The size of the segment `PT_GNU_SFRAME`, in bytes.
    segment_size: Option<u64>,
}

/// One section.
pub(super) struct Table {
    /// Its name.
    pub(super) name: String,
    /// Its bytes.
    pub(super) data: Vec<u8>,
    /// Its address; `None` for raw bytes.
    pub(super) address: Option<u64>,
    /// In object files: the code section to which the start at this offset is relative.
    pub(super) targets: BTreeMap<usize, String>,
}

impl Table {
    /// Parses the section.
    ///
    /// # Errors
    ///
    /// Those of `kunwind`; an empty section is an error.
    pub(super) fn section(&self) -> Result<SFrameSection<'_>, kunwind::sframe::Error> {
        match self.address {
            Some(address) => SFrameSection::parse(&self.data, address),
            None => SFrameSection::parse_unplaced(&self.data),
        }
    }
}

impl Input {
    /// Reads a file: ELF, or the raw bytes of a section.
    ///
    /// # Errors
    ///
    /// When it is neither, is truncated, or has no SFrame section.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let data = file::read(path, file::MAX_BINARY)?;
        if data.starts_with(&elf::ELFMAG) {
            return Self::parse(&data).map_err(|reason| refuse(path, reason));
        }
        // 0xdee2, in either byte order.
        if data.starts_with(&[0xe2, 0xde]) || data.starts_with(&[0xde, 0xe2]) {
            let table = Table { name: "raw section".to_owned(), data, address: None, targets: BTreeMap::new() };
            let tables = vec![table];
            return Ok(Self { tables, text: Vec::new(), abi: None, is_relocatable: false, segment_size: None });
        }
        let is = if data.is_empty() { "an empty file" } else { "neither an ELF file nor a raw SFrame section" };
        Err(refuse(
            path,
            format!("{is}; give an ELF file, or the bytes of its section .sframe (`objcopy -O binary -j`)"),
        ))
    }

    fn parse(data: &[u8]) -> Result<Self, String> {
        let malformed = |error: object::Error| format!("malformed or truncated ELF: {error}");
        if data.get(4) == Some(&elf::ELFCLASS32.0) {
            return Err("a 32-bit ELF file: SFrame has only 64-bit ABIs".to_owned());
        }
        let file = File::parse(data).map_err(malformed)?;
        let endian = file.endian();
        let machine = file.elf_header().e_machine(endian).0;
        let abi = SFrameAbi::of_elf(machine, !file.is_little_endian());
        let is_relocatable = file.kind() == ObjectKind::Relocatable;
        let segments = file.elf_program_headers();
        let segment = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_SFRAME);
        let mut tables = Vec::new();
        for section in file.sections().filter(is_table) {
            let name = String::from_utf8_lossy(section.name_bytes().map_err(malformed)?).into_owned();
            let data = section.data().map_err(|error| format!("{name}: {error}: is the file truncated?"))?.to_vec();
            let mut table = Table { name, data, address: Some(section.address()), targets: BTreeMap::new() };
            if is_relocatable {
                relocate(&file, section.relocations(), abi, &mut table)?;
            }
            tables.push(table);
        }
        if tables.is_empty()
            && let Some(segment) = segment
        {
            // A file without section headers; the SFrame header says how much of the segment is used.
            let bytes = segment.data(endian, data).map_err(|()| "PT_GNU_SFRAME reaches beyond the end of the file")?;
            let name = "PT_GNU_SFRAME".to_owned();
            let address = Some(segment.p_vaddr(endian));
            tables.push(Table { name, data: bytes.to_vec(), address, targets: BTreeMap::new() });
        }
        if tables.is_empty() {
            return Err("no SFrame section; assemble with `as --gsframe` (gcc -Wa,--gsframe)".to_owned());
        }
        let text = if is_relocatable { Vec::new() } else { text(&file) };
        let segment_size = segment.map(|segment| segment.p_filesz(endian));
        Ok(Self { tables, text, abi, is_relocatable, segment_size })
    }

    /// Writes notes on how the file holds a section, and on what follows its data.
    pub(super) fn remarks(
        &self,
        table: &Table,
        section: Option<&SFrameSection<'_>>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let (name, size) = (&table.name, table.data.len() as u64);
        if let Some(segment) = self.segment_size
            && segment > size
        {
            writeln!(
                out,
                "{name}: note: PT_GNU_SFRAME has {segment:#x} bytes, the section {size:#x}: the rest is left over"
            )?;
        }
        if self.is_relocatable {
            let how = if table.targets.is_empty() { "not relocated" } else { "offsets in the sections of code" };
            writeln!(out, "{name}: note: an object file: starts are {how}")?;
        }
        match section.and_then(SFrameSection::tail) {
            Some((offset, true)) => writeln!(
                out,
                "{name}: note: another section begins at {offset:#x}: a linker concatenated them, and no reader gets beyond the \
                 first"
            ),
            Some((offset, false)) => {
                writeln!(out, "{name}: note: there is unknown data after the end, at {offset:#x}")
            }
            None => Ok(()),
        }
    }
}

/// By type, which GNU as sets since 2.45, or by name.
fn is_table<'a>(section: &impl object::ObjectSection<'a>) -> bool {
    let is_typed = matches!(section.flags(), SectionFlags::Elf { sh_type, .. } if sh_type == elf::SHT_GNU_SFRAME);
    is_typed || section.name_bytes() == Ok(b".sframe")
}

/// The addresses of code: executable segments, or where there are none, executable sections.
fn text(file: &File<'_>) -> Vec<Range<u64>> {
    let endian = file.endian();
    let range = |address: u64, size: u64| address..address.saturating_add(size);
    let segments = file.elf_program_headers().iter();
    let mut text: Vec<_> = segments
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(elf::PF_X))
        .map(|segment| range(segment.p_vaddr(endian), segment.p_memsz(endian)))
        .collect();
    if text.is_empty() {
        let is_text =
            |flags| matches!(flags, SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(elf::SHF_EXECINSTR));
        let sections = file.sections().filter(|section| is_text(section.flags()));
        text = sections.map(|section| range(section.address(), section.size())).collect();
    }
    text
}

/// Applies the relocations of starts, as if every section were at address 0.
fn relocate(
    file: &File<'_>,
    relocations: impl Iterator<Item = (u64, Relocation)>,
    abi: Option<SFrameAbi>,
    table: &mut Table,
) -> Result<(), String> {
    for (offset, relocation) in relocations {
        let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
        let number = r_type.0;
        // The linker dropped it.
        if number == 0 {
            continue;
        }
        let place = format!("relocation of type {number} at {offset:#x} of {}", table.name);
        let is_start = |size: &usize| abi.and_then(|abi| abi.start_relocation(*size)) == Some(number);
        let size =
            [8, 4].into_iter().find(is_start).ok_or_else(|| format!("{place}: not that of a function's start"))?;
        let RelocationTarget::Symbol(index) = relocation.target() else {
            return Err(format!("{place}: without a symbol"));
        };
        let symbol = file.symbol_by_index(index).map_err(|error| format!("{place}: {error}"))?;
        let section =
            symbol.section_index().ok_or_else(|| format!("{place}: its symbol is not defined in this file"))?;
        let at =
            usize::try_from(offset).ok().filter(|at| at.checked_add(size).is_some_and(|end| end <= table.data.len()));
        let at = at.ok_or_else(|| format!("{place}: outside of the section"))?;
        let value = symbol.address().wrapping_add_signed(relocation.addend()).wrapping_sub(offset);
        if file.is_little_endian() {
            table.data[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        } else {
            table.data[at..at + size].copy_from_slice(&value.to_be_bytes()[8 - size..]);
        }
        table.targets.insert(at, section_name(file, section));
    }
    Ok(())
}

fn section_name(file: &File<'_>, index: SectionIndex) -> String {
    let section = file.section_by_index(index);
    let name = section.as_ref().ok().and_then(|section| section.name_bytes().ok());
    name.map_or_else(|| format!("section {}", index.0), |name| String::from_utf8_lossy(name).into_owned())
}
