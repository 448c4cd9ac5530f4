//! What the walk along frame records does when it comes to the trampoline of a return hook, as each [`Fix`] has it. It
//! does not know which builds of a kernel have which remedy.

use super::boundary::Policy;
use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::return_hook::Fix;
use crate::state::WalkState;
use crate::target::{ReturnHook, Target, Trampoline};
use crate::walk::{Frame, Source, Step};

/// What the step from a trampoline depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromTrampoline {
    pub(super) abi: &'static Abi,
    pub(super) fix: Fix,
    /// Where rows are consulted at all.
    pub(super) rows: Option<&'static Policy>,
}

impl FromTrampoline {
    /// The step from a trampoline, if the frame stands in one and that needs a step of its own.
    #[inline]
    pub(super) fn step(
        &self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Option<Step>, Error> {
        match target.trampoline(frame.pc.value()) {
            None => Ok(None),
            Some(trampoline) => self.step_from(&trampoline, frame, state, target),
        }
    }

    fn step_from(
        &self,
        trampoline: &Trampoline,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Option<Step>, Error> {
        let pc = frame.pc.value();
        let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
        if mutant!("trampoline-start-is-code", pc == trampoline.start, false)
            && matches!(frame.pc, CodeAddress::Interrupted(_))
        {
            // Only a start is here: on the way, such a pc is recovered where it is found.
            let original = state.return_hooks.recover(pc, fp, target)?;
            if original == pc {
                return Ok(None);
            }
            frame.pc = CodeAddress::Interrupted(original);
            frame.source = Source::ReturnHook { trampoline: pc };
            return Ok(Some(Step::Caller));
        }
        if self.fix == Fix::None || trampoline.hook != ReturnHook::Fgraph {
            return Ok(None);
        }
        self.inside(trampoline, fp, frame, state, target)
    }

    fn inside(
        &self,
        trampoline: &Trampoline,
        fp: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Option<Step>, Error> {
        if mutant!("trampoline-not-refused", self.fix == Fix::Refuse, false) {
            return Err(Error::InsideTrampoline(frame.pc.value()));
        }
        let mut cursor = state.return_hooks;
        let hooked = cursor.fgraph_complete(trampoline, fp, target);
        if let (CodeAddress::Interrupted(pc), Some(rows)) = (frame.pc, self.rows)
            && let Some(link) = rows.by_row(self.abi, pc, frame, state, target)
        {
            // The entry of an address that is back in its register may still be on the ret_stack: it is used up with
            // it.
            if mutant!("trampoline-entry-not-used-up", hooked == Ok(link), false) {
                state.return_hooks = cursor;
            }
            // After a tail call from one traced function to another, the original is the trampoline's address again.
            let fp = frame.regs.get(self.abi.fp).ok_or(Error::NoFramePointer)?;
            frame.pc = CodeAddress::Return(mutant!(
                "trampoline-link-asked-once",
                state.return_hooks.recover(link, fp, target)?,
                link
            ));
            return Ok(Some(Step::Caller));
        }
        if let Ok(original) = hooked {
            state.return_hooks = cursor;
            // It may be a rethook's trampoline.
            let original =
                mutant!("trampoline-original-asked-once", state.return_hooks.recover(original, fp, target)?, original);
            frame.become_frame(CodeAddress::Return(original), Source::ReturnHook { trampoline: trampoline.start });
            frame.regs.set(self.abi.fp, fp);
            return Ok(Some(Step::Caller));
        }
        match (self.fix, frame.pc) {
            // The trampoline has linked a record of its own, which the frame pointer names now.
            (Fix::Record | Fix::Pending, CodeAddress::Return(_)) => Ok(None),
            _ => mutant!("trampoline-lost-goes-on", Err(Error::InsideTrampoline(frame.pc.value())), Ok(None)),
        }
    }
}
