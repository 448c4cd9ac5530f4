//! The atlas for people: one line for each row, or where the walks of the rows are not right.

use std::io::Write;

use anstyle::Style;

use crate::analysis::atlas::{Row, State};
use crate::analysis::intervals::{Folded, Window};
use crate::recording::Recording;
use crate::report::line::{command, count, wrapped};
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
        let mut unwinders: Vec<String> = unwinders.iter().map(|name| (*name).to_owned()).collect();
        if let Some(last) = unwinders.last_mut().filter(|_| windows.is_empty()) {
            last.push_str(": right and claimed everywhere");
        }
        for line in wrapped(&format!("{cpu} {hook} {fix}: "), &unwinders, (", ", "  "), width) {
            writeln!(out, "{line}")?;
        }
        for window in windows {
            let style = if window.state == State::Unsound && window.is_real { BAD } else { Style::new() };
            let mut head = format!("  {style}{:<11}{style:#} ", window.state.name());
            for line in wrapped("", &told(window), (", ", ""), width.saturating_sub(INDENT)) {
                writeln!(out, "{head}{line}")?;
                head = " ".repeat(INDENT);
            }
            if window.state == State::Unsound {
                for line in command(&window.command, width) {
                    writeln!(out, "{DIM}{line}{DIM:#}")?;
                }
            }
        }
    }
    write_end(recording, out)
}

/// How far what is told of a window is indented.
const INDENT: usize = 14;

/// A window: where it is, who asks there, and what is to be known of it.
fn told(window: &Window) -> Vec<String> {
    // The starts of the same kinds of interruption together.
    let mut askers: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for (start, kinds) in &window.askers {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        match askers.iter_mut().find(|(others, _)| *others == kinds) {
            Some((_, starts)) => starts.push(start.name()),
            None => askers.push((kinds, vec![start.name()])),
        }
    }
    let mut told = vec![format!("{} ({})", window.range(), count(window.instructions as u64, "instruction"))];
    told.extend(askers.into_iter().map(|(kinds, starts)| format!("{}@{}", kinds.join("/"), starts.join("/"))));
    told.extend(window.lost.then(|| "unrecoverable".to_owned()));
    told.extend((!window.is_real).then(|| "masked or hypothetical".to_owned()));
    told
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
