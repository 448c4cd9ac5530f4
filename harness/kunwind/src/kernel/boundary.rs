//! The step across an exception boundary by SFrame: for a pc that comes from pt_regs, and for no other (threads S0 and
//! S1). It does not know how the walk came to the boundary.

use super::records::Records;
use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::regs::Regs;
use crate::row::{CfaRule, Entry, Place, Rule, Slot, UnwindRow};
use crate::state::WalkState;
use crate::target::{Format, Target};
use crate::walk::{Claims, Frame, Source, Step};

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

/// What replaces a row that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The frame record that the frame pointer names.
    FrameRecord,
    /// The same words, taken for a metadata record whatever they hold.
    Metadata,
}

/// The caller of an interrupted frame, as its row gives it.
struct Caller {
    fp: u64,
    pc: u64,
    source: Source,
}

impl Policy {
    /// From the interrupted frame to its caller.
    ///
    /// # Errors
    ///
    /// The error of the fallback, when the row was of no use.
    pub(super) fn step(
        &self,
        records: &Records,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Step, Error> {
        let abi = records.layout.abi;
        if self.by_row(abi, pc, frame, state, target).is_some() {
            let fp = frame.regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
            frame.pc = CodeAddress::Return(state.return_hooks.recover(frame.pc.value(), fp, target)?);
            return Ok(Step::Caller);
        }
        state.mark_unreliable();
        match self.fallback {
            Fallback::FrameRecord => records.frame_record(frame, state, target),
            Fallback::Metadata => records.unchecked_metadata(frame, state, target),
        }
    }

    /// Moves to the caller of an interrupted frame by its row, if that can be used, and gives the return address, which
    /// may be that of a trampoline.
    pub(super) fn by_row(
        &self,
        abi: &Abi,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Option<u64> {
        let caller = self.caller(abi, pc, &frame.regs, state, target).ok()?;
        let return_address = abi.strip(caller.pc);
        frame.become_frame(CodeAddress::Return(return_address), caller.source);
        frame.regs.set(abi.fp, caller.fp);
        Some(return_address)
    }

    /// The pc is looked up as it is: it was interrupted and is no return address. SP is that of pt_regs.
    fn caller(
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
            Some(Entry::PtRegs(_)) => return Err(Error::UnusableRule(pc)),
            Some(Entry::NoRow { .. }) | None => return Err(Error::NoRow(pc)),
        };
        self.check_registers(abi, &row, pc, regs)?;
        check_rules(&row, pc)?;
        // The frame pointer is read without being consumed, so that a row that fails at the return address leaves the
        // stack to the fallback; then the return address is consumed, and all below it is out of reach.
        let windows = &mut state.windows;
        let read = &mut |slot: Slot| {
            let at = slot.address();
            match slot {
                Slot::Ra(_) => windows.consume(at, 8)?,
                _ if windows.can_consume(at, 8) => {}
                _ => return Err(Error::OutsideStacks(at)),
            }
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let cfa = row.cfa.value(regs, read)?;
        if cfa & self.cfa_mask != 0 {
            return Err(Error::MisalignedCfa(cfa));
        }
        let fp = row.fp.frame_pointer(cfa, regs, abi, read)?.ok_or(Error::NoFramePointer)?;
        let ra = row.ra.return_address(cfa, regs, abi, read)?;
        let source = match ra.place {
            Place::Register(_) => Source::LinkRegister,
            Place::Computed(_) | Place::Memory(_) => Source::Row { cfa },
        };
        Ok(Caller { fp: fp.value, pc: ra.value, source })
    }

    /// SP and FP are known; whether a CFA can be computed from one of them.
    fn check_registers(&self, abi: &Abi, row: &UnwindRow, pc: u64, regs: &Regs) -> Result<(), Error> {
        let CfaRule::RegOffset(base, _) = row.cfa else { return Err(Error::UnusableRule(pc)) };
        if base != abi.sp && base != abi.fp {
            return Err(Error::UnusableRule(pc));
        }
        let fp = regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        let sp = regs.get(abi.sp).ok_or(Error::NoRegister(abi.sp))?;
        if self.fp_must_be_above_sp && base == abi.fp && fp < sp {
            return Err(Error::FramePointerBelowSp(fp));
        }
        Ok(())
    }
}

/// No return address is a stack address, registers other than SP and FP are not where kernel code keeps one, and no
/// frame pointer is computed.
const fn check_rules(row: &UnwindRow, pc: u64) -> Result<(), Error> {
    match (row.ra, row.fp) {
        (Rule::CfaOffset(_) | Rule::RegOffset(..) | Rule::RegOffsetDeref(..), _)
        | (_, Rule::CfaOffset(_) | Rule::RegOffset(..)) => Err(Error::UnusableRule(pc)),
        (ra, fp) if ra.is_expression() || fp.is_expression() => Err(Error::UnusableRule(pc)),
        _ => Ok(()),
    }
}
