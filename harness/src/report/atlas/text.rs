//! The atlas for people: one line for each row, and below it, if asked for, where.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::{Row, State};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();

/// Writes the table. With `intervals`, every row is followed by the intervals in which the walks are not right, or no rule can
/// find the address.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], intervals: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let width =
        |text: fn(&Row) -> &str, least: usize| rows.iter().map(|row| text(row).len()).max().unwrap_or(0).max(least);
    let (cpu, rewriter) = (width(|row| &row.cpu, 3), width(|row| &row.rewriter, 8));
    let (fix, unwinder) = (width(|row| &row.fix, 3), width(|row| &row.unwinder, 8));
    writeln!(
        out,
        "{DIM}{:<cpu$}  {:<rewriter$}  {:<fix$}  {:<unwinder$}  {:>7}  {:>13}  {:>7}  {:>7}  {:>9}  {:>7}  {:>9}{DIM:#}",
        "cpu",
        "rewriter",
        "fix",
        "unwinder",
        "points",
        "unrecoverable",
        "skipped",
        "flagged",
        "recovered",
        "unsound",
        "reachable"
    )?;
    for row in rows {
        let unsound = row.count(State::Unsound);
        let style = if unsound > 0 { BAD } else { GOOD };
        writeln!(
            out,
            "{:<cpu$}  {:<rewriter$}  {:<fix$}  {:<unwinder$}  {:>7}  {:>13}  {:>7}  {:>7}  {:>9}  {style}{unsound:>7}  {:>9}{style:#}",
            row.cpu,
            row.rewriter,
            row.fix,
            row.unwinder,
            row.points,
            row.unrecoverable,
            row.count(State::Skipped),
            row.count(State::Flagged),
            row.count(State::Recovered),
            row.unsound_reachable
        )?;
        if intervals {
            write_intervals(row, out)?;
        }
    }
    Ok(())
}

fn write_intervals(row: &Row, out: &mut dyn Write) -> std::io::Result<()> {
    let shown = row.intervals.iter().filter(|interval| interval.state != State::Recovered || interval.lost);
    for interval in shown {
        let lost = if interval.lost { ", unrecoverable" } else { "" };
        let hypothetical = if interval.reachable { "" } else { ", hypothetical" };
        let places = if interval.places.is_empty() { "in its place" } else { &interval.places };
        writeln!(
            out,
            "    {:<9}  {}  {}@{}  {} walks{lost}{hypothetical}  address: {places}",
            interval.state.name(),
            interval.range(),
            interval.interrupt,
            interval.start.name(),
            interval.walks
        )?;
        writeln!(out, "               {DIM}{}{DIM:#}", interval.command())?;
    }
    Ok(())
}
