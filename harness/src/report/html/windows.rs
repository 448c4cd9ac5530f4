//! The atlas: the transient windows of each trampoline, drawn along its instructions, with all designs one under the other.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::model::{Cpu, Model, anchor};
use crate::analysis::atlas::{Interval, Row, State, rows};
use crate::recording::{ListedFunction, Section};

/// What each fix does (docs/atlas.md).
const FIXES: [(&str, &str); 10] = [
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
struct Trampoline<'r> {
    cpu: &'r str,
    hook: &'r str,
    function: &'r str,
    /// The instructions of all builds, aligned.
    columns: Vec<&'r str>,
    strips: Vec<Strip<'r>>,
}

/// One design: a fix, and the unwinders that fare alike with it.
struct Strip<'r> {
    fix: &'r str,
    unwinders: Vec<&'r str>,
    /// The run to which a cell leads.
    anchor: String,
    /// By column.
    cells: Vec<Option<Cell>>,
}

/// One instruction of a design.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell {
    offset: u64,
    /// The worst that an unwinder does there; `None`: it was never interrupted there.
    state: Option<State>,
    /// Whether that is from a point at which the interruption can arrive, and from a start from which Linux asks.
    is_real: bool,
    /// Whether no rule can find the address.
    lost: bool,
}

pub(super) fn section(model: &Model<'_>) -> Markup {
    let rows = rows(model.recording);
    let trampolines = trampolines(model, &rows);
    let of = |cpu: &Cpu<'_>, is_special: bool| -> Vec<&Trampoline<'_>> {
        let is_it = |it: &&Trampoline<'_>| it.cpu == cpu.name && it.hook.contains(',') == is_special;
        trampolines.iter().filter(is_it).collect()
    };
    html! {
        @if !trampolines.is_empty() {
            section #windows aria-labelledby="windows-head" {
                h2 #windows-head { "Transient windows of return hooks" }
                p.lead {
                    "A return hook puts a trampoline in the place of a return address. While the trampoline runs, the address may be nowhere that an unwinder "
                    "looks. Below are the instructions of each trampoline from left to right, and under them one row for each design: where a mark "
                    "of F0 has become " code { "=" } ", that design closes the window. F0 is Linux as it is."
                }
                (legend())
                @for cpu in &model.cpus {
                    @let (plain, special) = (of(cpu, false), of(cpu, true));
                    @if !plain.is_empty() || !special.is_empty() {
                        div.cpu data-cpu=(cpu.name) {
                            h3 { (cpu.name) }
                            @for trampoline in plain { (draw(trampoline)) }
                            @if !special.is_empty() {
                                details.special {
                                    summary { "Special cases: " (special.len()) " more" }
                                    @for trampoline in special { (draw(trampoline)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend {
            li { span.w.wu { "!" } " unsound: claimed, and the caller is missing" }
            li { span.w.wo { "+" } " claimed, nothing missing, something false" }
            li { span.w.wn { "?" } " missing without a claim, though it could be found" }
            li { span.w.wf { "~" } " flagged or stopped" }
            li { span.w.wr { "=" } " right and claimed" }
            li { span.w.wu.only { "!" } " pale: masked there, or nobody asks from that start" }
            li { span.w.wf.lost { "~" } " underlined: no rule can find the address" }
        }
        details.fixes {
            summary { "What the designs are" }
            dl { @for (fix, what) in FIXES { div { dt { (fix) } dd { (what) } } } }
        }
    }
}

const fn mark(state: State) -> (&'static str, &'static str) {
    match state {
        State::Unsound => ("wu", "!"),
        State::Overstated => ("wo", "+"),
        State::NotClaimed => ("wn", "?"),
        State::Flagged => ("wf", "~"),
        State::Recovered => ("wr", "="),
    }
}

/// How bad a state is: the order in which one hides another at an instruction.
const fn badness(state: State) -> u8 {
    match state {
        State::Unsound => 4,
        State::Overstated => 3,
        State::NotClaimed => 2,
        State::Flagged => 1,
        State::Recovered => 0,
    }
}

fn draw(trampoline: &Trampoline<'_>) -> Markup {
    let Trampoline { cpu, hook, function, columns, strips } = trampoline;
    let fixes = strips.chunk_by(|one, other| one.fix == other.fix);
    html! {
        figure.windows {
            figcaption { code { (function) } " " span.where { (hook) ", " (cpu) } }
            div.scroll tabindex="0" role="region" aria-label={ "Windows of " (function) ", " (hook) ", " (cpu) } {
                table.grid.windows data-f=(function) {
                    thead { tr {
                        th scope="col" { "design" }
                        @for text in columns { th scope="col" { span { (text) } } }
                    } }
                    @for strips in fixes {
                        tbody {
                            @for strip in strips { (row(strip)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(strip: &Strip<'_>) -> Markup {
    // The offsets, from column to column; the script needs them to link to an instruction.
    let offsets: Vec<String> =
        strip.cells.iter().map(|cell| cell.map(|cell| format!("{:x}", cell.offset)).unwrap_or_default()).collect();
    let unwinders = strip.unwinders.join(", ");
    html! {
        tr data-a=(strip.anchor) data-o=(offsets.join(",")) {
            th scope="row" { b { (strip.fix) } " " span { (unwinders) } }
            @for cell in &strip.cells {
                @match cell {
                    None => td {},
                    Some(Cell { state: None, .. }) => td.w.never { "·" },
                    Some(Cell { state: Some(state), is_real, lost, .. }) => {
                        td.w.(mark(*state).0).only[!is_real].lost[*lost] { (mark(*state).1) }
                    }
                }
            }
        }
    }
}

/// A build of a function: offsets and texts.
type Build<'r> = Vec<(u64, &'r str)>;

/// The trampolines, in the order of rows.
fn trampolines<'r>(model: &Model<'r>, rows: &'r [Row]) -> Vec<Trampoline<'r>> {
    let recording = model.recording;
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
            let anchor = anchor(run.copied().unwrap_or(section));
            let unwinders = vec![row.unwinder.as_str()];
            trampoline.strips.push(Strip { fix: &row.fix, unwinders, anchor, cells: Vec::new() });
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
    let here = || intervals.iter().filter(move |it| (it.first..=it.last).contains(&offset));
    let is_real = |it: &&&&Interval| it.reachable && it.callable;
    let worst = |it: &&&Interval| badness(it.state);
    let real = here().filter(|it| is_real(&it)).max_by_key(worst);
    let any = real.or_else(|| here().max_by_key(worst));
    Cell { offset, state: any.map(|it| it.state), is_real: real.is_some(), lost: here().any(|it| it.lost) }
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
    use super::Aligned;

    #[test]
    fn equal_instructions_of_builds_share_a_place() {
        let mut aligned = Aligned::default();
        let first = aligned.add(&vec![(0, "sub"), (4, "bl"), (8, "ret")]);
        let second = aligned.add(&vec![(0, "sub"), (4, "stp"), (8, "bl"), (12, "ret")]);
        let texts: Vec<&str> = aligned.order.iter().map(|place| aligned.texts[*place]).collect();
        assert_eq!(texts, ["sub", "stp", "bl", "ret"]);
        assert_eq!((first[1], first[2]), (second[2], second[3]));
    }
}
