//! Deferred walks of user stacks: a walk that is requested in an interrupt is made when the kernel is about to return to user
//! mode, because only there may it fault user memory in. All requests during one stay in the kernel get the same walk.

use kunwind::StackBounds;

use super::{Arrival, Column, Visit};
use crate::cpu::{CodeAddress, Regs};
use crate::guest::Program;
use crate::guest::conventions::StackRole;
use crate::oracle::Truth;
use crate::subject::{GuestTarget, Question, Start};
use crate::trace::{Memory, Point, RegisterSet};

/// The requests of one run.
pub(super) struct Deferred {
    /// The marker function, where a guest has one.
    pub(super) walk_user: Option<u64>,
    requests: Vec<Request>,
}

/// A request for a walk.
struct Request {
    /// The point that requested it.
    point: Arrival,
    /// User mode's part of the truth, which identifies the stay in the kernel.
    user: Truth,
}

impl Deferred {
    pub(super) fn new(program: &Program) -> Self {
        Self { walk_user: program.conventions.walk_user(), requests: Vec::new() }
    }

    /// An exception has returned. Notes a request if it returned to kernel code that was entered from user mode.
    pub(super) fn request(&mut self, point: Arrival, truth: &Truth) {
        if self.walk_user.is_some()
            && let Some(user) = truth.of_user()
        {
            self.requests.push(Request { point, user });
        }
    }

    /// The kernel is at its marker: makes the walks of all points since the entry from user mode. `interrupted` is the delivered
    /// exception that entered the kernel, if any, with the truth before it.
    ///
    /// # Errors
    ///
    /// Why the run is void.
    pub(super) fn walk(
        &mut self,
        program: &Program,
        visit: &mut dyn Visit,
        columns: &[Column<'_>],
        at: &Point<'_>,
        truth: &Truth,
        interrupted: Option<(Arrival, &Truth)>,
    ) -> Result<(), String> {
        // A task that is about to enter user mode for the first time has no user stack.
        let Some(entry) = truth.of_user() else { return Ok(()) };
        let older = entry.without(1);
        let (pc, regs, pt_regs) = start(program, at, &entry)?;
        let users = program.layout.stacks.iter().filter(|stack| stack.role == StackRole::User);
        let stacks: Vec<StackBounds> = users.map(|stack| stack.bounds).collect();
        let user_sp = regs.get(program.guest.cpu.sp).unwrap_or_default();
        let red_zone = program.guest.cpu.red_zone;
        let target = GuestTarget::of_user(program, at.memory, &stacks).with_sp(user_sp, red_zone);
        // Requests that came after an earlier stay's walk are dropped here.
        let asked = self.requests.drain(..).filter(|request| request.user.is_same(&entry));
        let mut points: Vec<_> = asked.map(|request| request.point).collect();
        let entered = interrupted.filter(|(_, before)| before.is_same(&older));
        points.extend(entered.map(|(point, _)| point));
        let question = Question { pt_regs: Some(pt_regs), ..Question::new(pc, &regs, &target) };
        for point in points {
            for column in columns.iter().filter(|column| column.start == Start::User) {
                visit.walk(point, None, column, &question, &older);
            }
        }
        Ok(())
    }
}

/// The user registers in pt_regs, and its address. Their pc and SP must be those with which user mode was left.
fn start(program: &Program, at: &Point<'_>, entry: &Truth) -> Result<(CodeAddress, Regs, u64), String> {
    let cpu = program.guest.cpu;
    let mut live = Regs::none();
    at.read(&RegisterSet::new(cpu, [cpu.arguments[0]]), &mut live);
    let address = live.get(cpu.arguments[0]).unwrap_or_default();
    let (pc, regs) = saved(program, at.memory, address).ok_or("the marker walk_user was given no pt_regs")?;
    let left = entry.activations().next().map(|activation| (activation.resume, activation.cfa));
    if left != Some((pc, regs.get(cpu.sp).unwrap_or_default())) {
        return Err("the pt_regs that walk_user was given do not hold the user's pc and SP".to_owned());
    }
    Ok((CodeAddress::Interrupted(pc), regs, address))
}

/// Reads the pc and the registers from the pt_regs at this address.
///
/// ```text
///              | the interrupted stack |
///   SP at the  +-----------------------+   entry code builds pt_regs here, or at the top of another stack
///   exception  |                       |
///              | pc and registers      |   each at address + its offset in `layout` (kunwind's abi/<cpu>)
///              |                       |
///   address -> +-----------------------+
/// ```
pub(super) fn saved(program: &Program, memory: &dyn Memory, address: u64) -> Option<(u64, Regs)> {
    let layout = program.conventions.kernel.as_ref()?.pt_regs;
    let mut regs = Regs::none();
    for (register, offset) in layout.registers {
        regs.set(*register, memory.read_u64(address.wrapping_add(*offset))?);
    }
    Some((memory.read_u64(address.wrapping_add(layout.pc))?, regs))
}
