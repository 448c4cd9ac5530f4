//! Many scenarios: one line for each unwinder and CPU, if they fit; else those that need no attention share one.

use super::table::Shape;
use crate::analysis::summary::{By, Row, Standing, cpu_of, distinct, rows};
use crate::recording::{Recording, Section};
use crate::report::line::{clipped, count, listed};
use crate::report::style::{BAD, DIM};

/// How much is told of what needs no attention, from most to least.
const LEVELS: [Grouped; 4] = [Grouped::None, Grouped::Quiet, Grouped::Expected, Grouped::All];

/// Which unwinders of a CPU share a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grouped {
    /// None.
    None,
    /// Those that have nothing unsound.
    Quiet,
    /// Those that have nothing new.
    Expected,
    /// All; those with something new are named.
    All,
}

impl Grouped {
    const fn has(self, standing: Standing) -> bool {
        match standing {
            Standing::New(_) => matches!(self, Self::All),
            Standing::NotHeld | Standing::Expected | Standing::PartlyExempt(_) | Standing::Exempt => {
                matches!(self, Self::Expected | Self::All)
            }
            Standing::NoWalk | Standing::NoClaim | Standing::Sound => !matches!(self, Self::None),
        }
    }
}

/// The lines: at most this many, if that is possible at all.
pub(super) fn lines(recording: &Recording, width: usize, most: usize) -> Vec<String> {
    let all: Vec<&Section> = recording.sections.iter().collect();
    let cpus: Vec<(&str, Vec<Row>)> = distinct(&all, cpu_of)
        .into_iter()
        .map(|cpu| (cpu, rows(all.iter().copied().filter(|section| cpu_of(section) == cpu), By::Unwinder)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let mut lines = Vec::new();
    for grouped in LEVELS {
        lines = at(&cpus, grouped, width);
        if lines.len() <= most {
            break;
        }
    }
    lines
}

fn at(cpus: &[(&str, Vec<Row>)], grouped: Grouped, width: usize) -> Vec<String> {
    let is_shown = |row: &&Row| !grouped.has(row.standing());
    let shape = Shape::of(cpus.iter().flat_map(|(_, rows)| rows).filter(is_shown), width);
    let mut lines = Vec::new();
    for (cpu, rows) in cpus {
        let shown: Vec<&Row> = rows.iter().filter(is_shown).collect();
        if shown.is_empty() {
            lines.push((*cpu).to_owned());
        } else {
            lines.push(shape.head(cpu));
            lines.extend(shown.into_iter().map(|row| shape.row(row)));
        }
        let others: Vec<&Row> = rows.iter().filter(|row| !is_shown(row)).collect();
        lines.extend(group(&others, width));
    }
    lines.extend(shape.legend(width));
    lines
}

/// The line of unwinders that have none of their own; two if some of them have something new.
fn group(rows: &[&Row], width: usize) -> Vec<String> {
    let named = |is_its: fn(Standing) -> bool| -> Vec<&str> {
        rows.iter().filter(|row| is_its(row.standing())).map(|row| row.name.as_str()).collect()
    };
    let mut lines = Vec::new();
    let new: Vec<String> = { rows.iter() }
        .filter_map(|row| match row.standing() {
            Standing::New(walks) => Some(format!("{} {walks}", row.name)),
            _ => None,
        })
        .collect();
    if !new.is_empty() {
        let names: Vec<&str> = new.iter().map(String::as_str).collect();
        lines.push(format!("  {BAD}NEW{BAD:#}: {}", listed(&names, width.saturating_sub(7))));
    }
    let quiet = [
        ("sound", named(|standing| standing == Standing::Sound)),
        ("no claim", named(|standing| standing == Standing::NoClaim)),
        ("no walk", named(|standing| standing == Standing::NoWalk)),
        ("not held", named(|standing| standing == Standing::NotHeld)),
        ("expected", named(|standing| standing == Standing::Expected)),
        ("expected or no demand", named(|standing| matches!(standing, Standing::PartlyExempt(_)))),
        ("no demand", named(|standing| standing == Standing::Exempt)),
    ];
    let kinds: Vec<_> = quiet.into_iter().filter(|(_, names)| !names.is_empty()).collect();
    let room = width.saturating_sub(2) / kinds.len().max(1);
    let mut text = String::from(" ");
    for (index, (kind, names)) in kinds.iter().enumerate() {
        let gap = if index > 0 { "; " } else { " " };
        let unsound: u64 = rows.iter().filter(|row| names.contains(&&*row.name)).map(|row| row.counters.unsound).sum();
        let walks = if unsound > 0 { format!(" ({} unsound)", count(unsound, "walk")) } else { String::new() };
        let head = format!("{gap}{kind}{walks}: ");
        text += &head;
        text += &listed(names, room.saturating_sub(head.len()));
    }
    if !kinds.is_empty() {
        lines.push(format!("{DIM}{}{DIM:#}", clipped(&text, width)));
    }
    lines
}
