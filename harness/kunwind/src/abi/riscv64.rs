//! 64-bit RISC-V: RISC-V ELF psABI (calling convention, frame pointer convention, DWARF numbers).

use super::conventions::{Abi, FrameRecord, PtRegs};
use crate::regs::Register;

/// The riscv64 conventions.
pub static RISCV64: Abi = Abi {
    elf_machine: 243, // EM_RISCV
    is_big_endian: false,
    sp: Register(2),       // psABI, integer register convention: x2 is sp
    fp: Register(8),       // x8 is s0/fp
    ra: Some(Register(1)), // x1 is ra
    // psABI, integer register convention: s0 to s11.
    callee_saved: &[
        Register(8),
        Register(9),
        Register(18),
        Register(19),
        Register(20),
        Register(21),
        Register(22),
        Register(23),
        Register(24),
        Register(25),
        Register(26),
        Register(27),
    ],
    cfa_align: 16, // psABI, integer calling convention: 128-bit aligned on entry
    frame_record: FrameRecord {
        offset_from_fp: -16, // psABI, frame pointer convention: fp is the CFA; ra at fp-8, the caller's fp at fp-16
        align: 8,            // Linux arch/riscv/kernel/stacktrace.c
        cfa_from_fp: Some(0), // psABI, frame pointer convention
    },
    kernel_bits: 0,
    pt_regs: PtRegs {
        pc: 0, // Linux arch/riscv/include/asm/ptrace.h: epc, ra, sp, gp, tp, t0..t2, s0
        registers: &[(Register(2), 16), (Register(8), 64), (Register(1), 8)],
    },
    ret_stack_entry_words: 4, // Linux include/linux/ftrace.h, struct ftrace_ret_stack: ret, func, fp, retp
    register_names: &[
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
        "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    ],
};
