//! What differs between CPUs when a program is linked and started: their relocations, and a few functions of ours.

mod arm64;
mod riscv64;
mod x86_64;

use super::link::{Link, Site};
use super::object::STUB_SIZE;
use crate::cpu::{Cpu, Register};

/// Where blocks of thread-local variables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// Above the thread pointer, and above so many bytes of the ABI's.
    One {
        /// In bytes.
        head: u64,
    },
    /// Below it.
    Two,
}

/// Functions of ours, as machine code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    /// Calls what the word 64 KiB after its first byte points to. After it comes an instruction that does nothing, and is not run.
    pub(super) call: &'static [u8],
    /// What a TLS descriptor of a static block calls.
    pub(super) tls_descriptor: &'static [u8],
    /// An instruction that does nothing.
    pub(super) nop: &'static [u8],
    /// Makes a frame.
    pub(super) enter: &'static [u8],
    /// Takes it down and returns.
    pub(super) leave: &'static [u8],
    /// The functions that can be passed as arguments: their names, and their code between these two.
    pub(super) callbacks: [(&'static str, &'static [u8]); 5],
    /// CFI of a function at its first instruction (DWARF 5, 6.4.2).
    pub(super) at_entry: &'static [u8],
    /// What changes in `enter`, with its advances. Both alignment factors are those of [`super::ours`].
    pub(super) on_entering: &'static [u8],
    /// How many bytes of a function are covered by then.
    pub(super) entered: u8,
    /// What changes at the last instruction, which returns.
    pub(super) on_leaving: &'static [u8],
    /// The size of that in bytes.
    pub(super) last: u8,
    /// The column of the return address.
    pub(super) ra: u8,
}

/// What differs between CPUs.
pub(super) trait OfCpu: Sync {
    /// Applies a relocation.
    ///
    /// # Errors
    ///
    /// Why not: its type is not known, or its value does not fit.
    fn relocate(&self, link: &mut Link<'_>, site: Site) -> Result<(), String>;

    /// Code at `at` that jumps to where the word at `slot` points.
    fn stub(&self, at: u64, slot: u64) -> [u8; STUB_SIZE as usize];

    /// Where thread-local variables are.
    fn variant(&self) -> Variant;

    /// The general register that holds the thread pointer, if one does.
    fn thread_register(&self) -> Option<Register> {
        None
    }

    /// The general register that holds the address of a symbol in all code of a program.
    fn global_pointer(&self) -> Option<(Register, &'static str)> {
        None
    }

    /// The words that the ABI and its C library keep at fixed offsets from the thread pointer. `vector` is the address of the first
    /// pair of the vector of blocks.
    fn thread_words(&self, pointer: u64, vector: u64) -> Vec<(i64, u64)>;

    /// The arguments of the functions that choose among implementations: a CPU without any extension. `room` is the address of 64
    /// bytes, which hold [`OfCpu::capabilities`].
    fn resolver_arguments(&self, room: u64) -> Vec<u64>;

    /// The structure that a resolver's argument points to.
    fn capabilities(&self) -> Vec<u64> {
        Vec::new()
    }

    /// Functions of ours.
    fn code(&self) -> &'static Code;
}

/// What is special about this CPU.
pub(super) fn of(cpu: &Cpu) -> &'static dyn OfCpu {
    match cpu.name {
        "arm64" => &arm64::Arm64,
        "riscv64" => &riscv64::Riscv64,
        _ => &x86_64::X86_64,
    }
}

/// The error for a type of relocation that is not known.
fn unknown(kind: u32) -> String {
    format!("its type {kind} is not supported")
}
