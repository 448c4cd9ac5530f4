//! What a run found out about the open questions, as a page for people: docs/findings.md.

mod hooked;

use std::io::Write;

use crate::analysis::claims::{By, Claim, Claims, Outcome};
use crate::recording::{Recording, Section};
use crate::scenario::Interruption;
use crate::subject::Start;
use crate::verdict::Verdict;

/// Writes the page.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, claims: &Claims, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "# Findings\n")?;
    writeln!(out, "Generated: `unwind-harness findings > docs/findings.md`. Do not edit.\n")?;
    if let Some(partial) = &recording.partial {
        writeln!(out, "**{partial}.**\n")?;
    }
    for (run, reason) in recording.not_judged() {
        writeln!(out, "**Not judged: {run}: {reason}**\n")?;
    }
    hooked::write(recording, out)?;
    write_claims(recording, claims, out)?;
    write_split(recording, out)?;
    write_reads_outside(recording, out)?;
    write_refusals(recording, out)
}

fn write_claims(recording: &Recording, claims: &Claims, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Open claims\n")?;
    writeln!(
        out,
        "Each says what was modelled, and on which configuration. A *hypothetical* start is one from which nobody in Linux asks: the \
         claim is then about the algorithm.\n"
    )?;
    for claim in &claims.claim {
        let outcome = claim.outcome(recording);
        let mark = match outcome {
            Outcome::Confirmed(_) => "confirmed",
            Outcome::Refuted => "refuted",
            Outcome::Undecided(_) => "undecided",
        };
        let condition = claim.condition.as_ref().map(|it| format!(" *Condition: {it}.*")).unwrap_or_default();
        writeln!(out, "**{}: {mark}.** {}{condition}\n", claim.id, claim.says)?;
        if let (Some(models), Some(on)) = (&claim.models, &claim.on) {
            writeln!(out, "Modelled: {models}. Configuration: {on}.\n")?;
        }
        write_outcome(recording, claim, &outcome, out)?;
    }
    Ok(())
}

fn write_outcome(recording: &Recording, claim: &Claim, outcome: &Outcome, out: &mut dyn Write) -> std::io::Result<()> {
    match (outcome, &claim.by) {
        (Outcome::Undecided(reason), _) => writeln!(out, "Not decided: {reason}.\n"),
        (Outcome::Confirmed(point), Some(by)) => {
            let variant = by.variant.as_ref().map(|name| format!(" --variant {name}")).unwrap_or_default();
            let (unwinder, _) = by.unwinder.split_once('@').unwrap_or((&by.unwinder, ""));
            writeln!(out, "Measured: {}; to see it:\n", measured(recording, by))?;
            writeln!(
                out,
                "    unwind-harness explain {} {point} --interrupt {}{variant} --unwinder {unwinder}\n",
                by.scenario,
                by.interrupt.name()
            )
        }
        (_, Some(by)) => writeln!(
            out,
            "`{}` is never `{}` in `{}`: `unwind-harness run {} --listing`.\n",
            by.unwinder, by.verdict, by.function, by.scenario
        ),
        (_, None) => Ok(()),
    }
}

/// How often the finding that decides a claim happens, and who would ask for such a walk.
fn measured(recording: &Recording, by: &By) -> String {
    let sections = || recording.sections.iter().filter(|section| by.is_of(section) && section.void.is_none());
    let column = sections().flat_map(|section| &section.columns).find(|column| column.label() == by.unwinder);
    let asked = match column.and_then(|column| column.caller.as_ref()) {
        Some(caller) => format!("callable by {caller}"),
        None => "a hypothetical start".to_owned(),
    };
    let (instructions, walks) = sections().map(|section| by.count(section)).fold((0, 0), |sum, here| {
        let (instructions, walks) = here;
        (sum.0 + instructions, sum.1 + walks)
    });
    format!(
        "`{}` is `{}` in {walks} walks from {instructions} instructions of `{}` ({asked})",
        by.unwinder, by.verdict, by.function
    )
}

/// The instructions at which the two registers are on different stacks, and the verdicts there.
fn write_split(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## SP and the frame pointer on different stacks\n")?;
    writeln!(
        out,
        "The worst verdict of each unwinder when interrupted there, with an asterisk if nobody in Linux asks from that start; \
         `unwind-harness run irq_on_irq_stack --listing` shows all.\n"
    )?;
    for section in recording.sections.iter().filter(|section| section.scenario.ends_with("/irq_on_irq_stack")) {
        let kinds_of_interest = section.interrupt == Interruption::Irq;
        let instructions = section
            .functions
            .iter()
            .flat_map(|function| function.instructions.iter().filter(|one| one.split).map(move |one| (function, one)));
        let instructions: Vec<_> = instructions.collect();
        if !kinds_of_interest || instructions.is_empty() {
            continue;
        }
        writeln!(out, "{}:\n", section.title())?;
        for (function, instruction) in instructions {
            let verdicts = section.columns.iter().zip(&instruction.runs).filter_map(|(subject, runs)| {
                let worst = runs.iter().map(|run| run.verdict).min()?;
                Some(format!("{}{} {worst}", subject.label(), if subject.is_callable() { "" } else { "\\*" }))
            });
            let verdicts: Vec<_> = verdicts.collect();
            let text = instruction.text.split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(out, "* `{}+{:#x}` `{text}`: {}", function.name, instruction.offset, verdicts.join(", "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Which unwinders read outside the stacks that they were offered.
fn write_reads_outside(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Reads outside the offered stacks\n")?;
    let mut none = true;
    for section in recording.sections.iter().filter(|section| section.void.is_none()) {
        for subject in section.columns.iter().filter(|subject| subject.reads_outside_stacks > 0) {
            none = false;
            let (label, count) = (subject.label(), subject.reads_outside_stacks);
            let asked = if subject.is_callable() { "" } else { ", a hypothetical start" };
            writeln!(out, "* {label} in {}: {count} of {} walks{asked}", section.title(), subject.counters.walks)?;
        }
    }
    writeln!(out, "{}", if none { "None.\n" } else { "" })
}

/// How often the reliable form of an unwinder refuses where its best-effort form is right.
fn write_refusals(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## What the reliable forms refuse needlessly\n")?;
    writeln!(out, "Walks that the best-effort form gets right, and how many of those the reliable form claims.\n")?;
    writeln!(out, "| unwinder | interruption | start | in Linux | right | claimed |\n|---|---|---|---|---:|---:|")?;
    let mut rows: Vec<(String, &'static str, Start, u64, u64, &'static str)> = Vec::new();
    for section in recording.sections.iter().filter(|section| section.void.is_none()) {
        for (best_effort, reliable) in pairs(section) {
            let (right, claimed) = compare(section, best_effort, reliable);
            let subject = &section.columns[reliable];
            let same = rows
                .iter_mut()
                .find(|row| (&row.0, row.1, row.2) == (&subject.name, section.interrupt.name(), subject.start));
            match same {
                Some(row) => {
                    row.3 += right;
                    row.4 += claimed;
                }
                None => {
                    let asked = if subject.is_callable() { "callable" } else { "hypothetical" };
                    rows.push((subject.name.clone(), section.interrupt.name(), subject.start, right, claimed, asked));
                }
            }
        }
    }
    rows.sort();
    for (name, interrupt, start, right, claimed, asked) in rows {
        writeln!(out, "| {name} | {interrupt} | {} | {asked} | {right} | {claimed} |", start.name())?;
    }
    Ok(())
}

/// The columns of both forms of the unwinders that have both.
fn pairs(section: &Section) -> impl Iterator<Item = (usize, usize)> + '_ {
    section.columns.iter().enumerate().filter_map(|(reliable, subject)| {
        let sibling = format!("{}:best-effort", subject.name);
        let best_effort =
            section.columns.iter().position(|other| other.name == sibling && other.start == subject.start)?;
        Some((best_effort, reliable))
    })
}

/// How many walks of one column are exact, and how many of those are exact in the other column too.
fn compare(section: &Section, best_effort: usize, reliable: usize) -> (u64, u64) {
    let mut counts = (0, 0);
    for instruction in section.functions.iter().flat_map(|function| &function.instructions) {
        let (Some(best), Some(rest)) = (instruction.runs.get(best_effort), instruction.runs.get(reliable)) else {
            continue;
        };
        for run in best.iter().filter(|run| run.verdict == Verdict::Exact) {
            counts.0 += run.last - run.first + 1;
            let claimed = rest.iter().filter(|other| other.verdict == Verdict::Exact);
            counts.1 += claimed
                .map(|other| (other.last.min(run.last) + 1).saturating_sub(other.first.max(run.first)))
                .sum::<u64>();
        }
    }
    counts
}
