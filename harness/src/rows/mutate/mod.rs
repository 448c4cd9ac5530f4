//! How many mistakes in unwind rows `check` would miss. Each guest runs once; mistakes are planted in its rows, one at a time, and
//! each is judged in every frame in which its row is asked, as the row itself is.

mod kinds;
mod run;

use std::path::Path;

use kunwind::Format;

use super::follow::judged;
use super::{Job, jobs};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::pool::in_parallel;
use crate::recording::mutation::{GuestMutants, Mutation, State};
use crate::scenario::Scenario;

/// Plants mistakes in these tables of the guests of these scenarios, each guest once, until the user stops it. A guest that fails
/// is one of which nothing is known.
#[must_use]
pub fn mutate_all(root: &Path, scenarios: &[Scenario], formats: &[Format], interrupt: &Interrupt) -> Mutation {
    let jobs = jobs(scenarios);
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let (watch, root, formats) = (interrupt.clone(), root.to_path_buf(), formats.to_vec());
    let results = in_parallel(jobs, 1, interrupt, move |job| {
        guest(&root, job, &formats, &watch).map_err(|error| job.scenario.blame(&job.variant, error))
    });
    let guests = names.into_iter().zip(results).filter_map(|(name, result)| match result {
        None => Some(GuestMutants::without(name, State::NotReached("interrupted".to_owned()))),
        Some(Err(error)) => Some(GuestMutants::without(name, State::Failed(error.to_string()))),
        Some(Ok(guest)) => guest,
    });
    Mutation { guests: guests.collect() }
}

/// What became of the mutants of one guest; nothing if it has no tables.
fn guest(root: &Path, job: &Job, formats: &[Format], interrupt: &Interrupt) -> Result<Option<GuestMutants>, Error> {
    let Job { scenario, variant, name } = job;
    let program = scenario.program(root, variant)?;
    if !formats.iter().any(|format| program.tables.has(*format)) {
        return Ok(None);
    }
    let mutants = run::Mutants::new(&program, formats);
    let (mut mutants, testimony, ended) = judged(&program, scenario, interrupt, mutants)?;
    if ended.interrupted {
        let state = State::NotReached("interrupted".to_owned());
        return Ok(Some(GuestMutants::without(name.clone(), state)));
    }
    if !scenario.text.only_run() {
        mutants.meet_all();
    }
    Ok(Some(match testimony.contradiction {
        None => {
            let (tables, missed) = mutants.finish();
            GuestMutants { name: name.clone(), state: State::Judged, tables, missed }
        }
        Some(void) if scenario.means_void(None, &void) => GuestMutants::without(name.clone(), State::MeantVoid(void)),
        Some(void) => GuestMutants::without(name.clone(), State::Void(void)),
    }))
}
