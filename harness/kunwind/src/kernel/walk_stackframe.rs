//! `walk_stackframe`: Linux v7.3, arch/riscv/kernel/stacktrace.c. It knows no stack bounds and no ends: it derives the
//! one from SP, and takes whatever it cannot follow for the other.

use super::recover::recover_fgraph;
use crate::abi::RISCV64;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::state::WalkState;
use crate::target::Target;
use crate::walk::{Frame, Source, Step};

/// THREAD_SIZE with 4 KiB pages.
const THREAD_SIZE: u64 = 0x4000;
/// sizeof(struct stackframe).
const RECORD_SIZE: u64 = 16;

/// Whether a frame pointer can be one, seen from SP: `sp + 16 <= fp <= round-up(sp, THREAD_SIZE)`, and aligned.
fn is_valid(fp: u64, sp: u64) -> bool {
    let low = sp.saturating_add(mutant!("riscv-fp-may-be-sp", RECORD_SIZE, 0));
    let high = sp.checked_next_multiple_of(THREAD_SIZE).unwrap_or(u64::MAX);
    low <= fp
        && mutant!("riscv-fp-on-any-stack", fp <= high, true)
        && mutant!("riscv-fp-misaligned", fp.is_multiple_of(RISCV64.frame_record.align), true)
}

/// Moves to the frame at `pc`, if that is kernel text; the walk stops without a word if it is not.
fn report(
    frame: &mut Frame,
    pc: CodeAddress,
    fp: u64,
    sp: u64,
    source: Source,
    target: &(impl Target + ?Sized),
) -> Step {
    if !mutant!("riscv-not-text", target.is_text(pc.value()), true) {
        return Step::Outermost;
    }
    frame.become_frame(pc, source);
    frame.regs.set(RISCV64.fp, fp);
    frame.regs.set(RISCV64.sp, sp);
    Step::Caller
}

/// A frame pointer must lie above SP and inside what would be one stack; an exception is recognised by a return address
/// in the entry code.
///
/// ```text
///  fp ->+-----------------+ <- SP of the next step
///       | ra              |  fp - 8: the slot whose address is the cookie of return hooks
///       +-----------------+
///       | caller's s0     |  fp - 16
///       +-----------------+
/// ```
pub(super) fn step(frame: &mut Frame, state: &mut WalkState, target: &(impl Target + ?Sized)) -> Result<Step, Error> {
    let fp = frame.regs.get(RISCV64.fp).ok_or(Error::NoFramePointer)?;
    let sp = frame.regs.get(RISCV64.sp).ok_or(Error::NoFramePointer)?;
    // A return address in the entry code has been reported; SP is where the handler found the pt_regs.
    if let CodeAddress::Return(pc) = frame.pc
        && mutant!("riscv-exceptions-unseen", target.is_exception_entry(pc), false)
    {
        let read = |offset: u64| target.read_u64(sp + offset).ok_or(Error::Unreadable(sp + offset));
        let [_, (_, s0), _] = RISCV64.pt_regs.registers else { return Err(Error::NoFramePointer) };
        let (epc, s0) = (read(RISCV64.pt_regs.pc)?, read(mutant!("riscv-pt-regs-fp", *s0, *s0 - 8))?);
        let source = Source::PtRegs { at: sp };
        return Ok(report(
            frame,
            mutant!("riscv-pt-regs-is-a-call", CodeAddress::Interrupted(epc), CodeAddress::Return(epc)),
            s0,
            sp,
            source,
            target,
        ));
    }
    if !is_valid(fp, sp) {
        return Ok(Step::Outermost);
    }
    let record = fp - RECORD_SIZE;
    let source = Source::FrameRecord { at: record };
    let caller_fp = target.read_u64(record).ok_or(Error::Unreadable(record))?;
    let slot = target.read_u64(record + 8).ok_or(Error::Unreadable(record + 8))?;
    // A leaf that stored s0 alone stores it in the slot of ra. Only the first step of a walk from pt_regs knows ra.
    if let (CodeAddress::Interrupted(_), Some(ra)) = (frame.pc, RISCV64.ra.and_then(|ra| frame.regs.get(ra)))
        && mutant!("riscv-leaf-unknown", is_valid(slot, fp), false)
    {
        return Ok(report(frame, CodeAddress::Return(ra), slot, fp, source, target));
    }
    // The cookie is the address of the slot. Rethooks are not asked.
    let return_address = recover_fgraph(slot, mutant!("riscv-cookie", record + 8, record), state, target);
    Ok(report(
        frame,
        CodeAddress::Return(return_address),
        caller_fp,
        mutant!("riscv-sp-of-callee", fp, sp),
        source,
        target,
    ))
}
