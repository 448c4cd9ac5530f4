//! x86-64 under Unicorn.

mod exception;
mod privilege;

use unicorn_engine::{RegisterX86 as R, Unicorn, uc_error};

use super::{Core, Engine, Named, UserRegisters, consecutive, named};
use crate::cpu::Exception;
use crate::guest::conventions::Vectors;
use crate::machine::{Context, GuestMemory};

#[derive(Debug)]
pub(super) struct X86_64;

/// By DWARF number (psABI figure 3.36): the order is not that of the encoding.
#[rustfmt::skip]
const IDS: [i32; 17] = [
    R::RAX as i32, R::RDX as i32, R::RCX as i32, R::RBX as i32, R::RSI as i32, R::RDI as i32, R::RBP as i32,
    R::RSP as i32, R::R8 as i32, R::R9 as i32, R::R10 as i32, R::R11 as i32, R::R12 as i32, R::R13 as i32,
    R::R14 as i32, R::R15 as i32, R::RIP as i32,
];

static USER: UserRegisters = UserRegisters {
    thread_pointer: R::FS_BASE as i32,
    flags: (R::RFLAGS as i32, 0x4_0cd5, 0x202), // CF, PF, AF, ZF, SF, DF, OF, AC; bit 1 and IF
    floats: (&consecutive::<16>(R::XMM0 as i32), 16),
    first_argument: 0,
    float_control: &[R::FPCW as i32, R::MXCSR as i32],
};

impl Core for X86_64 {
    fn engine(&self, _: bool) -> Engine {
        Engine { arch: unicorn_engine::Arch::X86, mode: unicorn_engine::Mode::MODE_64, model: None }
    }

    fn boot(&self, engine: &mut Unicorn<'_, Context<'_>>, vectors: &Vectors, _: bool) -> Result<(), uc_error> {
        exception::boot(engine, vectors)
    }

    fn enter_kernel(&self, engine: &mut Unicorn<'_, Context<'_>>, _: u64) -> Result<(), uc_error> {
        exception::enter_kernel(engine)
    }

    /// SSE is enabled already.
    fn enter_program(&self, engine: &mut Unicorn<'_, Context<'_>>, thread: u64) -> Result<(), uc_error> {
        engine.reg_write(R::FS_BASE, thread)
    }

    fn user_registers(&self) -> &'static UserRegisters {
        &USER
    }

    fn register_ids(&self) -> &'static [i32] {
        &IDS
    }

    fn set_named(&self, engine: &mut Unicorn<'_, Context<'_>>, name: &str, value: u128) -> Result<bool, uc_error> {
        if ["RFLAGS", "EFLAGS"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
            /// RFLAGS.TF would trap after every instruction; bit 1 is always set.
            const TF: u64 = 1 << 8;
            engine.reg_write(R::RFLAGS, value as u64 & !TF | 1 << 1)?;
            return Ok(true);
        }
        named::set(named::X86_64, engine, name, value)
    }

    fn named(&self) -> &'static [&'static [Named]] {
        named::X86_64
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
        exception::syscall(number, pc)
    }

    fn is_system_call(&self, number: u32) -> bool {
        number == privilege::SYSCALL
    }

    fn system_call_id(&self) -> i32 {
        R::RAX as i32
    }

    /// RCX and R11 (SDM volume 2, SYSCALL).
    fn clobber_at_system_call(&self, engine: &mut Unicorn<'_, Context<'_>>, resume: u64) -> Result<(), uc_error> {
        let (id, mask, set) = USER.flags;
        let flags = engine.reg_read(id)? & mask | set;
        engine.reg_write(R::RCX, resume)?;
        engine.reg_write(R::R11, flags)
    }

    fn is_user(&self, read: &dyn Fn(i32) -> u64) -> bool {
        read(R::CS as i32) & 3 == 3
    }

    fn status_id(&self) -> i32 {
        R::RFLAGS as i32
    }

    /// SDM volume 3, table 7-1.
    fn exception_name(&self, number: u32) -> &'static str {
        match number {
            0 => "#DE",
            1 => "#DB",
            3 => "#BP",
            6 => "#UD",
            8 => "#DF",
            11 => "#NP",
            12 => "#SS",
            13 => "#GP",
            14 => "#PF",
            privilege::SYSCALL => "syscall",
            _ => "unknown",
        }
    }
}
