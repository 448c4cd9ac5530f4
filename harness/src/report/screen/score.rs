//! A new unwinder: its score, its first findings, and nothing else but what was not judged.

use std::io::{self, Write};

use super::{Screen, end};
use crate::analysis::summary::{By, Row, distinct, rows};
use crate::recording::{Finding, Recording, Section};
use crate::report::line::{clipped, command, count};
use crate::report::style::{BAD, DIM, GOOD};
use crate::subject::Claims;

/// How many findings are shown of each unwinder.
const FINDINGS: usize = 10;

pub(super) fn write(recording: &Recording, screen: Screen<'_>, out: &mut dyn Write) -> io::Result<()> {
    let all: Vec<&Section> = recording.sections.iter().collect();
    for row in rows(all.iter().copied(), By::Unwinder) {
        let own: Vec<&Section> =
            all.iter().copied().filter(|section| section.is_whole() && section.column(&row.name).is_some()).collect();
        let others = all.iter().copied().filter(|section| section.is_whole() && section.column(&row.name).is_none());
        let others: Vec<&Section> = others.filter(|it| own.iter().all(|own| own.scenario != it.scenario)).collect();
        write_score(&row, (&own, &others), screen, out)?;
        write_findings(&row, &own, screen.width, out)?;
    }
    // Where no gate is broken, the last line says nothing here: there are none.
    let last = end::verdict(recording);
    let rest = end::lines(recording, screen.width, usize::MAX);
    let mut rest = rest.iter().filter(|line| **line != last);
    rest.try_for_each(|line| writeln!(out, "{line}"))
}

fn write_score(
    row: &Row,
    (own, elsewhere): (&[&Section], &[&Section]),
    screen: Screen<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Row { name, counters, instructions, .. } = row;
    let Some(share) = row.complete() else {
        return writeln!(
            out,
            "{BAD}{name} made no walk here{BAD:#}: its kind of guest, or its CPU, is not among the runs"
        );
    };
    let style = if share.per_mille() == 1000 { GOOD } else { BAD };
    let percent = format!("{}.{} %", share.per_mille() / 10, share.per_mille() % 10);
    let took = screen.took.map_or(String::new(), |took| format!(", in {:.1} s", took.as_secs_f64()));
    writeln!(out, "{name}: {style}{percent}{style:#} right: {} of {}", counters.exact, count(counters.walks, "walk"))?;
    let claims = own.iter().filter_map(|section| section.column(name)).any(|column| column.claims != Claims::Never);
    let wrong = counters.unsound + counters.overstated;
    let claimed = if claims { format!("{wrong} claimed and wrong") } else { "it never claims to be right".to_owned() };
    let others = [
        (counters.wrong_flagged, "wrong without a claim"),
        (counters.incomplete, "stopped short"),
        (counters.cautious, "right but unsure"),
        (counters.crashed, "crashed"),
        (counters.timed_out, "timed out"),
    ];
    let others: String = others.iter().map(|(number, what)| format!(", {number} {what}")).collect();
    writeln!(out, "  {claimed}{others}")?;
    let scenarios = distinct(own, |section| &section.scenario).len() as u64;
    let (runs, places) = (count(own.len() as u64, "run"), count(*instructions as u64, "instruction"));
    writeln!(out, "  {DIM}in {runs} of {}, from {places}{took}{DIM:#}", count(scenarios, "scenario"))?;
    match distinct(elsewhere, |section| &section.scenario).len() as u64 {
        0 => Ok(()),
        number => {
            writeln!(out, "  no walk in {}: it does not walk in guests of their kind", count(number, "other scenario"))
        }
    }
}

fn write_findings(row: &Row, own: &[&Section], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let of = |section: &&'_ Section| -> Vec<usize> {
        let findings = section.findings.iter().enumerate();
        findings.filter(|(_, finding)| finding.subject == row.name).map(|(index, _)| index).collect()
    };
    let mut findings: Vec<(&Section, &Finding)> = Vec::new();
    for section in own {
        findings.extend(of(section).into_iter().map(|index| (*section, &section.findings[index])));
    }
    // The sort is stable: of equal verdicts, the first in the order of the run.
    findings.sort_by_key(|(_, finding)| finding.verdict);
    for (number, (section, finding)) in (1..=FINDINGS).zip(&findings) {
        let Finding { verdict, range, first, .. } = finding;
        let walks = count(finding.count, "walk");
        let line = format!("{number:>4}. {verdict} {walks} at {range}, {}", section.title());
        writeln!(out, "{}", clipped(&line, width))?;
        let got = if first.got.is_empty() { "nothing".to_owned() } else { first.got.join(" < ") };
        let said = first.why.clone().unwrap_or(got);
        let state = if first.state.is_empty() { String::new() } else { format!("; {}", first.state.join(", ")) };
        writeln!(out, "{DIM}{}{DIM:#}", clipped(&format!("      true: {}", first.expected.join(" < ")), width))?;
        writeln!(out, "{DIM}{}{DIM:#}", clipped(&format!("      said: {said}{state}"), width))?;
        for line in command(&section.explain_command(&first.point, &finding.subject), width.saturating_sub(4)) {
            writeln!(out, "    {line}")?;
        }
    }
    if let Some(more) = findings.len().checked_sub(FINDINGS).filter(|more| *more > 0) {
        writeln!(out, "  {DIM}and {more} more findings (--all, --listing or --html FILE){DIM:#}")?;
    }
    Ok(())
}
