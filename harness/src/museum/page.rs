//! The printed forms: a screen by groups, every exhibit, and the table of docs/museum.md.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::judge::{Judged, Result, Status};
use super::{Exhibit, Group};

fn count(results: &[&Result], is_it: fn(Status) -> bool) -> usize {
    results.iter().filter(|result| is_it(result.status)).count()
}

/// Writes one line for each group, and what does not hold.
///
/// # Errors
///
/// Those of `out`.
pub fn write_summary(judged: &Judged, out: &mut dyn Write) -> io::Result<()> {
    let width = judged.groups.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:<width$}  pairs  caught before  clean after", "")?;
    for (title, results) in judged.by_group() {
        let caught = count(&results, |status| matches!(status, Status::Holds | Status::Reported));
        let clean = count(&results, |status| matches!(status, Status::Holds | Status::Missed));
        writeln!(out, "{title:<width$}  {:>5}  {caught:>13}  {clean:>11}", results.len())?;
    }
    let totals = judged.totals;
    writeln!(out, "{:<width$}  {:>5}  {:>13}  {:>11}", "all", totals.pairs, totals.caught, totals.clean)?;
    write_problems(judged, out)
}

/// Writes every exhibit: what was wrong, what catches it and where; and what does not hold.
///
/// # Errors
///
/// Those of `out`.
pub fn write_all(judged: &Judged, out: &mut dyn Write) -> io::Result<()> {
    for (title, results) in judged.by_group() {
        writeln!(out, "{title}")?;
        for result in results {
            let Result { name, cpu, reference, year, cause, .. } = result;
            let status = match result.status {
                Status::Holds => "caught before, clean after",
                Status::Missed => "MISSED before, clean after",
                Status::Reported => "caught before, REPORTED after",
                Status::MissedAndReported => "MISSED before, REPORTED after",
                Status::NotJudged => "NOT JUDGED",
            };
            writeln!(out, "\n  {name}  {cpu}  {status}")?;
            writeln!(out, "    {reference} ({year}): {cause}")?;
            writeln!(out, "    {} / {}", result.defective, result.fixed)?;
            for catch in &result.caught_by {
                writeln!(out, "    {catch}")?;
            }
        }
        writeln!(out)?;
    }
    write_problems(judged, out)
}

fn write_problems(judged: &Judged, out: &mut dyn Write) -> io::Result<()> {
    for result in &judged.exhibits {
        for problem in &result.problems {
            writeln!(out, "{}: {problem}", result.name)?;
        }
    }
    for problem in &judged.problems {
        writeln!(out, "{problem}")?;
    }
    if judged.holds() {
        writeln!(out, "every bug is caught before its fix, and none is reported after it")?;
    }
    Ok(())
}

/// The tables of docs/museum.md: one for each group.
#[must_use]
pub fn markdown(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let _ = write!(text, "### {}\n\n| bug | report | cause | caught by |\n|---|---|---|---|\n", group.title);
        for exhibit in &group.exhibits {
            let Exhibit { name, reference, year, cause, url, .. } = exhibit;
            let report = match url {
                Some(url) => format!("[{reference}]({url})"),
                None => reference.clone(),
            };
            let catches: Vec<String> = exhibit.caught_by.iter().map(|catch| format!("`{catch}`")).collect();
            let cpu = exhibit.cpu();
            let _ = writeln!(text, "| {name} ({cpu}) | {report} ({year}) | {cause} | {} |", catches.join("; "));
        }
        text.push('\n');
    }
    text
}
