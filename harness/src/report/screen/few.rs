//! A few scenarios: a short table for each, over all its runs, and what it found.

use std::io::{self, Write};

use super::table::Shape;
use crate::analysis::summary::{By, Row, distinct, rows};
use crate::recording::{Finding, Novelty, Recording, Section};
use crate::report::line::{clipped, command, count};
use crate::report::style::{BAD, DIM};
use crate::verdict::Verdict;

/// How many kinds of findings that are not new are told of each scenario.
const EXPECTED: usize = 8;

pub(super) fn write(recording: &Recording, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let all: Vec<&Section> = recording.sections.iter().collect();
    for scenario in distinct(&all, |section| &section.scenario) {
        let own: Vec<&Section> = all.iter().copied().filter(|section| section.scenario == *scenario).collect();
        let rows = rows(own.iter().copied(), By::Start);
        for line in title(scenario, &own, width) {
            writeln!(out, "{line}")?;
        }
        own.iter().try_for_each(|section| write_state(section, own.len() > 1, out))?;
        if rows.is_empty() {
            continue;
        }
        write_rows(&rows, width, out)?;
        write_findings(&own, width, out)?;
    }
    Ok(())
}

/// Says of a run that it is void, or was not judged, and why.
fn write_state(section: &Section, is_one_of: bool, out: &mut dyn Write) -> io::Result<()> {
    let of = match &section.variant {
        _ if !is_one_of => String::new(),
        Some(variant) => format!("[{variant}] {} ", section.interrupt.name()),
        None => format!("{} ", section.interrupt.name()),
    };
    match (&section.void, &section.not_judged) {
        (Some(reason), _) if section.void_is_meant => writeln!(out, "  {of}void as it must be: {reason}"),
        (Some(reason), _) => writeln!(out, "  {of}{BAD}void{BAD:#}: {reason}"),
        (None, Some(reason)) => writeln!(out, "  {of}{BAD}not judged{BAD:#}: {reason}"),
        (None, None) => Ok(()),
    }
}

/// The scenario, and which runs of it these are.
fn title(scenario: &str, own: &[&Section], width: usize) -> Vec<String> {
    let kinds: Vec<&str> = distinct(own, |section| section.interrupt.name());
    let variants: Vec<&str> = distinct(own, |section| section.variant.as_deref()).into_iter().flatten().collect();
    let of = match variants.as_slice() {
        [] => String::new(),
        variants => format!(" [{}]", variants.join(" ")),
    };
    let judged = own.iter().filter(|section| section.void.is_none() && section.not_judged.is_none());
    let points: u64 = judged.map(|section| section.points).sum();
    let runs = if own.len() > 1 { format!("{}, ", count(own.len() as u64, "run")) } else { String::new() };
    let whole = format!("{scenario}{of} {}: {runs}{}", kinds.join(" "), count(points, "point"));
    if whole.chars().count() <= width {
        return vec![whole];
    }
    vec![format!("{scenario}: {runs}{}", count(points, "point")), clipped(&format!("{of} {}", kinds.join(" ")), width)]
}

fn write_rows(rows: &[Row], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let shape = Shape::of(rows, width);
    writeln!(out, "{}", shape.head("  unwinder"))?;
    rows.iter().try_for_each(|row| writeln!(out, "{}", shape.row(row)))?;
    shape.left_out(width).map_or(Ok(()), |line| writeln!(out, "{line}"))
}

/// Findings of one unwinder, verdict and novelty.
struct Kind<'r> {
    section: &'r Section,
    first: &'r Finding,
    walks: u64,
    places: u64,
}

fn write_findings(own: &[&Section], width: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for (section, finding) in own.iter().flat_map(|section| section.findings.iter().map(move |it| (*section, it))) {
        let key = |finding: &Finding| (finding.label(), finding.verdict, finding.novelty);
        match kinds.iter_mut().find(|kind| key(kind.first) == key(finding)) {
            Some(kind) => {
                kind.walks += finding.count;
                kind.places += 1;
            }
            None => kinds.push(Kind { section, first: finding, walks: finding.count, places: 1 }),
        }
    }
    let is_new = |kind: &Kind<'_>| kind.first.novelty == Some(Novelty::New);
    // Whatever is right as far as it goes is in the column of what is complete.
    let is_told = |kind: &Kind<'_>| {
        is_new(kind) || kind.first.verdict.is_unsound() || matches!(kind.first.verdict, Verdict::Overstated(_))
    };
    kinds.retain(is_told);
    kinds.sort_by_key(|kind| (!is_new(kind), kind.first.verdict));
    let new = kinds.iter().filter(|kind| is_new(kind)).count();
    for kind in &kinds[..new] {
        let Kind { section, first, .. } = kind;
        writeln!(out, "  {BAD}NEW{BAD:#} {}", clipped(&says(kind), width.saturating_sub(6)))?;
        for line in command(&section.explain_command(&first.first.point, &first.subject), width) {
            writeln!(out, "{line}")?;
        }
    }
    for kind in kinds[new..].iter().take(EXPECTED) {
        writeln!(out, "  {}", clipped(&says(kind), width.saturating_sub(2)))?;
    }
    if let Some(rest) = kinds[new..].get(EXPECTED..).filter(|rest| !rest.is_empty()) {
        let more = count(rest.len() as u64, "more kind");
        writeln!(
            out,
            "  {DIM}and {more} of findings, none of them new (--listing: instruction by instruction){DIM:#}"
        )?;
    }
    Ok(())
}

/// What a kind of finding is, where it begins, and why it is no surprise.
fn says(kind: &Kind<'_>) -> String {
    let Kind { section, first, walks, places } = kind;
    let elsewhere = if *places > 1 { format!(" and {}", count(places - 1, "more place")) } else { String::new() };
    let because = match first.novelty {
        Some(Novelty::Known) => {
            let reason = first.reason.and_then(|reason| section.reasons.get(reason));
            reason.map_or(": expected".to_owned(), |reason| format!(": expected, {reason}"))
        }
        Some(Novelty::Exempt) => ": no demand".to_owned(),
        Some(Novelty::Allowed) => ": allowed".to_owned(),
        Some(Novelty::New) => String::new(),
        None => ": no gate was held".to_owned(),
    };
    format!("{} {}, {} at {}{elsewhere}{because}", first.label(), first.verdict, count(*walks, "walk"), first.range)
}
