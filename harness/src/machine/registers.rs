//! The registers of a live engine, as observers read them.

use std::ffi::c_void;

use unicorn_engine::{uc_engine, uc_reg_read};

use super::core::{Core, of_program};
use crate::cpu::Regs;
use crate::trace::{RegisterSet, Registers};

/// The registers of a live engine, inside one of its hooks.
pub(super) struct EngineRegisters {
    pub(super) engine: *mut uc_engine,
    pub(super) core: &'static dyn Core,
    pub(super) ids: &'static [i32],
}

impl EngineRegisters {
    /// Reads one register: Unicorn's batch call costs as much per register, and needs arrays of pointers.
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
        for (value, register) in values.iter_mut().zip(set.registers()) {
            *value = self.register(self.ids[usize::from(register.0)]);
        }
    }

    fn read_regs(&self, set: &RegisterSet, regs: &mut Regs) {
        for register in set.registers() {
            regs.set(*register, self.register(self.ids[usize::from(register.0)]));
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
