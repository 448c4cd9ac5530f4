//! The step across an exception boundary by SFrame: for a pc that comes from pt_regs, and for no other (threads S0 and S1).

use super::metadata::{Boundary, MetadataUnwinder};
use crate::table::{Format, Place};
use crate::{Abi, CfaRule, Claims, CodeAddress, Entry, Error, Frame, Regs, Rule, Source, Step, Target, WalkState};

/// What one version of the step does; they differ in details that matter.
#[derive(Debug)]
pub(super) struct Policy {
    /// The bits that must be zero in a CFA.
    pub(super) cfa_mask: u64,
    /// Whether a CFA that is computed from the frame pointer is refused while that is below SP.
    pub(super) fp_must_be_above_sp: bool,
    /// What is tried when there is no row, or one that cannot be used. The walk is unreliable from there on.
    pub(super) fallback: Fallback,
    /// How walks of the reliable form claim to be so.
    pub(super) claims: Claims,
}

/// What a failing row is replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The frame record that the frame pointer names.
    FrameRecord,
    /// The same words, taken for a metadata record whatever they hold.
    Metadata,
}

/// The caller of an interrupted frame, as a row tells it.
struct Caller {
    fp: u64,
    pc: u64,
    source: Source,
}

impl MetadataUnwinder {
    /// Goes to the caller of an interrupted frame by its row, if that can be used, and gives the return address, which may be
    /// that of a trampoline.
    pub(super) fn by_row(&self, pc: u64, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Option<u64> {
        let Boundary::Rows(policy) = self.boundary else { return None };
        let abi = self.layout.abi;
        let caller = policy.by_row(abi, pc, &frame.regs, state, target).ok()?;
        let return_address = abi.strip(caller.pc);
        frame.pc = CodeAddress::Return(return_address);
        frame.source = caller.source;
        frame.regs.clear();
        frame.regs.set(abi.fp, caller.fp);
        Some(return_address)
    }
}

impl Policy {
    /// From the interrupted frame to its caller.
    ///
    /// # Errors
    ///
    /// What the fallback says, when the row was of no use.
    pub(super) fn step(
        &self,
        unwinder: &MetadataUnwinder,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        let abi = unwinder.layout.abi;
        if unwinder.by_row(pc, frame, state, target).is_some() {
            let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
            frame.pc = CodeAddress::Return(state.rewritten.recover(frame.pc.value(), fp, target)?);
            return Ok(Step::Caller);
        }
        state.mark_unreliable();
        match self.fallback {
            Fallback::FrameRecord => unwinder.frame_record(frame, state, target),
            Fallback::Metadata => {
                let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
                if !fp.is_multiple_of(abi.frame_record.align) {
                    return Err(Error::Misaligned(fp));
                }
                unwinder.metadata(fp.wrapping_add_signed(abi.frame_record.offset_from_fp), frame, state, target)
            }
        }
    }

    /// The pc is looked up as it is: it was interrupted and is no return address. SP is that of pt_regs.
    fn by_row(
        &self,
        abi: &Abi,
        pc: u64,
        regs: &Regs,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Caller, Error> {
        let row = match target.table(Format::SFrame).ok_or(Error::NoTable)?.entry(pc)? {
            Some(Entry::Row(row)) => row,
            // A kernel's stack ends at the FINAL record and nowhere else.
            Some(Entry::Outermost) => return Err(Error::OutermostInKernel(pc)),
            Some(Entry::NoRow { .. }) | None => return Err(Error::NoRow(pc)),
        };
        let CfaRule::RegOffset(base, _) = row.cfa else { return Err(Error::UnusableRule(pc)) };
        if base != abi.sp && base != abi.fp {
            return Err(Error::UnusableRule(pc));
        }
        let fp = regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        let sp = regs.get(abi.sp).ok_or(Error::NoRegister(abi.sp))?;
        if self.fp_must_be_above_sp && base == abi.fp && fp < sp {
            return Err(Error::FramePointerBelowSp(fp));
        }
        let cfa = row.cfa_of(regs, |at| Err(Error::Unreadable(at)))?;
        if cfa & self.cfa_mask != 0 {
            return Err(Error::MisalignedCfa(cfa));
        }
        // The frame pointer is read without being consumed, so that a row that fails at the return address leaves the stack to
        // the fallback; then the return address is consumed, and all below it is out of reach.
        let fp = match row.fp.place(cfa, regs)? {
            None => fp,
            Some(Place::Value(_)) => return Err(Error::UnusableRule(pc)),
            Some(Place::Memory(at)) if state.windows.can_consume(at, 8) => {
                target.read_u64(at).ok_or(Error::Unreadable(at))?
            }
            Some(Place::Memory(at)) => return Err(Error::OutsideStacks(at)),
        };
        match row.ra {
            Rule::Retain => {
                let link = abi.ra.ok_or(Error::UnusableRule(pc))?;
                let pc = regs.get(link).ok_or(Error::NoRegister(link))?;
                Ok(Caller { fp, pc, source: Source::LinkRegister })
            }
            Rule::CfaOffsetDeref(offset) => {
                let at = cfa.wrapping_add_signed(offset);
                state.windows.consume(at, 8)?;
                let pc = target.read_u64(at).ok_or(Error::Unreadable(at))?;
                Ok(Caller { fp, pc, source: Source::Row { cfa } })
            }
            // No return address is a stack address, and registers other than SP and FP are not what kernel code keeps it in.
            Rule::CfaOffset(_) | Rule::RegOffset(..) | Rule::RegOffsetDeref(..) => Err(Error::UnusableRule(pc)),
        }
    }
}
