//! Matches each entry of a walk with the activation that it stands for, and derives the verdict from what does not match.

use std::fmt;

use super::{Deviation, Verdict};
use crate::cpu::{CodeAddress, Register, Regs};
use crate::oracle::{Activation, Activations, Truth};
use crate::subject::{Claim, Compares, End, Outcome};

/// One entry of a walk that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkEntry {
    /// Where the function was interrupted, or where it will resume.
    pub pc: CodeAddress,
    /// The registers, as far as the walk knows them.
    pub regs: Regs,
}

/// A finished walk.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'b> {
    /// The trace, youngest first; entry 0 is the start.
    pub entries: &'b [WalkEntry],
    /// How it ended, and the subject's claim.
    pub outcome: Outcome,
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
    /// The index of the frame pointer among them.
    pub fp_index: Option<usize>,
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
        let entries = walk.entries.get(1..).unwrap_or_default();
        verdict(self.aligner().align(truth, entries), entries.len(), walk.outcome)
    }

    /// Judges a walk while its entries arrive.
    #[must_use]
    pub fn follow<'t>(&'t self, truth: &'t Truth) -> Follower<'t> {
        let (findings, since) = (Findings::default(), Findings::default());
        Follower { aligner: self.aligner(), next: truth.activations(), entries: 0, findings, since }
    }

    fn aligner(&self) -> Aligner<'_> {
        Aligner { rules: self }
    }
}

/// All that the verdict on a walk follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// The start is not one of them.
    entries: usize,
    findings: Findings,
    pub(super) outcome: Outcome,
}

impl Judged {
    /// The verdict.
    pub(super) fn verdict(self) -> Verdict {
        verdict(self.findings, self.entries, self.outcome)
    }

    /// Whether a walk that may show so many entries comes to its end.
    pub(super) const fn is_shorter_than(&self, limit: usize) -> bool {
        self.entries + 1 < limit
    }

    /// The same walk of a subject that never claims anything.
    pub(super) const fn unclaimed(self) -> Self {
        Self { outcome: Outcome { end: self.outcome.end, claim: Claim::None }, ..self }
    }
}

/// The verdict, from the findings, the number of entries, and the walk's own claim.
fn verdict(findings: Findings, entries: usize, outcome: Outcome) -> Verdict {
    let Outcome { end, claim } = outcome;
    let claimed = claim == Claim::Reliable;
    let stopped = end != End::Outermost;
    match findings {
        _ if end == End::Crashed => Verdict::Crashed,
        _ if end == End::TimedOut => Verdict::TimedOut,
        Findings { omission: Some(kind), .. } if claimed => Verdict::Unsound(kind),
        Findings { omission: Some(Deviation::Truncated), falsehood: None } if stopped => {
            Verdict::Incomplete(u16::try_from(entries).unwrap_or(u16::MAX))
        }
        Findings { omission: Some(kind), .. } => Verdict::WrongFlagged(kind),
        Findings { falsehood: Some(kind), .. } if claimed => Verdict::Overstated(kind),
        Findings { falsehood: Some(kind), .. } => Verdict::WrongFlagged(kind),
        _ if claimed || (claim == Claim::None && !stopped) => Verdict::Exact,
        _ => Verdict::Cautious,
    }
}

/// Judges a walk entry by entry, without keeping it, as long as each entry stands for an activation older than those before it.
/// Gives up on any other walk, which needs [`Rules::judge`].
pub struct Follower<'t> {
    aligner: Aligner<'t>,
    next: Activations<'t>,
    entries: usize,
    findings: Findings,
    /// The same since [`Follower::mark`].
    since: Findings,
}

impl Follower<'_> {
    /// Takes the next entry (not the start). False if the walk must be judged as a whole.
    #[inline]
    pub fn takes(&mut self, pc: u64, regs: &Regs) -> bool {
        self.entries += 1;
        let mut skipped = false;
        for activation in self.next.by_ref() {
            if pc == activation.resume {
                let agreement = self.aligner.agreement(regs, activation);
                if agreement.is_same() {
                    if skipped {
                        self.omits(Deviation::Skipped);
                    }
                    if !self.aligner.is_all(agreement) && !self.aligner.same_state(agreement, regs, activation) {
                        self.findings.falsifies(Deviation::State);
                        self.since.falsifies(Deviation::State);
                    }
                    return true;
                }
            }
            skipped |= !(self.aligner.rules.omissible)(activation);
        }
        false
    }

    /// Takes the next entry if it stands for the very next activation, and nothing is wrong with it.
    pub(super) fn takes_right(&mut self, pc: u64, regs: &Regs) -> bool {
        let mut rest = self.next.clone();
        let is_right = rest.next().is_some_and(|activation| {
            let agreement = self.aligner.agreement(regs, activation);
            pc == activation.resume && agreement.is_same() && self.aligner.same_state(agreement, regs, activation)
        });
        if is_right {
            self.next = rest;
            self.entries += 1;
        }
        is_right
    }

    /// Passes so many entries, which somebody else has seen to be right.
    pub(super) fn pass(&mut self, entries: usize) {
        self.entries += entries;
        for _ in 0..entries {
            self.next.next();
        }
    }

    fn omits(&mut self, kind: Deviation) {
        self.findings.omits(kind);
        self.since.omits(kind);
    }

    /// How many entries were taken.
    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    /// The serial of the activation that the next entry may stand for; 0 if none is left.
    #[inline]
    pub(super) fn due(&self) -> u64 {
        self.next.due()
    }

    /// What was found since the last mark.
    pub(super) fn mark(&mut self) -> Findings {
        std::mem::take(&mut self.since)
    }

    /// The walk has no more entries.
    pub(super) fn end(&mut self) {
        if self.next.by_ref().any(|activation| !(self.aligner.rules.omissible)(activation)) {
            self.omits(Deviation::Truncated);
        }
    }

    /// What came of the walk, where so many more entries follow, in which this is found.
    pub(super) fn judged_with(&self, entries: usize, findings: Findings, outcome: Outcome) -> Judged {
        Judged { entries: self.entries + entries, findings: self.findings.or(findings), outcome }
    }

    /// What came of the walk, after every entry was taken.
    pub(super) fn judged(mut self, outcome: Outcome) -> Judged {
        self.end();
        Judged { entries: self.entries, findings: self.findings, outcome }
    }

    /// The verdict, after every entry was taken.
    #[must_use]
    pub fn verdict(self, outcome: Outcome) -> Verdict {
        self.judged(outcome).verdict()
    }
}

impl fmt::Debug for Follower<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Follower").field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// Whether an entry and an activation agree; `None` where the entry knows nothing, or where it is not judged.
#[derive(Debug, Clone, Copy)]
struct Agreement {
    cfa: Option<bool>,
    fp: Option<bool>,
}

impl Agreement {
    /// Whether the entry stands for the activation, given that the pcs are equal.
    fn is_same(self) -> bool {
        self.cfa.or(self.fp).unwrap_or(true)
    }
}

/// Matches the entries of a walk with activations.
struct Aligner<'r> {
    rules: &'r Rules<'r>,
}

impl Aligner<'_> {
    /// Whether all compared registers that the entry knows agree with the activation.
    #[inline]
    fn same_state(&self, agreement: Agreement, regs: &Regs, activation: &Activation) -> bool {
        let Compares { fp, callee_saved, .. } = self.rules.compares;
        agreement.cfa != Some(false)
            && (!fp || agreement.fp != Some(false))
            && (!callee_saved
                || self
                    .rules
                    .callee_saved
                    .iter()
                    .enumerate()
                    .filter_map(|(index, register)| Some((regs.get(*register)?, activation.kept(index)?)))
                    .all(|(found, value)| found == value))
    }

    /// Whether nothing is compared but what makes the entry stand for the activation, and that agrees.
    #[inline]
    const fn is_all(&self, agreement: Agreement) -> bool {
        agreement.cfa.is_none() && !self.rules.compares.callee_saved
    }

    #[inline]
    fn agreement(&self, regs: &Regs, activation: &Activation) -> Agreement {
        Agreement { cfa: self.agrees_on_cfa(regs, activation), fp: self.agrees_on_fp(regs, activation) }
    }

    /// `None` if the entry knows no CFA, or its CFA is not judged.
    #[inline]
    fn agrees_on_cfa(&self, regs: &Regs, activation: &Activation) -> Option<bool> {
        if !self.rules.compares.cfa {
            return None;
        }
        regs.get(self.rules.sp).map(|cfa| cfa == activation.cfa)
    }

    /// `None` if the entry knows no frame pointer, or the call need not preserve it.
    #[inline]
    fn agrees_on_fp(&self, regs: &Regs, activation: &Activation) -> Option<bool> {
        let truth = activation.kept(self.rules.fp_index?)?;
        regs.get(self.rules.fp).map(|fp| fp == truth)
    }

    /// Whether the entry stands for this activation: the same pc, and the same CFA or, without a CFA, the same frame pointer.
    fn is_same(&self, entry: &WalkEntry, activation: &Activation) -> bool {
        entry.pc.value() == activation.resume && self.agreement(&entry.regs, activation).is_same()
    }

    /// The activation that an entry stands for. `next` is the youngest one that no entry has matched yet.
    fn place(&self, entry: &WalkEntry, activations: &[&Activation], next: usize) -> Place {
        let mut open = next..activations.len();
        if let Some(index) = open.clone().find(|index| self.is_same(entry, activations[*index])) {
            return Place::At(index);
        }
        if activations[..next].iter().any(|activation| self.is_same(entry, activation)) {
            return Place::Earlier;
        }
        // The right pc with another CFA: the right entry with a wrong state. Take the youngest such activation.
        match open.find(|index| activations[*index].resume == entry.pc.value()) {
            Some(index) => Place::At(index),
            None => Place::Nowhere,
        }
    }

    /// Aligns a whole walk and finds the youngest omission and the youngest falsehood.
    fn align(&self, truth: &Truth, entries: &[WalkEntry]) -> Findings {
        let activations: Vec<&Activation> = truth.activations().collect();
        let is_required = |range: std::ops::Range<usize>| {
            activations[range].iter().any(|activation| !(self.rules.omissible)(activation))
        };
        let mut findings = Findings::default();
        let mut next = 0;
        let mut strangers = false; // whether entries since the last match stand for no activation
        for (index, entry) in entries.iter().enumerate() {
            match self.place(entry, &activations, next) {
                Place::At(found) => {
                    if is_required(next..found) {
                        findings.omits(if strangers { Deviation::Substituted } else { Deviation::Skipped });
                    } else if strangers {
                        findings.falsifies(Deviation::Invented);
                    }
                    let agreement = self.agreement(&entry.regs, activations[found]);
                    if !self.same_state(agreement, &entry.regs, activations[found]) {
                        findings.falsifies(Deviation::State);
                    }
                    strangers = false;
                    next = found + 1;
                }
                Place::Earlier => findings.falsifies(Deviation::Repeated),
                Place::Nowhere if self.repeats(entry, &entries[..index]) => findings.falsifies(Deviation::Repeated),
                Place::Nowhere => strangers = true,
            }
        }
        if is_required(next..activations.len()) {
            findings.omits(if strangers { Deviation::Substituted } else { Deviation::Truncated });
        } else if strangers {
            findings.falsifies(Deviation::Invented);
        }
        findings
    }

    /// Whether an entry before this one had the same pc and the same known CFA.
    fn repeats(&self, entry: &WalkEntry, before: &[WalkEntry]) -> bool {
        let Some(cfa) = entry.regs.get(self.rules.sp) else { return false };
        before.iter().any(|other| other.pc == entry.pc && other.regs.get(self.rules.sp) == Some(cfa))
    }
}

/// Where an entry of a walk belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It stands for this activation.
    At(usize),
    /// It stands for one that an earlier entry stood for.
    Earlier,
    /// It stands for none.
    Nowhere,
}

/// The youngest omission and the youngest falsehood of a walk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Findings {
    omission: Option<Deviation>,
    falsehood: Option<Deviation>,
}

impl Findings {
    /// These of the younger part of a walk, with those of the older part.
    pub(super) fn or(self, older: Self) -> Self {
        Self { omission: self.omission.or(older.omission), falsehood: self.falsehood.or(older.falsehood) }
    }

    fn omits(&mut self, kind: Deviation) {
        self.omission.get_or_insert(kind);
    }

    fn falsifies(&mut self, kind: Deviation) {
        self.falsehood.get_or_insert(kind);
    }
}
