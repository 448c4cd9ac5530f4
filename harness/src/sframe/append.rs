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

use super::cfi_file::Elf;

/// `sh_addralign` of the section, in bytes.
const ALIGN: u64 = 8;
/// How much a file may grow so that the new segment has the same distance from its file offset as the first one.
const MAX_GAP: u64 = 16 << 20;
/// The smallest alignment for the new segment.
const MIN_PAGE: u64 = 0x1000;

const PROGRAM_HEADER: u64 = size_of::<ProgramHeader64<Endianness>>() as u64;

/// Where the new segment of a linked file goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Its place in the file: the program headers come first.
    offset: u64,
    /// Its address.
    segment: u64,
    page: u64,
    /// How many program headers there will be.
    headers: u64,
    /// The address of the section.
    pub(super) address: u64,
}

fn align(value: u64, to: u64) -> Option<u64> {
    value.checked_next_multiple_of(to)
}

impl Plan {
    /// Finds room above all segments.
    pub(super) fn new(elf: &Elf<'_>) -> Result<Self, String> {
        let endian = elf.endian;
        let loads = || elf.segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
        let first = loads()
            .min_by_key(|segment| segment.p_offset(endian))
            .ok_or("nothing in it is loaded (no PT_LOAD), so a section could not be either; encode the linked file")?;
        let page = loads().map(|segment| segment.p_align(endian)).max().unwrap_or(0).max(MIN_PAGE);
        if !page.is_power_of_two() || page > MAX_GAP {
            return Err(format!("its segments are aligned to {page:#x} bytes"));
        }
        let full = || "there is no address above its segments".to_owned();
        let ends = loads().map(|segment| segment.p_vaddr(endian).checked_add(segment.p_memsz(endian)));
        let end = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max()).ok_or_else(full)?;
        let segment = align(end, page).ok_or_else(full)?;
        let file_end = elf.data.len() as u64;
        // Old kernels compute AT_PHDR from the distance of the first segment from its file offset.
        let distance = first.p_vaddr(endian).wrapping_sub(first.p_offset(endian));
        let alike = segment.wrapping_sub(distance);
        let offset = if alike >= file_end && alike - file_end <= MAX_GAP {
            alike
        } else {
            align(file_end, page).ok_or_else(full)?
        };
        let has_sframe = elf.segments.iter().any(|segment| segment.p_type(endian) == PT_GNU_SFRAME);
        let headers = elf.segments.len() as u64 + 1 + u64::from(!has_sframe);
        let address =
            segment.checked_add(headers * PROGRAM_HEADER).and_then(|end| align(end, ALIGN)).ok_or_else(full)?;
        Ok(Self { offset, segment, page, headers, address })
    }

    /// The program headers, with those of the new segment and of the section.
    fn program_headers(&self, elf: &Elf<'_>, section: &[u8]) -> Vec<ProgramHeader64<Endianness>> {
        let endian = elf.endian;
        let segment = |p_type, p_offset, address, size, align| ProgramHeader64 {
            p_type: U32::new(endian, p_type),
            p_flags: U32::new(endian, PF_R),
            p_offset: U64::new(endian, p_offset),
            p_vaddr: U64::new(endian, address),
            p_paddr: U64::new(endian, address),
            p_filesz: U64::new(endian, size),
            p_memsz: U64::new(endian, size),
            p_align: U64::new(endian, align),
        };
        let size = section.len() as u64;
        let before = self.address - self.segment;
        let mut headers: Vec<_> =
            elf.segments.iter().copied().filter(|header| header.p_type(endian) != PT_GNU_SFRAME).collect();
        for header in &mut headers {
            if header.p_type(endian) == PT_PHDR {
                *header = segment(PT_PHDR, self.offset, self.segment, self.headers * PROGRAM_HEADER, 8);
            }
        }
        // gABI, chapter 5: loadable segment entries appear in ascending order of p_vaddr.
        let last = headers.iter().rposition(|header| header.p_type(endian) == PT_LOAD).unwrap_or(0);
        headers.insert(last + 1, segment(PT_LOAD, self.offset, self.segment, before + size, self.page));
        headers.push(segment(PT_GNU_SFRAME, self.offset + before, self.address, size, ALIGN));
        headers
    }

    /// The file with the section.
    pub(super) fn write(&self, elf: &Elf<'_>, section: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Output::new(elf)?;
        out.bytes.resize(usize::try_from(self.offset).map_err(|_| "too large for this machine".to_owned())?, 0);
        let headers = self.program_headers(elf, section);
        let count = u16::try_from(headers.len()).ok().filter(|count| *count != elf::PN_XNUM);
        out.header.e_phnum.set(elf.endian, count.ok_or("too many segments")?);
        out.header.e_phoff.set(elf.endian, self.offset);
        out.bytes.extend_from_slice(bytes_of_slice(&headers));
        let offset = out.push(section, ALIGN);
        out.add_sframe(elf, self.address, offset, section.len());
        Ok(out.finish(elf))
    }
}

/// The relocatable file with the section and the relocations of its starts: place, symbol, addend.
pub(super) fn relocatable(
    elf: &Elf<'_>,
    section: &[u8],
    starts: &[(usize, u32, i64)],
    symbols: u32,
) -> Result<Vec<u8>, String> {
    let endian = elf.endian;
    let r_type = elf.abi.start_relocation(8).ok_or("the ABI has no relocation for it")?;
    let relocations: Vec<_> = starts
        .iter()
        .map(|(offset, symbol, addend)| Rela64 {
            r_offset: U64::new(endian, *offset as u64),
            r_info: U64::new(endian, u64::from(*symbol) << 32 | u64::from(r_type)),
            r_addend: I64::new(endian, *addend),
        })
        .collect();
    let mut out = Output::new(elf)?;
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
        sh_link: U32::new(endian, symbols),
        sh_info: U32::new(endian, index),
        sh_addralign: U64::new(endian, ALIGN),
        sh_entsize: U64::new(endian, size_of::<Rela64<Endianness>>() as u64),
    };
    let slot = elf.sframe().and_then(|index| elf.relocations_of(index)).map(|(index, _)| index.0);
    out.add_header(slot, header);
    Ok(out.finish(elf))
}

/// The new file while it grows.
struct Output {
    bytes: Vec<u8>,
    header: elf::FileHeader64<Endianness>,
    sections: Vec<SectionHeader64<Endianness>>,
    /// The names of sections, and the section that holds them.
    names: Vec<u8>,
    names_index: usize,
}

impl Output {
    fn new(elf: &Elf<'_>) -> Result<Self, String> {
        let names_index =
            elf.header.shstrndx(elf.endian, elf.data).map_err(|error| format!("the names of sections: {error}"))?;
        let sections: Vec<_> = elf.sections.iter().copied().collect();
        let names_index = names_index as usize;
        let names = sections.get(names_index).ok_or("there is no section with the names of sections")?;
        let names = names.data(elf.endian, elf.data).map_err(|error| format!("the names of sections: {error}"))?;
        // From there on, section numbers are reserved and counts are stored elsewhere (gABI, SHN_LORESERVE).
        if sections.len() + 2 >= usize::from(elf::SHN_LORESERVE) {
            return Err("too many sections".to_owned());
        }
        Ok(Self { bytes: elf.data.to_vec(), header: *elf.header, names: names.to_vec(), sections, names_index })
    }

    /// Appends bytes and returns their place.
    fn push(&mut self, bytes: &[u8], align: u64) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align as usize), 0);
        let offset = self.bytes.len() as u64;
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
        self.add_header(elf.sframe().map(|index| index.0), header)
    }

    /// Appends the names and the section headers, and points the header of the file at them.
    fn finish(mut self, elf: &Elf<'_>) -> Vec<u8> {
        let names = std::mem::take(&mut self.names);
        let offset = self.push(&names, 1);
        let header = &mut self.sections[self.names_index];
        header.sh_offset.set(elf.endian, offset);
        header.sh_size.set(elf.endian, names.len() as u64);
        let sections = std::mem::take(&mut self.sections);
        let offset = self.push(bytes_of_slice(&sections), ALIGN);
        self.header.e_shoff.set(elf.endian, offset);
        self.header.e_shnum.set(elf.endian, sections.len() as u16);
        let header = bytes_of(&self.header);
        self.bytes[..header.len()].copy_from_slice(header);
        self.bytes
    }
}
