//! Walks across stacks: docs/data/stacks.md.

use std::io::Write;

use crate::recording::Recording;
use crate::scenario::Interruption;

/// The instructions at which the two registers are on different stacks, and the verdicts there.
pub(super) fn write_split(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
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
pub(super) fn write_reads_outside(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
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
