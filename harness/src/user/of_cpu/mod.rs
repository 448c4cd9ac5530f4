//! What differs between CPUs when a program is linked and started: their relocations, and a few functions of ours.

mod arm64;
mod riscv64;
mod x86_64;

use super::link::OfCpu;
use crate::cpu::Cpu;

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
