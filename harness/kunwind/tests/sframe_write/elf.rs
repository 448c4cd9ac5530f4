//! CFI and sections of a file, with a relocatable file laid out as a linker could.

use std::path::PathBuf;

use kunwind::dwarf::{Cfi, CfiSection, Columns, make_readable};
use kunwind::sframe::SFrameAbi;
use object::read::{Object as _, ObjectSection as _, ObjectSymbol as _};
use object::{Architecture, Endianness, RelocationFlags, RelocationTarget, SectionIndex, elf};

/// A section, or the file that it is from.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let folder = if name.ends_with(".sframe") { "tests/fixtures/sframe" } else { "tests/fixtures/sframe/elf" };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An ELF file in memory.
pub(crate) struct Elf<'a> {
    pub(crate) file: object::File<'a>,
    /// Where sections are: their own addresses, or those that were made up.
    addresses: Vec<(SectionIndex, u64)>,
}

/// A section with CFI, relocated.
pub(crate) struct OwnedCfi {
    section: CfiSection,
    bytes: Vec<u8>,
    readable: Vec<u8>,
    address: u64,
    pub(crate) abi: SFrameAbi,
}

impl OwnedCfi {
    pub(crate) fn cfi(&self) -> Cfi<'_> {
        Cfi {
            section: self.section,
            bytes: &self.bytes,
            readable: &self.readable,
            address: self.address,
            columns: Columns::from(self.abi),
        }
    }
}

/// Whether a relocation is relative to its place, and how many bytes it fills in. By number: `object` does not describe all.
fn form(abi: SFrameAbi, relocation: &object::Relocation) -> (bool, usize) {
    let RelocationFlags::Elf { r_type } = relocation.flags() else { panic!("{relocation:?}") };
    match (abi, r_type) {
        (SFrameAbi::Amd64, elf::R_X86_64_PC32) => (true, 4),
        (SFrameAbi::Amd64, elf::R_X86_64_PC64) => (true, 8),
        (SFrameAbi::Aarch64Be | SFrameAbi::Aarch64Le, elf::R_AARCH64_PREL32) => (true, 4),
        (SFrameAbi::Aarch64Be | SFrameAbi::Aarch64Le, elf::R_AARCH64_PREL64) => (true, 8),
        (SFrameAbi::S390x, elf::R_390_PC32) => (true, 4),
        (SFrameAbi::S390x, elf::R_390_PC64) => (true, 8),
        other => panic!("{other:?}"),
    }
}

impl<'a> Elf<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let file = object::File::parse(bytes).expect("the fixture is an ELF file");
        let is_linked = file.kind() != object::ObjectKind::Relocatable;
        let mut next = 0x10_0000_u64;
        let mut addresses = Vec::new();
        for section in file.sections() {
            addresses.push((section.index(), if is_linked { section.address() } else { next }));
            next = (next + section.size() + 0xfff) & !0xfff;
        }
        Self { file, addresses }
    }

    pub(crate) fn abi(&self) -> SFrameAbi {
        match (self.file.architecture(), self.file.endianness()) {
            (Architecture::X86_64, _) => SFrameAbi::Amd64,
            (Architecture::Aarch64, Endianness::Little) => SFrameAbi::Aarch64Le,
            (Architecture::Aarch64, Endianness::Big) => SFrameAbi::Aarch64Be,
            (Architecture::S390x, _) => SFrameAbi::S390x,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn address(&self, index: SectionIndex) -> u64 {
        self.addresses.iter().find(|(other, _)| *other == index).expect("every section has an address").1
    }

    /// The value that a relocation stands for, without its own place.
    fn target(&self, relocation: &object::Relocation) -> u64 {
        let RelocationTarget::Symbol(symbol) = relocation.target() else { panic!("{relocation:?}") };
        let symbol = self.file.symbol_by_index(symbol).expect("the symbol");
        let section = symbol.section_index().expect("the symbol is defined here");
        (self.address(section) + symbol.address()).wrapping_add_signed(relocation.addend())
    }

    /// The section with its relocations applied.
    fn relocated(&self, name: &str) -> Option<(u64, Vec<u8>)> {
        let section = self.file.section_by_name(name)?;
        let address = self.address(section.index());
        let mut bytes = section.data().expect("its bytes").to_vec();
        for (offset, relocation) in section.relocations() {
            let place = address + offset;
            let target = self.target(&relocation);
            let (is_relative, size) = form(self.abi(), &relocation);
            let value = if is_relative { target.wrapping_sub(place) } else { target };
            let at = usize::try_from(offset).expect("an offset");
            if self.abi().is_big_endian() {
                bytes[at..at + size].copy_from_slice(&value.to_be_bytes()[8 - size..]);
            } else {
                bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        Some((address, bytes))
    }

    pub(crate) fn cfi(&self) -> OwnedCfi {
        let abi = self.abi();
        let (section, (address, bytes)) =
            [(".eh_frame", CfiSection::EhFrame), (".debug_frame", CfiSection::DebugFrame)]
                .into_iter()
                .find_map(|(name, section)| Some((section, self.relocated(name)?)))
                .expect("there is CFI");
        let mut readable = bytes.clone();
        make_readable(section, &mut readable, abi.is_big_endian());
        OwnedCfi { section, bytes, readable, address, abi }
    }

    /// The relocations of `.sframe`: their places, and the addresses they stand for.
    pub(crate) fn sframe_relocations(&self) -> Vec<(usize, u64)> {
        let section = self.file.section_by_name(".sframe").expect("there is .sframe");
        let relocations = section.relocations().map(|(offset, relocation)| {
            assert_eq!(form(self.abi(), &relocation), (true, 8));
            (usize::try_from(offset).expect("an offset"), self.target(&relocation))
        });
        relocations.collect()
    }
}
