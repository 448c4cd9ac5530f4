//! What Unicorn needs of each CPU: engines, register ids, and how the hardware takes an exception.

mod arm64;
mod riscv64;
mod x86_64;

use unicorn_engine::{Unicorn, uc_error};

use super::{Context, GuestMemory};
use crate::cpu::{Cpu, Exception};
use crate::guest::conventions::Vectors;

/// One CPU under Unicorn.
pub(super) trait Core: Sync + std::fmt::Debug {
    /// Which Unicorn engine runs it; the model with everything, or the default one.
    fn engine(&self, max: bool) -> Engine;

    /// Brings a new engine into the state in which guests start. `max` is what [`Core::engine`] was asked for.
    ///
    /// # Errors
    ///
    /// Whatever Unicorn refuses.
    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, vectors: &Vectors, max: bool) -> Result<(), uc_error>;

    /// Unicorn's register ids, by DWARF number.
    fn register_ids(&self) -> &'static [i32];

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

    /// If Unicorn's exception of this number is a system call that left the pc here, or arm64's breakpoint instruction: the pc
    /// that the CPU saves, and the one at which the code will resume.
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

    /// What Unicorn's exception of this number is.
    fn exception_name(&self, number: u32) -> &'static str;
}

/// The parameters of a Unicorn engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Engine {
    /// Unicorn's name of the CPU family.
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
