//! Truth and walk in, verdict out.
//!
//! The two are aligned entry by entry, by pc and by the CFA (or the frame pointer, where a walk knows no CFA), skipping only
//! functions that the scenario calls omissible. The interrupted instruction is the walk's entry 0: it was given, so it earns
//! nothing.

use std::fmt;
use std::str::FromStr;

use kunwind::{Claim, End, Frame, Register, Walk};

use crate::oracle::{Activation, Activations, Truth};

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
    /// Whether this activation may be left out.
    pub omissible: &'a dyn Fn(&Activation) -> bool,
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
        verdict(self.aligner().align(truth, entries), entries.len(), walk.end, walk.claim)
    }

    /// Judges a walk while it goes on.
    #[must_use]
    pub fn follow<'t>(&'t self, truth: &'t Truth) -> Follower<'t> {
        Follower { aligner: self.aligner(), next: truth.activations(), entries: 0, findings: Findings::default() }
    }

    fn aligner(&self) -> Aligner<'_> {
        let fp_index = self.callee_saved.iter().position(|saved| *saved == self.fp);
        Aligner { rules: self, fp_index }
    }
}

/// What follows from the findings, the number of entries, and what the walk says of itself.
fn verdict(findings: Findings, entries: usize, end: End, claim: Claim) -> Verdict {
    let claimed = claim == Claim::Reliable;
    let stopped = end != End::Outermost;
    match findings {
        Findings { omission: Some(kind), .. } if claimed => Verdict::Unsound(kind),
        Findings { omission: Some(Kind::Truncated), falsehood: None } if stopped => {
            Verdict::Incomplete(u16::try_from(entries).unwrap_or(u16::MAX))
        }
        Findings { omission: Some(kind), .. } => Verdict::WrongFlagged(kind),
        Findings { falsehood: Some(kind), .. } if claimed => Verdict::Overstated(kind),
        Findings { falsehood: Some(kind), .. } => Verdict::WrongFlagged(kind),
        _ if claimed || (claim == Claim::None && !stopped) => Verdict::Exact,
        _ => Verdict::Cautious,
    }
}

/// Judges a walk entry by entry, without keeping it: as long as each entry stands for an activation that is not younger than
/// those before it. Gives up on all others, which only [`Rules::judge`] can tell apart.
pub struct Follower<'t> {
    aligner: Aligner<'t>,
    next: Activations<'t>,
    entries: usize,
    findings: Findings,
}

impl Follower<'_> {
    /// Takes the next entry, the start apart. False if the walk must be judged as a whole.
    pub fn takes(&mut self, entry: &Frame) -> bool {
        self.entries += 1;
        let mut skipped = false;
        for activation in self.next.by_ref() {
            if self.aligner.is_same(entry, activation) {
                if skipped {
                    self.findings.omits(Kind::Skipped);
                }
                if !self.aligner.same_state(entry, activation) {
                    self.findings.falsifies(Kind::State);
                }
                return true;
            }
            skipped |= !(self.aligner.rules.omissible)(activation);
        }
        false
    }

    /// The verdict, when every entry was taken.
    #[must_use]
    pub fn verdict(mut self, end: End, claim: Claim) -> Verdict {
        if self.next.by_ref().any(|activation| !(self.aligner.rules.omissible)(activation)) {
            self.findings.omits(Kind::Truncated);
        }
        verdict(self.findings, self.entries, end, claim)
    }
}

impl fmt::Debug for Follower<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Follower").field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// Finds for each entry of a walk the activation that it stands for.
struct Aligner<'r> {
    rules: &'r Rules<'r>,
    /// Where the frame pointer is among the saved registers.
    fp_index: Option<usize>,
}

impl Aligner<'_> {
    /// Whether everything that the entry says of registers and that is compared agrees with the activation.
    fn same_state(&self, entry: &Frame, activation: &Activation) -> bool {
        let Compares { fp, callee_saved, .. } = self.rules.compares;
        self.agrees_on_cfa(entry, activation) != Some(false)
            && (!fp || self.agrees_on_fp(entry, activation) != Some(false))
            && (!callee_saved
                || self
                    .rules
                    .callee_saved
                    .iter()
                    .zip(&activation.saved)
                    .all(|(register, value)| entry.regs.get(*register).is_none_or(|found| found == *value)))
    }

    /// Nothing, if the entry knows no CFA, or none that it is judged by.
    fn agrees_on_cfa(&self, entry: &Frame, activation: &Activation) -> Option<bool> {
        if !self.rules.compares.cfa {
            return None;
        }
        entry.regs.get(self.rules.sp).map(|cfa| cfa == activation.cfa)
    }

    /// Nothing, if the entry knows no frame pointer.
    fn agrees_on_fp(&self, entry: &Frame, activation: &Activation) -> Option<bool> {
        let truth = activation.saved[self.fp_index?];
        entry.regs.get(self.rules.fp).map(|fp| fp == truth)
    }

    /// Whether the entry stands for this very activation: the same pc, and the same CFA or else the same frame pointer.
    fn is_same(&self, entry: &Frame, activation: &Activation) -> bool {
        entry.pc.value() == activation.resume
            && self.agrees_on_cfa(entry, activation).or_else(|| self.agrees_on_fp(entry, activation)).unwrap_or(true)
    }

    /// The activation that an entry stands for, `next` being the youngest that no entry stands for yet.
    fn place(&self, entry: &Frame, activations: &[&Activation], next: usize) -> Place {
        let mut open = next..activations.len();
        if let Some(index) = open.clone().find(|index| self.is_same(entry, activations[*index])) {
            return Place::At(index);
        }
        if activations[..next].iter().any(|activation| self.is_same(entry, activation)) {
            return Place::Earlier;
        }
        // The right pc with a key of its own: the right entry with a wrong state. The youngest will do.
        match open.find(|index| activations[*index].resume == entry.pc.value()) {
            Some(index) => Place::At(index),
            None => Place::Nowhere,
        }
    }

    /// Aligns a walk that deviates, and says how: the youngest omission and the youngest falsehood.
    fn align(&self, truth: &Truth, entries: &[Frame]) -> Findings {
        let activations: Vec<&Activation> = truth.activations().collect();
        let is_required = |range: std::ops::Range<usize>| {
            activations[range].iter().any(|activation| !(self.rules.omissible)(activation))
        };
        let mut findings = Findings::default();
        let mut next = 0;
        let mut strangers = false; // entries that stand for nothing since the last match
        for (index, entry) in entries.iter().enumerate() {
            match self.place(entry, &activations, next) {
                Place::At(found) => {
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
                Place::Earlier => findings.falsifies(Kind::Repeated),
                Place::Nowhere if self.repeats(entry, &entries[..index]) => findings.falsifies(Kind::Repeated),
                Place::Nowhere => strangers = true,
            }
        }
        if is_required(next..activations.len()) {
            findings.omits(if strangers { Kind::Substituted } else { Kind::Truncated });
        } else if strangers {
            findings.falsifies(Kind::Invented);
        }
        findings
    }

    /// Whether an entry before this one had the same pc and the same known CFA.
    fn repeats(&self, entry: &Frame, before: &[Frame]) -> bool {
        let Some(cfa) = entry.regs.get(self.rules.sp) else { return false };
        before.iter().any(|other| other.pc == entry.pc && other.regs.get(self.rules.sp) == Some(cfa))
    }
}

/// Where an entry of a walk belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It stands for this activation.
    At(usize),
    /// It stands for one that an entry before it stood for.
    Earlier,
    /// It stands for none.
    Nowhere,
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
