//! What differs between CPUs, as plain data: each field cites the document that it is from. No rule of an unwinder is
//! here.

mod arm64;
mod conventions;
mod riscv64;
mod x86_64;

pub use arm64::ARM64;
pub use conventions::{Abi, FrameRecord, PtRegs};
pub use riscv64::RISCV64;
pub use x86_64::X86_64;
