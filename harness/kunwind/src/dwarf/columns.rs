//! The registers that a frame is made of, as columns of a CFI table.

use crate::regs::Register;

/// The columns of a CFI table for the stack pointer, the frame pointer and the return address, and what else differs
/// between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The stack pointer.
    pub sp: Register,
    /// The frame pointer.
    pub fp: Register,
    /// The return address: a link register, or a column that stands for the pc.
    pub ra: Register,
    /// From the CFA to the caller's SP, in bytes.
    pub sp_from_cfa: i64,
    /// Whether a column says if the return address is signed (AADWARF64 4.1, RA_SIGN_STATE).
    pub has_sign_state: bool,
    /// Whether multi-byte values are big endian.
    pub is_big_endian: bool,
}
