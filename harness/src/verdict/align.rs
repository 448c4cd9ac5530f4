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
        let mut alignment = Alignment::new(truth.activations(), 0, Findings::default());
        let mut seen = Vec::new();
        entries.iter().for_each(|entry| alignment.take(&self.aligner(), entry.pc, &entry.regs, &mut seen));
        verdict(alignment.end(&self.aligner()), entries.len(), walk.outcome)
    }

    /// Judges a walk while its entries arrive. `seen` is for the entries that know their CFAs: what it holds is forgotten.
    #[must_use]
    pub fn follow<'t>(&'t self, truth: &'t Truth, seen: &'t mut Vec<(CodeAddress, u64)>) -> Follower<'t> {
        seen.clear();
        let (findings, since) = (Findings::default(), Findings::default());
        let (all, next) = (truth.activations(), truth.activations());
        Follower { aligner: self.aligner(), all, next, entries: 0, findings, since, seen, alignment: None }
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

/// Judges a walk entry by entry, without keeping it: as long as each entry stands for an activation older than those before it, by a
/// look at the next activations alone.
pub struct Follower<'t> {
    aligner: Aligner<'t>,
    all: Activations<'t>,
    next: Activations<'t>,
    entries: usize,
    findings: Findings,
    /// The same since [`Follower::mark`].
    since: Findings,
    /// The entries so far that know their CFAs, with these.
    seen: &'t mut Vec<(CodeAddress, u64)>,
    /// Of a walk that has come out of order.
    alignment: Option<Alignment<'t>>,
}

impl Follower<'_> {
    /// Takes the next entry (not the start). False if the walk has come out of order: then nothing follows from the activations that
    /// are left.
    #[inline]
    pub fn takes(&mut self, pc: CodeAddress, regs: &Regs) -> bool {
        self.entries += 1;
        if self.alignment.is_some() || !self.takes_in_order(pc, regs) {
            self.takes_out_of_order(pc, regs);
            return false;
        }
        if let Some(cfa) = regs.get(self.aligner.rules.sp) {
            self.seen.push((pc, cfa));
        }
        true
    }

    #[inline]
    fn takes_in_order(&mut self, pc: CodeAddress, regs: &Regs) -> bool {
        let mut skipped = false;
        let mut next = self.next.clone();
        for activation in next.by_ref() {
            if pc.value() == activation.resume {
                let agreement = self.aligner.agreement(regs, activation);
                if agreement.is_same() {
                    self.next = next;
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

    #[cold]
    fn takes_out_of_order(&mut self, pc: CodeAddress, regs: &Regs) {
        let Self { aligner, all, next, findings, seen, alignment, .. } = self;
        let alignment = alignment.get_or_insert_with(|| {
            let taken = all.clone().count() - next.clone().count();
            Alignment::new(all.clone(), taken, *findings)
        });
        alignment.take(aligner, pc, regs, seen);
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
        let findings = match self.alignment.take() {
            Some(alignment) => alignment.end(&self.aligner),
            None => {
                self.end();
                self.findings
            }
        };
        Judged { entries: self.entries, findings, outcome }
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
    fn is_same(&self, pc: CodeAddress, regs: &Regs, activation: &Activation) -> bool {
        pc.value() == activation.resume && self.agreement(regs, activation).is_same()
    }

    /// The activation that an entry stands for. `next` is the youngest one that no entry has matched yet.
    fn place(&self, pc: CodeAddress, regs: &Regs, activations: &[&Activation], next: usize) -> Place {
        let mut open = next..activations.len();
        if let Some(index) = open.clone().find(|index| self.is_same(pc, regs, activations[*index])) {
            return Place::At(index);
        }
        if activations[..next].iter().any(|activation| self.is_same(pc, regs, activation)) {
            return Place::Earlier;
        }
        // The right pc with another CFA: the right entry with a wrong state. Take the youngest such activation.
        match open.find(|index| activations[*index].resume == pc.value()) {
            Some(index) => Place::At(index),
            None => Place::Nowhere,
        }
    }
}

/// Aligns a whole walk and finds the youngest omission and the youngest falsehood.
struct Alignment<'t> {
    activations: Vec<&'t Activation>,
    /// The youngest one that no entry has matched yet.
    next: usize,
    /// Whether entries since the last match stand for no activation.
    strangers: bool,
    findings: Findings,
}

impl<'t> Alignment<'t> {
    /// Entries have matched activations up to the one of this index, in order, and that was found.
    fn new(activations: Activations<'t>, next: usize, findings: Findings) -> Self {
        Self { activations: activations.collect(), next, strangers: false, findings }
    }

    fn is_required(&self, aligner: &Aligner<'_>, range: std::ops::Range<usize>) -> bool {
        self.activations[range].iter().any(|activation| !(aligner.rules.omissible)(activation))
    }

    /// Takes the next entry. `seen` are those before it that know their CFAs.
    fn take(&mut self, aligner: &Aligner<'_>, pc: CodeAddress, regs: &Regs, seen: &mut Vec<(CodeAddress, u64)>) {
        let known = regs.get(aligner.rules.sp).map(|cfa| (pc, cfa));
        match aligner.place(pc, regs, &self.activations, self.next) {
            Place::At(found) => {
                if self.is_required(aligner, self.next..found) {
                    self.findings.omits(if self.strangers { Deviation::Substituted } else { Deviation::Skipped });
                } else if self.strangers {
                    self.findings.falsifies(Deviation::Invented);
                }
                let agreement = aligner.agreement(regs, self.activations[found]);
                if !aligner.same_state(agreement, regs, self.activations[found]) {
                    self.findings.falsifies(Deviation::State);
                }
                self.strangers = false;
                self.next = found + 1;
            }
            Place::Earlier => self.findings.falsifies(Deviation::Repeated),
            // An entry before this one had the same pc and the same known CFA.
            Place::Nowhere if known.is_some_and(|known| seen.contains(&known)) => {
                self.findings.falsifies(Deviation::Repeated);
            }
            Place::Nowhere => self.strangers = true,
        }
        seen.extend(known);
    }

    /// The walk has no more entries.
    fn end(mut self, aligner: &Aligner<'_>) -> Findings {
        if self.is_required(aligner, self.next..self.activations.len()) {
            self.findings.omits(if self.strangers { Deviation::Substituted } else { Deviation::Truncated });
        } else if self.strangers {
            self.findings.falsifies(Deviation::Invented);
        }
        self.findings
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
