//! Every point of a run, every subject at each point. The experiment drives a run, keeps the truth, and shows a [`Visit`] every
//! walk that is to be made. The visit decides what to do with it.

mod arrival;
mod corrupt;
mod delivery;
mod nesting;
mod probe;
mod sample;
mod task;
mod user;

use std::time::Duration;

use crate::Error;
use crate::cpu::Cpu;
use crate::guest::Program;
use crate::oracle::{AddressPlaces, Testimony, Truth, Witnesses};
use crate::scenario::{Interruption, Text};
use crate::subject::{OwnForm, Question, Scope, Start, Subject, label};
use crate::trace::{Action, Ended, Memory, Observer, Point, RegisterSet, Run};

use delivery::Delivery;
use probe::Probe;

pub use arrival::{Arrival, LeftOut, PointFilter, Site};

/// One subject with one start: a column of the listing.
#[derive(Clone, Copy)]
pub struct Column<'p> {
    /// Its index among the columns.
    pub index: usize,
    /// The subject that walks.
    pub subject: &'p dyn Subject,
    /// Where the walks start.
    pub start: Start,
}

impl std::fmt::Debug for Column<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Column").field("label", &self.label()).finish_non_exhaustive()
    }
}

impl Column<'_> {
    /// The head of the column.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.subject.about().name, self.start)
    }
}

/// The columns of these subjects in a run with this kind of interruption.
#[must_use]
pub fn columns<'p>(subjects: &[&'p dyn Subject], kind: Interruption) -> Vec<Column<'p>> {
    let starts = |subject: &dyn Subject| -> &[Start] {
        match (kind, subject.about().scope) {
            // A kernel's own unwinder is called by the kernel, from a handler or another task.
            (Interruption::Probe, Scope::Own(_)) => &[],
            (Interruption::Probe, _) => &[Start::Live],
            (_, Scope::User) => &[Start::User],
            _ if kind.walks_task() => &[Start::Task],
            // Its reliable forms take no pt_regs.
            (_, Scope::Own(OwnForm::Reliable)) => &[Start::Current],
            (_, Scope::Own(OwnForm::SaveReliable)) => &[],
            _ => &[Start::Current, Start::Regs],
        }
    };
    let pairs = subjects.iter().flat_map(|subject| starts(*subject).iter().map(move |start| (*subject, *start)));
    pairs.enumerate().map(|(index, (subject, start))| Column { index, subject, start }).collect()
}

/// Sees what happens in an experiment. `within` names the outer exception of a nested point.
pub trait Visit {
    /// The machine stands at a point.
    fn point(&mut self, at: &Arrival, within: Option<&str>, machine: &Point<'_>) {
        let _ = (at, within, machine);
    }

    /// A walk of one column is due. The answer to the question should be the truth.
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth);

    /// A walk of one column is due that would be as at the point before: nothing that it looks at has changed, apart from the pc. False
    /// if it has to be made.
    fn again(&mut self, at: &Arrival, column: &Column<'_>) -> bool {
        let _ = (at, column);
        false
    }

    /// The youngest displaced return address is in these places.
    fn places(&mut self, at: Arrival, found: &AddressPlaces, truth: &Truth) {
        let _ = (at, found, truth);
    }

    /// SP and the frame pointer are on different stacks.
    fn split(&mut self, at: Arrival) {
        let _ = at;
    }

    /// Whether there is no room for more changes of verdict at the instruction of this arrival. Later arrivals are points only in a new
    /// state; the others are counted as left out.
    fn is_full(&self, at: &Arrival) -> bool {
        let _ = at;
        false
    }

    /// The arrival was not a point after all: no walk was made.
    fn cancelled(&mut self, at: Arrival) {
        let _ = at;
    }
}

/// Watches a run in which nothing is delivered, for what its function has returned.
#[derive(Debug)]
pub struct LastResult {
    register: RegisterSet,
    /// The register of results before the last instruction of the run: where the function's caller has resumed.
    pub value: u64,
    /// The address of that instruction.
    pub at: u64,
}

impl LastResult {
    /// Nothing has been seen yet.
    #[must_use]
    pub fn new(cpu: &Cpu) -> Self {
        Self { register: RegisterSet::new(cpu, [cpu.result]), value: 0, at: 0 }
    }
}

impl Observer for LastResult {
    fn point(&mut self, at: &Point<'_>) -> Action {
        let mut value = [0];
        at.read_values(&self.register, &mut value);
        (self.value, self.at) = (value[0], at.pc);
        Action::Continue
    }
}

/// Sees nothing.
struct Unseen;

impl Visit for Unseen {
    fn walk(&mut self, _: Arrival, _: Option<&str>, _: &Column<'_>, _: &Question<'_>, _: &Truth) {}
}

/// What to run, and how to interrupt it.
#[derive(Debug)]
pub struct Experiment<'p> {
    /// The guest.
    pub program: &'p Program,
    /// The scenario.
    pub text: &'p Text,
    /// The kind of interruption.
    pub kind: Interruption,
    /// The subjects, with their starts.
    pub columns: &'p [Column<'p>],
    /// How many arrivals at each instruction are judged, besides later ones in a new state.
    pub max_visits: u64,
    /// Arrivals that are judged too: the addresses of their instructions, and their numbers from 1.
    pub wanted: &'p [(u64, u64)],
    /// The first and the last address at which an instruction is judged.
    pub addresses: (u64, u64),
}

/// Every address.
pub const EVERYWHERE: (u64, u64) = (0, u64::MAX);

/// What an experiment found besides the walks.
#[derive(Debug)]
pub struct Found {
    /// The testimony of the witnesses.
    pub testimony: Testimony,
    /// The instructions that were points.
    pub sites: Vec<Site>,
    /// In a nested run: how many outer exceptions there could have been, and how many were delivered (the rest were folded).
    pub outer: Option<(u64, u64)>,
    /// The arrivals that were no points; in a nested run, those at which no outer exception was considered.
    pub left_out: LeftOut,
    /// Whether the user stopped the run before its end.
    pub interrupted: bool,
    /// How long the run took.
    pub ran_for: Duration,
}

impl Experiment<'_> {
    /// Drives a run to its end. `undisturbed` are [`lasting_words`] at the end of a run in which nothing was delivered; a probe
    /// delivers nothing, and needs none.
    ///
    /// # Errors
    ///
    /// As [`Run::drive`]. A void run is not an error: the testimony says so.
    pub fn drive(
        &self,
        run: &mut dyn Run,
        undisturbed: &[u64],
        witnesses: Witnesses,
        visit: &mut dyn Visit,
    ) -> Result<Found, Error> {
        let mut found = self.drive_once(run, undisturbed, witnesses, visit)?;
        if let Some(clobbered) = found.testimony.clobbered
            && let Some(mut again) = run.again()
        {
            // Only a run that is made again is told of each store.
            let witnesses = Witnesses { clobbered: Some(clobbered), ..Witnesses::default() };
            let seen = self.drive_once(&mut *again, undisturbed, witnesses, &mut Unseen)?.testimony;
            if seen.clobbered == Some(clobbered) {
                found.testimony.contradiction = seen.contradiction;
            }
        }
        Ok(found)
    }

    fn drive_once(
        &self,
        run: &mut dyn Run,
        undisturbed: &[u64],
        witnesses: Witnesses,
        visit: &mut dyn Visit,
    ) -> Result<Found, Error> {
        let Self { program, text, kind, columns, max_visits, wanted, addresses } = *self;
        let (within, outer, progress) = (&text.within, &text.outer, run.progress());
        let filter = PointFilter { within, outer, max_visits, wanted, addresses, progress: progress.as_ref() };
        if kind == Interruption::Probe {
            let mut probe = Probe::new(program, text, columns, filter, witnesses, visit);
            let ended = run.drive(&mut probe)?;
            let (testimony, sites) = probe.finish(text, ended);
            let left_out = sites.iter().fold(LeftOut::default(), |sum, site| sum.plus(site.left_out));
            let Ended { interrupted, ran_for, .. } = ended;
            return Ok(Found { testimony, sites, outer: None, left_out, interrupted, ran_for });
        }
        let mut delivery = Delivery::new(program, columns, kind, text, filter, witnesses, visit)?;
        let ended = run.drive(&mut delivery)?;
        let (mut testimony, nesting, sites) = delivery.finish(text, ended);
        let left_out = sites.iter().fold(LeftOut::default(), |sum, site| sum.plus(site.left_out));
        let left_out = nesting.map_or(left_out, |(_, of_outer)| left_out.plus(of_outer));
        if ended.complete && testimony.contradiction.is_none() {
            testimony.contradiction = changed(program, undisturbed, run.memory());
        }
        let Ended { interrupted, ran_for, .. } = ended;
        Ok(Found { testimony, sites, outer: nesting.map(|(outer, _)| outer), left_out, interrupted, ran_for })
    }
}

/// The values of [`Program::lasting_words`], in that order: an interrupted run must leave them as an undisturbed one does.
#[must_use]
pub fn lasting_words(program: &Program, memory: &dyn Memory) -> Vec<u64> {
    program.lasting_words().map(|address| memory.read_u64(address).unwrap_or_default()).collect()
}

/// Why the run is void, if the exceptions have changed a lasting word.
fn changed(program: &Program, before: &[u64], memory: &dyn Memory) -> Option<String> {
    let (address, then, now) = program
        .lasting_words()
        .zip(before)
        .map(|(address, then)| (address, *then, memory.read_u64(address).unwrap_or_default()))
        .find(|(_, then, now)| then != now)?;
    let name = program.guest.symbols.name_of_data(address);
    Some(format!("the exceptions left {name} changed: {now:#x} instead of {then:#x}; is it missing from .scratch?"))
}
