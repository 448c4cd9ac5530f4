//! The printed forms: a screen by groups, every exhibit, and the table of docs/museum.md.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::judge::{Judged, Result, Status};
use super::{Exhibit, Group};

fn count(results: &[&Result], is_it: fn(Status) -> bool) -> usize {
    results.iter().filter(|result| is_it(result.status)).count()
}

/// Writes one line for each group (how many bugs are caught before their fix, and how many halves are clean after it), and what does
/// not hold.
///
/// # Errors
///
/// Those of `out`.
pub fn write_summary(judged: &Judged, out: &mut dyn Write) -> io::Result<()> {
    let width = judged.groups.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:<width$}  pairs  caught  clean", "")?;
    for (title, results) in judged.by_group() {
        let caught = count(&results, |status| matches!(status, Status::Holds | Status::Reported));
        let clean = count(&results, |status| matches!(status, Status::Holds | Status::Missed));
        writeln!(out, "{title:<width$}  {:>5}  {caught:>6}  {clean:>5}", results.len())?;
    }
    let totals = judged.totals;
    writeln!(out, "{:<width$}  {:>5}  {:>6}  {:>5}", "all", totals.pairs, totals.caught, totals.clean)?;
    write_problems(judged, out)
}

/// Writes every exhibit: what was wrong, what catches it and where; and what does not hold. `width`: how many columns there are.
///
/// # Errors
///
/// Those of `out`.
pub fn write_all(judged: &Judged, width: usize, out: &mut dyn Write) -> io::Result<()> {
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
            let runs = format!("before: {}; after: {}", result.defective, result.fixed);
            let lines = [format!("{reference} ({year}): {cause}"), runs];
            for line in lines.iter().chain(&result.caught_by) {
                write_wrapped(line, width, out)?;
            }
        }
        writeln!(out)?;
    }
    write_problems(judged, out)
}

/// Writes words in lines of at most `width` columns, unless a word has more.
fn write_wrapped(text: &str, width: usize, out: &mut dyn Write) -> io::Result<()> {
    const INDENT: &str = "    ";
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && INDENT.len() + line.chars().count() + 1 + word.chars().count() > width {
            writeln!(out, "{INDENT}{line}")?;
            line = "  ".to_owned();
        } else if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    writeln!(out, "{INDENT}{line}")
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
