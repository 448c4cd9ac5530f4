//! The annotated listing: the disassembly with one column of verdicts for each subject, so that a changed line of a snapshot
//! is an instruction.

use std::collections::BTreeSet;
use std::io::Write;

use super::{Function, Instruction, Section};
use crate::sweep::Run;

/// Writes the listing of one section.
///
/// # Errors
///
/// Those of `out`.
pub fn write(section: &Section, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{}", section.title())?;
    if let Some(reason) = &section.void {
        return writeln!(out, "void: {reason}");
    }
    writeln!(out, "{} points at {} instructions", section.points, section.distinct_pcs)?;
    if let Some((all, folded)) = section.outer {
        writeln!(out, "nested in {folded} of {all} exceptions: the others have the same pc and the same true trace")?;
    }
    for (place, count) in &section.unwitnessed {
        writeln!(out, "unwitnessed: {place} x{count}")?;
    }
    for subject in &section.subjects {
        let counters = &subject.counters;
        let parts = [
            ("exact", counters.exact),
            ("cautious", counters.cautious),
            ("incomplete", counters.incomplete),
            ("wrong but flagged", counters.wrong_flagged),
            ("overstated", counters.overstated),
            ("unsound", counters.unsound),
        ];
        let parts: Vec<_> =
            parts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(out, "{}: {} walks, {}", subject.label(), counters.walks, parts.join(", "))?;
    }
    let columns = Columns::new(section);
    for function in &section.functions {
        writeln!(out)?;
        columns.function(section, function, out)?;
    }
    Ok(())
}

/// The widths of a section's columns.
struct Columns {
    text: usize,
    subjects: Vec<usize>,
}

impl Columns {
    fn new(section: &Section) -> Self {
        let instructions = || section.functions.iter().flat_map(|function| &function.instructions);
        let text = instructions().map(|instruction| instruction.text.chars().count()).max().unwrap_or(0);
        let subjects = section.subjects.iter().enumerate().map(|(index, subject)| {
            let runs = instructions().flat_map(|instruction| instruction.runs.get(index).into_iter().flatten());
            let widest = runs.map(|run| run.verdict.to_string().len()).max().unwrap_or(0);
            widest.max(subject.label().len())
        });
        Self { text, subjects: subjects.collect() }
    }

    fn function(&self, section: &Section, function: &Function, out: &mut dyn Write) -> std::io::Result<()> {
        let heading = format!("{}:", function.name);
        let mut line = format!("{heading:<width$}  {:<12}", "arrivals", width = self.text + 10);
        for (subject, width) in section.subjects.iter().zip(&self.subjects) {
            line += &format!("  {:<width$}", subject.label());
        }
        writeln!(out, "{}", line.trim_end())?;
        for instruction in &function.instructions {
            self.instruction(instruction, out)?;
        }
        Ok(())
    }

    /// One line for each stretch of arrivals in which no subject's verdict changes.
    fn instruction(&self, instruction: &Instruction, out: &mut dyn Write) -> std::io::Result<()> {
        let place = format!("  +{:<#6x} {:<width$}", instruction.offset, instruction.text, width = self.text);
        let is_hypothetical =
            |arrival: u64| instruction.runs.iter().filter_map(|runs| at(runs, arrival)).any(|run| !run.reachable);
        let starts: BTreeSet<u64> = instruction.runs.iter().flatten().map(|run| run.first).collect();
        let last = instruction.runs.iter().flatten().map(|run| run.last).max();
        let Some(last) = last else { return writeln!(out, "{}", place.trim_end()) };
        let starts: Vec<u64> = starts.into_iter().collect();
        for (index, first) in starts.iter().enumerate() {
            let until = starts.get(index + 1).map_or(last, |next| next - 1);
            let arrivals = match (index, starts.len()) {
                (_, 1) if last < instruction.visits => format!("{last} of {}", instruction.visits),
                (_, 1) => last.to_string(),
                _ if *first == until => format!("#{first}"),
                _ => format!("#{first}..#{until}"),
            };
            let arrivals = if is_hypothetical(*first) { format!("{arrivals} hyp") } else { arrivals };
            let mut line = if index == 0 { place.clone() } else { " ".repeat(place.chars().count()) };
            line += &format!("  {arrivals:<12}");
            for (runs, width) in instruction.runs.iter().zip(&self.subjects) {
                let verdict = at(runs, *first).map(|run| run.verdict.to_string()).unwrap_or_default();
                line += &format!("  {verdict:<width$}");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The run that holds an arrival.
fn at(runs: &[Run], arrival: u64) -> Option<&Run> {
    runs.iter().find(|run| (run.first..=run.last).contains(&arrival))
}
