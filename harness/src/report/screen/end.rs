//! What follows the rows: void runs, what was not judged, what was skipped, broken gates, and the answer.

use std::collections::BTreeMap;

use anstyle::Style;

use crate::recording::{Recording, RunState, Section, Shard};
use crate::report::line::{clipped, command, count};
use crate::report::style::{BAD, DIM, GOOD};
use crate::report::{known, skipped};

/// How many of a kind are told before the rest is counted, where there is little room.
const TOLD: usize = 4;

/// The lines: no more than about `most`.
pub(super) fn lines(recording: &Recording, width: usize, most: usize) -> Vec<String> {
    let told = if most == usize::MAX { usize::MAX } else { TOLD };
    let mut lines = Vec::new();
    if told != usize::MAX {
        without_verdicts(recording, told, width, &mut lines);
    }
    let cut = recording.sections.iter().filter(|section| section.interrupted);
    let cut: Vec<String> =
        cut.map(|section| format!("{}: these are the verdicts until then", section.title())).collect();
    some(&cut, ("interrupted", BAD), told, width, &mut lines);
    some(&unread(recording), ("not read", BAD), told, width, &mut lines);
    skips(recording, told, width, &mut lines);
    let used = lines.len();
    broken(recording, most.saturating_sub(used), width, &mut lines);
    if told == usize::MAX {
        pasted(recording, &mut lines);
    }
    lines.extend(answer(recording));
    lines
}

/// Void runs, and what was not judged. Of a few scenarios, each says so itself.
fn without_verdicts(recording: &Recording, told: usize, width: usize, lines: &mut Vec<String>) {
    let of = |state: RunState| recording.sections.iter().filter(move |section| section.state() == state);
    let meant = of(RunState::VoidAsMeant).count() as u64;
    if meant > 0 {
        lines.push(format!("void as it must be: {}", count(meant, "run")));
    }
    let void: Vec<String> = { of(RunState::Void) }
        .filter_map(|section| Some(format!("{}: {}", section.title(), section.void.as_ref()?)))
        .collect();
    some(&void, ("void", BAD), told, width, lines);
    let not_judged: Vec<String> = recording.not_judged().map(|(title, reason)| format!("{title}: {reason}")).collect();
    some(&not_judged, ("not judged", BAD), told, width, lines);
}

/// The first of these, and how many more there are.
fn some(texts: &[String], (head, style): (&str, Style), told: usize, width: usize, lines: &mut Vec<String>) {
    // Dots would hide the reason for which a single run is named.
    let fits = |text: &String| {
        if told == usize::MAX { text.clone() } else { clipped(text, width.saturating_sub(head.len() + 2)) }
    };
    lines.extend(texts.iter().take(told).map(|text| format!("{style}{head}{style:#}: {}", fits(text))));
    if texts.len() > told {
        lines.push(format!("{style}{head}{style:#}: {} more (--all tells all)", texts.len() - told));
    }
}

/// Unwind data of kernels that none of our models could read, once for each guest.
fn unread(recording: &Recording) -> Vec<String> {
    let of_linux = recording.sections.iter().filter(|section| section.column("linux").is_some());
    let unread = of_linux.flat_map(|section| section.unread.iter().map(|data| (&section.guest.name, data)));
    let all: BTreeMap<_, _> = unread.map(|(guest, data)| ((guest, &data.format), &data.reason)).collect();
    let says = |((guest, format), reason)| {
        format!("{format} of {guest}: {reason}; no model of ours that needs it has a column")
    };
    all.into_iter().map(says).collect()
}

fn skips(recording: &Recording, told: usize, width: usize, lines: &mut Vec<String>) {
    let mut text = Vec::new();
    if skipped::write(&recording.skipped, &mut text).is_err() {
        return; // memory takes everything
    }
    let all: Vec<String> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    let most = told.saturating_add(1);
    // Styled lines are not clipped: a style that is cut would go on.
    lines.extend(
        all.iter().take(most).map(|line| if line.contains('\u{1b}') { line.clone() } else { clipped(line, width) }),
    );
    if all.len() > most {
        lines.push(format!("  and {} more reasons (--all tells all)", all.len() - most));
    }
}

/// The broken gates alone: each in two lines or, with `all`, whole, then what would make them hold; nothing if none is broken.
pub(in crate::report) fn gates(recording: &Recording, all: bool, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    broken(recording, if all { usize::MAX } else { GATES }, width, &mut lines);
    if !lines.is_empty() {
        pasted(recording, &mut lines);
        lines.extend(broken_count(recording));
    }
    lines
}

/// How many lines broken gates may take below what else is told.
const GATES: usize = 12;

/// Each broken gate: what is wrong, and the command that explains it.
fn broken(recording: &Recording, room: usize, width: usize, lines: &mut Vec<String>) {
    let of_runs = recording.sections.iter().flat_map(|section| {
        section.failures.iter().map(move |failure| format!("{}: {}", section.title(), failure.message))
    });
    let all: Vec<String> = of_runs.chain(recording.row_failures.iter().cloned()).collect();
    for (index, message) in all.iter().enumerate() {
        let gate = if room > 1_000 { whole(message) } else { two_lines(message, width) };
        // One line is for how many more there are, one for the answer.
        if index > 0 && lines.len() + gate.len() + 2 > room {
            lines.push(format!("{BAD}gate broken{BAD:#}: {} more (--all tells all)", all.len() - index));
            return;
        }
        lines.extend(gate);
    }
}

fn whole(message: &str) -> Vec<String> {
    format!("{BAD}gate broken{BAD:#}: {message}").lines().map(str::to_owned).collect()
}

/// What would make the broken gates of a few scenarios hold, to be pasted, if it is as it must be.
fn pasted(recording: &Recording, lines: &mut Vec<String>) {
    let mut done: Vec<&str> = Vec::new();
    for section in recording.sections.iter().filter(|section| section.target.is_none()) {
        if done.contains(&section.scenario.as_str()) {
            continue;
        }
        done.push(&section.scenario);
        let own: Vec<&Section> = recording.sections.iter().filter(|other| other.scenario == section.scenario).collect();
        let blocks = known::blocks(&own);
        if !blocks.is_empty() {
            lines.push(format!("If it must be so, say it in scenarios/{}.toml, with the reason:", section.scenario));
            lines.extend(blocks.lines().map(|line| format!("{DIM}{line}{DIM:#}")));
        }
    }
}

/// What is wrong in one line, and the command.
fn two_lines(message: &str, width: usize) -> Vec<String> {
    let is_command = |line: &&str| line.trim_start().starts_with("unwind-harness ");
    let rest = message.lines().skip(1).map(str::trim);
    // How many more there are of the kind stands last.
    let more = rest.filter(|line| line.starts_with("and ")).last().unwrap_or_default();
    let more = more.split(" findings").next().filter(|more| !more.is_empty());
    let more = more.map_or(String::new(), |more| format!(" ({more})"));
    let first = message.lines().next().unwrap_or_default();
    let room = width.saturating_sub("gate broken: ".len() + more.len());
    let mut lines = vec![format!("{BAD}gate broken{BAD:#}: {}{more}", clipped(first, room))];
    lines.extend(message.lines().filter(is_command).take(1).flat_map(|line| command(line, width)));
    lines
}

/// The last line: what was not judged, or that all gates hold.
fn answer(recording: &Recording) -> Vec<String> {
    if let Some(partial) = &recording.partial {
        return vec![format!("{BAD}{partial}{BAD:#}")];
    }
    let mut lines: Vec<String> =
        recording.nothing_judged().iter().map(|reason| format!("{BAD}nothing was judged{BAD:#}: {reason}")).collect();
    let unread = recording.unread_images().count() as u64;
    if unread > 0 {
        lines.push(format!("{BAD}{} could not be read{BAD:#}", count(unread, "image")));
    }
    let runs = recording.sections.len();
    let not_judged = recording.not_judged().count();
    let void = recording.sections.iter().filter(|section| section.state() == RunState::Void).count();
    if not_judged > 0 {
        lines.push(format!("{BAD}{not_judged} of {runs} runs not judged{BAD:#}"));
    }
    if void > 0 {
        lines.push(format!("{BAD}{void} void{BAD:#}: nothing was judged there, so no gate holds there either"));
    }
    lines.extend(broken_count(recording));
    if recording.shard.as_ref().is_some_and(Shard::has_parts) {
        lines.push(Shard::HOLDS_NO_GATES.to_owned());
    } else if lines.is_empty() && recording.row_failures.is_empty() {
        lines.push(verdict(recording));
    }
    lines
}

/// The last line where no gate is broken.
pub(in crate::report) fn verdict(recording: &Recording) -> String {
    if !recording.demands_nothing() {
        return format!("{GOOD}all gates hold{GOOD:#}");
    }
    // Our models must agree with the kernel's walks, and a case with what was recorded, whatever is demanded of the walks.
    let has_others = recording.sections.iter().any(|section| !section.agreements.is_empty());
    let is_of_linux = recording.sections.iter().any(|section| section.column("linux").is_some());
    let because = if is_of_linux { " (released kernels)" } else { "" };
    match has_others {
        true => format!("nothing is demanded of these walks{because}; all other gates hold"),
        false => format!("no gate: nothing is demanded of these walks{because}"),
    }
}

/// How many gates are broken, if any is.
fn broken_count(recording: &Recording) -> Option<String> {
    let runs = recording.sections.len();
    let failed = recording.sections.iter().filter(|section| !section.failures.is_empty()).count();
    let gates: u64 = recording.sections.iter().map(|section| section.failures.len() as u64).sum();
    let are = if gates == 1 { "is" } else { "are" };
    (failed > 0).then(|| format!("{BAD}{} {are} broken{BAD:#}, in {failed} of {runs} runs", count(gates, "gate")))
}
