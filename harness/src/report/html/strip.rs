//! The verdicts of a function as text: neighbouring instructions at which everything is alike are one line, with one character for
//! each unwinder. The page's script makes a table of it, with a row for each instruction.

use std::fmt::Write as _;

use super::model::{Cpu, Model, by_start};
use crate::recording::{Finding, ListedFunction, ListedInstruction, Novelty, Run, Section};
use crate::report::snapshot::alphabet;
use crate::subject::Start;

/// A function in runs in which it fares alike.
pub(super) struct Strip<'r> {
    pub(super) sections: Vec<&'r Section>,
    /// The columns, as numbers of unwinder and start, in the order of the text.
    pub(super) columns: Vec<(usize, Start)>,
    /// The starts, each with its columns' letters.
    pub(super) head: String,
    pub(super) text: String,
}

/// The strips of a function in runs of one variant.
pub(super) fn strips<'r>(model: &Model<'_>, cpu: &Cpu<'_>, sections: &[&'r Section], name: &str) -> Vec<Strip<'r>> {
    let mut strips: Vec<Strip<'r>> = Vec::new();
    for section in sections {
        let Some(function) = section.functions.iter().find(|function| function.name == name) else { continue };
        let order = by_start(section);
        let text = text(section, function, &order);
        if text.is_empty() {
            continue;
        }
        let columns = model.columns(section);
        let is_same = |strip: &&mut Strip<'_>| strip.columns == columns && strip.text == text;
        match strips.iter_mut().find(is_same) {
            Some(strip) => strip.sections.push(section),
            None => {
                let head = head(cpu, &columns);
                strips.push(Strip { sections: vec![section], columns, head, text });
            }
        }
    }
    strips
}

/// The letter of an unwinder in the strips of a CPU.
pub(super) fn letter(cpu: &Cpu<'_>, number: usize) -> char {
    let place = cpu.unwinders.iter().position(|other| *other == number);
    place.and_then(|place| ('a'..='z').chain('A'..='Z').nth(place)).unwrap_or('?')
}

fn head(cpu: &Cpu<'_>, columns: &[(usize, Start)]) -> String {
    let mut text = String::new();
    for columns in columns.chunk_by(|one, other| one.1 == other.1) {
        let letters: String = columns.iter().map(|(number, _)| letter(cpu, *number)).collect();
        let _ = write!(text, " @{} {letters}", columns[0].1.name());
    }
    text.trim_start().to_owned()
}

/// One line: what neighbours must have in common.
#[derive(PartialEq, Eq)]
struct Line {
    verdicts: String,
    visits: u64,
    rest: String,
}

fn text(section: &Section, function: &ListedFunction, order: &[usize]) -> String {
    let mut text = String::new();
    let mut open: Option<(Line, u64, u64, &str)> = None;
    let findings: Vec<&Finding> =
        section.findings.iter().filter(|finding| finding.range.function == function.name).collect();
    for instruction in &function.instructions {
        let line = line(section, instruction, order, &findings);
        match (&mut open, line) {
            (Some((before, _, last, _)), Some(line)) if *before == line => *last = instruction.offset,
            (open, line) => {
                finish(open.take(), &mut text);
                *open = line.map(|line| (line, instruction.offset, instruction.offset, instruction.text.as_str()));
            }
        }
    }
    finish(open, &mut text);
    text
}

/// Writes a line. A bar parts its fields, so none of them may have one.
fn finish(line: Option<(Line, u64, u64, &str)>, text: &mut String) {
    let Some((Line { verdicts, visits, rest }, first, last, disassembly)) = line else { return };
    let range = if first == last { format!("+{first:#x}") } else { format!("+{first:#x}..+{last:#x}") };
    let disassembly = disassembly.replace('|', "¦");
    let line = format!("{range:<14}|{disassembly:<24}|{visits}|{verdicts}|{rest}");
    let _ = writeln!(text, "{}", line.trim_end_matches('|'));
}

fn line(section: &Section, instruction: &ListedInstruction, order: &[usize], findings: &[&Finding]) -> Option<Line> {
    if instruction.runs.iter().all(Vec::is_empty) {
        return None;
    }
    let runs = |index: &usize| instruction.runs.get(*index).map_or(&[][..], Vec::as_slice);
    let by_start: Vec<&[usize]> =
        order.chunk_by(|one, other| section.columns[*one].start == section.columns[*other].start).collect();
    let cells = |columns: &&[usize]| {
        let cells: Vec<alphabet::Cell> = columns.iter().map(|index| cell(runs(index))).collect();
        alphabet::write(&cells)
    };
    let verdicts = by_start.iter().map(cells).collect::<Vec<_>>().join(" ");
    let standings: String = order.iter().map(|index| standing(section, instruction, *index, findings)).collect();
    let standings = if standings.contains(['n', 'k', 'e']) { standings } else { String::new() };
    let mut rest = format!("{standings}|{}", places(instruction));
    let masked = masked(instruction);
    if !masked.is_empty() || instruction.split {
        let _ = write!(rest, "|{}", [masked.as_str(), if instruction.split { "split" } else { "" }].join(" ").trim());
    }
    Some(Line { verdicts, visits: instruction.visits, rest })
}

/// The verdicts of a column by arrival.
fn cell(runs: &[Run]) -> alphabet::Cell {
    let mut cell = alphabet::Cell::new();
    let mut next = 1;
    for run in runs {
        alphabet::append(&mut cell, None, run.first.saturating_sub(next));
        alphabet::append(&mut cell, Some(run.verdict), run.last - run.first + 1);
        next = run.last + 1;
    }
    // One verdict at all arrivals is one character, however many they are.
    match cell.as_slice() {
        [stretch] if stretch.verdict.is_some() => vec![alphabet::Stretch { count: 1, ..*stretch }],
        _ => cell,
    }
}

/// How a column stands to the demands at an instruction: `n`ew, `k`nown, `e`xempt, or `.`: allowed, exact, or held against nothing.
fn standing(section: &Section, instruction: &ListedInstruction, column: usize, findings: &[&Finding]) -> char {
    let result = &section.columns[column];
    let Some(runs) = instruction.runs.get(column) else { return '.' };
    let is_here = |finding: &&&Finding| {
        (finding.range.first..=finding.range.last).contains(&instruction.offset)
            && (finding.start, &finding.subject) == (result.start, &result.name)
            && runs.iter().any(|run| (run.verdict, run.reachable) == (finding.verdict, finding.reachable))
    };
    match findings.iter().filter(is_here).filter_map(|finding| finding.novelty).max() {
        Some(Novelty::New) => 'n',
        Some(Novelty::Known) => 'k',
        Some(Novelty::Exempt) => 'e',
        _ => '.',
    }
}

/// Where the displaced return address is.
fn places(instruction: &ListedInstruction) -> String {
    if let [only] = instruction.addresses.as_slice()
        && only.first == 1
        && only.last >= instruction.visits
    {
        return only.places.clone();
    }
    let each = instruction.addresses.iter().map(|run| match run.last - run.first {
        0 => format!("{} #{}", run.places, run.first),
        _ => format!("{} #{}-{}", run.places, run.first, run.last),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// The arrivals at which the interruption is masked.
fn masked(instruction: &ListedInstruction) -> String {
    let Some(runs) = instruction.runs.iter().find(|runs| !runs.is_empty()) else { return String::new() };
    if runs.iter().all(|run| !run.reachable) {
        return "masked".to_owned();
    }
    let masked: Vec<String> = { runs.iter().filter(|run| !run.reachable) }
        .map(|run| if run.first == run.last { run.first.to_string() } else { format!("{}-{}", run.first, run.last) })
        .collect();
    if masked.is_empty() { String::new() } else { format!("masked #{}", masked.join(",")) }
}
