//! What a run prints: at most one screen. Of a few scenarios a short table each, with their findings; of more one line for each
//! unwinder and CPU. What is new, void or not judged is never left out without a word; what is expected does not shout.

mod end;
mod few;
mod first;
mod score;
mod table;

use std::io::{self, Write};
use std::time::Duration;

use crate::analysis::diff::Diff;
use crate::analysis::summary::distinct;
use crate::recording::Recording;
use crate::report::line::{clipped, count};

pub(super) use end::{gates, verdict};

/// How many lines the first screen may have.
pub const LINES: usize = 40;
/// How wide text is that goes nowhere in particular.
pub const WIDTH: usize = 100;
/// How many scenarios have a table each.
const FEW: usize = 6;

/// What is known of a run beside its recording.
#[derive(Debug, Clone, Copy)]
pub struct Screen<'a> {
    /// How many columns there are.
    pub width: usize,
    /// How long it took.
    pub took: Option<Duration>,
    /// How it differs from an earlier one, which then is all that is shown of its verdicts.
    pub changes: Option<&'a Diff>,
}

impl Default for Screen<'_> {
    fn default() -> Self {
        Self { width: WIDTH, took: None, changes: None }
    }
}

/// Writes it. Styles are ANSI codes; the caller strips them where they do not belong.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, screen: Screen<'_>, out: &mut dyn Write) -> io::Result<()> {
    let sections: Vec<_> = recording.sections.iter().collect();
    if screen.changes.is_none() && is_on_trial(recording) {
        return score::write(recording, screen, out);
    }
    let is_few = distinct(&sections, |section| &section.scenario).len() <= FEW;
    let head = head(recording, screen.took);
    writeln!(out, "{}", clipped(&head, screen.width))?;
    if let Some(changes) = screen.changes {
        let end = end::lines(recording, screen.width, LINES / 2);
        let room = LINES.saturating_sub(1 + end.len());
        super::diff::write_within(changes, screen.width, room, out)?;
        return end.iter().try_for_each(|line| writeln!(out, "{line}"));
    }
    if is_few {
        few::write(recording, screen.width, out)?;
        return end::lines(recording, screen.width, usize::MAX).iter().try_for_each(|line| writeln!(out, "{line}"));
    }
    let end = end::lines(recording, screen.width, LINES / 2);
    let table = first::lines(recording, screen.width, LINES.saturating_sub(1 + end.len()));
    table.iter().chain(&end).try_for_each(|line| writeln!(out, "{line}"))
}

/// Whether it is a run of new unwinders alone, of which nothing is demanded.
#[must_use]
pub fn is_on_trial(recording: &Recording) -> bool {
    let mut columns = recording.sections.iter().flat_map(|section| &section.columns).peekable();
    columns.peek().is_some() && columns.all(|column| !column.gate.is_sound())
}

/// What ran.
fn head(recording: &Recording, took: Option<Duration>) -> String {
    let sections: Vec<_> = recording.sections.iter().collect();
    let scenarios = distinct(&sections, |section| &section.scenario).len() as u64;
    let walks = recording.totals.subjects.iter().map(|(_, counters)| counters.walks).sum();
    let took = took.map_or(String::new(), |took| format!(", in {:.1} s", took.as_secs_f64()));
    format!(
        "{}, {}, {}, {}{took}",
        count(scenarios, "scenario"),
        count(sections.len() as u64, "run"),
        count(recording.totals.points, "point"),
        count(walks, "walk"),
    )
}
