//! Small ELF files of AMD64, byte by byte, and CFI for them.

use object::elf;

/// Where linked files begin; the first byte of the file lies there.
pub(crate) const BASE: u64 = 0x40_0000;
/// Where their code begins.
pub(crate) const TEXT: u64 = 0x40_1000;

/// A section.
#[derive(Clone)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) sh_type: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) data: Vec<u8>,
    /// What it says of its size, if that is not what it has.
    pub(crate) size: Option<u64>,
    pub(crate) link: u32,
    pub(crate) info: u32,
}

/// A symbol: name, section, value, size, type.
pub(crate) type Symbol = (&'static str, u16, u64, u64, u8);

pub(crate) const ALLOC: u64 = elf::SHF_ALLOC.0;
pub(crate) const CODE: u64 = elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0;
pub(crate) const PROGBITS: u32 = elf::SHT_PROGBITS.0;
pub(crate) const NOBITS: u32 = elf::SHT_NOBITS.0;
pub(crate) const FUNC: u8 = elf::STT_FUNC.0;

impl Section {
    pub(crate) fn new(name: &'static str, flags: u64, address: u64, data: Vec<u8>) -> Self {
        Self { name, sh_type: PROGBITS, flags, address, data, size: None, link: 0, info: 0 }
    }
}

/// A file while it is built: sections are numbered from 1 in their order.
#[derive(Clone)]
pub(crate) struct ElfFile {
    pub(crate) is_object: bool,
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
    /// Type, flags, address, size in the file, size in memory.
    pub(crate) segments: Vec<(u32, u32, u64, u64, u64)>,
    /// The address of its first byte.
    pub(crate) base: u64,
    /// Bytes that belong to nothing, as if they were symbols and debug information.
    pub(crate) extra: usize,
}

impl ElfFile {
    /// A program of a page of code.
    pub(crate) fn program() -> Self {
        Self::program_at(BASE)
    }

    /// The same somewhere else.
    pub(crate) fn program_at(base: u64) -> Self {
        let text = base.wrapping_add(TEXT - BASE);
        Self {
            is_object: false,
            sections: vec![Section::new(".text", CODE, text, vec![0x90; 0x1000])],
            symbols: Vec::new(),
            segments: vec![
                (elf::PT_LOAD.0, elf::PF_R.0, base, 0x1000, 0x1000),
                (elf::PT_LOAD.0, elf::PF_R.0 | elf::PF_X.0, text, 0x1000, 0x1000),
            ],
            base,
            extra: 0,
        }
    }

    /// An object with 64 bytes of code, and a symbol for it.
    pub(crate) fn object() -> Self {
        Self {
            is_object: true,
            sections: vec![Section::new(".text", CODE, 0, vec![0x90; 64])],
            symbols: vec![("f", 1, 0, 64, FUNC)],
            segments: Vec::new(),
            base: 0,
            extra: 0,
        }
    }

    /// Adds a section, and gives its number.
    pub(crate) fn add(&mut self, section: Section) -> u32 {
        self.sections.push(section);
        self.sections.len() as u32
    }

    /// Adds a section of a linked file that is not loaded.
    pub(crate) fn with(mut self, name: &'static str, data: Vec<u8>) -> Self {
        self.add(Section::new(name, 0, 0, data));
        self
    }

    /// Adds relocations for a section: place, symbol, type, addend.
    pub(crate) fn relocate(&mut self, section: u32, relocations: &[(u64, u32, u32, i64)]) {
        let mut data = Vec::new();
        for (offset, symbol, r_type, addend) in relocations {
            data.extend_from_slice(&offset.to_le_bytes());
            data.extend_from_slice(&(u64::from(*symbol) << 32 | u64::from(*r_type)).to_le_bytes());
            data.extend_from_slice(&addend.to_le_bytes());
        }
        let mut relocations = Section::new(".rela", 0, 0, data);
        relocations.sh_type = elf::SHT_RELA.0;
        // The symbols come after all sections.
        relocations.link = u32::MAX;
        relocations.info = section;
        self.add(relocations);
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut sections = self.sections.clone();
        let symtab = sections.len() as u32 + 1;
        let (symbols, strings) = self.symbol_table();
        let mut table = Section::new(".symtab", 0, 0, symbols);
        (table.sh_type, table.link, table.info) = (elf::SHT_SYMTAB.0, symtab + 1, 1);
        let mut names = Section::new(".strtab", 0, 0, strings);
        names.sh_type = elf::SHT_STRTAB.0;
        let mut section_names = Section::new(".shstrtab", 0, 0, Vec::new());
        section_names.sh_type = elf::SHT_STRTAB.0;
        sections.extend([table, names, section_names]);

        let mut name_places = Vec::new();
        let mut name_bytes = vec![0];
        for section in &sections {
            name_places.push(name_bytes.len() as u32);
            name_bytes.extend_from_slice(section.name.as_bytes());
            name_bytes.push(0);
        }
        if let Some(last) = sections.last_mut() {
            last.data = name_bytes;
        }

        let mut bytes = vec![0; 64];
        for segment in &self.segments {
            bytes.extend_from_slice(&self.program_header(*segment));
        }
        // What is loaded lies in the file as in memory.
        let mut places = vec![0; sections.len()];
        for (place, section) in places.iter_mut().zip(&sections).filter(|(_, section)| self.is_loaded(section)) {
            *place = section.address.wrapping_sub(self.base) as usize;
            let end = *place + section.data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*place..end].copy_from_slice(&section.data);
        }
        for (place, section) in places.iter_mut().zip(&sections).filter(|(_, section)| !self.is_loaded(section)) {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            *place = bytes.len();
            bytes.extend_from_slice(&section.data);
        }
        bytes.resize((bytes.len() + self.extra).next_multiple_of(8), 0);
        let headers = bytes.len() as u64;
        bytes.extend_from_slice(&[0; 64]);
        for ((section, place), name) in sections.iter().zip(&places).zip(&name_places) {
            let link = if section.link == u32::MAX { symtab } else { section.link };
            bytes.extend_from_slice(&section_header(section, *name, *place as u64, link));
        }
        let header = self.file_header(headers, sections.len() as u16 + 1);
        bytes[..64].copy_from_slice(&header);
        bytes
    }

    fn is_loaded(&self, section: &Section) -> bool {
        !self.is_object && section.flags & ALLOC != 0 && section.sh_type != NOBITS
    }

    fn symbol_table(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut symbols, mut strings) = (vec![0; 24], vec![0]);
        for (name, section, value, size, st_type) in &self.symbols {
            symbols.extend_from_slice(&(strings.len() as u32).to_le_bytes());
            symbols.extend_from_slice(&[elf::STB_GLOBAL.0 << 4 | st_type, 0]);
            symbols.extend_from_slice(&section.to_le_bytes());
            symbols.extend_from_slice(&value.to_le_bytes());
            symbols.extend_from_slice(&size.to_le_bytes());
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        (symbols, strings)
    }

    fn program_header(&self, (p_type, flags, address, in_file, in_memory): (u32, u32, u64, u64, u64)) -> Vec<u8> {
        let offset = address.wrapping_sub(self.base);
        let words = [offset, address, address, in_file, in_memory, 0x1000];
        let start = [p_type, flags].into_iter().flat_map(u32::to_le_bytes);
        start.chain(words.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    fn file_header(&self, sections: u64, count: u16) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let e_type = if self.is_object { elf::ET_REL.0 } else { elf::ET_EXEC.0 };
        header.extend([e_type, elf::EM_X86_64.0].into_iter().flat_map(u16::to_le_bytes));
        header.extend(1_u32.to_le_bytes());
        let segments = if self.segments.is_empty() { 0 } else { 64 };
        header.extend([self.base.wrapping_add(TEXT - BASE), segments, sections].into_iter().flat_map(u64::to_le_bytes));
        header.extend(0_u32.to_le_bytes());
        let halves = [64, 56, self.segments.len() as u16, 64, count, count - 1];
        header.extend(halves.into_iter().flat_map(u16::to_le_bytes));
        header
    }
}

fn section_header(section: &Section, name: u32, place: u64, link: u32) -> Vec<u8> {
    let size = section.size.unwrap_or(section.data.len() as u64);
    let mut header: Vec<u8> = [name, section.sh_type].into_iter().flat_map(u32::to_le_bytes).collect();
    header.extend([section.flags, section.address, place, size].into_iter().flat_map(u64::to_le_bytes));
    header.extend([link, section.info].into_iter().flat_map(u32::to_le_bytes));
    let entry = match section.sh_type {
        found if found == elf::SHT_SYMTAB.0 || found == elf::SHT_RELA.0 => 24,
        _ => 0,
    };
    header.extend([8_u64, entry].into_iter().flat_map(u64::to_le_bytes));
    header
}

/// `.eh_frame` or `.debug_frame`, with absolute addresses of 8 bytes: a CIE of 24 bytes, and functions of 32 each that push at
/// their first byte.
pub(crate) fn cfi(is_eh_frame: bool, functions: &[(u64, u64)]) -> Vec<u8> {
    let entry = |body: &[u8]| {
        let length = body.len().next_multiple_of(8) + 4;
        let mut bytes = (length as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes.resize(length + 4, 0);
        bytes
    };
    let cie_id: u32 = if is_eh_frame { 0 } else { u32::MAX };
    let cie = [&cie_id.to_le_bytes()[..], &[1, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1]].concat();
    let mut bytes = entry(&cie);
    for (start, size) in functions {
        let pointer = if is_eh_frame { bytes.len() as u32 + 4 } else { 0 };
        let parts = [&pointer.to_le_bytes()[..], &start.to_le_bytes(), &size.to_le_bytes(), &[0x41, 0x0e, 16]];
        bytes.extend_from_slice(&entry(&parts.concat()));
    }
    bytes
}

/// Where the `index`th function of [`cfi`] begins.
pub(crate) const fn fde(index: usize) -> usize {
    24 + 32 * index
}
