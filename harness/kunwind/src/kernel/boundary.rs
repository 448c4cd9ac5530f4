//! The step across an exception boundary by SFrame: for a pc that comes from pt_regs, and, in version 5 of arm64's
//! series, also where a frame record fails. It does not know how the walk came to the boundary.
//!
//! Each rule says what it follows. "v5" and "v6" are the patch "unwind: arm64: Use sframe to unwind interrupt frames" of
//! these versions of the series (v5 8/8 of 2026-04-28, v6 9/9 of 2026-05-19), both in arch/arm64/kernel/stacktrace.c;
//! "the review" is that of v5 8/8: Mark Rutland on 2026-05-01 and 2026-05-05, Jens Remus on 2026-05-04 and 2026-05-05
//! (thread S0: docs/threads.md).

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
    /// The bits that must be zero in a CFA. v5: 7. v6: 0x15, by its comment meant to be 15. The review: 16-byte
    /// alignment, as AAPCS64 6.4.5.2 has it for SP at a call.
    pub(super) cfa_mask: u64,
    /// Whether a CFA that is computed from the frame pointer is refused while that is below SP: v5 and v6 do. The review
    /// does not speak of it; without the check no true row is refused.
    pub(super) fp_must_be_above_sp: bool,
    /// Where SP comes from.
    pub(super) sp: StackPointer,
    /// What is done when the table has nothing for the pc.
    pub(super) unknown_pc: UnknownPc,
    /// Whether a row that marks the outermost function ends the walk well. v5: -ENOENT, which is no failure and is not
    /// flagged. The review and v6: an error, because a kernel's stack ends at the FINAL record and nowhere else.
    pub(super) outermost_is_end: bool,
    /// Whether the step from pt_regs leaves `regs` a null pointer, even if it has led to other pt_regs: v5 and v6 clear
    /// it in `kunwind_next` after every such step, so that the next one has no link register. As meant, the registers
    /// that were found last are there.
    pub(super) loses_regs: bool,
    /// How walks of the reliable form claim to be so.
    pub(super) claims: Claims,
}

/// Where a rule's SP comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StackPointer {
    /// From pt_regs: the review and v6 (`regs->sp`).
    PtRegs,
    /// v5 keeps it in the walk's state, `common.sp`. A walk that starts with pt_regs or with a task that does not run
    /// has its SP; after a frame record it is the record's address (`kunwind_next_frame_record`), after a row the CFA.
    /// `kunwind_next_regs_pc` does not set it: at an exception on the way it still belongs to the handler.
    ///
    /// A walk of the running task starts with `__builtin_frame_address(0)`, the record of the walking function. How far
    /// that lies below the function's CFA is unknown, because it is up to the compiler: here it is the CFA.
    Tracked,
}

/// What is done when the table has nothing for a pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownPc {
    /// The step fails: the review and v6.
    Fails,
    /// v5: the words at the frame pointer are taken for a metadata record, whatever they hold. If that succeeds, the
    /// step has succeeded, and nothing marks the walk.
    Metadata,
}

/// The caller of an interrupted frame, as its row gives it.
struct Caller {
    fp: u64,
    pc: u64,
    cfa: u64,
    source: Source,
}

/// What the table has for a pc.
enum Found {
    Row(UnwindRow),
    Outermost,
}

impl Policy {
    /// From the interrupted frame to its caller: `KUNWIND_SOURCE_REGS_PC` in `kunwind_next`. What the row's step cannot
    /// do, the frame record is tried for, and the walk is unreliable from there on: v5 and v6; the review agrees. In
    /// v5 this is the second fallback, after that for an unknown pc.
    ///
    /// The return hooks are asked after the step, whichever it was: their failure is nobody's fallback.
    ///
    /// # Errors
    ///
    /// The error of the fallback, when the row was of no use, or of the return hooks.
    pub(super) fn step(
        &self,
        records: &Records,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let step = match self.next_row(records, pc, frame, state, target) {
            Ok(step) => step,
            Err(_) => {
                mutant!("fallback-not-flagged", state.mark_unreliable(), ());
                records.next_record(frame, state, target)?
            }
        };
        state.kunwind.regs_are_lost =
            mutant!("row-regs-never-lost", self.loses_regs && matches!(frame.pc, CodeAddress::Interrupted(_)), false);
        records.recovered(step, frame, state, target)
    }

    /// From any other frame to its caller: by its frame record. v5 tries a row where that fails, with the SP that it
    /// keeps, and nothing marks the walk; its pc, a return address, is looked up as it is. The review calls that
    /// unsound, because SP cannot be followed along frame records, and v6 has given it up.
    ///
    /// # Errors
    ///
    /// That of the frame record, or of the row where one is tried, or of the return hooks.
    #[inline]
    pub(super) fn step_by_record(
        &self,
        records: &Records,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let step = match (records.next_record(frame, state, target), self.sp) {
            (Err(_), StackPointer::Tracked) => self.next_row(records, frame.pc.value(), frame, state, target)?,
            (step, _) => step?,
        };
        records.recovered(step, frame, state, target)
    }

    /// `unwind_next_frame_sframe` in v5, `kunwind_next_regs_sframe` in v6. If it fails, the frame is as it was.
    fn next_row(
        &self,
        records: &Records,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let abi = records.layout.abi;
        let mut regs = frame.regs;
        self.limit_to_known(&mut regs, abi, frame, state)?;
        match (find(pc, target), self.unknown_pc) {
            (Ok(Found::Row(row)), _) => {
                self.by_row_of(&row, abi, pc, &regs, frame, state, target)?;
                Ok(Step::Caller)
            }
            (Ok(Found::Outermost), _) if mutant!("row-outermost-is-end", self.outermost_is_end, true) => {
                Ok(Step::Outermost)
            }
            (Ok(Found::Outermost), _) => Err(Error::OutermostInKernel(pc)),
            (Err(_), UnknownPc::Metadata) => records.next_metadata(frame, state, target),
            (Err(error), UnknownPc::Fails) => Err(error),
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
        target: &(impl Target + ?Sized),
    ) -> Option<u64> {
        let mut regs = frame.regs;
        self.limit_to_known(&mut regs, abi, frame, state).ok()?;
        let Ok(Found::Row(row)) = find(pc, target) else { return None };
        self.by_row_of(&row, abi, pc, &regs, frame, state, target).ok()
    }

    /// Leaves of a frame's registers those that a row may ask for. The frame pointer must be 8-byte aligned before anything else is looked at:
    /// v5 and v6; the review lets it stand. v5 demands the same of its SP. The link register is there only in pt_regs
    /// (`regs` is a null pointer elsewhere); v6 refuses any row without them.
    fn limit_to_known(&self, regs: &mut Regs, abi: &Abi, frame: &Frame, state: &WalkState) -> Result<(), Error> {
        let has_pt_regs = matches!(frame.pc, CodeAddress::Interrupted(_)) && !state.kunwind.regs_are_lost;
        if !has_pt_regs {
            regs.forget(abi.sp);
            if let Some(link) = abi.ra {
                regs.forget(link);
            }
        }
        let fp = regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        if !mutant!("row-fp-misaligned", fp.is_multiple_of(abi.frame_record.align), true) {
            return Err(Error::Misaligned(fp));
        }
        if self.sp == StackPointer::Tracked {
            let sp = state.kunwind.sp.ok_or(Error::NoRegister(abi.sp))?;
            if !mutant!("row-sp-misaligned", sp.is_multiple_of(abi.frame_record.align), true) {
                return Err(Error::MisalignedSp(sp));
            }
            regs.set(abi.sp, sp);
        }
        Ok(())
    }

    /// Moves to the caller by the row, and gives the return address.
    #[expect(clippy::too_many_arguments, reason = "a step's arguments, and what has been found for it")]
    fn by_row_of(
        &self,
        row: &UnwindRow,
        abi: &Abi,
        pc: u64,
        regs: &Regs,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<u64, Error> {
        let caller = self.caller(row, abi, pc, regs, state, target)?;
        let return_address = mutant!("row-ra-not-stripped", abi.strip(caller.pc), caller.pc);
        mutant!("row-cfa-is-not-next-sp", state.kunwind.sp = Some(caller.cfa), ());
        frame.become_frame(CodeAddress::Return(return_address), caller.source);
        frame.regs.set(abi.fp, mutant!("row-fp-of-callee", caller.fp, regs.get(abi.fp).unwrap_or(0)));
        Ok(return_address)
    }

    /// The caller by a row. The frame pointer is read without being consumed, so that a row that fails at the return
    /// address leaves the stack to the fallback; then the return address is consumed, and all below it is out of reach:
    /// `get_word` and `get_consume_word` of v5 and v6.
    fn caller(
        &self,
        row: &UnwindRow,
        abi: &Abi,
        pc: u64,
        regs: &Regs,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Caller, Error> {
        self.check_registers(abi, row, pc, regs)?;
        mutant!("row-rules-unchecked", check_rules(row, pc)?, ());
        let (windows, stacks) = (&mut state.windows, target.stacks());
        let read = &mut |slot: Slot| {
            let at = slot.address();
            match slot {
                Slot::Ra(_) => windows.consume(stacks, mutant!("row-ra-consumed-low", at, at - 8), 8)?,
                _ if mutant!("row-slot-unchecked", windows.can_consume(stacks, at, 8), true) => {}
                _ => return Err(Error::OutsideStacks(at)),
            }
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let cfa = row.cfa.value(regs, read)?;
        if cfa & mutant!("row-cfa-misaligned", self.cfa_mask, 0) != 0 {
            return Err(Error::MisalignedCfa(cfa));
        }
        let fp = row.fp.frame_pointer(cfa, regs, abi, read)?.ok_or(Error::NoFramePointer)?;
        let ra = row.ra.return_address(cfa, regs, abi, read)?;
        let source = match ra.place {
            Place::Register(_) => Source::LinkRegister,
            Place::Computed(_) | Place::Memory(_) => Source::Row { cfa, rule: row.cfa, ra: row.ra },
        };
        Ok(Caller { fp: fp.value, pc: ra.value, cfa, source })
    }

    /// A CFA is computed from SP or FP: the review and v6. v5 also takes other registers of pt_regs, which only SFrame's
    /// flexible FDEs name; assemblers write none for AArch64 (Remus in the review), and that is not modelled.
    fn check_registers(&self, abi: &Abi, row: &UnwindRow, pc: u64, regs: &Regs) -> Result<(), Error> {
        let CfaRule::RegOffset(base, _) = row.cfa else { return Err(Error::UnusableRule(pc)) };
        if base != abi.sp && base != abi.fp {
            return Err(Error::UnusableRule(pc));
        }
        let fp = regs.get(abi.fp).ok_or(Error::NoFramePointer)?;
        let sp = regs.get(abi.sp).ok_or(Error::NoRegister(abi.sp))?;
        if mutant!("row-fp-below-sp", self.fp_must_be_above_sp, false) && base == abi.fp && fp < sp {
            return Err(Error::FramePointerBelowSp(fp));
        }
        Ok(())
    }
}

/// `sframe_find_kernel`: the pc is looked up as it is, because it was interrupted and is no return address (v5 and v6).
fn find(pc: u64, target: &(impl Target + ?Sized)) -> Result<Found, Error> {
    match target.table(Format::SFrame).ok_or(Error::NoTable)?.entry(mutant!("row-of-byte-before", pc, pc - 1))? {
        Some(Entry::Row(row)) => Ok(Found::Row(row)),
        Some(Entry::Outermost) => Ok(Found::Outermost),
        Some(Entry::PtRegs(_)) => Err(Error::UnusableRule(pc)),
        Some(Entry::NoRow { .. }) | None => Err(Error::NoRow(pc)),
    }
}

/// No return address is a stack address (v5, v6, the review). No frame pointer is computed from the CFA (v5, v6: SFrame
/// has no such rule). Registers other than SP and FP are not where kernel code keeps one: the review and v6; v5 has
/// rules for flexible FDEs (see [`Policy::check_registers`]).
const fn check_rules(row: &UnwindRow, pc: u64) -> Result<(), Error> {
    match (row.ra, row.fp) {
        (Rule::CfaOffset(_) | Rule::RegOffset(..) | Rule::RegOffsetDeref(..), _)
        | (_, Rule::CfaOffset(_) | Rule::RegOffset(..) | Rule::RegOffsetDeref(..)) => Err(Error::UnusableRule(pc)),
        (ra, fp) if ra.is_expression() || fp.is_expression() => Err(Error::UnusableRule(pc)),
        _ => Ok(()),
    }
}
