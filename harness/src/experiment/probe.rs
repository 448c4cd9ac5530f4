//! The probe: walks start from the live registers at the point, and nothing is disturbed. In a kernel guest the walk knows the
//! running task, like a walk from an ideal NMI with a stack of its own.

use super::arrival::{Arrival, Site, Sites};
use super::task::{Locator, known, offered, task};
use super::{Column, PointFilter, Visit};
use crate::cpu::{CodeAddress, MEMORY, Mask, Regs};
use crate::guest::Program;
use crate::oracle::{Oracle, States, Testimony, Witnesses};
use crate::scenario::Text;
use crate::subject::{GuestTarget, Question};
use crate::trace::{Action, Ended, Observer, Point, RegisterSet};

/// Watches a run and asks every subject at every point. Its memory grows with the code, not with the number of points.
pub(super) struct Probe<'p, 'v> {
    program: &'p Program,
    oracle: Oracle<'p>,
    sites: Sites<'p>,
    states: States<'p>,
    columns: &'p [Column<'p>],
    visit: &'v mut dyn Visit,
    registers: RegisterSet,
    /// Their values at the latest point.
    regs: Regs,
    red_zone: u64,
    /// In guests with return hooks.
    locator: Option<Locator<'p>>,
    /// For each column, all that its walks look at, apart from the pc.
    seen: Vec<Mask>,
    /// The serial of the truth at the point before, if that was the instruction before.
    before: Option<u64>,
    /// The columns that have to walk.
    due: Vec<&'p Column<'p>>,
}

impl<'p, 'v> Probe<'p, 'v> {
    /// A probe of one run.
    pub(super) fn new(
        program: &'p Program,
        text: &Text,
        columns: &'p [Column<'p>],
        filter: PointFilter<'p>,
        witnesses: Witnesses,
        visit: &'v mut dyn Visit,
    ) -> Self {
        let cpu = program.guest.cpu;
        // SP says what is dead.
        let known = program.conventions.kernel.as_ref().and_then(|kernel| kernel.known.register);
        let needed = columns.iter().flat_map(|column| column.subject.about().registers.iter().copied());
        let needed = needed.chain([cpu.sp]).chain(known);
        let seen = |column: &Column<'_>| {
            let own = column.subject.about().registers.iter().copied();
            RegisterSet::new(cpu, own.chain([cpu.sp]).chain(known)).mask() | MEMORY
        };
        let seen = columns.iter().map(seen).collect();
        let locator = Locator::new(program, text);
        let registers = if locator.is_some() { RegisterSet::all(cpu) } else { RegisterSet::new(cpu, needed) };
        Self {
            program,
            oracle: Oracle::new(program, witnesses),
            sites: Sites::new(&program.guest, filter, false),
            states: States::new(program),
            columns,
            visit,
            registers,
            regs: Regs::none(),
            red_zone: text.red_zone(program),
            locator,
            seen,
            before: None,
            due: Vec::new(),
        }
    }

    /// Asks the visit to take what the columns have said at the point before, and notes those that have to walk.
    fn ask_again(&mut self, arrival: &Arrival, untouched: Mask) {
        self.due.clear();
        for (column, seen) in self.columns.iter().zip(&self.seen) {
            if untouched & seen != *seen || !self.visit.again(arrival, column) {
                self.due.push(column);
            }
        }
    }

    fn ask_all(&mut self, at: &Point<'_>) {
        let before = self.before.take();
        // A probe stands for an ideal NMI, which can arrive anywhere.
        if self.oracle.is_between_strands() {
            self.sites.pass(at.pc);
            return;
        }
        let truth = self.oracle.truth();
        let Some(arrival) = self.sites.arrive(at.pc, |hint| self.states.at(at, truth, hint)) else { return };
        if self.visit.is_full(&arrival) {
            self.sites.close(arrival);
        }
        self.visit.point(&arrival, None, at);
        let serial = Some(truth.serial());
        let untouched = if before == serial { at.regs.untouched() } else { 0 };
        self.before = serial;
        self.ask_again(&arrival, untouched);
        if !self.due.is_empty() || self.locator.is_some() {
            self.ask_due(at, arrival);
        }
    }

    /// Asks the columns that have to walk.
    #[inline(never)]
    fn ask_due(&mut self, at: &Point<'_>, arrival: Arrival) {
        let truth = self.oracle.truth();
        at.read(&self.registers, &mut self.regs);
        let (regs, kernel) = (&self.regs, self.program.conventions.kernel.as_ref());
        let running = kernel.and_then(|kernel| known(kernel.known, None, at.memory, regs, self.oracle.task()));
        let running = running.unwrap_or_default();
        let task = if running == 0 { None } else { task(self.program, at.memory, running) };
        let stacks = task.map(|task| offered(self.program, at.memory, task, true));
        let stacks = stacks.as_ref().unwrap_or(&self.program.bounds);
        let sp = regs.get(self.program.guest.cpu.sp).unwrap_or_default();
        let dead = GuestTarget::dead_below(self.program, sp, self.red_zone);
        let target = GuestTarget { dead, ..GuestTarget::new(self.program, at.memory, stacks, task) };
        let question = Question::new(CodeAddress::Interrupted(at.pc), regs, &target);
        if task.is_none() {
            for column in &self.due {
                self.visit.walk(arrival, None, column, &question, truth);
            }
            return;
        }
        let of_kernel = truth.of_kernel();
        for column in &self.due {
            self.visit.walk(arrival, None, column, &question, &of_kernel);
        }
        let register = |register| regs.get(register);
        let locator = self.locator.as_ref();
        if let Some(found) = locator.and_then(|locator| locator.locate(at.memory, running, truth, &register)) {
            self.visit.places(arrival, &found, truth);
        }
    }

    /// The testimony of the finished run, and the sites.
    pub(super) fn finish(self, text: &Text, ended: Ended) -> (Testimony, Vec<Site>) {
        (self.oracle.testimony(&text.never_resumes, ended), self.sites.finish())
    }
}

impl Observer for Probe<'_, '_> {
    fn wants_stores(&self) -> bool {
        self.locator.is_some() || self.oracle.wants_stores()
    }

    fn stored(&mut self, address: u64, size: usize) {
        if let Some(locator) = &mut self.locator {
            locator.store(address, size);
        }
        self.oracle.stored(address, size);
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.oracle.stored(address, size);
    }

    fn point(&mut self, at: &Point<'_>) -> Action {
        if let Some(locator) = &mut self.locator {
            locator.follow(at);
        }
        self.oracle.observe(at);
        if self.oracle.is_void() {
            return Action::Stop;
        }
        self.ask_all(at);
        Action::Continue
    }
}
