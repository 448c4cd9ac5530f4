//! A relocatable object, laid out as a linker would lay it out: its sections one after the other, and room for a table of addresses
//! and for stubs, so that everything can be reached. [`super::link`] fills them.

use object::elf;
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};

use super::dynamic::{Dynamic, DynamicSymbol, Relocation, SymbolKind, relocation};
use super::memory::Header;
use super::module::{LinkTables, Module, STUB_SIZE, TlsTemplate};
use super::names::{finish, is_name, named};
use crate::guest::{LoadedSection, MAX_MEMORY, PAGE, Segment, Symbol};

/// More sections or symbols than an object may have.
const MAX_COUNT: usize = 1 << 20;

/// `SHT_GNU_SFRAME` (binutils include/elf/common.h).
const SHT_GNU_SFRAME: u32 = 0x6fff_fff4;

/// What lies together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    Constants,
    Data,
    Tls,
}

impl Part {
    fn of(flags: u64, is_frames: bool) -> Option<Self> {
        let has = |flag: u64| flags & flag != 0;
        Some(match () {
            () if !has(elf::SHF_ALLOC.0) => is_frames.then_some(Self::Constants)?,
            () if has(elf::SHF_TLS.0) => Self::Tls,
            () if has(elf::SHF_EXECINSTR.0) => Self::Text,
            () if has(elf::SHF_WRITE.0) => Self::Data,
            () => Self::Constants,
        })
    }
}

/// Lays out an object from address 0 on.
pub(super) fn lay_out(module: &mut Module, header: &Header, data: &[u8]) -> Result<(), String> {
    let endian = LittleEndian;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let table = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(|error| error.to_string())?;
    if sections.len() > MAX_COUNT || table.len() > MAX_COUNT {
        return Err(format!("it has more than {MAX_COUNT} sections or symbols"));
    }
    let mut layout = Layout {
        addresses: vec![None; sections.len()],
        are_tls: vec![false; sections.len()],
        start: PAGE,
        open: Vec::new(),
        segments: Vec::new(),
        tls: None,
    };
    layout.place(Part::Text, &sections, data)?;
    layout.end_segment(true, false);
    layout.place(Part::Constants, &sections, data)?;
    layout.end_segment(false, false);
    layout.place(Part::Tls, &sections, data)?;
    layout.place(Part::Data, &sections, data)?;
    // Common variables, which no section holds (gABI chapter 4, SHN_COMMON): the value is the alignment.
    let mut commons = vec![None; table.len()];
    for (common, symbol) in commons.iter_mut().zip(table.iter()) {
        if symbol.st_shndx(endian) == elf::SHN_COMMON {
            *common = Some(layout.room(symbol.st_size(endian), symbol.st_value(endian))?);
        }
    }
    let count = table.len() as u64;
    let addresses = layout.room(8 * count, 16)?;
    let tls = layout.room(32 * count, 16)?;
    layout.end_segment(false, true);
    let stubs = layout.room(STUB_SIZE * count, 16)?;
    layout.end_segment(true, false);
    module.link = Some(LinkTables { addresses, tls, stubs });
    let (symbols, names) = symbols(&table, &layout, &commons)?;
    let (relocations, text) = relocations(module, &sections, &layout, data)?;
    if let Some(wrong) = relocations.iter().find(|relocation| relocation.symbol >= symbols.len()) {
        return Err(format!("a relocation names symbol {}, which is not there", wrong.symbol));
    }
    let constructors = constructors(&sections, &layout);
    module.tls = layout.tls;
    module.segments = merged(layout.segments)?;
    module.dynamic = Dynamic { symbols, relocations, constructors, ..Dynamic::default() };
    finish(module, names, &text);
    Ok(())
}

/// The symbols, by the index that relocations use, and names for addresses. `commons` are the addresses of common variables.
fn symbols(
    table: &SymbolTable<'_, Header>,
    layout: &Layout,
    commons: &[Option<u64>],
) -> Result<(Vec<DynamicSymbol>, Vec<Symbol>), String> {
    let endian = LittleEndian;
    let address_of = |symbol: usize, section: Option<usize>, value: u64| match commons[symbol] {
        Some(common) => Some(common),
        None => layout.addresses.get(section?).copied().flatten().map(|address| address.wrapping_add(value)),
    };
    let (mut symbols, mut names) = (Vec::new(), Vec::new());
    for (index, symbol) in table.iter().enumerate() {
        let name = symbol.name(endian, table.strings()).map_err(|error| error.to_string())?;
        let section = table.symbol_section(endian, symbol, object::SymbolIndex(index));
        let section = section.map_err(|error| error.to_string())?.map(|section| section.0);
        let mut kind = SymbolKind::of(symbol.st_info().0);
        if section.is_some_and(|section| layout.are_tls.get(section) == Some(&true)) {
            kind = SymbolKind::Tls;
        }
        let is_absolute = symbol.st_shndx(endian) == elf::SHN_ABS;
        let address = address_of(index, section, symbol.st_value(endian));
        // The offset of a thread-local variable is that in the block of all.
        let value = match (kind, address, layout.tls) {
            (SymbolKind::Tls, Some(address), Some(tls)) => address.wrapping_sub(tls.address),
            _ if is_absolute => symbol.st_value(endian),
            _ => address.unwrap_or_default(),
        };
        let text_name = String::from_utf8_lossy(name).into_owned();
        if let Some(address) =
            address.filter(|_| kind != SymbolKind::Tls && is_name(name) && !matches!(symbol.st_info().0 & 15, 3 | 4))
        {
            let is_global = symbol.st_bind() != elf::STB_LOCAL;
            names.push(named(text_name.clone(), (address, symbol.st_size(endian)), kind, is_global));
        }
        symbols.push(DynamicSymbol {
            name: text_name,
            version: None,
            is_hidden: false,
            kind,
            is_defined: address.is_some() || is_absolute,
            is_weak: symbol.st_bind() == elf::STB_WEAK,
            is_exported: symbol.st_bind() != elf::STB_LOCAL,
            is_absolute,
            value,
            size: symbol.st_size(endian),
        });
    }
    Ok((symbols, names))
}

/// The relocations of the sections that are laid out, and the ranges of code; notes where unwind data are.
fn relocations(
    module: &mut Module,
    sections: &SectionTable<'_, Header>,
    layout: &Layout,
    data: &[u8],
) -> Result<(Vec<Relocation>, Ranges), String> {
    let endian = LittleEndian;
    let mut text = Vec::new();
    let mut relocations = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let target = layout.addresses.get(section.sh_info(endian) as usize).copied().flatten();
        let kind = section.sh_type(endian);
        if let (Some(target), elf::SHT_RELA) = (target, kind) {
            let bytes = section.data(endian, data).map_err(|error| error.to_string())?;
            relocations.extend(bytes.chunks_exact(24).map(relocation).map(|mut relocation| {
                relocation.place = relocation.place.wrapping_add(target);
                relocation
            }));
        } else if target.is_some() && kind == elf::SHT_REL {
            return Err("its relocations have no addends (SHT_REL), which no 64-bit ABI here uses".to_owned());
        }
        if let Some(address) = layout.addresses[index] {
            if section.sh_flags(endian).contains(elf::SHF_EXECINSTR) {
                text.push((address, address + section.sh_size(endian)));
            }
            keep_frames(module, sections, index, (address, data))?;
        }
    }
    Ok((relocations, text))
}

/// The addresses of an object's constructors: its `.init_array`. Further ones of its kind (`.init_array.00100`) lie elsewhere, and are
/// left out.
fn constructors(sections: &SectionTable<'_, Header>, layout: &Layout) -> std::ops::Range<u64> {
    let endian = LittleEndian;
    let mut all = sections.iter().enumerate().filter(|(_, section)| section.sh_type(endian) == elf::SHT_INIT_ARRAY);
    let found = all.find_map(|(index, section)| Some((layout.addresses[index]?, section.sh_size(endian))));
    found.map_or(0..0, |(address, size)| address..address.saturating_add(size))
}

/// Ranges of addresses: the first, and the one after the last.
type Ranges = Vec<(u64, u64)>;

/// Notes where a section with unwind data is; its contents are read when it is relocated.
fn keep_frames(
    module: &mut Module,
    sections: &SectionTable<'_, Header>,
    index: usize,
    (address, data): (u64, &[u8]),
) -> Result<(), String> {
    let endian = LittleEndian;
    let section = sections.section(object::SectionIndex(index)).map_err(|error| error.to_string())?;
    let name = sections.section_name(endian, section).map_err(|error| error.to_string())?;
    let is_sframe = section.sh_type(endian).0 == SHT_GNU_SFRAME || name == b".sframe";
    let unwind = &mut module.unwind;
    let list = match name {
        _ if is_sframe => &mut unwind.sframe,
        b".eh_frame" => &mut unwind.eh_frame,
        b".debug_frame" => &mut unwind.debug_frame,
        _ => return Ok(()),
    };
    let data = section.data(endian, data).map_err(|error| error.to_string())?.to_vec();
    if !data.is_empty() {
        list.push(LoadedSection { address, data });
    }
    Ok(())
}

/// What has a place already.
struct Layout {
    /// By the index of the section.
    addresses: Vec<Option<u64>>,
    /// Whether a section holds thread-local variables, by its index.
    are_tls: Vec<bool>,
    /// Where the segment begins that is not ended yet, and its bytes.
    start: u64,
    open: Vec<u8>,
    segments: Vec<Segment>,
    tls: Option<TlsTemplate>,
}

impl Layout {
    /// Places the sections of a part, one after the other.
    fn place(&mut self, part: Part, sections: &SectionTable<'_, Header>, data: &[u8]) -> Result<(), String> {
        let endian = LittleEndian;
        let (mut align_most, mut extent) = (1, None);
        let mut file_end = 0;
        for (index, section) in sections.iter().enumerate() {
            let name = sections.section_name(endian, section).map_err(|error| error.to_string())?;
            let flags = section.sh_flags(endian).0;
            if Part::of(flags, name == b".debug_frame") != Some(part) {
                continue;
            }
            let (size, align) = (section.sh_size(endian), section.sh_addralign(endian));
            let address = self.room(size, align)?;
            self.addresses[index] = Some(address);
            self.are_tls[index] = part == Part::Tls;
            align_most = align_most.max(align);
            extent = Some((extent.map_or(address, |(start, _)| start), address + size));
            if section.sh_type(endian) != elf::SHT_NOBITS {
                let bytes = section.data(endian, data).map_err(|error| error.to_string())?;
                self.open[(address - self.start) as usize..][..bytes.len()].copy_from_slice(bytes);
                file_end = address + bytes.len() as u64;
            }
        }
        if let (Part::Tls, Some((start, end))) = (part, extent) {
            let file_size = file_end.saturating_sub(start);
            self.tls = Some(TlsTemplate { address: start, file_size, memory_size: end - start, align: align_most });
        }
        Ok(())
    }

    /// Finds room in the segment that is not ended yet.
    fn room(&mut self, size: u64, align: u64) -> Result<u64, String> {
        let align = align.max(1);
        if !align.is_power_of_two() || align > PAGE || size > MAX_MEMORY || self.open.len() as u64 > MAX_MEMORY {
            return Err(format!("a section has an impossible size of {size:#x} or alignment of {align:#x}"));
        }
        let offset = (self.open.len() as u64).next_multiple_of(align);
        self.open.resize((offset + size) as usize, 0);
        Ok(self.start + offset)
    }

    /// Ends the segment.
    fn end_segment(&mut self, executable: bool, writable: bool) {
        let mut data = std::mem::take(&mut self.open);
        data.resize((data.len() as u64).next_multiple_of(PAGE) as usize, 0);
        let address = self.start;
        self.start += data.len() as u64;
        if !data.is_empty() {
            self.segments.push(Segment { address, data, executable, writable });
        }
    }
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
