//! Unwind rows, compared with the truth. Each guest runs once, undisturbed, and before each instruction every table is asked how
//! to get from the running function to its caller. No walk is made, so a right row cannot make up for a wrong one.

mod asked;
mod follow;
mod frames;
mod gate;
mod judge;
mod leaf;
mod levels;
mod mutate;
mod run;
mod says;
mod site;
mod within;

pub use mutate::mutate_all;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use kunwind::Format;

use follow::judged;

use crate::Error;
use crate::guest::Program;
use crate::interrupt::Interrupt;
use crate::oracle::Testimony;
use crate::pool::in_parallel;
use crate::recording::rows::{Checked, FunctionRows, GuestRows};
use crate::recording::{Partial, Recording, SideBySide, Skip};
use crate::scenario::{Part, Scenario, Text, Variant};

/// The tables that are compared with the truth, in the order of reports.
pub const FORMATS: [Format; 3] = [Format::SFrame, Format::Dwarf, Format::Orc];

/// One guest, as one scenario runs it.
struct Job {
    scenario: Scenario,
    variant: Variant,
    name: String,
}

/// The guest of a scenario's variant: `<cpu>/<stem of the file>`; the run of a kernel image: `<scenario> <release>`.
fn name_of(scenario: &Scenario, variant: &Variant) -> String {
    if scenario.image().is_some() {
        return format!("{} {}", scenario.name, variant.name);
    }
    if scenario.state().is_some() || scenario.text.is_of_others() {
        return scenario.name.clone();
    }
    format!("{}/{}", scenario.cpu.name, variant.guest.as_ref().unwrap_or(&scenario.text.guest))
}

/// Leaves out the guests of variants that are not of this part.
pub fn retain_variants(recording: &mut Recording, scenarios: &[Scenario], part: &Part) {
    let runs = scenarios.iter().flat_map(|scenario| scenario.variants().into_iter().map(move |it| (scenario, it)));
    let is_its = |(_, variant): &(&Scenario, Variant)| part.has_variant(Some(&variant.name));
    let names: Vec<String> = runs.filter(is_its).map(|(scenario, variant)| name_of(scenario, &variant)).collect();
    recording.rows.retain(|guest| part.variants.is_empty() || names.contains(&guest.name));
}

/// The guests of these scenarios, each once.
fn jobs(scenarios: &[Scenario]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for scenario in scenarios {
        for variant in scenario.variants() {
            let name = name_of(scenario, &variant);
            if !jobs.iter().any(|job| job.name == name) {
                jobs.push(Job { scenario: scenario.clone(), variant, name });
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
    check_all(root, scenarios, all, &Interrupt::default(), false)
}

/// Like [`run_all`], until the user stops it. With `keep_going`, a guest that fails is one that was not judged.
///
/// # Errors
///
/// As [`run_all`], without `keep_going`.
pub fn check_all(
    root: &Path,
    scenarios: &[Scenario],
    all: &[Scenario],
    interrupt: &Interrupt,
    keep_going: bool,
) -> Result<Recording, Error> {
    let jobs = jobs(scenarios);
    let names: Vec<(String, String, bool)> =
        jobs.iter().map(|job| (job.name.clone(), job.scenario.name.clone(), job.scenario.image().is_some())).collect();
    let (watch, root) = (interrupt.clone(), root.to_path_buf());
    let results = in_parallel(jobs, 1, interrupt, move |job| {
        let program = job.scenario.program(&root, &job.variant)?;
        let has_rows = FORMATS.iter().any(|format| program.tables.has(*format)) || !program.tables.unread().is_empty();
        let checked = has_rows.then(|| check_until(&program, &job.scenario, &job.name, &watch)).transpose();
        checked.map_err(|error| job.scenario.blame(&job.variant, error))
    });
    let (mut report, of) = (Recording::default(), names.len());
    let mut whole = 0;
    for ((name, scenario, is_image), result) in names.into_iter().zip(results) {
        match result {
            None => continue,
            Some(Ok(rows)) => {
                if let (None, true) = (&rows, is_image) {
                    report.skipped.push(Skip::absent(&name, "it has no unwind data in tables (.sframe, CFI or ORC)"));
                }
                let is_cut = rows.as_ref().is_some_and(|rows| rows.interrupted);
                report.rows.extend(rows);
                if is_cut {
                    continue;
                }
            }
            Some(Err(error)) if !keep_going => return Err(error),
            Some(Err(error)) => {
                if is_image {
                    report.skipped.push(Skip::failed(&name, error.to_string()));
                }
                report.rows.push(GuestRows::without_rows(name, scenario, error.to_string()));
            }
        }
        whole += 1;
    }
    if whole < of {
        let because = "interrupted".to_owned();
        report.partial = Some(Partial { because, whole: whole as u64, of: of as u64 });
    }
    report.checked = Some(Checked::of(&report.rows));
    gate::mark(&mut report, scenarios, all);
    report.row_failures = gate::check(&report, scenarios, all);
    Ok(report)
}

/// Checks the tables of one guest, without regard to `[[wrong-rows]]`.
///
/// # Errors
///
/// Whatever keeps it from running to its end.
pub fn check(program: &Program, scenario: &Scenario, name: &str) -> Result<GuestRows, Error> {
    check_until(program, scenario, name, &Interrupt::default())
}

fn check_until(program: &Program, scenario: &Scenario, name: &str, interrupt: &Interrupt) -> Result<GuestRows, Error> {
    let text = &scenario.text;
    let (rows, Testimony { contradiction: void, .. }, ended) =
        judged(program, scenario, interrupt, run::Rows::new(program, left_out(program, text)))?;
    let run::Found { points, distinct_pcs, levels, functions, unread, outside_functions } =
        rows.finish(text.only_run());
    let mut functions = if void.is_some() { Vec::new() } else { functions };
    functions.retain(|function| text.elf.is_none() || !function.is_ours());
    Ok(GuestRows {
        side_by_side: functions.iter().fold(SideBySide::default(), |sum, function| sum.plus(function.side_by_side)),
        bytes: says::bytes(program),
        name: name.to_owned(),
        scenario: scenario.name.clone(),
        void_is_meant: void.as_ref().is_some_and(|reason| scenario.means_void(None, reason)),
        not_judged: None,
        interrupted: ended.interrupted,
        points: if void.is_some() { 0 } else { points },
        distinct_pcs: if void.is_some() { 0 } else { distinct_pcs },
        levels: if void.is_some() { BTreeMap::new() } else { levels },
        functions,
        unread,
        outside_functions,
        void,
    })
}

/// The code of ours that calls a function of somebody's file: nobody asks how right its rows are.
fn left_out(program: &Program, text: &Text) -> Range<u64> {
    let all = program
        .guest
        .symbols
        .functions()
        .iter()
        .filter(|function| text.elf.is_some() && function.name.starts_with(FunctionRows::OURS));
    let ends = all.map(|function| (function.address, function.address.saturating_add(function.size)));
    ends.reduce(|(first, last), (start, end)| (first.min(start), last.max(end)))
        .map_or(0..0, |(first, last)| first..last)
}
