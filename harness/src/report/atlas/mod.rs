//! The atlas of rewritten return addresses: for each CPU, rewriter, design and unwinder, at which points the original address can
//! be found, and what the unwinder says there.

pub mod html;
pub mod json;
pub mod text;

use std::collections::BTreeMap;

use kunwind::{Claims, Fix};

use super::{Function, Instruction, Report, Run, Section, Start};
use crate::design;
use crate::verdict::{Kind, Verdict};

/// Functions that stand between a function and its caller, and who puts them there: their points count even where the address is
/// in its place.
pub const TRAMPOLINES: [(&str, &str); 7] = [
    ("return_to_handler", "fgraph"),
    ("ftrace_caller", "ftrace"),
    ("ftrace_regs_caller", "ftrace"),
    ("bpf_trampoline_call", "bpf"),
    ("bpf_trampoline_entry", "bpf"),
    ("arch_rethook_trampoline", "rethook"),
    ("__kretprobe_trampoline", "kretprobe"),
];

/// The trampoline of this name.
#[must_use]
pub fn trampoline(function: &str) -> Option<&'static str> {
    TRAMPOLINES.into_iter().map(|(name, _)| name).find(|name| *name == function)
}

/// What an unwinder does at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It claims to be right, and is not.
    Unsound,
    /// The address could be found; the walk leaves its owner out, and does not claim to be right.
    Skipped,
    /// It says that it may be wrong, or stops.
    Flagged,
    /// It claims to be right, and leaves nothing out, but something in it is false.
    Overstated,
    /// The whole trace is right.
    Recovered,
}

impl State {
    fn of(verdict: Verdict, lost: bool) -> Self {
        match verdict {
            Verdict::Unsound(_) => Self::Unsound,
            Verdict::WrongFlagged(Kind::Skipped | Kind::Truncated | Kind::Substituted) if !lost => Self::Skipped,
            Verdict::Overstated(_) => Self::Overstated,
            Verdict::Exact => Self::Recovered,
            _ => Self::Flagged,
        }
    }

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsound => "unsound",
            Self::Skipped => "skipped",
            Self::Flagged => "flagged",
            Self::Overstated => "overstated",
            Self::Recovered => "recovered",
        }
    }
}

/// Neighbouring instructions at which the same holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The scenario, with its variant.
    pub scenario: String,
    /// The variant, if it has a name.
    pub variant: Option<String>,
    /// How the points were interrupted.
    pub interrupt: &'static str,
    /// Where the walks started.
    pub start: Start,
    /// The function.
    pub function: String,
    /// The first instruction's offset.
    pub first: u64,
    /// The last instruction's offset.
    pub last: u64,
    /// What the unwinder does.
    pub state: State,
    /// Whether no rule can find the address.
    pub lost: bool,
    /// Where the address is.
    pub places: String,
    /// Whether the interruption can really arrive there.
    pub reachable: bool,
    /// The first arrival.
    pub visit: u64,
    /// How many walks.
    pub walks: u64,
}

impl Interval {
    /// `leaf+0x0..leaf+0xc`, or one instruction.
    #[must_use]
    pub fn range(&self) -> String {
        let (function, first, last) = (&self.function, self.first, self.last);
        if first == last {
            format!("{function}+{first:#x}")
        } else {
            format!("{function}+{first:#x}..{function}+{last:#x}")
        }
    }

    /// The command that tells its first point in full.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { scenario, function, first, visit, interrupt, .. } = self;
        let variant = self.variant.as_ref().map(|name| format!(" --variant {name}")).unwrap_or_default();
        format!("unwind-harness explain {scenario} {function}+{first:#x}#{visit} --interrupt {interrupt}{variant}")
    }
}

/// One CPU, rewriter, design and unwinder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The CPU.
    pub cpu: String,
    /// Who rewrites.
    pub rewriter: String,
    /// The design: that of the guest, with that of the unwinder.
    pub fix: String,
    /// The unwinder.
    pub unwinder: String,
    /// The unwinder's own design.
    pub inside: Fix,
    /// Walks from points at which a return address is displaced, or a trampoline runs.
    pub points: u64,
    /// Those of them at which no rule can find the address.
    pub unrecoverable: u64,
    /// By what the unwinder does; they add up to `points`.
    pub states: BTreeMap<State, u64>,
    /// Those unsound ones that can really happen.
    pub unsound_reachable: u64,
    /// Where.
    pub intervals: Vec<Interval>,
}

impl Row {
    /// The heads of what tells rows apart.
    pub const NAMES: [&'static str; 4] = ["cpu", "rewriter", "fix", "unwinder"];
    /// The heads of the counters, in the order of [`Row::counters`].
    pub const COUNTERS: [&'static str; 8] =
        ["points", "unrecoverable", "skipped", "flagged", "overstated", "recovered", "unsound", "reachable"];

    /// What tells this row apart.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.cpu, &self.rewriter, &self.fix, &self.unwinder]
    }

    /// The counters: the last two must be 0 for a design that closes its windows.
    #[must_use]
    pub fn counters(&self) -> [u64; 8] {
        let [skipped, flagged, overstated, recovered, unsound] =
            [State::Skipped, State::Flagged, State::Overstated, State::Recovered, State::Unsound]
                .map(|it| self.count(it));
        [self.points, self.unrecoverable, skipped, flagged, overstated, recovered, unsound, self.unsound_reachable]
    }

    /// The command that shows this row with its intervals.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { cpu, rewriter, fix, unwinder, .. } = self;
        let rewriter = if rewriter.contains(' ') { format!("'{rewriter}'") } else { rewriter.clone() };
        format!("unwind-harness atlas --arch {cpu} --rewriter {rewriter} --fix {fix} --unwinder {unwinder} --intervals")
    }

    /// How many walks ended like this.
    #[must_use]
    pub fn count(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }
}

/// The rows of all scenarios that rewrite return addresses.
#[must_use]
pub fn rows(report: &Report) -> Vec<Row> {
    // In the order of columns. Not all sections have all of them.
    let mut names: Vec<&str> = Vec::new();
    for subject in report.sections.iter().flat_map(|section| &section.subjects) {
        if !names.contains(&subject.name.as_str()) {
            names.push(&subject.name);
        }
    }
    let mut rows: BTreeMap<(String, String, String, Option<usize>), Row> = BTreeMap::new();
    for section in report.sections.iter().filter(|section| section.void.is_none()) {
        let Some(rewriter) = &section.rewriter else { continue };
        let cpu = section.scenario.split('/').next().unwrap_or_default().to_owned();
        for (column, subject) in section.subjects.iter().enumerate() {
            let claims = matches!(subject.claims, Claims::Explicit | Claims::ByFlag);
            let fix = design::together(&rewriter.design, subject.inside).filter(|_| claims);
            let Some(fix) = fix else { continue };
            let order = names.iter().position(|name| *name == subject.name);
            let mut row_of = |rewriter: &str, add: &mut dyn FnMut(&mut Row)| {
                let key = (cpu.clone(), rewriter.to_owned(), fix.to_owned(), order);
                add(rows.entry(key).or_insert_with(|| Row {
                    cpu: cpu.clone(),
                    rewriter: rewriter.to_owned(),
                    fix: fix.to_owned(),
                    unwinder: subject.name.clone(),
                    inside: subject.inside,
                    points: 0,
                    unrecoverable: 0,
                    states: BTreeMap::new(),
                    unsound_reachable: 0,
                    intervals: Vec::new(),
                }));
            };
            for function in &section.functions {
                let mut open = BTreeMap::new();
                for instruction in &function.instructions {
                    let here = Here { section, column, function, instruction };
                    open = here.add(&rewriter.name, &open, &mut row_of);
                }
            }
        }
    }
    rows.into_values().collect()
}

/// Who is to blame for a point, by the trampoline that runs or waits. What the scenario says behind a comma stays.
fn rewriter_of(trampoline: Option<&str>, of_scenario: &str) -> String {
    let whose = |(name, whose): (&str, &'static str)| (trampoline == Some(name)).then_some(whose);
    let Some(name) = TRAMPOLINES.into_iter().find_map(whose) else { return of_scenario.to_owned() };
    let special_case = of_scenario.split_once(',').map_or("", |(_, special_case)| special_case);
    if special_case.is_empty() { name.to_owned() } else { format!("{name},{special_case}") }
}

/// Finds, or makes, the row of a rewriter, and does something with it.
type WithRow<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut(&mut Row));

/// The intervals that an instruction is part of, in the row of each rewriter.
type Open = BTreeMap<String, Vec<usize>>;

/// One instruction in one column.
struct Here<'a> {
    section: &'a Section,
    column: usize,
    function: &'a Function,
    instruction: &'a Instruction,
}

impl Here<'_> {
    /// Adds its points to their rows. `before` are the intervals that the instruction before was part of.
    fn add(&self, of_scenario: &str, before: &Open, with_row: WithRow<'_>) -> Open {
        let mut here = Open::new();
        for run in self.instruction.runs.get(self.column).into_iter().flatten() {
            for piece in pieces(self.instruction, run) {
                let running = trampoline(&self.function.name);
                if piece.places.is_empty() && running.is_none() {
                    continue;
                }
                let rewriter = rewriter_of(running.or(piece.trampoline), of_scenario);
                with_row(&rewriter, &mut |row| {
                    let open = here.entry(rewriter.clone()).or_default();
                    self.add_piece(row, run, &piece, open, before.get(&rewriter).map_or(&[], Vec::as_slice));
                });
            }
        }
        here
    }

    fn add_piece(&self, row: &mut Row, run: &Run, piece: &Piece<'_>, open: &mut Vec<usize>, before: &[usize]) {
        let Self { section, column, function, instruction } = self;
        let state = State::of(run.verdict, piece.lost);
        row.points += piece.walks;
        row.unrecoverable += if piece.lost { piece.walks } else { 0 };
        *row.states.entry(state).or_default() += piece.walks;
        if state == State::Unsound && run.reachable {
            row.unsound_reachable += piece.walks;
        }
        let goes_on = |index: &usize| {
            let interval = &row.intervals[*index];
            (interval.state, interval.lost, interval.reachable) == (state, piece.lost, run.reachable)
                && interval.places == piece.places
        };
        let same = open.iter().chain(before).copied().find(goes_on);
        let index = same.unwrap_or_else(|| {
            row.intervals.push(Interval {
                scenario: section.scenario.clone(),
                variant: section.variant.clone(),
                interrupt: section.interrupt,
                start: section.subjects[*column].start,
                function: function.name.clone(),
                first: instruction.offset,
                last: instruction.offset,
                state,
                lost: piece.lost,
                places: piece.places.to_owned(),
                reachable: run.reachable,
                visit: piece.first,
                walks: 0,
            });
            row.intervals.len() - 1
        });
        row.intervals[index].last = instruction.offset;
        row.intervals[index].walks += piece.walks;
        if !open.contains(&index) {
            open.push(index);
        }
    }
}

/// Arrivals of a run at which the address is in the same places; `places` is empty where none is displaced.
struct Piece<'i> {
    first: u64,
    walks: u64,
    places: &'i str,
    lost: bool,
    trampoline: Option<&'static str>,
}

/// Splits a run of verdicts where the address moves.
fn pieces<'i>(instruction: &'i Instruction, run: &Run) -> Vec<Piece<'i>> {
    let mut pieces = Vec::new();
    let mut first = run.first;
    while first <= run.last {
        let displaced = instruction.displaced(first);
        let next = instruction.addresses.iter().map(|address| address.first).filter(|start| *start > first).min();
        let until = displaced.map_or_else(|| next.map_or(run.last, |next| next - 1), |address| address.last);
        let last = until.min(run.last);
        let (places, lost) = displaced.map_or(("", false), |address| (address.places.as_str(), address.lost));
        let trampoline = displaced.and_then(|address| address.trampoline);
        pieces.push(Piece { first, walks: last - first + 1, places, lost, trampoline });
        first = last + 1;
    }
    pieces
}
