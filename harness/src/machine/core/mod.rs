//! What Unicorn needs for each CPU: engines, register ids, and how the hardware takes an exception.

mod arm64;
mod named;
mod riscv64;
mod x86_64;

use unicorn_engine::{Unicorn, uc_error};

pub(super) use named::{Named, of_program};

use super::{Context, GuestMemory};
use crate::cpu::{Cpu, Exception};
use crate::guest::conventions::Vectors;

/// One CPU under Unicorn.
pub(super) trait Core: Sync + std::fmt::Debug {
    /// Which Unicorn engine runs it: the model with every feature, or the default one.
    fn engine(&self, max: bool) -> Engine;

    /// Puts a new engine into the state in which guests start. `max` is as for [`Core::engine`].
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, vectors: &Vectors, max: bool) -> Result<(), uc_error>;

    /// Puts a booted engine into the state in which a kernel that has long been booted runs a task: interrupts are not masked,
    /// floating point is enabled, and the system registers that tell the kernel who runs say so. `task` is the address of the
    /// task's structure.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn enter_kernel(&self, engine: &mut Unicorn<'_, Context<'_>>, task: u64) -> Result<(), uc_error>;

    /// Puts a booted engine into the state in which a kernel starts a program, but for the privilege level: floating point is enabled,
    /// and the register that the ABI has for it holds the thread pointer.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn enter_program(&self, engine: &mut Unicorn<'_, Context<'_>>, thread: u64) -> Result<(), uc_error>;

    /// What a process has besides its general registers.
    fn user_registers(&self) -> &'static UserRegisters;

    /// Unicorn's register ids, by DWARF number.
    fn register_ids(&self) -> &'static [i32];

    /// Sets a register that is not one of the general ones, by its name in Unicorn's register enums. False if there is no such.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn set_named(&self, engine: &mut Unicorn<'_, Context<'_>>, name: &str, value: u128) -> Result<bool, uc_error>;

    /// The registers that [`Core::set_named`] knows, those of a program first.
    fn named(&self) -> &'static [&'static [Named]];

    /// Does what the hardware does when it takes an exception before the instruction at `pc`: no more, no less.
    ///
    /// # Errors
    ///
    /// Why it cannot be delivered: what the guest lacks, or what Unicorn refuses.
    fn take_exception(
        &self,
        engine: &mut Unicorn<'_, Context<'_>>,
        memory: &GuestMemory,
        vectors: &Vectors,
        exception: Exception,
        pc: u64,
    ) -> Result<(), String>;

    /// If Unicorn's exception number is that of a system call, or of arm64's breakpoint instruction: the pc that the CPU saves,
    /// and the pc at which the code will resume. `pc` is the pc that Unicorn reports.
    /// `word` is the instruction at `pc`, 0 if it cannot be read.
    fn syscall(&self, number: u32, pc: u64, word: u32) -> Option<(u64, u64)>;

    /// Whether Unicorn's exception number is that of the instruction for system calls.
    fn is_system_call(&self, number: u32) -> bool;

    /// Unicorn's id of the register that holds a system call's number (man 2 syscall).
    fn system_call_id(&self) -> i32;

    /// If Unicorn's exception number is that of a firmware call: does what the firmware does. `pc` is as for
    /// [`Core::syscall`].
    fn firmware_call(&self, engine: &mut Unicorn<'_, Context<'_>>, number: u32, pc: u64) -> Option<Result<(), String>> {
        let _ = (engine, number, pc);
        None
    }

    /// Whether the CPU is in user mode. `read` reads a register by Unicorn id.
    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool;

    /// Changes the registers that a system call changes besides its result, when it returns here.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn clobber_at_system_call(&self, engine: &mut Unicorn<'_, Context<'_>>, resume: u64) -> Result<(), uc_error> {
        let _ = (engine, resume);
        Ok(())
    }

    /// Unicorn's id of the register that holds the interrupt mask.
    fn status_id(&self) -> i32;

    /// The name of Unicorn's exception number.
    fn exception_name(&self, number: u32) -> &'static str;
}

/// Unicorn's ids of what a process has besides its general registers.
#[derive(Debug)]
pub(super) struct UserRegisters {
    /// The thread pointer.
    pub(super) thread_pointer: i32,
    /// The register that holds the flags, which of its bits are flags (0: none), and which others are set in every program.
    pub(super) flags: (i32, u64, u64),
    /// The registers for floating point and vectors, in order, and how many bytes each has.
    pub(super) floats: (&'static [i32], usize),
    /// Which of them is the first for arguments, and for results.
    pub(super) first_argument: usize,
    /// The registers that control them.
    pub(super) float_control: &'static [i32],
}

/// Unicorn's ids that follow each other.
const fn consecutive<const N: usize>(first: i32) -> [i32; N] {
    let mut ids = [0; N];
    let mut number = 0;
    while number < N {
        ids[number] = first + number as i32;
        number += 1;
    }
    ids
}

/// The parameters of a Unicorn engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Engine {
    /// Unicorn's name for the architecture.
    pub(super) arch: unicorn_engine::Arch,
    /// Unicorn's mode bits.
    pub(super) mode: unicorn_engine::Mode,
    /// Unicorn's number of the CPU model, if it is not the default.
    pub(super) model: Option<i32>,
}

/// How Unicorn runs this CPU.
pub(super) fn of(cpu: &Cpu) -> &'static dyn Core {
    match cpu.name {
        "arm64" => &arm64::Arm64,
        "riscv64" => &riscv64::Riscv64,
        _ => &x86_64::X86_64,
    }
}
