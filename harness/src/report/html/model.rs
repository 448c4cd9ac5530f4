//! A recording, sorted as the page shows it: by CPU, by scenario, by unwinder.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::analysis::novelty::{Sums, is_of};
use crate::recording::{ColumnResult, Counters, Finding, ListedFunction, Recording, RunState, Section};
use crate::scenario::Interruption;
use crate::subject::{Claims, Start};

/// The page's view of a recording.
pub(super) struct Model<'r> {
    pub(super) recording: &'r Recording,
    pub(super) cpus: Vec<Cpu<'r>>,
    /// All unwinders, in the order of columns: their places are their numbers in the page's data.
    pub(super) unwinders: Vec<&'r str>,
    /// The disassembly of each function that differs from others.
    pub(super) listings: Vec<String>,
    numbers: HashMap<String, usize>,
    /// The columns of runs, as unwinders and starts in the order of strips; most runs share theirs with others.
    pub(super) column_sets: Vec<Vec<(usize, Start)>>,
}

/// The part of one CPU.
pub(super) struct Cpu<'r> {
    pub(super) name: &'r str,
    /// The numbers of its unwinders.
    pub(super) unwinders: Vec<usize>,
    /// The number of its first scenario in the page's data; the others follow.
    pub(super) first: usize,
    pub(super) scenarios: Vec<Scenario<'r>>,
}

/// A scenario: its runs, in order.
pub(super) struct Scenario<'r> {
    pub(super) name: &'r str,
    pub(super) sections: Vec<&'r Section>,
}

/// What a cell of the matrix adds up.
#[derive(Clone, Copy, Default)]
pub(super) struct Cell {
    pub(super) counters: Counters,
    pub(super) sums: Sums,
    /// Whether any of its walks claims anything: if none does, soundness means nothing.
    pub(super) claims: bool,
}

impl<'r> Model<'r> {
    pub(super) fn new(recording: &'r Recording) -> Self {
        let mut model = Self {
            recording,
            cpus: Vec::new(),
            unwinders: Vec::new(),
            listings: Vec::new(),
            numbers: HashMap::new(),
            column_sets: Vec::new(),
        };
        for section in &recording.sections {
            model.add(section);
        }
        let mut first = 0;
        for cpu in &mut model.cpus {
            cpu.first = first;
            first += cpu.scenarios.len();
        }
        for function in recording.sections.iter().flat_map(|section| &section.functions) {
            let text = disassembly(function);
            let (listings, next) = (&mut model.listings, model.numbers.len());
            model.numbers.entry(text.clone()).or_insert_with(|| {
                listings.push(text);
                next
            });
        }
        for section in &recording.sections {
            let columns = model.columns(section);
            if !model.column_sets.contains(&columns) {
                model.column_sets.push(columns);
            }
        }
        model.sort_unwinders();
        model
    }

    /// Adds a run to its scenario and its CPU.
    fn add(&mut self, section: &'r Section) {
        let name = cpu_of(section);
        let place = self.cpus.iter().position(|cpu| cpu.name == name).unwrap_or_else(|| {
            self.cpus.push(Cpu { name, unwinders: Vec::new(), first: 0, scenarios: Vec::new() });
            self.cpus.len() - 1
        });
        for column in &section.columns {
            let number = self.unwinders.iter().position(|unwinder| *unwinder == column.name).unwrap_or_else(|| {
                self.unwinders.push(&column.name);
                self.unwinders.len() - 1
            });
            let cpu = &mut self.cpus[place];
            if !cpu.unwinders.contains(&number) {
                cpu.unwinders.push(number);
            }
        }
        let scenarios = &mut self.cpus[place].scenarios;
        match scenarios.iter_mut().find(|scenario| scenario.name == section.scenario) {
            Some(scenario) => scenario.sections.push(section),
            None => scenarios.push(Scenario { name: &section.scenario, sections: vec![section] }),
        }
    }

    /// A section may lack columns of others, so the order of first appearance is not that of columns: families stay together.
    fn sort_unwinders(&mut self) {
        for cpu in &mut self.cpus {
            let longest = { self.recording.sections.iter() }
                .filter(|section| cpu_of(section) == cpu.name)
                .max_by_key(|section| section.columns.len());
            let place = |number: &usize| {
                let name = self.unwinders[*number];
                longest.and_then(|section| section.columns.iter().position(|column| column.name == name))
            };
            cpu.unwinders.sort_by_key(|number| (place(number).is_none(), place(number)));
        }
    }

    /// The number of an unwinder.
    pub(super) fn number(&self, name: &str) -> usize {
        self.unwinders.iter().position(|unwinder| *unwinder == name).unwrap_or_default()
    }

    /// The number of a function's disassembly.
    pub(super) fn listing(&self, function: &ListedFunction) -> usize {
        self.numbers.get(&disassembly(function)).copied().unwrap_or_default()
    }

    /// The columns of a run, by start.
    pub(super) fn columns(&self, section: &Section) -> Vec<(usize, Start)> {
        let columns = by_start(section).into_iter().map(|index| &section.columns[index]);
        columns.map(|column| (self.number(&column.name), column.start)).collect()
    }

    /// All runs that have verdicts.
    pub(super) fn judged(&self) -> impl Iterator<Item = &'r Section> + use<'r> {
        self.recording.sections.iter().filter(|section| section.state().has_verdicts())
    }

    /// All scenarios.
    pub(super) fn scenarios(&self) -> impl Iterator<Item = &Scenario<'r>> {
        self.cpus.iter().flat_map(|cpu| &cpu.scenarios)
    }
}

impl Scenario<'_> {
    /// The sum of an unwinder's walks; `None` if it makes none here.
    pub(super) fn cell(&self, unwinder: &str) -> Option<Cell> {
        sum(self.sections.iter().copied().filter(|section| section.state().has_verdicts()), unwinder)
    }

    /// The worst of its runs.
    pub(super) fn state(&self) -> RunState {
        self.sections.iter().map(|section| section.state()).max().unwrap_or(RunState::Judged)
    }
}

/// The places of a run's columns, sorted by start.
pub(super) fn by_start(section: &Section) -> Vec<usize> {
    let mut order: Vec<usize> = (0..section.columns.len()).collect();
    order.sort_by_key(|index| section.columns[*index].start);
    order
}

/// A function's instructions, each as its offset in hexadecimal and its text.
fn disassembly(function: &ListedFunction) -> String {
    let mut text = String::new();
    for instruction in &function.instructions {
        let _ = writeln!(text, "{:x} {}", instruction.offset, instruction.text);
    }
    text
}

/// The sum of an unwinder's walks in these runs.
pub(super) fn sum<'r>(sections: impl Iterator<Item = &'r Section>, unwinder: &str) -> Option<Cell> {
    let mut cell: Option<Cell> = None;
    for section in sections {
        for column in section.columns.iter().filter(|column| column.name == unwinder) {
            let cell = cell.get_or_insert_default();
            cell.counters.merge(&column.counters);
            cell.sums = cell.sums.plus(Sums::of(section, column));
            cell.claims |= column.claims != Claims::Never;
        }
    }
    cell
}

/// Its name in the page.
pub(super) const fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Judged => "judged",
        RunState::VoidAsMeant => "void as demanded",
        RunState::Interrupted => "interrupted",
        RunState::NotJudged => "not judged",
        RunState::Void => "void",
    }
}

/// Its class in the page.
pub(super) const fn state_class(state: RunState) -> &'static str {
    match state {
        RunState::Judged => "judged",
        RunState::VoidAsMeant => "meant",
        RunState::Interrupted => "interrupted",
        RunState::NotJudged => "unjudged",
        RunState::Void => "void",
    }
}

pub(super) fn cpu_of(section: &Section) -> &str {
    section.scenario.split('/').next().unwrap_or_default()
}

/// The name of a run in links: `arm64/leaf/probe`, or `arm64/fgraph/F0/irq`.
pub(super) fn anchor(section: &Section) -> String {
    run_anchor(&section.scenario, section.variant.as_deref(), section.interrupt)
}

/// The same, of a run that is named by its parts.
pub(super) fn run_anchor(scenario: &str, variant: Option<&str>, kind: Interruption) -> String {
    format!("{}/{}", link_of(scenario, variant), kind.name())
}

/// What the links to all runs of a variant begin with. An id may hold no space.
pub(super) fn variant_anchor(section: &Section) -> String {
    link_of(&section.scenario, section.variant.as_deref())
}

fn link_of(scenario: &str, variant: Option<&str>) -> String {
    let variant = variant.map(|name| format!("/{name}")).unwrap_or_default();
    format!("{scenario}{variant}").replace(char::is_whitespace, "-")
}

/// The column of a finding.
pub(super) fn column_of<'r>(section: &'r Section, finding: &Finding) -> Option<&'r ColumnResult> {
    section.columns.iter().find(|column| is_of(finding, column))
}

/// Digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}'); // a narrow space that does not break
        }
        text.push(digit);
    }
    text
}

/// A number for a narrow column: thousands from 10,000 on.
pub(super) fn short(number: u64) -> String {
    if number < 10_000 { grouped(number) } else { format!("{}k", number / 1000) }
}

/// A count and its noun.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A share in percent, that reads 0 and 100 only if it is that.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    match part {
        0 => 0,
        _ if part >= whole => 100,
        _ => (part * 100 / whole).clamp(1, 99),
    }
}
