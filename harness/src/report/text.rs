//! The table for people: one line for each scenario and subject.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use kunwind::Claims;

use super::{Counters, Report, Section, SubjectResult};

const BAD: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();

/// Writes the table, the broken demands, and the totals. Styles are written as ANSI codes; the caller strips them where
/// they do not belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let title = report.sections.iter().map(|section| section.title().len()).max().unwrap_or(0).max(8);
    let names = report.sections.iter().flat_map(|section| &section.subjects);
    let subject = names.map(|subject| subject.label().len()).max().unwrap_or(0).max(9);
    writeln!(
        out,
        "{DIM}{:<title$}  {:<subject$}  {:>7}  {:>12}  {:>8}{DIM:#}",
        "scenario", "unwinder", "walks", "soundness", "complete"
    )?;
    for section in &report.sections {
        if let Some(reason) = &section.void {
            let (style, mark) = if section.void_is_meant { (GOOD, "void as it must be") } else { (BAD, "void") };
            writeln!(out, "{:<title$}  {style}{mark}{style:#}: {reason}", section.title())?;
            continue;
        }
        for result in &section.subjects {
            write!(out, "{:<title$}  ", section.title())?;
            row(out, &result.label(), subject, &result.counters, result.claims)?;
        }
    }
    writeln!(out)?;
    for (name, counters) in totals(report) {
        write!(out, "{:<title$}  ", "all")?;
        let mut results = report.sections.iter().filter_map(|section| section.subject(name));
        let claims = results.next().map_or(Claims::Never, |result| result.claims);
        row(out, name, subject, &counters, claims)?;
    }
    let broken: Vec<(&Section, &super::Broken)> =
        report.sections.iter().flat_map(|section| section.broken.iter().map(move |broken| (section, broken))).collect();
    for (section, broken) in &broken {
        writeln!(out, "{BAD}gate broken{BAD:#}: {}: {}", section.title(), broken.message)?;
    }
    if broken.is_empty() {
        writeln!(out, "{GOOD}all gates hold{GOOD:#}")?;
    }
    Ok(())
}

/// The last columns of a line.
fn row(out: &mut dyn Write, name: &str, width: usize, counters: &Counters, claims: Claims) -> std::io::Result<()> {
    let (style, soundness) = match counters.unsound {
        _ if claims == Claims::Never => (DIM, "n/a".to_owned()),
        0 => (GOOD, "sound".to_owned()),
        unsound => (BAD, format!("{unsound} unsound")),
    };
    let hypothetical = counters.unsound - counters.unsound_reachable;
    let note = if hypothetical > 0 { format!("  {hypothetical} of them hypothetical") } else { String::new() };
    let share = 100.0 * counters.exact as f64 / counters.walks.max(1) as f64;
    writeln!(out, "{name:<width$}  {:>7}  {style}{soundness:>12}{style:#}  {share:>7.1}%{note}", counters.walks)
}

/// The counters of each subject over all sections that are not void, in the order of first appearance.
#[must_use]
pub fn totals(report: &Report) -> Vec<(&str, Counters)> {
    let sections = report.sections.iter().filter(|section| section.void.is_none());
    by_subject(sections.flat_map(|section| &section.subjects))
}

/// Adds up the starts of each subject.
pub(super) fn by_subject<'a>(results: impl IntoIterator<Item = &'a SubjectResult>) -> Vec<(&'a str, Counters)> {
    let mut sums: Vec<(&str, Counters)> = Vec::new();
    for result in results {
        match sums.iter_mut().find(|(name, _)| *name == result.name) {
            Some((_, counters)) => counters.merge(&result.counters),
            None => sums.push((&result.name, result.counters)),
        }
    }
    sums
}
