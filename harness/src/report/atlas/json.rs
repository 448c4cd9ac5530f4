//! The atlas for machines: schema 2, described in docs/atlas.md.

use std::io::Write;

use serde::Serialize;

use crate::analysis::atlas::{self, Row, State};
use crate::recording::{Partial, Recording};
use crate::subject::Status;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<&'a Partial>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_judged: Vec<NotJudged<'a>>,
    rows: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct NotJudged<'a> {
    run: String,
    reason: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    cpu: &'a str,
    return_hook: &'a str,
    fix: &'a str,
    unwinder: &'a str,
    points: u64,
    unrecoverable: u64,
    not_claimed: u64,
    recovered: u64,
    flagged: u64,
    overstated: u64,
    unsound: u64,
    unsound_reachable: u64,
    unsound_callable: u64,
    unsound_instructions: Vec<String>,
    unsound_callable_instructions: Vec<String>,
    status: &'a Status,
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
    callable: bool,
    walks: u64,
    explain: String,
}

/// Writes the document.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let lines = rows.iter().map(|row| Line {
        cpu: &row.cpu,
        return_hook: &row.return_hook,
        fix: &row.fix,
        unwinder: &row.unwinder,
        points: row.points,
        unrecoverable: row.unrecoverable,
        not_claimed: row.count(State::NotClaimed),
        recovered: row.count(State::Recovered),
        flagged: row.count(State::Flagged),
        overstated: row.count(State::Overstated),
        unsound: row.count(State::Unsound),
        unsound_reachable: row.unsound_reachable,
        unsound_callable: row.callable.unsound_reachable,
        unsound_instructions: row.unsound_instructions().into_iter().map(name).collect(),
        unsound_callable_instructions: row.callable.unsound_instructions.iter().map(name).collect(),
        status: &row.status,
        intervals: row.intervals.iter().map(|interval| line(row, interval)).collect(),
    });
    let not_judged = recording.not_judged().map(|(run, reason)| NotJudged { run, reason }).collect();
    let document = Document { schema: 2, partial: recording.partial.as_ref(), not_judged, rows: lines.collect() };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn name((function, offset): &atlas::Instruction) -> String {
    format!("{function}+{offset:#x}")
}

fn line<'a>(row: &atlas::Row, interval: &'a atlas::Interval) -> Interval<'a> {
    Interval {
        scenario: &interval.scenario,
        variant: interval.variant.as_deref(),
        interrupt: interval.interrupt.name(),
        start: interval.start.name(),
        range: interval.range(),
        state: interval.state.name(),
        unrecoverable: interval.lost,
        address: &interval.places,
        reachable: interval.reachable,
        callable: interval.callable,
        walks: interval.walks,
        explain: interval.command(&row.unwinder),
    }
}
