//! What is printed of a function of somebody's file: one screen, the worst functions first.

mod functions;

use std::io::{self, Write};

use crate::recording::rows::{FunctionRows, GuestRows, Leaf, TableResult};
use crate::recording::{CallOutcome, Recording, Section};
use crate::report::screen;
use crate::report::style::{BAD, DIM, GOOD};

/// How many lines the functions may take, so that all fits on one screen of 40 lines.
const ROOM: usize = 21;

/// How many lines tell what a call returned, at most.
const OF_CALL: usize = 4;

/// How many columns a line has.
const WIDTH: usize = 100;

/// How many functions that did not run are named for each table.
const NAMED: usize = 12;

/// Writes what came of each call, how the unwinders fared, how right the rows of each function are, and which gates are broken: on one
/// screen, or with `all` every function, and each range of instructions where a row is wrong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, all: bool, out: &mut dyn Write) -> io::Result<()> {
    for section in &recording.sections {
        match recording.calls.iter().find(|call| call.scenario == section.scenario) {
            Some(call) => write_call(call, out)?,
            None => writeln!(out, "{}", section.scenario)?,
        }
        if let Some(reason) = &section.not_judged {
            writeln!(out, "{BAD}not judged{BAD:#}: {reason}")?;
            continue;
        }
        if let Some(reason) = &section.void {
            writeln!(out, "{BAD}void{BAD:#}: {reason}")?;
            continue;
        }
        write_walks(section, out)?;
        let own = recording.rows.iter().filter(|guest| guest.scenario == section.scenario);
        own.into_iter().try_for_each(|guest| functions::write(guest, section, all, out))?;
    }
    screen::gates(recording, all, WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    match &recording.partial {
        Some(partial) => writeln!(out, "{BAD}{partial}{BAD:#}"),
        None => Ok(()),
    }
}

fn write_call(call: &CallOutcome, out: &mut dyn Write) -> io::Result<()> {
    let cpu = call.scenario.split('/').next().unwrap_or_default();
    write!(out, "{cpu}: {}({}) returned {:#x}", call.function, call.arguments.join(", "), call.result)?;
    match call.float_result.as_ref().filter(|_| call.is_plausible_float()) {
        Some(float) => writeln!(out, "; the register of floating-point results holds {float}")?,
        None => writeln!(out)?,
    }
    let more = call.changed.len().saturating_sub(OF_CALL);
    for changed in call.changed.iter().take(OF_CALL) {
        let text = changed.text().map_or(String::new(), |text| format!("  {text:?}"));
        let dots = if changed.hex.len() < 2 * changed.size { ".." } else { "" };
        let line = format!("  argument {} is now {}{dots}{text}", changed.argument, changed.hex);
        writeln!(out, "{}", shortened(&line))?;
    }
    if more > 0 {
        writeln!(out, "  and {more} more arguments have changed (--json)")?;
    }
    for (name, text) in [("standard output", &call.output), ("standard error", &call.error_output)] {
        if !text.is_empty() {
            writeln!(out, "{}", shortened(&format!("  it wrote to {name}: {text:?}")))?;
        }
    }
    if call.files.is_empty() {
        return Ok(());
    }
    write!(out, "  {DIM}files: {}", call.files.join(", "))?;
    if !call.absent.is_empty() {
        write!(out, "; not found: {}", call.absent.join(", "))?;
    }
    writeln!(out, "{DIM:#}")?;
    if let Some(first) = call.constructors_not_run.first() {
        let count = call.constructors_not_run.len();
        let of = count + call.constructors;
        let line = format!("  {count} of {of} constructors have not run, as they need a whole program: {first}");
        writeln!(out, "{BAD}{}{BAD:#}", shortened(&line))?;
    }
    Ok(())
}

fn write_walks(section: &Section, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} points, {} distinct instructions", section.points, section.distinct_pcs)?;
    if section.interrupted {
        writeln!(out, "{BAD}interrupted{BAD:#}: these are the results until then")?;
    }
    let width = section.columns.iter().map(|column| column.label().len()).max().unwrap_or(0);
    for column in &section.columns {
        let counters = &column.counters;
        let share = 100.0 * counters.exact as f64 / counters.walks.max(1) as f64;
        let style = if counters.exact == counters.walks { GOOD } else { BAD };
        let wrong = counters.unsound + counters.overstated + counters.wrong_flagged + counters.lost();
        let short = counters.incomplete + counters.cautious;
        write!(out, "  walk {:<width$}  {style}{share:>5.1}% exact{style:#}", column.label())?;
        writeln!(out, "  {wrong} wrong, {short} short or unsure")?;
    }
    Ok(())
}

/// A line, cut to the width of the screen.
fn shortened(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 2).chain("..".chars()).collect()
}

/// What can be said of functions that did not run, where they were asked for: whether there are rows.
///
/// # Errors
///
/// Those of `out`.
pub fn write_not_run(guest: &GuestRows, out: &mut dyn Write) -> io::Result<()> {
    let is_idle = |function: &&FunctionRows| function.ran == 0 && !function.is_ours() && !function.is_stub();
    let idle: Vec<&FunctionRows> = guest.functions.iter().filter(is_idle).collect();
    let Some(first) = idle.first() else { return Ok(()) };
    for format in first.tables.iter().map(|table| &table.format) {
        let of = |function: &&&FunctionRows| function.tables.iter().find(|table| table.format == *format).cloned();
        let tables: Vec<(&str, TableResult)> =
            idle.iter().filter_map(|function| Some((&*function.name, of(&function)?))).collect();
        let none = tables.iter().filter(|(_, table)| table.has_no_data()).count();
        let open = tables.iter().filter(|(_, table)| !table.unjudged.is_empty()).count();
        let claims = tables.iter().filter(|(_, table)| table.leaf == Leaf::Untested).count();
        writeln!(
            out,
            "{format}: {} functions did not run, and their rows were not judged: {none} have no data, {open} have rows that \
             cannot be read, {claims} are said to be leaves",
            tables.len()
        )?;
        let named = tables.iter().filter(|(_, table)| !table.unjudged.is_empty() || table.has_no_data());
        for (name, table) in named.take(NAMED) {
            let why = table.unjudged.first().map_or("no data", |open| &open.reason);
            writeln!(out, "  {name}: {why}")?;
        }
    }
    Ok(())
}
