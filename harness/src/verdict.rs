//! Truth and walk in, verdict out.
//!
//! The two are aligned entry by entry, by pc and by the CFA (or the frame pointer, where a walk knows no CFA), skipping only
//! functions that the scenario calls omissible. The interrupted instruction is the walk's entry 0: it was given, so it earns
//! nothing.

use std::fmt;
use std::str::FromStr;

use kunwind::{Claim, End, Frame, Register, Walk};

use crate::oracle::{Activation, Truth};

/// What is wrong with a walk, named by its youngest deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An activation is left out, and older ones follow.
    Skipped,
    /// The oldest activations are left out.
    Truncated,
    /// Another pc stands in an activation's place.
    Substituted,
    /// An entry that stands for no activation, with nothing left out.
    Invented,
    /// An activation twice (the same CFA; recursion is legal).
    Repeated,
    /// All pcs are right, but a CFA or a register is not.
    State,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Skipped, Self::Truncated, Self::Substituted, Self::Invented, Self::Repeated, Self::State];

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
        }
    }
}

/// The judgement of one walk. The order is from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Claimed reliable, and an activation is omitted or replaced.
    Unsound(Kind),
    /// Claimed reliable, nothing omitted, but something false is there.
    Overstated(Kind),
    /// Something is wrong, and the walk says that it may be, or says nothing.
    WrongFlagged(Kind),
    /// So many right entries, and then it stopped and said so.
    Incomplete(u16),
    /// Right, but flagged unreliable, or without a proven end.
    Cautious,
    /// Right and claimed; for a subject that never claims: right.
    Exact,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsound(kind) => formatter.pad(&format!("!{}", kind.name())),
            Self::Overstated(kind) => formatter.pad(&format!("+{}", kind.name())),
            Self::WrongFlagged(kind) => formatter.pad(&format!("?{}", kind.name())),
            Self::Incomplete(right) => formatter.pad(&format!("<{right}")),
            Self::Cautious => formatter.pad("~"),
            Self::Exact => formatter.pad("="),
        }
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("{text:?} is no verdict: !skipped, +state, ?truncated, <2, ~ and = are of the right form");
        let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown);
        let first = text.chars().next().ok_or_else(unknown)?;
        let rest = &text[first.len_utf8()..];
        match first {
            '!' => kind(rest).ok().filter(|kind| kind.is_omission()).map(Self::Unsound).ok_or_else(unknown),
            '+' => kind(rest).ok().filter(|kind| !kind.is_omission()).map(Self::Overstated).ok_or_else(unknown),
            '?' => kind(rest).map(Self::WrongFlagged),
            '<' => rest.parse().map(Self::Incomplete).map_err(|_| unknown()),
            '~' if rest.is_empty() => Ok(Self::Cautious),
            '=' if rest.is_empty() => Ok(Self::Exact),
            _ => Err(unknown()),
        }
    }
}

/// What a walk says beyond pcs, and is judged by where it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compares {
    /// The CFA: SP of each entry.
    pub cfa: bool,
    /// The frame pointer.
    pub fp: bool,
    /// All callee-saved registers, the frame pointer included.
    pub callee_saved: bool,
}

/// The rules by which one subject's walks are judged on one CPU.
pub struct Rules<'a> {
    /// What is compared.
    pub compares: Compares,
    /// The register that holds the CFA in a frame.
    pub sp: Register,
    /// The frame pointer.
    pub fp: Register,
    /// In the order of [`Activation::saved`].
    pub callee_saved: &'a [Register],
    /// Whether the activation that goes on at this address may be left out.
    pub omissible: &'a dyn Fn(u64) -> bool,
}

impl fmt::Debug for Rules<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rules").field("compares", &self.compares).finish_non_exhaustive()
    }
}

impl Rules<'_> {
    /// Judges a walk by the truth.
    #[must_use]
    pub fn judge(&self, truth: &Truth, walk: &Walk<'_>) -> Verdict {
        let entries = walk.frames.get(1..).unwrap_or_default();
        let findings = if self.is_exact(truth, entries) { Findings::default() } else { self.align(truth, entries) };
        let claimed = walk.claim == Claim::Reliable;
        let stopped = walk.end != End::Outermost;
        match findings {
            Findings { omission: Some(kind), .. } if claimed => Verdict::Unsound(kind),
            Findings { omission: Some(Kind::Truncated), falsehood: None } if stopped => {
                Verdict::Incomplete(u16::try_from(entries.len()).unwrap_or(u16::MAX))
            }
            Findings { omission: Some(kind), .. } => Verdict::WrongFlagged(kind),
            Findings { falsehood: Some(kind), .. } if claimed => Verdict::Overstated(kind),
            Findings { falsehood: Some(kind), .. } => Verdict::WrongFlagged(kind),
            _ if claimed || (walk.claim == Claim::None && !stopped) => Verdict::Exact,
            _ => Verdict::Cautious,
        }
    }

    /// The common case, without allocation: each entry is the next activation, in all that is compared.
    fn is_exact(&self, truth: &Truth, entries: &[Frame]) -> bool {
        let mut activations = truth.activations();
        entries.iter().all(|entry| {
            activations
                .next()
                .is_some_and(|activation| entry.pc.value() == activation.resume && self.same_state(entry, activation))
        }) && activations.next().is_none()
    }

    /// Whether everything that the entry says of registers and that is compared agrees with the activation.
    fn same_state(&self, entry: &Frame, activation: &Activation) -> bool {
        let agrees = |register: Register, truth: u64| entry.regs.get(register).is_none_or(|value| value == truth);
        let Compares { cfa, fp, callee_saved } = self.compares;
        (!cfa || agrees(self.sp, activation.cfa))
            && (!(fp || callee_saved)
                || self
                    .callee_saved
                    .iter()
                    .zip(&activation.saved)
                    .filter(|(register, _)| callee_saved || **register == self.fp)
                    .all(|(register, value)| agrees(*register, *value)))
    }

    /// Whether the entry stands for this very activation: the same pc, and the same CFA or else the same frame pointer.
    fn is_same(&self, entry: &Frame, activation: &Activation) -> bool {
        let key = |register: Register, truth: u64| entry.regs.get(register).map(|value| value == truth);
        let fp = self.callee_saved.iter().position(|register| *register == self.fp);
        entry.pc.value() == activation.resume
            && key(self.sp, activation.cfa).or_else(|| key(self.fp, activation.saved[fp?])).unwrap_or(true)
    }

    /// Aligns a walk that deviates, and says how: the youngest omission and the youngest falsehood.
    fn align(&self, truth: &Truth, entries: &[Frame]) -> Findings {
        let activations: Vec<&Activation> = truth.activations().collect();
        let find = |entry: &Frame, range: std::ops::Range<usize>| {
            range.into_iter().find(|index| self.is_same(entry, activations[*index]))
        };
        let is_required = |range: std::ops::Range<usize>| {
            activations[range].iter().any(|activation| !(self.omissible)(activation.resume))
        };
        let mut findings = Findings::default();
        let mut next = 0; // the youngest activation that no entry stands for yet
        let mut strangers = false; // entries that stand for nothing since the last match
        for (index, entry) in entries.iter().enumerate() {
            let has_pc = activations.get(next).is_some_and(|activation| entry.pc.value() == activation.resume);
            let later = find(entry, next..activations.len());
            let earlier = find(entry, 0..next).is_some();
            // The right pc with a key of its own: the right entry with a wrong state, unless it is really another one.
            let by_pc_alone = has_pc && later.is_none() && !earlier;
            match later.or(by_pc_alone.then_some(next)).or_else(|| self.later_by_pc(entry, &activations, next, earlier))
            {
                Some(found) => {
                    if is_required(next..found) {
                        findings.omits(if strangers { Kind::Substituted } else { Kind::Skipped });
                    } else if strangers {
                        findings.falsifies(Kind::Invented);
                    }
                    if !self.same_state(entry, activations[found]) {
                        findings.falsifies(Kind::State);
                    }
                    strangers = false;
                    next = found + 1;
                }
                None if earlier || Self::repeats(entry, &entries[..index], self.sp) => {
                    findings.falsifies(Kind::Repeated)
                }
                None => strangers = true,
            }
        }
        if is_required(next..activations.len()) {
            findings.omits(if strangers { Kind::Substituted } else { Kind::Truncated });
        } else if strangers {
            findings.falsifies(Kind::Invented);
        }
        findings
    }

    /// An older activation with this pc, whatever the state says; not for an entry that stands for a younger one.
    fn later_by_pc(&self, entry: &Frame, activations: &[&Activation], next: usize, earlier: bool) -> Option<usize> {
        (!earlier)
            .then(|| (next..activations.len()).find(|index| activations[*index].resume == entry.pc.value()))
            .flatten()
    }

    /// Whether an entry before this one had the same pc and the same known CFA.
    fn repeats(entry: &Frame, before: &[Frame], sp: Register) -> bool {
        let Some(cfa) = entry.regs.get(sp) else { return false };
        before.iter().any(|other| other.pc == entry.pc && other.regs.get(sp) == Some(cfa))
    }
}

/// The youngest omission and the youngest falsehood of a walk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Findings {
    omission: Option<Kind>,
    falsehood: Option<Kind>,
}

impl Findings {
    fn omits(&mut self, kind: Kind) {
        self.omission.get_or_insert(kind);
    }

    fn falsifies(&mut self, kind: Kind) {
        self.falsehood.get_or_insert(kind);
    }
}

#[cfg(test)]
mod tests;
