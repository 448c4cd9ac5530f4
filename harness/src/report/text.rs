//! The full table for people: one line for each run and unwinder from each of its starts.

use std::collections::BTreeMap;
use std::io::Write;

use anstyle::Style;

use super::{screen, skipped};
use crate::analysis::novelty::Sums;
use crate::analysis::summary::Share;
use crate::recording::{Counters, Failure, Recording, RunState, Section, Shard};
use crate::report::style::{BAD, DIM, GOOD, NOTE};
use crate::subject::Claims;

/// Writes the table, the totals and the broken gates. Styles are ANSI codes; the caller strips them where they do not belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let title = recording.sections.iter().map(|section| section.title().len()).max().unwrap_or(0).max(8);
    let names = recording.sections.iter().flat_map(|section| &section.columns);
    let subject = names.map(|subject| subject.label().len()).max().unwrap_or(0).max(9);
    writeln!(
        out,
        "{DIM}{:<title$}  {:<subject$}  {:>7}  {:>12}  {:>8}{DIM:#}",
        "scenario", "unwinder", "walks", "soundness", "complete"
    )?;
    for section in &recording.sections {
        if let Some(reason) = &section.void {
            let (style, mark) = if section.void_is_meant { (GOOD, "void as it must be") } else { (BAD, "void") };
            writeln!(out, "{:<title$}  {style}{mark}{style:#}: {reason}", section.title())?;
            continue;
        }
        if let Some(reason) = &section.not_judged {
            writeln!(out, "{:<title$}  {BAD}not judged{BAD:#}: {reason}", section.title())?;
            continue;
        }
        if section.interrupted {
            writeln!(out, "{:<title$}  {BAD}interrupted{BAD:#}: these are the verdicts until then", section.title())?;
        }
        for result in &section.columns {
            write!(out, "{:<title$}  ", section.title())?;
            let note = if result.is_callable() { "" } else { "  hypothetical start" };
            let sums = Sums::of(section, result);
            row(out, &result.label(), subject, (&result.counters, sums), result.claims, note)?;
        }
    }
    writeln!(out)?;
    for (name, counters) in &recording.totals.subjects {
        write!(out, "{:<title$}  ", "all")?;
        let mut results = recording.sections.iter().filter_map(|section| section.column(name));
        let claims = results.next().map_or(Claims::Never, |result| result.claims);
        row(out, name, subject, (counters, totals(recording, name)), claims, "")?;
    }
    unread(recording, out)?;
    let failures: Vec<(&Section, &Failure)> = recording
        .sections
        .iter()
        .flat_map(|section| section.failures.iter().map(move |failure| (section, failure)))
        .collect();
    for (section, failure) in &failures {
        writeln!(out, "{BAD}gate broken{BAD:#}: {}: {}", section.title(), failure.message)?;
    }
    skipped::write(&recording.skipped, out)?;
    write_end(recording, failures.is_empty(), out)
}

/// The last line: what was not judged, or that all gates hold.
fn write_end(recording: &Recording, holds: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(partial) = &recording.partial {
        return writeln!(out, "{BAD}{partial}{BAD:#}");
    }
    let unread = recording.unread_images().count();
    if unread > 0 {
        writeln!(out, "{BAD}{unread} images could not be read{BAD:#}")?;
    }
    let not_judged = recording.not_judged().count();
    if let Some(reason) = recording.nothing_judged() {
        return writeln!(out, "{BAD}nothing was judged{BAD:#}: {reason}");
    }
    if not_judged > 0 {
        return writeln!(out, "{BAD}{not_judged} of {} runs not judged{BAD:#}", recording.sections.len());
    }
    let void = recording.sections.iter().filter(|section| section.state() == RunState::Void).count();
    if void > 0 {
        writeln!(out, "{BAD}{void} void{BAD:#}: nothing was judged there, so no gate holds there either")?;
    } else if recording.shard.as_ref().is_some_and(Shard::has_parts) {
        writeln!(out, "{}", Shard::HOLDS_NO_GATES)?;
    } else if holds && unread == 0 {
        writeln!(out, "{}", screen::verdict(recording))?;
    }
    Ok(())
}

/// Unwind data of kernels that none of our models could read, once for each guest.
fn unread(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let of_linux = recording.sections.iter().filter(|section| section.column("linux").is_some());
    let unread = of_linux.flat_map(|section| section.unread.iter().map(|data| (&section.guest.name, data)));
    let all: BTreeMap<_, _> = unread.map(|(guest, data)| ((guest, &data.format), &data.reason)).collect();
    for ((guest, format), reason) in all {
        writeln!(
            out,
            "{BAD}not read{BAD:#}: {format} of {guest}: {reason}; no model of ours that needs it has a column"
        )?;
    }
    Ok(())
}

/// How the deviations of an unwinder stand to the demands, in all runs.
fn totals(recording: &Recording, name: &str) -> Sums {
    let sections = recording.sections.iter();
    let own = sections.flat_map(|section| section.columns.iter().map(move |column| (section, column)));
    let own = own.filter(|(_, column)| column.name == name);
    own.fold(Sums::default(), |sums, (section, column)| sums.plus(Sums::of(section, column)))
}

/// The last columns of a line. `start` says of unsound walks that nobody in Linux asks for them.
fn row(
    out: &mut dyn Write,
    name: &str,
    width: usize,
    (counters, sums): (&Counters, Sums),
    claims: Claims,
    start: &str,
) -> std::io::Result<()> {
    // What is expected does not shout.
    let loud = match sums {
        Sums { new: 1.., .. } => BAD,
        Sums { unheld: 1.., .. } => NOTE,
        _ => Style::new(),
    };
    let (style, soundness) = match counters.unsound {
        _ if counters.walks == 0 => (DIM, "no walk".to_owned()),
        _ if counters.crashed > 0 => (loud, format!("{} crashed", counters.crashed)),
        _ if counters.timed_out > 0 => (loud, format!("{} timeout", counters.timed_out)),
        _ if claims == Claims::Never => (DIM, "n/a".to_owned()),
        0 => (GOOD, "sound".to_owned()),
        unsound => (loud, format!("{unsound} unsound")),
    };
    let masked = counters.unsound - counters.unsound_reachable;
    let note = if masked > 0 { format!("  {masked} of them masked") } else { String::new() };
    let start = if counters.unsound > 0 && claims != Claims::Never { start } else { "" };
    let share = match counters.walks {
        0 => "-".to_owned(),
        walks => {
            let share = Share { exact: counters.exact, walks }.per_mille();
            format!("{}.{}%", share / 10, share % 10)
        }
    };
    let new = if sums.new > 0 { format!("  {BAD}NEW {}{BAD:#}", sums.new) } else { String::new() };
    let walks = counters.walks;
    writeln!(out, "{name:<width$}  {walks:>7}  {style}{soundness:>12}{style:#}  {share:>8}{note}{start}{new}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_without_walks_is_not_said_to_be_sound() {
        let mut out = Vec::new();
        row(&mut out, "a", 1, (&Counters::default(), Sums::default()), Claims::Explicit, "").expect("memory takes it");
        let line = String::from_utf8(out).expect("text");
        assert!(line.contains("no walk") && !line.contains("sound") && !line.contains('%'), "{line}");
    }
}
