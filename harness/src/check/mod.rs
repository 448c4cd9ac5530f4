//! Unwind rows, held against the truth: each guest runs once, undisturbed, and before each instruction every table is asked for
//! the way from the running function to its caller. No walk is made, so a wrong row cannot hide behind a right one.

mod claim;
pub mod json;
mod judge;
mod run;
pub mod text;

use std::path::Path;

use kunwind::Format;

use crate::Error;
use crate::oracle::Witnesses;
use crate::prepared::Prepared;
use crate::scenario::{Scenario, Variant};

pub use claim::Leaf;

/// The tables that are held against the truth, in the order of reports.
pub const FORMATS: [Format; 2] = [Format::SFrame, Format::Dwarf];

/// What was found: plain data.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One for each guest with unwind data, in the order of scenarios.
    pub guests: Vec<Guest>,
    /// Wrong rows of which no scenario gives the reason, and reasons for rows that are right.
    pub broken: Vec<String>,
}

/// The unwind data of one guest.
#[derive(Debug, Clone)]
pub struct Guest {
    /// `<cpu>/<file's stem>`.
    pub name: String,
    /// The scenario that says how it is entered and where its stacks lie.
    pub scenario: String,
    /// Why nothing of the run may be believed.
    pub void: Option<String>,
    /// Whether the scenario says that it must be.
    pub void_is_meant: bool,
    /// All its functions, by address; none of a void run.
    pub functions: Vec<Function>,
}

/// The rows of one function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// How often one of its instructions was about to run.
    pub points: u64,
    /// How many instructions it has.
    pub instructions: usize,
    /// How many of them ran.
    pub ran: usize,
    /// What each table that the guest has says of it.
    pub tables: Vec<TableResult>,
    /// Whether the tables say the same.
    pub agreement: Agreement,
}

/// Whether two tables say the same of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// There is no instruction of which both say something.
    None,
    /// They do, at every instruction of which both say something.
    Same,
    /// They do not, first at this offset.
    Differ(u64),
}

/// What one table says of a function.
#[derive(Debug, Clone)]
pub struct TableResult {
    /// The table.
    pub format: Format,
    /// At how many instructions it says something, whether they ran or not.
    pub covered: usize,
    /// For each part of a row, how many instructions could be judged, and how many of them were right at each arrival.
    pub parts: [PartResult; 3],
    /// Whether its rows claim that the function is a leaf, and whether that is so.
    pub leaf: Leaf,
    /// What is wrong, by offset.
    pub wrong: Vec<Wrong>,
}

impl TableResult {
    /// Whether something in it is false.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// The first instruction at which something is false.
    #[must_use]
    pub fn first_wrong(&self) -> Option<u64> {
        self.wrong.first().map(|wrong| wrong.offset)
    }
}

/// How one part of a function's rows stands the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartResult {
    /// Instructions that ran, have a row, and a true caller to compare it with.
    pub judged: usize,
    /// Those at which it was right at each arrival.
    pub right: usize,
}

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Where the frame begins.
    Cfa,
    /// The place of the return address; or that there is no caller.
    Ra,
    /// The place of the caller's frame pointer.
    Fp,
}

impl Part {
    /// In the order of [`TableResult::parts`].
    pub const ALL: [Self; 3] = [Self::Cfa, Self::Ra, Self::Fp];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cfa => "cfa",
            Self::Ra => "ra",
            Self::Fp => "fp",
        }
    }
}

/// A part of a row that is not the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The instruction, from the start of its function.
    pub offset: u64,
    /// Which part.
    pub part: Part,
    /// What it comes to and what it should, at the first arrival where it was wrong.
    pub detail: String,
}

/// One guest, as one scenario runs it.
struct Job<'a> {
    scenario: &'a Scenario,
    variant: Variant,
    name: String,
}

/// The guest of a scenario's variant: `<cpu>/<file's stem>`.
fn name_of(scenario: &Scenario, variant: &Variant) -> String {
    format!("{}/{}", scenario.arch.name(), variant.guest.as_ref().unwrap_or(&scenario.text.guest))
}

/// The guests of these scenarios, each once.
fn jobs(scenarios: &[Scenario]) -> Vec<Job<'_>> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for scenario in scenarios {
        for variant in scenario.variants() {
            let name = name_of(scenario, &variant);
            if !jobs.iter().any(|job| job.name == name) {
                jobs.push(Job { scenario, variant, name });
            }
        }
    }
    jobs
}

/// Checks the guests of these scenarios, each once; guests without unwind data are left out. `all` are the scenarios whose
/// lists of wrong rows excuse a guest.
///
/// # Errors
///
/// Whatever keeps a guest from being loaded or from running to its end.
pub fn run_all(root: &Path, scenarios: &[Scenario], all: &[Scenario]) -> Result<Report, Error> {
    let mut report = Report::default();
    for job in jobs(scenarios) {
        let prepared = Prepared::load(root, job.scenario, &job.variant)?;
        if FORMATS.iter().any(|format| prepared.tables.get(*format).is_some()) {
            report.guests.push(check(&prepared, job.scenario, &job.name)?);
        }
    }
    report.broken = unlisted(&report, all);
    report.broken.extend(stale(&report, scenarios));
    Ok(report)
}

/// Checks the tables of one guest that is ready to run, without a look at any list.
///
/// # Errors
///
/// Whatever keeps it from running to its end.
pub fn check(prepared: &Prepared, scenario: &Scenario, name: &str) -> Result<Guest, Error> {
    let text = &scenario.text;
    let mut run = run::Run::new(prepared, text, Witnesses::default());
    prepared.machine_for(text)?.run(&mut run, text.budget)?;
    let (void, functions) = run.finish(&text.never_resumes);
    Ok(Guest {
        name: name.to_owned(),
        scenario: scenario.name.clone(),
        void_is_meant: void.as_ref().is_some_and(|reason| scenario.means_void(reason)),
        functions: if void.is_some() { Vec::new() } else { functions },
        void,
    })
}

/// Whether a scenario has this guest.
fn has(scenario: &Scenario, guest: &Guest) -> bool {
    scenario.variants().iter().any(|variant| name_of(scenario, variant) == guest.name)
}

/// Wrong rows of which no scenario of the guest gives the reason.
fn unlisted(report: &Report, scenarios: &[Scenario]) -> Vec<String> {
    let mut broken = Vec::new();
    for guest in &report.guests {
        let lists =
            scenarios.iter().filter(|scenario| has(scenario, guest)).flat_map(|scenario| &scenario.text.wrong_rows);
        let listed: Vec<&String> = lists.flat_map(|list| &list.functions).collect();
        for function in guest.functions.iter().filter(|function| !listed.contains(&&function.name)) {
            let wrong = function.tables.iter().find_map(|table| Some((table, table.first_wrong()?)));
            if let Some((table, offset)) = wrong {
                let (format, name) = (table.format.name(), &function.name);
                broken.push(format!(
                    "{}: {format} is wrong at {name}+{offset:#x}; mend it, or give the reason in [[wrong-rows]] of {}",
                    guest.name, guest.scenario
                ));
            }
        }
    }
    broken
}

/// Lists of rows that are right in every guest of their scenario.
fn stale(report: &Report, scenarios: &[Scenario]) -> Vec<String> {
    let mut broken = Vec::new();
    for scenario in scenarios {
        let guests = || report.guests.iter().filter(|guest| has(scenario, guest));
        if guests().any(|guest| guest.void.is_some()) {
            continue;
        }
        for name in scenario.text.wrong_rows.iter().flat_map(|list| &list.functions) {
            let mut functions = guests().flat_map(|guest| &guest.functions).filter(|function| function.name == *name);
            if !functions.any(|function| function.tables.iter().any(TableResult::is_wrong)) {
                let path = scenario.path.display();
                broken.push(format!("{path}: [[wrong-rows]] lists {name}, whose rows are not wrong: remove it"));
            }
        }
    }
    broken
}
