//! Walks of the user's stack that are put off: whoever asks for one in an interrupt gets it when the kernel is about to go
//! back to user mode, because only there it may wait for user memory. So all that ask during one stay in the kernel get the same.

use kunwind::{CodeAddress, Frame, Regs, Source, StackBounds};

use super::record::{Arrival, Recorder};
use crate::machine::{Interrupt, Memory, RegisterSet};
use crate::oracle::Truth;
use crate::prepared::Prepared;
use crate::report::Start;
use crate::subject::Live;

/// The requests of one run.
pub(super) struct Deferred {
    /// The marker function, where a guest has one.
    pub(super) walk_user: Option<u64>,
    requests: Vec<Request>,
}

/// A point in the kernel, and what had entered it there.
struct Request {
    point: Arrival,
    visit: u64,
    user: Truth,
}

impl Deferred {
    pub(super) fn new(prepared: &Prepared) -> Self {
        Self { walk_user: prepared.guest.symbols.address("walk_user"), requests: Vec::new() }
    }

    /// An exception has returned to kernel code, or to user mode: there was nothing to put off then.
    pub(super) fn request(&mut self, recorder: &Recorder<'_>, point: Arrival, truth: &Truth) {
        if self.walk_user.is_some()
            && let Some(user) = truth.of_user()
        {
            self.requests.push(Request { point, visit: recorder.visit(point.site), user });
        }
    }

    /// The kernel is at its marker: walks for all points since the entry from user mode. `interrupted` is the exception that
    /// was the entry, if it was one that was delivered, with the truth before it.
    ///
    /// An error says why the run is void.
    pub(super) fn walk(
        &mut self,
        recorder: &mut Recorder<'_>,
        at: &Interrupt<'_>,
        truth: &Truth,
        interrupted: Option<(Arrival, &Truth)>,
    ) -> Result<(), String> {
        let prepared = recorder.prepared;
        // A task that goes to user mode for the first time has no stack there.
        let Some(entry) = truth.of_user() else { return Ok(()) };
        let older = entry.without(1);
        let start = start(prepared, at, &entry)?;
        let is_user = |name: &str| name == "user"; // guests/KERNEL.md
        let stacks: Vec<StackBounds> =
            prepared.layout.stacks.iter().filter(|stack| is_user(&stack.name)).map(|stack| stack.bounds).collect();
        let target = Live::of_user(prepared, at.memory, &stacks);
        // What was asked for too late, after the walk, was dropped with its stay in the kernel.
        let asked = self.requests.drain(..).filter(|request| request.user.is_same(&entry));
        let mut points: Vec<_> = asked.map(|request| (request.point, request.visit)).collect();
        let entered = interrupted.filter(|(_, before)| before.is_same(&older));
        points.extend(entered.map(|(point, _)| (point, recorder.visit(point.site))));
        for (point, visit) in points {
            for column in 0..recorder.columns.len() {
                if recorder.columns[column].start == Start::User {
                    recorder.judge_at(column, point, visit, start, &target, &older);
                }
            }
        }
        Ok(())
    }
}

/// The user's registers as the kernel holds them: that must be what they were.
fn start(prepared: &Prepared, at: &Interrupt<'_>, entry: &Truth) -> Result<Frame, String> {
    let arch = prepared.guest.arch;
    let mut live = Regs::none();
    at.read(&RegisterSet::new(arch, [arch.first_argument()]), &mut live);
    let address = live.get(arch.first_argument()).unwrap_or_default();
    let (pc, regs) = saved(prepared, at.memory, address).ok_or("walk_user was given no pt_regs")?;
    let left = entry.activations().next().map(|activation| (activation.resume, activation.cfa));
    if left != Some((pc, regs.get(arch.sp()).unwrap_or_default())) {
        return Err("the pt_regs that walk_user was given do not hold the user's pc and SP".to_owned());
    }
    Ok(Frame { pc: CodeAddress::Interrupted(pc), regs, source: Source::PtRegs { at: address } })
}

/// The pc and the registers in the pt_regs at this address.
pub(super) fn saved(prepared: &Prepared, memory: &Memory, address: u64) -> Option<(u64, Regs)> {
    let layout = prepared.guest.arch.abi().pt_regs;
    let mut regs = Regs::none();
    for (register, offset) in layout.registers {
        regs.set(*register, memory.read_u64(address.wrapping_add(*offset))?);
    }
    Some((memory.read_u64(address.wrapping_add(layout.pc))?, regs))
}
