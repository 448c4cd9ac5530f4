//! The parts of one run, each judged at other instructions, put together to the section of the whole run.

use crate::recording::{Finding, ListedFunction, ListedInstruction, Section, by_subject};

/// Joins parts, which are in the order of their addresses.
///
/// # Errors
///
/// Why they are not parts of one run.
pub(super) fn join(parts: Vec<Section>) -> Result<Section, String> {
    let mut parts = parts.into_iter();
    let mut joined = parts.next().ok_or("a run has no part")?;
    for part in parts {
        if (&joined.guest, columns(&joined)) != (&part.guest, columns(&part)) {
            return Err(format!("{}: its parts are of other guests or unwinders", joined.title()));
        }
        add(&mut joined, part);
    }
    joined.subjects = by_subject(&joined.columns);
    Ok(joined)
}

fn columns(section: &Section) -> Vec<String> {
    section.columns.iter().map(|column| column.label()).collect()
}

fn add(joined: &mut Section, part: Section) {
    joined.points += part.points;
    joined.distinct_pcs += part.distinct_pcs;
    joined.left_out = joined.left_out.plus(part.left_out);
    joined.interrupted |= part.interrupted;
    if joined.void.is_none() {
        (joined.void, joined.void_is_meant) = (part.void, part.void_is_meant);
    }
    joined.not_judged = joined.not_judged.take().or(part.not_judged);
    // Who still waits when the run ends, waits in each part that delivers anything.
    for (place, count) in part.unwitnessed {
        match joined.unwitnessed.iter_mut().find(|(known, _)| *known == place) {
            Some((_, known)) => *known = count.max(*known),
            None => joined.unwitnessed.push((place, count)),
        }
    }
    for (column, other) in joined.columns.iter_mut().zip(part.columns) {
        column.counters.merge(&other.counters);
        column.reads_outside_stacks += other.reads_outside_stacks;
    }
    let seam = seam(joined, part.functions);
    let findings = std::mem::take(&mut joined.findings);
    joined.findings = join_findings(joined, findings, part.findings, seam.as_ref());
}

/// Where a function goes on in the next part: its name, and the instructions on both sides of the border.
type Seam = (String, u64, u64);

/// Adds functions; one may be in both parts.
fn seam(joined: &mut Section, functions: Vec<ListedFunction>) -> Option<Seam> {
    let mut seam = None;
    for function in functions {
        match joined.functions.last_mut() {
            Some(last) if last.name == function.name && seam.is_none() => {
                seam = border(last, &function).map(|(end, next)| (function.name.clone(), end, next));
                for (mine, other) in last.instructions.iter_mut().zip(function.instructions) {
                    if is_judged(&other) {
                        *mine = other;
                    }
                }
            }
            _ => joined.functions.push(function),
        }
    }
    seam
}

/// Whether a part has something to say of an instruction.
fn is_judged(instruction: &ListedInstruction) -> bool {
    instruction.visits > 0 || !instruction.runs.is_empty()
}

/// The last instruction of the first part and the first one of the second, if they are neighbours.
fn border(first: &ListedFunction, second: &ListedFunction) -> Option<(u64, u64)> {
    let end = first.instructions.iter().rposition(is_judged)?;
    let next = second.instructions.iter().position(is_judged)?;
    (next == end + 1).then(|| (first.instructions[end].offset, second.instructions[next].offset))
}

/// The findings of both parts by column, as the whole run has them: those that end at the border and begin behind it are one.
fn join_findings(section: &Section, old: Vec<Finding>, new: Vec<Finding>, seam: Option<&Seam>) -> Vec<Finding> {
    let mut joined: Vec<Finding> = Vec::new();
    let (mut old, mut new) = (old, new);
    for column in &section.columns {
        let is_its = |finding: &Finding| (&finding.subject, finding.start) == (&column.name, column.start);
        let (mut mine, rest): (Vec<_>, Vec<_>) = old.into_iter().partition(is_its);
        old = rest;
        let (others, rest): (Vec<_>, Vec<_>) = new.into_iter().partition(is_its);
        new = rest;
        for other in others {
            let goes_on = |finding: &&mut Finding| {
                let Some((function, end, next)) = seam else { return false };
                (&finding.range.function, finding.range.last) == (function, *end)
                    && (&other.range.function, other.range.first) == (function, *next)
                    && (finding.verdict, finding.reachable) == (other.verdict, other.reachable)
            };
            match mine.iter_mut().find(goes_on) {
                Some(finding) => {
                    finding.range.last = other.range.last;
                    finding.count += other.count;
                }
                None => mine.push(other),
            }
        }
        joined.extend(mine);
    }
    joined
}
