//! A recording as test cases, for the formats of test runners. What was not judged, is void or was cut short is never a pass, and
//! neither is a deviation that is expected.

use crate::analysis::novelty::is_of;
use crate::recording::rows::{FunctionRows, GuestRows, Leaf, TableResult, Wrong};
use crate::recording::{ColumnResult, Finding, Novelty, Recording, RunState, Section};
use crate::verdict::Verdict;

/// Test cases that belong together: a run, or a guest whose rows were checked.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
}

/// One test case: a subject of a run, or a table of a function.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

/// What came of a test case.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was judged, and nothing deviates that a gate speaks of.
    Pass,
    /// It breaks gates, for these reasons.
    Fail(Vec<String>),
    /// It deviates, and is expected to, or nobody demands anything else.
    Expected(String),
    /// There is nothing to judge: not there, never reached, or void because the scenario demands it.
    Skipped(String),
    /// It should have been judged, and was not: what it is (`not judged`, `void`, `interrupted`, `partial`), and why.
    Error(&'static str, String),
}

impl Suite {
    fn new(name: impl Into<String>, cases: Vec<Case>) -> Self {
        Self { name: name.into(), cases }
    }

    /// Whether a case fails, or has an error.
    pub(super) fn is_bad(&self) -> bool {
        self.cases.iter().any(|case| matches!(case.outcome, Outcome::Fail(_) | Outcome::Error(..)))
    }

    /// The reason of the first case, if all are skipped.
    pub(super) fn skipped(&self) -> Option<&str> {
        let mut reasons = self.cases.iter().map(|case| match &case.outcome {
            Outcome::Skipped(reason) => Some(reason.as_str()),
            _ => None,
        });
        let first = reasons.next()??;
        reasons.all(|reason| reason.is_some()).then_some(first)
    }
}

impl Case {
    fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Self { name: name.into(), outcome }
    }
}

/// The case that stands for a whole run.
const RUN: &str = "run";

/// The case of gates that are not about one subject or table.
const DEMANDS: &str = "demands";

/// Everything that a recording says, in its order.
pub(super) fn suites(recording: &Recording) -> Vec<Suite> {
    let mut suites: Vec<Suite> = recording.sections.iter().map(of_section).collect();
    suites.extend(recording.rows.iter().map(of_guest));
    if !recording.rows.is_empty() {
        let gates = match recording.row_failures.as_slice() {
            [] => Outcome::Pass,
            broken => Outcome::Fail(broken.to_vec()),
        };
        suites.push(Suite::new("gates on rows", vec![Case::new(DEMANDS, gates)]));
    }
    let is_said = |what: &str| recording.not_judged().any(|(title, _)| title == what);
    let left_out = recording.skipped.iter().filter(|skip| !is_said(&skip.what)).map(|skip| {
        let reason = skip.reason.clone();
        Case::new(&skip.what, if skip.failed { Outcome::Error("not judged", reason) } else { Outcome::Skipped(reason) })
    });
    let left_out: Vec<Case> = left_out.collect();
    if !left_out.is_empty() {
        suites.push(Suite::new("left out", left_out));
    }
    if let Some(reason) = recording.nothing_judged() {
        let unseen = Outcome::Error("not judged", reason.to_owned());
        suites.push(Suite::new("all runs", vec![Case::new("walks", unseen)]));
    }
    if let Some(partial) = &recording.partial {
        let cut = Outcome::Error("partial", partial.to_string());
        suites.push(Suite::new("all runs", vec![Case::new("whole", cut)]));
    }
    suites
}

/// Why a run has no valid result, if it has none; `reason`: why it is void, or was not judged.
fn without_result(state: RunState, reason: Option<&String>) -> Option<Outcome> {
    let reason = reason.cloned().unwrap_or_default();
    match state {
        RunState::Judged => None,
        RunState::VoidAsMeant => Some(Outcome::Skipped(format!("void, as it must be: {reason}"))),
        RunState::Void => Some(Outcome::Error("void", reason)),
        RunState::NotJudged => Some(Outcome::Error("not judged", reason)),
        RunState::Interrupted => Some(Outcome::Error("interrupted", "it did not run to its end".to_owned())),
    }
}

fn of_section(section: &Section) -> Suite {
    let without = without_result(section.state(), section.void.as_ref().or(section.not_judged.as_ref()));
    let has_columns = without.is_none();
    let mut cases: Vec<Case> = without.map(|outcome| Case::new(RUN, outcome)).into_iter().collect();
    let columns: &[ColumnResult] = if has_columns { &section.columns } else { &[] };
    cases.extend(columns.iter().map(|column| Case::new(column.label(), of_column(section, column))));
    let is_of_a_column = |label: &String| columns.iter().any(|column| column.label() == *label);
    let others = section.failures.iter().filter(|failure| !failure.column.as_ref().is_some_and(is_of_a_column));
    let others: Vec<String> = others.map(|failure| failure.message.clone()).collect();
    if !others.is_empty() {
        cases.push(Case::new(DEMANDS, Outcome::Fail(others)));
    } else if has_columns {
        let is_tested = columns.iter().any(|column| column.counters.walks > 0);
        let is_free = section.undemanded && section.agreements.is_empty();
        let demands = match (is_tested, is_free) {
            (false, _) => Outcome::Skipped("no walk was made here, so no demand was tested".to_owned()),
            (true, true) => Outcome::Skipped("nothing is demanded of these walks".to_owned()),
            (true, false) => Outcome::Pass,
        };
        cases.push(Case::new(DEMANDS, demands));
    }
    Suite::new(section.title(), cases)
}

fn of_column(section: &Section, column: &ColumnResult) -> Outcome {
    let label = column.label();
    let own = section.failures.iter().filter(|failure| failure.column.as_ref() == Some(&label));
    let mut broken: Vec<String> = own.map(|failure| failure.message.clone()).collect();
    let findings: Vec<&Finding> = section.findings.iter().filter(|finding| is_of(finding, column)).collect();
    if broken.is_empty() {
        let new = findings.iter().filter(|finding| finding.novelty == Some(Novelty::New));
        broken.extend(new.map(|it| format!("{} at {} ({} walks)", it.verdict, it.range, it.count)));
    }
    let walks = column.counters.walks;
    if !broken.is_empty() {
        return Outcome::Fail(broken);
    }
    if walks == 0 {
        return Outcome::Skipped("it makes no walk here".to_owned());
    }
    if findings.iter().any(|finding| finding.novelty.is_none()) {
        return Outcome::Error("not judged", "no gate was held against its verdicts".to_owned());
    }
    let known = || findings.iter().filter(|finding| finding.novelty == Some(Novelty::Known));
    let mut because: Vec<&str> = Vec::new();
    for reason in known().filter_map(|finding| section.reasons.get(finding.reason?)) {
        if !because.contains(&reason.as_str()) {
            because.push(reason);
        }
    }
    // Of what the demand allows, only what is false without saying so is no pass.
    let is_false = |verdict: Verdict| verdict.is_unsound() || matches!(verdict, Verdict::Overstated(_));
    let allowed = findings.iter().filter(|it| it.novelty != Some(Novelty::Known) && is_false(it.verdict));
    match (known().map(|it| it.count).sum::<u64>(), allowed.map(|it| it.count).sum::<u64>()) {
        (0, 0) => Outcome::Pass,
        (0, count) => {
            Outcome::Expected(format!("{count} of {walks} walks claim what is false, and no gate forbids it"))
        }
        (count, _) => Outcome::Expected(format!("{count} of {walks} walks deviate as listed: {}", because.join("; "))),
    }
}

fn of_guest(guest: &GuestRows) -> Suite {
    let mut cases = Vec::new();
    if let Some(outcome) = without_result(guest.state(), guest.void.as_ref().or(guest.not_judged.as_ref())) {
        cases.push(Case::new(RUN, outcome));
    }
    for function in guest.functions.iter().filter(|function| function.ran > 0) {
        let name = |table: &TableResult| format!("{} {}", function.name, table.format);
        let tables = function.tables.iter();
        cases.extend(tables.map(|table| Case::new(name(table), of_table(function, table, guest.interrupted))));
    }
    let idle = guest.functions.iter().filter(|function| function.ran == 0).count();
    if idle > 0 {
        cases.push(Case::new("functions that did not run", Outcome::Skipped(format!("there are {idle}"))));
    }
    let unread = |format: &str, reason: &str| {
        Case::new(format!("{format} that was not read"), Outcome::Skipped(reason.to_owned()))
    };
    cases.extend(guest.unread.iter().map(|data| unread(&data.format, &data.reason)));
    if guest.outside_functions > 0 {
        let count = guest.outside_functions;
        let reason = format!("{count} instructions that ran lie in no function");
        cases.push(Case::new("code without a symbol", Outcome::Skipped(reason)));
    }
    if cases.is_empty() {
        cases.push(Case::new(RUN, Outcome::Skipped("there is nothing to judge".to_owned())));
    }
    Suite::new(format!("rows of {}", guest.name), cases)
}

/// A wrong part of a row, in one line.
pub(super) fn wrong(function: &FunctionRows, wrong: &Wrong) -> String {
    format!("{}+{:#x} {}: {}", function.name, wrong.offset, wrong.part.name(), wrong.detail)
}

fn of_table(function: &FunctionRows, table: &TableResult, interrupted: bool) -> Outcome {
    let wrongs = || table.wrong.iter().map(|it| wrong(function, it));
    let because = |otherwise: &str| match table.because.as_slice() {
        [] => otherwise.to_owned(),
        reasons => reasons.join("; "),
    };
    match table.wrong_novelty {
        None if table.is_wrong() => {
            return Outcome::Error("not judged", "no list was held against its rows".to_owned());
        }
        Some(Novelty::New) => return Outcome::Fail(wrongs().collect()),
        Some(Novelty::Known | Novelty::Exempt | Novelty::Allowed) => {
            let (count, first) = (table.wrong.len(), wrongs().next().unwrap_or_default());
            let because = because("nothing is demanded of it");
            return Outcome::Expected(format!("{because} ({count} wrong parts, first {first})"));
        }
        None => {}
    }
    if let Some(first) = table.unjudged.first() {
        let reason = format!("{}+{:#x}: {}", function.name, first.first, first.reason);
        return match table.unjudged_novelty {
            Some(Novelty::Known | Novelty::Exempt | Novelty::Allowed) => {
                Outcome::Skipped(format!("not judged: {}", because(&reason)))
            }
            Some(Novelty::New) | None => Outcome::Error("not judged", reason),
        };
    }
    if table.has_no_data() {
        let why = table.no_data_because.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        return Outcome::Skipped(format!("it has no data{why}"));
    }
    if interrupted {
        return Outcome::Error("interrupted", "the rest of the run may show wrong rows".to_owned());
    }
    if let Leaf::Refuted(offset) = table.leaf {
        return Outcome::Expected(format!("its rows claim a leaf, which is false at +{offset:#x}; no gate forbids it"));
    }
    let parts = [Some(table.cfa), Some(table.ra), Some(table.fp), table.saved];
    if parts.into_iter().flatten().all(|part| part.judged == 0) {
        return Outcome::Skipped("no row has anything to be compared with".to_owned());
    }
    Outcome::Pass
}
