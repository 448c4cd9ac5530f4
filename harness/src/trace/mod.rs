//! A run, as whoever watches it sees it: points, events, and what happens next. A run can be a machine that executes a guest, or
//! a [`log`] of one; an observer cannot tell which.

pub mod log;

use std::time::Duration;

use crate::Error;
use crate::cpu::{Cpu, Exception, Register, Regs};

/// Guest memory while the guest stands still. Guests are little-endian.
pub trait Memory {
    /// The bytes from `address` on; false, with `bytes` unspecified, if one of them is not mapped.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;

    /// The word at an address, if all its bytes are mapped.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_le_bytes(bytes))
    }

    /// The memory itself, where it is one that an engine can be put over.
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }

    /// Appends the words from `low` up to `high`, which is a copy of the live part of a stack. What is not mapped reads as 0.
    fn copy_words(&self, low: u64, high: u64, words: &mut Vec<u64>) {
        words.extend((low & !7..high).step_by(8).map(|address| self.read_u64(address).unwrap_or_default()));
    }
}

/// The registers of a CPU while it stands still.
pub trait Registers {
    /// Reads registers in the order of the set, as far as `values` reaches.
    fn read(&self, set: &RegisterSet, values: &mut [u64]);

    /// Reads registers into `regs`, which keeps what else it knows.
    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs);

    /// Whether the CPU is in user mode.
    fn is_user(&self) -> bool;

    /// The status register with interrupt mask and flags. In user mode it may not be readable: then 0.
    fn status(&self) -> u64;
}

/// Registers that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSet {
    registers: Vec<Register>,
}

impl RegisterSet {
    /// The set of these registers, in this order; what the CPU does not have is left out.
    #[must_use]
    pub fn new(cpu: &Cpu, registers: impl IntoIterator<Item = Register>) -> Self {
        let is_there = |register: &Register| register.0 < cpu.registers && usize::from(register.0) < Regs::LEN;
        Self { registers: registers.into_iter().filter(is_there).collect() }
    }

    /// All registers of a CPU, by DWARF number.
    #[must_use]
    pub fn all(cpu: &Cpu) -> Self {
        Self::new(cpu, (0..cpu.registers).map(Register))
    }

    /// The registers, in order.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }
}

/// How the machine came to a point.
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
        /// The address of the instruction, which is still to run.
        pc: u64,
        /// SP at that moment.
        sp: u64,
        /// Whether the CPU was in user mode.
        from_user: bool,
    },
}

/// The machine before an instruction retires.
#[derive(Clone, Copy)]
pub struct Point<'m> {
    /// The instruction that would run next.
    pub pc: u64,
    /// Its size in bytes.
    pub size: u32,
    /// How the machine came here; nothing at the entry.
    pub previous: Option<Previous>,
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
    /// Reads registers into `regs`, which keeps what else it knows.
    pub fn read(&self, set: &RegisterSet, regs: &mut Regs) {
        self.regs.read_regs(set, regs);
    }

    /// Reads registers in the order of the set, as far as `values` reaches.
    pub fn read_values(&self, set: &RegisterSet, values: &mut [u64]) {
        self.regs.read(set, values);
    }

    /// Whether the CPU is in user mode.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.regs.is_user()
    }

    /// Whether this exception can really arrive here, by the interrupt mask as it is now.
    #[must_use]
    pub fn can_arrive(&self, cpu: &Cpu, exception: Exception) -> bool {
        // No kernel runs user mode with its interrupts masked.
        self.is_user() || cpu.can_arrive(exception, self.regs.status())
    }

    /// The register with interrupt mask and flags, as far as an exception restores it; 0 in user mode, of which the kernel's
    /// register says nothing.
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
        /// A word that is written before: (address, value). A kernel's request to reschedule comes like this.
        write: Option<(u64, u64)>,
    },
}

/// Watches a run.
pub trait Observer {
    /// Called before each instruction; says what happens next.
    fn point(&mut self, at: &Point<'_>) -> Action;

    /// Called when the instruction, for which [`Observer::point`] was called already, touches a guard page: the CPU takes a
    /// fault now.
    fn faulted(&mut self, _: &Point<'_>) {}

    /// Whether it wants [`Observer::stored`] for every store. That costs time.
    fn wants_stores(&self) -> bool {
        false
    }

    /// The guest is about to write so many bytes at this address.
    fn stored(&mut self, address: u64, size: usize) {
        let _ = (address, size);
    }

    /// The harness, in the part of the hardware, has written so many bytes at this address.
    fn hardware_stored(&mut self, address: u64, size: usize) {
        let _ = (address, size);
    }
}

/// Watches nothing.
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
    /// Whether the guest reached its end; otherwise the observer stopped it.
    pub complete: bool,
    /// How long the run took, without setting it up.
    pub ran_for: Duration,
}

/// Something that can be watched from its start to its end, once.
pub trait Run {
    /// Runs to the end of the guest, or until the observer stops it.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] when the guest touches what it may not, executes what is no instruction, takes an exception for which it
    /// has no handler, or exhausts its budget; [`Error::Emulator`] and [`Error::Log`] when the run itself cannot go on.
    fn drive(&mut self, observer: &mut dyn Observer) -> Result<Ended, Error>;

    /// Its memory, as it is now.
    fn memory(&self) -> &dyn Memory;
}
