//! `kunwind`: the walk along frame records with metadata records at exceptions and at the end, as Linux has it for
//! arm64 (v7.3), as the S4 series proposes it for riscv, and with the step across exception boundaries by SFrame that
//! thread S0 is about. The algorithm knows no architecture: its [`Layout`] and its [`Boundary`] do.

use super::boundary::Policy;
use super::form::Form;
use super::records::{Crossing, Layout, Records};
use super::trampoline::FromTrampoline;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::return_hook::Fix;
use crate::state::WalkState;
use crate::target::Target;
use crate::walk::{Claims, Frame, Step};

/// What is done at an exception boundary, where the interrupted frame may have no record yet, or none at all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boundary {
    /// The reliable form stops; the best-effort form continues from the frame pointer as if there were a record. If
    /// there is none at the interrupted pc (a leaf, a prologue), the caller is omitted.
    FramePointer,
    /// The unwind row of the interrupted pc says where the caller is.
    Rows(&'static Policy),
}

/// The walk on one architecture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kunwind {
    pub(super) layout: &'static Layout,
    pub(super) boundary: Boundary,
}

impl Kunwind {
    #[inline]
    pub(super) const fn claims(self, form: Form) -> Claims {
        match (form, self.boundary) {
            (Form::Reliable, Boundary::Rows(policy)) => policy.claims,
            _ => form.claims(),
        }
    }

    /// How its walks go.
    #[inline]
    pub(super) const fn way(self, form: Form, fix: Fix) -> Way {
        let (crossing, rows) = match (self.boundary, form) {
            (Boundary::FramePointer, Form::Reliable) => (Crossing::Refuse, None),
            (Boundary::FramePointer, Form::BestEffort) => (Crossing::FramePointer, None),
            (Boundary::Rows(policy), _) => (Crossing::Registers, Some(policy)),
        };
        Way { layout: self.layout, crossing, rows, fix }
    }
}

/// How a walk goes. What it is for is not part of it, as far as it goes the same way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    layout: &'static Layout,
    crossing: Crossing,
    rows: Option<&'static Policy>,
    fix: Fix,
}

impl Way {
    /// Whether all steps are the same.
    pub(super) fn is_same(self, other: Self) -> bool {
        let rows = [self.rows, other.rows].map(|rows| rows.map(core::ptr::from_ref));
        core::ptr::eq(self.layout, other.layout)
            && self.crossing == other.crossing
            && rows[0] == rows[1]
            && self.fix == other.fix
    }

    #[inline]
    pub(super) fn step(
        self,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &(impl Target + ?Sized),
    ) -> Result<Step, Error> {
        let Self { layout, crossing, rows, fix } = self;
        // A walk that starts with interrupted registers has crossed a boundary before its first step.
        if let (CodeAddress::Interrupted(pc), Crossing::Refuse) =
            (frame.pc, mutant!("start-in-exception-as-reliable", crossing, Crossing::FramePointer))
        {
            return Err(Error::ExceptionBoundary(pc));
        }
        // What a start has for SP; later steps keep it.
        state.kunwind.sp = mutant!(
            "v5-sp-from-frame",
            state.kunwind.sp.or(frame.regs.get(layout.abi.sp)),
            frame.regs.get(layout.abi.sp).or(state.kunwind.sp)
        );
        let trampoline = FromTrampoline { abi: layout.abi, fix, rows };
        if let Some(step) = trampoline.step(frame, state, target)? {
            return Ok(step);
        }
        let records = Records { layout, crossing, knows_pending: fix == Fix::Pending };
        match (frame.pc, rows) {
            (CodeAddress::Interrupted(pc), Some(policy)) => policy.step(&records, pc, frame, state, target),
            (CodeAddress::Return(_), Some(policy)) => policy.step_by_record(&records, frame, state, target),
            (_, None) => records.frame_record(frame, state, target),
        }
    }
}
