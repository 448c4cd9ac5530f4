//! Real exceptions: the CPU takes one before an instruction, the guest's own entry, handler and exit code runs, and walks start
//! inside the handler, at the guest's marker functions.
//!
//! When the handler has returned, every register and every live stack word must be as before, or the run is void.

use super::arrival::{Site, Sites};
use super::nesting::{Nesting, Outers};
use super::task::Locator;
use super::user::{self, Deferred};
use super::{Arrival, Column, PointFilter, Visit};
use crate::Error;
use crate::cpu::{CodeAddress, Exception, Linkage, Register, Regs};
use crate::guest::Program;
use crate::guest::conventions::Deliverable;
use crate::oracle::{Cause, Oracle, States, Testimony, Truth, Witnesses};
use crate::machine::Instead;
use crate::scenario::{Interruption, Text};
use crate::subject::{GuestTarget, OwnCode, OwnFrame, Question, Start};
use crate::trace::{Action, Ended, Memory, Observer, Point, RegisterSet};

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
        let place = guest.symbols.name(before.pc);
        if !before.was_walked && self.kind.preempts() {
            // The exit path must not preempt code that has interrupts masked or runs on another stack: not a point.
            self.cancel(before.point);
        } else if !before.was_walked {
            self.contradiction = Some(format!("at {place}: the handler returned without calling its marker"));
            return;
        }
        let mut registers = vec![0; before.registers.len()];
        at.read_values(&self.all_registers, &mut registers);
        for (number, (then, now)) in (0..).zip(before.registers.iter().zip(&registers)) {
            let register = kunwind::Register(number);
            if then != now {
                let name = guest.cpu.abi.register_name(register);
                self.contradiction =
                    Some(format!("at {place}: {name} was {then:#x} before the exception and is {now:#x} after it"));
            }
        }
        let status = at.status(guest.cpu);
        if status != before.status {
            let then = before.status;
            self.contradiction = Some(format!(
                "at {place}: the status register was {then:#x} before the exception and is {status:#x} after it"
            ));
        }
        for (low, words) in &before.stacks {
            for (address, then) in (*low..).step_by(8).zip(words) {
                if at.memory.read_u64(address) != Some(*then) {
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

    /// The handler is at its marker: walks the running task, from the handler's frame and from pt_regs.
    fn walk_here(&mut self, at: &Point<'_>) {
        let Some(last) = self.delivered.last_mut() else { return };
        // In a nested run, the outer handler's walk is not a point.
        let was_walked = std::mem::replace(&mut last.was_walked, true);
        let Some(point) = last.point.filter(|_| !was_walked) else { return };
        let (interrupted_pc, interrupted_sp) = (last.pc, last.sp);
        let cpu = self.program.guest.cpu;
        let mut live = Regs::none();
        at.read(&self.marker_set, &mut live);
        let live_sp = live.get(cpu.sp).unwrap_or_default();
        let return_address = self.return_address(at.memory, &live);
        let mut regs = Regs::none();
        regs.set(cpu.abi.fp, live.get(cpu.abi.fp).unwrap_or_default());
        regs.set(cpu.abi.sp, live_sp + cpu.linkage.pushed());
        let current = (CodeAddress::Return(return_address.unwrap_or_default()), regs);
        let pt_regs = live.get(cpu.arguments[0]).unwrap_or_default();
        let Some(from_regs) = self.pt_regs(at.memory, pt_regs, interrupted_pc, interrupted_sp) else { return };
        let innermost = if self.delivered.len() > 1 { Some(self.inner) } else { self.kind.exception() };
        let running = super::task::known(&self.kernel, innermost, at.memory, &live, self.oracle.task());
        let Some(task) = running.and_then(|task| super::task::task(self.program, at.memory, task)) else {
            self.contradiction = Some("the running task has no stack".to_owned());
            return;
        };
        let stacks = super::task::offered(self.program, at.memory, task, true);
        let walked = running.unwrap_or_default();
        let own = self.own.as_ref().map(|code| OwnFrame {
            code,
            walked,
            sp: live_sp,
            instead: Instead {
                returns_to: return_address.unwrap_or_default(),
                fp: live.get(cpu.abi.fp).unwrap_or_default(),
                task: walked,
            },
        });
        let target = GuestTarget::new(self.program, at.memory, &stacks, Some(task)).with_sp(live_sp, self.red_zone);
        let target = target.with_own(own);
        // The walk from the handler's frame starts at the marker's caller, the walk from pt_regs at the interrupted pc.
        let truth = self.oracle.truth();
        let of_current = truth.without(1).of_kernel();
        let boundary = truth.activations().position(|activation| activation.cause != Cause::Call);
        // No walk starts from pt_regs of user mode: there is no older kernel frame.
        let of_regs = boundary
            .filter(|boundary| truth.activations().nth(*boundary).is_some_and(|it| it.cause == Cause::Exception))
            .map(|boundary| truth.without(boundary + 1).of_kernel());
        let question = |(pc, regs), pt_regs| Question { pc, regs, pt_regs, target: &target, why: None };
        let (current, from_regs) = (question(current, None), question(from_regs, Some(pt_regs)));
        let within = self.within.as_deref();
        for column in self.columns {
            match (column.start, &of_regs) {
                (Start::Current, _) => self.visit.walk(point, within, column, &current, &of_current),
                (Start::Regs, Some(of_regs)) => self.visit.walk(point, within, column, &from_regs, of_regs),
                // `User` walks are made when the kernel returns to user mode.
                (Start::Regs | Start::User | Start::Live | Start::Task, _) => {}
            }
        }
    }

    /// Where a marker returns to, at its first instruction.
    fn return_address(&self, memory: &dyn Memory, live: &Regs) -> Option<u64> {
        let cpu = self.program.guest.cpu;
        match (cpu.linkage, cpu.abi.ra) {
            (Linkage::Register(_), Some(link)) => live.get(link),
            _ => memory.read_u64(live.get(cpu.sp)?),
        }
    }

    /// The interrupted registers as the guest's entry code saved them; pc and SP must be those that were interrupted.
    fn pt_regs(&mut self, memory: &dyn Memory, address: u64, pc: u64, sp: u64) -> Option<(CodeAddress, Regs)> {
        let guest = &self.program.guest;
        let (saved_pc, regs) = user::saved(self.program, memory, address)?;
        if saved_pc != pc || regs.get(guest.cpu.sp) != Some(sp) {
            let place = guest.symbols.name(pc);
            self.contradiction = Some(format!(
                "at {place}: the pt_regs that the marker was given do not hold the interrupted pc and SP"
            ));
            return None;
        }
        Some((CodeAddress::Interrupted(pc), regs))
    }

    /// Another task is at its marker: walks the task that it was given, from that task's saved context.
    fn walk_task(&mut self, at: &Point<'_>) {
        let program = self.program;
        let cpu = program.guest.cpu;
        let mut live = Regs::none();
        at.read(&self.marker_set, &mut live);
        let address = live.get(cpu.arguments[0]).unwrap_or_default();
        let truth = self.oracle.truth_of(address);
        let kernel = program.conventions.kernel.as_ref();
        let context = kernel.and_then(|kernel| kernel.context.read(address, &|address| at.memory.read_u64(address)));
        let (Some(task), Some((pc, regs))) = (super::task::task(program, at.memory, address), context) else {
            self.contradiction = Some("the task that is switched out has no saved context".to_owned());
            return;
        };
        // A task that never ran has an empty stack, and starts where its context says.
        let resume = truth.activations().next().map_or(pc, |activation| activation.resume);
        if pc != resume {
            let (saved, true_pc) = (program.guest.symbols.name(pc), program.guest.symbols.name(resume));
            self.contradiction =
                Some(format!("the task's saved context says that it resumes at {saved}, but it resumes at {true_pc}"));
            return;
        }
        let point = match self.delivered.last_mut() {
            // One walk per exception, and only of the task that took it.
            Some(last) if last.task == address && !last.was_walked => {
                last.was_walked = true;
                last.point
            }
            Some(_) => None,
            None => {
                let read = |set: &RegisterSet, values: &mut [u64]| {
                    let known = set.registers().iter().map(|register| regs.get(*register).unwrap_or_default());
                    values.iter_mut().zip(known).for_each(|(value, known)| *value = known);
                };
                let older = truth.without(1);
                self.sites.arrive(resume, |hint| self.states.find(&read, at.memory, &older, hint))
            }
        };
        let Some(point) = point else { return };
        if self.delivered.is_empty() {
            // It was not interrupted but waits in a call that it made.
            self.locate(at, point, address, &truth.without(1), &|register| regs.get(register));
        }
        let stacks = super::task::offered(program, at.memory, task, false);
        // The task has stopped at its saved SP.
        let saved_sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let sp = live.get(cpu.sp).unwrap_or_default();
        let own = self.own.as_ref().map(|code| OwnFrame {
            code,
            walked: address,
            sp,
            instead: Instead {
                returns_to: self.return_address(at.memory, &live).unwrap_or_default(),
                fp: live.get(cpu.abi.fp).unwrap_or_default(),
                task: self.oracle.task(),
            },
        });
        let target = GuestTarget::new(program, at.memory, &stacks, Some(task)).with_sp(saved_sp, self.red_zone);
        let target = target.with_own(own);
        let older = truth.without(1).of_kernel();
        let question = Question { pc: CodeAddress::Return(pc), regs, pt_regs: None, target: &target, why: None };
        if self.kind == Interruption::Corrupt {
            super::corrupt::ask_all(self.visit, &mut self.sites, self.columns, point, &question, &older);
            return;
        }
        for column in self.columns {
            self.visit.walk(point, None, column, &question, &older);
        }
    }

    /// Counts an arrival of the running code, and returns the point, if it is one.
    fn arrive(&mut self, at: &Point<'_>) -> Option<Arrival> {
        let truth = self.oracle.truth();
        self.sites.arrive(at.pc, |hint| self.states.at(at, truth, hint))
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
        if at.pc == self.kernel.walk_here && !walks_task {
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
            self.visit.point(point, self.within.as_deref(), at);
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
        self.visit.point(point, self.within.as_deref(), at);
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
