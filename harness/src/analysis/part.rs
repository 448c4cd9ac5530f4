//! A recording narrowed to a part of its runs. Gates are held over whole runs, and stay as they are.

use crate::recording::rows::{Checked, GuestRows};
use crate::recording::{Counters, Recording, Section, Totals, by_subject};
use crate::scenario::{Part, Range};

/// What a part names, and no run has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// A function; and all that there are, as near names are up to the caller.
    Function(String, Vec<String>),
    /// Instructions of a function that has none there; and the offsets that it has.
    Place(Range, Vec<u64>),
}

/// Narrows a recording.
///
/// # Errors
///
/// What of the part no run has.
pub fn narrow(recording: &mut Recording, part: &Part) -> Result<(), Unknown> {
    require_functions(recording, part)?;
    require_places(recording, part)?;
    recording.sections.retain(|section| part.has_run(section.variant.as_deref(), section.interrupt));
    for section in &mut recording.sections {
        columns(section, part);
        if part.is_of_places() {
            places(section, part);
        }
        section.subjects = by_subject(&section.columns);
    }
    if part.is_of_places() {
        recording.rows.iter_mut().for_each(|guest| rows(guest, part));
        recording.checked = recording.checked.take().map(|_| Checked::of(&recording.rows));
    }
    recording.totals = Totals::of(&recording.sections);
    Ok(())
}

/// Leaves out functions, and counts again. How far a table leads was counted over the whole run, so it is not told of a part.
fn rows(guest: &mut GuestRows, part: &Part) {
    guest.functions.retain(|function| is_named(part, &function.name));
    guest.points = guest.functions.iter().map(|function| function.points).sum();
    guest.distinct_pcs = guest.functions.iter().map(|function| function.ran).sum();
    guest.levels.clear();
}

fn is_named(part: &Part, function: &str) -> bool {
    part.functions.iter().chain(part.places.iter().map(|place| &place.function)).any(|name| name == function)
}

/// A name that no run has is a typing mistake. One that is right but for its case is taken.
fn require_functions(recording: &Recording, part: &Part) -> Result<(), Unknown> {
    let wanted = part.functions.iter().chain(part.places.iter().map(|place| &place.function));
    if wanted.clone().next().is_none() {
        return Ok(());
    }
    let listed = recording.sections.iter().flat_map(|section| section.functions.iter().map(|function| &function.name));
    let checked = recording.rows.iter().flat_map(|guest| guest.functions.iter().map(|function| &function.name));
    let mut all: Vec<String> = listed.chain(checked).cloned().collect();
    all.sort();
    all.dedup();
    match { wanted }.find(|name| !all.contains(name)) {
        Some(unknown) if !all.is_empty() => Err(Unknown::Function(unknown.clone(), all)),
        _ => Ok(()),
    }
}

/// An offset at which no run has an instruction is a typing mistake too.
fn require_places(recording: &Recording, part: &Part) -> Result<(), Unknown> {
    for place in &part.places {
        let functions = recording.sections.iter().flat_map(|section| &section.functions);
        let own = functions.filter(|function| function.name == place.function);
        let mut offsets: Vec<u64> = own.flat_map(|function| &function.instructions).map(|one| one.offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        if !offsets.is_empty() && !offsets.iter().any(|offset| (place.first..=place.last).contains(offset)) {
            return Err(Unknown::Place(place.clone(), offsets));
        }
    }
    Ok(())
}

/// Leaves out unwinders and starts.
fn columns(section: &mut Section, part: &Part) {
    let keep: Vec<bool> = section.columns.iter().map(|column| part.has_walk(&column.name, column.start)).collect();
    if !keep.contains(&false) {
        return; // and what runs share stays shared
    }
    let mut of_columns = keep.iter();
    section.columns.retain(|_| of_columns.next().copied().unwrap_or(false));
    section.findings.retain(|finding| part.has_walk(&finding.subject, finding.start));
    for instruction in section.functions.iter_mut().flat_map(|function| &mut function.instructions) {
        let mut of_runs = keep.iter();
        instruction.runs.retain(|_| of_runs.next().copied().unwrap_or(false));
    }
}

/// Leaves out instructions, and counts again.
fn places(section: &mut Section, part: &Part) {
    for function in &mut section.functions {
        let name = &function.name;
        function.instructions.retain(|instruction| part.has_place(name, instruction.offset));
    }
    section.functions.retain(|function| !function.instructions.is_empty());
    let mut findings = std::mem::take(&mut section.findings);
    findings.retain(|finding| section.offsets(finding).next().is_some());
    section.findings = findings;
    let mut counters = vec![Counters::default(); section.columns.len()];
    (section.points, section.distinct_pcs) = (0, 0);
    for instruction in section.functions.iter().flat_map(|function| &function.instructions) {
        let mut points = 0;
        for (counters, runs) in counters.iter_mut().zip(&instruction.runs) {
            let before = counters.walks;
            runs.iter().for_each(|run| counters.add(run.verdict, run.reachable, run.last - run.first + 1));
            points = points.max(counters.walks - before);
        }
        section.points += points;
        section.distinct_pcs += usize::from(points > 0);
    }
    for (column, counters) in section.columns.iter_mut().zip(counters) {
        column.counters = counters;
    }
}
