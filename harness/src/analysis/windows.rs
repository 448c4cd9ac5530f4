//! The transient windows of return hooks: what each design makes of each instruction of a trampoline, at worst.

use std::collections::BTreeMap;

use super::atlas::{Interval, Row, State};
use crate::recording::{ListedFunction, Recording, Section};

/// What each fix does (docs/atlas.md).
pub const FIXES: [(&str, &str); 10] = [
    ("F0", "Linux as it is"),
    ("range", "the unwinder refuses any pc inside the trampoline"),
    ("F1", "the unwinder notices any pc inside the trampoline, and asks the ret_stack"),
    ("F2", "F1, and CFI for the tail"),
    ("F3", "the trampoline restores the address first, and pops the entry after that"),
    ("F4", "the trampoline links a frame record before the entry is popped"),
    ("F5", "the trampoline links a metadata record of its own type before the entry is popped"),
    ("undefined", "unwind data that give the trampoline no return address"),
    ("records", "the entry tracer links records for the traced function and its caller"),
    ("record", "the trampoline of rethooks links a frame record"),
];

/// A trampoline of a CPU, under one return hook: the instructions of all its builds, and a strip for each design.
#[derive(Debug)]
pub struct Trampoline<'r> {
    /// The CPU.
    pub cpu: &'r str,
    /// The return hook, with its special case.
    pub hook: &'r str,
    /// The trampoline.
    pub function: &'r str,
    /// The instructions of all builds, aligned.
    pub columns: Vec<&'r str>,
    /// The designs, those of a fix together.
    pub strips: Vec<Strip<'r>>,
}

/// One design: a fix, and the unwinders that fare alike with it.
#[derive(Debug)]
pub struct Strip<'r> {
    /// The fix.
    pub fix: &'r str,
    /// The unwinders, by name.
    pub unwinders: Vec<&'r str>,
    /// The run to which a cell leads.
    pub run: &'r Section,
    /// By column; `None`: the build has no such instruction.
    pub cells: Vec<Option<Cell>>,
}

/// One instruction of a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Where it is in the build, in bytes.
    pub offset: u64,
    /// The worst that an unwinder does there; `None`: it was never interrupted there.
    pub state: Option<State>,
    /// Whether that is from a point at which the interruption can arrive, and from a start from which Linux asks.
    pub is_real: bool,
    /// Whether no rule can find the address.
    pub lost: bool,
}

/// How bad a state is: the order in which one hides another at an instruction.
#[must_use]
pub const fn badness(state: State) -> u8 {
    match state {
        State::Unsound => 4,
        State::Overstated => 3,
        State::NotClaimed => 2,
        State::Flagged => 1,
        State::Recovered => 0,
    }
}

/// A build of a function: offsets and texts.
type Build<'r> = Vec<(u64, &'r str)>;

/// The trampolines of rows; those with the most designs come first.
#[must_use]
pub fn trampolines<'r>(recording: &'r Recording, rows: &'r [Row]) -> Vec<Trampoline<'r>> {
    let mut by_run: BTreeMap<(&str, Option<&str>, &str), &'r Section> = BTreeMap::new();
    for section in &recording.sections {
        by_run.insert((&section.scenario, section.variant.as_deref(), section.interrupt.name()), section);
    }
    let mut trampolines: Vec<(Trampoline<'r>, Aligned<'r>)> = Vec::new();
    for row in rows {
        // An unwinder may walk several builds of a trampoline under one fix: with frame pointers, and without.
        let mut builds: Vec<(&'r Section, &'r ListedFunction, Build<'r>, Vec<&'r Interval>)> = Vec::new();
        for interval in &row.intervals {
            let run = (interval.scenario.as_str(), interval.variant.as_deref(), interval.interrupt.name());
            let Some(section) = by_run.get(&run) else { continue };
            let is_it =
                |function: &&ListedFunction| function.name == interval.function && function.trampoline_of.is_some();
            let Some(function) = section.functions.iter().find(is_it) else { continue };
            let build: Build<'r> = function.instructions.iter().map(|it| (it.offset, it.text.as_str())).collect();
            match builds.iter_mut().find(|(_, known, other, _)| known.name == function.name && *other == build) {
                Some((.., intervals)) => intervals.push(interval),
                None => builds.push((section, function, build, vec![interval])),
            }
        }
        for (section, function, build, intervals) in builds {
            let is_it = |(it, _): &&mut (Trampoline<'_>, Aligned<'_>)| {
                (it.cpu, it.hook, it.function) == (&*row.cpu, &*row.return_hook, &*function.name)
            };
            if !trampolines.iter_mut().any(|it| is_it(&it)) {
                let (cpu, hook, function) = (&*row.cpu, &*row.return_hook, &*function.name);
                let empty = Trampoline { cpu, hook, function, columns: Vec::new(), strips: Vec::new() };
                trampolines.push((empty, Aligned::default()));
            }
            let Some((trampoline, aligned)) = trampolines.iter_mut().find(is_it) else { continue };
            let places = aligned.add(&build);
            let cells = build.iter().zip(places).map(|((offset, _), place)| (place, cell(&intervals, *offset)));
            aligned.rows.push(cells.collect());
            let run = intervals.iter().max_by_key(|interval| (interval.callable, badness(interval.state)));
            let run = run.and_then(|it| by_run.get(&(&*it.scenario, it.variant.as_deref(), it.interrupt.name())));
            let run = run.copied().unwrap_or(section);
            let unwinders = vec![row.unwinder.as_str()];
            trampoline.strips.push(Strip { fix: &row.fix, unwinders, run, cells: Vec::new() });
        }
    }
    let mut all: Vec<_> = trampolines.into_iter().map(|(trampoline, aligned)| finished(trampoline, &aligned)).collect();
    // Those with the most designs come first: there is something to compare.
    all.sort_by_key(|it| std::cmp::Reverse(it.strips.chunk_by(|one, other| one.fix == other.fix).count()));
    all
}

/// Lays the strips along the columns, and merges those of a fix that are alike.
fn finished<'r>(mut trampoline: Trampoline<'r>, aligned: &Aligned<'r>) -> Trampoline<'r> {
    trampoline.columns = aligned.order.iter().map(|id| aligned.texts[*id]).collect();
    let mut strips: Vec<Strip<'r>> = Vec::new();
    for (mut strip, row) in trampoline.strips.into_iter().zip(&aligned.rows) {
        let at = |id: &usize| row.iter().find(|(place, _)| place == id).map(|(_, cell)| *cell);
        strip.cells = aligned.order.iter().map(at).collect();
        match strips.iter_mut().find(|other| other.fix == strip.fix && other.cells == strip.cells) {
            Some(other) => other.unwinders.append(&mut strip.unwinders),
            None => strips.push(strip),
        }
    }
    let place = |fix: &str| FIXES.iter().position(|(name, _)| *name == fix);
    strips.sort_by_key(|strip| (place(strip.fix).is_none(), place(strip.fix)));
    Trampoline { strips, ..trampoline }
}

fn cell(intervals: &[&Interval], offset: u64) -> Cell {
    let here: Vec<&Interval> = intervals.iter().copied().filter(|it| (it.first..=it.last).contains(&offset)).collect();
    worst(&here, offset)
}

/// The worst of intervals. What Linux asks for comes before what nobody asks for, unless that is unsound.
#[must_use]
pub fn worst(intervals: &[&Interval], offset: u64) -> Cell {
    let here = || intervals.iter();
    let is_real = |it: &&&&Interval| it.reachable && it.callable;
    let worst = |it: &&&Interval| badness(it.state);
    let (real, any) = (here().filter(|it| is_real(&it)).max_by_key(worst), here().max_by_key(worst));
    // An unsound walk is never hidden by a better one.
    let shown = any.filter(|it| it.state == State::Unsound && real.is_none_or(|real| real.state != it.state));
    let is_real = shown.is_none() && real.is_some();
    let shown = shown.or(real).or(any);
    Cell { offset, state: shown.map(|it| it.state), is_real, lost: here().any(|it| it.lost) }
}

/// The instructions of several builds in one order, in which equal ones share a place.
#[derive(Default)]
struct Aligned<'r> {
    texts: Vec<&'r str>,
    /// The places, as indices of `texts`.
    order: Vec<usize>,
    /// For each strip, its cells with their places.
    rows: Vec<Vec<(usize, Cell)>>,
}

impl<'r> Aligned<'r> {
    /// Adds a build: the place of each of its instructions. Those of the longest common subsequence with what is there share one.
    fn add(&mut self, build: &Build<'r>) -> Vec<usize> {
        let (rows, columns) = (self.order.len(), build.len());
        let before: Vec<&str> = self.order.iter().map(|place| self.texts[*place]).collect();
        let is_same = |row: usize, column: usize| before[row] == build[column].1;
        let mut common = vec![vec![0_usize; columns + 1]; rows + 1];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                common[row][column] = if is_same(row, column) {
                    common[row + 1][column + 1] + 1
                } else {
                    common[row + 1][column].max(common[row][column + 1])
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        let (mut order, mut places) = (Vec::new(), Vec::new());
        while row < rows || column < columns {
            if row < rows && column < columns && is_same(row, column) {
                order.push(self.order[row]);
                places.push(self.order[row]);
                (row, column) = (row + 1, column + 1);
            } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
                order.push(self.order[row]);
                row += 1;
            } else {
                self.texts.push(build[column].1);
                order.push(self.texts.len() - 1);
                places.push(self.texts.len() - 1);
                column += 1;
            }
        }
        self.order = order;
        places
    }
}

#[cfg(test)]
mod tests {
    use super::{Aligned, cell};
    use crate::analysis::atlas::{Interval, State};
    use crate::scenario::Interruption;
    use crate::subject::Start;

    #[test]
    fn equal_instructions_of_builds_share_a_place() {
        let mut aligned = Aligned::default();
        let first = aligned.add(&vec![(0, "sub"), (4, "bl"), (8, "ret")]);
        let second = aligned.add(&vec![(0, "sub"), (4, "stp"), (8, "bl"), (12, "ret")]);
        let texts: Vec<&str> = aligned.order.iter().map(|place| aligned.texts[*place]).collect();
        assert_eq!(texts, ["sub", "stp", "bl", "ret"]);
        assert_eq!((first[1], first[2]), (second[2], second[3]));
    }

    #[test]
    fn an_unsound_walk_is_never_hidden() {
        let one = |state, callable| Interval {
            scenario: String::new(),
            variant: None,
            interrupt: Interruption::Irq,
            start: Start::Regs,
            function: String::new(),
            first: 0,
            last: 4,
            state,
            lost: false,
            places: String::new(),
            reachable: true,
            callable,
            visit: 1,
            walks: 1,
        };
        let (asked, other) = (one(State::Recovered, true), one(State::Unsound, false));
        let found = cell(&[&asked, &other], 4);
        assert_eq!((found.state, found.is_real), (Some(State::Unsound), false));
        // Anything else that nobody asks for is hidden by what Linux asks for.
        let flagged = one(State::Flagged, false);
        let found = cell(&[&flagged, &asked], 4);
        assert_eq!((found.state, found.is_real), (Some(State::Recovered), true));
        assert_eq!(cell(&[&asked], 8).state, None, "it was not interrupted there");
    }
}
