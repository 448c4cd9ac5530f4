//! The walks of a delivery, where the guest calls its markers: of the running task from a handler, and of another task.

use std::num::NonZeroU64;

use super::super::{Arrival, corrupt, task, user};
use super::Delivery;
use crate::cpu::{CodeAddress, Linkage, Regs};
use crate::guest::Program;
use crate::machine::Instead;
use crate::oracle::{Cause, Truth};
use crate::scenario::Interruption;
use crate::subject::{GuestTarget, OwnCode, OwnFrame, Question, Start};
use crate::trace::{Memory, Point, RegisterSet};

/// Where the kernel's own unwinder is called in place of the marker at which the CPU has these registers: it walks the first task
/// while the second runs.
fn own_frame<'a>(
    program: &Program,
    code: Option<&'a OwnCode<'_>>,
    live: &Regs,
    returns_to: Option<u64>,
    (walked, task): (u64, u64),
) -> Option<OwnFrame<'a>> {
    let cpu = program.guest.cpu;
    let [sp, fp] = [cpu.sp, cpu.abi.fp].map(|register| live.get(register).unwrap_or_default());
    let instead = Instead { returns_to: returns_to.unwrap_or_default(), fp, task };
    code.map(|code| {
        code.forget();
        OwnFrame { code, walked, sp, instead }
    })
}

impl Delivery<'_, '_> {
    /// The handler is at its marker: walks the running task, from the handler's frame and from pt_regs.
    pub(super) fn walk_here(&mut self, at: &Point<'_>) {
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
        let running = task::known(self.kernel.known, innermost, at.memory, &live, self.oracle.task());
        let Some(task) = running.and_then(|task| task::task(self.program, at.memory, task)) else {
            self.contradiction = Some("the running task has no stack".to_owned());
            return;
        };
        let stacks = task::offered(self.program, at.memory, task, true);
        let walked = running.unwrap_or_default();
        let own = own_frame(self.program, self.own.as_ref(), &live, return_address, (walked, walked));
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
        self.asked += 2;
        let numbers = [self.asked - 1, self.asked].map(NonZeroU64::new);
        let question = |pc, regs, pt_regs, number| Question { pt_regs, number, ..Question::new(pc, regs, &target) };
        let (current, from_regs) = (
            question(current.0, &current.1, None, numbers[0]),
            question(from_regs.0, &from_regs.1, Some(pt_regs), numbers[1]),
        );
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

    /// The point that a walk of this task is at, if it is one: where it was interrupted, or where it waits in a call that it made.
    fn point_of_task(&mut self, at: &Point<'_>, task: u64, resume: u64, truth: &Truth, regs: &Regs) -> Option<Arrival> {
        match self.delivered.last_mut() {
            // One walk per exception, and only of the task that took it.
            Some(last) if last.task == task && !last.was_walked => {
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
        }
    }

    /// Another task is at its marker: walks the task that it was given, from that task's saved context.
    pub(super) fn walk_task(&mut self, at: &Point<'_>) {
        let program = self.program;
        let cpu = program.guest.cpu;
        let mut live = Regs::none();
        at.read(&self.marker_set, &mut live);
        let address = live.get(cpu.arguments[0]).unwrap_or_default();
        let truth = self.oracle.truth_of(address);
        let kernel = program.conventions.kernel.as_ref();
        let context = kernel.and_then(|kernel| kernel.context.read(address, &|address| at.memory.read_u64(address)));
        let (Some(task), Some((pc, regs))) = (task::task(program, at.memory, address), context) else {
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
        let Some(point) = self.point_of_task(at, address, resume, &truth, &regs) else { return };
        if self.visit.is_full(&point) {
            self.sites.close(point);
        }
        if self.delivered.is_empty() {
            // It was not interrupted but waits in a call that it made.
            self.locate(at, point, address, &truth.without(1), &|register| regs.get(register));
        }
        let stacks = task::offered(program, at.memory, task, false);
        // The task has stopped at its saved SP.
        let saved_sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let returns_to = self.return_address(at.memory, &live);
        let own = own_frame(program, self.own.as_ref(), &live, returns_to, (address, self.oracle.task()));
        let target = GuestTarget::new(program, at.memory, &stacks, Some(task)).with_sp(saved_sp, self.red_zone);
        let target = target.with_own(own);
        let older = truth.without(1).of_kernel();
        let question = Question::new(CodeAddress::Return(pc), &regs, &target);
        if self.kind == Interruption::Corrupt {
            corrupt::ask_all(self.visit, &mut self.sites, self.columns, point, &question, &older);
            return;
        }
        for column in self.columns {
            self.visit.walk(point, None, column, &question, &older);
        }
    }
}
