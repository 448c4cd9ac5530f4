//! The walk by frame records alone: what a profiler or a best-effort kernel backtrace does with nothing but FP. It
//! knows neither code nor unwind data.

use crate::abi::{Abi, FrameRecord};
use crate::address::CodeAddress;
use crate::error::Error;
use crate::state::WalkState;
use crate::target::Target;
use crate::walk::{Claims, Frame, Source, Step, Unwinder};

/// Size of a frame record: two 64-bit words.
const RECORD_SIZE: u64 = 16;

/// Follows the chain of {FP, return address} pairs. It claims by reaching the end of the chain.
///
/// AAPCS64 6.4.6: "Each frame shall link to the frame of its caller by means of a frame record of two 64-bit values on
/// the stack". On arm64 and x86-64 FP addresses the record, on riscv64 the end of it:
///
/// ```text
///                 |  caller's frame   |          |  caller's frame   |
///  CFA (x86-64) ->+-------------------+    FP -> +-------------------+ <- CFA (riscv64)
///                 |  return address   |  FP - 8  |  return address   |
///          FP + 8 +-------------------+          +-------------------+
///                 |  caller's FP      |  FP - 16 |  caller's FP      |
///            FP ->+-------------------+          +-------------------+
///                 |  locals ...       |          |  locals ...       |
///                 arm64, x86-64                  riscv64
/// ```
///
/// Between the entry of a function and the instruction that links its record, and everywhere in a function without one,
/// the frame pointer is still the caller's: the walk silently omits the caller there.
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

    #[inline]
    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let FrameRecord { offset_from_fp, align, cfa_from_fp } = self.abi.frame_record;
        let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
        if mutant!("chain-zero-fp-is-no-end", fp == 0, false) {
            return Ok(Step::Outermost);
        }
        if !mutant!("chain-misaligned", fp.is_multiple_of(align), true) {
            return Err(Error::Misaligned(fp));
        }
        let at = fp.wrapping_add_signed(offset_from_fp);
        mutant!("chain-not-consumed", state.windows.consume(target.stacks(), at, RECORD_SIZE)?, ());
        let caller_fp = target.read_u64(mutant!("chain-fp-slot", at, at + 8)).ok_or(Error::Unreadable(at))?;
        let return_address = target.read_u64(at + 8).ok_or(Error::Unreadable(at + 8))?;
        if mutant!("chain-zero-return-is-no-end", return_address == 0, false) {
            return Ok(Step::Outermost);
        }
        frame.become_frame(CodeAddress::Return(return_address), Source::FrameRecord { at });
        frame.regs.set(self.abi.fp, caller_fp);
        if let Some(offset) = cfa_from_fp {
            frame.regs.set(self.abi.sp, fp.wrapping_add_signed(mutant!("chain-sp", offset, offset + 8)));
        }
        Ok(Step::Caller)
    }
}
