//! What `check` found as SARIF 2.1.0: a result for each wrong part of a row, and for each stretch of rows that was not judged. A guest
//! that was not judged, or whose run is void, is a notification, and the invocation was not successful.

use std::io::{self, Write};

use serde_sarif::sarif::{
    Address, Invocation, Location, LogicalLocation, Message, Notification, PhysicalLocation, ReportingDescriptor,
    Result, ResultKind, ResultLevel, Run, SCHEMA_URL, Sarif, Suppression, Tool, ToolComponent,
};

use super::cases::wrong;
use crate::recording::rows::{FunctionRows, GuestRows, Part, TableResult};
use crate::recording::{Novelty, Recording};

/// The rules: the identifier, and what a result under it means.
const RULES: [(&str, &str); 6] = [
    ("wrong-cfa", "The row gives another CFA than the one that the caller really has."),
    ("wrong-ra", "The row gives another return address than the true one, or says that there is none."),
    ("wrong-fp", "The row gives another frame pointer than the caller's."),
    ("wrong-saved", "The row gives another value of a callee-saved register than the caller's."),
    ("not-judged", "The row was not judged, so that nothing is known of it."),
    ("gate", "A demand of a scenario on rows does not hold."),
];

/// Writes what was found of rows.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let mut results: Vec<Result> = Vec::new();
    for guest in recording.rows.iter().filter(|guest| guest.void.is_none() && guest.not_judged.is_none()) {
        for function in guest.functions.iter().filter(|function| function.ran > 0) {
            for table in &function.tables {
                results.extend(wrong_rows(guest, function, table));
                results.extend(unjudged(guest, function, table));
            }
        }
        results.extend(guest.unread.iter().map(|data| {
            let text = format!("{}: {} was not read: {}", guest.name, data.format, data.reason);
            open(text, location(guest, None))
        }));
    }
    results.extend(recording.row_failures.iter().map(|message| {
        let result = Result::builder().rule_id("gate").kind(ResultKind::Fail).level(ResultLevel::Error);
        result.message(text(message)).build()
    }));
    let notes = notifications(recording);
    let failed = notes.iter().any(|note| note.level.as_ref().is_some_and(|level| level == "error"));
    let invocation = Invocation::builder().execution_successful(!failed).tool_execution_notifications(notes).build();
    let rules: Vec<ReportingDescriptor> = RULES
        .iter()
        .map(|(id, means)| ReportingDescriptor::builder().id(*id).short_description(&(*means).to_owned()).build())
        .collect();
    let driver = ToolComponent::builder().name("unwind-harness").version(recording.tool.clone()).rules(rules).build();
    let run = Run::builder().tool(Tool::builder().driver(driver).build());
    let run = run.invocations(vec![invocation]).results(results).build();
    let log = Sarif::builder().version("2.1.0").schema(SCHEMA_URL).runs(vec![run]).build();
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

fn text(text: &str) -> Message {
    Message::builder().text(text).build()
}

/// Where something is: a function of a guest, and the instruction in it.
fn location(guest: &GuestRows, place: Option<(&str, u64)>) -> Location {
    let name = place.map_or_else(|| guest.name.clone(), |(function, _)| function.to_owned());
    let full =
        place.map_or_else(|| guest.name.clone(), |(function, offset)| format!("{}:{function}+{offset:#x}", guest.name));
    let logical = LogicalLocation::builder().name(name).fully_qualified_name(full);
    let logical = logical.kind(if place.is_some() { "function" } else { "module" }).build();
    let location = Location::builder().logical_locations(vec![logical]);
    let Some((function, offset)) = place else { return location.build() };
    let Ok(offset) = i64::try_from(offset) else { return location.build() };
    let address = Address::builder().offset_from_parent(offset).fully_qualified_name(format!("{function}+{offset:#x}"));
    location.physical_location(PhysicalLocation::builder().address(address.build()).build()).build()
}

/// The rule that a wrong part breaks.
const fn rule(part: Part) -> &'static str {
    match part {
        Part::Cfa => RULES[0].0,
        Part::Ra => RULES[1].0,
        Part::Fp => RULES[2].0,
        Part::Saved => RULES[3].0,
    }
}

/// A result that says why nothing is known.
fn open(message: String, location: Location) -> Result {
    let result = Result::builder().rule_id(RULES[4].0).kind(ResultKind::Open).level(ResultLevel::None);
    result.message(text(&message)).locations(vec![location]).build()
}

/// The reasons that the scenarios give, as what silences a result.
fn suppressions(table: &TableResult) -> Vec<Suppression> {
    let reason = |reason: &String| Suppression::builder().kind("external").justification(reason.clone()).build();
    table.because.iter().map(reason).collect()
}

fn wrong_rows<'r>(
    guest: &'r GuestRows,
    function: &'r FunctionRows,
    table: &'r TableResult,
) -> impl Iterator<Item = Result> + 'r {
    table.wrong.iter().map(move |it| {
        let message = format!("{}: {} {}", guest.name, table.format, wrong(function, it));
        let level = if table.wrong_novelty == Some(Novelty::Known) { ResultLevel::Note } else { ResultLevel::Error };
        let result = Result::builder().rule_id(rule(it.part)).kind(ResultKind::Fail).level(level);
        let mut result =
            result.message(text(&message)).locations(vec![location(guest, Some((&function.name, it.offset)))]).build();
        if table.wrong_novelty == Some(Novelty::Known) {
            result.suppressions = Some(suppressions(table));
        }
        result
    })
}

fn unjudged<'r>(
    guest: &'r GuestRows,
    function: &'r FunctionRows,
    table: &'r TableResult,
) -> impl Iterator<Item = Result> + 'r {
    table.unjudged.iter().map(move |it| {
        let (first, last, name) = (it.first, it.last, &function.name);
        let message = format!("{}: {} {name}+{first:#x}..+{last:#x}: {}", guest.name, table.format, it.reason);
        open(message, location(guest, Some((name, first))))
    })
}

/// Guests without a valid result, and what was left out.
fn notifications(recording: &Recording) -> Vec<Notification> {
    let mut notes = Vec::new();
    let mut add = |level: &str, message: String| {
        notes.push(Notification::builder().level(level).message(text(&message)).build());
    };
    for guest in &recording.rows {
        match &guest.void {
            Some(reason) if guest.void_is_meant => {
                add("note", format!("{}: void, as it must be: {reason}", guest.name))
            }
            Some(reason) => add("error", format!("{}: void: {reason}", guest.name)),
            None => {}
        }
        if guest.interrupted {
            add("error", format!("{}: interrupted: the rest of the run may show wrong rows", guest.name));
        }
    }
    for (title, reason) in recording.not_judged() {
        add("error", format!("{title}: not judged: {reason}"));
    }
    for skip in recording.skipped.iter().filter(|skip| !recording.not_judged().any(|(title, _)| title == skip.what)) {
        add(if skip.failed { "error" } else { "note" }, format!("{}: {}", skip.what, skip.reason));
    }
    if let Some(partial) = &recording.partial {
        add("error", partial.to_string());
    }
    notes
}
