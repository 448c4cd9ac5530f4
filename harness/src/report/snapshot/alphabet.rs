//! One character for each verdict, the same in all snapshots, and the run-length form of many arrivals.

use crate::verdict::{Deviation, Verdict};

/// The letter of a flagged deviation; its capital is the same deviation claimed to be right.
const fn letter(kind: Deviation) -> char {
    match kind {
        Deviation::Skipped => 's',
        Deviation::Truncated => 't',
        Deviation::Substituted => 'u',
        Deviation::Invented => 'i',
        Deviation::Repeated => 'r',
        Deviation::State => 'x',
        Deviation::Dead => 'd',
    }
}

/// No walk.
const GAP: char = '.';

/// The same as the column before, where that one varies from arrival to arrival.
const DITTO: char = '"';

/// Arrivals in a row with one verdict, or without a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Stretch {
    pub(in crate::report) verdict: Option<Verdict>,
    /// How many arrivals.
    pub(in crate::report) count: u64,
}

/// One column at one instruction: the stretches from the first arrival to the last.
pub(in crate::report) type Cell = Vec<Stretch>;

/// Appends a stretch to a cell.
pub(in crate::report) fn append(cell: &mut Cell, verdict: Option<Verdict>, count: u64) {
    match cell.last_mut() {
        Some(last) if last.verdict == verdict => last.count = last.count.saturating_add(count),
        _ if count > 0 => cell.push(Stretch { verdict, count }),
        _ => {}
    }
}

/// How many arrivals a cell covers.
pub(in crate::report) fn length(cell: &Cell) -> u64 {
    cell.iter().fold(0, |sum, stretch| sum.saturating_add(stretch.count))
}

/// The arrivals in these ranges alone.
pub(in crate::report) fn only(cell: &Cell, ranges: &[(u64, u64)]) -> Cell {
    let mut part = Cell::new();
    let mut first = 1;
    for stretch in cell {
        let last = first + stretch.count - 1;
        for (from, to) in ranges {
            let (low, high) = ((*from).max(first), (*to).min(last));
            append(&mut part, stretch.verdict, (high + 1).saturating_sub(low));
        }
        first = last + 1;
    }
    part
}

/// The verdict at an arrival, from 1.
pub(in crate::report) fn at(cell: &Cell, arrival: u64) -> Option<Verdict> {
    let mut last = 0;
    cell.iter()
        .find(|stretch| {
            last += stretch.count;
            arrival <= last
        })?
        .verdict
}

fn symbol(verdict: Option<Verdict>) -> String {
    match verdict {
        None => GAP.to_string(),
        Some(Verdict::Exact) => "=".to_owned(),
        Some(Verdict::Cautious) => "~".to_owned(),
        Some(Verdict::Crashed) => "#".to_owned(),
        Some(Verdict::TimedOut) => "%".to_owned(),
        Some(Verdict::Incomplete(right)) if right < 10 => right.to_string(),
        Some(Verdict::Incomplete(right)) => format!("({right})"),
        Some(Verdict::WrongFlagged(kind)) => letter(kind).to_string(),
        Some(Verdict::Overstated(kind) | Verdict::Unsound(kind)) => letter(kind).to_ascii_uppercase().to_string(),
    }
}

/// Takes one symbol from the front of `text`.
fn take(text: &mut &str) -> Result<Option<Verdict>, String> {
    let first = text.chars().next().ok_or("a verdict is missing")?;
    let mut rest = &text[first.len_utf8()..];
    let verdict = match first {
        GAP => None,
        '=' => Some(Verdict::Exact),
        '~' => Some(Verdict::Cautious),
        '#' => Some(Verdict::Crashed),
        '%' => Some(Verdict::TimedOut),
        '0'..='9' => Some(Verdict::Incomplete(first as u16 - '0' as u16)),
        '(' => {
            let (number, after) = rest.split_once(')').ok_or("a bracket is open")?;
            rest = after;
            Some(Verdict::Incomplete(number.parse().map_err(|_| format!("({number}) is no number of frames"))?))
        }
        _ => {
            let known = Deviation::ALL.into_iter().find(|kind| letter(*kind) == first.to_ascii_lowercase());
            let kind = known.ok_or_else(|| format!("{first:?} is no verdict"))?;
            Some(match (first.is_ascii_uppercase(), kind.is_omission()) {
                (false, _) => Verdict::WrongFlagged(kind),
                (true, true) => Verdict::Unsound(kind),
                (true, false) => Verdict::Overstated(kind),
            })
        }
    };
    *text = rest;
    Ok(verdict)
}

/// Writes cells one after the other: a single symbol where all arrivals are alike, else `[=*12s~]`.
pub(in crate::report) fn write(cells: &[Cell]) -> String {
    let mut text = String::new();
    for (index, cell) in cells.iter().enumerate() {
        match cell.as_slice() {
            [] => text.push(GAP),
            [stretch] => text += &symbol(stretch.verdict),
            _ if index > 0 && cells[index - 1] == *cell => text.push(DITTO),
            _ => text += &format!("[{}]", stretches(cell)),
        }
    }
    text
}

fn stretches(cell: &Cell) -> String {
    let mut text = String::new();
    let mut after_count = false;
    for stretch in cell {
        let symbol = symbol(stretch.verdict);
        // Without the comma, the digit of `<3` would read as part of the count.
        if after_count && symbol.starts_with(|first: char| first.is_ascii_digit()) {
            text.push(',');
        }
        let counted = format!("{symbol}*{}", stretch.count);
        after_count = symbol.len() as u64 * stretch.count > counted.len() as u64;
        if after_count {
            text += &counted;
        } else {
            (0..stretch.count).for_each(|_| text += &symbol);
        }
    }
    text
}

/// Reads what [`write()`] has written: so many columns, each of `arrivals` arrivals.
///
/// # Errors
///
/// A sentence.
pub(in crate::report) fn read(mut text: &str, columns: usize, arrivals: u64) -> Result<Vec<Cell>, String> {
    let mut cells: Vec<Cell> = Vec::new();
    while !text.is_empty() {
        let cell = if let Some(rest) = text.strip_prefix(DITTO) {
            text = rest;
            cells.last().cloned().ok_or("the first column has none before it")?
        } else if let Some(rest) = text.strip_prefix('[') {
            let (inside, rest) = rest.split_once(']').ok_or("a bracket is open")?;
            text = rest;
            read_stretches(inside)?
        } else {
            let verdict = take(&mut text)?;
            let mut cell = Cell::new();
            append(&mut cell, verdict, arrivals);
            cell
        };
        if length(&cell) != arrivals {
            return Err(format!("column {} has {} arrivals instead of {arrivals}", cells.len() + 1, length(&cell)));
        }
        cells.push(cell);
    }
    if cells.len() == columns { Ok(cells) } else { Err(format!("{} columns instead of {columns}", cells.len())) }
}

fn read_stretches(mut text: &str) -> Result<Cell, String> {
    let mut cell = Cell::new();
    while !text.is_empty() {
        let verdict = take(&mut text)?;
        let mut count = 1;
        if let Some(rest) = text.strip_prefix('*') {
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            count = rest[..end].parse().map_err(|_| format!("{:?} is no number of arrivals", &rest[..end]))?;
            text = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
        }
        append(&mut cell, verdict, count);
    }
    Ok(cell)
}
