//! The walk of a user stack by a kernel: `unwind_user`, as it is in Linux v7.3 (frame pointers alone) and as version 15
//! of its SFrame series has it (thread S3). It knows no stack bounds: a kernel does not know a user's stacks.

use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::row::{CfaRule, Entry, Rule, Slot, UnwindRow};
use crate::state::WalkState;
use crate::target::{Format, Target};
use crate::walk::{Claims, Frame, Source, Step, Unwinder};

/// The size of a word of user memory.
const WORD: u64 = 8;
/// The caller's frame pointer and the return address.
const RECORD_SIZE: i64 = 16;

/// Walks user frames: by SFrame where there is a section that knows the pc, by the frame record where there is none.
///
/// Kept from the series: the pc of a caller is looked up as it is and not one byte back; a rule that names a register
/// for the return address or the frame pointer is refused in all frames but the topmost, even if the register is FP; a
/// corrupt section ends the walk and is no reason to try the frame record. Not kept: the series drops a corrupt
/// section, so that later walks of the process use frame records, and mainline has a rule for probes at the first
/// instruction of a function.
#[derive(Clone, Copy, Debug)]
pub struct UnwindUser {
    abi: &'static Abi,
    by_sframe: bool,
}

impl UnwindUser {
    /// As the series has it: SFrame first.
    #[must_use]
    pub const fn new(abi: &'static Abi) -> Self {
        Self { abi, by_sframe: true }
    }

    /// As mainline has it: frame records alone.
    #[must_use]
    pub const fn by_frame_pointer(abi: &'static Abi) -> Self {
        Self { abi, by_sframe: false }
    }

    /// The row of an ordinary frame with a frame pointer, whatever the ABI says of its records:
    ///
    /// ```text
    ///          CFA ->+-----------------+
    ///                | return address  |  CFA - 8
    ///                +-----------------+
    ///                | caller's FP     |  CFA - 16
    ///           FP ->+-----------------+
    /// ```
    const fn frame_record_row(&self) -> UnwindRow {
        UnwindRow {
            cfa: CfaRule::RegOffset(self.abi.fp, RECORD_SIZE),
            ra: Rule::CfaOffsetDeref(-8),
            fp: Rule::CfaOffsetDeref(-RECORD_SIZE),
            mangled_ra: false,
            signal: false,
        }
    }

    fn check_frame_pointer(&self, rule: CfaRule, frame: &Frame, sp: u64) -> Result<(), Error> {
        if rule.register() != Some(self.abi.fp) {
            return Ok(());
        }
        let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
        if mutant!("user-fp-below-sp", fp < sp, false) { Err(Error::FramePointerBelowSp(fp)) } else { Ok(()) }
    }

    fn caller(&self, row: &UnwindRow, frame: &mut Frame, target: &dyn Target) -> Result<Step, Error> {
        let (pc, regs, is_topmost) = (frame.pc.value(), &frame.regs, is_topmost(frame));
        let read = &mut |slot: Slot| target.read_u64(slot.address()).ok_or(Error::Unreadable(slot.address()));
        let sp = regs.get(self.abi.sp).ok_or(Error::NoRegister(self.abi.sp))?;
        self.check_frame_pointer(row.cfa, frame, sp)?;
        // Registers other than SP and FP are known in the topmost frame alone.
        let cfa = row.cfa.value(regs, read)?;
        check_cfa(cfa, sp, mutant!("user-cfa-rises-at-once", is_topmost, false))?;
        mutant!("user-ra-rule-unchecked", check_rule(row.ra, pc, is_topmost)?, ());
        if mutant!("user-link-in-any-frame", row.ra == Rule::Retain && !is_topmost, false) {
            return Err(Error::UnusableRule(pc));
        }
        let ra = row.ra.return_address(cfa, regs, self.abi, read)?;
        mutant!("user-fp-rule-unchecked", check_rule(row.fp, pc, is_topmost)?, ());
        let fp = row.fp.frame_pointer(cfa, regs, self.abi, read)?;
        frame.become_frame(CodeAddress::Return(ra.value), Source::Row { cfa, rule: row.cfa, ra: row.ra });
        frame.regs.set(self.abi.sp, cfa);
        if let Some(fp) = fp {
            frame.regs.set(self.abi.fp, fp.value);
        }
        Ok(Step::Caller)
    }
}

/// Whether the registers of the frame are those with which user mode was left.
const fn is_topmost(frame: &Frame) -> bool {
    matches!(frame.pc, CodeAddress::Interrupted(_))
}

/// The stack grows down, so the CFA rises; but the topmost frame may not have moved SP yet.
const fn check_cfa(cfa: u64, sp: u64, is_topmost: bool) -> Result<(), Error> {
    if cfa <= sp.wrapping_sub(is_topmost as u64) {
        return Err(Error::CfaNotAbove(cfa));
    }
    if !cfa.is_multiple_of(WORD) {
        return Err(Error::MisalignedCfa(cfa));
    }
    Ok(())
}

/// Rules for the return address and the frame pointer that the series refuses.
const fn check_rule(rule: Rule, pc: u64, is_topmost: bool) -> Result<(), Error> {
    match rule {
        Rule::RegOffset(register, _) | Rule::RegOffsetDeref(register, _) if !is_topmost => {
            Err(Error::NoRegister(register))
        }
        Rule::CfaOffset(_) | Rule::Expression(_) | Rule::ValExpression(_) | Rule::Undefined => {
            Err(Error::UnusableRule(pc))
        }
        _ => Ok(()),
    }
}

impl Unwinder for UnwindUser {
    fn name(&self) -> &'static str {
        if self.by_sframe { "unwind-user" } else { "unwind-user-fp" }
    }

    fn claims(&self) -> Claims {
        Claims::Never
    }

    fn step(&self, frame: &mut Frame, _: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let pc = frame.pc.value();
        let table = if self.by_sframe { target.table(Format::SFrame) } else { None };
        let entry = table
            .map(|table| table.entry(mutant!("user-lookup-byte-before", pc, frame.pc.lookup())))
            .transpose()?
            .flatten();
        match entry {
            Some(Entry::Row(row)) => self.caller(&row, frame, target),
            Some(Entry::Outermost) => Ok(Step::Outermost),
            Some(Entry::NoRow { .. }) => mutant!("user-no-row-is-end", Err(Error::NoRow(pc)), Ok(Step::Outermost)),
            // SFrame has none.
            Some(Entry::PtRegs(_)) => Err(Error::UnusableRule(pc)),
            // The end of a chain of frame records; the kernel ends there as at any frame pointer below SP.
            None if mutant!("user-zero-fp-is-no-end", frame.regs.get(self.abi.fp) == Some(0), false) => {
                Ok(Step::Outermost)
            }
            None => self.caller(&self.frame_record_row(), frame, target),
        }
    }
}
