//! The intervals of the atlas, folded: starts and kinds of interruption that fare alike in a function are one, and so are unwinders.

use std::collections::{BTreeMap, BTreeSet};

use super::atlas::{Interval, Row, State};
use super::windows::badness;
use crate::recording::{Recording, Section};
use crate::scenario::Interruption;
use crate::subject::Start;

/// Unwinders of one CPU, return hook and fix that fare alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded<'r> {
    /// The first one's row.
    pub row: &'r Row,
    /// Their names.
    pub unwinders: Vec<&'r str>,
    /// Where they are not right, or no rule can find the address.
    pub windows: Vec<Window>,
}

/// Neighbouring instructions at which the same askers fare the same, at worst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The function.
    pub function: String,
    /// The first instruction's offset, in bytes.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// How many instructions.
    pub instructions: usize,
    /// What the unwinder does there, at worst.
    pub state: State,
    /// Whether no rule can find the address.
    pub lost: bool,
    /// From where the walks start, after which kinds of interruption.
    pub askers: BTreeMap<Start, BTreeSet<Interruption>>,
    /// Whether an interruption can arrive there, after which Linux asks for a walk from such a start.
    pub is_real: bool,
    /// The command that explains the worst of them to the first unwinder.
    pub command: String,
}

impl Window {
    /// `leaf+0x0..+0xc`, or one instruction.
    #[must_use]
    pub fn range(&self) -> String {
        let Self { function, first, last, .. } = self;
        if first == last { format!("{function}+{first:#x}") } else { format!("{function}+{first:#x}..+{last:#x}") }
    }

    /// Whether another unwinder's is the same.
    fn is_like(&self, other: &Self) -> bool {
        Self { command: String::new(), ..self.clone() } == Self { command: String::new(), ..other.clone() }
    }
}

/// Folds the intervals of rows.
#[must_use]
pub fn fold<'r>(recording: &Recording, rows: &'r [Row]) -> Vec<Folded<'r>> {
    let mut by_run: BTreeMap<Run<'_>, &Section> = BTreeMap::new();
    for section in &recording.sections {
        by_run.insert((&section.scenario, section.variant.as_deref(), section.interrupt), section);
    }
    let mut folded: Vec<Folded<'r>> = Vec::new();
    for row in rows {
        let windows = windows(row, &by_run);
        let is_twin = |other: &&mut Folded<'_>| {
            row.names()[..3] == other.row.names()[..3]
                && other.windows.len() == windows.len()
                && other.windows.iter().zip(&windows).all(|(one, other)| one.is_like(other))
        };
        match folded.iter_mut().find(is_twin) {
            Some(twin) => twin.unwinders.push(&row.unwinder),
            None => folded.push(Folded { row, unwinders: vec![&row.unwinder], windows }),
        }
    }
    folded
}

/// A run's scenario, variant and kind.
type Run<'r> = (&'r str, Option<&'r str>, Interruption);

/// The worst at each instruction, by its offset.
type Strip<'r> = BTreeMap<u64, &'r Interval>;

/// The windows of a row, function by function.
fn windows(row: &Row, by_run: &BTreeMap<Run<'_>, &Section>) -> Vec<Window> {
    let mut functions: BTreeMap<&str, BTreeMap<(Start, Interruption), Strip<'_>>> = BTreeMap::new();
    for interval in &row.intervals {
        let strips = functions.entry(&interval.function).or_default();
        let strip = strips.entry((interval.start, interval.interrupt)).or_default();
        let run = (interval.scenario.as_str(), interval.variant.as_deref(), interval.interrupt);
        let section = by_run.get(&run).into_iter().flat_map(|section| &section.functions);
        let code = section.filter(|function| function.name == interval.function);
        let offsets = code.flat_map(|function| &function.instructions).map(|instruction| instruction.offset);
        for offset in offsets.filter(|offset| (interval.first..=interval.last).contains(offset)) {
            let worst = strip.entry(offset).or_insert(interval);
            if rank(interval) > rank(worst) {
                *worst = interval;
            }
        }
    }
    functions.values().flat_map(|strips| of_function(row, strips)).collect()
}

/// By what the worst is found: what can happen comes before what cannot.
const fn rank(interval: &Interval) -> (u8, bool, bool) {
    (badness(interval.state), interval.lost, interval.reachable && interval.callable)
}

/// Who fares how at an instruction: by state, and whether the address is lost.
type Fares<'r> = BTreeMap<(State, bool), Vec<(Start, Interruption, &'r Interval)>>;

fn of_function(row: &Row, strips: &BTreeMap<(Start, Interruption), Strip<'_>>) -> Vec<Window> {
    // At each instruction the askers, by how they fare.
    let mut at: BTreeMap<u64, Fares<'_>> = BTreeMap::new();
    for ((start, kind), strip) in strips {
        for (offset, interval) in strip {
            let fares = at.entry(*offset).or_default();
            fares.entry((interval.state, interval.lost)).or_default().push((*start, *kind, interval));
        }
    }
    let mut windows: Vec<Window> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (offset, fares) in at {
        let mut still_open = Vec::new();
        for ((state, lost), found) in fares {
            if state == State::Recovered && !lost {
                continue;
            }
            let mut askers: BTreeMap<Start, BTreeSet<Interruption>> = BTreeMap::new();
            for (start, kind, _) in &found {
                askers.entry(*start).or_default().insert(*kind);
            }
            let real = found.iter().find(|(.., interval)| interval.reachable && interval.callable);
            let is_real = real.is_some();
            let same = |index: &&usize| {
                let window = &windows[**index];
                (window.state, window.lost, window.is_real) == (state, lost, is_real) && window.askers == askers
            };
            let index = open.iter().find(same).copied().unwrap_or_else(|| {
                let worst = real.or(found.first()).map(|(.., interval)| interval.command(&row.unwinder));
                windows.push(Window {
                    function: found.first().map(|(.., interval)| interval.function.clone()).unwrap_or_default(),
                    first: offset,
                    last: offset,
                    instructions: 0,
                    state,
                    lost,
                    askers,
                    is_real,
                    command: worst.unwrap_or_default(),
                });
                windows.len() - 1
            });
            windows[index].last = offset;
            windows[index].instructions += 1;
            still_open.push(index);
        }
        open = still_open;
    }
    windows
}
