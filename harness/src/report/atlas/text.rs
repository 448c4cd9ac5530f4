//! The atlas for people: one line for each row, optionally with its intervals below.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use crate::analysis::atlas::{Row, State};
use crate::recording::Recording;

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();

/// Writes the table. With `intervals`, every row is followed by the intervals in which the walks are not right, or no rule can
/// find the address.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], recording: &Recording, intervals: bool, out: &mut dyn Write) -> std::io::Result<()> {
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
        if intervals {
            write_intervals(row, out)?;
        }
    }
    for (run, reason) in recording.not_judged() {
        writeln!(out, "{BAD}not judged{BAD:#}: {run}: {reason}")?;
    }
    match &recording.partial {
        Some(partial) => writeln!(out, "{BAD}{partial}{BAD:#}"),
        None => Ok(()),
    }
}

fn write_intervals(row: &Row, out: &mut dyn Write) -> std::io::Result<()> {
    let shown = row.intervals.iter().filter(|interval| interval.state != State::Recovered || interval.lost);
    for interval in shown {
        let lost = if interval.lost { ", unrecoverable" } else { "" };
        let masked = if interval.reachable { "" } else { ", masked" };
        let asked = if interval.callable { "" } else { ", hypothetical" };
        let places = if interval.places.is_empty() { "in its place" } else { &interval.places };
        writeln!(
            out,
            "    {:<11}  {}  {}@{}  {} walks{lost}{masked}{asked}  address: {places}",
            interval.state.name(),
            interval.range(),
            interval.interrupt.name(),
            interval.start.name(),
            interval.walks
        )?;
        writeln!(out, "               {DIM}{}{DIM:#}", interval.command(&row.unwinder))?;
    }
    Ok(())
}
