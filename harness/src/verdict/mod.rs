//! Truth and walk in, verdict out.
//!
//! The two are aligned entry by entry, by pc and CFA (or by pc and frame pointer, where a walk knows no CFA). Only functions that
//! the scenario lists as omissible may be skipped. Entry 0 of the walk is the interrupted instruction, which the start gave it;
//! it earns no credit.

mod align;
mod difference;
mod judge;
mod memo;
mod shared;
mod start;

use std::fmt;
use std::str::FromStr;

pub use align::{Follower, Rules, Walk, WalkEntry};
pub use difference::{Difference, differences};
pub use judge::Judge;
pub use memo::Memo;
pub use start::ignores_pc;

/// What is wrong with a walk, named by its youngest deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deviation {
    /// An activation is left out, and older ones follow.
    Skipped,
    /// The oldest activations are left out.
    Truncated,
    /// Another pc stands in an activation's place.
    Substituted,
    /// An entry that stands for no activation, with nothing left out.
    Invented,
    /// The same activation twice (with the same CFA; recursion is legal).
    Repeated,
    /// All pcs are right, but a CFA or a register is not.
    State,
    /// It is right by chance: it depends on memory below SP, which the next interrupt may overwrite.
    Dead,
}

impl Deviation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Skipped, Self::Truncated, Self::Substituted, Self::Invented, Self::Repeated, Self::State, Self::Dead];

    /// Whether an activation is missing: what a live patch dies of.
    #[must_use]
    pub const fn is_omission(self) -> bool {
        matches!(self, Self::Skipped | Self::Truncated | Self::Substituted)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Truncated => "truncated",
            Self::Substituted => "substituted",
            Self::Invented => "invented",
            Self::Repeated => "repeated",
            Self::State => "state",
            Self::Dead => "dead",
        }
    }
}

/// The verdict on one walk. Ordered from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The walk did not come back: it faulted, panicked, went on without end, or gave something that is no walk.
    Crashed,
    /// As a process of its own, it did not come back within its limit of time or bytes.
    TimedOut,
    /// Claimed reliable, but an activation is omitted or replaced.
    Unsound(Deviation),
    /// Claimed reliable and nothing is omitted, but something is false.
    Overstated(Deviation),
    /// Something is wrong, but the walk flagged itself unreliable, or makes no claim.
    WrongFlagged(Deviation),
    /// This many right entries, then it stopped and said so.
    Incomplete(u16),
    /// Right, but flagged unreliable, or without a proven end.
    Cautious,
    /// Right and claimed; for a subject that never claims, right.
    Exact,
}

impl Verdict {
    /// Whether nothing may rest on such a walk: it claims to be right and lacks an activation, or did not come back.
    #[must_use]
    pub const fn is_unsound(self) -> bool {
        matches!(self, Self::Crashed | Self::TimedOut | Self::Unsound(_))
    }

    /// The verdict on a walk that would have been another if memory below SP had been overwritten.
    #[must_use]
    pub const fn if_dead(self, is_claimed: bool) -> Self {
        match self {
            Self::Crashed | Self::TimedOut | Self::Unsound(_) | Self::Overstated(_) | Self::WrongFlagged(_) => self,
            Self::Incomplete(_) | Self::Cautious | Self::Exact if is_claimed => Self::Overstated(Deviation::Dead),
            Self::Incomplete(_) | Self::Cautious | Self::Exact => Self::WrongFlagged(Deviation::Dead),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed => formatter.pad("#"),
            Self::TimedOut => formatter.pad("%"),
            Self::Unsound(kind) => formatter.pad(&format!("!{}", kind.name())),
            Self::Overstated(kind) => formatter.pad(&format!("+{}", kind.name())),
            Self::WrongFlagged(kind) => formatter.pad(&format!("?{}", kind.name())),
            Self::Incomplete(right) => formatter.pad(&format!("<{right}")),
            Self::Cautious => formatter.pad("~"),
            Self::Exact => formatter.pad("="),
        }
    }
}

impl serde::Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Verdict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Verdict {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Verdict".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let named = |of: fn(&Deviation) -> bool| {
            let names: Vec<&str> = Deviation::ALL.iter().filter(|kind| of(kind)).map(|kind| kind.name()).collect();
            names.join("|")
        };
        let (omissions, others) = (named(|kind| kind.is_omission()), named(|kind| !kind.is_omission()));
        let pattern = format!("^([#%~=]|!({omissions})|[+]({others})|[?]({omissions}|{others})|<[0-9]+)$");
        schemars::json_schema!({
            "description": "The mark of a verdict: the README says how to read it.", "type": "string", "pattern": pattern,
        })
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("{text:?} is not a verdict; verdicts look like #, %, !skipped, +state, ?truncated, <2, ~ or =");
        let kind = |name: &str| Deviation::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown);
        let first = text.chars().next().ok_or_else(unknown)?;
        let rest = &text[first.len_utf8()..];
        match first {
            '!' => kind(rest).ok().filter(|kind| kind.is_omission()).map(Self::Unsound).ok_or_else(unknown),
            '+' => kind(rest).ok().filter(|kind| !kind.is_omission()).map(Self::Overstated).ok_or_else(unknown),
            '?' => kind(rest).map(Self::WrongFlagged),
            '<' => rest.parse().map(Self::Incomplete).map_err(|_| unknown()),
            '#' if rest.is_empty() => Ok(Self::Crashed),
            '%' if rest.is_empty() => Ok(Self::TimedOut),
            '~' if rest.is_empty() => Ok(Self::Cautious),
            '=' if rest.is_empty() => Ok(Self::Exact),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests;
