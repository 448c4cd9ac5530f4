//! Exception levels: what changes when a CPU switches from one to another, and how to make Unicorn do it.

use unicorn_engine::{RegisterARM64, RegisterARM64CP, Unicorn, uc_error};

use crate::machine::Context;

/// PSTATE.M and PSTATE.SP after an exception to EL1: EL1h.
pub(super) const EL1H: u64 = 0b0101;
/// PSTATE.{D, A, I, F}.
const DAIF: u64 = 0x3c0;
/// PSTATE.{N, Z, C, V}.
const NZCV: u64 = 0xf000_0000;
/// PSTATE.M, bits 3 and 2: the exception level.
pub(super) const EL: u64 = 0b1100;

/// A system register by its encoding: op0, op1, CRn, CRm, op2.
pub(super) const fn system(crn: u32, crm: u32, op1: u32, op2: u32, value: u64) -> RegisterARM64CP {
    RegisterARM64CP { crn, crm, op0: 3, op1, op2, val: value }
}

/// Switches from the level of this PSTATE to EL1h, with everything masked and EL1's stack pointer.
pub(super) fn to_el1(engine: &mut Unicorn<'_, Context<'_>>, pstate: u64) -> Result<(), uc_error> {
    if pstate & EL == 0 {
        let user = engine.reg_read(RegisterARM64::SP)?;
        engine.reg_write(RegisterARM64::SP_EL0, user)?;
        let kernel = engine.reg_read(RegisterARM64::SP_EL1)?;
        engine.reg_write(RegisterARM64::SP, kernel)?;
    }
    set_pstate(engine, EL1H | DAIF | pstate & NZCV)
}

/// Switches from EL1h to the level of this PSTATE.
pub(super) fn from_el1(engine: &mut Unicorn<'_, Context<'_>>, pstate: u64) -> Result<(), uc_error> {
    if pstate & EL == 0 {
        let kernel = engine.reg_read(RegisterARM64::SP)?;
        engine.reg_write(RegisterARM64::SP_EL1, kernel)?;
        let user = engine.reg_read(RegisterARM64::SP_EL0)?;
        engine.reg_write(RegisterARM64::SP, user)?;
    }
    set_pstate(engine, pstate)
}

/// Writes PSTATE. That alone leaves Unicorn's cached flags at the old level; writing a system register refreshes them.
pub(super) fn set_pstate(engine: &mut Unicorn<'_, Context<'_>>, pstate: u64) -> Result<(), uc_error> {
    engine.reg_write(RegisterARM64::PSTATE, pstate)?;
    let mut spsr = system(4, 0, 0, 0, 0);
    engine.reg_read_arm64_coproc(&mut spsr)?;
    engine.reg_write_arm64_coproc(&spsr)
}

/// Sets PSTATE.{N, Z, C, V} and {D, A, I, F}, and leaves the level as it is.
pub(super) fn set_flags(engine: &mut Unicorn<'_, Context<'_>>, pstate: u64) -> Result<(), uc_error> {
    let now = engine.reg_read(RegisterARM64::PSTATE)?;
    set_pstate(engine, now & !(NZCV | DAIF) | pstate & (NZCV | DAIF))
}
