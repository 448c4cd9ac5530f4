//! The atlas on one screen for each CPU: the instructions of a trampoline as rows, the designs as columns, one character each.

use std::io::{self, Write};

use anstyle::Style;

use super::grid::{Line, callees, instructions, is_reached, mark, worst};
use super::text::write_end;
use crate::analysis::atlas::{Interval, Row, State};
use crate::analysis::windows::{FIXES, Strip, Trampoline, trampolines};
use crate::guest::return_hook::PLAIN;
use crate::recording::Recording;
use crate::report::line::{clipped, command, count, listed, wrapped};
use crate::report::style::DIM;

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
    for line in wrapped("", &MARKS.map(|(letter, means)| format!("{letter} {means}")), ("  ", ""), width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The characters: the worst of all kinds of interruption and all starts.
const MARKS: [(char, &str); 8] = [
    ('!', "unsound: claimed, and a caller is missing"),
    ('i', "unsound, but masked or nobody asks so there"),
    ('+', "claimed, something false"),
    ('?', "missing, no claim, could be found"),
    ('~', "flagged or stopped"),
    ('_', "the same, and no rule can find the address"),
    ('=', "right and claimed"),
    ('.', "not interrupted there"),
];

/// The designs as columns, those of a fix together.
struct Grid<'t> {
    strips: &'t [Strip<'t>],
    /// The fix, the number of its columns, and how wide they are with their head.
    groups: Vec<(&'t str, usize, usize)>,
    /// How wide the texts of rows are.
    label: usize,
}

impl<'t> Grid<'t> {
    fn new(strips: &'t [Strip<'t>], lines: &[Line], width: usize) -> Self {
        let groups: Vec<_> = { strips.chunk_by(|one, other| one.fix == other.fix) }
            .map(|strips| (strips[0].fix, strips.len(), strips.len().max(strips[0].fix.len())))
            .collect();
        let grid: usize = groups.iter().map(|(.., width)| width + 1).sum();
        let longest = lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        Self { strips, groups, label: longest.min(width.saturating_sub(grid)).max(SHORTEST) }
    }

    /// The letters that name the columns.
    fn letters(&self) -> impl Iterator<Item = char> {
        LETTERS.chars().cycle().take(self.strips.len())
    }

    /// A line: a text, and a character for each column.
    fn line(&self, text: &str, columns: impl IntoIterator<Item = (char, Style)>) -> String {
        let (label, mut columns) = (self.label, columns.into_iter());
        let mut line = format!("{:<label$}", clipped(text, label));
        for (_, count, width) in &self.groups {
            line.push(' ');
            for (letter, style) in columns.by_ref().take(*count) {
                line += &format!("{style}{letter}{style:#}");
            }
            line.extend(std::iter::repeat_n(' ', width - count));
        }
        line.trim_end().to_owned()
    }
}

fn draw(trampoline: &Trampoline<'_>, rows: &[Row], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let Trampoline { cpu, hook, function, columns, strips } = trampoline;
    let never = (0..columns.len()).filter(|index| !is_reached(strips, *index)).count();
    let never = if never > 0 { format!(", {never} of them in no run") } else { String::new() };
    let title = format!("{cpu}: {function} ({hook}), {}{never}", count(columns.len() as u64, "instruction"));
    writeln!(out, "{}", clipped(&title, width))?;
    let lines = instructions(trampoline);
    let grid = Grid::new(strips, &lines, width);
    let heads: String = grid.groups.iter().map(|(fix, _, width)| format!(" {fix:<width$}")).collect();
    writeln!(out, "{:<1$}{DIM}{heads}{DIM:#}", "", grid.label)?;
    writeln!(out, "{}", grid.line("", grid.letters().map(|letter| (letter, DIM))))?;
    for line in lines.iter().chain([&worst(trampoline)]).chain(&callees(trampoline, rows)) {
        writeln!(out, "{}", grid.line(&line.text, line.cells.iter().map(|cell| mark(*cell))))?;
    }
    for (fix, ..) in &grid.groups {
        let what = FIXES.iter().find(|(name, _)| name == fix).map_or("", |(_, what)| what);
        writeln!(out, "{}", clipped(&format!("  {fix}: {what}"), width))?;
    }
    for line in wrapped("  ", &unwinders(&grid), ("; ", "  "), width) {
        writeln!(out, "{DIM}{line}{DIM:#}")?;
    }
    for line in explained(trampoline, rows).into_iter().flat_map(|text| command(&text, width)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Each unwinder with the letters of its columns.
fn unwinders(grid: &Grid<'_>) -> Vec<String> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for (strip, letter) in grid.strips.iter().zip(grid.letters()) {
        for unwinder in &strip.unwinders {
            match all.iter_mut().find(|(name, _)| name == unwinder) {
                Some((_, letters)) => {
                    letters.push(' ');
                    letters.push(letter);
                }
                None => all.push((unwinder, letter.to_string())),
            }
        }
    }
    all.into_iter().map(|(unwinder, letters)| format!("{unwinder}: {letters}")).collect()
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

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
