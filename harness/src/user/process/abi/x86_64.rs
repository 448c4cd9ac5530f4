//! x86-64 Linux (System V psABI, A.2.1; Linux arch/x86/entry/syscalls, arch/x86/kernel/signal_64.c).

use super::{BLOCK, Bytes, Frame, READ_SIZE, SIGINFO, SignalAbi, Spoilt, Stat, UserAbi, read_frame};
use crate::cpu::Register;
use crate::user::process::hardware::{Floats, Hardware};

const RAX: Register = Register(0);
const RDX: Register = Register(1);
const RCX: Register = Register(2);
const RBX: Register = Register(3);
const RSI: Register = Register(4);
const RDI: Register = Register(5);
const RBP: Register = Register(6);
const RSP: Register = Register(7);

pub(super) static ABI: UserAbi = UserAbi {
    calls: include_str!("calls-x86_64.txt"),
    number: RAX,
    arguments: [RDI, RSI, RDX, Register(10), Register(8), Register(9)],
    result: RAX,
    spoilt: &[Spoilt::Pc(RCX), Spoilt::Flags(Register(11))],
    tls_argument: 4,
    has_restorer: true,
    absent: &[],
    idle: &[],
    machine: "x86_64",
    platform: Some("x86_64"),
    // CPUID.1:EDX of the emulator's model decides; this is what it has in common with every 64-bit CPU.
    hwcap: 0x078b_fbfd,
    stat,
    signals: &Signals,
    trampoline: &[],
    trampoline_symbol: "",
};

/// Linux arch/x86/include/uapi/asm/stat.h.
fn stat(stat: &Stat) -> Vec<u8> {
    let mut bytes = Bytes::new(144);
    bytes.u64(8, stat.inode);
    bytes.u64(16, u64::from(stat.links));
    bytes.u32(24, stat.mode);
    bytes.u64(48, stat.size);
    bytes.u64(56, READ_SIZE);
    bytes.u64(64, stat.size.div_ceil(BLOCK));
    bytes.0
}

#[derive(Debug)]
struct Signals;

/// ```text
///   high   FXSAVE area, 512 bytes, at a multiple of 64
///          siginfo_t, 128
///          ucontext_t, 304: flags, link, stack, registers from R_8 on, mask
///   SP ->  the return address: the restorer
/// ```
const UCONTEXT: usize = 8;
const UCONTEXT_SIZE: usize = 304;
const UC_STACK: usize = UCONTEXT + 16;
const GENERAL: usize = UCONTEXT + 40;
const SELECTORS: usize = GENERAL + 18 * 8;
const FPSTATE: usize = SELECTORS + 8 + 4 * 8;
const MASK: usize = UCONTEXT + 296;
const SIZE: usize = UCONTEXT + UCONTEXT_SIZE + SIGINFO;
const FXSAVE: usize = 512;
/// UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS; UC_FP_XSTATE is not there: the emulated CPU has no XSAVE.
const UC_FLAGS: u64 = 6;
/// In `struct sigcontext`: r8 to r15, then these; rip and the flags follow.
const ORDER: [Register; 16] = [
    Register(8),
    Register(9),
    Register(10),
    Register(11),
    Register(12),
    Register(13),
    Register(14),
    Register(15),
    RDI,
    RSI,
    RBP,
    RBX,
    RDX,
    RAX,
    RCX,
    RSP,
];
/// The selectors of user mode (Linux arch/x86/include/asm/segment.h): `__USER_CS`, and `__USER_DS` as SS.
const CS: u16 = 0x33;
const SS: u16 = 0x2b;
/// The area below SP that belongs to the interrupted function (psABI, 3.2.2).
const RED_ZONE: u64 = 128;
/// The direction flag, which is clear in every function.
const DF: u64 = 0x400;

impl SignalAbi for Signals {
    fn push(&self, hardware: &mut dyn Hardware, frame: &Frame) -> bool {
        let red_zone = if frame.is_own_stack { RED_ZONE } else { 0 };
        let fpstate = frame.sp.wrapping_sub(red_zone + FXSAVE as u64) & !63;
        let at = (fpstate.wrapping_sub(SIZE as u64) & !15).wrapping_sub(8);
        let mut bytes = Bytes::new(SIZE);
        bytes.u64(0, frame.restorer);
        bytes.u64(UCONTEXT, UC_FLAGS);
        frame.alt.put(&mut bytes, UC_STACK);
        for (index, register) in ORDER.iter().enumerate() {
            bytes.u64(GENERAL + index * 8, hardware.register(*register));
        }
        let flags = hardware.flags();
        bytes.u64(GENERAL + 16 * 8, hardware.pc());
        bytes.u64(GENERAL + 17 * 8, flags);
        bytes.u16(SELECTORS, CS);
        bytes.u16(SELECTORS + 6, SS);
        bytes.u64(FPSTATE, fpstate);
        bytes.u64(MASK, frame.mask);
        frame.info.put(&mut bytes, UCONTEXT + UCONTEXT_SIZE);
        if !hardware.write(fpstate, &fxsave(&hardware.floats())) || !hardware.write(at, &bytes.0) {
            return false;
        }
        let (info, context) = (at + (UCONTEXT + UCONTEXT_SIZE) as u64, at + UCONTEXT as u64);
        let entry = [(RDI, u64::from(frame.info.signal)), (RSI, info), (RDX, context), (RAX, 0), (RSP, at)];
        for (register, value) in entry {
            hardware.set_register(register, value);
        }
        hardware.set_flags(flags & !DF);
        hardware.set_pc(frame.handler);
        true
    }

    fn pop(&self, hardware: &mut dyn Hardware) -> Option<u64> {
        let at = hardware.register(RSP).wrapping_sub(8); // the handler's return has popped the restorer's address
        let bytes = read_frame(hardware, at, SIZE)?;
        let saved = read_frame(hardware, bytes.get_u64(FPSTATE), FXSAVE)?;
        for (index, register) in ORDER.iter().enumerate() {
            hardware.set_register(*register, bytes.get_u64(GENERAL + index * 8));
        }
        hardware.set_pc(bytes.get_u64(GENERAL + 16 * 8));
        hardware.set_flags(bytes.get_u64(GENERAL + 17 * 8));
        hardware.set_floats(&of_fxsave(&saved, hardware.floats()));
        Some(bytes.get_u64(MASK))
    }
}

/// The area that FXSAVE writes (SDM volume 1, 10.5.1): the x87's control word and status, MXCSR at 24, XMM0 at 160. The x87's
/// registers are left out.
fn fxsave(floats: &Floats) -> Vec<u8> {
    let mut bytes = Bytes::new(FXSAVE);
    let control = |index: usize| floats.control.get(index).copied().unwrap_or_default();
    bytes.u16(0, control(0) as u16);
    bytes.u32(24, control(1) as u32);
    bytes.u32(28, 0xffff);
    for (index, register) in floats.registers.iter().enumerate() {
        bytes.put(160 + index * 16, register);
    }
    bytes.0
}

fn of_fxsave(bytes: &Bytes, now: Floats) -> Floats {
    let registers = (0..now.registers.len()).map(|index| bytes.get_16(160 + index * 16)).collect();
    Floats { registers, control: vec![u64::from(bytes.get_u32(0) & 0xffff), u64::from(bytes.get_u32(24))] }
}
