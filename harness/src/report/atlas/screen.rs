//! The atlas on one screen for each CPU: the instructions of a trampoline as rows, the designs as columns, one character each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anstyle::Style;

use super::text::write_end;
use crate::analysis::atlas::{Interval, Row, State};
use crate::analysis::windows::{Cell, FIXES, Strip, Trampoline, badness, trampolines, worst as worst_of};
use crate::guest::return_hook::PLAIN;
use crate::recording::Recording;
use crate::report::line::{clipped, command, count, listed};
use crate::report::style::{BAD, DIM, GOOD, NOTE};

/// More rows than these are folded: neighbours that fare alike in every column are one.
const MOST_ROWS: usize = 32;

/// The least that is shown of an instruction.
const SHORTEST: usize = 16;

/// Draws one trampoline of each CPU, that with the most designs; of the rows of one return hook (`is_one`) every trampoline.
///
/// # Errors
///
/// Those of `out`.
pub fn write(rows: &[Row], recording: &Recording, is_one: bool, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let trampolines = trampolines(recording, rows);
    let mut cpus: Vec<&str> = rows.iter().map(|row| row.cpu.as_str()).collect();
    cpus.dedup();
    write_marks(width, out)?;
    for cpu in cpus {
        let (drawn, others): (Vec<_>, Vec<_>) = { trampolines.iter().filter(|it| it.cpu == cpu).enumerate() }
            .partition(|(number, _)| is_one || *number == 0);
        for (_, trampoline) in drawn {
            writeln!(out)?;
            draw(trampoline, rows, width, out)?;
        }
        let others: Vec<String> = others.iter().map(|(_, it)| format!("{} ({})", it.function, it.hook)).collect();
        if !others.is_empty() {
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            let tail = ": --return-hook NAME";
            writeln!(out, "{DIM}also: {}{tail}{DIM:#}", listed(&others, width.saturating_sub(6 + tail.len())))?;
        }
    }
    writeln!(
        out,
        "{DIM}--intervals: where else, with the commands that explain it; --all: a line for each unwinder{DIM:#}"
    )?;
    write_end(recording, out)
}

/// What the characters mean.
fn write_marks(width: usize, out: &mut dyn Write) -> io::Result<()> {
    for line in wrapped("", &MARKS.map(|(letter, means)| format!("{letter} {means}")), "  ", width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The characters: the worst of all kinds of interruption and all starts.
const MARKS: [(char, &str); 8] = [
    ('!', "unsound: claimed, and a caller is missing"),
    ('i', "unsound, but masked there or nobody asks from that start"),
    ('+', "claimed, something false"),
    ('?', "missing without a claim, though it could be found"),
    ('~', "flagged or stopped"),
    ('_', "the same, and no rule can find the address"),
    ('=', "right and claimed"),
    ('.', "not interrupted there"),
];

fn mark(cell: Option<Cell>) -> (char, Style) {
    let Some(Cell { state, is_real, lost, .. }) = cell else { return (' ', Style::new()) };
    match state {
        Some(State::Unsound) if is_real => ('!', BAD),
        Some(State::Unsound) => ('i', NOTE),
        Some(State::Overstated) => ('+', NOTE),
        Some(State::NotClaimed) => ('?', Style::new()),
        Some(State::Flagged) if lost => ('_', Style::new()),
        Some(State::Flagged) => ('~', Style::new()),
        Some(State::Recovered) => ('=', GOOD),
        None => ('.', DIM),
    }
}

/// The strips of one fix, and how wide they are.
struct Group<'t> {
    fix: &'t str,
    strips: &'t [Strip<'t>],
    width: usize,
}

fn draw(trampoline: &Trampoline<'_>, rows: &[Row], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let Trampoline { cpu, hook, function, columns, strips } = trampoline;
    let groups: Vec<Group<'_>> = { strips.chunk_by(|one, other| one.fix == other.fix) }
        .map(|strips| Group { fix: strips[0].fix, strips, width: strips.len().max(strips[0].fix.len()) })
        .collect();
    let grid: usize = groups.iter().map(|group| group.width + 1).sum();
    let lines = folded(trampoline);
    let longest = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let label = longest.min(width.saturating_sub(grid)).max(SHORTEST);
    let title = format!("{cpu}: {function} ({hook}), {}", count(columns.len() as u64, "instruction"));
    writeln!(out, "{}", clipped(&title, width))?;
    let heads: String = groups.iter().map(|group| format!(" {:<1$}", group.fix, group.width)).collect();
    writeln!(out, "{:<label$}{DIM}{heads}{DIM:#}", "")?;
    let mut letters = LETTERS.chars().cycle();
    let names: Vec<Vec<char>> =
        groups.iter().map(|group| letters.by_ref().take(group.strips.len()).collect()).collect();
    let cells = |cell: &dyn Fn(&Strip<'_>, char) -> (char, Style)| -> String {
        let of = |(group, names): (&Group<'_>, &Vec<char>)| {
            let cells = group.strips.iter().zip(names).map(|(strip, name)| {
                let (letter, style) = cell(strip, *name);
                format!("{style}{letter}{style:#}")
            });
            format!(" {}{:2$}", cells.collect::<String>(), "", group.width - group.strips.len())
        };
        groups.iter().zip(&names).map(of).collect()
    };
    writeln!(out, "{:<label$}{}", "", cells(&|_, name| (name, DIM)).trim_end())?;
    for (text, index) in &lines {
        writeln!(out, "{:<label$}{}", clipped(text, label), cells(&|strip, _| mark(strip.cells[*index])).trim_end())?;
    }
    writeln!(out, "{:<label$}{}", "worst", cells(&|strip, _| mark(worst(strip))).trim_end())?;
    for function in callees(trampoline, rows) {
        let text = clipped(&format!("in {function}"), label);
        let cells = cells(&|strip, _| mark(elsewhere(trampoline, strip, rows, function)));
        writeln!(out, "{text:<label$}{}", cells.trim_end())?;
    }
    for (group, names) in groups.iter().zip(&names) {
        let what = FIXES.iter().find(|(fix, _)| *fix == group.fix).map_or("", |(_, what)| what);
        writeln!(out, "{}", clipped(&format!("  {}: {what}", group.fix), width))?;
        let legend: Vec<String> = { names.iter().zip(group.strips) }
            .map(|(name, strip)| format!("{name} {}", strip.unwinders.join(" ")))
            .collect();
        for line in wrapped("    ", &legend, ", ", width) {
            writeln!(out, "{DIM}{line}{DIM:#}")?;
        }
    }
    for line in explained(trampoline, rows).into_iter().flat_map(|text| command(&text, width)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The most other functions that are shown.
const MOST_CALLEES: usize = 8;

/// The intervals of a strip outside of the trampoline, for the same return hook: in what it calls, and in hooked functions.
fn outside<'r>(
    trampoline: &'r Trampoline<'_>,
    strip: &'r Strip<'_>,
    rows: &'r [Row],
) -> impl Iterator<Item = &'r Interval> {
    let is_its = move |row: &&Row| {
        row.names()[..3] == [trampoline.cpu, trampoline.hook, strip.fix] && strip.unwinders.contains(&&*row.unwinder)
    };
    let intervals = rows.iter().filter(is_its).flat_map(|row| &row.intervals);
    intervals.filter(|interval| interval.function != trampoline.function)
}

/// Other functions in which a walk is unsound, those with the most designs first: the trampoline waits there for its callee, or a
/// return address is hooked.
fn callees<'r>(trampoline: &'r Trampoline<'_>, rows: &'r [Row]) -> Vec<&'r str> {
    let mut designs: BTreeMap<&str, usize> = BTreeMap::new();
    for strip in &trampoline.strips {
        let unsound = outside(trampoline, strip, rows).filter(|it| it.state == State::Unsound);
        let names: BTreeSet<&str> = unsound.map(|it| it.function.as_str()).collect();
        names.into_iter().for_each(|name| *designs.entry(name).or_default() += 1);
    }
    let mut names: Vec<(&str, usize)> = designs.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.into_iter().take(MOST_CALLEES).map(|(name, _)| name).collect()
}

/// The worst of a design in another function.
fn elsewhere(trampoline: &Trampoline<'_>, strip: &Strip<'_>, rows: &[Row], function: &str) -> Option<Cell> {
    let here: Vec<&Interval> = outside(trampoline, strip, rows).filter(|it| it.function == function).collect();
    (!here.is_empty()).then(|| worst_of(&here, 0))
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The rows: texts, and the place of each, the first of those that are one.
fn folded(trampoline: &Trampoline<'_>) -> Vec<(String, usize)> {
    let Trampoline { columns, strips, .. } = trampoline;
    let offset = |index: usize| strips.iter().find_map(|strip| strip.cells[index].map(|cell| cell.offset));
    let marks = |index: usize| -> Vec<char> { strips.iter().map(|strip| mark(strip.cells[index]).0).collect() };
    let text = |index: usize| {
        let offset = offset(index).map_or_else(String::new, |offset| format!("+{offset:#x}"));
        format!("{offset:<6} {}", columns[index].split_whitespace().collect::<Vec<_>>().join(" "))
    };
    if columns.len() <= MOST_ROWS {
        return (0..columns.len()).map(|index| (text(index), index)).collect();
    }
    let all: Vec<usize> = (0..columns.len()).collect();
    let alike = all.chunk_by(|one, other| marks(*one) == marks(*other));
    let of = |alike: &[usize]| {
        let more = if alike.len() > 1 { format!(" .. {} instructions", alike.len()) } else { String::new() };
        (format!("{}{more}", text(alike[0])), alike[0])
    };
    alike.map(of).collect()
}

/// The worst of a design.
fn worst(strip: &Strip<'_>) -> Option<Cell> {
    let judged = strip.cells.iter().flatten().filter(|cell| cell.state.is_some());
    judged.max_by_key(|cell| (cell.state.map_or(0, badness), cell.is_real, cell.lost)).copied()
}

/// The command that explains an unsound walk, if there is one.
fn explained(trampoline: &Trampoline<'_>, rows: &[Row]) -> Option<String> {
    let of_hook = rows.iter().filter(|row| row.names()[..2] == [trampoline.cpu, trampoline.hook]);
    let places: Vec<(&Row, &Interval)> = { of_hook }
        .flat_map(|row| row.intervals.iter().map(move |interval| (row, interval)))
        .filter(|(_, interval)| interval.state == State::Unsound)
        .collect();
    // In the trampoline or what it calls; what can happen, as Linux is, comes first.
    let rank = |(row, interval): &&(&Row, &Interval)| {
        (!(interval.reachable && interval.callable), row.fix != PLAIN, interval.function != trampoline.function)
    };
    places.iter().min_by_key(rank).map(|(row, interval)| interval.command(&row.unwinder))
}

/// Items in as many lines as they need, none longer than the width, if one item fits.
fn wrapped(indent: &str, items: &[String], gap: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.chars().count() + gap.len() + item.chars().count() <= width => {
                line.push_str(gap);
                line.push_str(item);
            }
            _ => lines.push(format!("{indent}{item}")),
        }
    }
    lines
}
