//! Adds sections to an ELF file, after everything that it holds.
//!
//! No byte of the file moves, so no reference has to be found and changed, except in the header, which then points to new tables
//! at the end. In a linked file, the new program headers and the section are in one new segment, read-only and above all others.

use object::elf::{
    self, PF_R, PT_GNU_SFRAME, PT_LOAD, PT_PHDR, ProgramHeader64, Rela64, SHF_ALLOC, SHF_INFO_LINK, SHT_GNU_SFRAME,
    SHT_RELA, SectionHeader64,
};
use object::endian::{Endianness, I64, U32, U64};
use object::pod::{bytes_of, bytes_of_slice};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{ReadRef as _, SectionIndex};

use super::cfi_file::Elf;
use super::source::Addition;

/// `sh_addralign` of the section, in bytes.
const ALIGN: u64 = 8;
/// The largest hole that a file gets so that the new segment has the same distance from its file offset as the first one.
/// A hole takes no room on most file systems. In bytes.
const MAX_HOLE: u64 = 8 << 30;
/// The smallest alignment for the new segment.
const MIN_PAGE: u64 = 0x1000;
/// The largest.
const MAX_PAGE: u64 = 16 << 20;

const NO_ROOM: &str = "there is no address above its segments";

const PROGRAM_HEADER: u64 = size_of::<ProgramHeader64<Endianness>>() as u64;

/// Where the new segment of a linked file goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Its place in the file. The section comes first, and then the program headers: `llvm-strip` takes a segment for a part
    /// of the first that begins where it does, and would lay this one out as it does PT_PHDR, without its alignment.
    offset: u64,
    /// Its address, which is that of the section.
    pub(super) address: u64,
    page: u64,
    /// How many bytes of nothing there are before the segment, beyond what its alignment takes.
    pub(super) hole: u64,
    /// Whether loaders that compute the address of the program headers, instead of looking for it, find them.
    pub(super) is_found: bool,
}

fn align(value: u64, to: u64) -> Option<u64> {
    value.checked_next_multiple_of(to)
}

fn file_len(elf: &Elf<'_>) -> Result<u64, String> {
    elf.data.len().map_err(|()| "its size cannot be had".to_owned())
}

impl Plan {
    /// Finds room above all segments.
    ///
    /// Programs find their program headers by AT_PHDR. Linux before 5.18 (`create_elf_tables`) and qemu before 8.0
    /// (linux-user) compute it: the offset of the headers in the file plus the distance between the address and the
    /// offset of the first segment. So the new segment, in which they are, gets the same distance. If the file
    /// is longer than its segments, because of symbols or debug information, that means a higher address; if the
    /// segments are longer than the file, because of .bss, a hole in the file.
    pub(super) fn new(elf: &Elf<'_>) -> Result<Self, String> {
        let endian = elf.endian;
        let loads = || elf.segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
        let first = loads()
            .next()
            .ok_or("nothing in it is loaded (no PT_LOAD), so a section could not be either; encode the linked file")?;
        let page = loads().map(|segment| segment.p_align(endian)).max().unwrap_or(0).max(MIN_PAGE);
        if !page.is_power_of_two() || page > MAX_PAGE {
            return Err(format!("its segments are aligned to {page:#x} bytes"));
        }
        let full = || NO_ROOM.to_owned();
        let ends = loads().map(|segment| segment.p_vaddr(endian).checked_add(segment.p_memsz(endian)));
        let end = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()).ok_or_else(full)?;
        let near = align(end, page).ok_or_else(full)?;
        let behind = align(file_len(elf)?, page).ok_or_else(full)?;
        let distance = i128::from(first.p_vaddr(endian)) - i128::from(first.p_offset(endian));
        let segment = i128::from(near).max(distance + i128::from(behind));
        let alike = u64::try_from(segment).ok().zip(u64::try_from(segment - distance).ok());
        let alike = alike.filter(|(_, offset)| offset - behind <= MAX_HOLE && distance % i128::from(page) == 0);
        let (address, offset) = alike.unwrap_or((near, behind));
        Ok(Self { offset, address, page, hole: offset - behind, is_found: alike.is_some() })
    }

    /// The program headers, which lie `before` bytes after the start of the new segment, with those of the segment and of the
    /// section.
    fn program_headers(
        &self,
        elf: &Elf<'_>,
        size: u64,
        before: u64,
    ) -> Result<Vec<ProgramHeader64<Endianness>>, String> {
        let endian = elf.endian;
        let segment = |p_type, at, size, align| ProgramHeader64 {
            p_type: U32::new(endian, p_type),
            p_flags: U32::new(endian, PF_R),
            p_offset: U64::new(endian, self.offset + at),
            p_vaddr: U64::new(endian, self.address + at),
            p_paddr: U64::new(endian, self.address + at),
            p_filesz: U64::new(endian, size),
            p_memsz: U64::new(endian, size),
            p_align: U64::new(endian, align),
        };
        let mut headers: Vec<_> =
            elf.segments.iter().copied().filter(|header| header.p_type(endian) != PT_GNU_SFRAME).collect();
        let own = (headers.len() as u64 + 2) * PROGRAM_HEADER;
        let end = before + own;
        if self.address.checked_add(end).is_none() {
            return Err(NO_ROOM.to_owned());
        }
        for header in &mut headers {
            if header.p_type(endian) == PT_PHDR {
                *header = segment(PT_PHDR, before, own, ALIGN);
            }
        }
        // gABI, chapter 5: loadable segment entries appear in ascending order of p_vaddr.
        let last = headers.iter().rposition(|header| header.p_type(endian) == PT_LOAD).unwrap_or(0);
        headers.insert(last + 1, segment(PT_LOAD, 0, end, self.page));
        headers.push(segment(PT_GNU_SFRAME, 0, size, ALIGN));
        Ok(headers)
    }

    /// What the file gets for the section.
    pub(super) fn add(&self, elf: &Elf<'_>, section: &[u8]) -> Result<Addition, String> {
        let mut out = Output::new(elf, self.offset)?;
        let offset = out.push(section, ALIGN);
        let size = section.len() as u64;
        let headers = self.program_headers(elf, size, size.next_multiple_of(ALIGN))?;
        let place = out.push(bytes_of_slice(&headers), ALIGN);
        let count = u16::try_from(headers.len()).ok().filter(|count| *count != elf::PN_XNUM);
        out.header.e_phnum.set(elf.endian, count.ok_or("too many segments")?);
        out.header.e_phoff.set(elf.endian, place);
        out.add_sframe(elf, self.address, offset, section.len());
        Ok(out.finish(elf))
    }
}

/// Why a section of a relocatable file cannot be taken out of use: something speaks of it.
fn check_unused(elf: &Elf<'_>, index: SectionIndex) -> Result<(), String> {
    let endian = elf.endian;
    let is_in = |(at, symbol): (object::SymbolIndex, &elf::Sym64<Endianness>)| {
        symbol.st_type() != elf::STT_FILE && elf.symbols.symbol_section(endian, symbol, at) == Ok(Some(index))
    };
    let is_group = |section: &SectionHeader64<Endianness>| section.sh_type(endian) == elf::SHT_GROUP;
    if elf.symbols.enumerate().any(is_in) || elf.sections.iter().any(is_group) {
        return Err("it has several .sframe sections, and symbols or groups speak of them; `objcopy -R .sframe` first"
            .to_owned());
    }
    Ok(())
}

/// What a relocatable file gets for the section and the relocations of its starts: place, symbol, addend.
pub(super) fn relocatable(elf: &Elf<'_>, section: &[u8], starts: &[(usize, u32, i64)]) -> Result<Addition, String> {
    let endian = elf.endian;
    if elf.sframes().count() > 1 {
        elf.sframes().try_for_each(|index| check_unused(elf, index))?;
    }
    let r_type = elf.abi.start_relocation(8).ok_or("the ABI has no relocation for it")?;
    let relocations: Vec<_> = starts
        .iter()
        .map(|(offset, symbol, addend)| Rela64 {
            r_offset: U64::new(endian, *offset as u64),
            r_info: U64::new(endian, u64::from(*symbol) << 32 | u64::from(r_type)),
            r_addend: I64::new(endian, *addend),
        })
        .collect();
    let mut out = Output::new(elf, align(file_len(elf)?, ALIGN).ok_or("it is too large")?)?;
    let offset = out.push(section, ALIGN);
    let index = out.add_sframe(elf, 0, offset, section.len());
    let offset = out.push(bytes_of_slice(&relocations), ALIGN);
    let name = out.add_name(b".rela.sframe");
    let header = SectionHeader64 {
        sh_name: U32::new(endian, name),
        sh_type: U32::new(endian, SHT_RELA),
        sh_flags: U64::new(endian, elf::SectionFlags(SHF_INFO_LINK.0)),
        sh_addr: U64::new(endian, 0),
        sh_offset: U64::new(endian, offset),
        sh_size: U64::new(endian, size_of_val(relocations.as_slice()) as u64),
        sh_link: U32::new(endian, elf.symbols.section().0 as u32),
        sh_info: U32::new(endian, index),
        sh_addralign: U64::new(endian, ALIGN),
        sh_entsize: U64::new(endian, size_of::<Rela64<Endianness>>() as u64),
    };
    let slot = elf.sframes().next().and_then(|index| elf.relocations_of(index)).map(|(index, _)| index.0);
    out.add_header(slot, header);
    Ok(out.finish(elf))
}

/// A header of type SHT_NULL, which is out of use and belongs to no section (gABI).
fn unused_header(endian: Endianness) -> SectionHeader64<Endianness> {
    SectionHeader64 {
        sh_name: U32::new(endian, 0),
        sh_type: U32::new(endian, elf::SHT_NULL),
        sh_flags: U64::new(endian, elf::SectionFlags(0)),
        sh_addr: U64::new(endian, 0),
        sh_offset: U64::new(endian, 0),
        sh_size: U64::new(endian, 0),
        sh_link: U32::new(endian, 0),
        sh_info: U32::new(endian, 0),
        sh_addralign: U64::new(endian, 0),
        sh_entsize: U64::new(endian, 0),
    }
}

/// What comes behind a file, while it grows.
struct Output {
    /// Where it begins in the copy.
    offset: u64,
    bytes: Vec<u8>,
    header: elf::FileHeader64<Endianness>,
    sections: Vec<SectionHeader64<Endianness>>,
    /// The names of sections, and the section that holds them.
    names: Vec<u8>,
    names_index: usize,
}

impl Output {
    fn new(elf: &Elf<'_>, offset: u64) -> Result<Self, String> {
        let names_index =
            elf.header.shstrndx(elf.endian, elf.data).map_err(|error| format!("the names of sections: {error}"))?;
        let mut sections: Vec<_> = elf.sections.iter().copied().collect();
        let names_index = names_index as usize;
        let names = sections.get(names_index).ok_or("there is no section with the names of sections")?;
        let names = names.data(elf.endian, elf.data).map_err(|error| format!("the names of sections: {error}"))?;
        // From there on, section numbers are reserved and counts are stored elsewhere (gABI, SHN_LORESERVE).
        if sections.len() + 2 >= usize::from(elf::SHN_LORESERVE) {
            return Err("too many sections".to_owned());
        }
        // The first section with SFrame data is replaced, and others would be taken for it. Sections keep their numbers.
        for index in elf.sframes().skip(1) {
            let relocations = elf.relocations_of(index).map(|(index, _)| index);
            for index in [Some(index), relocations].into_iter().flatten() {
                sections[index.0] = unused_header(elf.endian);
            }
        }
        Ok(Self { offset, bytes: Vec::new(), header: *elf.header, names: names.to_vec(), sections, names_index })
    }

    /// Appends bytes and returns their place in the copy. The output begins at a multiple of each `align`.
    fn push(&mut self, bytes: &[u8], align: u64) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align as usize), 0);
        let offset = self.offset + self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        offset
    }

    fn add_name(&mut self, name: &[u8]) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.names.push(0);
        at
    }

    /// Adds a section, or replaces another.
    fn add_header(&mut self, slot: Option<usize>, header: SectionHeader64<Endianness>) -> u32 {
        let slot = slot.unwrap_or(self.sections.len());
        match self.sections.get_mut(slot) {
            Some(place) => *place = header,
            None => self.sections.push(header),
        }
        slot as u32
    }

    fn add_sframe(&mut self, elf: &Elf<'_>, address: u64, offset: u64, size: usize) -> u32 {
        let endian = elf.endian;
        let name = self.add_name(b".sframe");
        let header = SectionHeader64 {
            sh_name: U32::new(endian, name),
            sh_type: U32::new(endian, SHT_GNU_SFRAME),
            sh_flags: U64::new(endian, elf::SectionFlags(SHF_ALLOC.0)),
            sh_addr: U64::new(endian, address),
            sh_offset: U64::new(endian, offset),
            sh_size: U64::new(endian, size as u64),
            sh_link: U32::new(endian, 0),
            sh_info: U32::new(endian, 0),
            sh_addralign: U64::new(endian, ALIGN),
            sh_entsize: U64::new(endian, 0),
        };
        self.add_header(elf.sframes().next().map(|index| index.0), header)
    }

    /// Appends the names and the section headers, and points the header of the file at them.
    fn finish(mut self, elf: &Elf<'_>) -> Addition {
        let names = std::mem::take(&mut self.names);
        let offset = self.push(&names, 1);
        let header = &mut self.sections[self.names_index];
        header.sh_offset.set(elf.endian, offset);
        header.sh_size.set(elf.endian, names.len() as u64);
        let sections = std::mem::take(&mut self.sections);
        let offset = self.push(bytes_of_slice(&sections), ALIGN);
        self.header.e_shoff.set(elf.endian, offset);
        self.header.e_shnum.set(elf.endian, sections.len() as u16);
        Addition { header: bytes_of(&self.header).to_vec(), offset: self.offset, bytes: self.bytes }
    }
}
