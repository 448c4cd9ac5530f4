//! x86-64: System V psABI, AMD64 supplement.

use super::conventions::{Abi, FrameRecord, PtRegs};
use crate::regs::Register;

/// The x86-64 conventions.
pub static X86_64: Abi = Abi {
    elf_machine: 62, // EM_X86_64
    is_big_endian: false,
    sp: Register(7), // psABI figure 3.36
    fp: Register(6),
    ra: None, // a call pushes the return address at CFA-8 (psABI figure 3.3)
    // psABI 3.2.1: rbx, rbp, r12 to r15.
    callee_saved: &[Register(3), Register(6), Register(12), Register(13), Register(14), Register(15)],
    cfa_align: 16, // psABI 3.2.2: rsp+8 is a multiple of 16 on entry, so the CFA is one (the kernel builds with 8)
    frame_record: FrameRecord {
        offset_from_fp: 0, // psABI figure 3.3: the previous rbp at 0(%rbp), the return address at 8(%rbp)
        align: 8,
        cfa_from_fp: Some(16), // psABI figure 3.3
    },
    kernel_bits: 0,
    pt_regs: PtRegs {
        pc: 128, // Linux arch/x86/include/asm/ptrace.h: r15..r12, bp, bx, r11..r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp
        registers: &[
            (Register(15), 0),
            (Register(14), 8),
            (Register(13), 16),
            (Register(12), 24),
            (Register(6), 32),
            (Register(3), 40),
            (Register(11), 48),
            (Register(10), 56),
            (Register(9), 64),
            (Register(8), 72),
            (Register(0), 80),
            (Register(2), 88),
            (Register(1), 96),
            (Register(4), 104),
            (Register(5), 112),
            (Register(7), 152),
        ],
    },
    ret_stack_entry_words: 3, // Linux include/linux/ftrace.h, struct ftrace_ret_stack: ret, func, retp
    register_names: &[
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip",
    ],
};
