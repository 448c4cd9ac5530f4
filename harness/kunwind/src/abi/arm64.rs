//! 64-bit Arm: AAPCS64 (procedure call standard) and AADWARF64 (register numbers).

use super::conventions::{Abi, FrameRecord, PtRegs};
use crate::regs::Register;

/// The arm64 conventions.
pub static ARM64: Abi = Abi {
    elf_machine: 183, // EM_AARCH64
    is_big_endian: false,
    sp: Register(31),       // AADWARF64 4.1
    fp: Register(29),       // AAPCS64 6.1.1: r29 is FP
    ra: Some(Register(30)), // AAPCS64 6.1.1: r30 is LR
    // AAPCS64 6.1.1: r19 to r29.
    callee_saved: &[
        Register(19),
        Register(20),
        Register(21),
        Register(22),
        Register(23),
        Register(24),
        Register(25),
        Register(26),
        Register(27),
        Register(28),
        Register(29),
    ],
    cfa_align: 16, // AAPCS64 6.4.5.2: SP mod 16 = 0 at a public interface
    frame_record: FrameRecord {
        offset_from_fp: 0, // AAPCS64 6.4.6: the innermost record "shall be pointed to by the frame pointer register"
        align: 8,          // Linux arch/arm64/kernel/stacktrace.c: 8, although AAPCS64 would give 16
        cfa_from_fp: None, // AAPCS64 6.4.6: "the location of the frame record within a stack frame is not specified"
    },
    kernel_bits: 0xffff_0000_0000_0000, // 48-bit addresses of TTBR1: bits 63..48 are ones (Arm ARM D8.10: pointer authentication)
    pt_regs: PtRegs {
        pc: 256, // Linux arch/arm64/include/asm/ptrace.h: regs[31], sp, pc, pstate
        registers: &[(Register(31), 248), (Register(29), 232), (Register(30), 240)],
    },
    ret_stack_entry_words: 4, // Linux include/linux/ftrace.h, struct ftrace_ret_stack: ret, func, fp, retp
    register_names: &[
        "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
        "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",
    ],
};
