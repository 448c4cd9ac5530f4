//! riscv64 Linux (arch/riscv/kernel/signal.c, arch/riscv/include/uapi/asm/ptrace.h).

use super::{
    Bytes, Frame, GENERIC_CALLS, SIGINFO, SignalAbi, UC_MCONTEXT, UC_SIGMASK, UserAbi, generic_stat, put_head,
    read_frame,
};
use crate::cpu::Register;
use crate::user::process::hardware::{Floats, Hardware};

const RA: Register = Register(1);
const SP: Register = Register(2);
const A0: u8 = 10;

/// One bit for each single-letter extension: I, M, A, F, D, C.
const HWCAP: u64 = 1 << 8 | 1 << 12 | 1 | 1 << 5 | 1 << 3 | 1 << 2;

pub(super) static ABI: UserAbi = UserAbi {
    calls: GENERIC_CALLS,
    number: Register(17),
    arguments: [Register(10), Register(11), Register(12), Register(13), Register(14), Register(15)],
    result: Register(10),
    spoilt: &[],
    tls_argument: 3,
    has_restorer: false,
    absent: &["riscv_hwprobe"],
    idle: &["riscv_flush_icache"],
    machine: "riscv64",
    platform: None,
    hwcap: HWCAP,
    stat: generic_stat,
    signals: &Signals,
    // nop; li a7, 139; ecall
    trampoline: &[0x0000_0013, 0x08b0_0893, 0x0000_0073],
    trampoline_symbol: "__vdso_rt_sigreturn",
};

#[derive(Debug)]
struct Signals;

/// ```text
///   high   ucontext_t: flags, link, stack, mask; at 176 pc and x1 to x31, then f0 to f31 and fcsr
///   SP ->  siginfo_t, 128
/// ```
const GENERAL: usize = SIGINFO + UC_MCONTEXT;
const FLOATS: usize = GENERAL + 32 * 8;
/// `struct __riscv_d_ext_state`: f0 to f31 of 8 bytes, fcsr.
const FCSR: usize = FLOATS + 32 * 8;
/// With room for registers of 16 bytes.
const SIZE: usize = FLOATS + 32 * 16 + 16;

impl SignalAbi for Signals {
    fn push(&self, hardware: &mut dyn Hardware, frame: &Frame) -> bool {
        let at = frame.sp.wrapping_sub(SIZE as u64) & !15;
        let mut bytes = Bytes::new(SIZE);
        put_head(&mut bytes, frame);
        bytes.u64(GENERAL, hardware.pc());
        for number in 1..32 {
            bytes.u64(GENERAL + usize::from(number) * 8, hardware.register(Register(number)));
        }
        let floats = hardware.floats();
        for (index, register) in floats.registers.iter().enumerate() {
            bytes.put(FLOATS + index * 8, &register[..8]);
        }
        bytes.u32(FCSR, floats.control.first().copied().unwrap_or_default() as u32);
        if !hardware.write(at, &bytes.0) {
            return false;
        }
        let arguments = [u64::from(frame.info.signal), at, at + SIGINFO as u64];
        for (number, value) in (A0..).zip(arguments) {
            hardware.set_register(Register(number), value);
        }
        hardware.set_register(RA, frame.restorer);
        hardware.set_register(SP, at);
        hardware.set_pc(frame.handler);
        true
    }

    fn pop(&self, hardware: &mut dyn Hardware) -> Option<u64> {
        let bytes = read_frame(hardware, hardware.register(SP), SIZE)?;
        for number in 1..32 {
            hardware.set_register(Register(number), bytes.get_u64(GENERAL + usize::from(number) * 8));
        }
        hardware.set_pc(bytes.get_u64(GENERAL));
        let registers = (0..32).map(|index| {
            let mut register = [0; 16];
            register[..8].copy_from_slice(&bytes.get_u64(FLOATS + index * 8).to_le_bytes());
            register
        });
        let control = vec![u64::from(bytes.get_u32(FCSR))];
        hardware.set_floats(&Floats { registers: registers.collect(), control });
        Some(bytes.get_u64(SIGINFO + UC_SIGMASK))
    }
}
