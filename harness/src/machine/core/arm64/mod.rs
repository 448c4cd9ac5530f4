//! 64-bit Arm under Unicorn.

mod exception;
mod firmware;
mod level;

use unicorn_engine::{RegisterARM64 as R, Unicorn, uc_error};

use super::{Core, Engine, Named, UserRegisters, consecutive, named};
use crate::cpu::Exception;
use crate::guest::conventions::Vectors;
use crate::machine::{Context, GuestMemory};

#[derive(Debug)]
pub(super) struct Arm64;

/// UC_CPU_ARM64_MAX.
const CPU_MAX: i32 = 3;

/// QEMU target/arm/cpu.h, EXCP_SWI.
const SWI: u32 = 2;

/// QEMU target/arm/cpu.h, EXCP_BKPT.
const BKPT: u32 = 7;

/// `brk #4`, with KPROBES_BRK_IMM of Linux arch/arm64/include/asm/brk-imm.h.
const BRK_OF_KPROBES: u32 = 0xd420_0000 | 4 << 5;

/// QEMU target/arm/cpu.h, EXCP_SMC.
const SMC: u32 = 13;

/// By DWARF number: x0..x30, SP. x29 and x30 have ids of their own, away from x0..x28.
#[rustfmt::skip]
const IDS: [i32; 32] = [
    R::X0 as i32, R::X1 as i32, R::X2 as i32, R::X3 as i32, R::X4 as i32, R::X5 as i32, R::X6 as i32, R::X7 as i32,
    R::X8 as i32, R::X9 as i32, R::X10 as i32, R::X11 as i32, R::X12 as i32, R::X13 as i32, R::X14 as i32, R::X15 as i32,
    R::X16 as i32, R::X17 as i32, R::X18 as i32, R::X19 as i32, R::X20 as i32, R::X21 as i32, R::X22 as i32,
    R::X23 as i32, R::X24 as i32, R::X25 as i32, R::X26 as i32, R::X27 as i32, R::X28 as i32, R::X29 as i32,
    R::X30 as i32, R::SP as i32,
];

static USER: UserRegisters = UserRegisters {
    thread_pointer: R::TPIDR_EL0 as i32,
    flags: (R::PSTATE as i32, 0xf000_0000, 0), // PSTATE.{N, Z, C, V}
    floats: (&consecutive::<32>(R::Q0 as i32), 16),
    first_argument: 0,
    float_control: &[R::FPSR as i32, R::FPCR as i32],
};

impl Core for Arm64 {
    fn engine(&self, max: bool) -> Engine {
        Engine {
            arch: unicorn_engine::Arch::ARM64,
            mode: unicorn_engine::Mode::LITTLE_ENDIAN,
            model: max.then_some(CPU_MAX),
        }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, _: &Vectors, max: bool) -> Result<(), uc_error> {
        exception::boot(engine, max)
    }

    fn enter_kernel(&self, engine: &mut Unicorn<'_, Context<'_>>, task: u64) -> Result<(), uc_error> {
        exception::enter_kernel(engine, task)
    }

    fn enter_program(&self, engine: &mut Unicorn<'_, Context<'_>>, thread: u64) -> Result<(), uc_error> {
        exception::enable_floating_point(engine)?;
        engine.reg_write(R::TPIDR_EL0, thread)
    }

    fn user_registers(&self) -> &'static UserRegisters {
        &USER
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn set_named(&self, engine: &mut Unicorn<'_, Context<'_>>, name: &str, value: u128) -> Result<bool, uc_error> {
        if name.eq_ignore_ascii_case("PSTATE") {
            level::set_flags(engine, value as u64)?;
            return Ok(true);
        }
        named::set(named::ARM64, engine, name, value)
    }

    fn named(&self) -> &'static [&'static [Named]] {
        named::ARM64
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

    fn syscall(&self, number: u32, pc: u64, word: u32) -> Option<(u64, u64)> {
        match number {
            SWI => Some((pc, pc)), // ELR_EL1 is the address after the svc
            // and that of the brk itself. A kernel steps over the instruction that a kprobe's breakpoint has replaced.
            BKPT if word == BRK_OF_KPROBES => Some((pc, pc.wrapping_add(4))),
            BKPT => Some((pc, pc)),
            _ => None,
        }
    }

    fn is_system_call(&self, number: u32) -> bool {
        number == SWI
    }

    fn system_call_id(&self) -> i32 {
        R::X8 as i32
    }

    fn firmware_call(&self, engine: &mut Unicorn<'_, Context<'_>>, number: u32, pc: u64) -> Option<Result<(), String>> {
        (number == SMC).then(|| firmware::call(engine, pc))
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::PSTATE as i32) & 0b1100 == 0 // PSTATE.EL
    }

    fn status_id(&self) -> i32 {
        R::PSTATE as i32
    }

    /// QEMU target/arm/cpu.h, EXCP_*.
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            1 => "undefined instruction",
            2 => "svc",
            3 => "prefetch abort",
            4 => "data abort",
            7 => "brk",
            11 => "hvc",
            SMC => "smc",
            _ => "unknown",
        }
    }
}
