//! The points of a run, for others.

use super::{Job, columns};
use crate::Error;
use crate::experiment::Experiment;
use crate::export::{Collector, Later, Origin, Take};
use crate::guest::Program;
use crate::interrupt::Interrupt;
use crate::oracle::Witnesses;
use crate::scenario::Part;
use crate::subject::Subject;
use crate::trace::Watched;

impl Job<'_> {
    /// The program that it runs.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn program(self) -> Result<Program, Error> {
        self.scenario.program(self.root, self.variant)
    }

    /// Runs, and passes on each point of a part, with at most so many bytes of its stack.
    ///
    /// # Errors
    ///
    /// As [`Job::run`], and those of `take`. A void run is one: its truth is none.
    pub fn export(
        self,
        origin: Origin<'_>,
        (part, stack): (&Part, u64),
        interrupt: &Interrupt,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        let Self { scenario, variant, kind, .. } = self;
        let program = origin.program;
        let undisturbed = self.undisturbed(program, interrupt)?;
        let run = scenario.live(program).map_err(|error| scenario.blame(variant, error));
        let mut run = run?;
        let later = Later::new(program.guest.cpu);
        let all: [&dyn Subject; 1] = [&later];
        let columns = columns(&all, kind);
        let (text, max_visits) = (&scenario.text, scenario.text.max_visits);
        let experiment = Experiment { program, text, kind, columns: &columns, max_visits, wanted: None };
        let mut collector = Collector::new(program, part, stack, take);
        let mut watched = Watched::new(&mut *run, interrupt);
        let found = experiment.drive(&mut watched, &undisturbed, Witnesses::default(), &mut collector);
        let found = found.map_err(|error| scenario.blame(variant, error))?;
        collector.finish()?;
        if found.interrupted {
            return Err(Error::Interrupted);
        }
        match found.testimony.contradiction {
            Some(reason) => Err(Error::Usage(format!(
                "{}: the run is void, so nothing is known to be true: {reason}",
                origin.title
            ))),
            None => Ok(()),
        }
    }
}
