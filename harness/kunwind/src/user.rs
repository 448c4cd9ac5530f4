//! The walk of a user stack by a kernel: `unwind_user`, as it is in Linux v7.3 (frame pointers alone) and as version 15 of its
//! SFrame series has it (thread S3).

use crate::WalkState;
use crate::table::{Format, Place};
use crate::{Abi, CfaRule, Claims, CodeAddress, Entry, Error, Frame, Rule, Source, Step, Target, UnwindRow, Unwinder};

/// The size of a word of user memory.
const WORD: u64 = 8;
/// The caller's frame pointer and the return address.
const RECORD_SIZE: i64 = 16;

/// Walks user frames: by SFrame where there is a section that knows the pc, by the frame record where there is none.
///
/// Kept as the series has it: the pc of a caller is looked up where it is and not one byte back; a rule that names a register
/// for the return address or the frame pointer is refused in all frames but the topmost, even if the register is FP; a
/// section that is corrupt ends the walk and is no reason to try the frame record. Not kept: the series forgets a corrupt
/// section, so that later walks of the process go by frame records, and mainline has a rule for probes at the first
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

    /// The row of an ordinary frame with a frame pointer.
    const fn frame_record_row(&self) -> UnwindRow {
        UnwindRow {
            cfa: CfaRule::RegOffset(self.abi.fp, RECORD_SIZE),
            ra: Rule::CfaOffsetDeref(-8),
            fp: Rule::CfaOffsetDeref(-RECORD_SIZE),
            mangled_ra: false,
            signal: false,
        }
    }

    fn read(at: u64, target: &dyn Target) -> Result<u64, Error> {
        target.read_u64(at).ok_or(Error::Unreadable(at))
    }

    fn cfa(&self, row: &UnwindRow, frame: &Frame, sp: u64, target: &dyn Target) -> Result<u64, Error> {
        let topmost = is_topmost(frame);
        let register = row.cfa.register();
        if register == self.abi.fp {
            let fp = frame.regs.get(register).ok_or(Error::NoFramePointer)?;
            if fp < sp {
                return Err(Error::FramePointerBelowSp(fp));
            }
        }
        // Of other registers nothing is known in any frame but the topmost.
        let cfa = row.cfa_of(&frame.regs, |at| Self::read(at, target))?;
        // The topmost frame may not have moved SP yet.
        if cfa <= sp.wrapping_sub(u64::from(topmost)) {
            return Err(Error::CfaNotAbove(cfa));
        }
        if !cfa.is_multiple_of(WORD) {
            return Err(Error::MisalignedCfa(cfa));
        }
        Ok(cfa)
    }

    /// The value that a rule gives; nothing if it is retained.
    fn value(&self, rule: Rule, cfa: u64, frame: &Frame, target: &dyn Target) -> Result<Option<u64>, Error> {
        match rule {
            Rule::RegOffset(register, _) | Rule::RegOffsetDeref(register, _) if !is_topmost(frame) => {
                return Err(Error::NoRegister(register));
            }
            Rule::CfaOffset(_) => return Err(Error::UnusableRule(frame.pc.value())),
            _ => {}
        }
        match rule.place(cfa, &frame.regs)? {
            None => Ok(None),
            Some(Place::Value(value)) => Ok(Some(value)),
            Some(Place::Memory(at)) => Self::read(at, target).map(Some),
        }
    }

    fn caller(&self, row: &UnwindRow, frame: &mut Frame, target: &dyn Target) -> Result<Step, Error> {
        let sp = frame.regs.get(self.abi.sp).ok_or(Error::NoRegister(self.abi.sp))?;
        let cfa = self.cfa(row, frame, sp, target)?;
        let return_address = match self.value(row.ra, cfa, frame, target)? {
            Some(value) => value,
            None => {
                let link = self.abi.ra.filter(|_| is_topmost(frame)).ok_or(Error::UnusableRule(frame.pc.value()))?;
                frame.regs.get(link).ok_or(Error::NoRegister(link))?
            }
        };
        let fp = match self.value(row.fp, cfa, frame, target)? {
            Some(value) => Some(value),
            None => frame.regs.get(self.abi.fp),
        };
        frame.pc = CodeAddress::Return(return_address);
        frame.source = Source::Row { cfa };
        frame.regs.clear();
        frame.regs.set(self.abi.sp, cfa);
        if let Some(fp) = fp {
            frame.regs.set(self.abi.fp, fp);
        }
        Ok(Step::Caller)
    }
}

/// Whether the registers of the frame are those with which user mode was left.
fn is_topmost(frame: &Frame) -> bool {
    matches!(frame.pc, CodeAddress::Interrupted(_))
}

impl Unwinder for UnwindUser {
    fn name(&self) -> &'static str {
        if self.by_sframe { "unwind-user" } else { "unwind-user-fp" }
    }

    fn claims(&self) -> Claims {
        Claims::Never
    }

    fn step(&self, frame: &mut Frame, _: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let table = if self.by_sframe { target.table(Format::SFrame) } else { None };
        let entry = table.map(|table| table.entry(frame.pc.value())).transpose()?.flatten();
        match entry {
            Some(Entry::Row(row)) => self.caller(&row, frame, target),
            Some(Entry::Outermost) => Ok(Step::Outermost),
            Some(Entry::NoRow { .. }) => Err(Error::NoRow(frame.pc.value())),
            // The end of a chain of frame records; the kernel ends there as at any frame pointer below SP.
            None if frame.regs.get(self.abi.fp) == Some(0) => Ok(Step::Outermost),
            None => self.caller(&self.frame_record_row(), frame, target),
        }
    }
}
