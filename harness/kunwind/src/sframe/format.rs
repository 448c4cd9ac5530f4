//! The numbers of the format (SFrame specification, versions 2 and 3; `include/sframe.h` of GNU binutils 2.47).
//! Quotations are from version 2 of the specification, and hold for version 3 unless said otherwise.

use crate::abi::Abi;
use crate::regs::Register;
use crate::row::PauthKey;

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

/// SFRAME_F_FDE_SORTED (2.1.3): "Function Descriptor Entries are sorted on PC."
pub const FLAG_FDE_SORTED: u8 = 0x1;
/// SFRAME_F_FRAME_POINTER (2.1.3): "All functions in the object file preserve frame pointer." Removed in version 3.
pub const FLAG_FRAME_POINTER: u8 = 0x2;
/// SFRAME_F_FDE_FUNC_START_PCREL (2.1.3): the start is "an offset in bytes to the function's start address, from the
/// field itself", and without the flag "from the start of the SFrame section".
pub const FLAG_FDE_FUNC_START_PCREL: u8 = 0x4;

/// The ABIs of the format (2.2.1, SFrame ABI/arch Identifier).
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

    /// The ABI of sections for a CPU, if the format knows it: no version has a number for RISC-V.
    #[must_use]
    pub const fn of(abi: &Abi) -> Option<Self> {
        Self::of_elf(abi.elf_machine, abi.is_big_endian)
    }

    /// The relocation of a function's start of `size` bytes in object files: PC-relative, of that size. The psABIs
    /// number it (R_AARCH64_PREL64 and PREL32, R_X86_64_PC64 and PC32, R_390_PC64 and PC32); 0 is NONE in all of them.
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

    /// The relocation by which object files hold an address of `size` bytes (R_AARCH64_ABS64 and ABS32, R_X86_64_64 and
    /// 32, R_390_64 and 32). CFI that is not relative has it.
    #[must_use]
    pub const fn address_relocation(self, size: usize) -> Option<u32> {
        match (self, size) {
            (Self::Aarch64Be | Self::Aarch64Le, 8) => Some(257),
            (Self::Aarch64Be | Self::Aarch64Le, 4) => Some(258),
            (Self::Amd64, 8) => Some(1),
            (Self::Amd64, 4) => Some(10),
            (Self::S390x, 8) => Some(22),
            (Self::S390x, 4) => Some(4),
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

    /// From the CFA to the return address, where it is the same in every row; 0 where each row gives it.
    #[must_use]
    pub const fn fixed_ra_offset(self) -> i8 {
        match self {
            Self::Amd64 => -8,
            Self::Aarch64Be | Self::Aarch64Le | Self::S390x => 0,
        }
    }

    /// The CFA offset in bytes that a word of a row stands for. s390x stores (offset - 160) / 8.
    #[must_use]
    pub const fn cfa_offset(self, word: i64) -> i64 {
        match self {
            Self::S390x => word * 8 + 160,
            Self::Aarch64Be | Self::Aarch64Le | Self::Amd64 => word,
        }
    }

    /// Whether a word of 0 in the place of the return address says that it is still in its register. Elsewhere it is
    /// not an offset at all: no part of a frame lies at its CFA.
    #[must_use]
    pub const fn pads_ra(self) -> bool {
        matches!(self, Self::S390x)
    }

    /// Whether rows of version 2 can name registers: bit 0 of a word is set, and the rest is the DWARF number.
    #[must_use]
    pub const fn v2_words_name_registers(self) -> bool {
        matches!(self, Self::S390x)
    }

    /// How many DWARF numbers a rule may name: the general registers, and the column that stands for the pc.
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

/// The versions that this reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// GNU as 2.41 to 2.45, LLVM 22 and 23.
    V2,
    /// GNU as 2.46 and later; what the kernel reads.
    V3,
}

impl Version {
    /// Its value in `sfp_version`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// An entry of the index, in bytes.
    pub(super) const fn fde_size(self) -> usize {
        match self {
            Self::V2 => FDE_V2_SIZE,
            Self::V3 => FDE_V3_SIZE,
        }
    }

    /// The start of a function, in bytes.
    #[must_use]
    pub const fn start_size(self) -> usize {
        match self {
            Self::V2 => 4,
            Self::V3 => 8,
        }
    }

    /// The flags that the version has.
    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::V2 => FLAG_FDE_SORTED | FLAG_FRAME_POINTER | FLAG_FDE_FUNC_START_PCREL,
            Self::V3 => FLAG_FDE_SORTED | FLAG_FDE_FUNC_START_PCREL,
        }
    }
}

/// How the rows of a function are chosen by pc (2.3.2, The SFrame FDE Types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PcType {
    /// By the distance from the function's start: "the PCs in the FREs should be treated as increments in bytes".
    Inc,
    /// By that distance modulo the size of a block that repeats, for "pltN entries and trampolines".
    Mask,
}

/// What the words of a function's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FdeType {
    /// Offsets from SP or FP, and from the CFA.
    Default,
    /// Rules with control words, which can name any register.
    Flexible,
}

/// The info bytes of a function: `func_info` (2.3.1) and, in version 3, `func_info2`.
///
/// ```text
///  func_info    bit 7        6      5          4         3 .. 0
///               signal_p     -      pauth key  pc type   fre type (size of row addresses)
///  func_info2   bits 7 .. 5  4 .. 0
///               -            FDE type
/// ```
///
/// Version 2 has neither signal_p nor `func_info2`.
#[derive(Clone, Copy, Debug)]
pub(super) struct FdeInfo {
    pub(super) version: Version,
    pub(super) info: u8,
    /// 0 in version 2, which has only the default type.
    pub(super) info2: u8,
}

impl FdeInfo {
    /// SFRAME_FRE_TYPE_ADDR1, ADDR2 and ADDR4 (2.3.3) exist.
    pub(super) const fn has_fre_type(self) -> bool {
        self.info & 0xf <= 2
    }

    pub(super) const fn row_address_size(self) -> usize {
        1 << (self.info & 3)
    }

    pub(super) const fn pc_type(self) -> PcType {
        if self.info & 0x10 == 0 { PcType::Inc } else { PcType::Mask }
    }

    /// SFRAME_FDE_TYPE_DEFAULT and SFRAME_FDE_TYPE_FLEX exist.
    pub(super) const fn has_fde_type(self) -> bool {
        self.info2 & 0x1f <= 1
    }

    pub(super) const fn fde_type(self) -> FdeType {
        if self.info2 & 0x1f == 0 { FdeType::Default } else { FdeType::Flexible }
    }

    pub(super) const fn pauth_key(self, abi: SFrameAbi) -> Option<PauthKey> {
        match (abi.has_pauth(), self.info & 0x20) {
            (false, _) => None,
            (true, 0) => Some(PauthKey::A),
            (true, _) => Some(PauthKey::B),
        }
    }

    pub(super) const fn is_signal(self) -> bool {
        matches!(self.version, Version::V3) && self.info & 0x80 != 0
    }
}
