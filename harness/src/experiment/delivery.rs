//! Real exceptions: the CPU takes one before an instruction, the guest's own entry, handler and exit code runs, and walks start
//! inside the handler, at the guest's marker functions.
//!
//! When the handler has returned, every register and every live stack word must be as before, or the run is void.

mod markers;

use super::arrival::{Site, Sites};
use super::nesting::{Nesting, Outers};
use super::task::Locator;
use super::user::Deferred;
use super::{Arrival, Column, PointFilter, Visit};
use crate::Error;
use crate::cpu::{Exception, Register, Regs};
use crate::guest::Program;
use crate::guest::conventions::Deliverable;
use crate::oracle::{Oracle, States, Testimony, Truth, Witnesses};
use crate::scenario::{Interruption, Text};
use crate::subject::OwnCode;
use crate::trace::{Action, Ended, Observer, Point, RegisterSet};

/// An exception that has been delivered and whose handler has not returned yet.
struct Delivered {
    pc: u64,
    sp: u64,
    /// Its point; `None` for the outer of two exceptions.
    point: Option<Arrival>,
    /// The task that was interrupted.
    task: u64,
    /// The truth when it was taken. When it is the truth again, the handler has returned.
    truth: Truth,
    /// The bits of the status register that an exception restores.
    status: u64,
    registers: Vec<u64>,
    /// The live part of each stack: its lowest live address, and the words from there up.
    stacks: Vec<(u64, Vec<u64>)>,
    was_walked: bool,
}

/// Watches a run, delivers exceptions, and asks for the walks from their handlers.
pub(super) struct Delivery<'p, 'v> {
    program: &'p Program,
    oracle: Oracle<'p>,
    sites: Sites<'p>,
    states: States<'p>,
    columns: &'p [Column<'p>],
    visit: &'v mut dyn Visit,
    kernel: Deliverable,
    kind: Interruption,
    red_zone: u64,
    /// The second exception of a nested run.
    inner: Exception,
    /// SP, FP, the link registers, the first argument, the register that holds the running task.
    marker_set: RegisterSet,
    all_registers: RegisterSet,
    /// While the subject function runs: its task, and the truth at its entry.
    began: Option<(u64, Truth)>,
    delivered: Vec<Delivered>,
    /// The deferred walks of user stacks.
    deferred: Deferred,
    /// In a nested run.
    nesting: Option<Nesting<'p>>,
    /// The name of the outer exception of a nested point.
    within: Option<String>,
    /// In guests with return hooks.
    locator: Option<Locator<'p>>,
    /// Runs the guest's own unwinder, if it has one.
    own: Option<OwnCode<'p>>,
    contradiction: Option<String>,
    /// How many questions have had a number.
    asked: u64,
}

impl<'p, 'v> Delivery<'p, 'v> {
    /// A delivery over one run.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when the guest is not a kernel guest.
    pub(super) fn new(
        program: &'p Program,
        columns: &'p [Column<'p>],
        kind: Interruption,
        text: &Text,
        filter: PointFilter<'p>,
        witnesses: Witnesses,
        visit: &'v mut dyn Visit,
    ) -> Result<Self, Error> {
        let cpu = program.guest.cpu;
        let is_nested = kind == Interruption::Nested;
        // In a nested run, the points are all arrivals of the second exception.
        let judged = if is_nested { PointFilter { max_visits: u64::MAX, ..filter } } else { filter };
        let kernel = program.conventions.require_kernel(&program.guest)?;
        let at_markers =
            [cpu.sp, cpu.abi.fp, cpu.arguments[0]].into_iter().chain(cpu.abi.ra).chain(kernel.known.register);
        Ok(Self {
            program,
            oracle: Oracle::new(program, witnesses),
            sites: Sites::new(&program.guest, judged, kind == Interruption::Corrupt),
            states: States::new(program),
            columns,
            visit,
            nesting: is_nested.then(|| Nesting::new(program, filter)),
            within: None,
            kernel,
            kind,
            red_zone: text.red_zone(program),
            inner: text.nested.map_or(cpu.nested_exception, |second| second.exception()),
            marker_set: RegisterSet::new(cpu, at_markers),
            all_registers: RegisterSet::all(cpu),
            began: None,
            delivered: Vec::new(),
            locator: Locator::new(program, text),
            deferred: Deferred::new(program),
            own: program.conventions.own_unwinder.is_some().then(|| OwnCode::new(program)),
            contradiction: None,
            asked: 0,
        })
    }

    /// Notes when the subject function starts and ends.
    fn follow(&mut self, at: &Point<'_>) {
        let (task, truth) = (self.oracle.task(), self.oracle.truth());
        match &self.began {
            None if at.pc == self.kernel.subject => self.began = Some((task, truth.clone())),
            // Its caller resumes: the truth is again that from before the call. A boot function has no caller and never ends.
            Some((of, began))
                if task == *of
                    && self.delivered.is_empty()
                    && began.activations().next().is_some()
                    && truth.is_same(&began.without(1)) =>
            {
                self.began = None;
            }
            _ => {}
        }
    }

    /// Whether the last exception's handler has just returned. Compares the state with that before the exception.
    fn returns(&mut self, at: &Point<'_>) -> bool {
        let Some(last) = self.delivered.last() else { return false };
        if at.pc != last.pc || self.oracle.task() != last.task || !self.oracle.truth().is_same(&last.truth) {
            return false;
        }
        let Some(last) = self.delivered.pop() else { return false };
        self.compare(at, &last);
        if let Some(point) = last.point.filter(|_| self.kind.walks_user()) {
            self.deferred.request(point, &last.truth);
        }
        true
    }

    fn compare(&mut self, at: &Point<'_>, before: &Delivered) {
        let guest = &self.program.guest;
        let place = || guest.symbols.name(before.pc);
        if !before.was_walked && self.kind.preempts() {
            // The exit path must not preempt code that has interrupts masked or runs on another stack: not a point.
            self.cancel(before.point);
        } else if !before.was_walked {
            self.contradiction = Some(format!("at {}: the handler returned without calling its marker", place()));
            return;
        }
        let mut registers = vec![0; before.registers.len()];
        at.read_values(&self.all_registers, &mut registers);
        for (number, (then, now)) in (0..).zip(before.registers.iter().zip(&registers)) {
            let register = kunwind::Register(number);
            if then != now {
                let (place, name) = (place(), guest.cpu.abi.register_name(register));
                self.contradiction =
                    Some(format!("at {place}: {name} was {then:#x} before the exception and is {now:#x} after it"));
            }
        }
        let status = at.status(guest.cpu);
        if status != before.status {
            let (place, then) = (place(), before.status);
            self.contradiction = Some(format!(
                "at {place}: the status register was {then:#x} before the exception and is {status:#x} after it"
            ));
        }
        for (low, words) in &before.stacks {
            for (address, then) in (*low..).step_by(8).zip(words) {
                if at.memory.read_u64(address) != Some(*then) {
                    let place = place();
                    self.contradiction = Some(format!(
                        "at {place}: the live stack word at {address:#x} was {then:#x} before the exception and has changed"
                    ));
                }
            }
        }
    }

    fn cancel(&mut self, point: Option<Arrival>) {
        if let Some(point) = point {
            self.sites.cancel(point);
            self.visit.cancelled(point);
        }
    }

    /// Saves the state before an exception.
    fn snapshot(&self, at: &Point<'_>, point: Option<Arrival>) -> Delivered {
        let cpu = self.program.guest.cpu;
        let mut registers = vec![0; usize::from(cpu.registers)];
        at.read_values(&self.all_registers, &mut registers);
        let sp = registers[usize::from(cpu.sp.0)];
        // The live part of each stack is above SP, or above the lowest CFA of an activation that waits on it.
        let truth = self.oracle.truth().clone();
        let in_kernel = truth.of_kernel();
        let cfas = in_kernel.activations().map(|activation| activation.cfa);
        let tops: Vec<u64> = cfas.chain([sp]).collect();
        let is_user = at.is_user();
        // While user mode runs, the kernel's stack is empty, even if activations still wait on it.
        let bounds = self.program.bounds.iter().filter(|bounds| !is_user || bounds.contains(sp, 1));
        let stacks = bounds.filter_map(|bounds| {
            let low = tops.iter().copied().filter(|top| bounds.low <= *top && *top < bounds.high).min()?;
            let mut words = Vec::new();
            at.memory.copy_words(low, bounds.high, &mut words);
            Some((low & !7, words))
        });
        Delivered {
            pc: at.pc,
            sp,
            point,
            registers,
            stacks: stacks.collect(),
            truth,
            task: self.oracle.task(),
            status: at.status(cpu),
            was_walked: false,
        }
    }

    /// Counts an arrival of the running code, and returns the point, if it is one.
    fn arrive(&mut self, at: &Point<'_>) -> Option<Arrival> {
        let truth = self.oracle.truth();
        let point = self.sites.arrive(at.pc, |hint| self.states.at(at, truth, hint))?;
        if self.visit.is_full(&point) {
            self.sites.close(point);
        }
        Some(point)
    }

    /// Which exception is taken here, if any, and its point.
    fn choose(&mut self, at: &Point<'_>) -> Option<(Exception, Option<Arrival>)> {
        let outer = self.kind.exception()?;
        // Never the other task: preempted, it would resume only when it is scheduled again, perhaps never.
        if self.kind.preempts() && self.began.as_ref().is_some_and(|(task, _)| *task != self.oracle.task()) {
            return None;
        }
        match (&mut self.nesting, self.delivered.len()) {
            (None, 0) => Some((outer, Some(self.arrive(at)?))),
            (Some(nesting), 0) => {
                let mut live = Regs::none();
                at.read(&self.marker_set, &mut live);
                let cpu = self.program.guest.cpu;
                let [sp, fp] = [cpu.sp, cpu.abi.fp].map(|register| live.get(register).unwrap_or_default());
                let truth = self.oracle.truth();
                let state = |hint| self.states.at(at, truth, hint);
                self.within = Some(nesting.takes_outer(at.pc, sp, fp, truth, state)?);
                Some((outer, None))
            }
            // A firmware event does not touch the CPU's exception registers (ELR, SPSR).
            (Some(nesting), 1) if self.inner == Exception::Sdei || nesting.can_nest(at.pc) => {
                Some((self.inner, Some(self.arrive(at)?)))
            }
            _ => None,
        }
    }

    /// The testimony of the finished run; if it was nested, the numbers of outer exceptions and of arrivals that were none; and
    /// the sites.
    pub(super) fn finish(mut self, text: &Text, ended: Ended) -> (Testimony, Option<Outers>, Vec<Site>) {
        let symbols = &self.program.guest.symbols;
        // An exception whose handler had not reached its marker when the run ended is not a point.
        let cut_off = self.delivered.iter().filter(|pending| !pending.was_walked).map(|pending| pending.point);
        for point in cut_off.collect::<Vec<_>>() {
            self.cancel(point);
        }
        let mut testimony = self.oracle.testimony(&text.never_resumes, ended);
        if let Some(pending) = self.delivered.first()
            && !text.ends_in_handler
            && !ended.interrupted
        {
            let place = symbols.name(pending.pc);
            testimony.contradiction.get_or_insert(format!("the handler of the exception at {place} never returned"));
        }
        if self.contradiction.is_some() {
            testimony.contradiction = self.contradiction;
        }
        (testimony, self.nesting.map(|nesting| nesting.outers()), self.sites.finish())
    }
}

impl Observer for Delivery<'_, '_> {
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
        self.follow(at);
        let has_returned = self.returns(at);
        let walks_task = self.kind.walks_task();
        let is_marker = at.pc == self.kernel.walk_here || self.program.conventions.other_markers.contains(&at.pc);
        if is_marker && !walks_task {
            self.walk_here(at);
        } else if at.pc == self.kernel.walk_task && walks_task && self.began.is_some() {
            self.walk_task(at);
        } else if self.deferred.walk_user == Some(at.pc) && self.kind.walks_user() {
            let last = self.delivered.last().and_then(|last| Some((last.point?, &last.truth)));
            let truth = self.oracle.truth();
            let walked = self.deferred.walk(self.program, self.visit, self.columns, at, truth, last);
            self.contradiction = self.contradiction.take().or(walked.err());
        }
        if self.oracle.is_void() || self.contradiction.is_some() {
            return Action::Stop;
        }
        // Do not deliver twice before the same instruction.
        if has_returned || self.began.is_none() {
            return Action::Continue;
        }
        let Some((exception, point)) = self.choose(at) else { return Action::Continue };
        let reachable = at.can_arrive(self.program.guest.cpu, exception);
        let point = point.map(|point| Arrival { reachable, ..point });
        let snapshot = self.snapshot(at, point);
        if let Some(point) = point {
            self.show(at, point, &snapshot);
        }
        self.delivered.push(snapshot);
        let write = self.kind.preempts().then_some(self.kernel.need_resched);
        Action::Deliver { exception, write }
    }

    /// A fault of the guest's own is an arrival of its own, at an instruction that may already have been interrupted.
    fn faulted(&mut self, at: &Point<'_>) {
        let is_judged = self.began.is_some() && self.kind.exception().is_some() && !self.kind.walks_task();
        if is_judged && let Some(point) = self.arrive(at) {
            self.visit.point(&point, self.within.as_deref(), at);
            let snapshot = self.snapshot(at, Some(point));
            self.delivered.push(snapshot);
        }
    }
}

impl Delivery<'_, '_> {
    /// Looks for a displaced return address of this task.
    fn locate(
        &mut self,
        at: &Point<'_>,
        point: Arrival,
        task: u64,
        truth: &Truth,
        register: &dyn Fn(Register) -> Option<u64>,
    ) {
        let locator = self.locator.as_ref();
        if let Some(found) = locator.and_then(|locator| locator.locate(at.memory, task, truth, register)) {
            self.visit.places(point, &found, truth);
        }
    }

    /// Shows a point, in its state before the exception.
    fn show(&mut self, at: &Point<'_>, point: Arrival, before: &Delivered) {
        self.visit.point(&point, self.within.as_deref(), at);
        let register = |register: Register| before.registers.get(usize::from(register.0)).copied();
        self.locate(at, point, before.task, &before.truth, &register);
        let layout = &self.program.layout;
        let fp = usize::from(self.program.guest.cpu.abi.fp.0);
        let of_fp = before.registers.get(fp).and_then(|fp| layout.stack_of(*fp));
        if of_fp.is_some() && of_fp != layout.stack_of(before.sp) {
            self.visit.split(point);
        }
    }
}
