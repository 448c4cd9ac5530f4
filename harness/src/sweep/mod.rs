//! Every point of a run, every subject at each: truth, walk, verdict, record.

mod corruption;
mod delivery;
mod marker;
mod nesting;
mod probe;
mod record;
mod task;
mod trial;
mod user;

use std::path::Path;
use std::time::Duration;

use kunwind::{CodeAddress, Frame, Regs, Source};

use crate::Error;
use crate::explain::{Point, Teller};
use crate::guest::Guest;
use crate::machine::{Action, Interrupt, Machine, Observer};
use crate::oracle::{Place, Testimony, Witnesses};
use crate::prepared::Prepared;
use crate::report::Section;
use crate::scenario::{Kind, Scenario, Text, Variant};
use crate::subject::Subject;

use delivery::Delivery;
pub use probe::Sweep;
pub use trial::Trial;

/// Which points of a run are judged.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// The functions; empty: all.
    pub within: &'a [String],
    /// The functions in which the first exception of a nested run is taken; empty: all.
    pub outer: &'a [String],
    /// How many arrivals at one instruction.
    pub max_visits: u64,
    /// Functions that a trace may leave out.
    pub omissible: &'a [String],
    /// Functions with calls that never return.
    pub never_resumes: &'a [String],
}

/// A frame that means nothing, to fill buffers with.
const NOWHERE: Frame = Frame { pc: CodeAddress::Interrupted(0), regs: Regs::none(), source: Source::Start };

/// Fills in what the witnesses of the truth have to say of the run.
fn with_testimony(mut section: Section, testimony: Testimony, scenario: &Scenario, guest: &Guest) -> Section {
    let name_of = |(place, count): &(Place, usize)| (place.name(&guest.symbols), *count);
    section.unwitnessed = testimony.unwitnessed.iter().map(name_of).collect();
    section.void_is_meant = testimony.contradiction.as_ref().is_some_and(|reason| scenario.means_void(reason));
    section.void = testimony.contradiction;
    section
}

/// One run: which scenario, which of its variants, interrupted how.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The folder with `guests`.
    pub root: &'a Path,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The variant.
    pub variant: &'a Variant,
    /// The kind of interruption.
    pub kind: Kind,
}

impl Job<'_> {
    /// Runs, and judges the subjects at every point.
    ///
    /// # Errors
    ///
    /// Whatever keeps the guest from being loaded or from running to its end. A void run is not an error but a section that
    /// says so.
    pub fn run(self, subjects: &[Subject]) -> Result<Section, Error> {
        self.run_with(subjects, Witnesses::default())
    }

    /// Like [`Job::run`], with other witnesses: to show that wrong ones void the run.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn run_with(self, subjects: &[Subject], witnesses: Witnesses) -> Result<Section, Error> {
        Ok(self.execute(subjects, witnesses, None)?.section)
    }

    /// Like [`Job::run`], with the time that the emulator ran, without setting anything up. For benches.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn timed(self, subjects: &[Subject]) -> Result<(Section, Duration), Error> {
        self.execute(subjects, Witnesses::default(), None).map(|done| (done.section, done.ran_for))
    }

    /// How long the emulator runs the guest from its entry to its end with an empty observer: the yardstick of the naive way
    /// to interrupt it, which runs it once for each point.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn timed_undisturbed(self) -> Result<Duration, Error> {
        let prepared = Prepared::load(self.root, self.scenario, self.variant)?;
        undisturbed(&prepared, &self.scenario.text).map(|(_, ran_for)| ran_for)
    }

    /// Runs, and tells one point in full.
    ///
    /// # Errors
    ///
    /// As [`Job::run`], and [`Error::Usage`] when the guest never arrives at the point.
    pub fn explain(self, subjects: &[Subject], point: &Point) -> Result<String, Error> {
        let Done { section, told, .. } = self.execute(subjects, Witnesses::default(), Some(point))?;
        let Some(body) = told else {
            let instructions = section.functions.iter().filter(|function| function.name == point.function);
            let there = instructions.flat_map(|function| &function.instructions).find(|one| one.offset == point.offset);
            let arrivals = there.map_or(0, |instruction| instruction.visits);
            let scenario = &self.scenario.name;
            return Err(Error::Usage(format!("{scenario}: the guest arrives {arrivals} times at {point}")));
        };
        let verdict = match &section.void {
            Some(reason) => format!("the run is void: {reason}"),
            None => "the run is not void: the witnesses of the truth agree to its end".to_owned(),
        };
        Ok(format!("{} {point}\n{verdict}\n{body}", section.title()))
    }

    fn execute(self, subjects: &[Subject], witnesses: Witnesses, point: Option<&Point>) -> Result<Done, Error> {
        let Self { root, scenario, variant, kind } = self;
        let prepared = Prepared::load(root, scenario, variant)?;
        let text = &scenario.text;
        for name in text.within.iter().chain(&text.outer).chain(&text.omissible).chain(&text.never_resumes) {
            prepared.guest.function(name)?;
        }
        let teller = point.map(|point| Teller::new(&prepared, point)).transpose()?;
        // A later arrival than the scenario judges can be asked for; of nested points all are judged as it is.
        let wanted = point.filter(|_| kind != Kind::Nested).map_or(0, |point| point.visit);
        let max_visits = text.max_visits.max(wanted);
        let Text { within, outer, omissible, never_resumes, .. } = text;
        let points = Points { within, outer, max_visits, omissible, never_resumes };
        let rewriter = scenario.rewriter(variant);
        let fits = |subject: &&Subject| subject.fits(&prepared.guest, rewriter.as_ref(), &prepared.tables, kind);
        let subjects: Vec<&Subject> = subjects.iter().filter(fits).collect();
        let mut machine = prepared.machine_for(text)?;
        if kind == Kind::Probe {
            let mut sweep = Sweep::new(&prepared, &subjects, points, witnesses);
            sweep.recorder.teller = teller;
            let ran_for = machine.run(&mut sweep, text.budget)?.ran_for;
            let told = sweep.recorder.teller.take().and_then(Teller::finish);
            return Ok(Done { section: sweep.finish(scenario, variant, kind), told, ran_for });
        }
        let (undisturbed, _) = undisturbed(&prepared, text)?;
        let mut delivery = Delivery::new(&prepared, &subjects, kind, text.nested, points, witnesses)?;
        delivery.recorder.teller = teller;
        let ended = machine.run(&mut delivery, text.budget)?;
        let told = delivery.recorder.teller.take().and_then(Teller::finish);
        let mut section = delivery.finish(scenario, variant);
        if ended.complete && section.void.is_none() {
            section.void = changed(&prepared, &undisturbed, &lasting_words(&prepared, &machine));
            section.void_is_meant = section.void.as_ref().is_some_and(|reason| scenario.means_void(reason));
        }
        Ok(Done { section, told, ran_for: ended.ran_for })
    }
}

/// What comes of a run.
struct Done {
    section: Section,
    /// The point that was asked for, told in full.
    told: Option<String>,
    ran_for: Duration,
}

/// The words that an interrupted run must leave as an undisturbed one does: all writable memory but `.scratch` and the stacks.
fn lasting_words(prepared: &Prepared, machine: &Machine<'_>) -> Vec<(u64, u64)> {
    let symbols = &prepared.guest.symbols;
    let range = |low: &str, high: &str| Some(symbols.address(low)?..symbols.address(high)?);
    let left_out = [range("__scratch_low", "__scratch_high"), range("__stack_arena_low", "__stack_arena_high")];
    let segments = prepared.guest.segments.iter().filter(|segment| segment.writable);
    segments
        .flat_map(|segment| (segment.address..segment.end()).step_by(8))
        .filter(|address| !left_out.iter().flatten().any(|range| range.contains(address)))
        .filter_map(|address| Some((address, machine.memory().read_u64(address)?)))
        .collect()
}

/// [`lasting_words`] at the end of a run in which nothing is delivered, and how long the emulator ran.
fn undisturbed(prepared: &Prepared, text: &Text) -> Result<(Vec<(u64, u64)>, Duration), Error> {
    struct Nobody;
    impl Observer for Nobody {
        fn interrupted(&mut self, _: &Interrupt<'_>) -> Action {
            Action::Continue
        }
    }
    let mut machine = prepared.machine_for(text)?;
    let ran_for = machine.run(&mut Nobody, text.budget)?.ran_for;
    Ok((lasting_words(prepared, &machine), ran_for))
}

/// Why the run is void, if the exceptions left a mark.
fn changed(prepared: &Prepared, before: &[(u64, u64)], after: &[(u64, u64)]) -> Option<String> {
    let ((address, then), (_, now)) = before.iter().zip(after).find(|(before, after)| before != after)?;
    let name = prepared.guest.symbols.name_of_data(*address);
    Some(format!("the exceptions changed {name} for good: {now:#x} instead of {then:#x}; is it missing from .scratch?"))
}
