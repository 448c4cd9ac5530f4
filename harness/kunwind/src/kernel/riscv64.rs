//! riscv64: the numbers of the S4 series.

use super::records::Layout;
use crate::abi::RISCV64;

/// The 288 bytes of mainline (arch/riscv/include/asm/ptrace.h), and {fp, ra, type}; on the stack a multiple of 16.
pub(super) static LAYOUT: Layout = Layout { abi: &RISCV64, pt_regs_size: 312, pt_regs_on_stack: 320, stackframe: 288 };
