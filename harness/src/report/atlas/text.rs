//! The atlas for people: one line for each row, or where the walks of the rows are not right.

use std::io::Write;

use anstyle::Style;

use crate::analysis::atlas::{Row, State};
use crate::analysis::intervals::{Folded, Window};
use crate::recording::Recording;
use crate::report::line::{command, count};
use crate::report::style::{BAD, DIM, GOOD};

/// Writes the table of all rows.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let width =
        |index: usize, head: &str| rows.iter().map(|row| row.names()[index].len()).max().unwrap_or(0).max(head.len());
    let widths: Vec<usize> = Row::NAMES.iter().enumerate().map(|(index, head)| width(index, head)).collect();
    let names = |names: [&str; 4]| {
        let cells = names.iter().zip(&widths).map(|(name, width)| format!("{name:<width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    write!(out, "{DIM}{}", names(Row::NAMES))?;
    for head in Row::COUNTERS {
        write!(out, "  {head:>7}")?;
    }
    writeln!(out, "{DIM:#}")?;
    for row in rows {
        let style = if row.count(State::Unsound) > 0 { BAD } else { GOOD };
        write!(out, "{}", names(row.names()))?;
        for (head, count) in Row::COUNTERS.into_iter().zip(row.counters()) {
            let width = head.len().max(7);
            match head {
                "unsound" | "reachable" | "callable" | "instructions" | "callable instructions" => {
                    write!(out, "  {style}{count:>width$}{style:#}")?
                }
                _ => write!(out, "  {count:>width$}")?,
            }
        }
        writeln!(out)?;
    }
    write_end(recording, out)
}

/// Writes where walks are not right, or no rule can find the address, with the command that explains the worst of each place.
///
/// # Errors
///
/// Those of `out`.
pub fn write_intervals(
    folded: &[Folded<'_>],
    recording: &Recording,
    width: usize,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for Folded { row, unwinders, windows } in folded {
        let [cpu, hook, fix, _] = row.names();
        let all = if windows.is_empty() { ": right and claimed everywhere" } else { "" };
        writeln!(out, "{cpu} {hook} {fix}: {}{all}", unwinders.join(", "))?;
        for window in windows {
            let style = if window.state == State::Unsound && window.is_real { BAD } else { Style::new() };
            writeln!(out, "  {style}{:<11}{style:#} {}", window.state.name(), told(window))?;
            if window.state == State::Unsound {
                for line in command(&window.command, width) {
                    writeln!(out, "{DIM}{line}{DIM:#}")?;
                }
            }
        }
    }
    write_end(recording, out)
}

fn told(window: &Window) -> String {
    let askers = window.askers.iter().map(|(start, kinds)| {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        format!("{}@{}", kinds.join("/"), start.name())
    });
    let lost = if window.lost { ", unrecoverable" } else { "" };
    let asked = if window.is_real { "" } else { ", masked or hypothetical" };
    let askers = askers.collect::<Vec<_>>().join(" ");
    format!("{} ({}), {askers}{lost}{asked}", window.range(), count(window.instructions as u64, "instruction"))
}

/// What is missing.
pub(super) fn write_end(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    for (run, reason) in recording.not_judged() {
        writeln!(out, "{BAD}not judged{BAD:#}: {run}: {reason}")?;
    }
    match &recording.partial {
        Some(partial) => writeln!(out, "{BAD}{partial}{BAD:#}"),
        None => Ok(()),
    }
}
