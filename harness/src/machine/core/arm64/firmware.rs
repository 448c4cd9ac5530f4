//! The firmware's part of SDEI (Arm DEN 0054, Software Delegated Exception Interface): it delivers events to the kernel, at any
//! instruction and whatever PSTATE masks, and returns to the interrupted code when the kernel completes the event.
//!
//! The interrupted ELR_EL1, SPSR_EL1 and stack pointers stay in place; the handler must not change them. One event is handled
//! at a time: critical events, which could interrupt another event's handler, are not modelled.

use unicorn_engine::{RegisterARM64 as R, Unicorn, uc_error};

use super::IDS;
use super::level::{from_el1, system, to_el1};
use crate::guest::conventions::{Vector, Vectors};
use crate::machine::Context;

/// DEN 0054, 5.1.6: SDEI_EVENT_CONTEXT reads one of the interrupted x0..x17.
const EVENT_CONTEXT: u64 = 0xc400_0024;
/// DEN 0054, 5.1.7: SDEI_EVENT_COMPLETE returns to the interrupted code.
const EVENT_COMPLETE: u64 = 0xc400_0025;
/// DEN 0054, 5.1.8: SDEI_EVENT_COMPLETE_AND_RESUME enters the kernel at an address of its choice, as if an exception had been taken
/// where the event interrupted it.
const EVENT_COMPLETE_AND_RESUME: u64 = 0xc400_0026;
/// DEN 0054, 4.4: the firmware preserves x0..x17, the handler all others.
const PRESERVED: usize = 18;
/// The event number: the software-signalled event, which every implementation has (DEN 0054, 4.1).
const EVENT: u64 = 0;

/// Enters the handler: x0 is the event number, x1 the argument that the kernel registered, x2 the interrupted pc, x3 the
/// interrupted PSTATE; EL1h, everything masked.
pub(super) fn deliver(engine: &mut Unicorn<'_, Context<'_>>, vectors: &Vectors, pc: u64) -> Result<(), String> {
    let (handler, argument) = (vectors.get(Vector::SdeiHandler)?, vectors.get(Vector::SdeiArgument)?);
    if !engine.get_data().firmware.is_empty() {
        return Err("another event has not been completed".to_owned());
    }
    enter(engine, handler, argument, pc).map_err(|error| format!("{error:?}"))
}

fn enter(engine: &mut Unicorn<'_, Context<'_>>, handler: u64, argument: u64, pc: u64) -> Result<(), uc_error> {
    let pstate = engine.reg_read(R::PSTATE)?;
    let mut kept = Vec::with_capacity(PRESERVED + 2);
    for id in &IDS[..PRESERVED] {
        kept.push(engine.reg_read(*id)?);
    }
    kept.extend([pc, pstate]);
    engine.get_data_mut().firmware = kept;
    for (id, value) in IDS.iter().zip([EVENT, argument, pc, pstate]) {
        engine.reg_write(*id, value)?;
    }
    to_el1(engine, pstate)?;
    engine.reg_write(R::PC, handler)
}

/// Answers the kernel's `smc`; `next` is the instruction after it.
pub(super) fn call(engine: &mut Unicorn<'_, Context<'_>>, next: u64) -> Result<(), String> {
    let refused = |error: uc_error| format!("{error:?}");
    let number = engine.reg_read(R::X0).map_err(refused)?;
    if engine.get_data().firmware.is_empty() {
        return Err(format!("firmware call {number:#x} while no event is handled"));
    }
    match number {
        EVENT_CONTEXT => {
            let index = engine.reg_read(R::X1).map_err(refused)?;
            let kept = &engine.get_data().firmware;
            let value = usize::try_from(index).ok().filter(|index| *index < PRESERVED).map(|index| kept[index]);
            let value = value.ok_or_else(|| format!("the firmware keeps no x{index}"))?;
            engine.reg_write(R::X0, value).and_then(|()| engine.reg_write(R::PC, next)).map_err(refused)
        }
        EVENT_COMPLETE => complete(engine).map_err(refused),
        EVENT_COMPLETE_AND_RESUME => complete_and_resume(engine).map_err(refused),
        _ => Err(format!("the firmware does not know call {number:#x}")),
    }
}

fn complete(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    let kept = std::mem::take(&mut engine.get_data_mut().firmware);
    for (id, value) in IDS.iter().zip(&kept[..PRESERVED]) {
        engine.reg_write(*id, *value)?;
    }
    let (pc, pstate) = (kept[PRESERVED], kept[PRESERVED + 1]);
    from_el1(engine, pstate)?;
    engine.reg_write(R::PC, pc)
}

/// Linux does so where interrupts were not masked (arch/arm64/kernel/sdei.c): the event then ends as an interrupt does.
fn complete_and_resume(engine: &mut Unicorn<'_, Context<'_>>) -> Result<(), uc_error> {
    let kept = std::mem::take(&mut engine.get_data_mut().firmware);
    let entry = engine.reg_read(R::X1)?;
    for (id, value) in IDS.iter().zip(&kept[..PRESERVED]) {
        engine.reg_write(*id, *value)?;
    }
    let (pc, pstate) = (kept[PRESERVED], kept[PRESERVED + 1]);
    engine.reg_write(R::ELR_EL1, pc)?;
    engine.reg_write_arm64_coproc(&system(4, 0, 0, 0, pstate))?; // SPSR_EL1
    to_el1(engine, pstate)?;
    engine.reg_write(R::PC, entry)
}
