//! The probe: walks start from the live registers at the point, and nothing is disturbed.

use kunwind::{CodeAddress, Frame, Regs, Source};

use super::record::{Arrival, Column, Recorder};
use super::{Points, Prepared};
use crate::machine::{Action, Interrupt, Observer, RegisterSet};
use crate::oracle::{Oracle, Witnesses};
use crate::report::{Section, Start};
use crate::scenario::{Kind, Scenario, Variant};
use crate::subject::{Live, Subject};

/// Watches a run and judges every subject at every point. What it keeps grows with the code and with what is found, not
/// with the number of points.
pub struct Sweep<'p> {
    oracle: Oracle<'p>,
    registers: RegisterSet,
    pub(super) recorder: Recorder<'p>,
}

impl std::fmt::Debug for Sweep<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sweep").field("guest", &self.recorder.prepared.guest.name).finish_non_exhaustive()
    }
}

impl<'p> Sweep<'p> {
    /// A sweep over one run.
    #[must_use]
    pub fn new(prepared: &'p Prepared, subjects: &[&'p Subject], points: Points<'p>, witnesses: Witnesses) -> Self {
        let needed = subjects.iter().flat_map(|subject| subject.registers.iter().copied());
        let columns = subjects.iter().map(|subject| Column { subject, start: Start::Live }).collect();
        Self {
            oracle: prepared.oracle(witnesses),
            registers: RegisterSet::new(prepared.guest.arch, needed),
            recorder: Recorder::new(prepared, columns, points),
        }
    }

    fn judge_all(&mut self, at: &Interrupt<'_>, site: usize) {
        self.recorder.tell_machine(site, at);
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        let start = Frame { pc: CodeAddress::Interrupted(at.pc), regs, source: Source::Start };
        let prepared = self.recorder.prepared;
        let target = Live::new(prepared, at.memory, &prepared.bounds, None);
        // A probe stands for an ideal NMI, which can arrive anywhere.
        self.recorder.judge_all(Arrival { site, reachable: true }, start, &target, self.oracle.truth());
    }

    /// The plain data of the finished run.
    #[must_use]
    pub fn finish(self, scenario: &Scenario, variant: &Variant, kind: Kind) -> Section {
        let guest = &self.recorder.prepared.guest;
        let testimony = self.oracle.finish(&scenario.text.never_resumes);
        let section = self.recorder.finish(scenario, variant, kind);
        super::with_testimony(section, testimony, scenario, guest)
    }
}

impl Observer for Sweep<'_> {
    fn interrupted(&mut self, at: &Interrupt<'_>) -> Action {
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return Action::Stop;
        }
        if let Some(site) = self.recorder.arrive(at.pc) {
            self.judge_all(at, site);
        }
        Action::Continue
    }
}
