//! Why CFI cannot be an unwind row.

/// Why CFI cannot be an unwind row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsupported {
    /// The CFA is an expression that is neither a register plus an offset nor the word there.
    CfaExpression,
    /// The return address is such an expression.
    ReturnAddressExpression,
    /// The frame pointer is such an expression.
    FramePointerExpression,
    /// Another register is such an expression.
    Expression,
    /// The caller's frame pointer is lost.
    FramePointerUndefined,
    /// The caller's value of another register is lost.
    Undefined,
    /// The caller's stack pointer is something else than the CFA.
    StackPointer,
    /// A register with this number, which no rule can name.
    Register(u16),
    /// The CIE has its return address in this column, which is not the ABI's.
    ReturnColumn(u16),
    /// The state of the return address' signature is not a constant.
    SignState,
    /// An instruction with this number, which is unknown, or unknown for this machine.
    UnknownInstruction(u8),
    /// The CIE has an augmentation that is not known.
    Augmentation,
    /// More registers or remembered states than [`Storage`](super::Storage) has room for.
    TooComplex,
    /// The entry cannot be parsed.
    Malformed,
    /// Its pointer to the CIE leads to none.
    CiePointer,
    /// Its CIE has this many bytes, too many to be used.
    LargeCie(u64),
    /// Its length is wrong: this many bytes from there on cannot be told apart.
    LostRest(u64),
    /// An offset, or an offset times the alignment factor, does not fit into 64 bits with a sign.
    OffsetOverflow,
    /// The register or the offset of the CFA is changed before there is a rule for it.
    NoCfa,
    /// An instruction stands where it means nothing, such as `DW_CFA_restore_state` without a state.
    OutOfPlace,
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::CfaExpression => f.write_str("the CFA is an expression other than a register plus an offset"),
            Self::ReturnAddressExpression => f.write_str("the return address is given by an expression"),
            Self::FramePointerExpression => f.write_str("the frame pointer is given by an expression"),
            Self::Expression => f.write_str("a register is given by an expression"),
            Self::FramePointerUndefined => f.write_str("the caller's frame pointer is lost"),
            Self::Undefined => f.write_str("the caller's value of a register is lost"),
            Self::StackPointer => f.write_str("the caller's stack pointer is not the CFA"),
            Self::Register(number) => write!(f, "register {number} cannot be named"),
            Self::ReturnColumn(number) => write!(f, "the return address is in column {number}"),
            Self::SignState => f.write_str("whether the return address is signed is not constant"),
            Self::UnknownInstruction(number) => {
                write!(f, "CFI instruction {number:#04x} is not known for this machine")
            }
            Self::Augmentation => f.write_str("the CIE has an unknown augmentation"),
            Self::TooComplex => f.write_str("too many registers or remembered states"),
            Self::Malformed => f.write_str("the entry is malformed"),
            Self::CiePointer => f.write_str("malformed: its CIE pointer leads to no CIE"),
            Self::LargeCie(size) => write!(f, "its CIE has {size} bytes, more than are run for each function"),
            Self::LostRest(size) => {
                write!(f, "malformed: its length is wrong, and what is in the {size} bytes from there on is lost")
            }
            Self::OffsetOverflow => f.write_str("malformed: an offset does not fit into 64 bits"),
            Self::NoCfa => f.write_str("malformed: a part of the CFA is changed before the CFA has a rule"),
            Self::OutOfPlace => f.write_str("malformed: a CFI instruction stands where it means nothing"),
        }
    }
}

impl core::error::Error for Unsupported {}

impl From<gimli::Error> for Unsupported {
    fn from(error: gimli::Error) -> Self {
        match error {
            gimli::Error::UnknownCallFrameInstruction(number) => Self::UnknownInstruction(number.0),
            gimli::Error::UnknownAugmentation => Self::Augmentation,
            gimli::Error::CfiInstructionInInvalidContext | gimli::Error::PopWithEmptyStack => Self::OutOfPlace,
            gimli::Error::TooManyRegisterRules | gimli::Error::StackFull => Self::TooComplex,
            _ => Self::Malformed,
        }
    }
}
