//! `unwind_frame`: x86-64 with frame pointers, Linux v7.3, arch/x86/kernel/unwind_frame.c. It knows no unwind data.

use super::form::Form;
use super::recover::{inside_of_tracer, recover, recover_or_refuse};
use crate::abi::X86_64;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::return_hook::Fix;
use crate::state::WalkState;
use crate::target::{Target, Trampoline};
use crate::walk::{Frame, Source, Step};

/// sizeof(struct pt_regs).
const PT_REGS_SIZE: u64 = 168;
/// offsetof(struct pt_regs, bp).
const PT_REGS_BP: u64 = 32;
/// offsetof(struct pt_regs, cs).
const PT_REGS_CS: u64 = 136;
/// The frame pointer and the return address.
const RECORD_SIZE: u64 = 16;
/// From rsp where `return_to_handler` calls its handler to the slot from which its address was popped: a struct
/// pt_regs.
const RETURN_TO_HANDLER_SAVED: u64 = PT_REGS_SIZE;

/// One step along rbp. An odd rbp is the address of pt_regs plus one; the last record lies right below the task's
/// pt_regs.
///
/// ```text
///  task.high ->+--------------------+
///              | the task's pt_regs |  168 bytes
///              +--------------------+           +--------------------+
///              | return address     |           | pt_regs            |
///              +--------------------+           |  +32 bp, +128 ip   |
///              | caller's rbp       |           |  +136 cs, +152 sp  |
///         rbp ->+-------------------+   rbp - 1 ->+------------------+
///            the last record                  an encoded pt_regs
/// ```
///
/// The reliable form refuses every exception in the kernel. With [`Fix::RetStack`] any pc inside `return_to_handler` is
/// noticed: the trampoline has no record, but the record of its handler leads to its frame, and its frame to the slot
/// whose address is the cookie on the ret_stack.
pub(super) fn step(
    form: Form,
    fix: Fix,
    frame: &mut Frame,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<Step, Error> {
    if let (Form::Reliable, CodeAddress::Interrupted(pc)) = (form, frame.pc) {
        return Err(Error::ExceptionBoundary(pc));
    }
    if fix == Fix::RetStack
        && let Some(trampoline) = inside_of_tracer(frame.pc.value(), target)
    {
        return from_inside(&trampoline, frame, state, target);
    }
    // The return address of the last record has been reported: it is in the entry code.
    let task = target.task().ok_or(Error::NoTask)?;
    if let Source::FrameRecord { at } = frame.source
        && mutant!("x86-fp-not-last", is_last(at, task.stack.high, target), false)
    {
        return Ok(Step::Outermost);
    }
    let fp = frame.regs.get(X86_64.fp).ok_or(Error::NoFramePointer)?;
    if mutant!("x86-fp-odd-is-a-record", fp & 1 == 1, false) {
        return pt_regs(form, mutant!("x86-fp-pt-regs-odd", fp & !1, fp), frame, state, target);
    }
    if !mutant!("x86-fp-misaligned", fp.is_multiple_of(X86_64.frame_record.align), true) {
        return Err(Error::Misaligned(fp));
    }
    mutant!("x86-fp-not-consumed", consume(fp, RECORD_SIZE, state, target)?, ());
    let caller_fp = target.read_u64(fp).ok_or(Error::Unreadable(fp))?;
    let return_address = target.read_u64(fp + 8).ok_or(Error::Unreadable(fp + 8))?;
    let recover = if fix == Fix::RetStack { recover_or_refuse } else { recover };
    let return_address = recover(return_address, mutant!("x86-fp-cookie", fp + 8, fp), state, target)?;
    if !mutant!("x86-fp-not-text", target.is_text(return_address), true) {
        return Err(Error::NotText(return_address));
    }
    frame.become_frame(CodeAddress::Return(return_address), Source::FrameRecord { at: fp });
    frame.regs.set(X86_64.fp, caller_fp);
    frame.regs.set(X86_64.sp, fp + mutant!("x86-fp-sp", RECORD_SIZE, 8));
    Ok(Step::Caller)
}

/// `update_stack_state`: a frame is on the present stack, above the last one, or on the one from which that was entered.
fn consume(at: u64, size: u64, state: &mut WalkState, target: &(impl Target + ?Sized)) -> Result<(), Error> {
    if !state.visits.follow(target.stacks(), |stack| target.entered_from(stack), at, size) {
        return Err(Error::OutsideStacks(at));
    }
    state.windows.consume(target.stacks(), at, size)
}

/// From a pc strictly inside `return_to_handler`.
fn from_inside(
    trampoline: &Trampoline,
    frame: &mut Frame,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<Step, Error> {
    let lost = Error::InsideTrampoline(frame.pc.value());
    let fp = frame.regs.get(X86_64.fp).ok_or(Error::NoFramePointer)?;
    let slot = frame.regs.get(X86_64.sp).ok_or(lost)?.wrapping_add(mutant!(
        "x86-fp-trampoline-slot",
        RETURN_TO_HANDLER_SAVED,
        RETURN_TO_HANDLER_SAVED - 8
    ));
    let original = state.return_hooks.fgraph_complete(trampoline, slot, target).map_err(|_| lost)?;
    // It is a rethook's trampoline if the same call was hooked before it was traced.
    let original = recover_or_refuse(original, slot, state, target)?;
    frame.become_frame(CodeAddress::Return(original), Source::ReturnHook { trampoline: trampoline.start });
    frame.regs.set(X86_64.fp, fp);
    frame.regs.set(X86_64.sp, slot.wrapping_add(8));
    Ok(Step::Caller)
}

fn pt_regs(
    form: Form,
    at: u64,
    frame: &mut Frame,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<Step, Error> {
    let task_regs = target.task().ok_or(Error::NoTask)?.stack.high - PT_REGS_SIZE;
    consume(at, PT_REGS_SIZE, state, target)?;
    let read = |offset: u64| target.read_u64(at + offset).ok_or(Error::Unreadable(at + offset));
    let is_user = read(PT_REGS_CS)? & 3 != 0;
    if mutant!("x86-fp-user-regs-crossed", is_user || at == task_regs, at == task_regs) {
        return Ok(Step::Outermost);
    }
    let pc = read(X86_64.pt_regs.pc)?;
    if mutant!("x86-fp-crossed-as-reliable", form == Form::Reliable, false) {
        return Err(Error::ExceptionBoundary(pc));
    }
    let bp = read(mutant!("x86-fp-pt-regs-bp", PT_REGS_BP, PT_REGS_BP + 8))?;
    // The cookie is the address of the saved pc, which no return hook has: a trampoline's own start is never found.
    let pc = recover(pc, at + X86_64.pt_regs.pc, state, target)?;
    if !target.is_text(pc) {
        return Err(Error::NotText(pc));
    }
    frame.become_frame(
        mutant!("x86-fp-pt-regs-is-a-call", CodeAddress::Interrupted(pc), CodeAddress::Return(pc)),
        Source::PtRegs { at },
    );
    frame.regs.set(X86_64.fp, bp);
    Ok(Step::Caller)
}

/// Whether this is the record right below the task's pt_regs, or one word lower, where gcc realigned the stack and
/// copied the return address, or three words lower, where `ftrace_caller` copied it for a function that entry code
/// called.
fn is_last(fp: u64, task_high: u64, target: &(impl Target + ?Sized)) -> bool {
    let last = task_high - PT_REGS_SIZE - RECORD_SIZE;
    let equal = |one: u64, other: u64| target.read_u64(one) == target.read_u64(other);
    let (realigned, ftrace) = (last - 8, last - 24);
    fp == last
        || (fp == realigned && mutant!("x86-fp-last-not-realigned", equal(realigned + 8, last + 8), false))
        || (fp == ftrace && equal(ftrace, ftrace + 16) && equal(ftrace + 8, ftrace + 32))
}
