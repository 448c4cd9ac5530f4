//! What the page's script needs: counters of each run's columns, and the disassembly of each function, once.

use serde::Serialize;

use super::matrix::state_number;
use super::model::Model;
use super::scenario::letters;
use crate::analysis::novelty::Sums;
use crate::subject::{Claims, Start};

#[derive(Serialize)]
struct Data<'r> {
    unwinders: &'r [&'r str],
    starts: Vec<&'static str>,
    cpus: Vec<Cpu<'r>>,
    scenarios: Vec<Scenario<'r>>,
    /// The columns of strips: unwinders and starts.
    columns: Vec<Vec<(usize, usize)>>,
    /// The disassembly of functions: a line for each instruction.
    listings: &'r [String],
}

#[derive(Serialize)]
struct Cpu<'r> {
    name: &'r str,
    unwinders: &'r [usize],
    letters: String,
}

#[derive(Serialize)]
struct Scenario<'r> {
    name: &'r str,
    cpu: usize,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    kind: &'static str,
    variant: String,
    state: usize,
    /// For each column: unwinder, start, whether it claims, walks, exact, cautious, incomplete, flagged, overstated, unsound and
    /// crashed, new, known, exempt and not held.
    columns: Vec<[u64; 13]>,
}

/// The data, as JSON that may stand in a `script` element.
pub(super) fn json(model: &Model<'_>) -> String {
    let cpus =
        model.cpus.iter().map(|cpu| Cpu { name: cpu.name, unwinders: &cpu.unwinders, letters: letters(model, cpu) });
    let scenarios = model.cpus.iter().enumerate().flat_map(|(number, cpu)| {
        cpu.scenarios.iter().map(move |scenario| Scenario {
            name: scenario.name,
            cpu: number,
            runs: scenario.sections.iter().map(|section| run(model, section)).collect(),
        })
    });
    let columns =
        model.column_sets.iter().map(|set| set.iter().map(|(number, start)| (*number, place(*start))).collect());
    let data = Data {
        unwinders: &model.unwinders,
        starts: Start::ALL.iter().map(|start| start.name()).collect(),
        cpus: cpus.collect(),
        scenarios: scenarios.collect(),
        columns: columns.collect(),
        listings: &model.listings,
    };
    // Only a broken invariant of serde could fail here: nothing is a map with keys that are no strings.
    serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c")
}

fn place(start: Start) -> usize {
    Start::ALL.iter().position(|other| *other == start).unwrap_or_default()
}

fn run(model: &Model<'_>, section: &crate::recording::Section) -> Run {
    let columns = section.columns.iter().map(|column| {
        let (counters, sums) = (&column.counters, Sums::of(section, column));
        [
            model.number(&column.name) as u64,
            place(column.start) as u64,
            u64::from(column.claims != Claims::Never),
            counters.walks,
            counters.exact,
            counters.cautious,
            counters.incomplete,
            counters.wrong_flagged,
            counters.overstated,
            counters.unsound + counters.lost(),
            sums.new,
            sums.known,
            sums.exempt + sums.unheld,
        ]
    });
    let variant = section.variant.clone().unwrap_or_default();
    Run { kind: section.interrupt.name(), variant, state: state_number(section), columns: columns.collect() }
}
