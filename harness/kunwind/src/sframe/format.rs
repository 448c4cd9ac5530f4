//! The numbers of the format (SFrame specification, versions 2 and 3; `include/sframe.h` of GNU binutils 2.47).

use crate::Register;

/// The first two bytes, in the byte order of the section.
pub const MAGIC: u16 = 0xdee2;
/// The preamble and the header, in bytes, without the auxiliary header.
pub const HEADER_SIZE: usize = 28;
/// An index entry of version 3, in bytes.
pub const FDE_V3_SIZE: usize = 16;
/// The attribute before a function's rows in version 3, in bytes.
pub const FDE_ATTRIBUTE_SIZE: usize = 5;
/// A function descriptor of version 2, in bytes.
pub const FDE_V2_SIZE: usize = 20;

/// SFRAME_F_FDE_SORTED: the index is sorted by address.
pub const FLAG_FDE_SORTED: u8 = 0x1;
/// SFRAME_F_FRAME_POINTER: all functions have frame pointers. Removed in version 3.
pub const FLAG_FRAME_POINTER: u8 = 0x2;
/// SFRAME_F_FDE_FUNC_START_PCREL: a start is relative to its own field and not to the section.
pub const FLAG_FDE_FUNC_START_PCREL: u8 = 0x4;

/// The ABIs of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SFrameAbi {
    /// AArch64, big endian.
    Aarch64Be,
    /// AArch64, little endian.
    Aarch64Le,
    /// AMD64, little endian.
    Amd64,
    /// s390x, big endian.
    S390x,
}

impl SFrameAbi {
    /// Every ABI.
    pub const ALL: [Self; 4] = [Self::Aarch64Be, Self::Aarch64Le, Self::Amd64, Self::S390x];

    /// The ABI of a value of `sfh_abi_arch`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Aarch64Be),
            2 => Some(Self::Aarch64Le),
            3 => Some(Self::Amd64),
            4 => Some(Self::S390x),
            _ => None,
        }
    }

    /// Its value in `sfh_abi_arch`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Aarch64Be => 1,
            Self::Aarch64Le => 2,
            Self::Amd64 => 3,
            Self::S390x => 4,
        }
    }

    /// The ABI of ELF files for this machine (`e_machine`) and byte order.
    #[must_use]
    pub const fn of_elf(machine: u16, is_big_endian: bool) -> Option<Self> {
        match (machine, is_big_endian) {
            (183, true) => Some(Self::Aarch64Be),
            (183, false) => Some(Self::Aarch64Le),
            (62, false) => Some(Self::Amd64),
            (22, true) => Some(Self::S390x),
            _ => None,
        }
    }

    /// The relocation of a function's start of `size` bytes in object files: PC-relative, of that size. The psABIs number it
    /// (R_AARCH64_PREL64 and PREL32, R_X86_64_PC64 and PC32, R_390_PC64 and PC32); 0 is NONE in all of them.
    #[must_use]
    pub const fn start_relocation(self, size: usize) -> Option<u32> {
        match (self, size) {
            (Self::Aarch64Be | Self::Aarch64Le, 8) => Some(260),
            (Self::Aarch64Be | Self::Aarch64Le, 4) => Some(261),
            (Self::Amd64, 8) => Some(24),
            (Self::Amd64, 4) => Some(2),
            (Self::S390x, 8) => Some(23),
            (Self::S390x, 4) => Some(5),
            _ => None,
        }
    }

    /// Whether sections of it are big endian.
    #[must_use]
    pub const fn is_big_endian(self) -> bool {
        matches!(self, Self::Aarch64Be | Self::S390x)
    }

    /// Whether a return address can carry an authentication code.
    #[must_use]
    pub const fn has_pauth(self) -> bool {
        matches!(self, Self::Aarch64Be | Self::Aarch64Le)
    }

    /// The stack pointer, by its DWARF number.
    #[must_use]
    pub const fn sp(self) -> Register {
        match self {
            Self::Aarch64Be | Self::Aarch64Le => Register(31),
            Self::Amd64 => Register(7),
            Self::S390x => Register(15),
        }
    }

    /// The frame pointer, by its DWARF number.
    #[must_use]
    pub const fn fp(self) -> Register {
        match self {
            Self::Aarch64Be | Self::Aarch64Le => Register(29),
            Self::Amd64 => Register(6),
            Self::S390x => Register(11),
        }
    }

    /// DWARF's column of the return address.
    #[must_use]
    pub const fn ra(self) -> Register {
        match self {
            Self::Aarch64Be | Self::Aarch64Le => Register(30),
            Self::Amd64 => Register(16),
            Self::S390x => Register(14),
        }
    }

    /// From the CFA to the return address, where it is the same in every row; 0 where rows say it.
    #[must_use]
    pub const fn fixed_ra_offset(self) -> i8 {
        match self {
            Self::Amd64 => -8,
            Self::Aarch64Be | Self::Aarch64Le | Self::S390x => 0,
        }
    }

    /// From the word of a CFA offset, as it stands in a row, to bytes. s390x divides by eight, from its bias of 160.
    #[must_use]
    pub const fn cfa_offset(self, word: i64) -> i64 {
        match self {
            Self::S390x => word * 8 + 160,
            Self::Aarch64Be | Self::Aarch64Le | Self::Amd64 => word,
        }
    }

    /// Whether a word of 0 in the place of the return address says that it still is in its register. Elsewhere it is no
    /// offset at all: nothing of a frame lies at its CFA.
    #[must_use]
    pub const fn pads_ra(self) -> bool {
        matches!(self, Self::S390x)
    }

    /// Whether rows of version 2 can name registers: bit 0 of a word is set, and the rest is the DWARF number.
    #[must_use]
    pub const fn v2_words_name_registers(self) -> bool {
        matches!(self, Self::S390x)
    }

    /// How many DWARF numbers a rule may name: the general registers, and what stands for the pc.
    #[must_use]
    pub const fn registers(self) -> u8 {
        match self {
            Self::Aarch64Be | Self::Aarch64Le | Self::S390x => 32,
            Self::Amd64 => 17,
        }
    }

    /// The name in listings and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64Be => "aarch64-be",
            Self::Aarch64Le => "aarch64",
            Self::Amd64 => "amd64",
            Self::S390x => "s390x",
        }
    }
}
