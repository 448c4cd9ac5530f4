//! The state of an arrival, as far as it decides what an unwinder has to do there. Two arrivals at an instruction that differ in
//! it can have different verdicts; two that do not are samples of the same case.
//!
//! ```text
//!            high addresses
//!          +--------------------------+ <- CFA: where the youngest activation will resume, SP is here
//!          | near the CFA: NEAR bytes |    a slot's place is its offset from the CFA
//!          | (not looked at)          |
//!          | near SP: NEAR bytes      |
//!    SP -> +--------------------------+    `distance` = SP - CFA
//! ```

use super::activation::{Cause, Truth};
use crate::cpu::{Cpu, Register};
use crate::guest::{Layout, Program};
use crate::trace::{Memory, Point, RegisterSet};

/// Where prologues put return addresses: at most so many bytes below the CFA, or above SP.
const NEAR: u64 = 512;
/// What the code that switches stacks leaves below the CFA on the older stack, at most.
const AT_SWITCH: u64 = 64;
/// The address bits of a signed pointer: with 48-bit virtual addresses, the authentication code is above them (Arm ARM, D8.10).
const ADDRESS: u64 = (1 << 48) - 1;

/// Where the return address of the running function is. If it is in several places, the first of this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnPlace {
    /// Nowhere: no activation waits.
    Outermost,
    /// An exception saved it.
    Exception,
    /// In a register: a link register, else (after the slots) another one.
    Register {
        /// The register.
        register: Register,
        /// Whether it is the plain address, and not a signed one.
        plain: bool,
    },
    /// In a stack word.
    Slot {
        /// Its address, from the CFA.
        offset: i64,
        /// Whether it is the plain address, and not a signed one.
        plain: bool,
    },
    /// None of these: a return hook has displaced it, or it is far from both SP and the CFA.
    Elsewhere,
}

/// What distinguishes two arrivals at one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// SP minus the CFA, in bytes (modulo 2^64); SP where no activation waits.
    pub distance: u64,
    /// Where the youngest activation resumes; 0 where none waits.
    pub resume: u64,
    /// Where the return address is.
    pub place: ReturnPlace,
}

/// Reads the values of registers.
type Read<'r> = &'r dyn Fn(&RegisterSet, &mut [u64]);

/// Finds the states of arrivals. This happens at every arrival, so it reads as little as it can.
#[derive(Debug)]
pub struct States<'p> {
    cpu: &'static Cpu,
    layout: &'p Layout,
    /// SP, then the link registers.
    first: RegisterSet,
    /// All registers.
    all: RegisterSet,
}

impl<'p> States<'p> {
    /// Of the arrivals of a program.
    #[must_use]
    pub fn new(program: &'p Program) -> Self {
        let cpu = program.guest.cpu;
        let first = RegisterSet::new(cpu, [cpu.sp].into_iter().chain(cpu.links().iter().copied()));
        Self { cpu, layout: &program.layout, first, all: RegisterSet::all(cpu) }
    }

    /// The state at a point. `hint` is where the return address was when control was last there.
    #[must_use]
    pub fn at(&self, at: &Point<'_>, truth: &Truth, hint: Option<ReturnPlace>) -> State {
        self.find(&|set, values| at.read_values(set, values), at.memory, truth, hint)
    }

    /// The same, with registers that come from elsewhere.
    #[must_use]
    pub fn find(&self, read: Read<'_>, memory: &dyn Memory, truth: &Truth, hint: Option<ReturnPlace>) -> State {
        let mut values = [0; 1 + super::MAX_LINKS];
        read(&self.first, &mut values);
        let [sp, links @ ..] = values;
        let Some(youngest) = truth.activations().next() else {
            return State { distance: sp, resume: 0, place: ReturnPlace::Outermost };
        };
        let (resume, cfa) = (youngest.resume, youngest.cfa);
        let distance = sp.wrapping_sub(cfa);
        let place = if youngest.cause != Cause::Call {
            ReturnPlace::Exception
        } else if let Some((register, value)) = self.cpu.links().iter().zip(links).find(|(_, it)| holds(*it, resume)) {
            ReturnPlace::Register { register: *register, plain: value == resume }
        } else {
            let is_still = |place: &ReturnPlace| self.is_at(*place, read, memory, cfa, resume);
            hint.filter(is_still).unwrap_or_else(|| self.search(read, memory, (sp, cfa), resume))
        };
        State { distance, resume, place }
    }

    /// Whether the return address is in a place that is no link register.
    fn is_at(&self, place: ReturnPlace, read: Read<'_>, memory: &dyn Memory, cfa: u64, resume: u64) -> bool {
        match place {
            ReturnPlace::Slot { offset, plain } => {
                let found = memory.read_u64(cfa.wrapping_add_signed(offset));
                found.is_some_and(|found| holds(found, resume) && (found == resume) == plain)
            }
            ReturnPlace::Register { register, plain } if !self.cpu.links().contains(&register) => {
                let mut value = [0];
                read(&RegisterSet::new(self.cpu, [register]), &mut value);
                holds(value[0], resume) && (value[0] == resume) == plain
            }
            _ => false,
        }
    }

    fn search(&self, read: Read<'_>, memory: &dyn Memory, (sp, cfa): (u64, u64), resume: u64) -> ReturnPlace {
        let stack = self.layout.stack_of(cfa.wrapping_sub(1));
        let is_one_stack = sp <= cfa && stack.is_some() && stack == self.layout.stack_of(sp);
        let low = if is_one_stack { sp & !7 } else { cfa.saturating_sub(AT_SWITCH) & !7 };
        let near_cfa = low.max(cfa.saturating_sub(NEAR) & !7);
        let near_sp = near_cfa.min(low.saturating_add(NEAR));
        let below_cfa = (1..=(cfa & !7).saturating_sub(near_cfa) / 8).map(|word| (cfa & !7) - word * 8);
        let words = below_cfa.chain((low..near_sp).step_by(8));
        for at in words {
            if let Some(found) = memory.read_u64(at).filter(|found| holds(*found, resume)) {
                return ReturnPlace::Slot { offset: at.wrapping_sub(cfa).cast_signed(), plain: found == resume };
            }
        }
        let mut values = [0; 64];
        read(&self.all, &mut values);
        let registers = self.all.registers().iter().zip(values);
        let mut found = registers.filter(|(register, value)| **register != self.cpu.sp && holds(*value, resume));
        found.next().map_or(ReturnPlace::Elsewhere, |(register, value)| ReturnPlace::Register {
            register: *register,
            plain: value == resume,
        })
    }
}

/// Whether a value is this address, signed or not.
const fn holds(value: u64, address: u64) -> bool {
    (value ^ address) & ADDRESS == 0
}
