//! The runs that the exhibits need, each once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Group;
use super::deviation::{Outcome, Seen};
use super::exhibit::RunName;
use super::judge::{Judged, judge};
use crate::interrupt::Interrupt;
use crate::pool::in_parallel;
use crate::rows::{FORMATS, check};
use crate::scenario::Scenario;
use crate::suite::{Job, subjects};
use crate::{Error, suite};

/// Runs both halves of every exhibit, and judges them. `all` are the groups of the whole museum: what belongs to an exhibit that
/// was not selected is nobody else's.
///
/// # Errors
///
/// [`Error::Interrupted`] when the user stops it. A guest that fails is an exhibit that is not judged.
pub fn visit(
    root: &Path,
    selected: &[Group],
    all: &[Group],
    threads: Option<usize>,
    interrupt: &Interrupt,
) -> std::result::Result<Judged, Error> {
    let exhibits = selected.iter().flat_map(|group| &group.exhibits);
    let mut names: Vec<RunName> =
        exhibits.flat_map(|exhibit| [exhibit.with_bug(root), exhibit.without_bug(root)]).collect();
    names.sort();
    names.dedup();
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let (of, jobs) = (root.to_path_buf(), names.clone());
    let results = in_parallel(jobs, threads, interrupt, move |name| run(&of, name));
    let mut runs: BTreeMap<RunName, Outcome> = BTreeMap::new();
    for (name, result) in names.into_iter().zip(results) {
        let outcome = match result {
            None | Some(Err(Error::Interrupted)) => return Err(Error::Interrupted),
            Some(Ok(seen)) => Ok(Arc::new(seen)),
            Some(Err(error)) => Err(error.to_string()),
        };
        runs.insert(name, outcome);
    }
    Ok(judge(root, selected, all, &runs))
}

/// One variant with each of its kinds of interruption, and its rows.
fn run(root: &Path, name: &RunName) -> std::result::Result<Seen, Error> {
    let scenario = name.load(root)?;
    let root = name.root(root);
    let variant = scenario.variants().into_iter().find(|variant| variant.name == name.variant);
    let variant = variant.ok_or_else(|| Error::Usage(format!("{name}: no such variant")))?;
    let subjects: suite::Subjects = subjects(scenario.cpu, &[]);
    let mut seen = Seen::default();
    for kind in scenario.text.interrupt.iter().copied() {
        let job = Job { root: &root, scenario: &scenario, variant: &variant, kind };
        seen.add_section(&scenario, &job.run(&subjects)?);
    }
    add_rows(&root, &scenario, &variant, &mut seen)?;
    Ok(seen)
}

fn add_rows(
    root: &Path,
    scenario: &Scenario,
    variant: &crate::scenario::Variant,
    seen: &mut Seen,
) -> std::result::Result<(), Error> {
    let program = scenario.program(root, variant)?;
    if FORMATS.iter().any(|format| program.tables.has(*format)) || !program.tables.unread().is_empty() {
        let rows = check(&program, scenario, &scenario.name).map_err(|error| scenario.blame(variant, error))?;
        seen.add_rows(scenario, &rows);
    }
    Ok(())
}
