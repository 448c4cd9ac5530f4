//! A new unwinder in Rust: along frame pointers, as an example (docs/your-unwinder.md).

use kunwind::{Abi, Claims, CodeAddress, Error, Frame, Source, Step, Target, Unwinder, WalkState};

/// Follows frame pointers.
#[derive(Debug)]
pub struct Mine {
    /// What differs between CPUs.
    pub abi: &'static Abi,
}

impl Unwinder for Mine {
    fn name(&self) -> &'static str {
        "mine"
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd // who reaches the outermost frame claims to be right
    }

    fn step(&self, frame: &mut Frame, _: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
        if fp == 0 {
            return Ok(Step::Outermost);
        }
        let at = fp.wrapping_add_signed(self.abi.frame_record.offset_from_fp);
        // An address that is not on a stack is an error, and not a guess.
        if !target.stacks().iter().any(|stack| stack.contains(at, 16)) {
            return Err(Error::Unreadable(at));
        }
        let caller = target.read_u64(at).ok_or(Error::Unreadable(at))?;
        let pc = target.read_u64(at + 8).ok_or(Error::Unreadable(at + 8))?;
        frame.become_frame(CodeAddress::Return(pc), Source::FrameRecord { at });
        frame.regs.set(self.abi.fp, caller);
        Ok(Step::Caller)
    }
}
