//! The atlas of hooked return addresses: for each CPU, return hook, fix and unwinder, at which points the original address can
//! be found, and what the unwinder makes of it there.

use std::collections::{BTreeMap, BTreeSet};

use crate::guest::return_hook::{Fix, together};
use crate::recording::{ListedFunction, ListedInstruction, Recording, Run, Section};
use crate::scenario::Interruption;
use crate::subject::{Claims, Start, Status};
use crate::verdict::{Deviation, Verdict};

/// What an unwinder does at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The walk is claimed, but omits or replaces an activation.
    Unsound,
    /// The address could be found; the walk omits or replaces an activation, without a claim.
    NotClaimed,
    /// The walk flags itself, or stops.
    Flagged,
    /// The walk is claimed and omits nothing, but something in it is false.
    Overstated,
    /// The whole trace is right, and claimed.
    Recovered,
}

impl State {
    fn of(verdict: Verdict, lost: bool) -> Self {
        match verdict {
            Verdict::Unsound(_) => Self::Unsound,
            Verdict::WrongFlagged(Deviation::Skipped | Deviation::Truncated | Deviation::Substituted) if !lost => {
                Self::NotClaimed
            }
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
            Self::NotClaimed => "not_claimed",
            Self::Flagged => "flagged",
            Self::Overstated => "overstated",
            Self::Recovered => "recovered",
        }
    }
}

/// Neighbouring instructions at which an unwinder fares the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The scenario.
    pub scenario: String,
    /// The variant, if it has a name.
    pub variant: Option<String>,
    /// How the points were interrupted.
    pub interrupt: Interruption,
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
    /// Whether Linux asks for a trace from this start.
    pub callable: bool,
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

    /// The command that explains its first point in full to the unwinder of its row.
    #[must_use]
    pub fn command(&self, unwinder: &str) -> String {
        let Self { scenario, function, first, visit, interrupt, .. } = self;
        let variant = self.variant.as_ref().map(|name| format!(" --variant {name}")).unwrap_or_default();
        format!(
            "unwind-harness explain {scenario} {function}+{first:#x}#{visit} --interrupt {}{variant} --unwinder {unwinder}",
            interrupt.name()
        )
    }
}

/// An instruction of a build: a function's name and an offset in it, in bytes. Guests share their trampolines and handlers, so
/// that the same instruction of several guests of a build counts once.
pub type Instruction = (String, u64);

/// Walks of a row from some of its starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// All walks.
    pub walks: u64,
    /// Those that are unsound.
    pub unsound: u64,
    /// Those of the unsound ones from points at which the interruption is not masked.
    pub unsound_reachable: u64,
    /// Those whose whole trace is right, and claimed.
    pub recovered: u64,
    /// The instructions from which they start.
    pub instructions: BTreeSet<Instruction>,
    /// Those of them from which an arrival that is not masked has an unsound walk.
    pub unsound_instructions: BTreeSet<Instruction>,
}

impl Tally {
    fn add(&mut self, state: State, reachable: bool, walks: u64, at: &Instruction) {
        self.walks += walks;
        self.recovered += if state == State::Recovered { walks } else { 0 };
        if !self.instructions.contains(at) {
            self.instructions.insert(at.clone());
        }
        if state != State::Unsound {
            return;
        }
        self.unsound += walks;
        if reachable {
            self.unsound_reachable += walks;
            self.unsound_instructions.insert(at.clone());
        }
    }

    /// The share of walks that are right and claimed, in percent.
    #[must_use]
    pub fn right(&self) -> f64 {
        100.0 * self.recovered as f64 / self.walks.max(1) as f64
    }
}

/// One CPU, return hook, fix and unwinder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The CPU.
    pub cpu: String,
    /// The return hook.
    pub return_hook: String,
    /// The fix that the guest's build and the unwinder implement together.
    pub fix: String,
    /// The unwinder.
    pub unwinder: String,
    /// The unwinder's own part of the fix.
    pub unwinder_fix: Fix,
    /// Where the unwinder comes from.
    pub status: Status,
    /// Walks from points at which a return address is displaced, or a trampoline runs.
    pub points: u64,
    /// Those of them from points at which no rule can find the address.
    pub unrecoverable: u64,
    /// Walks by state; they add up to `points`.
    pub states: BTreeMap<State, u64>,
    /// The unsound walks from points at which the interruption is not masked.
    pub unsound_reachable: u64,
    /// The walks from starts from which Linux asks for a trace.
    pub callable: Tally,
    /// The walks from starts from which nobody asks: questions about the algorithm.
    pub hypothetical: Tally,
    /// The instructions, grouped.
    pub intervals: Vec<Interval>,
}

impl Row {
    /// The heads of the columns that identify a row.
    pub const NAMES: [&'static str; 4] = ["cpu", "return hook", "fix", "unwinder"];
    /// The heads of the counters, in the order of [`Row::counters`].
    pub const COUNTERS: [&'static str; 11] = [
        "points",
        "unrecoverable",
        "not_claimed",
        "flagged",
        "overstated",
        "recovered",
        "unsound",
        "reachable",
        "callable",
        "instructions",
        "callable instructions",
    ];

    /// What identifies this row.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.cpu, &self.return_hook, &self.fix, &self.unwinder]
    }

    /// The counters. From `unsound` on they must be 0 for a fix that closes its windows.
    #[must_use]
    pub fn counters(&self) -> [u64; 11] {
        let [not_claimed, flagged, overstated, recovered, unsound] =
            [State::NotClaimed, State::Flagged, State::Overstated, State::Recovered, State::Unsound]
                .map(|it| self.count(it));
        let (all, callable) = (self.unsound_instructions().len(), self.callable.unsound_instructions.len());
        [
            self.points,
            self.unrecoverable,
            not_claimed,
            flagged,
            overstated,
            recovered,
            unsound,
            self.unsound_reachable,
            self.callable.unsound_reachable,
            all as u64,
            callable as u64,
        ]
    }

    /// The distinct instructions from which a walk of any start is unsound.
    #[must_use]
    pub fn unsound_instructions(&self) -> BTreeSet<&Instruction> {
        self.callable.unsound_instructions.union(&self.hypothetical.unsound_instructions).collect()
    }

    /// The command that shows this row with its intervals.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { cpu, return_hook, fix, unwinder, .. } = self;
        let return_hook = if return_hook.contains(' ') { format!("'{return_hook}'") } else { return_hook.clone() };
        format!(
            "unwind-harness atlas --arch {cpu} --return-hook {return_hook} --fix {fix} --unwinder {unwinder} --intervals"
        )
    }

    /// How many walks are in this state.
    #[must_use]
    pub fn count(&self, state: State) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }
}

/// The rows of all scenarios with a return hook.
#[must_use]
pub fn rows(recording: &Recording) -> Vec<Row> {
    // In the order of columns; a section may lack some of them.
    let mut names: Vec<&str> = Vec::new();
    for subject in recording.sections.iter().flat_map(|section| &section.columns) {
        if !names.contains(&subject.name.as_str()) {
            names.push(&subject.name);
        }
    }
    let mut rows: BTreeMap<(String, String, String, Option<usize>), Row> = BTreeMap::new();
    for section in recording.sections.iter().filter(|section| section.void.is_none()) {
        let Some(hook) = &section.return_hook else { continue };
        let cpu = section.scenario.split('/').next().unwrap_or_default().to_owned();
        // A build that is a kernel under a condition alone has rows of its own, under the hook's name with the condition.
        let of_scenario =
            section.condition.iter().fold(hook.name.clone(), |name, condition| format!("{name}, {condition}"));
        for (column, subject) in section.columns.iter().enumerate() {
            let claims = matches!(subject.claims, Claims::Explicit | Claims::ByFlag);
            let fix = together(&hook.build, subject.fix).filter(|_| claims);
            let Some(fix) = fix else { continue };
            let order = names.iter().position(|name| *name == subject.name);
            let mut row_of = |return_hook: &str, add: &mut dyn FnMut(&mut Row)| {
                let key = (cpu.clone(), return_hook.to_owned(), fix.to_owned(), order);
                add(rows.entry(key).or_insert_with(|| Row {
                    cpu: cpu.clone(),
                    return_hook: return_hook.to_owned(),
                    fix: fix.to_owned(),
                    unwinder: subject.name.clone(),
                    unwinder_fix: subject.fix,
                    status: subject.status.clone(),
                    callable: Tally::default(),
                    hypothetical: Tally::default(),
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
                    open = here.add(&of_scenario, &open, &mut row_of);
                }
            }
        }
    }
    rows.into_values().collect()
}

/// The return hook for which a point counts: that of the trampoline that runs or waits, with the scenario's special case, which
/// follows a comma.
pub(super) fn hook_of(trampoline_of: Option<&str>, of_scenario: &str) -> String {
    let Some(name) = trampoline_of else { return of_scenario.to_owned() };
    let special_case = of_scenario.split_once(',').map_or("", |(_, special_case)| special_case);
    if special_case.is_empty() { name.to_owned() } else { format!("{name},{special_case}") }
}

/// Calls a function with the row of a return hook, which it creates if necessary.
type WithRow<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut(&mut Row));

/// The intervals that include an instruction, in the row of each return hook.
type Open = BTreeMap<String, Vec<usize>>;

/// One instruction in one column.
struct Here<'a> {
    section: &'a Section,
    column: usize,
    function: &'a ListedFunction,
    instruction: &'a ListedInstruction,
}

impl Here<'_> {
    /// Adds its points to their rows. `before` are the intervals that include the instruction before.
    fn add(&self, of_scenario: &str, before: &Open, with_row: WithRow<'_>) -> Open {
        let mut here = Open::new();
        for run in self.instruction.runs.get(self.column).into_iter().flatten() {
            for piece in pieces(self.instruction, run) {
                let running = self.function.trampoline_of.as_deref();
                if piece.places.is_empty() && running.is_none() {
                    continue;
                }
                let return_hook = hook_of(running.or(piece.trampoline_of), of_scenario);
                with_row(&return_hook, &mut |row| {
                    let open = here.entry(return_hook.clone()).or_default();
                    self.add_piece(row, run, &piece, open, before.get(&return_hook).map_or(&[], Vec::as_slice));
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
        let is_callable = section.columns[*column].is_callable();
        let tally = if is_callable { &mut row.callable } else { &mut row.hypothetical };
        tally.add(state, run.reachable, piece.walks, &(function.name.clone(), instruction.offset));
        let is_same = |index: &usize| {
            let interval = &row.intervals[*index];
            (interval.state, interval.lost, interval.reachable) == (state, piece.lost, run.reachable)
                && interval.places == piece.places
        };
        let same = open.iter().chain(before).copied().find(is_same);
        let index = same.unwrap_or_else(|| {
            row.intervals.push(Interval {
                scenario: section.scenario.clone(),
                variant: section.variant.clone(),
                interrupt: section.interrupt,
                start: section.columns[*column].start,
                function: function.name.clone(),
                first: instruction.offset,
                last: instruction.offset,
                state,
                lost: piece.lost,
                places: piece.places.to_owned(),
                reachable: run.reachable,
                callable: is_callable,
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

/// Consecutive arrivals at which the address is in the same places; `places` is empty where no address is displaced.
pub(super) struct Piece<'i> {
    pub(super) first: u64,
    pub(super) walks: u64,
    pub(super) places: &'i str,
    lost: bool,
    pub(super) trampoline_of: Option<&'i str>,
}

/// Splits a run of verdicts where the address moves.
pub(super) fn pieces<'i>(instruction: &'i ListedInstruction, run: &Run) -> Vec<Piece<'i>> {
    let mut pieces = Vec::new();
    let mut first = run.first;
    while first <= run.last {
        let displaced = instruction.displaced(first);
        let next = instruction.addresses.iter().map(|address| address.first).filter(|start| *start > first).min();
        let until = displaced.map_or_else(|| next.map_or(run.last, |next| next - 1), |address| address.last);
        let last = until.min(run.last);
        let (places, lost) = displaced.map_or(("", false), |address| (address.places.as_str(), address.lost));
        let trampoline_of = displaced.and_then(|address| address.trampoline_of.as_deref());
        pieces.push(Piece { first, walks: last - first + 1, places, lost, trampoline_of });
        first = last + 1;
    }
    pieces
}
