//! The only list of CPUs. Everything that the harness has to know of a CPU stands behind [`Arch`], in the CPU's folder.

mod arm64;
mod riscv64;
mod x86_64;

use capstone::Capstone;
use kunwind::{Abi, Register, Regs};
use unicorn_engine::{Unicorn, uc_error};

use crate::machine::{Context, Memory};

/// Every CPU, in the order of reports.
pub const ALL: &[&dyn Arch] = &[&arm64::Arm64, &riscv64::Riscv64, &x86_64::X86_64];

/// More callee-saved registers than any CPU has, SP apart: riscv64 has 12.
pub const MAX_CALLEE_SAVED: usize = 12;

/// One CPU, as the machine, the oracle and the listing need it.
pub trait Arch: Sync {
    /// The name of its folders.
    fn name(&self) -> &'static str;

    /// What the unwinders know of it. The oracle does not look at this.
    fn abi(&self) -> &'static Abi;

    /// `e_machine` in its ELF files (System V gABI, chapter 4).
    fn elf_machine(&self) -> u16;

    /// Which Unicorn engine runs it; the model with everything, or the default one.
    fn engine(&self, max: bool) -> Engine;

    /// Brings a new engine into the state in which guests start. `vectors` are the addresses of [`Arch::vector_symbols`], `max`
    /// is what [`Arch::engine`] was asked for.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, vectors: &[Option<u64>], max: bool) -> Result<(), uc_error>;

    /// Unicorn's register ids, by DWARF number.
    fn register_ids(&self) -> &'static [i32];

    /// The stack pointer.
    fn sp(&self) -> Register;

    /// What a called function must bring back, SP apart; at most [`MAX_CALLEE_SAVED`].
    fn callee_saved(&self) -> &'static [Register];

    /// Where a call leaves the return address.
    fn linkage(&self) -> Linkage;

    /// What this instruction does to the flow of control. `bytes` may reach beyond the instruction.
    fn flow(&self, address: u64, bytes: &[u8]) -> Flow;

    /// The symbols that [`Arch::take_exception`] needs of a guest, if exceptions are delivered to it.
    fn vector_symbols(&self) -> &'static [&'static str];

    /// Does what the hardware does when it takes an exception before the instruction at `pc`: no more, no less. `vectors` are
    /// the addresses of [`Arch::vector_symbols`].
    ///
    /// # Errors
    ///
    /// Why it cannot be delivered: a symbol that the guest lacks, or what Unicorn refuses.
    fn take_exception(
        &self,
        engine: &mut Unicorn<'_, Context<'_>>,
        memory: &Memory,
        vectors: &[Option<u64>],
        exception: Exception,
        pc: u64,
    ) -> Result<(), String>;

    /// If Unicorn's exception of this number is a system call that left the pc here, or arm64's breakpoint instruction: the pc that
    /// the CPU saves, and the one at which the code will go on.
    fn syscall(&self, number: u32, pc: u64) -> Option<(u64, u64)>;

    /// If Unicorn's exception of this number is a call of the firmware, with the pc here: does what the firmware does.
    fn firmware_call(&self, engine: &mut Unicorn<'_, Context<'_>>, number: u32, pc: u64) -> Option<Result<(), String>> {
        let _ = (engine, number, pc);
        None
    }

    /// Whether the CPU is in user mode. `read` gives the register of a Unicorn id.
    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool;

    /// Unicorn's id of the register that holds the interrupt mask.
    fn status_id(&self) -> i32;

    /// The bits of that register that an exception brings back.
    fn status_mask(&self) -> u64;

    /// Whether this exception can really arrive where that register has this value.
    ///
    /// A fault always can: a breakpoint may be planted on any instruction. What the emulator lacks (priorities of NMIs) is
    /// modelled, and the implementation says how.
    fn can_arrive(&self, exception: Exception, status: u64) -> bool;

    /// The exception that can arrive inside an interrupt's entry, handler and exit.
    fn nested_exception(&self) -> Exception {
        Exception::Nmi
    }

    /// From the interrupted SP to where entry code saves the interrupted pc, in guests whose handlers may change it there
    /// (guests/KERNEL.md).
    fn saved_pc(&self) -> Option<i64> {
        None
    }

    /// The register of a function's first argument.
    fn first_argument(&self) -> Register;

    /// The functions that enter and leave exceptions, for unwinders that know them by their addresses.
    fn exception_functions(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where a task that is switched out goes on, and the registers that its `struct task` (guests/KERNEL.md) at this
    /// address holds.
    fn saved_context(&self, memory: &Memory, task: u64) -> Option<(u64, Regs)>;

    /// What Unicorn's exception of this number is.
    fn exception_name(&self, number: u32) -> &'static str;

    /// A disassembler for listings.
    ///
    /// # Errors
    ///
    /// Capstone's, when it was built without this CPU.
    fn disassembler(&self) -> Result<Capstone, capstone::Error>;
}

/// The parameters of a Unicorn engine.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// Unicorn's name of the CPU family.
    pub arch: unicorn_engine::Arch,
    /// Unicorn's mode bits.
    pub mode: unicorn_engine::Mode,
    /// Unicorn's number of the CPU model, if it is not the default.
    pub model: Option<i32>,
}

/// An exception that the harness delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exception {
    /// A maskable interrupt.
    Irq,
    /// An interrupt that the usual mask does not stop.
    Nmi,
    /// A synchronous fault of the instruction, after which it is tried again.
    Fault,
    /// A breakpoint of the CPU's, on the instruction.
    Debug,
    /// The guest's own trap: a system call from user mode; from an arm64 kernel, a breakpoint instruction.
    Syscall,
    /// arm64: an asynchronous error of the system.
    SError,
    /// arm64: an event that the firmware hands to the kernel (SDEI).
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

/// The vector of this index, or why there is none.
fn vector(vectors: &[Option<u64>], symbols: &[&str], index: usize) -> Result<u64, String> {
    vectors.get(index).copied().flatten().ok_or_else(|| format!("the guest has no symbol `{}`", symbols[index]))
}

/// Where a call leaves the return address, by the ISA's definition of its call instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// In one of these registers; SP does not change.
    Register(&'static [Register]),
    /// On the stack, in the word that SP then points at.
    Push,
}

impl Linkage {
    /// How far SP was above its present value at the call site, seen from the first instruction of the called function.
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

/// The kinds of transfer. The oracle acts on [`FlowKind::Call`] alone: a return is recognised by where it lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowKind {
    /// Goes on behind itself.
    Sequential,
    /// A branch, conditional or not, direct or not.
    Jump,
    /// Leaves a return address behind.
    Call,
    /// The ISA's idiom of a return.
    Return,
    /// Enters or leaves an exception.
    Exception,
}

impl Flow {
    /// An instruction that goes on behind itself.
    pub const SEQUENTIAL: Self = Self { kind: FlowKind::Sequential, target: None };
}

/// The CPU of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Arch> {
    ALL.iter().copied().find(|arch| arch.name() == name)
}

/// The names of all CPUs, for messages.
#[must_use]
pub fn names() -> String {
    ALL.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ")
}

/// Classifies by capstone's groups, where those are right. CALL is asked first: capstone puts arm64's `bl` in JUMP too.
fn flow_by_group(capstone: &Capstone, address: u64, bytes: &[u8], exceptions: &[&str]) -> Flow {
    use capstone::InsnGroupType::{CS_GRP_CALL, CS_GRP_INT, CS_GRP_IRET, CS_GRP_JUMP, CS_GRP_RET};

    let Ok(instructions) = capstone.disasm_count(bytes, address, 1) else { return Flow::SEQUENTIAL };
    let Some(instruction) = instructions.first() else { return Flow::SEQUENTIAL };
    let Ok(detail) = capstone.insn_detail(instruction) else { return Flow::SEQUENTIAL };
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
    Flow { kind, target }
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
