//! How a 64-bit Arm CPU takes an exception to EL1 (Arm ARM, D1.3: exception entry).

use unicorn_engine::{RegisterARM64, Unicorn, uc_error};

use super::firmware;
use super::level::{EL, EL1H, set_pstate, system, to_el1};
use crate::cpu::Exception;
use crate::guest::conventions::{Vector, Vectors};
use crate::machine::{Context, GuestMemory};

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
    /// TCR_EL1.TBI0: as Linux sets it, addresses of user space have a top byte that is ignored, so that no signature is there.
    const TCR_EL1_TBI0: u64 = 1 << 37;
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
    let mut translation = system(2, 0, 0, 2, 0);
    engine.reg_read_arm64_coproc(&mut translation)?;
    engine.reg_write_arm64_coproc(&system(2, 0, 0, 2, translation.val | TCR_EL1_TBI0))?;
    // APIAKeyLo_EL1 and APIAKeyHi_EL1: any key will do, if it is the same in every run.
    engine.reg_write_arm64_coproc(&system(2, 1, 0, 0, 0x0123_4567_89ab_cdef))?;
    engine.reg_write_arm64_coproc(&system(2, 1, 0, 1, 0xfedc_ba98_7654_3210))
}

/// Linux arch/arm64: SP_EL0 is the running task (asm/current.h), TPIDR_EL1 the offset of this CPU's variables from the linked
/// template (asm/percpu.h), CPACR_EL1.FPEN enables floating point.
pub(super) fn enter_kernel(engine: &mut Unicorn<'_, Context<'_>>, task: u64) -> Result<(), uc_error> {
    enable_floating_point(engine)?;
    if let Ok(table) = engine.get_data().vectors.get(Vector::Table) {
        engine.reg_write_arm64_coproc(&system(12, 0, 0, 0, table))?; // VBAR_EL1, which the SDEI handler reads
    }
    engine.reg_write(RegisterARM64::TPIDR_EL1, 0)?;
    engine.reg_write(RegisterARM64::SP_EL0, task)?;
    set_pstate(engine, EL1H)
}

/// CPACR_EL1.FPEN.
pub(super) fn enable_floating_point(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    const CPACR_EL1_FPEN: u64 = 0b11 << 20;
    engine.reg_write_arm64_coproc(&system(1, 0, 0, 2, CPACR_EL1_FPEN))
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
