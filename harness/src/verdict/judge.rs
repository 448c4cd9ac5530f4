//! One subject, one question: lets the subject walk, and judges the walk.

use std::ops::ControlFlow;

use super::align::{Follower, Judged};
use super::shared::Shared;
use super::start::Beginning;
use super::{Memo, Rules, Verdict, Walk, WalkEntry};
use crate::cpu::{CodeAddress, Cpu, Regs};
use crate::guest::{Program, Symbols};
use crate::oracle::{Activation, Truth};
use crate::subject::{About, Claim, Compares, Entry, MAX_ENTRIES, Outcome, Question, Subject};

/// By what all walks of one run are judged.
#[derive(Debug)]
struct Standards<'p> {
    cpu: &'static Cpu,
    symbols: &'p Symbols,
    /// The index of the frame pointer among the callee-saved registers.
    fp_index: Option<usize>,
    /// Functions that a trace may leave out.
    omissible: &'p [String],
    /// Whether traces are judged by their pcs and nothing else.
    by_pcs_alone: bool,
}

/// Judges the walks of one run.
#[derive(Debug)]
pub struct Judge<'p> {
    standards: Standards<'p>,
    buffer: Vec<WalkEntry>,
    /// For [`Rules::follow`].
    seen: Vec<(CodeAddress, u64)>,
    /// Where that is looked for, the walks that others may make, too.
    shared: Shared,
    is_sharing: bool,
}

impl<'p> Judge<'p> {
    /// A judge for a guest with these symbols; a trace may leave out the functions `omissible`.
    #[must_use]
    pub fn new(cpu: &'static Cpu, symbols: &'p Symbols, omissible: &'p [String]) -> Self {
        let nowhere = WalkEntry { pc: CodeAddress::Interrupted(0), regs: Regs::none() };
        let fp_index = cpu.callee_saved.iter().position(|saved| *saved == cpu.abi.fp);
        let standards = Standards { cpu, symbols, fp_index, omissible, by_pcs_alone: false };
        let buffer = vec![nowhere; MAX_ENTRIES];
        Self { standards, buffer, seen: Vec::new(), shared: Shared::default(), is_sharing: true }
    }

    /// The same; where a kernel's own unwinder is judged beside our models of it, by what that reports: pcs alone.
    #[must_use]
    pub fn of_program(program: &'p Program, omissible: &'p [String]) -> Self {
        let Program { guest, conventions, .. } = program;
        let by_pcs_alone = conventions.own_unwinder.is_some();
        let judge = Self::new(guest.cpu, &guest.symbols, omissible);
        Self { standards: Standards { by_pcs_alone, ..judge.standards }, ..judge }
    }

    /// The same, which lets every subject walk, even where another has walked so.
    #[must_use]
    pub fn without_sharing(self) -> Self {
        Self { is_sharing: false, ..self }
    }

    /// Asks the question and judges the walk. Most walks are judged while their entries arrive, and never kept. `memo` is of this
    /// subject and start; without one, every walk is made to its end.
    pub fn verdict(
        &mut self,
        subject: &dyn Subject,
        question: &Question<'_>,
        truth: &Truth,
        memo: Option<&mut Memo>,
    ) -> Verdict {
        let about = subject.about();
        let target = question.target;
        let mut memo = memo.filter(|_| target.is_plain());
        target.read_dead.set(false);
        // Another subject may have walked so.
        let number = question.number.filter(|_| self.is_sharing && target.is_plain());
        let shared = number.and_then(|number| Some((number, subject.way()?)));
        if let Some(judged) = shared.and_then(|(number, way)| self.shared.made(number, way, about)) {
            return judged.verdict();
        }
        let mut beginning = None;
        if let Some(memo) = &mut memo {
            beginning = Beginning::of(subject, question, truth, self.standards.fp_index);
            if let Some(verdict) = memo.begin(beginning.as_ref(), target) {
                return verdict;
            }
        }
        let (standards, seen) = (&self.standards, &mut self.seen);
        let judged = standards.with_rules(about, |rules| {
            let memo = memo.map(|memo| (memo, beginning));
            follow(rules.follow(truth, seen), (subject, question), memo, truth.is_of_kernel())
        });
        // Nearly no walk reads below SP.
        if target.read_dead.get() {
            return self.or_dead(judged.verdict(), judged.outcome, subject, question);
        }
        if let Some((number, way)) = shared.filter(|_| !target.read_outside_stacks.get()) {
            self.shared.keep(number, way, about, judged);
        }
        judged.verdict()
    }

    /// The verdict on a walk that has read below SP: dead, if the walk is another once an interrupt has overwritten that. Asking
    /// again works for every subject, whatever it did with what it read.
    fn or_dead(&self, verdict: Verdict, outcome: Outcome, subject: &dyn Subject, question: &Question<'_>) -> Verdict {
        let dead = verdict.if_dead(outcome.claim == Claim::Reliable);
        if dead == verdict {
            return verdict;
        }
        let overwritten = question.target.with_dead_overwritten();
        let again = Question { target: &overwritten, why: None, ..*question };
        let (first, second) = (entries(subject, question), entries(subject, &again));
        if first == second { verdict } else { dead }
    }

    /// Asks the question, keeps the whole walk, and judges it. The guest is stopped, so the walk is the same each time. `each`
    /// also sees every entry.
    pub fn walk(
        &mut self,
        subject: &dyn Subject,
        question: &Question<'_>,
        truth: &Truth,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> (Verdict, Walk<'_>) {
        let Walk { entries, outcome } = self.ask(subject, question, each);
        let entries = entries.len();
        let walk = Walk { entries: &self.buffer[..entries], outcome };
        let mut verdict = self.standards.with_rules(subject.about(), |rules| rules.judge(truth, &walk));
        if question.target.read_dead.get() {
            verdict = self.or_dead(verdict, outcome, subject, &Question { why: None, ..*question });
        }
        (verdict, Walk { entries: &self.buffer[..entries], outcome })
    }

    /// The same for a walk whose verdict is known.
    pub fn ask(
        &mut self,
        subject: &dyn Subject,
        question: &Question<'_>,
        each: &mut dyn FnMut(&Entry<'_>),
    ) -> Walk<'_> {
        let limit = subject.about().limit;
        let mut entries = 0;
        question.target.read_dead.set(false);
        let outcome = subject.walk(question, &mut |entry| {
            let Some(slot) = self.buffer.get_mut(entries) else { return ControlFlow::Break(()) };
            *slot = WalkEntry { pc: entry.pc, regs: *entry.regs };
            each(entry);
            entries += 1;
            if entries < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        Walk { entries: &self.buffer[..entries], outcome }
    }
}

impl Standards<'_> {
    fn with_rules<T>(&self, about: &About, work: impl FnOnce(&Rules<'_>) -> T) -> T {
        let omissible = |activation: &Activation| {
            !self.omissible.is_empty()
                && activation
                    .place()
                    .function(self.symbols)
                    .is_some_and(|function| self.omissible.contains(&function.name))
        };
        let nothing = Compares { cfa: false, fp: false, callee_saved: false };
        work(&Rules {
            compares: if self.by_pcs_alone { nothing } else { about.compares },
            sp: self.cpu.sp,
            fp: self.cpu.abi.fp,
            callee_saved: self.cpu.callee_saved,
            fp_index: self.fp_index,
            omissible: &omissible,
        })
    }
}

/// Judges a walk while it is made, as far as its rest is not known.
fn follow(
    mut follower: Follower<'_>,
    (subject, question): (&dyn Subject, &Question<'_>),
    mut memo: Option<(&mut Memo, Option<Beginning>)>,
    of_kernel: bool,
) -> Judged {
    let (limit, target) = (subject.about().limit, question.target);
    let mut entries = 0;
    let mut is_followed = true;
    let mut rest = None;
    let outcome = subject.walk(question, &mut |entry| {
        is_followed = entries == 0 || follower.takes(entry.pc, entry.regs);
        entries += 1;
        if entries >= limit {
            return ControlFlow::Break(());
        }
        if let Some((memo, _)) = memo.as_mut().filter(|_| is_followed) {
            rest = memo.entry(entry, &mut follower, target, (of_kernel, limit));
        }
        if rest.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    match (rest, memo) {
        (Some(rest), Some((memo, beginning))) => {
            let judged = rest.judged(&follower);
            if let Some(beginning) = beginning {
                memo.began(beginning, target, rest, judged.verdict());
            }
            judged
        }
        (_, Some((memo, _))) if is_followed => {
            memo.keep(&mut follower, outcome, of_kernel, target);
            follower.judged(outcome)
        }
        _ => follower.judged(outcome),
    }
}

/// A subject's whole answer.
fn entries(subject: &dyn Subject, question: &Question<'_>) -> (Vec<WalkEntry>, Outcome) {
    let limit = subject.about().limit;
    let mut entries = Vec::new();
    let outcome = subject.walk(question, &mut |entry| {
        entries.push(WalkEntry { pc: entry.pc, regs: *entry.regs });
        if entries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (entries, outcome)
}
