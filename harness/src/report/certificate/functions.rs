//! The functions of a certificate: the worst first, each with its tables and the first wrong row.

use std::io::{self, Write};

use anstyle::Style;

use super::super::rows::own_convention;
use super::{ROOM, shortened, write_not_run};
use crate::recording::rows::{Agreement, FunctionRows, GuestRows, Leaf, Part, PartResult, TableResult, Wrong};
use crate::recording::{Section, SideBySide};
use crate::report::line::listed;
use crate::report::style::{BAD, DIM, GOOD};

/// How many columns the name of a function may take in the table.
const NAME: usize = 24;

/// How many columns the places may take at which tables differ.
const DIFFERING: usize = 24;

/// How bad a function's rows are: wrong instructions, then instructions that were not judged.
fn badness(function: &FunctionRows) -> (usize, usize) {
    let tables = || function.tables.iter();
    let wrong = tables().map(|table| table.wrong.len()).sum();
    let open = tables().map(|table| table.unjudged.len() + usize::from(table.has_no_data())).sum();
    (wrong, open)
}

/// Writes the rows of a guest.
pub(super) fn write(guest: &GuestRows, section: &Section, all: bool, out: &mut dyn Write) -> io::Result<()> {
    if let Some(reason) = guest.void.as_ref().or(guest.not_judged.as_ref()) {
        return writeln!(out, "rows {BAD}not judged{BAD:#}: {reason}");
    }
    write_side_by_side(guest, out)?;
    // Ours are not what was asked for, unless something is wrong with them.
    let is_ours = |function: &&FunctionRows| function.is_ours() && badness(function) == (0, 0);
    // Of a process, only what the user has asked for is listed.
    let is_asked = |function: &&FunctionRows| section.functions.iter().any(|listed| listed.name == function.name);
    let ran = guest.functions.iter().filter(|function| function.ran > 0 && !is_ours(function));
    let mut ran: Vec<&FunctionRows> = ran.filter(is_asked).collect();
    ran.sort_by_key(|function| std::cmp::Reverse((badness(function), function.points)));
    writeln!(
        out,
        "{DIM}{:<NAME$} {:>7} {:>9}  {:<6} {:>7} {:>7} {:>7} {:>7} {:>7}  leaf{DIM:#}",
        "function", "points", "ran", "table", "cfa", "ra", "fp", "saved", "rows"
    )?;
    let (mut lines, mut shown) = (0, 0);
    for function in &ran {
        let text = block(function, section, all)?;
        let more = text.iter().filter(|byte| **byte == b'\n').count();
        if !all && shown > 0 && lines + more > ROOM {
            break;
        }
        out.write_all(&text)?;
        (lines, shown) = (lines + more, shown + 1);
    }
    let rest = &ran[shown..];
    if !rest.is_empty() {
        let bad = rest.iter().filter(|function| badness(function).0 > 0).count();
        let open = rest.iter().filter(|function| matches!(badness(function), (0, 1..))).count();
        writeln!(
            out,
            "and {} more functions, {bad} with wrong rows, {open} not judged in part: --all shows them",
            rest.len()
        )?;
    }
    if guest.outside_functions > 0 {
        let count = guest.outside_functions;
        writeln!(
            out,
            "{BAD}not judged{BAD:#}: {count} instructions that ran lie in no function and have no unwind data"
        )?;
    }
    write_own_conventions(guest, all, out)?;
    write_unread(guest, all, out)?;
    write_not_run(guest, out)
}

/// Functions that return with callee-saved registers changed.
fn write_own_conventions(guest: &GuestRows, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut changing = guest.functions.iter().filter(|function| !function.changes.is_empty());
    if all {
        return changing.try_for_each(|function| writeln!(out, "{BAD}not judged{BAD:#}: {}", own_convention(function)));
    }
    let each: Vec<String> = changing.map(|it| format!("{} ({})", it.name, it.changes.join(", "))).collect();
    if each.is_empty() {
        return Ok(());
    }
    let text = format!("not judged: registers that these change, by conventions of their own: {}", each.join("; "));
    writeln!(out, "{BAD}{}{BAD:#}", shortened(&text))
}

fn write_unread(guest: &GuestRows, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = guest.unread.first() else { return Ok(()) };
    let count = guest.unread.len();
    if !all {
        let text = shortened(&format!("not read: {count} entries of unwind data; the first: {}", first.reason));
        return writeln!(out, "{BAD}{text}{BAD:#}");
    }
    let mut each = guest.unread.iter();
    each.try_for_each(|unread| writeln!(out, "{BAD}not read{BAD:#}: {}: {}", unread.format, unread.reason))
}

/// SFrame, CFI and frame pointers at every instruction that ran, and what they cost.
fn write_side_by_side(guest: &GuestRows, out: &mut dyn Write) -> io::Result<()> {
    let SideBySide { instructions, all_right, fp_wrong, differ, not_judged, .. } = guest.side_by_side;
    let SideBySide { sframe_missing, sframe_wrong, dwarf_missing, dwarf_wrong, .. } = guest.side_by_side;
    let bytes = guest.bytes;
    let (frames, index) = (bytes.eh_frame, bytes.eh_frame_hdr);
    let sframe = match (bytes.sframe, bytes.sframe_made) {
        (0, made) => format!("{made} (made of the CFI)"),
        (own, made) => format!("{own} in the files ({made} if made of the CFI)"),
    };
    writeln!(out, "at the {instructions} instructions that ran, side by side:")?;
    let sums = format!("all three right {all_right}, not judged {not_judged}");
    let line = format!("  {sums}; SFrame and CFI say different things at {differ}{}", differing(guest));
    writeln!(out, "{}", shortened(&line))?;
    writeln!(out, "  SFrame         wrong {sframe_wrong:>6}, none {sframe_missing:>6}   .sframe {sframe} bytes")?;
    writeln!(
        out,
        "  CFI            wrong {dwarf_wrong:>6}, none {dwarf_missing:>6}   .eh_frame {frames}, .eh_frame_hdr {index} bytes"
    )?;
    writeln!(out, "  frame pointer  wrong {fp_wrong:>6}")
}

/// The first instruction of each function at which two tables say different things.
fn differing(guest: &GuestRows) -> String {
    let first = |function: &FunctionRows| match function.agreement {
        Agreement::Differ(offset) if function.side_by_side.differ > 0 => Some(format!("{}+{offset:#x}", function.name)),
        _ => None,
    };
    let places: Vec<String> = guest.functions.iter().filter_map(first).collect();
    let names: Vec<&str> = places.iter().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!(": {}", listed(&names, DIFFERING)) }
}

/// The lines of one function.
fn block(function: &FunctionRows, section: &Section, all: bool) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let ran = format!("{}/{}", function.ran, function.instructions);
    let cut = function.name.chars().count() > NAME && !all;
    let name: String = match cut {
        true => function.name.chars().take(NAME - 2).chain("..".chars()).collect(),
        false => function.name.clone(),
    };
    let (frame, is_right) = cell(Some(function.frame_pointer));
    write!(out, "{name:<NAME$} {:>7} {ran:>9}  ", function.points)?;
    if badness(function) == (0, 0) {
        let rows = |table: &TableResult| format!("{} ({}/{} rows)", table.format, table.rows_run, table.rows);
        let formats: Vec<String> = function.tables.iter().map(rows).collect();
        let is_leaf = function.tables.iter().any(|table| table.leaf == Leaf::Holds);
        let leaf = if is_leaf { ", a true leaf" } else { "" };
        writeln!(out, "{GOOD}right:{GOOD:#} {}{leaf}; frame pointer {frame}", formats.join(", "))?;
        return Ok(out);
    }
    let indent = " ".repeat(NAME + 8 + 10 + 2);
    for (index, table) in function.tables.iter().enumerate() {
        if index > 0 {
            write!(out, "{indent}")?;
        }
        write_table(table, &mut out)?;
    }
    let (none, style) = ("-", if is_right { Style::new() } else { BAD });
    writeln!(out, "{indent}{:<6} {none:>7} {style}{frame:>7}{style:#}", "frame")?;
    let of_table = |table| if all { ranges(function, table, section) } else { first(function, table, section) };
    let mut lines: Vec<String> = Vec::new();
    for line in function.tables.iter().flat_map(of_table) {
        // What SFrame was made of says the same, and perhaps more.
        match lines.iter_mut().find(|said| line.starts_with(said.as_str()) || said.starts_with(&line)) {
            Some(said) if line.len() > said.len() => *said = line,
            Some(_) => {}
            None => lines.push(line),
        }
    }
    lines.iter().try_for_each(|line| writeln!(out, "{}", if all { line.clone() } else { shortened(line) }))?;
    Ok(out)
}

/// Right of judged, and whether that is all.
fn cell(part: Option<PartResult>) -> (String, bool) {
    match part {
        Some(PartResult { judged: 0, .. }) | None => ("-".to_owned(), true),
        Some(part) => (format!("{}/{}", part.right, part.judged), part.right == part.judged),
    }
}

fn write_table(table: &TableResult, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{:<6}", table.format)?;
    for part in Part::ALL {
        let (text, is_right) = cell(table.part(part));
        let style = if is_right { Style::new() } else { BAD };
        write!(out, " {style}{text:>7}{style:#}")?;
    }
    let rows = format!("{}/{}", table.rows_run, table.rows);
    let style = if matches!(table.leaf, Leaf::Refuted(_)) { BAD } else { Style::new() };
    writeln!(out, " {rows:>7}  {style}{}{style:#}", table.leaf.name())
}

/// What is wrong first, or why it was not judged.
fn first(function: &FunctionRows, table: &TableResult, section: &Section) -> Vec<String> {
    let line = match (table.wrong.first(), table.unjudged.first()) {
        _ if table.has_no_data() => no_data(table),
        (Some(wrong), _) => {
            let here = table.wrong.iter().filter(|other| other.offset == wrong.offset);
            let details: Vec<String> = here.map(|it| format!("{} {}", it.part.name(), it.detail)).collect();
            let text = instruction(section, &function.name, wrong.offset);
            format!("    +{:#x} {text}: {}", wrong.offset, details.join("; "))
        }
        (None, Some(open)) => format!("    +{:#x} not judged: {}", open.first, open.reason),
        (None, None) => return Vec::new(),
    };
    vec![line]
}

fn no_data(table: &TableResult) -> String {
    let why = table.no_data_because.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    format!("    {} has no data{why}", table.format)
}

/// Every range of instructions at which a part is wrong by one row, then every range that was not judged.
fn ranges(function: &FunctionRows, table: &TableResult, section: &Section) -> Vec<String> {
    if table.has_no_data() {
        return vec![no_data(table)];
    }
    let listed = section.functions.iter().find(|listed| listed.name == function.name);
    let offsets: Vec<u64> = listed.iter().flat_map(|it| &it.instructions).map(|line| line.offset).collect();
    let is_next = |before: u64, offset: u64| {
        let at = offsets.iter().position(|other| *other == before);
        at.is_some_and(|at| offsets.get(at + 1) == Some(&offset))
    };
    let mut lines = Vec::new();
    for part in Part::ALL {
        let mut ranges: Vec<(&Wrong, u64)> = Vec::new();
        for wrong in table.wrong.iter().filter(|wrong| wrong.part == part) {
            match ranges.last_mut() {
                Some((first, last))
                    if is_next(*last, wrong.offset) && (&first.detail, &first.row) == (&wrong.detail, &wrong.row) =>
                {
                    *last = wrong.offset;
                }
                _ => ranges.push((wrong, wrong.offset)),
            }
        }
        for (wrong, last) in ranges {
            let end = if last == wrong.offset { String::new() } else { format!("..+{last:#x}") };
            let text = instruction(section, &function.name, wrong.offset);
            lines.push(format!(
                "    {} {} +{:#x}{end} {text}: {}",
                table.format,
                part.name(),
                wrong.offset,
                wrong.detail
            ));
            lines.push(format!("      the row: {}", wrong.row));
        }
    }
    for open in &table.unjudged {
        let end = if open.last == open.first { String::new() } else { format!("..+{:#x}", open.last) };
        lines.push(format!("    {} +{:#x}{end} not judged: {}", table.format, open.first, open.reason));
    }
    lines
}

/// The disassembly of an instruction.
fn instruction(section: &Section, function: &str, offset: u64) -> String {
    let listed = section.functions.iter().find(|listed| listed.name == function);
    let line = listed.and_then(|listed| listed.instructions.iter().find(|line| line.offset == offset));
    line.map_or(String::new(), |line| format!("({})", line.text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_tables_differ_is_told() {
        let mut guest = GuestRows::without_rows("cpu/own".to_owned(), String::new(), String::new());
        let function = |name: &str, agreement| FunctionRows {
            name: name.to_owned(),
            points: 1,
            is_size_inferred: false,
            changes: Vec::new(),
            instructions: 8,
            ran: 1,
            tables: Vec::new(),
            agreement,
            frame_pointer: PartResult::default(),
            side_by_side: SideBySide { differ: 1, ..SideBySide::default() },
        };
        guest.functions = vec![function("same", Agreement::Same), function("stub", Agreement::Differ(16))];
        assert_eq!(differing(&guest), ": stub+0x10");
        guest.functions.pop();
        assert_eq!(differing(&guest), "");
    }
}
