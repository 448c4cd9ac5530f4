//! The state of a run, and that of a whole recording: what exit statuses and all reports go by.

use super::rows::GuestRows;
use super::{Recording, Section};

/// Whether a run has verdicts, and what if not. Ordered from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunState {
    /// It has verdicts, to its end.
    Judged,
    /// It is void, as its scenario demands.
    VoidAsMeant,
    /// It was stopped: its verdicts are those up to there.
    Interrupted,
    /// Its guest failed.
    NotJudged,
    /// The witnesses of the truth contradict each other.
    Void,
}

impl RunState {
    const fn of(void: Option<&String>, is_meant: bool, not_judged: Option<&String>, is_interrupted: bool) -> Self {
        match (void, not_judged) {
            (Some(_), _) if is_meant => Self::VoidAsMeant,
            (Some(_), _) => Self::Void,
            (None, Some(_)) => Self::NotJudged,
            (None, None) if is_interrupted => Self::Interrupted,
            (None, None) => Self::Judged,
        }
    }

    /// Whether there are verdicts, if only up to where it was stopped.
    #[must_use]
    pub const fn has_verdicts(self) -> bool {
        matches!(self, Self::Judged | Self::Interrupted)
    }
}

impl Section {
    /// Its state.
    #[must_use]
    pub const fn state(&self) -> RunState {
        RunState::of(self.void.as_ref(), self.void_is_meant, self.not_judged.as_ref(), self.interrupted)
    }
}

impl GuestRows {
    /// Its state.
    #[must_use]
    pub const fn state(&self) -> RunState {
        RunState::of(self.void.as_ref(), self.void_is_meant, self.not_judged.as_ref(), self.interrupted)
    }
}

/// What a reader of a recording wants to know first. Ordered from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overall {
    /// All gates hold.
    Holds,
    /// No gate is broken, but runs are missing or were cut short.
    Partial,
    /// So many gates are broken.
    Broken(usize),
    /// So many runs are void, and were not meant to be.
    Void(usize),
    /// So many runs have no verdicts because their guests failed, or images that could not be read.
    NotJudged(usize),
}

impl Recording {
    /// Why nothing was looked at, although no run failed; `None`: something was, or a run says itself why it was not. A shard may be
    /// empty.
    #[must_use]
    pub fn nothing_judged(&self) -> Option<&'static str> {
        if self.partial.is_some() || self.shard.is_some() {
            return None;
        }
        if self.sections.is_empty() && self.rows.is_empty() {
            return Some("there is no run");
        }
        let walked = |section: &&Section| section.columns.iter().any(|column| column.counters.walks > 0);
        let mut judged = self.sections.iter().filter(|section| section.state().has_verdicts()).peekable();
        let is_empty = judged.peek().is_some() && !judged.any(|section| walked(&section));
        is_empty.then_some("no walk was made: none of these unwinders walks there, or nothing runs there")
    }

    /// Whether nothing is demanded of any walk that was judged: it is then no success that no gate is broken.
    #[must_use]
    pub fn demands_nothing(&self) -> bool {
        let mut judged = self.sections.iter().filter(|section| section.state() == RunState::Judged).peekable();
        judged.peek().is_some() && judged.all(|section| section.undemanded)
    }

    /// What became of all runs: nothing that was not judged is right. `allow_unsound`: unsound verdicts break no gate.
    #[must_use]
    pub fn overall(&self, allow_unsound: bool) -> Overall {
        let states = { self.sections.iter() }.map(Section::state).chain(self.rows.iter().map(GuestRows::state));
        let void = states.filter(|state| *state == RunState::Void).count();
        let failures = self.sections.iter().flat_map(|section| &section.failures);
        let broken = failures.filter(|it| !(allow_unsound && it.is_unsound)).count() + self.row_failures.len();
        let unseen = if self.nothing_judged().is_some() { self.sections.len().max(1) } else { 0 };
        match (unseen + self.not_judged().count() + self.unread_images().count(), void, broken) {
            (not_judged @ 1.., _, _) => Overall::NotJudged(not_judged),
            (0, 1.., _) => Overall::Void(void),
            (0, 0, 1..) => Overall::Broken(broken),
            (0, 0, 0) if self.partial.is_some() => Overall::Partial,
            (0, 0, 0) => Overall::Holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Overall, RunState};
    use crate::recording::rows::GuestRows;
    use crate::recording::{Partial, Recording, Section, Skip};
    use crate::scenario::Interruption;

    fn guest(name: &str) -> GuestRows {
        GuestRows { not_judged: None, ..GuestRows::without_rows(name.to_owned(), String::new(), String::new()) }
    }

    #[test]
    fn nothing_seen_is_not_judged() {
        let section = || Section { points: 5, ..Section::empty("cpu/leaf".to_owned(), Interruption::Probe) };
        assert_eq!(Recording::new(Vec::new()).overall(false), Overall::NotJudged(1));
        let mut recording = Recording::new(vec![section(), section()]);
        assert_eq!(recording.overall(true), Overall::NotJudged(2));
        recording.sections[0].void = Some("as it must be".to_owned());
        recording.sections[0].void_is_meant = true;
        recording.sections.truncate(1);
        assert_eq!(recording.overall(false), Overall::Holds);
    }

    #[test]
    fn the_worst_decides() {
        let void = GuestRows { void: Some("a contradiction".to_owned()), ..guest("void") };
        let meant = GuestRows { void_is_meant: true, ..void.clone() };
        let failed = GuestRows::without_rows("failed".to_owned(), String::new(), "no memory".to_owned());
        let cut = GuestRows { interrupted: true, ..guest("cut") };
        for (guest, state) in [
            (&void, RunState::Void),
            (&meant, RunState::VoidAsMeant),
            (&failed, RunState::NotJudged),
            (&cut, RunState::Interrupted),
        ] {
            assert_eq!((guest.state(), guest.state().has_verdicts()), (state, state == RunState::Interrupted));
        }
        let mut recording = Recording { rows: vec![guest("good"), meant], ..Recording::default() };
        assert_eq!(recording.overall(false), Overall::Holds);
        recording.partial = Some(Partial { because: "interrupted".to_owned(), whole: 1, of: 2 });
        assert_eq!(recording.overall(false), Overall::Partial);
        recording.row_failures.push("a row is wrong".to_owned());
        assert_eq!(recording.overall(true), Overall::Broken(1));
        recording.rows.push(void);
        assert_eq!(recording.overall(false), Overall::Void(1));
        recording.rows.push(failed);
        // A guest that failed may be among what was skipped too; it is one.
        recording.skipped = vec![Skip::failed("failed", "no memory"), Skip::absent("other", "it has no rows")];
        assert_eq!(recording.overall(false), Overall::NotJudged(1));
        recording.skipped.push(Skip::failed("image", "not a kernel"));
        assert_eq!(recording.overall(false), Overall::NotJudged(2));
    }
}
