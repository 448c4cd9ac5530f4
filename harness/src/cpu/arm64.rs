//! 64-bit Arm, little endian.

mod untouched;

use capstone::Capstone;
use capstone::arch::BuildsCapstone as _;

use super::{ClockPart, Cpu, Exception, Flow, Linkage, PauthKey, Register, Signing, WalkModels};

/// 64-bit Arm.
pub(super) static CPU: Cpu = Cpu {
    name: "arm64",
    abi: &kunwind::abi::ARM64,
    elf_machine: 183, // EM_AARCH64
    registers: 32,    // x0..x30, SP
    sp: Register(31),
    callee_saved: &CALLEE_SAVED,
    linkage: Linkage::Register(&[Register(30)]), // Arm ARM C6.2: BL and BLR write X30
    arguments: &[
        Register(0),
        Register(1),
        Register(2),
        Register(3),
        Register(4),
        Register(5),
        Register(6),
        Register(7),
    ],
    models: WalkModels { reliable: Some("arm64-kunwind"), best_effort: "arm64-kunwind:best-effort" },
    result: Register(0),
    nested_exception: Exception::Nmi,
    status_mask: u64::MAX,
    red_zone: 0, // AAPCS64 6.4.5.1: nothing below SP may be accessed
    sizes: &[4],
    decode,
    flow: None,
    signing: Some(signing),
    can_arrive,
    clock,
    disassembler,
    decoding: super::effect::ARM64,
    untouched: untouched::untouched,
};

/// AAPCS64 6.1.1: "A subroutine invocation must preserve the contents of the registers r19-r29 and SP." x29 is the frame
/// pointer.
const CALLEE_SAVED: [Register; 11] = {
    let mut list = [Register(19); 11];
    let mut index = 0;
    while index < list.len() {
        list[index] = Register(19 + index as u8);
        index += 1;
    }
    list
};

/// Instructions that enter or leave an exception; capstone 5 has no group for them.
const EXCEPTIONS: &[&str] = &["eret", "eretaa", "eretab", "svc", "hvc", "smc", "brk", "hlt", "udf"];

fn decode(capstone: &Capstone, address: u64, bytes: &[u8]) -> Option<(usize, Flow)> {
    super::flow_by_group(capstone, address, bytes, EXCEPTIONS)
}

/// `mrs` of CNTPCT_EL0, CNTVCT_EL0, CNTPCTSS_EL0 and CNTVCTSS_EL0 (Arm ARM D24.11); XZR is no register.
fn clock(bytes: &[u8]) -> Vec<ClockPart> {
    let word = bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    let is_read = matches!(word & !0x1f, 0xd53b_e020 | 0xd53b_e040 | 0xd53b_e0a0 | 0xd53b_e0c0);
    let register = Some(Register((word & 0x1f) as u8)).filter(|register| is_read && register.0 != 31);
    register.map(ClockPart::whole).into_iter().collect()
}

/// Arm ARM C6.2, PACIA, PACIB, AUTIA, AUTIB with x30: the hints (`paciasp`, `paciaz`, ...), which other CPUs ignore, and the forms
/// that name both registers. XPACI takes the signature off without checking it. `retaa` and `retab` leave the function.
fn signing(bytes: &[u8]) -> Option<Signing> {
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    Some(match word {
        0xd503_231f | 0xd503_233f => Signing::Sign(PauthKey::A),
        0xd503_235f | 0xd503_237f => Signing::Sign(PauthKey::B),
        // AUTIAZ, AUTIASP, AUTIBZ, AUTIBSP; XPACLRI; XPACI x30
        0xd503_239f | 0xd503_23bf | 0xd503_23df | 0xd503_23ff | 0xd503_20ff | 0xdac1_43fe => Signing::Authenticate,
        // Bits 9..5 are the register of the modifier, bits 4..0 the signed one, here x30.
        _ => match word & 0xffff_fc1f {
            0xdac1_001e => Signing::Sign(PauthKey::A),
            0xdac1_041e => Signing::Sign(PauthKey::B),
            0xdac1_101e | 0xdac1_141e => Signing::Authenticate,
            _ => return None,
        },
    })
}

/// Reads the masks in PSTATE.
const fn can_arrive(exception: Exception, status: u64) -> bool {
    match exception {
        Exception::Irq => status & 1 << 7 == 0, // PSTATE.I
        // FIQ stands in for the NMI. Linux's pseudo-NMI is an interrupt whose priority passes the priority mask, but not in
        // entry code, where PSTATE.I and F are set. So PSTATE.F is its mask here.
        Exception::Nmi => status & 1 << 6 == 0,
        Exception::Debug => status & 1 << 9 == 0, // PSTATE.D masks hardware breakpoints, but not BRK
        Exception::SError => status & 1 << 8 == 0, // PSTATE.A
        // No mask in PSTATE holds back a firmware event.
        Exception::Fault | Exception::Syscall | Exception::Sdei => true,
    }
}

fn disassembler() -> Result<Capstone, capstone::Error> {
    Capstone::new().arm64().mode(capstone::arch::arm64::ArchMode::Arm).detail(true).build()
}

#[cfg(test)]
mod tests {
    use super::CPU;
    use crate::cpu::{Exception, Flow, FlowKind};

    #[test]
    fn each_mask_blocks_its_own_exception() {
        use Exception::{Fault, Irq, Nmi, SError, Sdei, Syscall};
        let arrive = |status| [Irq, Nmi, SError].map(|exception| CPU.can_arrive(exception, status));
        assert_eq!(arrive(0x05), [true; 3]); // EL1h
        assert_eq!(arrive(0x85), [false, true, true]); // PSTATE.I
        assert_eq!(arrive(0x45), [true, false, true]); // PSTATE.F
        assert_eq!(arrive(0x105), [true, true, false]); // PSTATE.A
        assert!([Fault, Syscall, Sdei].iter().all(|exception| CPU.can_arrive(*exception, 0x3c5)));
    }

    #[test]
    fn transfers_are_classified() {
        for (word, kind, target) in [
            (0xd503_201f_u32, FlowKind::Sequential, None), // nop
            (0x9400_0004, FlowKind::Call, Some(0x1010)),   // bl .+16
            (0xd63f_0020, FlowKind::Call, None),           // blr x1
            (0x1400_0002, FlowKind::Jump, Some(0x1008)),   // b .+8
            (0xb400_0040, FlowKind::Jump, Some(0x1008)),   // cbz x0, .+8
            (0xd61f_0200, FlowKind::Jump, None),           // br x16
            (0xd65f_03c0, FlowKind::Return, None),         // ret
            (0xd65f_0120, FlowKind::Return, None),         // ret x9
            (0xd69f_03e0, FlowKind::Exception, None),      // eret
            (0xd400_0001, FlowKind::Exception, None),      // svc #0
        ] {
            assert_eq!(CPU.flow(0x1000, &word.to_le_bytes()), Flow { kind, target }, "{word:#010x}");
        }
    }
}
