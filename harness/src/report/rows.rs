//! The table for people: one line for each function that ran and each table that the guest has, then what was not judged.

use std::io::Write;

use anstyle::Style;

use super::skipped;
use crate::recording::rows::{Agreement, FunctionRows, GuestRows, Leaf, Level, Part, TableResult, Unjudged};
use crate::recording::{Novelty, Recording, RunState};
use crate::report::style::{BAD, DIM, GOOD};

/// Writes the tables, the totals and the broken gates. Styles are ANSI codes; the caller strips them where they do not belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let names = report.rows.iter().flat_map(|guest| &guest.functions).filter(|function| function.ran > 0);
    let width = names.map(|function| function.name.len()).max().unwrap_or(0).max(8);
    for guest in &report.rows {
        write_guest(guest, width, out)?;
    }
    write_totals(report, out)?;
    for message in &report.row_failures {
        writeln!(out, "{BAD}gate broken{BAD:#}: {message}")?;
    }
    skipped::write(&report.skipped, out)?;
    if let Some(partial) = &report.partial {
        return writeln!(out, "{BAD}{partial}{BAD:#}");
    }
    let unread = report.unread_images().count();
    if unread > 0 {
        writeln!(out, "{BAD}{unread} images could not be read{BAD:#}")?;
    }
    let not_judged = report.not_judged().count();
    if not_judged > 0 {
        return writeln!(out, "{BAD}{not_judged} of {} guests not judged{BAD:#}", report.rows.len());
    }
    let is_void = report.rows.iter().any(|guest| guest.state() == RunState::Void);
    if !report.row_failures.is_empty() || is_void || unread > 0 {
        return Ok(());
    }
    if report.rows.iter().all(|guest| guest.distinct_pcs == 0 && !guest.void_is_meant) {
        return writeln!(out, "nothing of this ran: 0 instructions judged");
    }
    match exempt(report) {
        (0, 0) => writeln!(
            out,
            "{GOOD}all that was judged is right, or is listed with its reason, and so is what was not judged{GOOD:#}"
        ),
        (wrong, unjudged) => writeln!(
            out,
            "findings in files of others, which break no gate: functions with wrong rows {wrong}, not judged in part {unjudged}"
        ),
    }
}

/// How many functions of others' files have wrong rows in some table, and how many have rows that were not judged.
fn exempt(report: &Recording) -> (usize, usize) {
    let count = |novelty: fn(&TableResult) -> Option<Novelty>| {
        let is_it = |function: &&FunctionRows| function.tables.iter().any(|it| novelty(it) == Some(Novelty::Exempt));
        report.rows.iter().flat_map(|guest| &guest.functions).filter(is_it).count()
    };
    (count(|table| table.wrong_novelty), count(|table| table.unjudged_novelty))
}

fn write_guest(guest: &GuestRows, width: usize, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(reason) = &guest.void {
        let (style, mark) = if guest.void_is_meant { (GOOD, "void as it must be") } else { (BAD, "void") };
        return writeln!(out, "{}: {style}{mark}{style:#}: {reason}\n", guest.name);
    }
    if let Some(reason) = &guest.not_judged {
        return writeln!(out, "{}: {BAD}not judged{BAD:#}: {reason}\n", guest.name);
    }
    if guest.interrupted {
        writeln!(out, "{}: {BAD}interrupted{BAD:#}: these are the results until then", guest.name)?;
    }
    writeln!(
        out,
        "{}\n{DIM}  {:<width$}  {:>8} {:>5} {:>5}  {:<6} {:>7} {:>7} {:>7} {:>7} {:>7}  {:<8}  {:<5}  first wrong{DIM:#}",
        guest.name,
        "function",
        "points",
        "instr",
        "ran",
        "table",
        "covered",
        "cfa",
        "ra",
        "fp",
        "saved",
        "leaf",
        "agree"
    )?;
    for function in guest.functions.iter().filter(|function| function.ran > 0) {
        for table in &function.tables {
            let FunctionRows { name, points, instructions, ran, .. } = function;
            write!(out, "  {name:<width$}  {points:>8} {instructions:>5} {ran:>5}  ")?;
            write_table(function, table, out)?;
        }
    }
    write_unjudged(guest, out)?;
    writeln!(out)
}

/// What a function does that does not keep to the ABI.
pub(super) fn own_convention(function: &FunctionRows) -> String {
    let FunctionRows { name, changes, .. } = function;
    format!(
        "{name} returns with {} changed: either it has a convention of its own, as only its own file can call it, or this is \
         wrong; its callers' values of these registers are not judged while it runs",
        changes.join(", ")
    )
}

/// What was not judged, functions that never ran included where their data cannot be read.
fn write_unjudged(guest: &GuestRows, out: &mut dyn Write) -> std::io::Result<()> {
    for unread in &guest.unread {
        writeln!(out, "  {BAD}not judged{BAD:#}  {}: {}", unread.format, unread.reason)?;
    }
    if guest.outside_functions > 0 {
        let count = guest.outside_functions;
        writeln!(
            out,
            "  {BAD}not judged{BAD:#}  {count} instructions that ran lie in no function: give them a symbol"
        )?;
    }
    for function in guest.functions.iter().filter(|function| !function.changes.is_empty()) {
        writeln!(out, "  {BAD}not judged{BAD:#}  {}", own_convention(function))?;
    }
    for function in &guest.functions {
        for table in &function.tables {
            for Unjudged { first, last, reason } in &table.unjudged {
                let name = &function.name;
                let end = if first == last { String::new() } else { format!("..+{last:#x}") };
                writeln!(out, "  {BAD}not judged{BAD:#}  {}: {name}+{first:#x}{end}: {reason}", table.format)?;
            }
        }
    }
    Ok(())
}

fn write_table(function: &FunctionRows, table: &TableResult, out: &mut dyn Write) -> std::io::Result<()> {
    let covered = if table.has_no_data() { "no data".to_owned() } else { table.covered.to_string() };
    write!(out, "{:<6} {covered:>7} ", table.format)?;
    for part in Part::ALL.map(|part| table.part(part)) {
        let is_right = part.is_none_or(|part| part.right == part.judged);
        let style = if is_right { Style::new() } else { BAD };
        let cell = part.map_or("-".to_owned(), |part| format!("{}/{}", part.right, part.judged));
        write!(out, "{style}{cell:>7}{style:#} ")?;
    }
    let style = match table.leaf {
        Leaf::Refuted(_) => BAD,
        Leaf::Holds => GOOD,
        Leaf::NotClaimed | Leaf::Untested => Style::new(),
    };
    write!(out, " {style}{:<8}{style:#}", table.leaf.name())?;
    let mut end = match function.agreement {
        Agreement::None => "-".to_owned(),
        Agreement::Same => "yes".to_owned(),
        Agreement::Differ(offset) => format!("+{offset:#x}"),
    };
    if let Some(reason) = table.no_data_because.as_ref().filter(|_| table.has_no_data()) {
        end = format!("{end:<5}  {reason}");
    }
    if let Some(offset) = table.first_wrong() {
        let place = format!("{}+{offset:#x}", function.name);
        let here = table.wrong.iter().filter(|wrong| wrong.offset == offset);
        let details: Vec<String> = here.map(|wrong| format!("{} {}", wrong.part.name(), wrong.detail)).collect();
        end = format!("{end:<5}  {place}: {}", details.join("; "));
    }
    writeln!(out, "  {end}")
}

/// How far a table leads, in points.
fn write_level(level: &Level, out: &mut dyn Write) -> std::io::Result<()> {
    let Level { innermost_right, return_addresses_right, exact, no_row, wrong, not_judged } = level;
    let points = innermost_right + no_row + wrong + not_judged;
    write!(
        out,
        "  of {points} points: innermost frame right at {innermost_right}, wrong at {wrong}, no row at {no_row}, not judged at {not_judged}"
    )?;
    match (return_addresses_right, exact) {
        (Some(addresses), Some(exact)) => {
            writeln!(out, "; all return addresses right at {addresses}, all registers too at {exact}")
        }
        _ => writeln!(out, "; whole chains are not walked by rows alone in kernels"),
    }
}

fn write_totals(report: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    for format in ["sframe", "dwarf", "orc"] {
        let functions = || report.rows.iter().flat_map(|guest| &guest.functions);
        let all: Vec<(&FunctionRows, &TableResult)> = functions()
            .flat_map(|function| function.tables.iter().map(move |table| (function, table)))
            .filter(|(_, table)| table.format == format)
            .collect();
        if all.is_empty() {
            continue;
        }
        let tables = || all.iter().map(|(_, table)| *table).filter(|table| table.covered > 0);
        let sum = |count: fn(&TableResult) -> usize| tables().map(count).sum::<usize>();
        let (functions, instructions) = (tables().count(), sum(|table| table.covered));
        let (judged, right) = (sum(|table| table.cfa.judged), sum(|table| table.cfa.right));
        let wrong = tables().filter(|table| table.is_wrong()).count();
        let unjudged = all.iter().filter(|(_, table)| !table.unjudged.is_empty()).count();
        let unreached = all.iter().filter(|(function, table)| function.ran == 0 && table.covered > 0).count();
        let without = all.iter().filter(|(function, table)| function.ran > 0 && table.has_no_data()).count();
        let claims = sum(|table| usize::from(table.leaf != Leaf::NotClaimed));
        let refuted = sum(|table| usize::from(matches!(table.leaf, Leaf::Refuted(_))));
        writeln!(
            out,
            "{format}: {functions} functions, {instructions} instructions; the CFA is right at {right} of {judged} judged; \
             functions: {wrong} with wrong rows, {unjudged} not judged in part, {unreached} never ran, {without} ran without \
             data; {refuted} of {claims} leaf claims false"
        )?;
        if let Some(level) = report.checked.as_ref().and_then(|checked| checked.levels.get(format)) {
            write_level(level, out)?;
        }
    }
    Ok(())
}
