//! The registers of a live engine, as observers read them.

use std::cell::Cell;
use std::ffi::c_void;

use unicorn_engine::{Prot, uc_engine, uc_reg_read, uc_reg_read_batch};

use super::GuestMemory;
use super::core::{Core, of_program};
use crate::cpu::{Cpu, Mask, Register, Regs};
use crate::guest::{CodeMap, Guest};
use crate::trace::{Memory as _, RegisterSet, Registers};

/// From so many registers on, one call for all is cheaper than one for each.
const WORTH_A_BATCH: usize = 3;

/// Registers that were read and cannot have changed since: a call of the emulator for each costs more than all else at a point.
#[derive(Debug)]
pub(super) struct Kept {
    values: [Cell<u64>; Regs::LEN],
    /// Which of the values are known.
    known: Cell<Mask>,
    /// What the instruction that ran last has left untouched, and what the next one will.
    before: Mask,
    next: Mask,
    /// What each instruction leaves untouched; for runs in which nothing but the guest and its exceptions changes registers.
    untouched: Option<CodeMap<Option<Mask>>>,
}

impl Kept {
    /// Nothing is known. In a run of a guest alone, registers are kept.
    pub(super) fn new(guest: Option<&Guest>) -> Self {
        let untouched = guest.map(|guest| CodeMap::new(guest, None));
        Self { values: std::array::from_fn(|_| Cell::new(0)), known: Cell::new(0), before: 0, next: 0, untouched }
    }

    /// The guest stops at its next instruction. If it comes to run, [`Self::will_run`] must be called.
    #[inline]
    pub(super) fn stop(&mut self) {
        self.before = std::mem::take(&mut self.next);
        self.known.set(self.known.get() & self.before);
    }

    /// The instruction at this address runs next, and nothing happens before it.
    #[allow(clippy::inline_always, reason = "at every instruction, from one place")]
    #[inline(always)]
    pub(super) fn will_run(&mut self, cpu: &Cpu, memory: &GuestMemory, (pc, size): (u64, u32)) {
        let Some(untouched) = self.untouched.as_mut().and_then(|untouched| untouched.get_mut(pc)) else { return };
        self.next = *untouched.get_or_insert_with(|| decode(cpu, memory, (pc, size)));
    }

    /// Anything may have changed, or will have by the next instruction.
    pub(super) fn forget(&mut self) {
        self.known.set(0);
        (self.before, self.next) = (0, 0);
    }
}

/// What the instruction leaves untouched that stands there.
#[cold]
#[inline(never)]
fn decode(cpu: &Cpu, memory: &GuestMemory, (pc, size): (u64, u32)) -> Mask {
    // Where code can be written, it may be another instruction the next time.
    let is_fixed = memory.region(pc).is_some_and(|region| region.permission_at(pc) & Prot::WRITE == Prot::NONE);
    let mut bytes = [0; 15];
    let bytes = &mut bytes[..(size as usize).min(15)];
    if is_fixed && memory.read(pc, bytes) { cpu.untouched(bytes) } else { 0 }
}

/// The registers of a live engine, inside one of its hooks.
pub(super) struct EngineRegisters<'k> {
    pub(super) engine: *mut uc_engine,
    pub(super) core: &'static dyn Core,
    pub(super) ids: &'static [i32],
    pub(super) kept: &'k Kept,
}

impl EngineRegisters<'_> {
    /// Makes these registers known.
    #[inline]
    fn know(&self, set: &RegisterSet) {
        let missing = set.mask() & !self.kept.known.get();
        if missing != 0 {
            self.read_missing(set, missing);
        }
        debug_assert!(
            set.registers().iter().all(|register| self.register(self.id(*register)) == self.kept(*register)),
            "a register has changed that was said to be untouched"
        );
    }

    fn read_missing(&self, set: &RegisterSet, missing: Mask) {
        let missing_ones = set.registers().iter().filter(|register| missing >> register.0 & 1 == 1);
        if missing.count_ones() as usize >= WORTH_A_BATCH {
            let (mut ids, mut places) = ([0; Regs::LEN], [std::ptr::null_mut(); Regs::LEN]);
            for ((id, place), register) in ids.iter_mut().zip(&mut places).zip(missing_ones) {
                *id = self.id(*register);
                *place = self.kept.values[usize::from(register.0)].as_ptr().cast::<c_void>();
            }
            let count = missing.count_ones() as i32;
            // SAFETY: as for `register`. The first `count` ids and places are set; each place is a word of its own, because a set has each
            // register once, and nothing refers into a cell.
            unsafe { uc_reg_read_batch(self.engine, ids.as_ptr(), places.as_mut_ptr(), count) };
        } else {
            for register in missing_ones {
                self.kept.values[usize::from(register.0)].set(self.register(self.id(*register)));
            }
        }
        self.kept.known.set(self.kept.known.get() | missing);
    }

    #[inline]
    fn id(&self, register: Register) -> i32 {
        self.ids[usize::from(register.0)]
    }

    /// The value of a register that is known.
    #[inline]
    fn kept(&self, register: Register) -> u64 {
        self.kept.values[usize::from(register.0)].get()
    }

    /// Reads one register: Unicorn's batch call needs arrays of pointers.
    #[inline]
    fn register(&self, id: i32) -> u64 {
        let mut value = 0_u64;
        // SAFETY: the engine outlives this value, which observers borrow only inside its hook. Unicorn writes at most 64 bits
        // for each of these register ids, and fails for none of them.
        unsafe { uc_reg_read(self.engine, id, std::ptr::from_mut(&mut value).cast::<c_void>()) };
        value
    }
}

impl Registers for EngineRegisters<'_> {
    fn read(&self, set: &RegisterSet, values: &mut [u64]) {
        self.know(set);
        for (value, register) in values.iter_mut().zip(set.registers()) {
            *value = self.kept(*register);
        }
    }

    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs) {
        self.know(set);
        for register in set.registers() {
            regs.set(*register, self.kept(*register));
        }
    }

    fn untouched(&self) -> Mask {
        self.kept.before
    }

    fn is_user(&self) -> bool {
        self.core.is_user(&|id| self.register(id))
    }

    fn of_program(&self) -> Vec<(&'static str, u128)> {
        of_program(self.core.named(), &|id| {
            let mut value = [0; 16];
            // SAFETY: as for `register`; Unicorn writes at most 16 bytes for each of these register ids.
            unsafe { uc_reg_read(self.engine, id, value.as_mut_ptr().cast::<c_void>()) };
            u128::from_le_bytes(value)
        })
    }

    fn status(&self) -> u64 {
        if self.is_user() { 0 } else { self.register(self.core.status_id()) }
    }
}
