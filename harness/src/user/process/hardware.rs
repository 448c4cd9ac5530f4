//! What an emulated kernel can do to the machine on which its process runs.

use std::ops::Range;

use crate::cpu::{Cpu, Register};

/// What a page may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permission {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// It may be executed.
    pub execute: bool,
}

impl Permission {
    /// Reading and writing.
    pub const DATA: Self = Self { read: true, write: true, execute: false };
    /// Reading and executing.
    pub const CODE: Self = Self { read: true, write: false, execute: true };

    /// From the bits of `mmap` (Linux include/uapi/asm-generic/mman-common.h), which are those of ELF segments in another order.
    #[must_use]
    pub const fn of_mmap(bits: u64) -> Self {
        Self { read: bits & 1 != 0, write: bits & 2 != 0, execute: bits & 4 != 0 }
    }
}

/// The registers for floating point and vectors, as far as signal frames hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floats {
    /// The registers, each in 16 bytes, in the order of their numbers.
    pub registers: Vec<[u8; 16]>,
    /// The control and status registers, in an order that each CPU has for itself.
    pub control: Vec<u64>,
}

/// The machine under an emulated kernel, while its process is stopped.
pub trait Hardware {
    /// The CPU.
    fn cpu(&self) -> &'static Cpu;

    /// A general register.
    fn register(&self, register: Register) -> u64;

    /// Changes a general register.
    fn set_register(&mut self, register: Register, value: u64);

    /// The instruction that runs next.
    fn pc(&self) -> u64;

    /// Continues elsewhere.
    fn set_pc(&mut self, pc: u64);

    /// The status register, as programs see it: the flags that a comparison sets, and what is set always; 0 on a CPU without one.
    fn flags(&self) -> u64;

    /// Changes them.
    fn set_flags(&mut self, flags: u64);

    /// The address of the thread's own variables.
    fn thread_pointer(&self) -> u64;

    /// Changes it.
    fn set_thread_pointer(&mut self, address: u64);

    /// The registers for floating point and vectors.
    fn floats(&self) -> Floats;

    /// Changes them.
    fn set_floats(&mut self, floats: &Floats);

    /// Reads memory. False if a byte is not mapped.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;

    /// Writes memory as the process may. False, and nothing is written, if it may not.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool;

    /// Writes memory as a loader does: read-only pages too.
    fn load(&mut self, address: u64, bytes: &[u8]) -> bool;

    /// Maps pages of zeros, in place of what is mapped there. False outside of the areas that a process has.
    fn map(&mut self, pages: &Range<u64>, permission: Permission) -> bool;

    /// Changes what pages may be used for; unmaps them, if that is nothing.
    fn protect(&mut self, pages: &Range<u64>, permission: Permission) -> bool;

    /// Keeps the state of the CPU as that of a thread.
    fn park(&mut self, thread: u64) -> Result<(), String>;

    /// Makes the state that was kept for a thread that of the CPU.
    fn resume(&mut self, thread: u64) -> Result<(), String>;

    /// The word at an address.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    /// The half word at an address.
    fn read_u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes).then(|| u32::from_le_bytes(bytes))
    }
}
