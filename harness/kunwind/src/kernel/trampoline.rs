//! What the walk along frame records does when it comes to a trampoline that stands for a return address.

use super::metadata::MetadataUnwinder;
use crate::{CodeAddress, Error, Frame, Inside, RewriteKind, Source, Step, Target, Trampoline, WalkState};

impl MetadataUnwinder {
    /// The step from a trampoline, if the frame stands in one and that needs a step of its own.
    pub(super) fn trampoline(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Option<Step>, Error> {
        let pc = frame.pc.value();
        let Some(trampoline) = target.trampoline(pc) else { return Ok(None) };
        let fp = frame.regs.get(self.layout.abi.fp).ok_or(Error::NoFramePointer)?;
        if pc == trampoline.start && matches!(frame.pc, CodeAddress::Interrupted(_)) {
            // Only a start is here: on the way, such a pc is recovered where it is found.
            let original = state.rewritten.recover(pc, fp, target)?;
            if original == pc {
                return Ok(None);
            }
            frame.pc = CodeAddress::Interrupted(original);
            frame.source = Source::Rewritten { trampoline: pc };
            return Ok(Some(Step::Caller));
        }
        if self.inside == Inside::Ignore || trampoline.kind != RewriteKind::Fgraph {
            return Ok(None);
        }
        self.inside(&trampoline, fp, frame, state, target)
    }

    fn inside(
        &self,
        trampoline: &Trampoline,
        fp: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<Option<Step>, Error> {
        if self.inside == Inside::Refuse {
            return Err(Error::InsideTrampoline(frame.pc.value()));
        }
        let mut cursor = state.rewritten;
        let remembered = cursor.fgraph(trampoline, fp, target);
        if let CodeAddress::Interrupted(pc) = frame.pc
            && let Some(link) = self.by_row(pc, frame, state, target)
        {
            // The entry of an address that is back in its register may not have been taken off yet: it is used up with it.
            if remembered == Ok(link) {
                state.rewritten = cursor;
            }
            // After a tail call of one traced function to another, what it stands for is the trampoline again.
            let fp = frame.regs.get(self.layout.abi.fp).ok_or(Error::NoFramePointer)?;
            frame.pc = CodeAddress::Return(state.rewritten.recover(link, fp, target)?);
            return Ok(Some(Step::Caller));
        }
        if let Ok(original) = remembered {
            // It may be a rethook's trampoline.
            state.rewritten = cursor;
            frame.pc = CodeAddress::Return(state.rewritten.recover(original, fp, target)?);
            frame.source = Source::Rewritten { trampoline: trampoline.start };
            let fp_register = self.layout.abi.fp;
            frame.regs.clear();
            frame.regs.set(fp_register, fp);
            return Ok(Some(Step::Caller));
        }
        match (self.inside, frame.pc) {
            // Its own record is linked: that is what the frame pointer names now.
            (Inside::Record | Inside::Pending, CodeAddress::Return(_)) => Ok(None),
            _ => Err(Error::InsideTrampoline(frame.pc.value())),
        }
    }
}
