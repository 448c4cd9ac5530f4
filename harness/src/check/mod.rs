//! Unwind rows, held against the truth: each guest runs once, undisturbed, and before each instruction every table is asked for
//! the way from the running function to its caller. No walk is made, so a wrong row cannot hide behind a right one.

mod claim;
mod judge;
pub mod json;
mod run;
pub mod text;

use std::path::Path;

use kunwind::Format;

use crate::Error;
use crate::oracle::Witnesses;
use crate::scenario::{Scenario, Variant};
use crate::sweep::Prepared;

pub use claim::Leaf;

/// The tables that are held against the truth, in the order of reports.
pub const FORMATS: [Format; 2] = [Format::SFrame, Format::Dwarf];

/// What was found: plain data.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// One for each guest with unwind data, in the order of scenarios.
    pub guests: Vec<Guest>,
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
    /// Wrong rows that no scenario of the guest lists, and lists of rows that are right.
    pub broken: Vec<String>,
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
        !self.wrong.is_empty() || matches!(self.leaf, Leaf::Refuted(_))
    }

    /// The first instruction at which something is false.
    #[must_use]
    pub fn first_wrong(&self) -> Option<u64> {
        let refuted = match self.leaf {
            Leaf::Refuted(offset) => Some(offset),
            _ => None,
        };
        self.wrong.iter().map(|wrong| wrong.offset).chain(refuted).min()
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
    /// Functions whose rows are wrong, as any scenario of the guest says.
    listed: Vec<&'a str>,
}

/// The guests of these scenarios, each once. `all` are the scenarios whose lists of wrong rows count.
fn jobs<'a>(scenarios: &'a [Scenario], all: &'a [Scenario]) -> Vec<Job<'a>> {
    let name_of = |scenario: &Scenario, variant: &Variant| {
        let stem = variant.guest.as_ref().unwrap_or(&scenario.text.guest);
        format!("{}/{stem}", scenario.arch.name())
    };
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for scenario in scenarios {
        for variant in scenario.variants() {
            let name = name_of(scenario, &variant);
            if !jobs.iter().any(|job| job.name == name) {
                let users = all.iter().filter(|user| user.variants().iter().any(|build| name_of(user, build) == name));
                let listed = users.flat_map(|user| user.text.wrong_rows.keys().map(String::as_str)).collect();
                jobs.push(Job { scenario, variant, name, listed });
            }
        }
    }
    jobs
}

/// Checks the guests of these scenarios, each once; guests without unwind data are left out. `all` are the scenarios whose
/// lists of wrong rows count.
///
/// # Errors
///
/// Whatever keeps a guest from being loaded or from running to its end.
pub fn run_all(root: &Path, scenarios: &[Scenario], all: &[Scenario]) -> Result<Report, Error> {
    let mut report = Report::default();
    for job in jobs(scenarios, all) {
        let prepared = Prepared::load(root, job.scenario, &job.variant)?;
        if FORMATS.iter().all(|format| prepared.tables.get(*format).is_none()) {
            continue;
        }
        let mut guest = check(&prepared, job.scenario, &job.name)?;
        guest.broken = broken(&guest, &job.listed, job.scenario);
        report.guests.push(guest);
    }
    Ok(report)
}

/// Checks the tables of one guest that is ready to run, without a look at any list.
///
/// # Errors
///
/// Whatever keeps it from running to its end.
pub fn check(prepared: &Prepared, scenario: &Scenario, name: &str) -> Result<Guest, Error> {
    let text = &scenario.text;
    let mut run = run::Run::new(prepared, Witnesses::default());
    prepared.machine_for(text)?.run(&mut run, text.budget)?;
    let (void, functions) = run.finish(&text.never_resumes);
    Ok(Guest {
        name: name.to_owned(),
        scenario: scenario.name.clone(),
        void_is_meant: void.as_ref().is_some_and(|reason| scenario.means_void(reason)),
        functions: if void.is_some() { Vec::new() } else { functions },
        void,
        broken: Vec::new(),
    })
}

/// What of a guest is not as its scenarios say.
fn broken(guest: &Guest, listed: &[&str], scenario: &Scenario) -> Vec<String> {
    let mut broken = Vec::new();
    for function in &guest.functions {
        let wrong = function.tables.iter().find(|table| table.is_wrong());
        match wrong.and_then(|table| Some((table, table.first_wrong()?))) {
            Some((table, offset)) if !listed.contains(&&*function.name) => broken.push(format!(
                "{}: {} is wrong at {}+{offset:#x}; mend it, or give the reason in [wrong-rows] of {}",
                guest.name,
                table.format.name(),
                function.name,
                scenario.path.display()
            )),
            _ => {}
        }
    }
    for name in listed.iter().filter(|_| guest.void.is_none()) {
        let is_wrong = |function: &&Function| function.name == *name && function.tables.iter().any(TableResult::is_wrong);
        if !guest.functions.iter().any(|function| is_wrong(&function)) {
            broken.push(format!("{}: [wrong-rows] lists {name}, whose rows are not wrong: remove it", guest.name));
        }
    }
    broken
}
