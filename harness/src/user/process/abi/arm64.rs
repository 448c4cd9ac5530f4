//! arm64 Linux (arch/arm64/kernel/signal.c, arch/arm64/include/uapi/asm/sigcontext.h).

use super::{
    Bytes, Frame, GENERIC_CALLS, SIGINFO, SignalAbi, UC_MCONTEXT, UC_SIGMASK, UserAbi, generic_stat, put_head,
    read_frame,
};
use crate::cpu::Register;
use crate::user::process::hardware::{Floats, Hardware};

const FP: Register = Register(29);
const LR: Register = Register(30);
const SP: Register = Register(31);

/// HWCAP_FP and HWCAP_ASIMD.
const HWCAP: u64 = 0b11;

pub(super) static ABI: UserAbi = UserAbi {
    calls: GENERIC_CALLS,
    number: Register(8),
    arguments: [Register(0), Register(1), Register(2), Register(3), Register(4), Register(5)],
    result: Register(0),
    spoilt: &[],
    tls_argument: 3,
    has_restorer: true,
    absent: &[],
    idle: &[],
    machine: "aarch64",
    platform: Some("aarch64"),
    hwcap: HWCAP,
    stat: generic_stat,
    signals: &Signals,
    // nop; mov x8, #139; svc #0
    trampoline: &[0xd503_201f, 0xd280_1168, 0xd400_0001],
    trampoline_symbol: "__kernel_rt_sigreturn",
};

#[derive(Debug)]
struct Signals;

/// ```text
///   high   frame record {x29, x30}, at a multiple of 16: x29 of the handler points here
///          ucontext_t: flags, link, stack, mask; at 176 the registers, and 4096 bytes of records behind them
///   SP ->  siginfo_t, 128
/// ```
const MCONTEXT: usize = SIGINFO + UC_MCONTEXT;
/// In `struct sigcontext`: the fault's address, x0 to x30, SP, pc, PSTATE.
const GENERAL: usize = MCONTEXT + 8;
const RECORDS: usize = MCONTEXT + 288;
const SIZE: usize = RECORDS + 4096;
/// `struct fpsimd_context`: its magic and size, FPSR, FPCR, V0 to V31.
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_SIZE: u32 = 16 + 32 * 16;

impl SignalAbi for Signals {
    fn push(&self, hardware: &mut dyn Hardware, frame: &Frame) -> bool {
        let record = (frame.sp.wrapping_sub(16)) & !15;
        let at = (record & !15).wrapping_sub(SIZE as u64);
        let mut bytes = Bytes::new(SIZE);
        put_head(&mut bytes, frame);
        for number in 0..31 {
            bytes.u64(GENERAL + usize::from(number) * 8, hardware.register(Register(number)));
        }
        bytes.u64(GENERAL + 31 * 8, hardware.register(SP));
        bytes.u64(GENERAL + 32 * 8, hardware.pc());
        bytes.u64(GENERAL + 33 * 8, hardware.flags());
        let floats = hardware.floats();
        bytes.u32(RECORDS, FPSIMD_MAGIC);
        bytes.u32(RECORDS + 4, FPSIMD_SIZE);
        for (index, control) in floats.control.iter().enumerate() {
            bytes.u32(RECORDS + 8 + index * 4, *control as u32);
        }
        for (index, register) in floats.registers.iter().enumerate() {
            bytes.put(RECORDS + 16 + index * 16, register);
        }
        let chain: Vec<u8> = [FP, LR].iter().flat_map(|it| hardware.register(*it).to_le_bytes()).collect();
        if !hardware.write(record, &chain) || !hardware.write(at, &bytes.0) {
            return false;
        }
        let arguments = [u64::from(frame.info.signal), at, at + SIGINFO as u64];
        for (number, value) in (0..).zip(arguments) {
            hardware.set_register(Register(number), value);
        }
        for (register, value) in [(FP, record), (LR, frame.restorer), (SP, at)] {
            hardware.set_register(register, value);
        }
        hardware.set_pc(frame.handler);
        true
    }

    fn pop(&self, hardware: &mut dyn Hardware) -> Option<u64> {
        let bytes = read_frame(hardware, hardware.register(SP), SIZE)?;
        for number in 0..31 {
            hardware.set_register(Register(number), bytes.get_u64(GENERAL + usize::from(number) * 8));
        }
        hardware.set_register(SP, bytes.get_u64(GENERAL + 31 * 8));
        hardware.set_pc(bytes.get_u64(GENERAL + 32 * 8));
        hardware.set_flags(bytes.get_u64(GENERAL + 33 * 8));
        if bytes.get_u32(RECORDS) == FPSIMD_MAGIC {
            let registers = (0..32).map(|index| bytes.get_16(RECORDS + 16 + index * 16)).collect();
            let control = [8, 12].map(|offset| u64::from(bytes.get_u32(RECORDS + offset))).to_vec();
            hardware.set_floats(&Floats { registers, control });
        }
        Some(bytes.get_u64(SIGINFO + UC_SIGMASK))
    }
}
