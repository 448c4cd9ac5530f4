//! The registers of a live engine, as observers read them.

use std::ffi::c_void;

use unicorn_engine::{uc_engine, uc_reg_read, uc_reg_read_batch};

use super::core::{Core, of_program};
use crate::cpu::{Register, Regs};
use crate::trace::{RegisterSet, Registers};

/// From so many registers on, one call for all is cheaper than one for each.
const WORTH_A_BATCH: usize = 3;

/// The registers of a live engine, inside one of its hooks.
pub(super) struct EngineRegisters {
    pub(super) engine: *mut uc_engine,
    pub(super) core: &'static dyn Core,
    pub(super) ids: &'static [i32],
}

impl EngineRegisters {
    /// Reads registers by one call, each into its place.
    ///
    /// # Safety
    ///
    /// Each place is a word of its own, to which nothing else refers meanwhile.
    #[inline]
    unsafe fn read_together(&self, registers: &[Register], places: impl Iterator<Item = *mut u64>) {
        let (mut ids, mut pointers) = ([0; Regs::LEN], [std::ptr::null_mut(); Regs::LEN]);
        let mut count = 0;
        for (((id, pointer), register), place) in ids.iter_mut().zip(&mut pointers).zip(registers).zip(places) {
            *id = self.ids[usize::from(register.0)];
            *pointer = place.cast::<c_void>();
            count += 1;
        }
        // SAFETY: as for `register`. The first `count` ids and pointers are set, and the caller answers for the places.
        unsafe { uc_reg_read_batch(self.engine, ids.as_ptr(), pointers.as_mut_ptr(), count) };
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

impl Registers for EngineRegisters {
    fn read(&self, set: &RegisterSet, values: &mut [u64]) {
        if set.registers().len() >= WORTH_A_BATCH {
            // SAFETY: the words of a slice are apart, and it is borrowed for that long.
            return unsafe { self.read_together(set.registers(), values.iter_mut().map(std::ptr::from_mut)) };
        }
        for (value, register) in values.iter_mut().zip(set.registers()) {
            *value = self.register(self.ids[usize::from(register.0)]);
        }
    }

    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs) {
        if set.registers().len() < WORTH_A_BATCH {
            for register in set.registers() {
                regs.set(*register, self.register(self.ids[usize::from(register.0)]));
            }
            return;
        }
        let words = regs.fill(set.registers()).as_mut_ptr();
        let places = set.registers().iter().map(|register| words.wrapping_add(usize::from(register.0)));
        // SAFETY: a set has each register once, and none beyond those of `Regs`, which are borrowed for that long.
        unsafe { self.read_together(set.registers(), places) };
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
