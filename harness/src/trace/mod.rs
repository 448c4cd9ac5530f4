//! A run as its observer sees it: points, events, and what happens next. A run is a machine that executes a guest, or a [`log`]
//! of one; an observer cannot tell which.

pub mod log;
mod watch;

use std::time::Duration;

use crate::Error;
use crate::cpu::{Cpu, Exception, Mask, Register, Regs};
use crate::progress::Progress;

pub use watch::Watched;

/// Guest memory while the guest is stopped. Guests are little-endian.
pub trait Memory {
    /// Reads the bytes from `address` on. False if one of them is not mapped; then `bytes` is unspecified.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;

    /// The word at an address, if all its bytes are mapped.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    /// Whether these bytes are at `address`, all of them mapped.
    fn holds(&self, address: u64, bytes: &[u8]) -> bool {
        let mut found = vec![0; bytes.len()];
        self.read(address, &mut found) && found == bytes
    }

    /// The memory itself, if an engine can be mapped over it.
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }

    /// Appends the words from `low` up to `high`: a copy of the live part of a stack. Unmapped words read as 0.
    fn copy_words(&self, low: u64, high: u64, words: &mut Vec<u64>) {
        words.extend((low & !7..high).step_by(8).map(|address| self.read_u64(address).unwrap_or_default()));
    }
}

/// The registers of a CPU while it is stopped.
pub trait Registers {
    /// Reads registers in the order of the set, as many as fit in `values`.
    fn read(&self, set: &RegisterSet, values: &mut [u64]);

    /// Reads registers into `regs`; its other registers keep their values.
    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs);

    /// What is certainly as it was at the point before, where that is known: registers, and memory.
    fn untouched(&self) -> Mask {
        0
    }

    /// Whether the CPU is in user mode.
    fn is_user(&self) -> bool;

    /// The status register, with interrupt mask and flags; 0 in user mode, where it may not be readable.
    fn status(&self) -> u64;

    /// What a program has besides the general registers, by names of Unicorn's register enums: flags, the thread pointer, floating
    /// point. None where that is not known.
    fn of_program(&self) -> Vec<(&'static str, u128)> {
        Vec::new()
    }
}

/// Registers that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSet {
    registers: Vec<Register>,
    mask: Mask,
}

impl RegisterSet {
    /// The set of these registers, each once, in the order in which they are first named, without those that the CPU does not have.
    #[must_use]
    pub fn new(cpu: &Cpu, registers: impl IntoIterator<Item = Register>) -> Self {
        let is_there = |register: &Register| register.0 < cpu.registers && usize::from(register.0) < Regs::LEN;
        let mut set = Vec::new();
        for register in registers.into_iter().filter(is_there) {
            if !set.contains(&register) {
                set.push(register);
            }
        }
        let mask = set.iter().fold(0, |mask, register| mask | 1 << register.0);
        Self { registers: set, mask }
    }

    /// All registers of a CPU, by DWARF number.
    #[must_use]
    pub fn all(cpu: &Cpu) -> Self {
        Self::new(cpu, (0..cpu.registers).map(Register))
    }

    /// The same registers, without an order.
    #[must_use]
    pub const fn mask(&self) -> Mask {
        self.mask
    }

    /// The registers, in order.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }
}

/// How the machine arrived at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    /// This instruction retired.
    Retired {
        /// Its address.
        pc: u64,
        /// Its size in bytes.
        size: u32,
    },
    /// An exception was delivered instead of this instruction.
    Delivered {
        /// The address of that instruction, which is still to run.
        pc: u64,
        /// SP at that moment.
        sp: u64,
        /// Whether the CPU was in user mode.
        from_user: bool,
        /// If it was a signal of a process: what the kernel has changed.
        signal: Option<Signal>,
    },
}

/// What the kernel of a process changes when it delivers a signal, besides pc, SP and what a call may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// The address to which the handler returns: the code that asks the kernel to restore everything.
    pub returns_to: u64,
    /// The frame pointer's register before.
    pub fp: u64,
}

/// The machine before an instruction retires.
#[derive(Clone, Copy)]
pub struct Point<'m> {
    /// The instruction that would run next.
    pub pc: u64,
    /// Its size in bytes.
    pub size: u32,
    /// How the machine arrived here; `None` at the entry.
    pub previous: Option<Previous>,
    /// The thread of a process that runs, by its number; 0 where there are no processes.
    pub thread: u64,
    /// The CPU's registers as they are now.
    pub regs: &'m dyn Registers,
    /// Guest memory as it is now.
    pub memory: &'m dyn Memory,
}

impl std::fmt::Debug for Point<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Point")
            .field("pc", &format_args!("{:#x}", self.pc))
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

impl Point<'_> {
    /// Reads registers into `regs`; its other registers keep their values.
    pub fn read(&self, set: &RegisterSet, regs: &mut Regs) {
        self.regs.read_regs(set, regs);
    }

    /// Reads registers in the order of the set, as many as fit in `values`.
    pub fn read_values(&self, set: &RegisterSet, values: &mut [u64]) {
        self.regs.read(set, values);
    }

    /// Whether the CPU is in user mode.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.regs.is_user()
    }

    /// Whether this exception can really arrive here, given the current interrupt mask.
    #[must_use]
    pub fn can_arrive(&self, cpu: &Cpu, exception: Exception) -> bool {
        // No kernel runs user mode with its interrupts masked.
        self.is_user() || cpu.can_arrive(exception, self.regs.status())
    }

    /// The bits of the status register that an exception restores; 0 in user mode, where the register does not apply.
    #[must_use]
    pub fn status(&self, cpu: &Cpu) -> u64 {
        if self.is_user() { 0 } else { self.regs.status() & cpu.status_mask }
    }
}

/// What happens next, at an instruction that has not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It runs.
    Continue,
    /// The run ends here.
    Stop,
    /// The CPU takes an exception instead; the instruction runs when the guest's handler has returned to it.
    Deliver {
        /// The exception.
        exception: Exception,
        /// A word that is written first: (address, value). This is how a kernel is asked to reschedule.
        write: Option<(u64, u64)>,
    },
}

/// Watches a run.
pub trait Observer {
    /// Called before each instruction; says what happens next.
    fn point(&mut self, at: &Point<'_>) -> Action;

    /// Called when an instruction touches a guard page, after [`Observer::point`] was called for it: the CPU now takes a
    /// fault.
    fn faulted(&mut self, _: &Point<'_>) {}

    /// Whether the observer wants [`Observer::stored`] for every store, which costs time.
    fn wants_stores(&self) -> bool {
        false
    }

    /// The guest is about to write `size` bytes at this address.
    fn stored(&mut self, address: u64, size: usize) {
        let _ = (address, size);
    }

    /// The harness, acting as the hardware, has written `size` bytes at this address.
    fn hardware_stored(&mut self, address: u64, size: usize) {
        let _ = (address, size);
    }
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn point(&mut self, _: &Point<'_>) -> Action {
        Action::Continue
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How many instructions were started.
    pub executed: u64,
    /// Whether the guest reached its end; otherwise the observer stopped it, or the user.
    pub complete: bool,
    /// Whether the user stopped it. Nothing follows then from what has not happened.
    pub interrupted: bool,
    /// How long the run took, without its setup.
    pub ran_for: Duration,
}

/// Something that can be observed from start to end, once.
pub trait Run {
    /// Runs to the end of the guest, or until the observer stops it.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] when the guest makes a forbidden access, executes an undefined instruction, takes an exception for which
    /// it has no handler, or exhausts its budget; [`Error::Emulator`] and [`Error::Log`] when the run itself cannot continue.
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error>;

    /// The guest's memory, as it is now.
    fn memory(&self) -> &dyn Memory;

    /// The same run from its start, to be observed once more; `None` if that cannot be had.
    fn again(&self) -> Option<Box<dyn Run + '_>> {
        None
    }

    /// Where the points that are judged in this run are counted, if anyone wants to know.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Register, RegisterSet, Regs};

    /// Columns name the registers that they need, many of them the same ones: each costs a call of the emulator.
    #[test]
    fn a_set_has_each_register_once() {
        let cpu = crate::cpu::ALL[0];
        let all = (0..cpu.registers).map(Register);
        let set = RegisterSet::new(cpu, [cpu.sp, Register(2)].into_iter().chain(all.clone()).chain(all));
        assert_eq!(set.registers()[..3], [cpu.sp, Register(2), Register(0)]);
        assert_eq!(set.registers().len(), usize::from(cpu.registers).min(Regs::LEN));
    }
}
