//! The walk by frame records alone: what a profiler or a best-effort kernel backtrace does with nothing but FP.

use crate::abi::FrameRecord;
use crate::{Abi, Claims, CodeAddress, Error, Frame, Source, Step, Target, Unwinder, WalkState};

/// Size of a frame record: two 64-bit words.
const RECORD_SIZE: u64 = 16;

/// Follows the chain of {FP, return address} pairs. It claims by reaching the end of the chain.
///
/// It knows nothing of the code: between the entry of a function and the instruction that links its record, the frame
/// pointer is still the caller's, so the caller's own frame is silently left out; likewise in a function without a record.
#[derive(Clone, Copy, Debug)]
pub struct FrameRecordUnwinder {
    abi: &'static Abi,
}

impl FrameRecordUnwinder {
    /// An unwinder for the CPU of this ABI.
    #[must_use]
    pub const fn new(abi: &'static Abi) -> Self {
        Self { abi }
    }
}

impl Unwinder for FrameRecordUnwinder {
    fn name(&self) -> &'static str {
        "frame-record"
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let FrameRecord { offset_from_fp, align, cfa_from_fp } = self.abi.frame_record;
        let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
        if fp == 0 {
            return Ok(Step::Outermost);
        }
        if !fp.is_multiple_of(align) {
            return Err(Error::Misaligned(fp));
        }
        let at = fp.wrapping_add_signed(offset_from_fp);
        state.windows.consume(at, RECORD_SIZE)?;
        let caller_fp = target.read_u64(at).ok_or(Error::Unreadable(at))?;
        let return_address = target.read_u64(at + 8).ok_or(Error::Unreadable(at + 8))?;
        if return_address == 0 {
            return Ok(Step::Outermost);
        }
        frame.pc = CodeAddress::Return(return_address);
        frame.source = Source::FrameRecord { at };
        frame.regs.clear();
        frame.regs.set(self.abi.fp, caller_fp);
        if let Some(offset) = cfa_from_fp {
            frame.regs.set(self.abi.sp, fp.wrapping_add_signed(offset));
        }
        Ok(Step::Caller)
    }
}
