//! The conventions that an unwinder has to know, as types.

use crate::error::Error;
use crate::regs::Register;

/// The conventions of one CPU that an unwinder has to know.
#[derive(Debug)]
pub struct Abi {
    /// `e_machine` of its ELF files (System V ABI, ELF header), by which formats of unwind data know their CPU.
    pub elf_machine: u16,
    /// Whether it is big endian.
    pub is_big_endian: bool,
    /// The stack pointer.
    pub sp: Register,
    /// The frame pointer.
    pub fp: Register,
    /// The link register; absent where a call pushes the return address.
    pub ra: Option<Register>,
    /// The registers that a function preserves for its caller, apart from SP.
    pub callee_saved: &'static [Register],
    /// The alignment of SP at a call, in bytes.
    pub cfa_align: u64,
    /// Where frame records lie.
    pub frame_record: FrameRecord,
    /// Bits that are set in every kernel address; a pointer authentication code may replace them.
    pub kernel_bits: u64,
    /// Where an exception saves the registers, in Linux.
    pub pt_regs: PtRegs,
    /// The words of the function graph tracer's `struct ftrace_ret_stack`.
    pub ret_stack_entry_words: u64,
    /// The assembler's names of the registers, by DWARF number.
    pub register_names: &'static [&'static str],
}

/// Where the {caller's FP, return address} pair lies relative to the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// From FP to the first word of the record, in bytes.
    pub offset_from_fp: i64,
    /// The alignment of FP, in bytes.
    pub align: u64,
    /// From FP to the CFA, where the convention fixes it.
    pub cfa_from_fp: Option<i64>,
}

/// Offsets in `struct pt_regs`, in bytes, as far as an unwinder may need them. The structure may be larger; unwinders
/// that count from its end know its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtRegs {
    /// The interrupted pc.
    pub pc: u64,
    /// Registers with their offsets: at least SP, FP and the link register, if there is one.
    pub registers: &'static [(Register, u64)],
}

impl Abi {
    /// A return address without its authentication code, as the CPU will use it. A kernel's address has bit 55 set, and the code
    /// leaves that alone (Arm ARM D8.10); the bits that are ones there are zeros in a program's.
    #[must_use]
    pub const fn strip(&self, address: u64) -> u64 {
        match address >> 55 & 1 {
            0 => address & !self.kernel_bits,
            _ => address | self.kernel_bits,
        }
    }

    /// An error with this CPU's names of registers.
    #[must_use]
    pub const fn describe(&self, error: Error) -> Described<'_> {
        Described { abi: self, error }
    }

    /// The name of a register; `?` if the CPU does not have it.
    #[must_use]
    pub fn register_name(&self, register: Register) -> &'static str {
        self.register_names.get(usize::from(register.0)).copied().unwrap_or("?")
    }
}

/// An error with a CPU's names of registers, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    abi: &'a Abi,
    error: Error,
}

impl core::fmt::Display for Described<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.error {
            Error::NoRegister(register) => {
                write!(formatter, "the row needs {}, which is not known", self.abi.register_name(register))
            }
            error => error.fmt(formatter),
        }
    }
}
