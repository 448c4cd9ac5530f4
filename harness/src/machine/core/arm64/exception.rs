//! How a 64-bit Arm CPU takes an exception to EL1 (Arm ARM, D1.3: exception entry).

use unicorn_engine::{RegisterARM64, RegisterARM64CP, Unicorn, uc_error};

use super::firmware;
use crate::cpu::Exception;
use crate::guest::conventions::{Vector, Vectors};
use crate::machine::{Context, GuestMemory};

/// PSTATE.M and PSTATE.SP after an exception to EL1: EL1h.
const EL1H: u64 = 0b0101;
/// PSTATE.{D, A, I, F}.
const DAIF: u64 = 0x3c0;
/// PSTATE.{N, Z, C, V}.
const NZCV: u64 = 0xf000_0000;
/// PSTATE.M, bits 3 and 2: the exception level.
const EL: u64 = 0b1100;

/// A system register by its encoding: op0, op1, CRn, CRm, op2.
const fn system(crn: u32, crm: u32, op1: u32, op2: u32, value: u64) -> RegisterARM64CP {
    RegisterARM64CP { crn, crm, op0: 3, op1, op2, val: value }
}

/// Makes EL1 and EL0 run in AArch64 (without SCR_EL3.RW and HCR_EL2.RW an `eret` is an illegal return), and enables pointer
/// authentication where the model has it.
pub(super) fn boot(engine: &mut Unicorn<'_, Context<'_>>, max: bool) -> Result<(), uc_error> {
    /// SCR_EL3.{NS, RW}.
    const SCR_EL3: u64 = 1 | 1 << 10;
    /// HCR_EL2.RW.
    const HCR_EL2: u64 = 1 << 31;
    /// SCR_EL3.{APK, API}, and the same bits in HCR_EL2: do not trap pointer authentication at lower levels.
    const SCR_EL3_PAUTH: u64 = 1 << 16 | 1 << 17;
    const HCR_EL2_PAUTH: u64 = 1 << 40 | 1 << 41;
    /// SCTLR_EL1.{EnIA, EnIB}.
    const SCTLR_EL1_PAUTH: u64 = 1 << 31 | 1 << 30;
    if !max {
        engine.reg_write_arm64_coproc(&system(1, 1, 6, 0, SCR_EL3))?;
        return engine.reg_write_arm64_coproc(&system(1, 1, 4, 0, HCR_EL2));
    }
    engine.reg_write_arm64_coproc(&system(1, 1, 6, 0, SCR_EL3 | SCR_EL3_PAUTH))?;
    engine.reg_write_arm64_coproc(&system(1, 1, 4, 0, HCR_EL2 | HCR_EL2_PAUTH))?;
    let mut control = system(1, 0, 0, 0, 0);
    engine.reg_read_arm64_coproc(&mut control)?;
    engine.reg_write_arm64_coproc(&system(1, 0, 0, 0, control.val | SCTLR_EL1_PAUTH))?;
    // APIAKeyLo_EL1 and APIAKeyHi_EL1: any key will do, if it is the same in every run.
    engine.reg_write_arm64_coproc(&system(2, 1, 0, 0, 0x0123_4567_89ab_cdef))?;
    engine.reg_write_arm64_coproc(&system(2, 1, 0, 1, 0xfedc_ba98_7654_3210))
}

/// Takes an exception: ELR and SPSR, the masks, SP_EL1, and pc = VBAR_EL1 + the vector's offset.
pub(super) fn take(
    engine: &mut Unicorn<'_, Context<'_>>,
    _: &GuestMemory,
    vectors: &Vectors,
    exception: Exception,
    pc: u64,
) -> Result<(), String> {
    // Arm ARM table D1-6: offsets within the four vectors of a level.
    let slot = match exception {
        Exception::Fault | Exception::Debug | Exception::Syscall => 0x000,
        Exception::Irq => 0x080,
        // An arm64 kernel's NMI is an interrupt of higher priority. Unicorn has no priority mask, so FIQ stands in for it.
        Exception::Nmi => 0x100,
        Exception::SError => 0x180,
        Exception::Sdei => return firmware::deliver(engine, vectors, pc),
    };
    let table = vectors.get(Vector::Table)?;
    enter(engine, table + slot, exception, pc).map_err(|error| format!("{error:?}"))
}

fn enter(engine: &mut Unicorn<'_, Context<'_>>, slot: u64, exception: Exception, pc: u64) -> Result<(), uc_error> {
    let pstate = engine.reg_read(RegisterARM64::PSTATE)?;
    let from_user = pstate & EL == 0;
    // 0x200 for the current level with SP_ELx, 0x400 for a lower one in AArch64.
    let group = if from_user { 0x400 } else { 0x200 };
    // Unicorn never sets ESR_EL1. EC 0x15: SVC from AArch64; 0x24, 0x25: a data abort from a lower level, or from this one;
    // 0x2f: an SError; 0x30, 0x31: a breakpoint, likewise; 0x3c: BRK; bit 25: a 32-bit instruction; status 7: a translation
    // fault at level 3, 0x22 a debug exception (Arm ARM D24.2.40).
    let class = match (exception, from_user) {
        (Exception::Syscall, true) => Some(0x15 << 26),
        (Exception::Syscall, false) => Some(0x3c << 26),
        (Exception::Fault, true) => Some(0x24 << 26 | 0b00_0111),
        (Exception::Fault, false) => Some(0x25 << 26 | 0b00_0111),
        (Exception::Debug, true) => Some(0x30 << 26 | 0b10_0010),
        (Exception::Debug, false) => Some(0x31 << 26 | 0b10_0010),
        (Exception::SError, _) => Some(0x2f << 26),
        (Exception::Irq | Exception::Nmi | Exception::Sdei, _) => None,
    };
    if let Some(class) = class {
        engine.reg_write_arm64_coproc(&system(5, 2, 0, 0, class | 1 << 25))?;
    }
    engine.reg_write(RegisterARM64::ELR_EL1, pc)?;
    to_el1(engine, pstate)?;
    engine.reg_write_arm64_coproc(&system(4, 0, 0, 0, pstate))?; // SPSR_EL1
    engine.reg_write(RegisterARM64::PC, slot + group)
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
fn set_pstate(engine: &mut Unicorn<'_, Context<'_>>, pstate: u64) -> Result<(), uc_error> {
    engine.reg_write(RegisterARM64::PSTATE, pstate)?;
    let mut spsr = system(4, 0, 0, 0, 0);
    engine.reg_read_arm64_coproc(&mut spsr)?;
    engine.reg_write_arm64_coproc(&spsr)
}
