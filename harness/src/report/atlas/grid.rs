//! The rows of a screen: the instructions of a trampoline, those together that need no row of their own, and other functions.

use anstyle::Style;

use crate::analysis::atlas::{Row, State};
use crate::analysis::elsewhere::{Elsewhere, elsewhere};
use crate::analysis::windows::{Cell, Strip, Trampoline, badness};
use crate::report::style::{BAD, DIM, GOOD, NOTE};

/// A row: its text, and what each strip has there.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) cells: Vec<Option<Cell>>,
}

impl Line {
    fn marks(&self) -> Vec<char> {
        self.cells.iter().map(|cell| mark(*cell).0).collect()
    }
}

/// The character of a cell.
pub(super) fn mark(cell: Option<Cell>) -> (char, Style) {
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

/// Whether any design was interrupted at an instruction.
pub(super) fn is_reached(strips: &[Strip<'_>], index: usize) -> bool {
    strips.iter().any(|strip| strip.cells[index].is_some_and(|cell| cell.state.is_some()))
}

/// The instructions that ran. Neighbours that fare alike in every column are one row, and so are those that stand for each other in
/// builds that differ.
pub(super) fn instructions(trampoline: &Trampoline<'_>) -> Vec<Line> {
    let Trampoline { columns, strips, .. } = trampoline;
    let mut runs: Vec<Alike<'_>> = Vec::new();
    for index in (0..columns.len()).filter(|index| is_reached(strips, *index)) {
        let cells: Vec<Option<Cell>> = strips.iter().map(|strip| strip.cells[index]).collect();
        let offset = cells.iter().flatten().map(|cell| cell.offset).next().unwrap_or_default();
        let line = Line { text: String::new(), cells };
        match runs.last_mut().filter(|run| run.line.marks() == line.marks()) {
            Some(run) => run.most += 1,
            None => runs.push(Alike { offset, instruction: columns[index], line, most: 1, has_others: false }),
        }
    }
    let mut all: Vec<Alike<'_>> = Vec::new();
    for run in runs {
        match all.last_mut().filter(|last| last.is_another_build_of(&run)) {
            Some(last) => last.take_in(run),
            None => all.push(run),
        }
    }
    all.into_iter().map(|run| Line { text: run.text(), ..run.line }).collect()
}

/// Instructions that share a row.
struct Alike<'r> {
    /// Where the first one is in the first build that has it.
    offset: u64,
    instruction: &'r str,
    line: Line,
    /// How many there are, in the build that has the most.
    most: usize,
    /// Whether builds have different ones.
    has_others: bool,
}

impl Alike<'_> {
    fn mnemonic(&self) -> Option<&str> {
        self.instruction.split_whitespace().next()
    }

    /// Whether no build has both, and they begin with the same operation.
    fn is_another_build_of(&self, other: &Self) -> bool {
        let both = self.line.cells.iter().zip(&other.line.cells).any(|(one, other)| one.is_some() && other.is_some());
        !both && self.mnemonic() == other.mnemonic()
    }

    fn take_in(&mut self, other: Self) {
        for (cell, of_other) in self.line.cells.iter_mut().zip(other.line.cells) {
            *cell = cell.or(of_other);
        }
        self.most = self.most.max(other.most);
        self.has_others = true;
    }

    fn text(&self) -> String {
        let instruction: Vec<&str> = self.instruction.split_whitespace().collect();
        let more = match (self.most, self.has_others) {
            (1, false) => String::new(),
            (1, true) => " or alike".to_owned(),
            (most, false) => format!(" .. {most} in all"),
            (most, true) => format!(" or alike .. up to {most}"),
        };
        format!("{:<6} {}{more}", format!("+{:#x}", self.offset), instruction.join(" "))
    }
}

/// The worst of each design.
pub(super) fn worst(trampoline: &Trampoline<'_>) -> Line {
    let worst = |strip: &Strip<'_>| {
        let judged = strip.cells.iter().flatten().filter(|cell| cell.state.is_some());
        judged.max_by_key(|cell| (cell.state.map_or(0, badness), cell.is_real, cell.lost)).copied()
    };
    Line { text: "worst".to_owned(), cells: trampoline.strips.iter().map(worst).collect() }
}

/// Other functions in which a walk is unsound.
pub(super) fn callees(trampoline: &Trampoline<'_>, rows: &[Row]) -> Vec<Line> {
    let line = |Elsewhere { functions, cells }: Elsewhere<'_>| {
        let text = match functions.as_slice() {
            [one] => format!("in {one}"),
            several => format!("in {} other functions", several.len()),
        };
        Line { text, cells: cells.into_iter().map(|cell| cell.map(|(cell, _)| cell)).collect() }
    };
    elsewhere(trampoline, rows).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Alike, Line};
    use crate::analysis::atlas::State;
    use crate::analysis::windows::Cell;

    fn alike(instruction: &'static str, cells: [bool; 2]) -> Alike<'static> {
        let cell = Cell { offset: 8, state: Some(State::Flagged), is_real: true, lost: false };
        let cells = cells.iter().map(|is_there| is_there.then_some(cell)).collect();
        let line = Line { text: String::new(), cells };
        Alike { offset: 8, instruction, line, most: 1, has_others: false }
    }

    #[test]
    fn what_stands_for_each_other_in_two_builds_is_one_row() {
        let mut one = alike("sub\tsp, sp, #0x70", [true, false]);
        assert!(one.is_another_build_of(&alike("sub sp, sp, #0x80", [false, true])));
        assert!(!one.is_another_build_of(&alike("sub sp, sp, #0x80", [true, true])), "a build has both");
        assert!(!one.is_another_build_of(&alike("ret", [false, true])), "they do different things");
        assert_eq!(one.text(), "+0x8   sub sp, sp, #0x70");
        one.take_in(Alike { most: 3, ..alike("sub sp, sp, #0x80", [false, true]) });
        assert_eq!(one.text(), "+0x8   sub sp, sp, #0x70 or alike .. up to 3");
        assert_eq!(one.line.marks(), ['~', '~']);
    }
}
