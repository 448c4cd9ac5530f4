//! The order in which each format has a CPU's registers, by their DWARF numbers.

use super::ExportedPoint;
use crate::cpu::{Cpu, Register};

/// A place in a structure of registers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    /// A general register.
    Dwarf(u8),
    /// The program counter.
    Pc,
    /// Something that no unwinder needs, with this value.
    Fixed(u64),
}

use Slot::{Dwarf, Fixed, Pc};

impl Slot {
    pub(super) fn value(self, point: &ExportedPoint) -> u64 {
        match self {
            Self::Dwarf(number) => point.regs.get(Register(number)).unwrap_or_default(),
            Self::Pc => point.pc,
            Self::Fixed(value) => value,
        }
    }
}

/// `elf_gregset_t` (Linux arch/*/include/uapi/asm/ptrace.h, arch/x86/include/asm/user_64.h).
pub(super) fn prstatus(cpu: &Cpu) -> Vec<Slot> {
    let of = |numbers: &[u8]| numbers.iter().map(|number| Dwarf(*number)).collect::<Vec<_>>();
    match cpu.name {
        "arm64" => [of(&std::array::from_fn::<u8, 32, _>(|number| number as u8)), vec![Pc, Fixed(0)]].concat(),
        "riscv64" => [vec![Pc], of(&std::array::from_fn::<u8, 31, _>(|number| number as u8 + 1))].concat(),
        _ => {
            // r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs.
            let first = of(&[15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5]);
            let rest = [Fixed(u64::MAX), Pc, Fixed(0x33), Fixed(0x202), Dwarf(7), Fixed(0x2b)];
            [first, rest.to_vec(), vec![Fixed(0); 6]].concat()
        }
    }
}

/// `e_flags` of an ELF file: on riscv64, compressed instructions and the ABI with floating-point registers (psABI, 8.1).
pub(super) fn elf_flags(cpu: &Cpu) -> u32 {
    if cpu.name == "riscv64" { 5 } else { 0 }
}

/// The registers of `PERF_SAMPLE_REGS_USER` (arch/*/include/uapi/asm/perf_regs.h): their bits, and in that order.
pub(super) fn perf(cpu: &Cpu) -> (u64, Vec<Slot>) {
    let of = |numbers: &[u8]| numbers.iter().map(|number| Dwarf(*number)).collect::<Vec<_>>();
    match cpu.name {
        "arm64" => (0x1_ffff_ffff, [of(&std::array::from_fn::<u8, 32, _>(|number| number as u8)), vec![Pc]].concat()),
        "riscv64" => {
            (0xffff_ffff, [vec![Pc], of(&std::array::from_fn::<u8, 31, _>(|number| number as u8 + 1))].concat())
        }
        _ => {
            // ax bx cx dx si di bp sp ip flags cs ss, then r8 to r15 from bit 16 on.
            let first = [of(&[0, 3, 2, 1, 4, 5, 6, 7]), vec![Pc, Fixed(0x202), Fixed(0x33), Fixed(0x2b)]].concat();
            (0xff_0fff, [first, of(&[8, 9, 10, 11, 12, 13, 14, 15])].concat())
        }
    }
}

/// The name of the CPU in a `perf.data`'s header.
pub(super) fn machine(cpu: &Cpu) -> &'static str {
    match cpu.name {
        "arm64" => "aarch64",
        "riscv64" => "riscv64",
        _ => "x86_64",
    }
}

/// The structure of registers of a minidump (Breakpad, src/google_breakpad/common/minidump_cpu_*.h): the processor's number, and how
/// the structure is filled. `None` where the format has none.
pub(super) fn minidump(cpu: &Cpu) -> Option<MinidumpContext> {
    match cpu.name {
        // MDRawContextARM64: flags, cpsr, 29 registers, fp, lr, sp, pc; then floating point and debug registers.
        "arm64" => Some(MinidumpContext {
            processor: 12,
            flags: (0x0040_0007, 0),
            head: 8,
            slots: (0..32).map(Dwarf).chain([Pc]).collect(),
            size: 912,
        }),
        // MDRawContextAMD64: home addresses, flags, segments, debug registers, then rax rcx rdx rbx rsp rbp rsi rdi r8..r15 rip.
        "x86_64" => Some(MinidumpContext {
            processor: 9,
            flags: (0x0010_000f, 48),
            head: 120,
            slots: [0, 2, 1, 3, 7, 6, 4, 5].into_iter().chain(8..16).map(Dwarf).chain([Pc]).collect(),
            size: 1232,
        }),
        _ => None,
    }
}

/// A structure of registers.
#[derive(Debug)]
pub(super) struct MinidumpContext {
    pub(super) processor: u16,
    /// The flags, and where they are.
    pub(super) flags: (u32, usize),
    /// Where the registers begin.
    pub(super) head: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) size: usize,
}
