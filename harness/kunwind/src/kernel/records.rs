//! Steps along frame records and metadata records: Linux v7.3, arch/arm64/kernel/stacktrace.c, and the same as the S4
//! series proposes it for riscv. They know no unwind rows: what an interrupted frame needs besides its frame pointer is
//! not decided here.

use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::state::WalkState;
use crate::target::Target;
use crate::walk::{Frame, Source, Step};

/// A frame record: the caller's frame pointer and the return address.
const RECORD_SIZE: u64 = 16;
/// A metadata record: a frame record of zeros, and a word that gives its type.
const META_SIZE: u64 = 24;
/// FRAME_META_TYPE_FINAL.
const TYPE_FINAL: u64 = 1;
/// FRAME_META_TYPE_PT_REGS.
const TYPE_PT_REGS: u64 = 2;
/// A type of our own, for [`Fix::Pending`](crate::Fix::Pending): after the record come the caller's frame pointer and
/// the return address.
const TYPE_PENDING: u64 = 3;
/// A record of that type.
const PENDING_SIZE: u64 = META_SIZE + 16;

/// Where the metadata record lies in the `struct pt_regs` of one architecture, in bytes.
///
/// ```text
///  arm64                                           riscv64, as proposed
///    0  x0 .. x30 (x29 at 232, x30 at 240)           0  epc, ra, sp, gp, tp, t0 .. t2, s0 (at 64), ...
///  248  sp                                         256  status, badaddr, cause, orig_a0
///  256  pc                                         288  0     \
///  264  pstate, orig_x0, syscallno, pmr, ...       296  0      > the metadata record
///  296  0     \  <- x29 of the entry code          304  type  /   <- s0 of the entry code
///  304  0      > the metadata record               312
///  312  type  /
///  320
/// ```
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

/// What a walk does with the pt_regs of an exception that was taken in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crossing {
    /// It ends.
    Refuse,
    /// It continues from the interrupted frame pointer. Whether the link register is live, only rows can say.
    FramePointer,
    /// It continues with all registers, for a row of the interrupted pc.
    Registers,
}

/// One step along records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    pub(super) layout: &'static Layout,
    pub(super) crossing: Crossing,
    /// Whether metadata records of the type for [`Fix::Pending`](crate::Fix::Pending) are known.
    pub(super) knows_pending: bool,
}

impl Records {
    /// The step by the record that the frame pointer names, with the original of a hooked return address.
    #[inline]
    pub(super) fn frame_record(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let step = self.next_record(frame, state, target)?;
        self.recovered(step, frame, state, target)
    }

    /// `kunwind_next_frame_record`. If it fails, the frame is as it was.
    ///
    /// ```text
    ///  frame record                     metadata record
    ///  +0  caller's frame pointer       +0  0
    ///  +8  return address               +8  0
    ///                                  +16  type: FINAL or PT_REGS
    /// ```
    #[inline]
    pub(super) fn next_record(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let abi = self.layout.abi;
        let record = self.record(frame)?;
        if !mutant!("record-window-unchecked", state.windows.can_consume(target.stacks(), record, RECORD_SIZE), true) {
            return Err(Error::OutsideStacks(record));
        }
        let caller_fp = target.read_u64(record).ok_or(Error::Unreadable(record))?;
        let return_address =
            target.read_u64(mutant!("record-ra-slot", record + 8, record)).ok_or(Error::Unreadable(record + 8))?;
        if mutant!(
            "meta-one-zero-suffices",
            caller_fp == 0 && return_address == 0,
            caller_fp == 0 || return_address == 0
        ) {
            return self.metadata(record, frame, state, target);
        }
        state.windows.consume(target.stacks(), record, mutant!("record-half-consumed", RECORD_SIZE, 8))?;
        state.kunwind.sp = Some(record);
        frame.become_frame(
            CodeAddress::Return(mutant!("record-ra-not-stripped", abi.strip(return_address), return_address)),
            Source::FrameRecord { at: record },
        );
        frame.regs.set(abi.fp, caller_fp);
        Ok(Step::Caller)
    }

    /// `kunwind_next_frame_record_meta`: the step by the same words, which are taken for a metadata record whatever they
    /// hold. If it fails, the frame is as it was.
    pub(super) fn next_metadata(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        self.metadata(self.record(frame)?, frame, state, target)
    }

    /// The end of every step: `kunwind_recover_return_address`. Its cookie is the frame pointer that the step found. At
    /// the first instruction of a trampoline nothing has happened yet: its caller stands there, interrupted or not.
    #[inline]
    pub(super) fn recovered(
        &self,
        step: Step,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        if step == Step::Outermost {
            return Ok(step);
        }
        let fp = frame.regs.get(self.layout.abi.fp).ok_or(Error::NoFramePointer)?;
        let original =
            mutant!("hooks-not-asked", state.return_hooks.recover(frame.pc.value(), fp, target)?, frame.pc.value());
        frame.pc = match frame.pc {
            CodeAddress::Interrupted(_) => CodeAddress::Interrupted(original),
            CodeAddress::Return(_) => CodeAddress::Return(original),
        };
        Ok(step)
    }

    /// The address of the record that the frame pointer names.
    #[inline]
    fn record(&self, frame: &Frame) -> Result<u64, Error> {
        let abi = self.layout.abi;
        let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        if !mutant!("record-misaligned", fp.is_multiple_of(abi.frame_record.align), true) {
            return Err(Error::Misaligned(fp));
        }
        Ok(fp.wrapping_add_signed(abi.frame_record.offset_from_fp))
    }

    /// The word after the record of zeros says what it is.
    fn metadata(
        &self,
        record: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        if !mutant!("meta-window-unchecked", state.windows.can_consume(target.stacks(), record, META_SIZE), true) {
            return Err(Error::OutsideStacks(record));
        }
        let at = record + mutant!("meta-type-word", RECORD_SIZE, 8);
        match target.read_u64(at).ok_or(Error::Unreadable(at))? {
            TYPE_FINAL => {
                let task = target.task().ok_or(Error::NoTask)?;
                let last = task
                    .stack
                    .high
                    .wrapping_sub(mutant!("final-end-of-stack", self.layout.pt_regs_on_stack, self.layout.pt_regs_size))
                    .wrapping_add(self.layout.stackframe);
                if mutant!("final-anywhere", record == last, true) {
                    Ok(Step::Outermost)
                } else {
                    Err(Error::StrayFinal(record))
                }
            }
            TYPE_PT_REGS => self.pt_regs(
                mutant!("pt-regs-at-record", record.wrapping_sub(self.layout.stackframe), record),
                frame,
                state,
                target,
            ),
            TYPE_PENDING if mutant!("pending-for-all", self.knows_pending, true) => {
                self.pending(record, frame, state, target)
            }
            _ => Err(Error::UnknownMetadata(record)),
        }
    }

    fn pt_regs(
        &self,
        at: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let abi = self.layout.abi;
        mutant!("pt-regs-not-consumed", state.windows.consume(target.stacks(), at, self.layout.pt_regs_size)?, ());
        let read = |offset: u64| target.read_u64(at + offset).ok_or(Error::Unreadable(at + offset));
        let pc = read(mutant!("pt-regs-pc", abi.pt_regs.pc, abi.pt_regs.pc + 8))?;
        if mutant!("pt-regs-crossed-as-reliable", self.crossing == Crossing::Refuse, false) {
            return Err(Error::ExceptionBoundary(pc));
        }
        frame.become_frame(
            mutant!("pt-regs-is-a-call", CodeAddress::Interrupted(pc), CodeAddress::Return(pc)),
            Source::PtRegs { at },
        );
        let is_used = |register| register == abi.fp || self.crossing == Crossing::Registers;
        for (register, offset) in abi.pt_regs.registers.iter().filter(|(register, _)| is_used(*register)) {
            frame.regs.set(*register, read(mutant!("pt-regs-fp", *offset, *offset - 8))?);
        }
        Ok(Step::Caller)
    }

    /// The record of a trampoline, with the original return address in it.
    ///
    /// ```text
    ///  +0  0     +8  0     +16  type: PENDING     +24  caller's frame pointer     +32  original return address
    /// ```
    fn pending(
        &self,
        record: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        mutant!("pending-not-consumed", state.windows.consume(target.stacks(), record, PENDING_SIZE)?, ());
        let read = |at: u64| target.read_u64(at).ok_or(Error::Unreadable(at));
        let (fp, pc) =
            (read(record + mutant!("pending-words-swapped", META_SIZE, META_SIZE + 8))?, read(record + META_SIZE + 8)?);
        // After a tail call from one traced function to another, the original is the trampoline's address again.
        frame.become_frame(CodeAddress::Return(self.layout.abi.strip(pc)), Source::FrameRecord { at: record });
        frame.regs.set(self.layout.abi.fp, fp);
        Ok(Step::Caller)
    }
}
