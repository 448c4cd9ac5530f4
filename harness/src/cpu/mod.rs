//! Facts about each CPU, and the decoding of its instructions. Nothing here knows the emulator: what Unicorn needs to know
//! about a CPU is in `machine/core`.

mod arm64;
mod effect;
mod known;
mod riscv64;
mod x86_64;

use capstone::Capstone;
use kunwind::Abi;

pub use effect::{Effect, Effects, Held, Step};
pub use known::Shape;
/// Code addresses and registers by DWARF number: the only part of kunwind that all of the harness shares.
pub use kunwind::{CodeAddress, PauthKey, Register, Regs};

/// Every CPU, in the order of reports.
pub static ALL: [&Cpu; 3] = [&arm64::CPU, &riscv64::CPU, &x86_64::CPU];

/// No CPU has more callee-saved registers, SP apart: riscv64 has 12.
pub const MAX_CALLEE_SAVED: usize = 12;

/// One CPU, as data.
pub struct Cpu {
    /// The name of its folders.
    pub name: &'static str,
    /// What unwinders know about it. The oracle does not look at this.
    pub abi: &'static Abi,
    /// `e_machine` in its ELF files (System V gABI, chapter 4).
    pub elf_machine: u16,
    /// How many registers have a DWARF number below this one: 0 is the first.
    pub registers: u8,
    /// The stack pointer.
    pub sp: Register,
    /// What a called function must preserve, SP apart; at most [`MAX_CALLEE_SAVED`].
    pub callee_saved: &'static [Register],
    /// Where a call leaves the return address.
    pub linkage: Linkage,
    /// The registers of a function's first integer arguments, in order.
    pub arguments: &'static [Register],
    /// The register of a function's integer result.
    pub result: Register,
    /// The exception that can arrive inside the entry, handler and exit of an interrupt.
    pub nested_exception: Exception,
    /// The bits of the status register (interrupt masks and flags) that an exception restores.
    pub status_mask: u64,
    /// How many bytes below SP belong to a function in user mode, whatever interrupts it.
    pub red_zone: u64,
    /// Which subjects model Linux's walks of its own stacks on this CPU, by name.
    pub models: WalkModels,
    /// The sizes that an instruction can have, in bytes, at most 15: the usual ones first.
    sizes: &'static [u8],
    decode: known::Decode,
    /// What an instruction does to the flow of control, where that is decoded by hand.
    flow: Option<fn(u64, &[u8]) -> Flow>,
    /// What an instruction does to the signature of a return address, on a CPU with pointer authentication.
    signing: Option<SigningOf>,
    can_arrive: fn(Exception, u64) -> bool,
    clock: fn(&[u8]) -> Vec<ClockPart>,
    disassembler: fn() -> Result<Capstone, capstone::Error>,
    decoding: effect::Decoding,
    untouched: fn(&[u8]) -> Mask,
}

/// Some general registers, a bit for each by DWARF number; and memory.
pub type Mask = u64;

/// All memory, among the bits of a [`Mask`]. No register has this number.
pub const MEMORY: Mask = 1 << 63;

/// The register whose number five bits of an instruction are, from this bit on.
const fn field(word: u32, low: u32) -> Mask {
    1 << (word >> low & 31)
}

/// The subjects that model the walks of Linux v7.3, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkModels {
    /// `arch_stack_walk_reliable`, where Linux has it.
    pub reliable: Option<&'static str>,
    /// `arch_stack_walk`.
    pub best_effort: &'static str,
}

/// A register that holds a part of a clock which an instruction has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockPart {
    /// The register.
    pub register: Register,
    /// The first bit of the clock that it holds.
    pub shift: u32,
    /// How many bits it holds, from 1 to 64.
    pub bits: u32,
}

impl ClockPart {
    const fn whole(register: Register) -> Self {
        Self { register, shift: 0, bits: 64 }
    }

    /// The value of the register at this time.
    #[must_use]
    pub const fn of(self, time: u64) -> u64 {
        time >> self.shift & u64::MAX >> (64 - self.bits)
    }
}

/// Says what the instruction that these bytes begin with does to the signature of the return address.
type SigningOf = fn(&[u8]) -> Option<Signing>;

/// What an instruction does to the signature of the return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// It signs the address with this key.
    Sign(PauthKey),
    /// It takes the signature off.
    Authenticate,
}

impl Cpu {
    /// What the instruction at this address does to the flow of control. `bytes` may reach beyond the instruction.
    #[must_use]
    pub fn flow(&self, address: u64, bytes: &[u8]) -> Flow {
        known::flow(self, address, bytes)
    }

    /// The size and the kind of the instruction at the start of `bytes`, which may reach beyond it. `None`: they are no instruction.
    #[must_use]
    pub fn shape(&self, bytes: &[u8]) -> Option<Shape> {
        known::shape(self, bytes)
    }

    /// Whether functions can sign their return addresses.
    #[must_use]
    pub const fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// What the instruction at the start of `bytes` certainly leaves as it is, whether it retires or not: nothing, if it is made to
    /// take an exception. `bytes` may reach beyond the instruction.
    #[must_use]
    pub fn untouched(&self, bytes: &[u8]) -> Mask {
        (self.untouched)(bytes)
    }

    /// What the instruction does to the signature of the return address in the link register. `bytes` may reach beyond the
    /// instruction.
    #[must_use]
    pub fn signing(&self, bytes: &[u8]) -> Option<Signing> {
        self.signing.and_then(|signing| signing(bytes))
    }

    /// The registers into which the instruction reads a clock, if it does. `bytes` may reach beyond the instruction.
    #[must_use]
    pub fn clock(&self, bytes: &[u8]) -> Vec<ClockPart> {
        (self.clock)(bytes)
    }

    /// Whether this exception can really arrive in kernel mode while the status register has this value.
    ///
    /// A fault always can: a breakpoint may be planted on any instruction. What the emulator lacks (interrupt priorities for
    /// NMIs) is modelled, and each implementation says how.
    #[must_use]
    pub fn can_arrive(&self, exception: Exception, status: u64) -> bool {
        (self.can_arrive)(exception, status)
    }

    /// A disassembler for listings.
    ///
    /// # Errors
    ///
    /// Capstone's, when it was built without this CPU.
    pub fn disassembler(&self) -> Result<Capstone, capstone::Error> {
        (self.disassembler)()
    }

    /// The registers in which a call may leave the return address; none where it pushes it.
    #[must_use]
    pub const fn links(&self) -> &'static [Register] {
        match self.linkage {
            Linkage::Register(links) => links,
            Linkage::Push => &[],
        }
    }

    /// The index of the frame pointer in [`Cpu::callee_saved`].
    #[must_use]
    pub fn fp_index(&self) -> Option<usize> {
        self.callee_saved.iter().position(|register| *register == self.abi.fp)
    }
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cpu").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An exception that the harness delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exception {
    /// A maskable interrupt.
    Irq,
    /// An interrupt that the usual mask does not stop.
    Nmi,
    /// A synchronous fault of the instruction, which is restarted afterwards.
    Fault,
    /// A hardware breakpoint on the instruction.
    Debug,
    /// The guest's own trap: a system call from user mode; from an arm64 kernel, a breakpoint instruction.
    Syscall,
    /// arm64: a system error, asynchronous (SError).
    SError,
    /// arm64: an event that the firmware delivers to the kernel (SDEI).
    Sdei,
}

impl Exception {
    /// The name in scenarios and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Irq => "irq",
            Self::Nmi => "nmi",
            Self::Fault => "fault",
            Self::Debug => "debug",
            Self::Syscall => "syscall",
            Self::SError => "serror",
            Self::Sdei => "sdei",
        }
    }
}

/// Where a call leaves the return address, by the ISA's definition of its call instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// In one of these registers; SP is unchanged.
    Register(&'static [Register]),
    /// On the stack, in the word that SP points at after the call.
    Push,
}

impl Linkage {
    /// How many bytes a call pushes: at the first instruction of the called function, SP is this much below the CFA.
    #[must_use]
    pub const fn pushed(self) -> u64 {
        match self {
            Self::Register(_) => 0,
            Self::Push => 8,
        }
    }
}

/// What an instruction does to the flow of control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The kind of transfer.
    pub kind: FlowKind,
    /// The target, where the instruction encodes it.
    pub target: Option<u64>,
}

/// The kinds of transfer. The oracle acts on [`FlowKind::Call`] alone: it recognises a return by where it lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// The next instruction follows.
    Sequential,
    /// A branch, conditional or not, direct or not.
    Jump,
    /// A call: it leaves a return address.
    Call,
    /// The ISA's idiom for a return.
    Return,
    /// Enters or leaves an exception.
    Exception,
}

impl Flow {
    /// An instruction that is followed by the next one.
    pub const SEQUENTIAL: Self = Self { kind: FlowKind::Sequential, target: None };
}

/// The CPU of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Cpu> {
    ALL.iter().copied().find(|cpu| cpu.name == name)
}

/// The names of all CPUs, for messages.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|cpu| cpu.name).collect::<Vec<_>>().join(", ")
}

/// Classifies by capstone's groups, where those are right. CALL is tested first: capstone puts arm64's `bl` in JUMP too.
fn flow_by_group(capstone: &Capstone, address: u64, bytes: &[u8], exceptions: &[&str]) -> Option<(usize, Flow)> {
    use capstone::InsnGroupType::{CS_GRP_CALL, CS_GRP_INT, CS_GRP_IRET, CS_GRP_JUMP, CS_GRP_RET};

    let instructions = capstone.disasm_count(bytes, address, 1).ok()?;
    let instruction = instructions.first()?;
    let Ok(detail) = capstone.insn_detail(instruction) else { return Some((instruction.len(), Flow::SEQUENTIAL)) };
    let is = |group: u32| detail.groups().iter().any(|found| u32::from(found.0) == group);
    let mnemonic = instruction.mnemonic().unwrap_or_default();
    let kind = if is(CS_GRP_CALL) {
        FlowKind::Call
    } else if is(CS_GRP_RET) {
        FlowKind::Return
    } else if is(CS_GRP_INT) || is(CS_GRP_IRET) || exceptions.contains(&mnemonic) {
        FlowKind::Exception
    } else if is(CS_GRP_JUMP) {
        FlowKind::Jump
    } else {
        FlowKind::Sequential
    };
    let is_direct = matches!(kind, FlowKind::Call | FlowKind::Jump);
    let target = is_direct.then(|| direct_target(instruction.op_str().unwrap_or_default())).flatten();
    Some((instruction.len(), Flow { kind, target }))
}

/// The absolute target that capstone prints as the last operand of a direct branch (`#0x1000`, `x0, #0x1000`, `0x1000`).
/// An indirect one (`*%rax`, `0x10(%rip)`, `x0`) has none.
fn direct_target(operands: &str) -> Option<u64> {
    let last = operands.rsplit(", ").next()?.trim();
    let digits = last.strip_prefix('#').unwrap_or(last).strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::direct_target;

    #[test]
    fn only_an_immediate_is_a_direct_target() {
        assert_eq!(direct_target("#0x1000"), Some(0x1000));
        assert_eq!(direct_target("w0, #3, #0xffff800080000010"), Some(0xffff_8000_8000_0010));
        assert_eq!(direct_target("0xffffffff81000000"), Some(0xffff_ffff_8100_0000));
        assert_eq!(direct_target("*0x10(%rip)"), None);
        assert_eq!(direct_target("*%rax"), None);
        assert_eq!(direct_target("x9"), None);
        assert_eq!(direct_target(""), None);
    }
}
