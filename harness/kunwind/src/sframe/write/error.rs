//! Why something cannot be written.

use core::fmt;

use crate::dwarf::Unsupported;
use crate::regs::Register;

/// Why a row cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowError {
    /// The CFA is computed from a register that rows of this ABI cannot name.
    CfaRegister(Register),
    /// The CFA is a word in memory, for which this ABI has no row.
    CfaDeref,
    /// The return address is in a place for which this ABI has no row.
    ReturnAddress,
    /// The return address has no rule, and the ABI has no link register.
    NoReturnAddress,
    /// The return address is at the CFA itself, where the offset 0 has another meaning.
    ReturnAddressAtCfa,
    /// The frame pointer is in a place for which this ABI has no row.
    FramePointer,
    /// The frame pointer is saved and the return address is not; rows of this ABI have no FP alone.
    FramePointerAlone,
    /// A register is the CFA plus an offset: the control word of that would be 0, which means that there is no rule.
    ValueOfCfa,
    /// The ABI has no register of this number.
    Register(Register),
    /// An offset that does not fit into 32 bits.
    OffsetTooLarge(i64),
    /// s390x: the CFA is not a multiple of 8 bytes from its register.
    OffsetUnaligned(i64),
    /// The return address is signed, on an ABI without signatures.
    Mangled,
    /// Nothing is said of a pc after a row: a row ends only where the next begins.
    Gap,
    /// The caller's registers were saved by an exception, which no row can express.
    PtRegs,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CfaRegister(register) => write!(f, "the CFA is computed from register {}", register.0),
            Self::CfaDeref => f.write_str("the CFA is a word in memory"),
            Self::ReturnAddress => {
                f.write_str("the return address is not in a stack slot that this ABI's rows can name")
            }
            Self::NoReturnAddress => f.write_str("nothing says where the return address is"),
            Self::ReturnAddressAtCfa => f.write_str("the return address is at the CFA itself"),
            Self::FramePointer => f.write_str("the frame pointer is not in a stack slot that this ABI's rows can name"),
            Self::FramePointerAlone => f.write_str("the frame pointer is saved without the return address"),
            Self::ValueOfCfa => f.write_str("a register is the CFA plus an offset"),
            Self::Register(register) => write!(f, "register {} cannot be named", register.0),
            Self::OffsetTooLarge(offset) => write!(f, "offset {offset} needs more than 32 bits"),
            Self::OffsetUnaligned(offset) => write!(f, "CFA offset {offset} is not a multiple of 8"),
            Self::Mangled => f.write_str("the return address is signed, which this ABI does not know"),
            Self::Gap => f.write_str("some pcs after the first row have no row"),
            Self::PtRegs => f.write_str("the caller's registers are in a pt_regs"),
        }
    }
}

impl core::error::Error for RowError {}

/// Why a function cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its CFI is not an unwind row, at this offset from its start.
    Cfi(Unsupported, u64),
    /// A row has no words in the format, at this offset from the function's start.
    Row(RowError, u64),
    /// Its rows are not in order of their offsets.
    RowOrder,
    /// It has more than 65535 rows.
    TooManyRows(usize),
    /// Its size in bytes does not fit into 32 bits.
    TooLarge(u64),
    /// Another function covers its first address.
    Overlap,
    /// Another entry, which was read before, describes the same function, and says something else.
    Contradiction,
    /// Its code is not in this file: the symbol that it begins at is not defined here.
    Undefined,
    /// Nothing says where it begins: a relocatable file has no relocation for it, or one of a type that is not known.
    NoStart,
    /// It is not, or not wholly, in code that is loaded.
    OutsideText,
    /// It ends after the last address, or its distance from the section does not fit into 64 bits with a sign.
    OutOfReach,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cfi(reason, offset) => write!(f, "at +{offset:#x}: {reason}"),
            Self::Row(reason, offset) => write!(f, "at +{offset:#x}: {reason}"),
            Self::RowOrder => f.write_str("its rows are not in order"),
            Self::TooManyRows(rows) => write!(f, "it has {rows} rows, and 65535 is the most"),
            Self::TooLarge(size) => write!(f, "it is {size} bytes long, which does not fit into 32 bits"),
            Self::Overlap => f.write_str("another function covers its first address"),
            Self::Contradiction => f.write_str("another entry, which is used, describes it otherwise"),
            Self::Undefined => f.write_str("its code is in another file: the symbol it begins at is undefined"),
            Self::NoStart => f.write_str("no relocation that is known says where it begins"),
            Self::OutsideText => f.write_str("it is not in code that is loaded"),
            Self::OutOfReach => f.write_str("its addresses are out of reach of the section"),
        }
    }
}

impl core::error::Error for Reason {}

/// The section cannot be written: a count or a length needs more than 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count or a length of the section needs more than 32 bits")
    }
}

impl core::error::Error for TooLarge {}
