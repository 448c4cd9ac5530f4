//! The full page of `run --listing`: the disassembly of every instruction, with one column of verdicts for each subject.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use crate::experiment::LeftOut;
use crate::recording::{ListedFunction, ListedInstruction, Run, Section};
use crate::scenario::Interruption;
use crate::verdict::Verdict;

/// How much was judged, and how much was not: `33 points at 27 instructions; 60 arrivals not judged`.
pub(super) fn points(section: &Section) -> String {
    let mut text = format!("{} points at {} instructions", section.points, section.distinct_pcs);
    let LeftOut { arrivals, other_states } = section.left_out;
    if arrivals > 0 {
        text += &format!("; {arrivals} arrivals not judged");
    }
    if other_states > 0 {
        text += &format!(", {other_states} of them in states that no point has");
    }
    text
}

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
    if let Some(reason) = &section.not_judged {
        return writeln!(out, "not judged: {reason}");
    }
    if section.interrupted {
        writeln!(out, "interrupted: these are the verdicts until then")?;
    }
    writeln!(out, "{}", points(section))?;
    if let Some((all, folded)) = section.outer {
        writeln!(
            out,
            "nested in {folded} of {all} exceptions: the others have the same pc, SP, frame pointer and true trace"
        )?;
    }
    for (place, count) in &section.unwitnessed {
        writeln!(out, "unwitnessed: {place} x{count}")?;
    }
    for subject in &section.columns {
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
        let outside = if subject.reads_outside_stacks > 0 {
            format!(", {} read outside of their stacks", subject.reads_outside_stacks)
        } else {
            String::new()
        };
        writeln!(out, "{}: {} walks, {}{outside}", subject.label(), counters.walks, parts.join(", "))?;
    }
    let columns = Columns::new(section);
    for function in &section.functions {
        writeln!(out)?;
        columns.function(function, out)?;
    }
    Ok(())
}

/// A column: one subject, from one start or from several with the same verdicts everywhere.
struct Column {
    /// The index in the section of the first start that shares it.
    subject: usize,
    label: String,
    width: usize,
}

/// The columns of a section, and their widths.
struct Columns {
    /// Whether cells count verdicts instead of giving them in order.
    counts: bool,
    text: usize,
    arrivals: usize,
    /// The width of the column of displaced return addresses; 0 without one.
    address: usize,
    subjects: Vec<Column>,
}

impl Columns {
    fn new(section: &Section) -> Self {
        let instructions = || section.functions.iter().flat_map(|function| &function.instructions);
        let text = instructions().map(|instruction| instruction.text.chars().count()).max().unwrap_or(0);
        let counts_verdicts = section.interrupt == Interruption::Corrupt;
        let mut subjects: Vec<Column> = Vec::new();
        for (index, subject) in section.columns.iter().enumerate() {
            let says_the_same = |column: &&mut Column| {
                section.columns[column.subject].name == subject.name
                    && instructions().all(|it| it.runs.get(index) == it.runs.get(column.subject))
            };
            if let Some(column) = subjects.iter_mut().find(says_the_same) {
                column.label += &format!(",{}", subject.start.name());
                column.width = column.width.max(column.label.len());
                continue;
            }
            let runs = instructions().flat_map(|instruction| instruction.runs.get(index).into_iter().flatten());
            let widest = if counts_verdicts {
                let cells = instructions().filter_map(|instruction| instruction.runs.get(index));
                cells.map(|runs| counts(runs).len()).max().unwrap_or(0)
            } else {
                runs.map(|run| run.verdict.to_string().len()).max().unwrap_or(0)
            };
            let label = subject.label();
            subjects.push(Column { subject: index, width: widest.max(label.len()), label });
        }
        let widths = instructions().flat_map(arrivals).map(|(_, name)| name.len());
        let arrivals = if counts_verdicts { 12 } else { widths.max().unwrap_or(0).max(12) };
        let places = instructions().flat_map(|instruction| &instruction.addresses).map(|run| run.places.len());
        let address = places.max().map_or(0, |widest| widest.max("address".len()));
        Self { counts: counts_verdicts, text, arrivals, address, subjects }
    }

    fn function(&self, function: &ListedFunction, out: &mut dyn Write) -> std::io::Result<()> {
        let heading = format!("{}:", function.name);
        let mut line =
            format!("{heading:<width$}  {:<arrivals$}", "arrivals", width = self.text + 10, arrivals = self.arrivals);
        if self.address > 0 {
            line += &format!("  {:<width$}", "address", width = self.address);
        }
        for Column { label, width, .. } in &self.subjects {
            line += &format!("  {label:<width$}");
        }
        writeln!(out, "{}", line.trim_end())?;
        for instruction in &function.instructions {
            if self.counts { self.counted(instruction, out)? } else { self.instruction(instruction, out)? }
        }
        Ok(())
    }

    /// For corrupt stacks, where each arrival has many damaged copies in no meaningful order: each cell counts verdicts.
    fn counted(&self, instruction: &ListedInstruction, out: &mut dyn Write) -> std::io::Result<()> {
        let place = format!("  +{:<#6x} {:<width$}", instruction.offset, instruction.text, width = self.text);
        let walks = instruction.runs.iter().flatten().map(|run| run.last).max();
        let Some(walks) = walks else { return writeln!(out, "{}", place.trim_end()) };
        let mut line = format!("{place}  {walks:<width$}", width = self.arrivals);
        for Column { subject, width, .. } in &self.subjects {
            line += &format!("  {:<width$}", counts(&instruction.runs[*subject]));
        }
        writeln!(out, "{}", line.trim_end())
    }

    /// One line for each run of arrivals in which no verdict changes.
    fn instruction(&self, instruction: &ListedInstruction, out: &mut dyn Write) -> std::io::Result<()> {
        let place = format!("  +{:<#6x} {:<width$}", instruction.offset, instruction.text, width = self.text);
        let lines = arrivals(instruction);
        if lines.is_empty() {
            return writeln!(out, "{}", place.trim_end());
        }
        for (index, (first, arrivals)) in lines.iter().enumerate() {
            let mut line = if index == 0 { place.clone() } else { " ".repeat(place.chars().count()) };
            line += &format!("  {arrivals:<width$}", width = self.arrivals);
            if self.address > 0 {
                let places = instruction.displaced(*first).map_or("", |run| run.places.as_str());
                line += &format!("  {places:<width$}", width = self.address);
            }
            for Column { subject, width, .. } in &self.subjects {
                let verdict =
                    at(&instruction.runs[*subject], *first).map(|run| run.verdict.to_string()).unwrap_or_default();
                line += &format!("  {verdict:<width$}");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The lines of an instruction: each is of judged arrivals in a row that are alike in all columns. The first arrival of each, and
/// what to call them.
fn arrivals(instruction: &ListedInstruction) -> Vec<(u64, String)> {
    let runs = || instruction.runs.iter().flatten();
    // A verdict can change, and a displaced address move, only here.
    let moves = instruction.addresses.iter().flat_map(|run| [run.first, run.last + 1]);
    let bounds: BTreeSet<u64> = runs().flat_map(|run| [run.first, run.last + 1]).chain(moves).collect();
    let bounds: Vec<u64> = bounds.into_iter().collect();
    let says = |arrival: u64| {
        let verdicts = instruction.runs.iter().map(|runs| at(runs, arrival).map(|run| (run.verdict, run.reachable)));
        (verdicts.collect::<Vec<_>>(), instruction.displaced(arrival).map(|run| &run.places))
    };
    // The first, the last and how many. Arrivals that were not judged do not part those around them.
    let mut lines: Vec<(u64, u64, u64)> = Vec::new();
    for pair in bounds.windows(2) {
        let (first, last) = (pair[0], pair[1] - 1);
        if !runs().any(|run| (run.first..=run.last).contains(&first)) {
            continue;
        }
        match lines.last_mut() {
            Some((_, until, count)) if says(*until) == says(first) => {
                *until = last;
                *count += pair[1] - first;
            }
            _ => lines.push((first, last, pair[1] - first)),
        }
    }
    let is_alone = lines.len() == 1;
    let name = |(first, last, count): (u64, u64, u64)| {
        let mut name = match count {
            _ if is_alone && count < instruction.visits => format!("{count} of {}", instruction.visits),
            _ if is_alone => count.to_string(),
            1 => format!("#{first}"),
            _ if count <= last - first => format!("#{first}..#{last} ({count})"),
            _ => format!("#{first}..#{last}"),
        };
        if instruction.split {
            name += " split";
        }
        let is_masked = instruction.runs.iter().filter_map(|runs| at(runs, first)).any(|run| !run.reachable);
        (first, if is_masked { format!("{name} masked") } else { name })
    };
    lines.into_iter().map(name).collect()
}

/// How many walks had which verdict, from the worst to the best.
fn counts(runs: &[Run]) -> String {
    let mut counts: BTreeMap<Verdict, u64> = BTreeMap::new();
    for run in runs {
        *counts.entry(run.verdict).or_default() += run.last - run.first + 1;
    }
    counts.iter().map(|(verdict, count)| format!("{count}{verdict}")).collect::<Vec<_>>().join(" ")
}

/// The run that holds an arrival.
fn at(runs: &[Run], arrival: u64) -> Option<&Run> {
    runs.iter().find(|run| (run.first..=run.last).contains(&arrival))
}
