//! How a 64-bit RISC-V CPU takes a trap to S-mode (privileged ISA, 12.1.1 sstatus, 12.1.2 stvec).

use unicorn_engine::{RegisterRISCV, Unicorn, uc_error};

use crate::cpu::Exception;
use crate::guest::conventions::{Vector, Vectors};
use crate::machine::{Context, GuestMemory};

const SSTATUS_SIE: u64 = 1 << 1;
const SSTATUS_SPIE: u64 = 1 << 5;
const SSTATUS_SPP: u64 = 1 << 8;
const SUPERVISOR: u64 = 1;
/// Supervisor timer interrupt.
const CAUSE_TIMER: u64 = 1 << 63 | 5;
const CAUSE_BREAKPOINT: u64 = 3;
const CAUSE_LOAD_PAGE_FAULT: u64 = 13;
const CAUSE_ECALL_FROM_USER: u64 = 8;

/// Guests run in S-mode.
pub(super) fn boot(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    engine.reg_write(RegisterRISCV::PRIV, SUPERVISOR)
}

/// Linux arch/riscv: sscratch is 0 while the kernel runs (kernel/entry.S), and tp, a general register, is the running task.
/// FS and VS enable floating point and vectors.
pub(super) fn enter_kernel(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    const SSTATUS_VS_INITIAL: u64 = 1 << 9;
    const SSTATUS_FS_INITIAL: u64 = 1 << 13;
    engine.reg_write(RegisterRISCV::SSCRATCH, 0)?;
    let status = engine.reg_read(RegisterRISCV::SSTATUS)?;
    engine.reg_write(RegisterRISCV::SSTATUS, status | SSTATUS_SIE | SSTATUS_VS_INITIAL | SSTATUS_FS_INITIAL)
}

/// FS enables floating point. There are no vectors, so that code which asks does not use them.
pub(super) fn enter_program(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    const SSTATUS_FS_INITIAL: u64 = 1 << 13;
    let status = engine.reg_read(RegisterRISCV::SSTATUS)?;
    engine.reg_write(RegisterRISCV::SSTATUS, status | SSTATUS_FS_INITIAL)
}

/// Takes a trap: sepc, scause, stval, sstatus.{SPP, SPIE, SIE}, and pc = stvec. No register and no stack is switched.
pub(super) fn take(
    engine: &mut Unicorn<'_, Context<'_>>,
    _: &GuestMemory,
    vectors: &Vectors,
    exception: Exception,
    pc: u64,
) -> Result<(), String> {
    let entry = vectors.get(Vector::Table)?;
    let cause = match exception {
        Exception::Irq => CAUSE_TIMER,
        Exception::Fault => CAUSE_LOAD_PAGE_FAULT,
        Exception::Debug => CAUSE_BREAKPOINT,
        Exception::Syscall => CAUSE_ECALL_FROM_USER,
        Exception::Nmi | Exception::SError | Exception::Sdei => {
            return Err(format!("this CPU has no {}", exception.name()));
        }
    };
    enter(engine, entry, cause, pc).map_err(|error| format!("{error:?}"))
}

fn enter(engine: &mut Unicorn<'_, Context<'_>>, entry: u64, cause: u64, pc: u64) -> Result<(), uc_error> {
    let privilege = engine.reg_read(RegisterRISCV::PRIV)?;
    engine.reg_write(RegisterRISCV::PRIV, SUPERVISOR)?;
    let status = engine.reg_read(RegisterRISCV::SSTATUS)?;
    let mut entered = status & !(SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP);
    if status & SSTATUS_SIE != 0 {
        entered |= SSTATUS_SPIE;
    }
    if privilege == SUPERVISOR {
        entered |= SSTATUS_SPP;
    }
    engine.reg_write(RegisterRISCV::SEPC, pc)?;
    engine.reg_write(RegisterRISCV::SCAUSE, cause)?;
    engine.reg_write(RegisterRISCV::STVAL, 0)?;
    engine.reg_write(RegisterRISCV::SSTATUS, entered)?;
    engine.reg_write(RegisterRISCV::PC, entry)
}
