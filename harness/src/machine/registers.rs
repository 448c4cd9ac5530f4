//! The registers of a live engine, as observers read them.

use std::ffi::c_void;

use unicorn_engine::{uc_engine, uc_reg_read, uc_reg_read_batch};

use super::core::{Core, of_program};
use crate::cpu::Regs;
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
    /// Reads registers by one call.
    fn read_together(&self, set: &RegisterSet, values: &mut [u64]) {
        let (mut ids, mut places) = ([0; Regs::LEN], [std::ptr::null_mut(); Regs::LEN]);
        let count = set.registers().len().min(values.len()).min(Regs::LEN);
        for (((id, place), register), value) in ids.iter_mut().zip(&mut places).zip(set.registers()).zip(values) {
            *id = self.ids[usize::from(register.0)];
            *place = std::ptr::from_mut(value).cast::<c_void>();
        }
        // SAFETY: as for `register`. The first `count` ids and places are set, and each place is a word of `values`, which nothing else
        // refers to.
        unsafe { uc_reg_read_batch(self.engine, ids.as_ptr(), places.as_mut_ptr(), count as i32) };
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
            return self.read_together(set, values);
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
        let mut values = [0; Regs::LEN];
        self.read_together(set, &mut values);
        for (register, value) in set.registers().iter().zip(&values) {
            regs.set(*register, *value);
        }
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
