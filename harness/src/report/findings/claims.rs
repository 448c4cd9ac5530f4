//! Open claims, each with what a run says about it: docs/data/claims.md.

use std::io::Write;

use crate::analysis::claims::{By, Claim, Claims, Outcome};
use crate::recording::Recording;

pub(super) fn write(recording: &Recording, claims: &Claims, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "Statements about unwinders that had not been measured ([claims.toml](../claims.toml)), each with what the run says. Each says what was modelled, and on which configuration. A *hypothetical* start is one from which nobody in Linux asks: the \
         claim is then about the algorithm.\n"
    )?;
    for claim in &claims.claim {
        let outcome = claim.outcome(recording);
        let condition = claim.condition.as_ref().map(|it| format!(" *Condition: {it}.*")).unwrap_or_default();
        writeln!(out, "## {}: {}\n\n{}{condition}\n", claim.id, outcome.name(), claim.says)?;
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

/// The fragment of a link to a claim's heading, as GitHub makes it.
pub(super) fn link(id: &str, outcome: &Outcome) -> String {
    let kept = id.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-');
    format!("{}-{}", kept.collect::<String>().to_lowercase(), outcome.name())
}
