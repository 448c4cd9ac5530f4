//! What is printed of a function of somebody's file: one screen, the worst functions first.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::recording::rows::{FunctionRows, GuestRows, Leaf, Part, TableResult, Wrong};
use crate::recording::{CallOutcome, Recording, Section};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();

/// What the names of our own functions beside the program begin with.
const OURS: &str = "harness_";

/// How many functions are shown.
const SHOWN: usize = 12;

/// Writes what came of each call, how the unwinders fared, and how right the rows of each function are.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
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
        own.into_iter().try_for_each(|guest| write_guest(guest, section, out))?;
    }
    match &recording.partial {
        Some(partial) => writeln!(out, "{BAD}{partial}{BAD:#}"),
        None => Ok(()),
    }
}

fn write_call(call: &CallOutcome, out: &mut dyn Write) -> io::Result<()> {
    let cpu = call.scenario.split('/').next().unwrap_or_default();
    writeln!(out, "{cpu}: {}({}) returned {:#x}", call.function, call.arguments.join(", "), call.result)?;
    for changed in &call.changed {
        let text = changed.text().map_or(String::new(), |text| format!("  {text:?}"));
        let dots = if changed.hex.len() < 2 * changed.size { ".." } else { "" };
        writeln!(out, "  argument {} is now {}{dots}{text}", changed.argument, changed.hex)?;
    }
    write!(out, "  {DIM}files: {}", call.files.join(", "))?;
    if !call.absent.is_empty() {
        write!(out, "; not found: {}", call.absent.join(", "))?;
    }
    writeln!(out, "{DIM:#}")
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
        let wrong = counters.unsound + counters.overstated + counters.wrong_flagged + counters.crashed;
        let short = counters.incomplete + counters.cautious;
        write!(out, "  walk {:<width$}  {style}{share:>5.1}% exact{style:#}", column.label())?;
        writeln!(out, "  {wrong} wrong, {short} short or unsure")?;
    }
    Ok(())
}

/// How bad a function's rows are: wrong instructions, then instructions that were not judged.
fn badness(function: &FunctionRows) -> (usize, usize) {
    let tables = || function.tables.iter();
    let wrong = tables().map(|table| table.wrong.len()).sum();
    let open = tables().map(|table| table.unjudged.len() + usize::from(table.has_no_data())).sum();
    (wrong, open)
}

fn write_guest(guest: &GuestRows, section: &Section, out: &mut dyn Write) -> io::Result<()> {
    if let Some(reason) = guest.void.as_ref().or(guest.not_judged.as_ref()) {
        return writeln!(out, "rows {BAD}not judged{BAD:#}: {reason}");
    }
    // Ours are not what was asked for, unless something is wrong with them.
    let is_ours = |function: &&FunctionRows| function.name.starts_with(OURS) && badness(function) == (0, 0);
    let ran = guest.functions.iter().filter(|function| function.ran > 0 && !is_ours(function));
    let mut ran: Vec<&FunctionRows> = ran.collect();
    ran.sort_by_key(|function| std::cmp::Reverse((badness(function), function.points)));
    let shown = &ran[..ran.len().min(SHOWN)];
    let width = shown.iter().map(|function| function.name.len()).max().unwrap_or(0).max(8);
    writeln!(
        out,
        "{DIM}{:<width$} {:>8} {:>9}  {:<6} {:>9} {:>9} {:>9} {:>9}  {:<8} first wrong{DIM:#}",
        "function", "points", "ran", "table", "cfa", "ra", "fp", "saved", "leaf"
    )?;
    for function in shown {
        let ran = format!("{}/{}", function.ran, function.instructions);
        let start = |out: &mut dyn Write| write!(out, "{:<width$} {:>8} {ran:>9}  ", function.name, function.points);
        if badness(function) == (0, 0) {
            let formats: Vec<&str> = function.tables.iter().map(|table| &*table.format).collect();
            let is_leaf = function.tables.iter().any(|table| table.leaf == Leaf::Holds);
            let leaf = if is_leaf { ", and the function is the leaf that they say" } else { "" };
            start(out)?;
            writeln!(out, "{GOOD}{}: right wherever it ran{GOOD:#}{leaf}", formats.join(", "))?;
            continue;
        }
        for table in &function.tables {
            start(out)?;
            write_table(function, table, section, out)?;
        }
    }
    let rest = &ran[shown.len()..];
    if !rest.is_empty() {
        let bad = rest.iter().filter(|function| badness(function) > (0, 0)).count();
        writeln!(out, "and {} more functions, {bad} of them with rows that are wrong or were not judged", rest.len())?;
    }
    if guest.outside_functions > 0 {
        let count = guest.outside_functions;
        writeln!(
            out,
            "{BAD}not judged{BAD:#}: {count} instructions that ran lie in no function and have no unwind data"
        )?;
    }
    let stray = guest.unread.len();
    if stray > 0 {
        writeln!(out, "{BAD}not read{BAD:#}: {stray} entries of unwind data; the first: {}", guest.unread[0].reason)?;
    }
    write_not_run(guest, out)
}

fn write_table(function: &FunctionRows, table: &TableResult, section: &Section, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{:<6}", table.format)?;
    for part in Part::ALL.map(|part| table.part(part)) {
        let is_right = part.is_none_or(|part| part.right == part.judged);
        let style = if is_right { Style::new() } else { BAD };
        let cell = part.map_or("-".to_owned(), |part| format!("{}/{}", part.right, part.judged));
        write!(out, " {style}{cell:>9}{style:#}")?;
    }
    let style = match table.leaf {
        Leaf::Refuted(_) => BAD,
        Leaf::Holds | Leaf::NotClaimed | Leaf::Untested => Style::new(),
    };
    write!(out, "  {style}{:<8}{style:#} ", table.leaf.name())?;
    if table.has_no_data() {
        let why = table.no_data_because.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        return writeln!(out, "no data{why}");
    }
    match (table.wrong.first(), table.unjudged.first()) {
        (Some(wrong), _) => {
            let here = table.wrong.iter().filter(|other| other.offset == wrong.offset);
            let details: Vec<String> =
                here.map(|Wrong { part, detail, .. }| format!("{} {detail}", part.name())).collect();
            let text = instruction(section, &function.name, wrong.offset);
            writeln!(out, "{BAD}+{:#x}{BAD:#} {text}: {}", wrong.offset, details.join("; "))
        }
        (None, Some(open)) => writeln!(out, "+{:#x} not judged: {}", open.first, open.reason),
        (None, None) => writeln!(out, "-"),
    }
}

/// The disassembly of an instruction.
fn instruction(section: &Section, function: &str, offset: u64) -> String {
    let listed = section.functions.iter().find(|listed| listed.name == function);
    let line = listed.and_then(|listed| listed.instructions.iter().find(|line| line.offset == offset));
    line.map_or(String::new(), |line| format!("({})", line.text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// What can be said of functions that did not run, where they were asked for: whether there are rows.
pub(super) fn write_not_run(guest: &GuestRows, out: &mut dyn Write) -> io::Result<()> {
    let idle: Vec<&FunctionRows> = guest.functions.iter().filter(|function| function.ran == 0).collect();
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
        for (name, table) in named.take(SHOWN) {
            let why = table.unjudged.first().map_or("no data", |open| &open.reason);
            writeln!(out, "  {name}: {why}")?;
        }
    }
    Ok(())
}
