//! What a run found out about the open questions, as a page for people: docs/findings.md.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::Write;

use crate::analysis::atlas::{self, Row, State};
use crate::analysis::claims::{Claims, Outcome};
use crate::guest::return_hook::Fix;
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
    write_rewritten(recording, out)?;
    write_claims(recording, claims, out)?;
    write_split(recording, out)?;
    write_reads_outside(recording, out)?;
    write_refusals(recording, out)
}

/// While `return_to_handler` runs, where is the original return address, and which unwinders notice? (Thread S2.)
fn write_rewritten(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Rewritten return addresses\n")?;
    writeln!(
        out,
        "Thread S2 asks why other architectures do not suffer from the transient windows, the instructions at which the address \
         that a tracer took off the stack is nowhere. They have them too; what differs is which unwinders notice. Points are walks \
         from interruptions at which such an address is displaced; docs/atlas.md explains the columns and the fixes. The command \
         shows each row's places.\n"
    )?;
    let rows = atlas::rows(recording);
    let (tracer, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.return_hook.starts_with("fgraph"));
    write_designs(&tracer, out)?;
    write_rows(&tracer, out)?;
    writeln!(
        out,
        "The other code that replaces a return address, or runs between a function and its caller: what traced functions call at \
         their entry, rethooks and kretprobes, live patches, generated trampolines.\n"
    )?;
    write_rows(&others, out)
}

/// One line for each fix: on each CPU, the best of the unwinders with that fix; where there are none, the one that is unsound
/// most often.
fn write_designs(rows: &[&Row], out: &mut dyn Write) -> std::io::Result<()> {
    let rows: Vec<_> = rows.iter().filter(|row| row.return_hook == "fgraph").collect();
    let cpus: BTreeSet<&str> = rows.iter().map(|row| row.cpu.as_str()).collect();
    let fixes: BTreeSet<&str> = rows.iter().map(|row| row.fix.as_str()).collect();
    writeln!(
        out,
        "In short: for each fix, the best of the unwinders with that fix; where there are none (F0 is what Linux does), the one \
         that is unsound most often. The share is that of the points from which the whole trace is right and claimed. A reliable \
         walk without unwind rows refuses every exception boundary: it can only walk tasks that were switched out.\n"
    )?;
    writeln!(out, "| fix | {} |", Vec::from_iter(cpus.iter().copied()).join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(cpus.len()))?;
    for fix in fixes {
        let cell = |cpu: &&str| {
            let rows: Vec<_> = rows.iter().filter(|row| row.cpu == **cpu && row.fix == fix).collect();
            let (unsound, recovered) = (|row: &Row| row.count(State::Unsound), |row: &Row| row.count(State::Recovered));
            let own = rows.iter().filter(|row| row.unwinder_fix != Fix::None);
            let best = own.min_by_key(|row| (unsound(row), Reverse(recovered(row))));
            let row = best.or_else(|| rows.iter().rev().max_by_key(|row| (unsound(row), recovered(row))));
            row.map_or("-".to_owned(), |row| {
                format!("{} of {} unsound, {} right: `{}`", unsound(row), row.points, share(row), row.unwinder)
            })
        };
        writeln!(out, "| {fix} | {} |", cpus.iter().map(cell).collect::<Vec<_>>().join(" | "))?;
    }
    writeln!(out)
}

/// The share of a row's walks that are right and claimed.
fn share(row: &Row) -> String {
    format!("{:.1} %", 100.0 * row.count(State::Recovered) as f64 / row.points.max(1) as f64)
}

fn write_rows(rows: &[&Row], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "| cpu | return hook | fix | unwinder | points | unrecoverable | recovered | share | unsound | really reachable | to see it |\n\
         |---|---|---|---|---:|---:|---:|---:|---:|---:|---|"
    )?;
    for row in rows {
        let Row { cpu, return_hook, fix, unwinder, points, unrecoverable, unsound_reachable, .. } = row;
        let (recovered, unsound) = (row.count(State::Recovered), row.count(State::Unsound));
        let share = share(row);
        writeln!(
            out,
            "| {cpu} | {return_hook} | {fix} | `{unwinder}` | {points} | {unrecoverable} | {recovered} | {share} | {unsound} | \
             {unsound_reachable} | `{}` |",
            row.command()
        )?;
    }
    writeln!(out)
}

fn write_claims(recording: &Recording, claims: &Claims, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## Open claims\n")?;
    for claim in &claims.claim {
        let outcome = claim.outcome(recording);
        let mark = match outcome {
            Outcome::Confirmed(_) => "confirmed",
            Outcome::Refuted => "refuted",
            Outcome::Undecided(_) => "undecided",
        };
        writeln!(out, "**{}: {mark}.** {}\n", claim.id, claim.says)?;
        match (&outcome, &claim.by) {
            (Outcome::Undecided(reason), _) => writeln!(out, "Not decided: {reason}.\n")?,
            (Outcome::Confirmed(point), Some(by)) => {
                let variant = by.variant.as_ref().map(|name| format!(" --variant {name}")).unwrap_or_default();
                let (unwinder, _) = by.unwinder.split_once('@').unwrap_or((&by.unwinder, ""));
                writeln!(out, "`{}` is `{}` there; to see it:\n", by.unwinder, by.verdict)?;
                writeln!(
                    out,
                    "    unwind-harness explain {} {point} --interrupt {}{variant} --unwinder {unwinder}\n",
                    by.scenario,
                    by.interrupt.name()
                )?;
            }
            (_, Some(by)) => writeln!(
                out,
                "`{}` is never `{}` in `{}`: `unwind-harness run {} --listing`.\n",
                by.unwinder, by.verdict, by.function, by.scenario
            )?,
            (_, None) => {}
        }
    }
    Ok(())
}

/// The instructions at which the two registers are on different stacks, and the verdicts there.
fn write_split(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## SP and the frame pointer on different stacks\n")?;
    writeln!(
        out,
        "The worst verdict of each unwinder when interrupted there; `unwind-harness run irq_on_irq_stack --listing` shows all.\n"
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
                Some(format!("{} {worst}", subject.label()))
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
            writeln!(out, "* {label} in {}: {count} of {} walks", section.title(), subject.counters.walks)?;
        }
    }
    writeln!(out, "{}", if none { "None.\n" } else { "" })
}

/// How often the reliable form of an unwinder refuses where its best-effort form is right.
fn write_refusals(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "## What the reliable forms refuse needlessly\n")?;
    writeln!(out, "Walks that the best-effort form gets right, and how many of those the reliable form claims.\n")?;
    writeln!(out, "| unwinder | interruption | start | right | claimed |\n|---|---|---|---:|---:|")?;
    let mut rows: Vec<(String, &'static str, Start, u64, u64)> = Vec::new();
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
                None => rows.push((subject.name.clone(), section.interrupt.name(), subject.start, right, claimed)),
            }
        }
    }
    rows.sort();
    for (name, interrupt, start, right, claimed) in rows {
        writeln!(out, "| {name} | {interrupt} | {} | {right} | {claimed} |", start.name())?;
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
