//! How two recordings differ: which instructions have other verdicts, for each unwinder and start, as intervals.

mod align;
mod rows;
mod section;

use std::fmt;

use crate::recording::{Recording, Section};

/// How two recordings differ. The verdicts of runs that only one of them has are not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Runs (`scenario [variant] kind`), or guests of `check`, that only the old one has.
    pub only_old: Vec<String>,
    /// Those that only the new one has.
    pub only_new: Vec<String>,
    /// How many both have, and were compared.
    pub compared: usize,
    /// What differs, in the order of the new recording.
    pub runs: Vec<RunDiff>,
}

/// How a run that both recordings have differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunDiff {
    /// `scenario [variant] kind`.
    pub title: String,
    /// What differs in the run as a whole, in words.
    pub notes: Vec<String>,
    /// What differs at instructions.
    pub changes: Vec<Change>,
}

/// What became of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The walks were exact, or there were none, and now are not.
    Opened,
    /// They are not exact, but in another way.
    Changed,
    /// The same verdict is elsewhere in the function.
    Moved,
    /// They were not exact, and now are, or there are none.
    Closed,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Opened, Self::Changed, Self::Moved, Self::Closed];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::Moved => "moved",
            Self::Closed => "closed",
        }
    }
}

/// Neighbouring instructions whose verdict changed in one way, for one unwinder and start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The unwinder's label; of `check`, the table.
    pub unwinder: String,
    /// What became of it.
    pub what: What,
    /// The function.
    pub function: String,
    /// The first and last offset in the old recording, if it is there.
    pub old: Option<(u64, u64)>,
    /// The same in the new one.
    pub new: Option<(u64, u64)>,
    /// The verdicts before, and now.
    pub verdicts: (String, String),
    /// How many instructions.
    pub instructions: usize,
    /// Whether an unsound walk is there now that was not, or one that does not come back.
    pub is_worse: bool,
    /// The command that explains the first of them, if it is in the new recording.
    pub command: Option<String>,
}

impl Change {
    /// `leaf+0x0..leaf+0xc`, where it is now; where it is no more, where it was.
    #[must_use]
    pub fn place(&self) -> String {
        let range = |(first, last): (u64, u64)| {
            let function = &self.function;
            if first == last { format!("{function}+{first:#x}") } else { format!("{function}+{first:#x}..+{last:#x}") }
        };
        match (self.what, self.old, self.new) {
            (What::Moved, Some(old), Some(new)) => format!("{} -> {}", range(old), range(new)),
            (_, _, Some(new)) => range(new),
            (_, Some(old), None) => range(old),
            (_, None, None) => self.function.clone(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unwinder, what, verdicts: (old, new), instructions, .. } = self;
        let verdicts = if old == new { old.clone() } else { format!("{old} -> {new}") };
        let count = if *instructions == 1 { String::new() } else { format!(" ({instructions} instructions)") };
        write!(formatter, "{:<7} {unwinder} {verdicts} at {}{count}", what.name(), self.place())
    }
}

impl Diff {
    /// Whether nothing differs, and nothing is on one side only.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.only_old.is_empty() && self.only_new.is_empty() && self.runs.is_empty()
    }

    /// How many changes there are of a kind.
    #[must_use]
    pub fn count(&self, what: What) -> usize {
        self.runs.iter().flat_map(|run| &run.changes).filter(|change| change.what == what).count()
    }
}

/// Compares recordings, whatever the order of their runs.
#[must_use]
pub fn diff(old: &Recording, new: &Recording) -> Diff {
    let mut found = Diff::default();
    let of = |recording: &Recording| -> Vec<String> {
        let guests = recording.rows.iter().map(|guest| format!("check {}", guest.name));
        recording.sections.iter().map(Section::title).chain(guests).collect()
    };
    let (of_old, of_new) = (of(old), of(new));
    found.only_old.extend(of_old.iter().filter(|title| !of_new.contains(title)).cloned());
    found.only_new.extend(of_new.iter().filter(|title| !of_old.contains(title)).cloned());
    for section in &new.sections {
        let Some(before) = old.sections.iter().find(|other| is_same_run(other, section)) else { continue };
        found.compared += 1;
        found.runs.extend(section::diff(before, section));
    }
    for guest in &new.rows {
        let Some(before) = old.rows.iter().find(|other| other.name == guest.name) else { continue };
        found.compared += 1;
        found.runs.extend(rows::diff(before, guest));
    }
    found
}

fn is_same_run(left: &Section, right: &Section) -> bool {
    (&left.scenario, &left.variant, left.interrupt) == (&right.scenario, &right.variant, right.interrupt)
}

/// What differs in a run, or nothing.
fn of_run(title: String, notes: Vec<String>, changes: Vec<Change>) -> Option<RunDiff> {
    let differs = !notes.is_empty() || !changes.is_empty();
    differs.then_some(RunDiff { title, notes, changes })
}
