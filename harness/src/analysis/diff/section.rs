//! One run, before and now.

use super::align::align;
use super::{Change, RunDiff, What, of_run};
use crate::recording::{ColumnResult, ListedFunction, ListedInstruction, Run, Section};
use crate::verdict::Verdict;

/// How a run differs, if it does.
pub(super) fn diff(old: &Section, new: &Section) -> Option<RunDiff> {
    let mut notes = Vec::new();
    let states = (state(old), state(new));
    if states.0 != states.1 {
        notes.push(format!("was {}, is {}", states.0, states.1));
    } else if old.interrupted || new.interrupted {
        notes.push("interrupted: only what both have is compared".to_owned());
    }
    gates(old, new, &mut notes);
    if !has_verdicts(old) || !has_verdicts(new) {
        return of_run(new.title(), notes, Vec::new());
    }
    let only = |left: &Section, right: &Section, what: &str, notes: &mut Vec<String>| {
        let has = |column: &&ColumnResult| !right.columns.iter().any(|other| is_same(column, other));
        notes.extend(
            left.columns.iter().filter(has).map(|column| format!("{} is only in the {what} one", column.label())),
        );
    };
    only(old, new, "old", &mut notes);
    only(new, old, "new", &mut notes);
    let mut changes = Vec::new();
    let none: &[ListedInstruction] = &[];
    for (number, column) in new.columns.iter().enumerate() {
        let Some(before) = old.columns.iter().position(|other| is_same(column, other)) else { continue };
        let mut found = Vec::new();
        for function in &new.functions {
            let was = function_of(old, function).map_or(none, |function| &function.instructions);
            found.extend(of_function((function, column), (was, before), (&function.instructions, number), new));
        }
        for function in old.functions.iter().filter(|function| function_of(new, function).is_none()) {
            found.extend(of_function((function, column), (&function.instructions, before), (none, number), new));
        }
        changes.extend(found);
    }
    of_run(new.title(), notes, changes)
}

fn is_same(left: &ColumnResult, right: &ColumnResult) -> bool {
    (&left.name, left.start) == (&right.name, right.start)
}

fn function_of<'s>(section: &'s Section, function: &ListedFunction) -> Option<&'s ListedFunction> {
    section.functions.iter().find(|other| other.name == function.name)
}

const fn has_verdicts(section: &Section) -> bool {
    section.void.is_none() && section.not_judged.is_none()
}

/// What came of a run.
fn state(section: &Section) -> String {
    match (&section.void, &section.not_judged) {
        (Some(reason), _) => format!("void ({reason})"),
        (None, Some(reason)) => format!("not judged ({reason})"),
        (None, None) => "judged".to_owned(),
    }
}

/// The broken gates that are new, and those that are gone. Numbers and places are in them, so that each is told by its first line.
fn gates(old: &Section, new: &Section, notes: &mut Vec<String>) {
    let firsts = |section: &Section| -> Vec<String> {
        let first = |message: &String| message.lines().next().unwrap_or_default().to_owned();
        section.failures.iter().map(|failure| first(&failure.message)).collect()
    };
    let (before, now) = (firsts(old), firsts(new));
    notes.extend(now.iter().filter(|gate| !before.contains(gate)).map(|gate| format!("gate broken: {gate}")));
    notes.extend(before.iter().filter(|gate| !now.contains(gate)).map(|gate| format!("gate no longer broken: {gate}")));
}

/// The verdicts at an instruction, each once, in the order of arrivals.
fn verdicts(instruction: Option<&ListedInstruction>, column: usize) -> Verdicts {
    let runs = instruction.and_then(|instruction| instruction.runs.get(column));
    let mut found = Vec::new();
    for Run { verdict, reachable, .. } in runs.into_iter().flatten() {
        if !found.contains(&(*verdict, *reachable)) {
            found.push((*verdict, *reachable));
        }
    }
    found
}

fn is_exact(verdicts: &[(Verdict, bool)]) -> bool {
    verdicts.iter().all(|(verdict, _)| *verdict == Verdict::Exact)
}

/// They as text: `= !skipped`, `~ (masked)`; of an instruction without walks: `no walk`.
fn words(verdicts: &[(Verdict, bool)]) -> String {
    let one = |(verdict, reachable): &(Verdict, bool)| {
        if *reachable { verdict.to_string() } else { format!("{verdict} (masked)") }
    };
    if verdicts.is_empty() { "no walk".to_owned() } else { verdicts.iter().map(one).collect::<Vec<_>>().join(" ") }
}

/// Verdicts, and whether the interruption can really arrive.
type Verdicts = Vec<(Verdict, bool)>;

/// An instruction that differs, before and now.
struct Step {
    what: What,
    old: Option<u64>,
    new: Option<u64>,
    verdicts: (Verdicts, Verdicts),
    visit: u64,
}

/// What differs in a function, as intervals.
fn of_function(
    (function, column): (&ListedFunction, &ColumnResult),
    (old, before): (&[ListedInstruction], usize),
    (new, now): (&[ListedInstruction], usize),
    section: &Section,
) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut last: Option<Step> = None;
    for (left, right) in align(old, new) {
        let (was, is) = (left.map(|index| &old[index]), right.map(|index| &new[index]));
        let step = step(was, is, before, now);
        // An instruction between two others that differ in the same way ends the interval.
        let goes_on = matches!((&last, &step), (Some(last), Some(step)) if last.what == step.what && last.verdicts == step.verdicts);
        if let Some(step) = &step {
            if let (true, Some(change)) = (goes_on, changes.last_mut()) {
                extend(change, step);
            } else {
                changes.push(change(step, function, column, section));
            }
        }
        last = step;
    }
    paired(changes)
}

/// How an instruction differs, if it does.
fn step(was: Option<&ListedInstruction>, is: Option<&ListedInstruction>, before: usize, now: usize) -> Option<Step> {
    let pair = (verdicts(was, before), verdicts(is, now));
    let (old, new) = (was.map(|one| one.offset), is.map(|one| one.offset));
    let (right, left) = (is_exact(&pair.0), is_exact(&pair.1));
    let what = match (right, left) {
        _ if pair.0 == pair.1 && old.is_some() && new.is_some() => {
            // The code was changed around it.
            (old != new && !right).then_some(What::Moved)?
        }
        (true, false) => What::Opened,
        (false, true) => What::Closed,
        (false, false) => What::Changed,
        // Exact on both sides, or without a walk: of these, only walks that came or went count.
        (true, true) if pair.0.is_empty() != pair.1.is_empty() && old.is_some() && new.is_some() => {
            if pair.1.is_empty() { What::Closed } else { What::Opened }
        }
        (true, true) if pair.0.len() == pair.1.len() || old.is_none() || new.is_none() => return None,
        (true, true) => What::Changed,
    };
    let visit = is.and_then(|one| first_visit(one, now)).unwrap_or(1);
    Some(Step { what, old, new, verdicts: pair, visit })
}

/// The first arrival with the worst verdict.
fn first_visit(instruction: &ListedInstruction, column: usize) -> Option<u64> {
    instruction.runs.get(column)?.iter().min_by_key(|run| (run.verdict, run.first)).map(|run| run.first)
}

fn change(step: &Step, function: &ListedFunction, column: &ColumnResult, section: &Section) -> Change {
    let is_bad = |(verdict, _): &(Verdict, bool)| verdict.is_unsound();
    let (old, new) = &step.verdicts;
    let is_worse = step.what != What::Moved && new.iter().any(is_bad) && !old.iter().any(is_bad);
    let has_walk = step.new.filter(|_| !new.is_empty());
    let command = has_walk
        .map(|offset| section.explain_command(&format!("{}+{offset:#x}#{}", function.name, step.visit), &column.name));
    Change {
        unwinder: column.label(),
        what: step.what,
        function: function.name.clone(),
        old: step.old.map(|offset| (offset, offset)),
        new: step.new.map(|offset| (offset, offset)),
        verdicts: (words(old), words(new)),
        instructions: 1,
        is_worse,
        command,
    }
}

fn extend(change: &mut Change, step: &Step) {
    let wider = |range: Option<(u64, u64)>, offset: Option<u64>| match (range, offset) {
        (Some((first, _)), Some(last)) => Some((first, last)),
        (None, Some(offset)) => Some((offset, offset)),
        (range, None) => range,
    };
    change.old = wider(change.old, step.old);
    change.new = wider(change.new, step.new);
    change.instructions += 1;
}

/// A window that closed and one of the same verdict and length that opened in the same function are one that moved.
fn paired(mut changes: Vec<Change>) -> Vec<Change> {
    let mut index = 0;
    while index < changes.len() {
        let twin = changes.iter().position(|other| {
            let one = &changes[index];
            one.what == What::Opened
                && other.what == What::Closed
                && one.instructions == other.instructions
                && one.verdicts.1 == other.verdicts.0
        });
        if let Some(twin) = twin {
            let was = changes[twin].clone();
            let now = &mut changes[index];
            (now.what, now.old, now.is_worse) = (What::Moved, was.old, false);
            now.verdicts.0.clone_from(&was.verdicts.0);
            changes.remove(twin);
            index = index.saturating_sub(usize::from(twin < index));
        }
        index += 1;
    }
    changes
}
