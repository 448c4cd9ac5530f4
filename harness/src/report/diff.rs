//! How two recordings differ, for people.

use std::io::{self, Write};

use anstyle::Style;

use super::line::{clipped, command, count, listed};
use crate::analysis::diff::{Change, Diff, What};
use crate::report::style::{BAD, DIM, GOOD};

/// Writes everything that differs. Styles are ANSI codes; the caller strips them where they do not belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(diff: &Diff, width: usize, out: &mut dyn Write) -> io::Result<()> {
    write_within(diff, width, usize::MAX, out)
}

/// The same in at most this many lines; the last then says how many are left out.
pub(super) fn write_within(diff: &Diff, width: usize, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = only(diff, width);
    // What is worse first: the rest may not fit.
    let mut runs: Vec<_> = diff.runs.iter().collect();
    runs.sort_by_key(|run| !run.changes.iter().any(|change| change.is_worse));
    for run in runs {
        lines.push(run.title.clone());
        lines.extend(run.notes.iter().map(|note| format!("  {}", clipped(note, width.saturating_sub(2)))));
        lines.extend(run.changes.iter().flat_map(|change| of_change(change, width)));
    }
    writeln!(out, "{}", clipped(&summary(diff), width))?;
    let most = most.saturating_sub(1);
    let shown = if lines.len() > most { most.saturating_sub(1) } else { lines.len() };
    lines[..shown].iter().try_for_each(|line| writeln!(out, "{line}"))?;
    match lines.len() - shown {
        0 => Ok(()),
        left => writeln!(out, "{DIM}and {left} more lines (--all, or `unwind-harness diff`, tells all){DIM:#}"),
    }
}

/// The answer in one line.
fn summary(diff: &Diff) -> String {
    let compared = count(diff.compared as u64, "run");
    let counts: Vec<String> = { What::ALL.iter() }
        .filter(|what| diff.count(**what) > 0)
        .map(|what| format!("{} {}", diff.count(*what), what.name()))
        .collect();
    let notes = diff.runs.iter().filter(|run| !run.notes.is_empty()).count() as u64;
    let mut text = match counts.as_slice() {
        [] if diff.compared == 0 => "compared no run: they have none in common".to_owned(),
        [] => format!("compared {compared}: no verdict changed"),
        counts => format!("compared {compared}: intervals {}", counts.join(", ")),
    };
    if notes > 0 {
        let differ = if notes == 1 { "differs" } else { "differ" };
        text += &format!("; {} {differ} as a whole", count(notes, "run"));
    }
    let sides = [("old", diff.only_old.len()), ("new", diff.only_new.len())];
    for (side, number) in sides.into_iter().filter(|(_, number)| *number > 0) {
        text += &format!("; {} only in the {side} one", count(number as u64, "run"));
    }
    text
}

/// What is on one side only.
fn only(diff: &Diff, width: usize) -> Vec<String> {
    let line = |side: &str, titles: &[String]| {
        let head = format!("only in the {side} one: ");
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        (!titles.is_empty()).then(|| format!("{head}{}", listed(&titles, width.saturating_sub(head.len()))))
    };
    line("old", &diff.only_old).into_iter().chain(line("new", &diff.only_new)).collect()
}

fn of_change(change: &Change, width: usize) -> Vec<String> {
    let style = match change.what {
        _ if change.is_worse => BAD,
        What::Closed => GOOD,
        _ => Style::new(),
    };
    let mut lines = vec![format!("  {style}{}{style:#}", clipped(&change.to_string(), width.saturating_sub(2)))];
    lines.extend(change.command.iter().filter(|_| change.is_worse).flat_map(|text| command(text, width)));
    lines
}
