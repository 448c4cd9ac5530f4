//! Finds SFrame sections in ELF files, and applies the relocations of those in object files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use kunwind::sframe::{SFrameAbi, SFrameSection};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _, Relocation, RelocationFlags, RelocationTarget};
use object::{Endianness, ObjectKind, SectionFlags, SectionIndex, elf};

use super::refuse;
use super::source::{Bytes, MAX_PIECE, Source};
use crate::Error;

type File<'a> = ElfFile64<'a, Endianness, Bytes<'a>>;

/// A file with SFrame sections.
pub(super) struct Input<'a> {
    /// The sections, at least one.
    pub(super) tables: Vec<Table<'a>>,
    /// The addresses of code; empty where they are unknown.
    pub(super) text: Vec<Range<u64>>,
    /// The ABI of the file's machine; `None` for raw bytes, or if the format has no ABI for the machine.
    pub(super) abi: Option<SFrameAbi>,
    /// Whether it is an object file: its addresses are offsets in sections.
    pub(super) is_relocatable: bool,
}

/// One section.
pub(super) struct Table<'a> {
    /// Its name.
    pub(super) name: String,
    /// Its bytes.
    pub(super) data: Cow<'a, [u8]>,
    /// Its address; `None` for raw bytes of which it is not known.
    pub(super) address: Option<u64>,
    /// In object files: the code section, or the symbol of another file, to which the start at this offset is relative.
    pub(super) targets: BTreeMap<usize, String>,
    /// The size of its segment `PT_GNU_SFRAME`, in bytes.
    segment_size: Option<u64>,
}

impl<'a> Table<'a> {
    const fn new(name: String, data: &'a [u8], address: Option<u64>) -> Self {
        Self { name, data: Cow::Borrowed(data), address, targets: BTreeMap::new(), segment_size: None }
    }

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

impl<'a> Input<'a> {
    /// Reads a file: ELF, or the raw bytes of a section, which lies at `base` if that is given.
    ///
    /// # Errors
    ///
    /// When it is neither, is truncated, or has no SFrame section; or an ELF file has a `base`.
    pub(super) fn read(path: &Path, source: &'a Source, base: Option<u64>) -> Result<Self, Error> {
        if source.starts_with(&elf::ELFMAG) {
            if base.is_some() {
                let reason = "an ELF file says where its section is; --base is for the raw bytes of one";
                return Err(refuse(path, reason.to_owned()));
            }
            return Self::parse(source.bytes()).map_err(|reason| refuse(path, reason));
        }
        // 0xdee2, in either byte order.
        if source.starts_with(&[0xe2, 0xde]) || source.starts_with(&[0xde, 0xe2]) {
            let too_large =
                |()| refuse(path, format!("it has {} bytes, and at most {MAX_PIECE} are read", source.len()));
            let data = object::ReadRef::read_bytes_at(source.bytes(), 0, source.len()).map_err(too_large)?;
            let tables = vec![Table::new("raw section".to_owned(), data, base)];
            return Ok(Self { tables, text: Vec::new(), abi: None, is_relocatable: false });
        }
        let is = if source.len() == 0 { "an empty file" } else { "neither an ELF file nor a raw SFrame section" };
        Err(refuse(
            path,
            format!("{is}; give an ELF file, or the bytes of its section .sframe (`objcopy -O binary -j`)"),
        ))
    }

    /// Reads an ELF file.
    ///
    /// # Errors
    ///
    /// As [`Input::read`].
    pub(super) fn parse(data: Bytes<'a>) -> Result<Self, String> {
        let malformed = |error: object::Error| format!("malformed or truncated ELF: {error}");
        let ident = object::ReadRef::read_bytes_at(data, 0, 16).map_err(|()| "a truncated ELF file")?;
        if ident.get(4) == Some(&elf::ELFCLASS32.0) {
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
            let mut table = table(&section)?;
            // A file may have several sections, and the segment is of one of them.
            let own = segment.filter(|segment| segment.p_vaddr(endian) == section.address() && !is_relocatable);
            table.segment_size = own.map(|segment| segment.p_filesz(endian));
            if is_relocatable && abi.is_none() && section.relocations().next().is_some() {
                return Err(format!("{}: its relocations cannot be applied: {}", table.name, no_abi(&file)));
            }
            if is_relocatable {
                relocate(&file, section.relocations(), abi, &mut table)?;
            }
            tables.push(table);
        }
        if tables.is_empty()
            && let Some(segment) = segment
        {
            tables.push(segment_table(endian, segment, data)?);
        }
        if tables.is_empty() {
            return Err(no_section(&file, abi));
        }
        let text = if is_relocatable { Vec::new() } else { text(&file) };
        Ok(Self { tables, text, abi, is_relocatable })
    }

    /// Writes notes on how the file holds a section, and on what follows its data.
    pub(super) fn remarks(
        &self,
        table: &Table<'_>,
        section: Option<&SFrameSection<'_>>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let (name, size) = (&table.name, table.data.len() as u64);
        if let Some(segment) = table.segment_size
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
        if table.address.is_none() {
            writeln!(out, "{name}: note: starts are distances from its own; --base ADDR says where it is loaded")?;
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

/// A section of an ELF file, with its bytes.
fn table<'a>(section: &object::read::elf::ElfSection64<'a, '_, Endianness, Bytes<'a>>) -> Result<Table<'a>, String> {
    let name = String::from_utf8_lossy(section.name_bytes().unwrap_or(b"a section")).into_owned();
    let SectionFlags::Elf { sh_type, sh_flags, .. } = section.flags() else {
        return Err(format!("{name}: not of ELF"));
    };
    let size = section.size();
    if sh_type == elf::SHT_NOBITS {
        return Err(format!("{name} has no bytes (NOBITS): a file with debug information only; give the stripped one"));
    }
    if sh_flags.contains(elf::SHF_COMPRESSED) {
        return Err(format!("{name} is compressed; `objcopy --decompress-debug-sections` undoes it"));
    }
    if size > MAX_PIECE {
        return Err(format!("{name} has {size} bytes, and at most {MAX_PIECE} are read"));
    }
    let data = section.data().map_err(|error| format!("{name}: {error}: is the file truncated?"))?;
    Ok(Table::new(name, data, Some(section.address())))
}

/// The segment of a file without section headers, as far as the SFrame header says that it is used: what is left over
/// belongs to nobody.
fn segment_table<'a>(
    endian: Endianness,
    segment: &elf::ProgramHeader64<Endianness>,
    file: Bytes<'a>,
) -> Result<Table<'a>, String> {
    let bytes = segment.data(endian, file);
    let bytes = bytes.map_err(|()| "PT_GNU_SFRAME reaches beyond the end of the file, or is too large")?;
    let address = segment.p_vaddr(endian);
    let used = SFrameSection::parse(bytes, address).map_or(bytes.len(), |section| section.len());
    let mut table = Table::new("PT_GNU_SFRAME".to_owned(), &bytes[..used], Some(address));
    table.segment_size = Some(segment.p_filesz(endian));
    Ok(table)
}

/// Why nothing makes a section for the machine of a file.
fn no_abi(file: &File<'_>) -> String {
    let (machine, name) = (file.elf_header().e_machine(file.endian()).0, file.architecture());
    let abis = SFrameAbi::ALL.map(SFrameAbi::name).join(", ");
    format!("SFrame has no ABI for machine {machine} ({name:?}), in any version; it has {abis}")
}

/// What to do about a file without a section.
fn no_section(file: &File<'_>, abi: Option<SFrameAbi>) -> String {
    if abi.is_none() {
        return format!("no SFrame section; {}", no_abi(file));
    }
    let mut names = file.sections().filter_map(|section| section.name_bytes().ok());
    let cfi = names.find(|name| [&b".eh_frame"[..], b".debug_frame", b".zdebug_frame"].contains(name));
    let assemble = "assemble with `as --gsframe` (gcc -Wa,--gsframe)";
    cfi.map_or_else(
        || format!("no SFrame section; {assemble}"),
        |name| {
            let name = String::from_utf8_lossy(name);
            format!("no SFrame section; `unwind-harness sframe encode` makes one from its {name}, or {assemble}")
        },
    )
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

/// Applies the relocations of starts, as if every section, and every symbol of another file, were at address 0.
fn relocate(
    file: &File<'_>,
    relocations: impl Iterator<Item = (u64, Relocation)>,
    abi: Option<SFrameAbi>,
    table: &mut Table<'_>,
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
        let (target, address) = match symbol.section_index() {
            Some(section) => (section_name(file, section), symbol.address()),
            None => {
                let name = String::from_utf8_lossy(symbol.name_bytes().unwrap_or_default());
                (format!("undefined {name}"), 0)
            }
        };
        let at =
            usize::try_from(offset).ok().filter(|at| at.checked_add(size).is_some_and(|end| end <= table.data.len()));
        let at = at.ok_or_else(|| format!("{place}: outside of the section"))?;
        let value = address.wrapping_add_signed(relocation.addend()).wrapping_sub(offset);
        let field = &mut table.data.to_mut()[at..at + size];
        if file.is_little_endian() {
            field.copy_from_slice(&value.to_le_bytes()[..size]);
        } else {
            field.copy_from_slice(&value.to_be_bytes()[8 - size..]);
        }
        table.targets.insert(at, target);
    }
    Ok(())
}

fn section_name(file: &File<'_>, index: SectionIndex) -> String {
    let section = file.section_by_index(index);
    let name = section.as_ref().ok().and_then(|section| section.name_bytes().ok());
    name.map_or_else(|| format!("section {}", index.0), |name| String::from_utf8_lossy(name).into_owned())
}
