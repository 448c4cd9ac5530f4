//! The atlas for machines: schema 1, described in docs/atlas.md.

use std::io::Write;

use serde::Serialize;

use super::{Row, State};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    rows: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    cpu: &'a str,
    rewriter: &'a str,
    fix: &'a str,
    unwinder: &'a str,
    points: u64,
    unrecoverable: u64,
    skipped: u64,
    recovered: u64,
    flagged: u64,
    overstated: u64,
    unsound: u64,
    unsound_reachable: u64,
    intervals: Vec<Interval<'a>>,
}

#[derive(Serialize)]
struct Interval<'a> {
    scenario: &'a str,
    variant: Option<&'a str>,
    interrupt: &'a str,
    start: &'a str,
    range: String,
    state: &'a str,
    unrecoverable: bool,
    address: &'a str,
    reachable: bool,
    walks: u64,
    explain: String,
}

/// Writes the document.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], out: &mut dyn Write) -> std::io::Result<()> {
    let lines = rows.iter().map(|row| Line {
        cpu: &row.cpu,
        rewriter: &row.rewriter,
        fix: &row.fix,
        unwinder: &row.unwinder,
        points: row.points,
        unrecoverable: row.unrecoverable,
        skipped: row.count(State::Skipped),
        recovered: row.count(State::Recovered),
        flagged: row.count(State::Flagged),
        overstated: row.count(State::Overstated),
        unsound: row.count(State::Unsound),
        unsound_reachable: row.unsound_reachable,
        intervals: row.intervals.iter().map(line).collect(),
    });
    serde_json::to_writer_pretty(&mut *out, &Document { schema: 1, rows: lines.collect() })?;
    writeln!(out)
}

fn line(interval: &super::Interval) -> Interval<'_> {
    Interval {
        scenario: &interval.scenario,
        variant: interval.variant.as_deref(),
        interrupt: interval.interrupt,
        start: interval.start.name(),
        range: interval.range(),
        state: interval.state.name(),
        unrecoverable: interval.lost,
        address: &interval.places,
        reachable: interval.reachable,
        walks: interval.walks,
        explain: interval.command(),
    }
}
