//! The table, for people and for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::found::{Counts, Found};
use super::{CPUS, GUESTS, Row, State, class};

const HEAD: &str = "\
# Unwinders of others

Written by `cargo xtask conformance`. Each unwinder walks from every instruction of the same guests; the harness judges each walk by what
is really on the stack ([docs/truth.md](truth.md)). `dwarf` is a plain evaluator of the same CFI, the null test: where it is wrong, the data
are, and not the unwinder. The guests have `.debug_frame` alone. Memory below SP is at most the red zone.

| column | means |
|---|---|
| points | walks that were asked for. A chain is its return addresses; registers are left out, which not every unwinder gives |
| data | points at which the data give the whole chain |
| right | of those, the whole chain is right |
| better | the whole chain is right though the data do not give it |
| caller | the caller is right, whatever follows (of a group of equal verdicts, by its first walk) |
| claimed | claimed to be complete, and wrong, though the data are right: a fault of the unwinder |
| misled | claimed and wrong where the data are |
| lost | crashed or timed out |

A walk claims to be complete when it ends without an error; gdb's, where it names no reason or the outermost frame.
";

pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    let _ = writeln!(text, "\nGuests: {}.", GUESTS.join(", "));
    let _ = writeln!(text, "\n| unwinder | CPU | points | data | right | better | caller | claimed | misled | lost |");
    text += "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    for row in rows {
        let Row { unwinder, cpu, state, .. } = row;
        let _ = match state {
            State::Ran(Found { all, .. }) => {
                let Counts { points, data, right, better, caller, claimed, misled, lost } = all;
                let numbers = [points, data, right, better, caller, claimed, misled, lost].map(ToString::to_string);
                writeln!(text, "| {} | {cpu} | {} |", unwinder.name, numbers.join(" | "))
            }
            // Of one that is driven nowhere, one line says it.
            State::Not(reason) if is_driven(rows, unwinder.name) || *cpu == CPUS[0] => {
                let cpu = if is_driven(rows, unwinder.name) { cpu } else { "all" };
                writeln!(text, "| {} | {cpu} | {} | | | | | | | |", unwinder.name, reason.replace('|', "/"))
            }
            State::Not(_) => Ok(()),
        };
    }
    write_classes(rows, &mut text);
    write_versions(rows, &mut text);
    write_defects(rows, &mut text);
    text
}

fn is_driven(rows: &[Row], name: &str) -> bool {
    rows.iter().any(|row| row.unwinder.name == name && matches!(row.state, State::Ran(_)))
}

fn ran(rows: &[Row]) -> impl Iterator<Item = (&Row, &Found)> {
    rows.iter().filter_map(|row| match &row.state {
        State::Ran(found) => Some((row, found)),
        State::Not(_) => None,
    })
}

fn write_classes(rows: &[Row], text: &mut String) {
    let _ = writeln!(
        text,
        "\n## By class\n\nWhole chain right, of the points at which the data give it; a blank: no such point.\n"
    );
    let _ = writeln!(text, "| unwinder | CPU | {} |", class::ALL.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---:|".repeat(class::ALL.len()));
    for (row, found) in ran(rows) {
        let cell = |class: &&str| match found.classes.get(class) {
            Some(counts) if counts.data > 0 => format!("{}/{}", counts.right, counts.data),
            _ => String::new(),
        };
        let cells: Vec<String> = class::ALL.iter().map(cell).collect();
        let _ = writeln!(text, "| {} | {} | {} |", row.unwinder.name, row.cpu, cells.join(" | "));
    }
    *text += "\nThe guests of this set have no signal frames.\n";
}

fn write_versions(rows: &[Row], text: &mut String) {
    let _ = writeln!(text, "\n## Versions\n\n| unwinder | version | Debian 12 | licence |\n|---|---|---|---|");
    for row in rows.iter().filter(|row| row.cpu == CPUS[0]) {
        let (unwinder, version) = (row.unwinder, if row.version.is_empty() { "-" } else { &row.version });
        let _ = writeln!(
            text,
            "| {} | {version} | {} | {} |",
            unwinder.name,
            unwinder.packages.join(" "),
            unwinder.licence
        );
    }
}

fn write_defects(rows: &[Row], text: &mut String) {
    *text += "\n## Where an unwinder is wrong and the data are right\n\nThe first places of each. `unwind-harness export SCENARIO --function PLACE \
              --format core --out FOLDER` writes one for a debugger.\n";
    for (row, found) in ran(rows).filter(|(_, found)| found.all.claimed > 0) {
        let _ = writeln!(text, "\n### {} on {}\n", row.unwinder.name, row.cpu);
        for (point, truth, said) in &found.defects {
            let _ = writeln!(text, "* {point}: true is {truth}; it said {said}");
        }
    }
}

pub(super) fn json(rows: &[Row]) -> String {
    let counts = |it: &Counts| {
        json!({
            "points": it.points, "data": it.data, "right": it.right, "better": it.better, "caller": it.caller,
            "claimed": it.claimed, "misled": it.misled, "lost": it.lost,
        })
    };
    let all: Vec<_> = { rows.iter() }
        .map(|row| {
            let name = row.unwinder.name;
            match &row.state {
                State::Not(reason) => json!({ "unwinder": name, "cpu": row.cpu, "not": reason }),
                State::Ran(found) => {
                    let classes: serde_json::Map<_, _> =
                        found.classes.iter().map(|(class, of)| ((*class).to_owned(), counts(of))).collect();
                    json!({ "unwinder": name, "version": row.version, "cpu": row.cpu, "all": counts(&found.all), "classes": classes })
                }
            }
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "guests": GUESTS, "rows": all })).unwrap_or_default() + "\n"
}
