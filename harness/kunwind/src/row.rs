//! Unwind rows: what a table of unwind data says of one pc, whatever format it came in.

use crate::Register;

/// How the CFA, the value of SP at the call site in the caller, is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CfaRule {
    /// The register plus an offset in bytes.
    RegOffset(Register, i64),
    /// The word at the register plus an offset.
    RegOffsetDeref(Register, i64),
}

impl CfaRule {
    /// The register from which the CFA is computed.
    #[must_use]
    pub const fn register(self) -> Register {
        match self {
            Self::RegOffset(register, _) | Self::RegOffsetDeref(register, _) => register,
        }
    }
}

/// How the caller's value of a register, or its pc, is found. The names are those of the rules in the kernel's user unwinder
/// as it is in review (thread S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It still is in its register. Of the return address: in the link register.
    Retain,
    /// The CFA plus an offset in bytes: the value itself, nothing is read.
    CfaOffset(i64),
    /// The word at the CFA plus an offset.
    CfaOffsetDeref(i64),
    /// The register plus an offset.
    RegOffset(Register, i64),
    /// The word at the register plus an offset.
    RegOffsetDeref(Register, i64),
}

/// How to get from a frame to its caller's, at one pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnwindRow {
    /// Where the frame begins.
    pub cfa: CfaRule,
    /// Where the return address is.
    pub ra: Rule,
    /// Where the caller's frame pointer is.
    pub fp: Rule,
    /// Whether the return address carries a pointer authentication code.
    pub mangled_ra: bool,
    /// Whether this is the frame of a signal or an exception: its caller's pc was interrupted, and is no return address.
    pub signal: bool,
}

/// What a table has for a pc that lies in one of its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The way to the caller.
    Row(UnwindRow),
    /// The function says that it has no caller: the proven end of the stack.
    Outermost,
    /// The function is known, but nothing is said of this pc. That is not the end of the stack.
    NoRow {
        /// Whether it is the frame of a signal or an exception.
        signal: bool,
    },
}
