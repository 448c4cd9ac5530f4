//! The walk along frame records with metadata records: `kunwind` as Linux has it for arm64 (v7.3,
//! arch/arm64/kernel/stacktrace.c), as the S4 series proposes it for riscv, and with the step across exception boundaries by
//! SFrame that thread S0 is about.

use super::Form;
use super::boundary::Policy;
use crate::{Abi, Claims, CodeAddress, Error, Format, Frame, Inside, Source, Step, Target, Unwinder, WalkState};

/// A frame record: the caller's frame pointer and the return address.
const RECORD_SIZE: u64 = 16;
/// A metadata record: a frame record of zeros, and a word that gives its type.
const META_SIZE: u64 = 24;
/// FRAME_META_TYPE_FINAL.
const TYPE_FINAL: u64 = 1;
/// FRAME_META_TYPE_PT_REGS.
const TYPE_PT_REGS: u64 = 2;
/// A type of our own, for one of the designs that could close the windows of `return_to_handler`: behind the record lie the frame
/// pointer and the return address of the caller.
const TYPE_PENDING: u64 = 3;
/// A record of that type.
const PENDING_SIZE: u64 = META_SIZE + 16;

/// Where metadata records lie in `struct pt_regs` of one architecture, in bytes.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) abi: &'static Abi,
    /// sizeof(struct pt_regs).
    pub(super) pt_regs_size: u64,
    /// What pt_regs take up at the high end of a task's stack.
    pub(super) pt_regs_on_stack: u64,
    /// offsetof(struct pt_regs, stackframe).
    pub(super) stackframe: u64,
}

/// What is done at an exception boundary, where the interrupted frame may have no record yet, or none at all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boundary {
    /// The reliable form stops; the best-effort form goes on from the frame pointer as if there were a record.
    FramePointer,
    /// The unwind row of the interrupted pc says where the caller is.
    Rows(&'static Policy),
}

/// The walk along frame records, with metadata records at exceptions and at the end.
///
/// Without unwind rows, past an exception boundary it goes on from the interrupted frame pointer: whoever has no record at the
/// interrupted pc (a leaf, a prologue) has its caller left out. The reliable form therefore stops at each boundary.
#[derive(Clone, Copy, Debug)]
pub struct MetadataUnwinder {
    pub(super) layout: &'static Layout,
    /// The names of the reliable and of the best-effort form.
    pub(super) names: [&'static str; 2],
    pub(super) form: Form,
    pub(super) boundary: Boundary,
    pub(super) inside: Inside,
}

impl MetadataUnwinder {
    /// The record of zeros at `record` says what it is by the word behind it.
    pub(super) fn metadata(
        &self,
        record: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        if !state.windows.can_consume(record, META_SIZE) {
            return Err(Error::OutsideStacks(record));
        }
        let at = record + RECORD_SIZE;
        match target.read_u64(at).ok_or(Error::Unreadable(at))? {
            TYPE_FINAL => {
                let task = target.task().ok_or(Error::NoTask)?;
                let last =
                    task.stack.high.wrapping_sub(self.layout.pt_regs_on_stack).wrapping_add(self.layout.stackframe);
                if record == last { Ok(Step::Outermost) } else { Err(Error::StrayFinal(record)) }
            }
            TYPE_PT_REGS => self.pt_regs(record.wrapping_sub(self.layout.stackframe), frame, state, target),
            TYPE_PENDING if self.inside == Inside::Pending => self.pending(record, frame, state, target),
            _ => Err(Error::UnknownMetadata(record)),
        }
    }

    fn pt_regs(&self, at: u64, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let abi = self.layout.abi;
        state.windows.consume(at, self.layout.pt_regs_size)?;
        let read = |offset: u64| target.read_u64(at + offset).ok_or(Error::Unreadable(at + offset));
        let pc = read(abi.pt_regs.pc)?;
        if self.refuses_boundaries() {
            return Err(Error::ExceptionBoundary(pc));
        }
        frame.source = Source::PtRegs { at };
        frame.regs.clear();
        // Without rows nothing but the frame pointer may be used: whether the link register is live, only rows can say.
        let is_used = |register| register == abi.fp || matches!(self.boundary, Boundary::Rows(_));
        for (register, offset) in abi.pt_regs.registers.iter().filter(|(register, _)| is_used(*register)) {
            frame.regs.set(*register, read(*offset)?);
        }
        // An exception at the first instruction of a trampoline: nothing has happened there yet, so its caller stands here.
        let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        frame.pc = CodeAddress::Interrupted(state.rewritten.recover(pc, fp, target)?);
        Ok(Step::Caller)
    }

    /// The record of a trampoline that keeps what it stands for in it.
    fn pending(
        &self,
        record: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        state.windows.consume(record, PENDING_SIZE)?;
        let read = |at: u64| target.read_u64(at).ok_or(Error::Unreadable(at));
        let (fp, pc) = (read(record + META_SIZE)?, read(record + META_SIZE + 8)?);
        // After a tail call of one traced function to another, what it stands for is the trampoline again.
        let pc = state.rewritten.recover(self.layout.abi.strip(pc), fp, target)?;
        frame.pc = CodeAddress::Return(pc);
        frame.source = Source::FrameRecord { at: record };
        frame.regs.clear();
        frame.regs.set(self.layout.abi.fp, fp);
        Ok(Step::Caller)
    }

    fn refuses_boundaries(&self) -> bool {
        self.form == Form::Reliable && matches!(self.boundary, Boundary::FramePointer)
    }

    /// The step by the frame record that the frame pointer names.
    pub(super) fn frame_record(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        let abi = self.layout.abi;
        let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        if !fp.is_multiple_of(abi.frame_record.align) {
            return Err(Error::Misaligned(fp));
        }
        let record = fp.wrapping_add_signed(abi.frame_record.offset_from_fp);
        if !state.windows.can_consume(record, RECORD_SIZE) {
            return Err(Error::OutsideStacks(record));
        }
        let caller_fp = target.read_u64(record).ok_or(Error::Unreadable(record))?;
        let return_address = target.read_u64(record + 8).ok_or(Error::Unreadable(record + 8))?;
        if caller_fp == 0 && return_address == 0 {
            return self.metadata(record, frame, state, target);
        }
        state.windows.consume(record, RECORD_SIZE)?;
        let return_address = state.rewritten.recover(abi.strip(return_address), caller_fp, target)?;
        frame.pc = CodeAddress::Return(return_address);
        frame.source = Source::FrameRecord { at: record };
        frame.regs.clear();
        frame.regs.set(abi.fp, caller_fp);
        Ok(Step::Caller)
    }
}

impl Unwinder for MetadataUnwinder {
    fn name(&self) -> &'static str {
        let [reliable, best_effort] = self.names;
        if self.form == Form::Reliable { reliable } else { best_effort }
    }

    fn claims(&self) -> Claims {
        match (self.form, self.boundary) {
            (Form::Reliable, Boundary::Rows(policy)) => policy.claims,
            _ => self.form.claims(),
        }
    }

    fn needs(&self) -> Option<Format> {
        matches!(self.boundary, Boundary::Rows(_)).then_some(Format::SFrame)
    }

    fn inside(&self) -> Inside {
        self.inside
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        // A walk that starts with interrupted registers has crossed a boundary before its first step.
        if let (CodeAddress::Interrupted(pc), true) = (frame.pc, self.refuses_boundaries()) {
            return Err(Error::ExceptionBoundary(pc));
        }
        if let Some(step) = self.trampoline(frame, state, target)? {
            return Ok(step);
        }
        match (frame.pc, self.boundary) {
            (CodeAddress::Interrupted(pc), Boundary::Rows(policy)) => policy.step(self, pc, frame, state, target),
            _ => self.frame_record(frame, state, target),
        }
    }
}
