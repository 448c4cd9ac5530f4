//! An ELF file with CFI, as `encode` needs it.

use std::collections::BTreeMap;

use kunwind::dwarf::{Cfi, CfiSection, Columns, make_readable};
use kunwind::sframe::SFrameAbi;
use object::Endianness;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, Rela as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};
use object::read::{FileKind, Object as _, SectionIndex};

type Header = FileHeader64<Endianness>;

/// A parsed file.
pub(super) struct Elf<'a> {
    pub(super) data: &'a [u8],
    pub(super) header: &'a Header,
    pub(super) endian: Endianness,
    pub(super) segments: &'a [ProgramHeader64<Endianness>],
    pub(super) sections: SectionTable<'a, Header>,
    pub(super) abi: SFrameAbi,
    symbols: SymbolTable<'a, Header>,
}

/// A section with CFI, relocated.
pub(super) struct OwnedCfi {
    pub(super) name: &'static str,
    section: CfiSection,
    bytes: Vec<u8>,
    readable: Vec<u8>,
    address: u64,
    columns: Columns,
    /// In a relocatable file: the symbols and addends, by offset in the section.
    targets: BTreeMap<u64, (u32, i64)>,
}

impl OwnedCfi {
    pub(super) fn cfi(&self) -> Cfi<'_> {
        let Self { section, bytes, readable, address, columns, .. } = self;
        Cfi { section: *section, bytes, readable, address: *address, columns: *columns }
    }

    /// The symbol and the addend that an FDE has for the start of its function.
    pub(super) fn start_of(&self, fde: usize) -> Option<(u32, i64)> {
        let is_long = self.bytes.get(fde..fde + 4) == Some(&[0xff; 4]);
        let field = match (self.section, is_long) {
            (_, false) => 8,
            (CfiSection::EhFrame, true) => 16,
            (CfiSection::DebugFrame, true) => 20,
        };
        self.targets.get(&(fde as u64 + field)).copied()
    }
}

/// Whether a relocation is relative to its place, and how many bytes it fills; `None` for a type that CFI does not need.
fn form(abi: SFrameAbi, r_type: u32) -> Option<(bool, usize)> {
    let is = |number: Option<u32>| number == Some(r_type);
    [8, 4].into_iter().find_map(|size| {
        let is_relative = is(abi.start_relocation(size));
        (is_relative || is(abi.address_relocation(size))).then_some((is_relative, size))
    })
}

impl<'a> Elf<'a> {
    /// Parses a file.
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, String> {
        match FileKind::parse(data) {
            Ok(FileKind::Elf64) => {}
            Ok(FileKind::Elf32) => return Err("a 32-bit ELF file, and all ABIs of SFrame are 64-bit".to_owned()),
            _ => return Err("not an ELF file".to_owned()),
        }
        let broken = |error: object::Error| format!("a damaged or truncated ELF file: {error}");
        let header = Header::parse(data).map_err(broken)?;
        let endian = header.endian().map_err(broken)?;
        let machine = header.e_machine(endian);
        let abi = SFrameAbi::of_elf(machine.0, endian == Endianness::Big).ok_or_else(|| {
            let name = object::File::parse(data).map_or(object::Architecture::Unknown, |file| file.architecture());
            let abis = SFrameAbi::ALL.map(SFrameAbi::name).join(", ");
            format!("SFrame has no ABI for machine {} ({name:?}), in any version; it has {abis}", machine.0)
        })?;
        let segments = header.program_headers(endian, data).map_err(broken)?;
        let sections = header.sections(endian, data).map_err(broken)?;
        if sections.is_empty() {
            return Err(
                "there are no section headers, so the CFI cannot be found; use the file before it was stripped"
                    .to_owned(),
            );
        }
        let symbols = sections.symbols(endian, data, elf::SHT_SYMTAB).map_err(broken)?;
        Ok(Self { data, header, endian, segments, sections, abi, symbols })
    }

    /// Whether it is a relocatable file (ET_REL).
    pub(super) fn is_relocatable(&self) -> bool {
        self.header.e_type(self.endian) == elf::ET_REL
    }

    /// The section of that name.
    pub(super) fn section(&self, name: &str) -> Option<(SectionIndex, &'a SectionHeader64<Endianness>)> {
        self.sections.section_by_name(self.endian, name.as_bytes())
    }

    /// The section with SFrame data, by name or by type.
    pub(super) fn sframe(&self) -> Option<SectionIndex> {
        let by_type = || {
            let mut sections = self.sections.enumerate();
            sections.find(|(_, section)| section.sh_type(self.endian) == elf::SHT_GNU_SFRAME)
        };
        self.section(".sframe").or_else(by_type).map(|(index, _)| index)
    }

    /// The function symbol at an address of a linked file.
    pub(super) fn name_of(&self, address: u64) -> Option<&'a str> {
        let is_it = |symbol: &&elf::Sym64<Endianness>| {
            symbol.st_type() == elf::STT_FUNC && symbol.st_value(self.endian) == address
        };
        let symbol = self.symbols.iter().find(is_it)?;
        std::str::from_utf8(symbol.name(self.endian, self.symbols.strings()).ok()?).ok()
    }

    /// The section with the symbols.
    pub(super) fn symbol_table(&self) -> u32 {
        self.symbols.section().0 as u32
    }

    /// The section with relocations for another, if there is one.
    pub(super) fn relocations_of(
        &self,
        index: SectionIndex,
    ) -> Option<(SectionIndex, &'a SectionHeader64<Endianness>)> {
        self.sections.enumerate().find(|(_, section)| {
            section.sh_type(self.endian) == elf::SHT_RELA && section.sh_info(self.endian) as usize == index.0
        })
    }

    /// `.eh_frame`, else `.debug_frame`.
    pub(super) fn cfi(&self) -> Result<OwnedCfi, String> {
        for (name, section) in [(".eh_frame", CfiSection::EhFrame), (".debug_frame", CfiSection::DebugFrame)] {
            let Some((index, header)) = self.section(name) else { continue };
            let flags = header.sh_flags(self.endian);
            if flags.contains(elf::SHF_COMPRESSED) {
                return Err(format!("{name} is compressed; `objcopy --decompress-debug-sections` undoes it"));
            }
            let bytes = header.data(self.endian, self.data).map_err(|error| format!("{name}: {error}"))?;
            if bytes.len() <= 4 {
                continue;
            }
            let mut cfi = OwnedCfi {
                name,
                section,
                bytes: bytes.to_vec(),
                readable: Vec::new(),
                address: header.sh_addr(self.endian),
                columns: Columns::from(self.abi),
                targets: BTreeMap::new(),
            };
            if self.is_relocatable() {
                self.relocate(index, &mut cfi)?;
            }
            cfi.readable.clone_from(&cfi.bytes);
            make_readable(section, &mut cfi.readable, self.abi.is_big_endian());
            return Ok(cfi);
        }
        Err("no CFI: neither .eh_frame nor .debug_frame says anything; compile with -fasynchronous-unwind-tables, or \
             annotate assembly with .cfi_startproc and so on"
            .to_owned())
    }

    /// Addresses for the sections of a relocatable file, none of which touches another.
    fn made_up_addresses(&self) -> Vec<u64> {
        let mut next = 0x10_0000_u64;
        let place = |section: &SectionHeader64<Endianness>| {
            let address = next;
            next = next.saturating_add(section.sh_size(self.endian)).saturating_add(0xfff) & !0xfff;
            address
        };
        self.sections.iter().map(place).collect()
    }

    fn relocate(&self, index: SectionIndex, cfi: &mut OwnedCfi) -> Result<(), String> {
        let addresses = self.made_up_addresses();
        let address_of = |index: usize| addresses.get(index).copied().unwrap_or_default();
        cfi.address = address_of(index.0);
        let Some((_, header)) = self.relocations_of(index) else { return Ok(()) };
        let broken = |error: object::Error| format!("the relocations of {}: {error}", cfi.name);
        let Some((relocations, _)) = header.rela(self.endian, self.data).map_err(broken)? else { return Ok(()) };
        for relocation in relocations {
            let offset = relocation.r_offset(self.endian);
            let symbol_index = relocation.r_sym(self.endian, false);
            let addend = relocation.r_addend(self.endian);
            let Some((is_relative, size)) = form(self.abi, relocation.r_type(self.endian, false).0) else { continue };
            let symbol = self.symbols.symbol(object::SymbolIndex(symbol_index as usize)).map_err(broken)?;
            let section = usize::from(symbol.st_shndx(self.endian).0);
            let target = address_of(section).wrapping_add(symbol.st_value(self.endian)).wrapping_add_signed(addend);
            let place = cfi.address.wrapping_add(offset);
            let value = if is_relative { target.wrapping_sub(place) } else { target };
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            let Some(field) = cfi.bytes.get_mut(at..at.saturating_add(size)) else {
                return Err(format!("a relocation of {} is beyond its end", cfi.name));
            };
            if self.abi.is_big_endian() {
                field.copy_from_slice(&value.to_be_bytes()[8 - size..]);
            } else {
                field.copy_from_slice(&value.to_le_bytes()[..size]);
            }
            cfi.targets.insert(offset, (symbol_index, addend));
        }
        Ok(())
    }
}
