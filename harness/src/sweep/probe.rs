//! The probe: walks start from the live registers at the point, and nothing is disturbed. In a kernel guest they are told of the
//! running task, as a walk from an ideal NMI on a stack of its own would be.

use kunwind::{CodeAddress, Frame, Regs, Source};

use super::Points;
use super::record::{Arrival, Column, Recorder};
use super::task::{live_words, locate, offered, task};
use crate::machine::{Action, Interrupt, Observer, RegisterSet};
use crate::oracle::{LiveWords, Oracle, Witnesses};
use crate::prepared::Prepared;
use crate::report::{Section, Start};
use crate::scenario::{Kind, Scenario, Variant};
use crate::subject::{Live, Subject};

/// Watches a run and judges every subject at every point. What it keeps grows with the code and with what is found, not
/// with the number of points.
pub struct Sweep<'p> {
    oracle: Oracle<'p>,
    registers: RegisterSet,
    sp: RegisterSet,
    /// Where return addresses are rewritten: which stack words mean something.
    live: Option<LiveWords>,
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
        let arch = prepared.guest.arch;
        let live = live_words(prepared);
        let registers = if live.is_some() { RegisterSet::all(arch) } else { RegisterSet::new(arch, needed) };
        Self {
            oracle: prepared.oracle(witnesses),
            registers,
            sp: RegisterSet::new(arch, [arch.sp()]),
            live,
            recorder: Recorder::new(prepared, columns, points),
        }
    }

    fn judge_all(&mut self, at: &Interrupt<'_>, site: usize) {
        self.recorder.tell_machine(site, at);
        let mut regs = Regs::none();
        at.read(&self.registers, &mut regs);
        let start = Frame { pc: CodeAddress::Interrupted(at.pc), regs, source: Source::Start };
        let prepared = self.recorder.prepared;
        let truth = self.oracle.truth();
        // A probe stands for an ideal NMI, which can arrive anywhere.
        let point = Arrival { site, reachable: true };
        let running = self.oracle.task();
        let Some(task) = task(prepared, at.memory, running).filter(|_| running != 0) else {
            let target = Live::new(prepared, at.memory, &prepared.bounds, None);
            return self.recorder.judge_all(point, start, &target, truth);
        };
        let stacks = offered(prepared, at.memory, task, true);
        let target = Live::new(prepared, at.memory, &stacks, Some(task));
        self.recorder.judge_all(point, start, &target, &truth.of_kernel());
        let register = |register| regs.get(register);
        locate(&mut self.recorder, self.live.as_ref(), site, at.memory, running, truth, &register);
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
    fn wants_stores(&self) -> bool {
        self.live.is_some()
    }

    fn stored(&mut self, address: u64, size: usize) {
        if let Some(live) = &mut self.live {
            live.store(address, size);
        }
    }

    fn interrupted(&mut self, at: &Interrupt<'_>) -> Action {
        if let Some(live) = &mut self.live {
            let mut sp = [0];
            at.read_values(&self.sp, &mut sp);
            live.follow(sp[0], &self.recorder.prepared.layout);
        }
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
