//! What a reader should know first: how many distinct instructions leave a hooked caller out of a trace that is said to be
//! reliable, mainline, proposals and designs apart, and what can happen in Linux apart from questions about the algorithm.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::atlas::{Row, Tally};
use crate::guest::conventions::trampoline_of;
use crate::guest::return_hook::PLAIN;
use crate::recording::{Finding, Recording, Section};
use crate::scenario::Interruption;
use crate::subject::Status;
use crate::verdict::{Deviation, Verdict};

/// The starts that a headline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// Those from which Linux asks for a trace.
    Callable,
    /// The others.
    Hypothetical,
}

impl Starts {
    /// A row's walks from these starts.
    #[must_use]
    pub const fn of(self, row: &Row) -> &Tally {
        match self {
            Self::Callable => &row.callable,
            Self::Hypothetical => &row.hypothetical,
        }
    }
}

/// The columns of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Linux as it is: its unwinders and its trampoline.
    Mainline,
    /// What patches or reviews propose, over Linux's trampoline or one that a mail proposes.
    Proposals,
    /// Fixes of this project.
    Designs,
}

impl Group {
    /// All of them, in the order of columns.
    pub const ALL: [Self; 3] = [Self::Mainline, Self::Proposals, Self::Designs];

    /// The group of a row. `undefined` was proposed on the list for Linux's trampoline (docs/threads.md).
    #[must_use]
    pub fn of(row: &Row) -> Self {
        match (row.fix.as_str(), &row.status) {
            (PLAIN, Status::Mainline) => Self::Mainline,
            (PLAIN, Status::Proposal { .. }) | ("undefined", _) => Self::Proposals,
            _ => Self::Designs,
        }
    }
}

/// One line of the summary: a CPU and a return hook with its special case.
#[derive(Debug)]
pub struct Case<'r> {
    /// The CPU.
    pub cpu: &'r str,
    /// The return hook, and the special case after a comma.
    pub return_hook: &'r str,
    /// By group and fix.
    pub rows: BTreeMap<(Group, &'r str), Vec<&'r Row>>,
}

/// The lines of the summary, in the order of the atlas. None is dropped.
#[must_use]
pub fn cases(rows: &[Row]) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for row in rows {
        let is_it = |case: &&mut Case<'_>| (case.cpu, case.return_hook) == (&row.cpu, &row.return_hook);
        let key = (Group::of(row), row.fix.as_str());
        match cases.iter_mut().find(is_it) {
            Some(case) => case.rows.entry(key).or_default().push(row),
            None => cases.push(Case {
                cpu: &row.cpu,
                return_hook: &row.return_hook,
                rows: BTreeMap::from([(key, vec![row])]),
            }),
        }
    }
    cases
}

/// Of rows of one fix, the one with the most unsound instructions from these starts, and the one with the fewest. What is equal
/// there is ordered by unsound walks, then by walks that are right. `None` if none of them walks from these starts.
#[must_use]
pub fn worst_and_best<'r>(rows: &[&'r Row], starts: Starts) -> Option<(&'r Row, &'r Row)> {
    let badness = |row: &&Row| {
        let tally = starts.of(row);
        (tally.unsound_instructions.len(), tally.unsound, Reverse(tally.recovered))
    };
    let walking = || rows.iter().copied().filter(|row| starts.of(row).walks > 0);
    Some((walking().max_by_key(badness)?, walking().min_by_key(badness)?))
}

/// What an unwinder of Linux, or one that is proposed for it, misses from callable starts while the function graph tracer of
/// Linux runs.
#[derive(Debug)]
pub struct Hole<'r> {
    /// The unwinder's row.
    pub row: &'r Row,
    /// Where a preempted task is unsound: one for each function that was interrupted.
    pub preempted: Vec<Preempted>,
    /// Where a task that calls the scheduler itself is unsound: one for each distinct path.
    pub switched: Vec<Switched>,
}

/// The unsound instructions of a function at which a task is preempted.
#[derive(Debug)]
pub struct Preempted {
    /// The function.
    pub function: String,
    /// Neighbouring instructions, first and last offset.
    pub ranges: Vec<(u64, u64)>,
    /// How many instructions.
    pub unsound: usize,
    /// At how many of the function's instructions a task can be preempted.
    pub preemptible: usize,
    /// At how many that ran it cannot be, because preemption is off.
    pub off: usize,
    /// What is missing.
    pub missing: Missing,
    /// The command that explains the first point.
    pub command: String,
}

/// A voluntary switch with an unsound walk.
#[derive(Debug)]
pub struct Switched {
    /// Where functions wait, youngest first, down to the one before the first that is missing.
    pub path: Vec<String>,
    /// What is missing.
    pub missing: Missing,
    /// The command that explains the first point.
    pub command: String,
}

/// What a trace misses, in the guests' names.
#[derive(Debug, Default)]
pub struct Missing {
    /// The functions of true activations that the traces leave out.
    pub functions: BTreeSet<String>,
    /// Whether nothing is in their place and the rest is there.
    pub is_skipped: bool,
}

/// The holes of mainline and proposed unwinders, by the order of rows.
#[must_use]
pub fn holes<'r>(recording: &Recording, rows: &'r [Row]) -> Vec<Hole<'r>> {
    let of_linux = rows.iter().filter(|row| row.return_hook == "fgraph" && row.fix == PLAIN);
    let open = of_linux.filter(|row| Group::of(row) != Group::Designs && !row.callable.unsound_instructions.is_empty());
    open.map(|row| hole(recording, row)).collect()
}

fn hole<'r>(recording: &Recording, row: &'r Row) -> Hole<'r> {
    let is_of = |section: &&Section| {
        let hook = section.return_hook.as_ref();
        section.void.is_none()
            && section.scenario.split('/').next() == Some(&row.cpu)
            && hook.is_some_and(|hook| hook.name == row.return_hook && hook.build == row.fix)
    };
    let sections: Vec<&Section> = recording.sections.iter().filter(is_of).collect();
    let unsound = |section: &&Section, kind: Interruption| -> Vec<Finding> {
        let callable = |finding: &&Finding| {
            let mut columns = section.columns.iter();
            let column = columns.find(|it| (&it.name, it.start) == (&finding.subject, finding.start));
            finding.subject == row.unwinder
                && finding.reachable
                && matches!(finding.verdict, Verdict::Unsound(_))
                && column.is_some_and(|it| it.is_callable())
        };
        if section.interrupt == kind { section.findings.iter().filter(callable).cloned().collect() } else { Vec::new() }
    };
    let mut preempted: BTreeMap<String, Vec<(&Section, Finding)>> = BTreeMap::new();
    let mut switched: Vec<Switched> = Vec::new();
    for section in sections {
        for finding in unsound(&section, Interruption::Preempt) {
            if row.callable.unsound_instructions.iter().any(|(function, _)| *function == finding.range.function) {
                preempted.entry(finding.range.function.clone()).or_default().push((section, finding));
            }
        }
        for finding in unsound(&section, Interruption::Voluntary) {
            let missing = missing(std::iter::once(&finding));
            let waits = finding.first.expected.iter();
            let path: Vec<String> = waits.take_while(|at| !missing.functions.contains(function(at))).cloned().collect();
            // A point counts for the trampoline that waits: what ftrace_caller calls is in another row.
            let hook = path.iter().find_map(|at| trampoline_of(function(at)));
            let is_new = !switched.iter().any(|known| tail(&known.path) == tail(&path));
            if hook == Some(row.return_hook.as_str()) && is_new {
                switched.push(Switched { path, missing, command: command(section, &finding) });
            }
        }
    }
    let preempted = preempted.into_iter().map(|(function, findings)| at(row, function, &findings)).collect();
    Hole { row, preempted, switched }
}

/// What makes two voluntary switches the same place of the kernel: the youngest functions, and not those of the guest that call
/// them.
fn tail(path: &[String]) -> Vec<&str> {
    path.iter().take(4).map(|place| function(place)).collect()
}

fn at(row: &Row, name: String, findings: &[(&Section, Finding)]) -> Preempted {
    let unsound: BTreeSet<u64> =
        row.callable.unsound_instructions.iter().filter(|(function, _)| *function == name).map(|(_, at)| *at).collect();
    // What ran and what was a point, over the builds of the function in all guests.
    let (mut all, mut points, mut ran) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (section, _) in findings {
        let column = section.columns.iter().position(|it| it.name == row.unwinder && it.is_callable());
        let functions = section.functions.iter().filter(|listed| listed.name == name);
        for instruction in functions.flat_map(|listed| &listed.instructions) {
            all.insert(instruction.offset);
            let runs = column.and_then(|column| instruction.runs.get(column));
            if runs.is_some_and(|runs| !runs.is_empty()) {
                points.insert(instruction.offset);
            }
            if instruction.visits > 0 {
                ran.insert(instruction.offset);
            }
        }
    }
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut is_open = false;
    for offset in all {
        let is_here = unsound.contains(&offset) && points.contains(&offset);
        match ranges.last_mut().filter(|_| is_open && is_here) {
            Some(range) => range.1 = offset,
            None if is_here => ranges.push((offset, offset)),
            None => {}
        }
        is_open = is_here;
    }
    Preempted {
        ranges,
        unsound: unsound.intersection(&points).count(),
        preemptible: points.len(),
        off: ran.difference(&points).count(),
        missing: missing(findings.iter().map(|(_, finding)| finding)),
        command: findings.first().map(|(section, finding)| command(section, finding)).unwrap_or_default(),
        function: name,
    }
}

fn missing<'f>(findings: impl Iterator<Item = &'f Finding>) -> Missing {
    let mut missing = Missing { is_skipped: true, ..Missing::default() };
    for finding in findings {
        missing.is_skipped &= finding.verdict == Verdict::Unsound(Deviation::Skipped);
        let lost = finding.first.expected.iter().find(|place| !finding.first.got.contains(place));
        missing.functions.extend(lost.map(|place| function(place).to_owned()));
    }
    missing
}

/// The function of `name+0x8`.
fn function(place: &str) -> &str {
    place.split_once('+').map_or(place, |(name, _)| name)
}

/// The command that explains the first point of a finding.
pub(super) fn command(section: &Section, finding: &Finding) -> String {
    let variant = section.variant.as_ref().map(|name| format!(" --variant {name}")).unwrap_or_default();
    let (scenario, point, subject) = (&section.scenario, &finding.first.point, &finding.subject);
    let kind = section.interrupt.name();
    format!("unwind-harness explain {scenario} {point} --interrupt {kind}{variant} --unwinder {subject}")
}
