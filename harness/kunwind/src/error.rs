//! Why an unwinder cannot continue.

use core::fmt;

use crate::regs::Register;

/// Why an unwinder cannot continue. It is `Copy` and holds guest addresses instead of text, so that every step can
/// afford it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// The frame pointer is not known.
    NoFramePointer,
    /// The frame pointer is not aligned as the ABI requires.
    Misaligned(u64),
    /// SP, as the walk knows it, is not aligned as the unwinder requires.
    MisalignedSp(u64),
    /// The object at this address is in no stack that may still be read.
    OutsideStacks(u64),
    /// Guest memory at this address cannot be read.
    Unreadable(u64),
    /// A reliable walk must not cross the exception boundary at this pc.
    ExceptionBoundary(u64),
    /// The metadata record at this address is FINAL, but is not where the task's outermost record is.
    StrayFinal(u64),
    /// The metadata record at this address has an unknown type.
    UnknownMetadata(u64),
    /// This return address is not in the kernel's text.
    NotText(u64),
    /// The target has no tasks, and without one the end of the stack is not known.
    NoTask,
    /// The return address is that of the trampoline at this address, and no return hook holds the original.
    Unrecovered(u64),
    /// The pc is inside a trampoline, where nothing says how to reach its caller.
    InsideTrampoline(u64),
    /// The target has no unwind data of the format.
    NoTable,
    /// The unwind data has no row for this pc.
    NoRow(u64),
    /// The unwind data for this pc is malformed.
    BadTable {
        /// The pc that was looked up.
        pc: u64,
        /// The first field that is wrong, in bytes from the start of the section.
        offset: usize,
    },
    /// The unwind data for this pc says something that no row can express.
    Unrepresentable(u64),
    /// The row for this pc has a rule that this unwinder does not follow, such as a return address that is a stack
    /// address.
    UnusableRule(u64),
    /// A rule is a DWARF expression, and this unwinder follows none.
    NoExpression,
    /// A DWARF expression cannot be evaluated: it is malformed, runs too long, or asks for what is not in a frame.
    BadExpression,
    /// A rule says that the value is lost.
    Undefined,
    /// The row leaves the return address in the link register, and the CPU has none.
    NoLinkRegister,
    /// The row needs a register that is not known in this frame.
    NoRegister(Register),
    /// The row for this pc says that there is no caller, where the stack of a kernel cannot end.
    OutermostInKernel(u64),
    /// The CFA is not aligned as the unwinder requires.
    MisalignedCfa(u64),
    /// The CFA is not above SP.
    CfaNotAbove(u64),
    /// The frame pointer is below SP.
    FramePointerBelowSp(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFramePointer => formatter.write_str("the frame pointer is not known"),
            Self::Misaligned(address) => write!(formatter, "misaligned frame pointer {address:#x}"),
            Self::MisalignedSp(address) => write!(formatter, "misaligned stack pointer {address:#x}"),
            Self::OutsideStacks(address) => write!(formatter, "{address:#x} is in no stack that may still be read"),
            Self::Unreadable(address) => write!(formatter, "{address:#x} cannot be read"),
            Self::ExceptionBoundary(pc) => write!(formatter, "an exception was taken at {pc:#x}"),
            Self::StrayFinal(address) => write!(formatter, "the FINAL record at {address:#x} is not the task's"),
            Self::UnknownMetadata(address) => {
                write!(formatter, "the metadata record at {address:#x} has an unknown type")
            }
            Self::NotText(address) => write!(formatter, "the return address {address:#x} is not text"),
            Self::NoTask => formatter.write_str("there is no task to walk"),
            Self::Unrecovered(pc) => {
                write!(formatter, "no return hook holds the address that the trampoline {pc:#x} replaced")
            }
            Self::InsideTrampoline(pc) => {
                write!(formatter, "{pc:#x} is inside a trampoline, and its caller is not known")
            }
            Self::NoTable => formatter.write_str("there is no unwind data of this format"),
            Self::NoRow(pc) => write!(formatter, "no unwind row for {pc:#x}"),
            Self::BadTable { pc, offset } => {
                write!(formatter, "the unwind data for {pc:#x} is malformed at offset {offset:#x} of its section")
            }
            Self::Unrepresentable(pc) => write!(formatter, "no row can express what the unwind data says of {pc:#x}"),
            Self::UnusableRule(pc) => write!(formatter, "the unwind row for {pc:#x} has a rule that is not followed"),
            Self::NoExpression => formatter.write_str("a rule is a DWARF expression, which is not followed here"),
            Self::BadExpression => formatter.write_str("a rule is a DWARF expression that cannot be evaluated"),
            Self::Undefined => formatter.write_str("the row says that the value is lost"),
            Self::NoLinkRegister => {
                formatter.write_str("the row leaves the return address in a link register, and there is none")
            }
            Self::NoRegister(Register(number)) => {
                write!(formatter, "the row needs DWARF register {number}, which is not known")
            }
            Self::OutermostInKernel(pc) => write!(formatter, "the row for {pc:#x} ends the stack inside the kernel"),
            Self::MisalignedCfa(cfa) => write!(formatter, "misaligned CFA {cfa:#x}"),
            Self::CfaNotAbove(cfa) => write!(formatter, "the CFA {cfa:#x} is not above SP"),
            Self::FramePointerBelowSp(fp) => write!(formatter, "the frame pointer {fp:#x} is below SP"),
        }
    }
}

impl core::error::Error for Error {}
