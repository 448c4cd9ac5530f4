//! How many walks had which verdict, of a column and of a subject.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ColumnResult;
use crate::verdict::Verdict;

/// Adds up the starts of each subject, in the order of first appearance.
#[must_use]
pub fn by_subject<'a>(columns: impl IntoIterator<Item = &'a ColumnResult>) -> Vec<(String, Counters)> {
    let mut sums: Vec<(String, Counters)> = Vec::new();
    for column in columns {
        match sums.iter_mut().find(|(name, _)| *name == column.name) {
            Some((_, counters)) => counters.merge(&column.counters),
            None => sums.push((column.name.clone(), column.counters)),
        }
    }
    sums
}

/// How many walks had which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// All walks.
    pub walks: u64,
    /// `=`
    pub exact: u64,
    /// `~`
    pub cautious: u64,
    /// `<n`
    pub incomplete: u64,
    /// `?kind`
    pub wrong_flagged: u64,
    /// `+kind`
    pub overstated: u64,
    /// `!kind`
    pub unsound: u64,
    /// `#`: the walk did not come back.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub crashed: u64,
    /// `%`: the walk did not come back in time.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub timed_out: u64,
    /// The unsound walks from points where the interruption can really arrive. A probe stands for an ideal NMI, which can arrive
    /// anywhere.
    pub unsound_reachable: u64,
    /// All walks from points where the interruption is masked.
    pub masked: u64,
}

impl Counters {
    /// Counts `walks` walks with this verdict. `reachable` is false where the interruption is masked.
    pub const fn add(&mut self, verdict: Verdict, reachable: bool, walks: u64) {
        self.walks += walks;
        self.masked += if reachable { 0 } else { walks };
        match verdict {
            Verdict::Exact => self.exact += walks,
            Verdict::Cautious => self.cautious += walks,
            Verdict::Incomplete(_) => self.incomplete += walks,
            Verdict::WrongFlagged(_) => self.wrong_flagged += walks,
            Verdict::Overstated(_) => self.overstated += walks,
            Verdict::Crashed => self.crashed += walks,
            Verdict::TimedOut => self.timed_out += walks,
            Verdict::Unsound(_) => {
                self.unsound += walks;
                self.unsound_reachable += if reachable { walks } else { 0 };
            }
        }
    }

    /// Walks that did not come back, for whatever reason.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.crashed + self.timed_out
    }

    /// Adds another count to this one.
    pub const fn merge(&mut self, other: &Self) {
        self.walks += other.walks;
        self.exact += other.exact;
        self.cautious += other.cautious;
        self.incomplete += other.incomplete;
        self.wrong_flagged += other.wrong_flagged;
        self.overstated += other.overstated;
        self.crashed += other.crashed;
        self.timed_out += other.timed_out;
        self.unsound += other.unsound;
        self.unsound_reachable += other.unsound_reachable;
        self.masked += other.masked;
    }
}
