//! Switching from user to kernel mode, for which Unicorn has no request.
//!
//! Writing CS changes only the selector, not the CPL. Restoring a saved context does change it, so the context saved at boot,
//! in kernel mode, replaces the present one, and the registers are written back. FPU and vector registers are then those of
//! boot; guests do not use them (`-mgeneral-regs-only`), and no verdict depends on them.

use unicorn_engine::{RegisterX86 as R, Unicorn, X86Insn, uc_error, uc_reg_read};

use crate::machine::{self, Context};

/// Unicorn reports a system call by a separate hook; this is its exception number here. No vector has it.
pub(super) const SYSCALL: u32 = 256;

/// IA32_KERNEL_GS_BASE (SDM volume 4, table 2-2), which `swapgs` exchanges with the GS base.
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// The registers that a change of the CPL preserves. Taking the exception writes RIP, RSP, RFLAGS and the selectors.
#[rustfmt::skip]
const KEPT: [R; 19] = [
    R::RAX, R::RBX, R::RCX, R::RDX, R::RSI, R::RDI, R::RBP, R::RSP, R::R8, R::R9, R::R10, R::R11, R::R12, R::R13, R::R14,
    R::R15, R::RFLAGS, R::FS_BASE, R::GS_BASE,
];

/// Remembers the present state as one of kernel mode.
pub(super) fn remember_kernel_mode(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    let saved = engine.context_init()?;
    engine.get_data_mut().kernel_mode = Some(saved);
    Ok(())
}

/// Changes the CPL to 0 and keeps all [`KEPT`] registers; RIP and the selectors must be written afterwards.
pub(super) fn enter_kernel_mode(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    let saved = engine.get_data_mut().kernel_mode.take().ok_or(uc_error::EXCEPTION)?;
    let mut values = [0; KEPT.len()];
    for (value, register) in values.iter_mut().zip(KEPT) {
        *value = engine.reg_read(register)?;
    }
    let gs_base = kernel_gs_base(engine)?;
    engine.context_restore(&saved)?;
    engine.get_data_mut().kernel_mode = Some(saved);
    for (value, register) in values.iter().zip(KEPT) {
        engine.reg_write(register, *value)?;
    }
    engine.reg_write_long(R::MSR, &msr(MSR_KERNEL_GS_BASE, gs_base))
}

/// uc_x86_msr: the number, and the value at byte 8.
fn msr(number: u32, value: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn kernel_gs_base(engine: &Unicorn<'_, Context<'_>>) -> Result<u64, uc_error> {
    // Words, because uc_x86_msr is aligned to 8 bytes.
    let mut words = [u64::from(MSR_KERNEL_GS_BASE), 0];
    // SAFETY: the engine is alive, and Unicorn reads and writes one uc_x86_msr at the address: 16 bytes, aligned to 8.
    let outcome = unsafe { uc_reg_read(engine.get_handle(), R::MSR as i32, words.as_mut_ptr().cast()) };
    if outcome == uc_error::OK { Ok(words[1]) } else { Err(outcome) }
}

/// Reports system calls as exceptions. Without this hook, Unicorn ignores them.
pub(super) fn watch_system_calls(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    engine.add_insn_sys_hook(X86Insn::SYSCALL, 1, 0, |engine| machine::exception(engine, SYSCALL)).map(|_| ())
}
