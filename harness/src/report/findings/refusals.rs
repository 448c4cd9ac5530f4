//! Where reliable walks refuse what is right: docs/data/refusals.md.

use std::io::Write;

use crate::recording::{Recording, Section};
use crate::subject::Start;
use crate::verdict::Verdict;

/// How often the reliable form of an unwinder refuses where its best-effort form is right.
pub(super) fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "Walks that the best-effort form gets right, and how many of those the reliable form claims.\n")?;
    writeln!(out, "| unwinder | interruption | start | in Linux | right | claimed |\n|---|---|---|---|---:|---:|")?;
    let mut rows: Vec<(String, &'static str, Start, u64, u64, &'static str)> = Vec::new();
    for section in recording.sections.iter().filter(|section| section.void.is_none()) {
        for (best_effort, reliable) in pairs(section) {
            let (right, claimed) = compare(section, best_effort, reliable);
            let subject = &section.columns[reliable];
            let same = rows
                .iter_mut()
                .find(|row| (&row.0, row.1, row.2) == (&subject.name, section.interrupt.name(), subject.start));
            match same {
                Some(row) => {
                    row.3 += right;
                    row.4 += claimed;
                }
                None => {
                    let asked = if subject.is_callable() { "callable" } else { "hypothetical" };
                    rows.push((subject.name.clone(), section.interrupt.name(), subject.start, right, claimed, asked));
                }
            }
        }
    }
    rows.sort();
    for (name, interrupt, start, right, claimed, asked) in rows {
        writeln!(out, "| {name} | {interrupt} | {} | {asked} | {right} | {claimed} |", start.name())?;
    }
    Ok(())
}

/// The columns of both forms of the unwinders that have both.
fn pairs(section: &Section) -> impl Iterator<Item = (usize, usize)> + '_ {
    section.columns.iter().enumerate().filter_map(|(reliable, subject)| {
        let sibling = format!("{}:best-effort", subject.name);
        let best_effort =
            section.columns.iter().position(|other| other.name == sibling && other.start == subject.start)?;
        Some((best_effort, reliable))
    })
}

/// How many walks of one column are exact, and how many of those are exact in the other column too.
fn compare(section: &Section, best_effort: usize, reliable: usize) -> (u64, u64) {
    let mut counts = (0, 0);
    for instruction in section.functions.iter().flat_map(|function| &function.instructions) {
        let (Some(best), Some(rest)) = (instruction.runs.get(best_effort), instruction.runs.get(reliable)) else {
            continue;
        };
        for run in best.iter().filter(|run| run.verdict == Verdict::Exact) {
            counts.0 += run.last - run.first + 1;
            let claimed = rest.iter().filter(|other| other.verdict == Verdict::Exact);
            counts.1 += claimed
                .map(|other| (other.last.min(run.last) + 1).saturating_sub(other.first.max(run.first)))
                .sum::<u64>();
        }
    }
    counts
}
