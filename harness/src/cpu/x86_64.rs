//! x86-64 in long mode.

mod untouched;

use capstone::Capstone;
use capstone::arch::BuildsCapstone as _;
use capstone::arch::BuildsCapstoneSyntax as _;

use super::{ClockPart, Cpu, Exception, Flow, FlowKind, Linkage, Register, WalkModels};

/// x86-64.
pub(super) static CPU: Cpu = Cpu {
    name: "x86_64",
    abi: &kunwind::abi::X86_64,
    elf_machine: 62, // EM_X86_64
    registers: 17,   // the sixteen general registers, RIP
    sp: Register(7),
    callee_saved: &CALLEE_SAVED,
    linkage: Linkage::Push, // SDM volume 2, CALL
    arguments: &[Register(5), Register(4), Register(1), Register(2), Register(8), Register(9)],
    models: WalkModels { reliable: Some("x86-orc"), best_effort: "x86-orc:best-effort" },
    result: Register(0),
    nested_exception: Exception::Nmi,
    status_mask: u64::MAX,
    red_zone: 128, // psABI 3.2.2: the 128 bytes beyond the location pointed to by rsp
    sizes: &[3, 5, 4, 2, 1, 7, 8, 6, 9, 10, 11, 12, 13, 14, 15],
    decode,
    flow: None,
    signing: None,
    can_arrive,
    clock,
    disassembler,
    decoding: super::effect::X86_64,
    untouched: untouched::untouched,
};

/// psABI 3.2.1: "Registers %rbp, %rbx and %r12 through %r15 'belong' to the calling function".
const CALLEE_SAVED: [Register; 6] = [Register(3), Register(6), Register(12), Register(13), Register(14), Register(15)];

/// RDTSC and RDTSCP (SDM volume 2): EDX has the upper half.
fn clock(bytes: &[u8]) -> Vec<ClockPart> {
    match bytes {
        [0x0f, 0x31, ..] | [0x0f, 0x01, 0xf9, ..] => vec![
            ClockPart { register: Register(0), shift: 0, bits: 32 },
            ClockPart { register: Register(1), shift: 32, bits: 32 },
        ],
        _ => Vec::new(),
    }
}

/// Instructions that enter or leave an exception, but that capstone 5 puts in no such group.
const EXCEPTIONS: &[&str] = &["syscall", "sysret", "sysretq", "ud2", "ud2b"];

fn decode(capstone: &Capstone, address: u64, bytes: &[u8]) -> Option<(usize, Flow)> {
    let (size, flow) = super::flow_by_group(capstone, address, bytes, EXCEPTIONS)?;
    // LOOP, LOOPE, LOOPNE (SDM volume 2: E0..E2 cb) are in no group of capstone 5.
    let flow = match bytes {
        [0xe0..=0xe2, displacement, ..] => Flow {
            kind: FlowKind::Jump,
            target: Some(address.wrapping_add(2).wrapping_add_signed(i64::from(displacement.cast_signed()))),
        },
        _ => flow,
    };
    Some((size, flow))
}

const fn can_arrive(exception: Exception, status: u64) -> bool {
    match exception {
        Exception::Irq => status & 1 << 9 != 0, // RFLAGS.IF
        Exception::Nmi | Exception::Debug | Exception::Fault | Exception::Syscall => true,
        Exception::SError | Exception::Sdei => false,
    }
}

fn disassembler() -> Result<Capstone, capstone::Error> {
    use capstone::arch::x86::{ArchMode, ArchSyntax};
    Capstone::new().x86().mode(ArchMode::Mode64).syntax(ArchSyntax::Att).detail(true).build()
}

#[cfg(test)]
mod tests {
    use super::CPU;
    use crate::cpu::FlowKind::{Call, Exception, Jump, Return, Sequential};

    #[test]
    fn transfers_are_classified() {
        for (bytes, kind, target) in [
            (&[0x90_u8][..], Sequential, None),           // nop
            (&[0xe8, 0x0b, 0, 0, 0], Call, Some(0x1010)), // call .+16
            (&[0xff, 0xd0], Call, None),                  // call *%rax
            (&[0xff, 0x15, 0, 0, 0, 0], Call, None),      // call *0(%rip)
            (&[0xeb, 0x0e], Jump, Some(0x1010)),          // jmp .+16
            (&[0x74, 0x0e], Jump, Some(0x1010)),          // je .+16
            (&[0xe2, 0xfe], Jump, Some(0x1000)),          // loop .
            (&[0x41, 0xff, 0xe3], Jump, None),            // jmp *%r11
            (&[0xc3], Return, None),                      // ret
            (&[0xc2, 0x10, 0], Return, None),             // ret $16
            (&[0x48, 0xcf], Exception, None),             // iretq
            (&[0x0f, 0x05], Exception, None),             // syscall
            (&[0xcc], Exception, None),                   // int3
            (&[0x0f, 0x0b], Exception, None),             // ud2
        ] {
            let flow = CPU.flow(0x1000, bytes);
            assert_eq!((flow.kind, flow.target), (kind, target), "{bytes:02x?}");
        }
    }
}
