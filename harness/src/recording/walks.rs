//! The walks of a run in words: what a frozen case records, and what its replay is compared with.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::agreement::{Agreement, Disagreement, RECORDED};
use crate::case::{Row, Walks};
use crate::cpu::CodeAddress;
use crate::experiment::{Arrival, Column, Visit};
use crate::guest::Symbols;
use crate::oracle::Truth;
use crate::subject::{End, MAX_ENTRIES, Question, Scope};

/// The interrupted instruction of a point, in a trace that shows it. So the traces of neighbours are the same text.
const HERE: &str = "(here)";

/// Writes down every walk of the kernel's own unwinder; in a guest without one, those of all subjects.
#[derive(Debug)]
pub struct WalkLog<'p> {
    symbols: &'p Symbols,
    /// For each column its place in a row, if its walks are written down.
    places: Vec<Option<usize>>,
    labels: Vec<String>,
    rows: Vec<Row>,
    /// The addresses that are named in the rows.
    named: BTreeSet<u64>,
}

/// What was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The labels of the columns.
    pub labels: Vec<String>,
    /// The points, in the order of the run.
    pub rows: Vec<Row>,
    /// The addresses that are named in the rows.
    pub named: BTreeSet<u64>,
}

impl<'p> WalkLog<'p> {
    /// Of a run with these columns.
    #[must_use]
    pub fn new(symbols: &'p Symbols, columns: &[Column<'_>]) -> Self {
        let is_own = |column: &&Column<'_>| matches!(column.subject.about().scope, Scope::Own(_));
        let has_own = columns.iter().any(|column| is_own(&column));
        let mut labels = Vec::new();
        let mut places = vec![None; columns.len()];
        for column in columns.iter().filter(|column| !has_own || is_own(column)) {
            places[column.index] = Some(labels.len());
            labels.push(column.label());
        }
        Self { symbols, places, labels, rows: Vec::new(), named: BTreeSet::new() }
    }

    /// What was written down.
    #[must_use]
    pub fn finish(self) -> Written {
        Written { labels: self.labels, rows: self.rows, named: self.named }
    }

    /// Claim, end, and the entries after the start, which is given, at the point `here`.
    fn trace(&mut self, here: u64, column: &Column<'_>, question: &Question<'_>) -> Arc<str> {
        let why = RefCell::default();
        let mut entries: Vec<CodeAddress> = Vec::new();
        let outcome = column.subject.walk(&Question { why: Some(&why), ..*question }, &mut |entry| {
            entries.push(entry.pc);
            if entries.len() < MAX_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.named.extend(entries.iter().map(|pc| pc.lookup()));
        let why = match column.subject.about().scope {
            Scope::Own(_) => why.into_inner(),
            _ => String::new(), // words of ours, which may change
        };
        let end = match outcome.end {
            _ if !why.is_empty() => why,
            End::Outermost => "at the end".to_owned(),
            End::Stopped => "stopped".to_owned(),
            End::Full => "full".to_owned(),
            End::Crashed => "crashed".to_owned(),
            End::TimedOut => "timed out".to_owned(),
        };
        let name = |pc: &CodeAddress| if pc.value() == here { HERE.to_owned() } else { self.symbols.name_of(*pc) };
        let names: Vec<String> = entries.iter().skip(1).map(name).collect();
        format!("{}, {end}: {}", outcome.claim, names.join(" < ")).trim_end().into()
    }
}

impl Visit for WalkLog<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, _: &Truth) {
        let Some(place) = self.places[column.index] else { return };
        let outer = within.map(|outer| format!("{outer}/")).unwrap_or_default();
        let point = format!("{outer}{}#{}", self.symbols.name(at.pc), at.visit).replace(' ', "_");
        let trace = Some(self.trace(at.pc, column, question));
        match self.rows.last_mut() {
            Some(row) if row.point == point && row.traces[place].is_none() => row.traces[place] = trace,
            _ => {
                let mut traces = vec![None; self.labels.len()];
                traces[place] = trace;
                self.rows.push(Row { point, traces });
            }
        }
    }
}

/// The walks of one column, with their points.
fn of_column<'r>(labels: &[String], rows: &'r [Row], label: &str) -> Vec<(&'r str, &'r str)> {
    let Some(place) = labels.iter().position(|other| other == label) else { return Vec::new() };
    rows.iter().filter_map(|row| Some((row.point.as_str(), row.traces.get(place)?.as_deref()?))).collect()
}

/// Compares the recorded walks of the columns that `ran` with those of this run: walk by walk, in the order of the run.
///
/// # Errors
///
/// As [`Walks::rows`].
pub fn compare(recorded: &Walks, now: &Written, ran: &dyn Fn(&str) -> bool) -> Result<Vec<Agreement>, String> {
    let rows = recorded.rows()?;
    let mut agreements = Vec::new();
    for label in recorded.columns.iter().filter(|label| ran(label)) {
        let then = of_column(&recorded.columns, &rows, label);
        let now = of_column(&now.labels, &now.rows, label);
        let points = then.len().max(now.len());
        let differing = || (0..points).filter(|index| then.get(*index) != now.get(*index));
        let first = differing().next().map(|index| {
            let walk = |walk: Option<&(&str, &str)>| {
                vec![walk.map_or("no walk".to_owned(), |(point, trace)| format!("{point}: {trace}"))]
            };
            let point = then.get(index).or(now.get(index)).map(|(point, _)| (*point).to_owned());
            let (own, model) = (walk(now.get(index)), walk(then.get(index)));
            Disagreement { point: point.unwrap_or_default(), own, model }
        });
        agreements.push(Agreement {
            own: label.clone(),
            model: RECORDED.to_owned(),
            points: points as u64,
            differ: differing().count() as u64,
            first,
        });
    }
    Ok(agreements)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Row, Walks, Written, compare};

    #[test]
    fn a_walk_that_differs_or_is_missing_is_named() {
        let row = |point: &str, trace: &str| Row { point: point.to_owned(), traces: vec![Some(trace.into())] };
        let labels = vec!["linux@regs".to_owned()];
        let rows = vec![row("a+0x0#1", "x"), row("a+0x4#1", "y")];
        let recorded = Walks::new("irq".to_owned(), labels.clone(), &rows);
        let now = |rows: &[Row]| Written { labels: labels.clone(), rows: rows.to_vec(), named: BTreeSet::new() };
        let differ = |rows: &[Row]| {
            let found = compare(&recorded, &now(rows), &|_| true).unwrap().remove(0);
            (found.points, found.differ, found.first.map(|first| first.point))
        };
        assert_eq!(differ(&rows), (2, 0, None));
        assert_eq!(differ(&[row("a+0x0#1", "x"), row("a+0x4#1", "z")]), (2, 1, Some("a+0x4#1".to_owned())));
        assert_eq!(differ(&rows[..1]), (2, 1, Some("a+0x4#1".to_owned())));
        assert_eq!(differ(&[row("a+0x0#1", "x"), row("a+0x8#1", "y")]), (2, 1, Some("a+0x4#1".to_owned())));
        assert_eq!(differ(&[&rows[..], &[row("b+0x0#1", "x")]].concat()), (3, 1, Some("b+0x0#1".to_owned())));
        // A column that did not run is no difference, one that ran without a walk is.
        assert_eq!(compare(&recorded, &now(&[]), &|_| false), Ok(Vec::new()));
        assert_eq!(differ(&[]), (2, 2, Some("a+0x0#1".to_owned())));
    }
}
