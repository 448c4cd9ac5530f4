//! Whether each bug is caught before its fix, where and as its exhibit says, and not reported after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::Group;
use super::deviation::{Outcome, Seen};
use super::exhibit::{By, Catch, Exhibit, RunName};

/// The version of the JSON form.
const SCHEMA: u32 = 1;

/// Every exhibit that was judged.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The version of this form.
    pub schema: u32,
    /// The version of the program that made it.
    pub tool: String,
    /// The sums.
    pub totals: Totals,
    /// The titles of the groups, in order.
    pub groups: Vec<String>,
    /// The exhibits, in the order of their groups.
    pub exhibits: Vec<Result>,
    /// What was seen in a run that no exhibit accounts for.
    pub problems: Vec<String>,
}

/// Sums over exhibits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All of them.
    pub pairs: usize,
    /// Those whose bug is caught as they say.
    pub caught: usize,
    /// Those whose fixed half is clean.
    pub clean: usize,
    /// Those of which nothing is known.
    pub not_judged: usize,
}

/// What became of one exhibit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Caught before the fix, clean after it.
    Holds,
    /// The bug is not seen, or not where and as the exhibit says.
    Missed,
    /// It is still seen after the fix.
    Reported,
    /// Both.
    MissedAndReported,
    /// A guest failed, or its run is void, so that nothing is known.
    NotJudged,
}

/// One exhibit, judged.
#[derive(Debug, Clone, Serialize)]
pub struct Result {
    /// Its name.
    pub name: String,
    /// The title of its group.
    pub group: String,
    /// The CPU.
    pub cpu: String,
    /// The project, and the number or commit.
    pub reference: String,
    /// Where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The year.
    pub year: u16,
    /// What was wrong.
    pub cause: String,
    /// The run with the bug: scenario and variant.
    pub defective: String,
    /// The run without it.
    pub fixed: String,
    /// What catches it, and where.
    pub caught_by: Vec<String>,
    /// What became of it.
    pub status: Status,
    /// Why it does not hold; empty if it does.
    pub problems: Vec<String>,
}

impl Result {
    fn of(root: &Path, group: &Group, exhibit: &Exhibit) -> Self {
        Self {
            name: exhibit.name.clone(),
            group: group.title.clone(),
            cpu: exhibit.cpu().to_owned(),
            reference: exhibit.reference.clone(),
            url: exhibit.url.clone(),
            year: exhibit.year,
            cause: exhibit.cause.clone(),
            defective: exhibit.with_bug(root).to_string(),
            fixed: exhibit.without_bug(root).to_string(),
            caught_by: exhibit.caught_by.iter().map(Catch::to_string).collect(),
            status: Status::NotJudged,
            problems: Vec::new(),
        }
    }
}

impl Judged {
    /// Whether every bug is caught, no fix is reported, and everything else that was seen has an exhibit.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.exhibits.iter().all(|result| result.status == Status::Holds)
    }
}

impl Judged {
    /// The results, group by group.
    pub fn by_group(&self) -> impl Iterator<Item = (&str, Vec<&Result>)> {
        self.groups.iter().map(|group| {
            let results = self.exhibits.iter().filter(|result| result.group == *group);
            (&**group, results.collect())
        })
    }
}

/// Judges the selected exhibits by these runs.
pub(super) fn judge(root: &Path, selected: &[Group], all: &[Group], runs: &BTreeMap<RunName, Outcome>) -> Judged {
    let mut exhibits = Vec::new();
    for group in selected {
        for exhibit in &group.exhibits {
            let mut result = Result::of(root, group, exhibit);
            let halves = [exhibit.with_bug(root), exhibit.without_bug(root)].map(|name| runs.get(&name));
            judge_one(exhibit, halves, &mut result);
            exhibits.push(result);
        }
    }
    let count = |is_it: fn(Status) -> bool| exhibits.iter().filter(|result| is_it(result.status)).count();
    let totals = Totals {
        pairs: exhibits.len(),
        caught: count(|status| matches!(status, Status::Holds | Status::Reported)),
        clean: count(|status| matches!(status, Status::Holds | Status::Missed)),
        not_judged: count(|status| status == Status::NotJudged),
    };
    let groups = selected.iter().map(|group| group.title.clone()).collect();
    let problems = unaccounted(root, all, runs);
    Judged { schema: SCHEMA, tool: env!("CARGO_PKG_VERSION").to_owned(), totals, groups, exhibits, problems }
}

fn judge_one(exhibit: &Exhibit, [with_bug, without]: [Option<&Outcome>; 2], result: &mut Result) {
    let (with_bug, without) = match (with_bug, without) {
        (Some(Ok(with_bug)), Some(Ok(without))) => (with_bug, without),
        (Some(Err(reason)), _) => return result.problems.push(format!("{}: {reason}", result.defective)),
        (_, Some(Err(reason))) => return result.problems.push(format!("{}: {reason}", result.fixed)),
        _ => return result.problems.push("it was not run".to_owned()),
    };
    let is_void_meant = exhibit.caught_by.iter().any(|catch| catch.void.is_some());
    for (seen, is_meant, title) in [(with_bug, is_void_meant, &result.defective), (without, false, &result.fixed)] {
        if seen.is_void() && !is_meant {
            let reason = seen.deviations.iter().next().map_or(String::new(), ToString::to_string);
            return result.problems.push(format!("{title}: {reason}"));
        }
    }
    let missed: Vec<String> = exhibit.caught_by.iter().flat_map(|catch| missed(catch, with_bug)).collect();
    let reported = reported(exhibit, without);
    result.status = match (missed.is_empty(), reported.is_empty()) {
        (true, true) => Status::Holds,
        (false, true) => Status::Missed,
        (true, false) => Status::Reported,
        (false, false) => Status::MissedAndReported,
    };
    result.problems.extend(missed.into_iter().chain(reported));
}

/// Where a catch does not see what it should, or sees it elsewhere in the same functions.
fn missed(catch: &Catch, seen: &Seen) -> Vec<String> {
    let Ok(by) = catch.by() else { return vec![format!("{catch}: malformed")] };
    let found: Vec<_> = seen.deviations.iter().filter(|deviation| deviation.is(&by)).collect();
    if matches!(by, By::Void(_)) {
        return if found.is_empty() { vec![format!("missed before the fix: {catch}")] } else { Vec::new() };
    }
    let mut problems = Vec::new();
    for place in &catch.at {
        for offset in BTreeSet::from([place.first, place.last]) {
            let is_here =
                |deviation: &&&super::Deviation| deviation.function == place.function && deviation.offset == offset;
            if !found.iter().any(|deviation| is_here(&deviation)) {
                let what = Catch { at: Vec::new(), ..catch.clone() };
                let instead = instead(catch, seen, &place.function, offset);
                let function = &place.function;
                problems.push(format!("missed before the fix: {what} at {function}+{offset:#x}{instead}"));
            }
        }
    }
    let functions: BTreeSet<&str> = catch.at.iter().map(|place| &*place.function).collect();
    let beyond = found.iter().filter(|deviation| functions.contains(&*deviation.function) && !deviation.is_at(catch));
    problems.extend(beyond.map(|deviation| format!("before the fix also {deviation}, which the exhibit does not say")));
    problems
}

/// What the column has there in place of what it should have.
fn instead(catch: &Catch, seen: &Seen, function: &str, offset: u64) -> String {
    let column = catch.column();
    let is_here = |deviation: &&super::Deviation| {
        deviation.function == function && deviation.offset == offset && deviation.is_of(&column)
    };
    let there: Vec<&str> = seen.deviations.iter().filter(is_here).map(|deviation| &*deviation.what).collect();
    if there.is_empty() { String::new() } else { format!(" (there is {})", there.join(", ")) }
}

/// What the columns that catch the bug still see after the fix, and what they did not look at.
fn reported(exhibit: &Exhibit, seen: &Seen) -> Vec<String> {
    let mut columns: BTreeSet<String> = exhibit.caught_by.iter().map(Catch::column).collect();
    if let Some(walk) = &exhibit.fixed.walk {
        columns = BTreeSet::from([walk.clone()]);
    }
    let functions: BTreeSet<&str> = match &*exhibit.fixed.functions {
        [] => exhibit.functions(),
        named => named.iter().map(String::as_str).collect(),
    };
    let mut problems = Vec::new();
    for deviation in &seen.deviations {
        let is_looked_at = functions.contains(&*deviation.function) && columns.iter().any(|it| deviation.is_of(it));
        let is_explained = exhibit
            .remains
            .iter()
            .any(|remains| remains.seen.by().is_ok_and(|by| deviation.is(&by)) && deviation.is_at(&remains.seen));
        if is_looked_at && !is_explained {
            problems.push(format!("reported after the fix: {deviation}"));
        }
    }
    for remains in &exhibit.remains {
        let again = missed(&remains.seen, seen).into_iter();
        problems.extend(again.map(|problem| problem.replace("missed before the fix", "`remains` is stale")));
    }
    for column in columns.iter().filter(|column| **column != super::exhibit::VOID) {
        for function in functions.iter().filter(|function| !seen.has_judged(column, function)) {
            // Only where the bug itself was looked for.
            if exhibit.fixed.functions.is_empty() && !is_caught_in(exhibit, column, function) {
                continue;
            }
            problems.push(format!(
                "after the fix {column} judges nothing in {function}, so that it is not known to be clean"
            ));
        }
    }
    problems
}

fn is_caught_in(exhibit: &Exhibit, column: &str, function: &str) -> bool {
    let is_there = |catch: &&Catch| catch.at.iter().any(|place| place.function == function);
    let is_column = |catch: &&Catch| exhibit.fixed.walk.is_some() || catch.column() == column;
    exhibit.caught_by.iter().filter(is_column).any(|catch| is_there(&catch))
}

/// What breaks a demand in a run of the museum's own, in functions of which no exhibit says that its bug shows there.
fn unaccounted(root: &Path, all: &[Group], runs: &BTreeMap<RunName, Outcome>) -> Vec<String> {
    let exhibits: Vec<&Exhibit> = all.iter().flat_map(|group| &group.exhibits).collect();
    let mut problems = Vec::new();
    for (name, outcome) in runs.iter().filter(|(name, _)| name.is_ours) {
        let Ok(seen) = outcome else { continue };
        if seen.is_void() {
            continue;
        }
        let here = exhibits.iter().filter(|exhibit| exhibit.with_bug(root) == *name);
        let functions: BTreeSet<&str> = here.flat_map(|exhibit| exhibit.functions()).collect();
        let remains: Vec<&Catch> = exhibits.iter().flat_map(|it| &it.remains).map(|remains| &remains.seen).collect();
        for deviation in seen.deviations.iter().filter(|deviation| deviation.breaks_demand) {
            let is_explained = |catch: &&Catch| catch.by().is_ok_and(|by| deviation.is(&by)) && deviation.is_at(catch);
            if !functions.contains(&*deviation.function) && !remains.iter().any(is_explained) {
                problems.push(format!("{name}: {deviation}: no exhibit says so"));
            }
        }
    }
    problems
}
