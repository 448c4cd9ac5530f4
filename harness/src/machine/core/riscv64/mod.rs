//! 64-bit RISC-V under Unicorn.

mod exception;

use unicorn_engine::{RegisterRISCV as R, Unicorn, uc_error};

use super::{Core, Engine, Named, UserRegisters, consecutive, named};
use crate::cpu::Exception;
use crate::guest::conventions::Vectors;
use crate::machine::{Context, GuestMemory};

#[derive(Debug)]
pub(super) struct Riscv64;

/// By DWARF number: x0..x31, whose ids are consecutive.
const IDS: [i32; 32] = {
    let mut ids = [0; 32];
    let mut number = 0;
    while number < ids.len() {
        ids[number] = R::X0 as i32 + number as i32;
        number += 1;
    }
    ids
};

static USER: UserRegisters = UserRegisters {
    thread_pointer: R::X4 as i32,
    flags: (0, 0, 0),
    floats: (&consecutive::<32>(R::F0 as i32), 8),
    first_argument: 10,
    float_control: &[R::FCSR as i32],
};

impl Core for Riscv64 {
    fn engine(&self, _: bool) -> Engine {
        Engine { arch: unicorn_engine::Arch::RISCV, mode: unicorn_engine::Mode::RISCV64, model: None }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, _: &Vectors, _: bool) -> Result<(), uc_error> {
        exception::boot(engine)
    }

    fn enter_kernel(&self, engine: &mut Unicorn<'_, Context<'_>>, _: u64) -> Result<(), uc_error> {
        exception::enter_kernel(engine)
    }

    /// tp is a general register.
    fn enter_program(&self, engine: &mut Unicorn<'_, Context<'_>>, _: u64) -> Result<(), uc_error> {
        exception::enter_program(engine)
    }

    fn user_registers(&self) -> &'static UserRegisters {
        &USER
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn set_named(&self, engine: &mut Unicorn<'_, Context<'_>>, name: &str, value: u128) -> Result<bool, uc_error> {
        named::set(named::RISCV64, engine, name, value)
    }

    fn named(&self) -> &'static [&'static [Named]] {
        named::RISCV64
    }

    fn take_exception(
        &self,
        engine: &mut Unicorn<'_, Context<'_>>,
        memory: &GuestMemory,
        vectors: &Vectors,
        exception: Exception,
        pc: u64,
    ) -> Result<(), String> {
        exception::take(engine, memory, vectors, exception, pc)
    }

    fn syscall(&self, number: u32, pc: u64, _: u32) -> Option<(u64, u64)> {
        // sepc is the address of the ecall; Unicorn's pc is already past it, where the kernel will resume.
        matches!(number, 8 | 9).then(|| (pc.wrapping_sub(4), pc))
    }

    fn is_system_call(&self, number: u32) -> bool {
        matches!(number, 8 | 9)
    }

    fn system_call_id(&self) -> i32 {
        R::X17 as i32
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::PRIV as i32) == 0
    }

    fn status_id(&self) -> i32 {
        R::SSTATUS as i32
    }

    /// Privileged ISA, table "mcause values after trap".
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            0 => "instruction address misaligned",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "load address misaligned",
            6 => "store address misaligned",
            8..=11 => "ecall",
            _ => "unknown",
        }
    }
}
