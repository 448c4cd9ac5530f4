//! How many mistakes in unwind rows `check` would miss. Each guest runs once; mistakes are planted in its rows, one at a time, and
//! each is judged in every frame in which its row is asked, as the row itself is.

mod kinds;
mod run;

use std::path::Path;

use kunwind::Format;

use super::{Job, jobs};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::oracle::Witnesses;
use crate::pool::in_parallel;
use crate::recording::mutation::{GuestMutants, Mutation, State};
use crate::scenario::Scenario;
use crate::trace::{Run as _, Watched};

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
    let text = &scenario.text;
    let mut run = run::Run::new(&program, text, formats, Witnesses::default());
    let mut machine = scenario.live(&program)?;
    let ended = Watched::new(&mut *machine, interrupt).drive(&mut run)?;
    if ended.interrupted {
        let state = State::NotReached("interrupted".to_owned());
        return Ok(Some(GuestMutants::without(name.clone(), state)));
    }
    if !text.only_run() {
        run.meet_all();
    }
    let found = match run.finish(&text.never_resumes, ended) {
        // As `check`: with the register known that came back changed, the run is not void any more.
        Err((void, clobbered @ Some(_))) => match machine.again() {
            None => Err(void),
            Some(mut again) => {
                let mut run = run::Run::new(&program, text, formats, Witnesses { clobbered, ..Witnesses::default() });
                let ended = Watched::new(&mut *again, interrupt).drive(&mut run)?;
                run.finish(&text.never_resumes, ended).map_err(|(void, _)| void)
            }
        },
        found => found.map_err(|(void, _)| void),
    };
    Ok(Some(match found {
        Ok((tables, missed)) => GuestMutants { name: name.clone(), state: State::Judged, tables, missed },
        Err(void) if scenario.means_void(None, &void) => GuestMutants::without(name.clone(), State::MeantVoid(void)),
        Err(void) => GuestMutants::without(name.clone(), State::Void(void)),
    }))
}
