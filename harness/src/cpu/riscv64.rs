//! 64-bit RISC-V.

mod flow;
mod untouched;

use capstone::Capstone;
use capstone::arch::{BuildsCapstone as _, BuildsCapstoneExtraMode as _};

use super::{ClockPart, Cpu, Exception, Flow, Linkage, Register, WalkModels};

/// 64-bit RISC-V.
pub(super) static CPU: Cpu = Cpu {
    name: "riscv64",
    abi: &kunwind::abi::RISCV64,
    elf_machine: 243, // EM_RISCV
    registers: 32,
    sp: Register(2),
    callee_saved: &CALLEE_SAVED,
    linkage: Linkage::Register(&[Register(1), Register(5)]), // unprivileged ISA 2.5.1: link registers are x1 (ra) and x5 (t0)
    arguments: &[
        Register(10),
        Register(11),
        Register(12),
        Register(13),
        Register(14),
        Register(15),
        Register(16),
        Register(17),
    ],
    models: WalkModels { reliable: None, best_effort: "riscv-walk-stackframe" },
    result: Register(10),
    nested_exception: Exception::Fault, // there is no NMI; entry code can fault
    status_mask: !(1 << 8 | 1 << 5),    // sret itself changes sstatus.SPP and SPIE
    red_zone: 0,                        // psABI, integer calling convention: nothing below SP is preserved
    sizes: &[2, 4],
    decode,
    flow: Some(flow::decode),
    signing: None,
    can_arrive,
    clock,
    disassembler,
    decoding: super::effect::RISCV64,
    untouched: untouched::untouched,
};

/// Capstone knows what is an instruction, and nothing more.
fn decode(capstone: &Capstone, address: u64, bytes: &[u8]) -> Option<(usize, Flow)> {
    let size = capstone.disasm_count(bytes, address, 1).ok()?.first()?.len();
    Some((size, flow::decode(address, bytes)))
}

/// None: the emulator refuses `rdtime`, and leaves `rdcycle` and `rdinstret` to machine mode.
const fn clock(_: &[u8]) -> Vec<ClockPart> {
    Vec::new()
}

/// psABI, integer register convention ("Preserved across calls? Yes"): s0..s11 = x8, x9, x18..x27.
#[rustfmt::skip]
const CALLEE_SAVED: [Register; 12] = [
    Register(8), Register(9), Register(18), Register(19), Register(20), Register(21), Register(22), Register(23),
    Register(24), Register(25), Register(26), Register(27),
];

const fn can_arrive(exception: Exception, status: u64) -> bool {
    match exception {
        Exception::Irq => status & 1 << 1 != 0, // sstatus.SIE
        Exception::Nmi | Exception::SError | Exception::Sdei => false,
        Exception::Fault | Exception::Debug | Exception::Syscall => true,
    }
}

fn disassembler() -> Result<Capstone, capstone::Error> {
    use capstone::arch::riscv::{ArchExtraMode, ArchMode};
    Capstone::new()
        .riscv()
        .mode(ArchMode::RiscV64)
        .extra_mode(std::iter::once(ArchExtraMode::RiscVC))
        .detail(true)
        .build()
}
