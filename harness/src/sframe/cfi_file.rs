//! An ELF file with CFI, as `encode` needs it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use kunwind::dwarf::{Cfi, CfiSection, Columns, make_readable};
use kunwind::sframe::SFrameAbi;
use object::Endianness;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, Rela as _, SectionHeader as _, SectionTable, Sym as _, SymbolTable};
use object::read::{FileKind, Object as _, SectionIndex, SymbolIndex};

use super::source::Bytes;

/// The largest section with CFI that is read, in bytes. Its rows may take 24 times as much memory.
const MAX_CFI: u64 = 256 << 20;

type Header = FileHeader64<Endianness>;

/// A parsed file.
pub(super) struct Elf<'a> {
    pub(super) data: Bytes<'a>,
    pub(super) header: &'a Header,
    pub(super) endian: Endianness,
    pub(super) segments: &'a [ProgramHeader64<Endianness>],
    pub(super) sections: SectionTable<'a, Header, Bytes<'a>>,
    pub(super) abi: SFrameAbi,
    pub(super) symbols: SymbolTable<'a, Header, Bytes<'a>>,
    /// The functions' symbols by address, once they are asked for.
    names: OnceCell<Vec<(u64, &'a elf::Sym64<Endianness>)>>,
}

/// A section with CFI, relocated.
pub(super) struct OwnedCfi {
    pub(super) name: &'static str,
    pub(super) section: CfiSection,
    bytes: Vec<u8>,
    readable: Vec<u8>,
    address: u64,
    columns: Columns,
    /// In a relocatable file: what the field at an offset in the section is relocated with.
    targets: BTreeMap<u64, Target>,
    /// The fields with a relocation that CFI does not need, and that was not applied.
    unknown: BTreeSet<u64>,
}

/// All CFI of a file.
pub(super) struct AllCfi {
    /// `.eh_frame` first: a function that another section describes as well has its rows.
    pub(super) sections: Vec<OwnedCfi>,
    /// The sections that cannot be read, each with the reason.
    pub(super) unread: Vec<String>,
}

/// What a field is relocated with.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) symbol: u32,
    pub(super) addend: i64,
    /// The section that the symbol lies in; none of a symbol that this file does not define.
    pub(super) section: Option<SectionIndex>,
}

impl OwnedCfi {
    pub(super) fn cfi(&self) -> Cfi<'_> {
        let Self { section, bytes, readable, address, columns, .. } = self;
        Cfi { section: *section, bytes, readable, address: *address, columns: *columns }
    }

    /// What an FDE has for the start of its function; none where its fields are not relocated as they should be.
    pub(super) fn start_of(&self, fde: usize) -> Option<Target> {
        let is_long = self.bytes.get(fde..fde + 4) == Some(&[0xff; 4]);
        let (cie_pointer, start) = match (self.section, is_long) {
            (_, false) => (4, 8),
            (CfiSection::EhFrame, true) => (12, 16),
            (CfiSection::DebugFrame, true) => (12, 20),
        };
        if self.unknown.contains(&(fde as u64 + cie_pointer)) {
            return None;
        }
        self.targets.get(&(fde as u64 + start)).copied()
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
    pub(super) fn parse(data: Bytes<'a>) -> Result<Self, String> {
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
        Ok(Self { data, header, endian, segments, sections, abi, symbols, names: OnceCell::new() })
    }

    /// Whether it is a relocatable file (ET_REL).
    pub(super) fn is_relocatable(&self) -> bool {
        self.header.e_type(self.endian) == elf::ET_REL
    }

    /// The sections with SFrame data, by name or by type.
    pub(super) fn sframes(&self) -> impl Iterator<Item = SectionIndex> {
        let is_it = |section: &SectionHeader64<Endianness>| {
            let name = self.sections.section_name(self.endian, section);
            section.sh_type(self.endian) == elf::SHT_GNU_SFRAME || name == Ok(b".sframe")
        };
        self.sections.enumerate().filter(move |(_, section)| is_it(section)).map(|(index, _)| index)
    }

    /// The symbols of functions at an address of a linked file.
    pub(super) fn functions_at(&self, address: u64) -> &[(u64, &'a elf::Sym64<Endianness>)] {
        let names = self.names.get_or_init(|| {
            let functions = self.symbols.iter().filter(|symbol| symbol.st_type() == elf::STT_FUNC);
            let mut names: Vec<_> = functions.map(|symbol| (symbol.st_value(self.endian), symbol)).collect();
            names.sort_by_key(|(address, _)| *address);
            names
        });
        let first = names.partition_point(|(other, _)| *other < address);
        let after = names.partition_point(|(other, _)| *other <= address);
        &names[first..after]
    }

    /// The name of the function at an address of a linked file.
    pub(super) fn name_of(&self, address: u64) -> Option<&'a str> {
        let (_, symbol) = self.functions_at(address).first()?;
        std::str::from_utf8(symbol.name(self.endian, self.symbols.strings()).ok()?).ok()
    }

    /// Where in a relocatable file something is: section and offset, or the symbol of another file.
    pub(super) fn place_of(&self, target: &Target) -> Option<String> {
        let symbol = self.symbols.symbol(SymbolIndex(target.symbol as usize)).ok()?;
        let (name, base) = match target.section {
            Some(index) => {
                let section = self.sections.section(index).ok()?;
                (self.sections.section_name(self.endian, section).ok()?, symbol.st_value(self.endian))
            }
            None => (symbol.name(self.endian, self.symbols.strings()).ok()?, 0),
        };
        let offset = base.wrapping_add_signed(target.addend);
        Some(format!("{}+{offset:#x}", String::from_utf8_lossy(name)))
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

    /// Every section with CFI.
    pub(super) fn cfi(&self) -> Result<AllCfi, String> {
        let mut all = AllCfi { sections: Vec::new(), unread: Vec::new() };
        let kinds = [
            (".eh_frame", Some(CfiSection::EhFrame)),
            (".debug_frame", Some(CfiSection::DebugFrame)),
            // GNU's old compression, which has no flag.
            (".zdebug_frame", None),
        ];
        for (name, kind) in kinds {
            for (index, header) in self.sections.enumerate() {
                if self.sections.section_name(self.endian, header) != Ok(name.as_bytes()) {
                    continue;
                }
                match self.check_cfi(name, kind, header) {
                    Err(reason) => all.unread.push(reason),
                    Ok(kind) => all.sections.extend(self.one_cfi(name, kind, index, header)?),
                }
            }
        }
        if !all.sections.is_empty() {
            return Ok(all);
        }
        if !all.unread.is_empty() {
            return Err(all.unread.join("; "));
        }
        Err("no CFI: neither .eh_frame nor .debug_frame says anything; compile with -fasynchronous-unwind-tables, or \
             annotate assembly with .cfi_startproc and so on"
            .to_owned())
    }

    /// Why a section with CFI cannot be read, though nothing is wrong with the file.
    fn check_cfi(
        &self,
        name: &str,
        kind: Option<CfiSection>,
        header: &SectionHeader64<Endianness>,
    ) -> Result<CfiSection, String> {
        let size = header.sh_size(self.endian);
        if header.sh_type(self.endian) == elf::SHT_NOBITS && size != 0 {
            let reason =
                "has no bytes (NOBITS), as in a file with debug information only; encode the file that has them";
            return Err(format!("{name} {reason}"));
        }
        if size > MAX_CFI {
            return Err(format!("{name} has {size} bytes, and at most {MAX_CFI} are read"));
        }
        let is_compressed = header.sh_flags(self.endian).contains(elf::SHF_COMPRESSED);
        let compressed = || format!("{name} is compressed; `objcopy --decompress-debug-sections` undoes it");
        kind.filter(|_| !is_compressed).ok_or_else(compressed)
    }

    /// A section with CFI; none if it says nothing.
    fn one_cfi(
        &self,
        name: &'static str,
        section: CfiSection,
        index: SectionIndex,
        header: &'a SectionHeader64<Endianness>,
    ) -> Result<Option<OwnedCfi>, String> {
        let bytes = header.data(self.endian, self.data).map_err(|error| format!("{name}: {error}"))?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut cfi = OwnedCfi {
            name,
            section,
            bytes: bytes.to_vec(),
            readable: Vec::new(),
            address: header.sh_addr(self.endian),
            columns: Columns::from(self.abi),
            targets: BTreeMap::new(),
            unknown: BTreeSet::new(),
        };
        if self.is_relocatable() {
            self.relocate(index, &mut cfi)?;
        }
        cfi.readable.clone_from(&cfi.bytes);
        make_readable(section, &mut cfi.readable, self.abi.is_big_endian());
        Ok(Some(cfi))
    }

    /// Addresses for the sections of a relocatable file, none of which touches another. What is not loaded has none: its
    /// relocations are offsets in the section itself, as that of the CIE pointers of `.debug_frame`.
    fn made_up_addresses(&self) -> Vec<u64> {
        let mut next = 0x10_0000_u64;
        let place = |section: &SectionHeader64<Endianness>| {
            if !section.sh_flags(self.endian).contains(elf::SHF_ALLOC) {
                return 0;
            }
            let address = next;
            next = next.saturating_add(section.sh_size(self.endian)).saturating_add(0xfff) & !0xfff;
            address
        };
        self.sections.iter().map(place).collect()
    }

    fn relocate(&self, index: SectionIndex, cfi: &mut OwnedCfi) -> Result<(), String> {
        let addresses = self.made_up_addresses();
        cfi.address = addresses.get(index.0).copied().unwrap_or_default();
        let Some((_, header)) = self.relocations_of(index) else { return Ok(()) };
        let broken = |error: object::Error| format!("the relocations of {}: {error}", cfi.name);
        let Some((relocations, _)) = header.rela(self.endian, self.data).map_err(broken)? else { return Ok(()) };
        for relocation in relocations {
            let offset = relocation.r_offset(self.endian);
            let r_type = relocation.r_type(self.endian, false).0;
            let Some((is_relative, size)) = form(self.abi, r_type) else {
                // 0 is NONE: the linker dropped it.
                if r_type != 0 {
                    cfi.unknown.insert(offset);
                }
                continue;
            };
            let symbol_index = SymbolIndex(relocation.r_sym(self.endian, false) as usize);
            let addend = relocation.r_addend(self.endian);
            let symbol = self.symbols.symbol(symbol_index).map_err(broken)?;
            let section = self.symbols.symbol_section(self.endian, symbol, symbol_index).map_err(broken)?;
            let base = section.and_then(|section| addresses.get(section.0)).copied().unwrap_or_default();
            let target = base.wrapping_add(symbol.st_value(self.endian)).wrapping_add_signed(addend);
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
            cfi.targets.insert(offset, Target { symbol: symbol_index.0 as u32, addend, section });
        }
        Ok(())
    }
}
