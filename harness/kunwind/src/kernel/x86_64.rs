//! x86-64 with frame pointers: Linux v7.3, arch/x86/kernel/unwind_frame.c.

use super::Form;
use crate::abi::X86_64;
use crate::{
    Claims, CodeAddress, Error, Frame, Inside, RewriteKind, Source, Step, Target, Trampoline, Unwinder, WalkState,
};

/// sizeof(struct pt_regs).
const PT_REGS_SIZE: u64 = 168;
/// offsetof(struct pt_regs, bp).
const PT_REGS_BP: u64 = 32;
/// offsetof(struct pt_regs, cs).
const PT_REGS_CS: u64 = 136;
/// The frame pointer and the return address.
const RECORD_SIZE: u64 = 16;
/// From rsp where `return_to_handler` calls its handler to the slot that its address was returned from: a struct pt_regs.
const RETURN_TO_HANDLER_SAVED: u64 = PT_REGS_SIZE;

/// `ftrace_graph_ret_addr`: what an address in this slot stands for. One that nobody remembers stays what it is.
fn recover_fgraph(pc: u64, slot: u64, state: &mut WalkState, target: &dyn Target) -> u64 {
    match Trampoline::exactly(pc, target) {
        Some(trampoline) if trampoline.kind == RewriteKind::Fgraph => {
            state.rewritten.fgraph(&trampoline, slot, target).unwrap_or(pc)
        }
        _ => pc,
    }
}

/// `unwind_recover_rethook` (arch/x86/include/asm/unwind.h): the same of rethooks, but what nobody remembers ends the walk.
pub(super) fn recover_rethook(pc: u64, slot: u64, state: &mut WalkState, target: &dyn Target) -> Result<u64, Error> {
    match Trampoline::exactly(pc, target) {
        Some(trampoline) if trampoline.kind == RewriteKind::Rethook => {
            state.rewritten.rethook(&trampoline, slot, target)
        }
        _ => Ok(pc),
    }
}

/// `unwind_recover_ret_addr`.
pub(super) fn recover(pc: u64, slot: u64, state: &mut WalkState, target: &dyn Target) -> Result<u64, Error> {
    let pc = recover_fgraph(pc, slot, state, target);
    recover_rethook(pc, slot, state, target)
}

/// Of a design of our own: the same, again for what it gives, as one rewriter may have kept the trampoline of another; what is a
/// trampoline still ends the walk.
pub(super) fn recover_or_refuse(pc: u64, slot: u64, state: &mut WalkState, target: &dyn Target) -> Result<u64, Error> {
    let mut pc = pc;
    for _ in 0..2 {
        pc = match Trampoline::exactly(pc, target) {
            None => return Ok(pc),
            Some(trampoline) if trampoline.kind == RewriteKind::Fgraph => {
                state.rewritten.fgraph_complete(&trampoline, slot, target)?
            }
            Some(trampoline) => state.rewritten.rethook(&trampoline, slot, target)?,
        };
    }
    if Trampoline::exactly(pc, target).is_some() { Err(Error::Unrecovered(pc)) } else { Ok(pc) }
}

/// `return_to_handler`, if this pc is strictly inside of it.
pub(super) fn inside_of_tracer(pc: u64, target: &dyn Target) -> Option<Trampoline> {
    target.trampoline(pc).filter(|trampoline| trampoline.kind == RewriteKind::Fgraph && trampoline.start != pc)
}

/// The walk along rbp. An odd rbp is the address of pt_regs plus one; the last record lies right below the task's pt_regs.
#[derive(Clone, Copy, Debug)]
pub struct UnwindFrame {
    form: Form,
    inside: Inside,
}

impl UnwindFrame {
    /// An unwinder of this form. The reliable one refuses every exception in the kernel.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { form, inside: Inside::Ignore }
    }

    /// The reliable one, with a design that closes the windows of `return_to_handler`: any pc inside of it is noticed. It has no
    /// record, so that the one its handler made leads to its frame, and that to the slot by which the ret_stack is asked.
    #[must_use]
    pub const fn detect() -> Self {
        Self { form: Form::Reliable, inside: Inside::Detect }
    }

    /// From a pc strictly inside of `return_to_handler`.
    fn inside(
        trampoline: &Trampoline,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        let lost = Error::InsideTrampoline(frame.pc.value());
        let fp = frame.regs.get(X86_64.fp).ok_or(Error::NoFramePointer)?;
        let slot = frame.regs.get(X86_64.sp).ok_or(lost)?.wrapping_add(RETURN_TO_HANDLER_SAVED);
        let original = state.rewritten.fgraph_complete(trampoline, slot, target).map_err(|_| lost)?;
        // A rethook's trampoline, if that was on the same call before the tracer.
        frame.pc = CodeAddress::Return(recover_or_refuse(original, slot, state, target)?);
        frame.source = Source::Rewritten { trampoline: trampoline.start };
        frame.regs.clear();
        frame.regs.set(X86_64.fp, fp);
        frame.regs.set(X86_64.sp, slot.wrapping_add(8));
        Ok(Step::Caller)
    }

    fn pt_regs(self, at: u64, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let task_regs = target.task().ok_or(Error::NoTask)?.stack.high - PT_REGS_SIZE;
        state.windows.consume(at, PT_REGS_SIZE)?;
        let read = |offset: u64| target.read_u64(at + offset).ok_or(Error::Unreadable(at + offset));
        let is_user = read(PT_REGS_CS)? & 3 != 0;
        if is_user || at == task_regs {
            return Ok(Step::Outermost);
        }
        let pc = read(X86_64.pt_regs.pc)?;
        if self.form == Form::Reliable {
            return Err(Error::ExceptionBoundary(pc));
        }
        let bp = read(PT_REGS_BP)?;
        // Asked with the address of the saved pc, which is no rewritten word: a trampoline's own start is never found.
        let pc = recover(pc, at + X86_64.pt_regs.pc, state, target)?;
        if !target.is_text(pc) {
            return Err(Error::NotText(pc));
        }
        frame.pc = CodeAddress::Interrupted(pc);
        frame.source = Source::PtRegs { at };
        frame.regs.clear();
        frame.regs.set(X86_64.fp, bp);
        Ok(Step::Caller)
    }

    /// Whether this is the record right below the task's pt_regs, or one word lower, where gcc realigned the stack and
    /// copied the return address, or three words lower, where `ftrace_caller` copied it for a function that entry code called.
    fn is_last(fp: u64, task_high: u64, target: &dyn Target) -> bool {
        let last = task_high - PT_REGS_SIZE - RECORD_SIZE;
        let equal = |one: u64, other: u64| target.read_u64(one) == target.read_u64(other);
        let (realigned, ftrace) = (last - 8, last - 24);
        fp == last
            || (fp == realigned && equal(realigned + 8, last + 8))
            || (fp == ftrace && equal(ftrace, ftrace + 16) && equal(ftrace + 8, ftrace + 32))
    }
}

impl Unwinder for UnwindFrame {
    fn name(&self) -> &'static str {
        match (self.form, self.inside) {
            (_, Inside::Detect) => "x86-unwind-frame-detect",
            (Form::Reliable, _) => "x86-unwind-frame",
            (Form::BestEffort, _) => "x86-unwind-frame:best-effort",
        }
    }

    fn claims(&self) -> Claims {
        self.form.claims()
    }

    fn inside(&self) -> Inside {
        self.inside
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        if let (Form::Reliable, CodeAddress::Interrupted(pc)) = (self.form, frame.pc) {
            return Err(Error::ExceptionBoundary(pc));
        }
        if self.inside == Inside::Detect
            && let Some(trampoline) = inside_of_tracer(frame.pc.value(), target)
        {
            return Self::inside(&trampoline, frame, state, target);
        }
        // The return address of the last record has been reported: it is in the entry code.
        let task = target.task().ok_or(Error::NoTask)?;
        if let Source::FrameRecord { at } = frame.source
            && Self::is_last(at, task.stack.high, target)
        {
            return Ok(Step::Outermost);
        }
        let fp = frame.regs.get(X86_64.fp).ok_or(Error::NoFramePointer)?;
        if fp & 1 == 1 {
            return self.pt_regs(fp & !1, frame, state, target);
        }
        if !fp.is_multiple_of(X86_64.frame_record.align) {
            return Err(Error::Misaligned(fp));
        }
        state.windows.consume(fp, RECORD_SIZE)?;
        let caller_fp = target.read_u64(fp).ok_or(Error::Unreadable(fp))?;
        let return_address = target.read_u64(fp + 8).ok_or(Error::Unreadable(fp + 8))?;
        let recover = if self.inside == Inside::Detect { recover_or_refuse } else { recover };
        let return_address = recover(return_address, fp + 8, state, target)?;
        if !target.is_text(return_address) {
            return Err(Error::NotText(return_address));
        }
        frame.pc = CodeAddress::Return(return_address);
        frame.source = Source::FrameRecord { at: fp };
        frame.regs.clear();
        frame.regs.set(X86_64.fp, caller_fp);
        frame.regs.set(X86_64.sp, fp + RECORD_SIZE);
        Ok(Step::Caller)
    }
}
