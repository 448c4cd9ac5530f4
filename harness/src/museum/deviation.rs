//! What was seen in one run: verdicts that are not exact, rows that are wrong, or no verdicts at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::exhibit::{By, Catch, NO_DATA, UNJUDGED, VOID, rows_of};
use crate::recording::Section;
use crate::recording::rows::{GuestRows, TableResult};
use crate::scenario::Scenario;

/// Something that is not as the truth is, at one instruction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deviation {
    /// The function; empty for a void run, and for data that belong to no function.
    pub function: String,
    /// The instruction, from the start of the function.
    pub offset: u64,
    /// The unwinder, with `@start` if that is not `live`; or `rows_of` a table; or `VOID`.
    pub column: String,
    /// The unwinder, without the start.
    pub subject: String,
    /// The verdict; or what is wrong with the row; or why the run is void.
    pub what: String,
    /// Whether the scenario demands otherwise. What it allows is not clean, but no one has said that it is a bug.
    pub breaks_demand: bool,
}

impl Deviation {
    fn of_run(what: String) -> Self {
        let column = VOID.to_owned();
        Self { function: String::new(), offset: 0, subject: column.clone(), column, what, breaks_demand: true }
    }

    fn of_rows(table: &str, function: &str, offset: u64, what: &str) -> Self {
        let column = rows_of(table);
        let breaks_demand = what != NO_DATA;
        Self {
            function: function.to_owned(),
            offset,
            subject: column.clone(),
            column,
            what: what.to_owned(),
            breaks_demand,
        }
    }

    /// Whether it is what a catch describes, wherever it is.
    #[must_use]
    pub fn is(&self, by: &By<'_>) -> bool {
        match by {
            By::Walk(walk, verdict) => self.is_of(walk) && self.what == verdict.to_string(),
            By::Rows(table, wrong) => self.column == rows_of(table) && self.what == *wrong,
            By::Void(reason) => self.column == VOID && self.what.contains(reason),
        }
    }

    /// Whether it is one of this column. An unwinder without a start has all of them.
    #[must_use]
    pub fn is_of(&self, column: &str) -> bool {
        self.column == column || self.subject == column
    }

    /// Whether a catch names the instruction.
    #[must_use]
    pub fn is_at(&self, catch: &Catch) -> bool {
        let is_in = |place: &crate::scenario::Range| {
            place.function == self.function && (place.first..=place.last).contains(&self.offset)
        };
        catch.at.iter().any(is_in)
    }
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, offset, column, what, .. } = self;
        if function.is_empty() {
            return write!(formatter, "{column}: {what}");
        }
        write!(formatter, "{column} {what} at {function}+{offset:#x}")
    }
}

/// What one run has shown; or why its guest failed.
pub(super) type Outcome = Result<Arc<Seen>, String>;

/// What one run has shown.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What is not as the truth is.
    pub deviations: BTreeSet<Deviation>,
    /// The functions in which each column was judged, right or wrong.
    judged: BTreeMap<String, BTreeSet<String>>,
}

impl Seen {
    /// Adds the walks of one kind of interruption.
    pub fn add_section(&mut self, scenario: &Scenario, section: &Section) {
        if let Some(reason) = &section.void {
            self.deviations.insert(Deviation::of_run(reason.clone()));
            return;
        }
        for finding in &section.findings {
            let level = scenario.text.level(&finding.subject, finding.start, section.gate(&finding.subject));
            let is_allowed = level.allows(finding.verdict);
            self.deviations.extend(section.offsets(finding).map(|offset| Deviation {
                function: finding.range.function.clone(),
                offset,
                column: finding.label(),
                subject: finding.subject.clone(),
                what: finding.verdict.to_string(),
                breaks_demand: !is_allowed,
            }));
        }
        for (index, column) in section.columns.iter().enumerate() {
            for function in &section.functions {
                let has_walks = |runs: &Vec<Vec<_>>| runs.get(index).is_some_and(|runs| !runs.is_empty());
                if function.instructions.iter().any(|instruction| has_walks(&instruction.runs)) {
                    for name in [column.label(), column.name.clone()] {
                        self.judged.entry(name).or_default().insert(function.name.clone());
                    }
                }
            }
        }
    }

    /// Adds the rows. Where a return hook replaces return addresses, rows that cannot be judged for that are no one's bug.
    pub fn add_rows(&mut self, scenario: &Scenario, guest: &GuestRows) {
        if let Some(reason) = &guest.void {
            self.deviations.insert(Deviation::of_run(reason.clone()));
            return;
        }
        for function in guest.functions.iter().filter(|function| function.ran > 0) {
            for table in &function.tables {
                self.add_table(scenario, &function.name, table);
            }
        }
        for unread in &guest.unread {
            self.deviations.insert(Deviation::of_rows(&unread.format, "", 0, UNJUDGED));
        }
    }

    fn add_table(&mut self, scenario: &Scenario, function: &str, table: &TableResult) {
        let format = &*table.format;
        for wrong in &table.wrong {
            self.deviations.insert(Deviation::of_rows(format, function, wrong.offset, wrong.part.name()));
        }
        for unjudged in &table.unjudged {
            // Both ends, whatever lies between.
            for offset in [unjudged.first, unjudged.last] {
                let deviation = Deviation::of_rows(format, function, offset, UNJUDGED);
                let breaks_demand = scenario.text.return_hook.is_none();
                self.deviations.insert(Deviation { breaks_demand, ..deviation });
            }
        }
        if table.has_no_data() {
            self.deviations.insert(Deviation::of_rows(format, function, 0, NO_DATA));
        } else {
            self.judged.entry(rows_of(format)).or_default().insert(function.to_owned());
        }
    }

    /// Whether a column was judged in a function at all: without that, clean means nothing.
    #[must_use]
    pub fn has_judged(&self, column: &str, function: &str) -> bool {
        self.judged.get(column).is_some_and(|functions| functions.contains(function))
    }

    /// Whether the run has verdicts.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.deviations.iter().any(|deviation| deviation.column == VOID)
    }
}
