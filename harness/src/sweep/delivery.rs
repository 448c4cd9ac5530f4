//! Real exceptions: the CPU takes one in place of an instruction, the guest's own entry, handler and exit code runs, and
//! walks start inside the handler, at the guest's marker functions.
//!
//! When the handler has returned, every register and every live stack word must be what it was, or the run is void.

use kunwind::{CodeAddress, Frame, Register, Regs, Source};

use super::Points;
use super::marker::Markers;
use super::nesting::Nesting;
use super::record::{Arrival, Column, Recorder};
use super::task::{live_words, locate};
use super::user::{self, Deferred};
use crate::Error;
use crate::arch::{Exception, Linkage};
use crate::machine::{Action, Interrupt, Memory, Observer, RegisterSet};
use crate::oracle::{Cause, LiveWords, Oracle, Truth, Witnesses};
use crate::prepared::Prepared;
use crate::report::{Section, Start};
use crate::scenario::{Inner, Kind, Scenario, Variant};
use crate::subject::{Live, Scope, Subject};

/// The site of an exception that is no point: the outer one of two.
const JUDGED_BY_NOBODY: usize = usize::MAX;

/// An exception that has been delivered and whose handler has not returned yet.
struct Delivered {
    pc: u64,
    sp: u64,
    /// The point that it is.
    point: Arrival,
    /// The task that was interrupted.
    task: u64,
    /// The truth when it was taken: when it is the truth again, the handler has returned.
    truth: Truth,
    /// The register with the interrupt mask and the flags, as far as an exception brings it back.
    status: u64,
    registers: Vec<u64>,
    /// The live part of each stack: its lowest live address, and the words from there on.
    stacks: Vec<(u64, Vec<u64>)>,
    was_walked: bool,
}

/// Watches a run, delivers exceptions, and judges the walks from their handlers.
pub(super) struct Delivery<'p> {
    oracle: Oracle<'p>,
    pub(super) recorder: Recorder<'p>,
    markers: Markers,
    kind: Kind,
    /// The second exception of a nested run.
    inner: Exception,
    /// SP, FP, the link registers, the first argument.
    marker_set: RegisterSet,
    all_registers: RegisterSet,
    /// The task that runs the subject function, and the truth at its entry, while it runs.
    began: Option<(u64, Truth)>,
    delivered: Vec<Delivered>,
    /// The walks of the user's stack that are still to be made.
    deferred: Deferred,
    /// Of a nested run.
    nesting: Option<Nesting<'p>>,
    /// Of guests that rewrite return addresses.
    live: Option<LiveWords>,
    contradiction: Option<String>,
}

impl<'p> Delivery<'p> {
    /// A delivery over one run.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] when the guest is no kernel guest.
    pub(super) fn new(
        prepared: &'p Prepared,
        subjects: &[&'p Subject],
        kind: Kind,
        inner: Option<Inner>,
        points: Points<'p>,
        witnesses: Witnesses,
    ) -> Result<Self, Error> {
        let arch = prepared.guest.arch;
        let starts = |subject: &Subject| -> &[Start] {
            match subject.scope {
                Scope::User => &[Start::User],
                _ if kind.walks_task() => &[Start::Task],
                _ => &[Start::Current, Start::Regs],
            }
        };
        let columns = subjects
            .iter()
            .flat_map(|subject| starts(subject).iter().map(move |start| Column { subject, start: *start }));
        // In a nested run the points are those of the second exception, at every arrival.
        let judged = match kind {
            Kind::Nested => Points { max_visits: u64::MAX, ..points },
            _ => points,
        };
        let abi = arch.abi();
        let at_markers = [arch.sp(), abi.fp, arch.first_argument()].into_iter().chain(abi.ra);
        Ok(Self {
            oracle: prepared.oracle(witnesses),
            nesting: (kind == Kind::Nested).then(|| Nesting::new(prepared, points)),
            recorder: Recorder::new(prepared, columns.collect(), judged),
            markers: Markers::new(prepared)?,
            kind,
            inner: match inner {
                Some(Inner::Nmi) => Exception::Nmi,
                Some(Inner::Fault) => Exception::Fault,
                Some(Inner::Serror) => Exception::SError,
                Some(Inner::Sdei) => Exception::Sdei,
                Some(Inner::Debug) => Exception::Debug,
                None => arch.nested_exception(),
            },
            marker_set: RegisterSet::new(arch, at_markers),
            all_registers: RegisterSet::all(arch),
            began: None,
            delivered: Vec::new(),
            live: live_words(prepared),
            deferred: Deferred::new(prepared),
            contradiction: None,
        })
    }

    fn exception(&self) -> Option<Exception> {
        match self.kind {
            Kind::Probe | Kind::Voluntary => None,
            Kind::Irq | Kind::Preempt | Kind::Corrupt | Kind::Nested => Some(Exception::Irq),
            Kind::Nmi => Some(Exception::Nmi),
            Kind::Fault => Some(Exception::Fault),
            Kind::Serror => Some(Exception::SError),
            Kind::Sdei => Some(Exception::Sdei),
            Kind::Debug => Some(Exception::Debug),
        }
    }

    /// Follows the subject function's life.
    fn follow(&mut self, at: &Interrupt<'_>) {
        let (task, truth) = (self.oracle.task(), self.oracle.truth());
        match &self.began {
            None if at.pc == self.markers.guest_main => self.began = Some((task, truth.clone())),
            // Its caller goes on: what it left on the stack is what was below it. A boot function has none: it never ends.
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

    /// Whether the last exception's handler has just returned. Everything must be as it was.
    fn returns(&mut self, at: &Interrupt<'_>) -> bool {
        let Some(last) = self.delivered.last() else { return false };
        if at.pc != last.pc || self.oracle.task() != last.task || !self.oracle.truth().is_same(&last.truth) {
            return false;
        }
        let Some(last) = self.delivered.pop() else { return false };
        self.compare(at, &last);
        if self.kind.walks_user() {
            self.deferred.request(&self.recorder, last.point, &last.truth);
        }
        true
    }

    fn compare(&mut self, at: &Interrupt<'_>, before: &Delivered) {
        let guest = &self.recorder.prepared.guest;
        let place = guest.symbols.name(before.pc);
        if !before.was_walked && self.kind.preempts() {
            // The exit path may not preempt what has interrupts masked or runs on another stack: that is no point.
            self.recorder.forget(before.point.site);
        } else if !before.was_walked {
            self.contradiction = Some(format!("at {place}: the handler returned without calling its marker"));
            return;
        }
        let mut registers = vec![0; before.registers.len()];
        at.read_values(&self.all_registers, &mut registers);
        for (number, (then, now)) in (0..).zip(before.registers.iter().zip(&registers)) {
            let register = kunwind::Register(number);
            if then != now {
                let name = guest.arch.abi().register_name(register);
                self.contradiction =
                    Some(format!("at {place}: {name} was {then:#x} before the exception and is {now:#x} behind it"));
            }
        }
        let status = at.status(guest.arch);
        if status != before.status {
            let then = before.status;
            self.contradiction = Some(format!(
                "at {place}: the status register was {then:#x} before the exception and is {status:#x} behind it"
            ));
        }
        for (low, words) in &before.stacks {
            for (address, then) in (*low..).step_by(8).zip(words) {
                if at.memory.read_u64(address) != Some(*then) {
                    self.contradiction = Some(format!(
                        "at {place}: the live stack word at {address:#x} was {then:#x} before the exception"
                    ));
                }
            }
        }
    }

    /// Notes the state before an exception.
    fn snapshot(&self, at: &Interrupt<'_>, point: Arrival) -> Delivered {
        let prepared = self.recorder.prepared;
        let arch = prepared.guest.arch;
        let mut registers = vec![0; arch.register_ids().len()];
        at.read_values(&self.all_registers, &mut registers);
        let sp = registers[usize::from(arch.sp().0)];
        // Of each stack, what is above SP, or above the lowest CFA of an activation that waits there.
        let truth = self.oracle.truth().clone();
        let in_kernel = truth.of_kernel();
        let cfas = in_kernel.activations().map(|activation| activation.cfa);
        let tops: Vec<u64> = cfas.chain([sp]).collect();
        let bounds = prepared.bounds.iter().filter(|bounds| {
            // Once user mode runs, the kernel's stack is empty, whatever still waits on it.
            !at.is_user(arch) || bounds.contains(sp, 1)
        });
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
            status: at.status(arch),
            was_walked: false,
        }
    }

    /// The handler is at its marker: walks of the running task, from the handler's frame and from the pt_regs.
    fn walk_here(&mut self, at: &Interrupt<'_>) {
        let depth = self.delivered.len();
        let Some(last) = self.delivered.last_mut() else { return };
        // In a nested run, the outer handler's walk is not a point.
        if std::mem::replace(&mut last.was_walked, true) || (self.nesting.is_some() && depth == 1) {
            return;
        }
        let point = last.point;
        let (pc, sp) = (last.pc, last.sp);
        let arch = self.recorder.prepared.guest.arch;
        let abi = arch.abi();
        let mut live = Regs::none();
        at.read(&self.marker_set, &mut live);
        let live_sp = live.get(arch.sp()).unwrap_or_default();
        let return_address = match (arch.linkage(), abi.ra) {
            (Linkage::Register(_), Some(link)) => live.get(link),
            _ => at.memory.read_u64(live_sp),
        };
        let mut regs = Regs::none();
        regs.set(abi.fp, live.get(abi.fp).unwrap_or_default());
        regs.set(abi.sp, live_sp + arch.linkage().pushed());
        let current =
            Frame { pc: CodeAddress::Return(return_address.unwrap_or_default()), regs, source: Source::Start };
        let address = live.get(arch.first_argument()).unwrap_or_default();
        let Some(from_regs) = self.pt_regs(at.memory, address, pc, sp) else { return };
        let Some(task) = at
            .memory
            .read_u64(self.markers.current)
            .and_then(|task| super::task::task(self.recorder.prepared, at.memory, task))
        else {
            self.contradiction = Some("the running task has no stack".to_owned());
            return;
        };
        let stacks = super::task::offered(self.recorder.prepared, at.memory, task, true);
        let target = Live::new(self.recorder.prepared, at.memory, &stacks, Some(task));
        // The walk from the handler's frame begins with the marker's caller; that from pt_regs with the interrupted pc.
        let truth = self.oracle.truth();
        let of_current = truth.without(1).of_kernel();
        let boundary = truth.activations().position(|activation| activation.cause != Cause::Call);
        // pt_regs of user mode are no start: behind them the kernel has no stack.
        let of_regs = boundary
            .filter(|boundary| truth.activations().nth(*boundary).is_some_and(|it| it.cause == Cause::Exception))
            .map(|boundary| truth.without(boundary + 1).of_kernel());
        for column in 0..self.recorder.columns.len() {
            match self.recorder.columns[column].start {
                Start::Current => self.recorder.judge(column, point, current, &target, &of_current),
                Start::Regs => {
                    if let Some(of_regs) = &of_regs {
                        self.recorder.judge(column, point, from_regs, &target, of_regs);
                    }
                }
                // When the kernel goes back to user mode.
                Start::User | Start::Live | Start::Task => {}
            }
        }
    }

    /// The interrupted registers as the guest's entry code saved them: that must be what they were.
    fn pt_regs(&mut self, memory: &Memory, address: u64, pc: u64, sp: u64) -> Option<Frame> {
        let guest = &self.recorder.prepared.guest;
        let (saved_pc, regs) = user::saved(self.recorder.prepared, memory, address)?;
        if saved_pc != pc || regs.get(guest.arch.sp()) != Some(sp) {
            let place = guest.symbols.name(pc);
            self.contradiction = Some(format!(
                "at {place}: the pt_regs that the marker was given do not hold the interrupted pc and SP"
            ));
            return None;
        }
        Some(Frame { pc: CodeAddress::Interrupted(pc), regs, source: Source::PtRegs { at: address } })
    }

    /// Another task is at its marker: walks of the task that it was given, from its saved context.
    fn walk_task(&mut self, at: &Interrupt<'_>) {
        let prepared = self.recorder.prepared;
        let arch = prepared.guest.arch;
        let mut live = Regs::none();
        at.read(&self.marker_set, &mut live);
        let address = live.get(arch.first_argument()).unwrap_or_default();
        let truth = self.oracle.truth_of(address);
        let context = arch.saved_context(at.memory, address);
        let (Some(task), Some((pc, regs))) = (super::task::task(self.recorder.prepared, at.memory, address), context)
        else {
            self.contradiction = Some("the task that is switched out has no saved context".to_owned());
            return;
        };
        // A task that never ran has nothing on its stack, and begins where its context says.
        let resume = truth.activations().next().map_or(pc, |activation| activation.resume);
        if pc != resume {
            let (saved, true_pc) = (prepared.guest.symbols.name(pc), prepared.guest.symbols.name(resume));
            self.contradiction =
                Some(format!("the saved context of the task goes on at {saved}, the task at {true_pc}"));
            return;
        }
        let point = match self.delivered.last_mut() {
            // One walk for each exception, and only of the task that took it.
            Some(last) if last.task == address && !last.was_walked => {
                last.was_walked = true;
                Some(last.point)
            }
            Some(_) => None,
            None => self.recorder.arrive(resume).map(|site| Arrival { site, reachable: true }),
        };
        let Some(point) = point else { return };
        if self.delivered.is_empty() {
            // It was not interrupted, it waits in a call of its own.
            let regs = |register| regs.get(register);
            locate(&mut self.recorder, self.live.as_ref(), point.site, at.memory, address, &truth.without(1), &regs);
        }
        let start = Frame { pc: CodeAddress::Return(pc), regs, source: Source::Start };
        let stacks = super::task::offered(self.recorder.prepared, at.memory, task, false);
        let target = Live::new(self.recorder.prepared, at.memory, &stacks, Some(task));
        let older = truth.without(1).of_kernel();
        if self.kind == Kind::Corrupt {
            super::corruption::judge_all(&mut self.recorder, point, start, &target, &older);
            return;
        }
        self.recorder.judge_all(point, start, &target, &older);
    }

    /// Which exception is taken here, if any, and the site of the point that it is.
    fn choose(&mut self, at: &Interrupt<'_>) -> Option<(Exception, usize)> {
        let outer = self.exception()?;
        // The other task, preempted, would go on only when somebody schedules it again: perhaps never.
        if self.kind.preempts() && self.began.as_ref().is_some_and(|(task, _)| *task != self.oracle.task()) {
            return None;
        }
        match (&mut self.nesting, self.delivered.len()) {
            (None, 0) => Some((outer, self.recorder.arrive(at.pc)?)),
            (Some(nesting), 0) => {
                let mut live = Regs::none();
                at.read(&self.marker_set, &mut live);
                let arch = self.recorder.prepared.guest.arch;
                let [sp, fp] = [arch.sp(), arch.abi().fp].map(|register| live.get(register).unwrap_or_default());
                self.recorder.within = Some(nesting.takes_outer(at.pc, sp, fp, self.oracle.truth())?);
                Some((outer, JUDGED_BY_NOBODY))
            }
            // An event of the firmware leaves the CPU's registers of an exception alone.
            (Some(nesting), 1) if self.inner == Exception::Sdei || nesting.can_nest(at.pc) => {
                Some((self.inner, self.recorder.arrive(at.pc)?))
            }
            _ => None,
        }
    }

    /// The plain data of the finished run.
    pub(super) fn finish(mut self, scenario: &Scenario, variant: &Variant) -> Section {
        let guest = &self.recorder.prepared.guest;
        let mut testimony = self.oracle.finish(&scenario.text.never_resumes);
        if let Some(pending) = self.delivered.first()
            && !scenario.text.ends_in_handler
        {
            let place = guest.symbols.name(pending.pc);
            testimony.contradiction.get_or_insert(format!("the handler of the exception at {place} never returned"));
        }
        if self.contradiction.is_some() {
            testimony.contradiction = self.contradiction;
        }
        // One that was still on its way to its marker when the run ended was no point.
        for cut_off in
            self.delivered.iter().filter(|pending| !pending.was_walked && pending.point.site != JUDGED_BY_NOBODY)
        {
            self.recorder.forget(cut_off.point.site);
        }
        let mut section = self.recorder.finish(scenario, variant, self.kind);
        section.outer = self.nesting.map(|nesting| (nesting.seen, nesting.delivered()));
        super::with_testimony(section, testimony, scenario, guest)
    }
}

impl Observer for Delivery<'_> {
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
            at.read_values(&self.marker_set, &mut sp); // SP is its first
            live.follow(sp[0], &self.recorder.prepared.layout);
        }
        self.oracle.observe(at);
        self.follow(at);
        let has_returned = self.returns(at);
        let walks_task = self.kind.walks_task();
        if at.pc == self.markers.walk_here && !walks_task {
            self.walk_here(at);
        } else if at.pc == self.markers.walk_task && walks_task && self.began.is_some() {
            self.walk_task(at);
        } else if self.deferred.walk_user == Some(at.pc) && self.kind.walks_user() {
            let last = self.delivered.last().map(|last| (last.point, &last.truth));
            let walked = self.deferred.walk(&mut self.recorder, at, self.oracle.truth(), last);
            self.contradiction = self.contradiction.take().or(walked.err());
        }
        if self.oracle.is_void() || self.contradiction.is_some() {
            return Action::Stop;
        }
        // Not twice before the same instruction.
        if has_returned || self.began.is_none() {
            return Action::Continue;
        }
        let Some((exception, site)) = self.choose(at) else { return Action::Continue };
        let reachable = at.can_arrive(self.recorder.prepared.guest.arch, exception);
        self.recorder.tell_machine(site, at);
        let snapshot = self.snapshot(at, Arrival { site, reachable });
        let value = |register: Register| snapshot.registers.get(usize::from(register.0)).copied();
        locate(&mut self.recorder, self.live.as_ref(), site, at.memory, snapshot.task, &snapshot.truth, &value);
        let layout = &self.recorder.prepared.layout;
        let fp = usize::from(self.recorder.prepared.guest.arch.abi().fp.0);
        let of_fp = snapshot.registers.get(fp).and_then(|fp| layout.stack_of(*fp));
        if of_fp.is_some() && of_fp != layout.stack_of(snapshot.sp) {
            self.recorder.splits(site);
        }
        self.delivered.push(snapshot);
        if self.kind.preempts() {
            at.memory.write_u64(self.markers.need_resched, 1);
        }
        Action::Deliver(exception)
    }

    /// A fault that nobody planned: an arrival of its own, at an instruction that may have been interrupted before.
    fn faulted(&mut self, at: &Interrupt<'_>) {
        let is_judged = self.began.is_some() && self.exception().is_some() && !self.kind.walks_task();
        if is_judged && let Some(site) = self.recorder.arrive(at.pc) {
            self.recorder.tell_machine(site, at);
            let snapshot = self.snapshot(at, Arrival { site, reachable: true });
            self.delivered.push(snapshot);
        }
    }
}
