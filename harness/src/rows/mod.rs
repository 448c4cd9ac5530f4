//! Unwind rows, compared with the truth. Each guest runs once, undisturbed, and before each instruction every table is asked how
//! to get from the running function to its caller. No walk is made, so a right row cannot make up for a wrong one.

mod frames;
mod gate;
mod judge;
mod leaf;
mod run;
mod site;

use std::path::Path;

use kunwind::Format;

use crate::Error;
use crate::guest::Program;
use crate::machine::Machine;
use crate::oracle::Witnesses;
use crate::recording::Recording;
use crate::recording::rows::GuestRows;
use crate::scenario::{Model, Scenario, Variant};
use crate::trace::Run as _;

/// The tables that are compared with the truth, in the order of reports.
pub const FORMATS: [Format; 3] = [Format::SFrame, Format::Dwarf, Format::Orc];

/// One guest, as one scenario runs it.
struct Job<'a> {
    scenario: &'a Scenario,
    variant: Variant,
    name: String,
}

/// The guest of a scenario's variant: `<cpu>/<stem of the file>`.
fn name_of(scenario: &Scenario, variant: &Variant) -> String {
    format!("{}/{}", scenario.cpu.name, variant.guest.as_ref().unwrap_or(&scenario.text.guest))
}

/// The guests of these scenarios, each once.
fn jobs(scenarios: &[Scenario]) -> Vec<Job<'_>> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for scenario in scenarios {
        for variant in scenario.variants() {
            let name = name_of(scenario, &variant);
            if !jobs.iter().any(|job| job.name == name) {
                jobs.push(Job { scenario, variant, name });
            }
        }
    }
    jobs
}

/// Checks the guests of these scenarios, each once, but not guests without unwind data. `all` are the scenarios whose
/// `[[wrong-rows]]` excuse a guest.
///
/// # Errors
///
/// Whatever keeps a guest from being loaded or from running to its end.
pub fn run_all(root: &Path, scenarios: &[Scenario], all: &[Scenario]) -> Result<Recording, Error> {
    let mut report = Recording::default();
    for job in jobs(scenarios) {
        let program = job.scenario.program(root, &job.variant)?;
        let has_data = FORMATS.iter().any(|format| program.tables.has(*format));
        if has_data || !program.tables.unread().is_empty() {
            report.rows.push(check(&program, job.scenario, &job.name)?);
        }
    }
    report.row_failures = gate::check(&report, scenarios, all);
    Ok(report)
}

/// Checks the tables of one guest, without regard to `[[wrong-rows]]`.
///
/// # Errors
///
/// Whatever keeps it from running to its end.
pub fn check(program: &Program, scenario: &Scenario, name: &str) -> Result<GuestRows, Error> {
    let text = &scenario.text;
    let mut run = run::Run::new(program, text, Witnesses::default());
    let mut machine = Machine::new(program, &text.entry, text.budget)?;
    if text.cpu == Model::Max {
        machine.use_max_cpu();
    }
    machine.drive(&mut run)?;
    let run::Found { void, functions, unread, outside_functions } = run.finish(&text.never_resumes);
    Ok(GuestRows {
        name: name.to_owned(),
        scenario: scenario.name.clone(),
        void_is_meant: void.as_ref().is_some_and(|reason| scenario.means_void(reason)),
        functions: if void.is_some() { Vec::new() } else { functions },
        unread,
        outside_functions,
        void,
    })
}
