//! ELF files as guests. The only module of the harness that reads ELF for running.

use std::path::Path;

use kunwind::Format;
use object::elf::{self, FileHeader64, SectionHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};
use sha2::{Digest as _, Sha256};

use super::image::{MAX_MEMORY, whole_pages};
use super::{Guest, Segment, Symbol, Symbols};
use crate::cpu::{self, Cpu};

/// The most bytes that the names of all symbols may have: thirty times those of a kernel's. Names may overlap in the file, so that
/// its size is no bound.
const MAX_NAMES: usize = 1 << 28;

/// The sections of an ELF file that hold unwind data, in the order of the file. A linker leaves one section of a name; a
/// linker script may leave more.
#[derive(Debug, Clone, Default)]
pub struct UnwindSections {
    /// `.sframe`.
    pub sframe: Vec<LoadedSection>,
    /// `.eh_frame`.
    pub eh_frame: Vec<LoadedSection>,
    /// The size of `.eh_frame_hdr` in bytes, of all files together.
    pub index_size: usize,
    /// The addresses of each file, in a guest of several: each may have a `.sframe` of its own.
    pub files: Vec<std::ops::Range<u64>>,
    /// `.debug_frame`.
    pub debug_frame: Vec<LoadedSection>,
    /// `.orc_hints`: ORC unwind hints in hand-written code (guests/x86_64/include/orc.S).
    pub orc_hints: Option<LoadedSection>,
    /// A kernel's own ORC table, which it reads itself.
    pub orc: Option<OrcSections>,
    /// Sections with unwind data that could not be read, each with the reason.
    pub unread: Vec<UnreadSection>,
}

impl UnwindSections {
    /// Adds those of another file.
    pub fn add(&mut self, other: Self) {
        let Self { sframe, eh_frame, index_size, files, debug_frame, orc_hints, orc, unread } = other;
        self.sframe.extend(sframe);
        self.eh_frame.extend(eh_frame);
        self.index_size += index_size;
        self.files.extend(files);
        self.debug_frame.extend(debug_frame);
        self.orc_hints = self.orc_hints.take().or(orc_hints);
        self.orc = self.orc.take().or(orc);
        self.unread.extend(unread);
    }
}

/// The ORC table of a kernel image (arch/x86/kernel/unwind_orc.c).
#[derive(Debug, Clone)]
pub struct OrcSections {
    /// `.orc_unwind_ip`, with its address: its words are relative to themselves.
    pub offsets: LoadedSection,
    /// `.orc_unwind`.
    pub entries: Vec<u8>,
    /// `.orc_header`: the hash of the definitions that the entries follow.
    pub header: Vec<u8>,
}

/// A section with unwind data that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadSection {
    /// The format of the data.
    pub format: Format,
    /// Which section, why it cannot be read, and what to do.
    pub reason: String,
}

/// The type of sections with SFrame data (specification, 2; binutils `include/elf/common.h`).
const SHT_GNU_SFRAME: u32 = 0x6fff_fff4;

/// The bytes of a section, and where they are loaded.
#[derive(Debug, Clone)]
pub struct LoadedSection {
    /// The address of the first byte; 0 for a section that is not loaded.
    pub address: u64,
    /// The contents.
    pub data: Vec<u8>,
}

/// Reads a guest. An error says what is wrong with the file.
pub(super) fn parse(name: String, path: &Path, data: &[u8], cpu: &'static Cpu) -> Result<Guest, String> {
    let endian = LittleEndian;
    if !data.starts_with(&elf::ELFMAG) {
        return Err("it is no ELF file".to_owned());
    }
    let header = FileHeader64::<LittleEndian>::parse(data).map_err(|error| error.to_string())?;
    let machine = header.e_machine(endian).0;
    if machine != cpu.elf_machine {
        let is = cpu::ALL.iter().find(|other| other.elf_machine == machine);
        let is = is.map_or_else(|| format!("e_machine {machine}"), |other| other.name.to_owned());
        return Err(format!("it is for {is}, not for {}", cpu.name));
    }
    if header.e_type(endian) != elf::ET_EXEC {
        return Err(format!("e_type is {}, not ET_EXEC: link it to fixed addresses", header.e_type(endian).0));
    }
    let segments = segments(header, data)?;
    let symbols = Symbols::new(symbols(header, data)?);
    let unwind = unwind_sections(header, data)?;
    let hash = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Guest { name, path: path.to_path_buf(), hash, cpu, segments, symbols, unwind })
}

/// What is loaded, by address.
fn segments(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<Vec<Segment>, String> {
    let endian = LittleEndian;
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, data).map_err(|error| error.to_string())? {
        if segment.p_type(endian) != elf::PT_LOAD || segment.p_memsz(endian) == 0 {
            continue;
        }
        let address = segment.p_vaddr(endian);
        let bytes = segment
            .data(endian, data)
            .map_err(|()| format!("the segment at {address:#x} reaches beyond the end of the file: truncated?"))?;
        let flags = segment.p_flags(endian);
        let piece = Segment {
            address,
            data: bytes.to_vec(),
            executable: flags.contains(elf::PF_X),
            writable: flags.contains(elf::PF_W),
        };
        segments.push(whole_pages(piece, segment.p_memsz(endian))?);
    }
    segments.sort_by_key(|segment| segment.address);
    if segments.is_empty() {
        return Err("it has nothing to load".to_owned());
    }
    if segments.iter().map(|segment| segment.data.len() as u64).sum::<u64>() > MAX_MEMORY {
        return Err(format!("its segments need more than {MAX_MEMORY:#x} bytes of memory"));
    }
    match segments.windows(2).find(|pair| pair[0].end() > pair[1].address) {
        Some(pair) => Err(format!("two segments share the page at {:#x}", pair[1].address)),
        None => Ok(segments),
    }
}

/// The defined symbols of an ELF file that name a place in memory.
fn symbols(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<Vec<Symbol>, String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(|error| error.to_string())?;
    let (mut symbols, mut ends) = (Vec::new(), Vec::new());
    let mut name_bytes = 0;
    for symbol in table.iter() {
        let name = symbol.name(endian, table.strings()).map_err(|error| error.to_string())?;
        // `$x` and the like are mapping symbols (AAELF64), not names.
        let is_place = !symbol.is_undefined(endian) && symbol.st_shndx(endian) != elf::SHN_ABS;
        if is_place && !name.is_empty() && !name.starts_with(b"$") {
            let (value, size) = (symbol.st_value(endian), symbol.st_size(endian));
            if size > MAX_MEMORY || value.checked_add(size).is_none() {
                let name = String::from_utf8_lossy(name);
                return Err(format!("symbol {name} at {value:#x} has an impossible size of {size:#x}"));
            }
            name_bytes += name.len();
            if name_bytes > MAX_NAMES {
                return Err(format!("the names of its symbols have more than {MAX_NAMES:#x} bytes"));
            }
            symbols.push(Symbol {
                name: String::from_utf8_lossy(name).into_owned(),
                address: value,
                size,
                is_function: symbol.st_type() == elf::STT_FUNC,
                is_global: symbol.st_bind() != elf::STB_LOCAL,
                is_size_inferred: false,
            });
            let index = usize::from(symbol.st_shndx(endian).0);
            let section = sections.section(object::SectionIndex(index)).ok();
            let code = section.filter(|section| section.sh_flags(endian).contains(elf::SHF_EXECINSTR));
            ends.push(code.map(|code| code.sh_addr(endian).saturating_add(code.sh_size(endian))));
        }
    }
    infer_sizes(&mut symbols, &ends);
    Ok(symbols)
}

/// Gives functions without a size the extent to the next function or to the end of their section, and makes functions of global
/// symbols in code that lie in none: assembly often has neither `.size` nor `.type`. `ends` are the ends of the symbols' sections
/// where those hold code.
pub(crate) fn infer_sizes(symbols: &mut [Symbol], ends: &[Option<u64>]) {
    let starts = |symbols: &[Symbol]| -> Vec<u64> {
        let functions = symbols.iter().filter(|symbol| symbol.is_function);
        let mut starts: Vec<u64> = functions.map(|symbol| symbol.address).collect();
        starts.sort_unstable();
        starts
    };
    let extend = |symbols: &mut [Symbol]| {
        let starts = starts(symbols);
        for (symbol, end) in symbols.iter_mut().zip(ends) {
            let Some(end) = end.filter(|_| symbol.is_function && symbol.size == 0) else { continue };
            let next = starts[starts.partition_point(|start| *start <= symbol.address)..].first();
            symbol.size = next.map_or(end, |next| end.min(*next)).saturating_sub(symbol.address);
            symbol.is_size_inferred = true;
        }
    };
    extend(symbols);
    let mut covered: Vec<(u64, u64)> = Vec::new();
    covered.extend(symbols.iter().filter(|symbol| symbol.is_function).map(|it| (it.address, it.address + it.size)));
    covered.sort_unstable();
    // Functions may overlap, so the furthest end so far counts.
    let mut furthest = 0;
    for (_, end) in &mut covered {
        furthest = furthest.max(*end);
        *end = furthest;
    }
    for (symbol, end) in symbols.iter_mut().zip(ends) {
        let after = covered.partition_point(|(start, _)| *start <= symbol.address);
        let is_covered = covered[..after].last().is_some_and(|(_, end)| symbol.address < *end);
        let is_code = end.is_some_and(|end| symbol.address < end);
        symbol.is_function |= is_code && symbol.is_global && !is_covered;
    }
    extend(symbols);
}

/// The sections with unwind data, unparsed.
pub(crate) fn unwind_sections(header: &FileHeader64<LittleEndian>, data: &[u8]) -> Result<UnwindSections, String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let mut unwind = UnwindSections::default();
    for section in sections.iter() {
        let name = sections.section_name(endian, section).map_err(|error| error.to_string())?;
        let is_sframe = section.sh_type(endian).0 == SHT_GNU_SFRAME;
        let (name, format) = match name {
            b".sframe" => (".sframe", Format::SFrame),
            _ if is_sframe => (".sframe", Format::SFrame),
            b".eh_frame" => (".eh_frame", Format::Dwarf),
            b".debug_frame" => (".debug_frame", Format::Dwarf),
            b".zdebug_frame" => (".zdebug_frame", Format::Dwarf),
            b".orc_hints" => (".orc_hints", Format::Orc),
            _ => continue,
        };
        if section.sh_size(endian) == 0 {
            continue;
        }
        if let Some(why) = hidden(name, section) {
            unwind.unread.push(UnreadSection { format, reason: format!("the section {name} {why}") });
            continue;
        }
        let bytes = section
            .data(endian, data)
            .map_err(|_| format!("the section {name} reaches beyond the end of the file: truncated?"))?;
        let loaded = LoadedSection { address: section.sh_addr(endian), data: bytes.to_vec() };
        match name {
            ".sframe" => unwind.sframe.push(loaded),
            ".eh_frame" => unwind.eh_frame.push(loaded),
            ".debug_frame" => unwind.debug_frame.push(loaded),
            _ => unwind.orc_hints = Some(loaded),
        }
    }
    Ok(unwind)
}

/// Why the file does not show what is in a section, if it does not.
fn hidden(name: &str, section: &SectionHeader64<LittleEndian>) -> Option<&'static str> {
    let endian = LittleEndian;
    if name == ".zdebug_frame" || section.sh_flags(endian).contains(elf::SHF_COMPRESSED) {
        Some("is compressed: use objcopy --decompress-debug-sections")
    } else if section.sh_type(endian) == elf::SHT_NOBITS {
        Some("has no contents in this file (NOBITS): they are in the file from which it was split")
    } else {
        None
    }
}
