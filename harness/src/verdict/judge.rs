//! One subject, one question: lets the subject walk, and judges the walk.

use std::ops::ControlFlow;

use super::align::Judged;
use super::shared::{Latest, Shared};
use super::start::Beginning;
use super::{Memo, Rules, Verdict, Walk, WalkEntry};
use crate::cpu::{CodeAddress, Cpu, Regs};
use crate::guest::{Program, Symbols};
use crate::oracle::{Activation, Truth};
use crate::subject::{About, Claim, Compares, Entry, MAX_ENTRIES, Outcome, Question, Subject, Way};

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
    /// What the walks that answer one question have in common, where that is looked for.
    latest: Latest,
    is_sharing: bool,
}

impl<'p> Judge<'p> {
    /// A judge for a guest with these symbols; a trace may leave out the functions `omissible`.
    #[must_use]
    pub fn new(cpu: &'static Cpu, symbols: &'p Symbols, omissible: &'p [String]) -> Self {
        let nowhere = WalkEntry { pc: CodeAddress::Interrupted(0), regs: Regs::none() };
        let fp_index = cpu.callee_saved.iter().position(|saved| *saved == cpu.abi.fp);
        let standards = Standards { cpu, symbols, fp_index, omissible, by_pcs_alone: false };
        Self { standards, buffer: vec![nowhere; MAX_ENTRIES], latest: Latest::default(), is_sharing: true }
    }

    /// The same; where a kernel's own unwinder is judged beside our models of it, by what that reports: pcs alone.
    #[must_use]
    pub fn of_program(program: &'p Program, omissible: &'p [String]) -> Self {
        let Program { guest, conventions, .. } = program;
        let by_pcs_alone = conventions.own_unwinder.is_some();
        let judge = Self::new(guest.cpu, &guest.symbols, omissible);
        Self { standards: Standards { by_pcs_alone, ..judge.standards }, ..judge }
    }

    /// The same, which lets every subject make every step of its walks, even where another has made them.
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
        // What others have in common with it, who are asked the same question.
        let number = question.number.filter(|_| self.is_sharing && target.is_plain());
        let mut shared = number.and_then(|number| Some((subject.way()?, self.latest.of(number))));
        if let Some(judged) = shared.as_ref().and_then(|(way, shared)| shared.made(*way, about)) {
            return judged.verdict();
        }
        let mut beginning = None;
        if let Some(memo) = &mut memo {
            beginning = Beginning::of(subject, question, truth, self.standards.fp_index);
            if let Some(verdict) = memo.begin(beginning.as_ref(), target) {
                return verdict;
            }
        }
        let known = Known { memo, beginning, shared: shared.as_mut().map(|(way, shared)| (*way, &mut **shared)) };
        let judged = self.standards.with_rules(about, |rules| follow(rules, (subject, question, truth), known));
        match judged {
            None => self.walk(subject, question, truth, &mut |_| ()).0,
            // Nearly no walk reads below SP.
            Some(judged) if !target.read_dead.get() => {
                if let Some((way, shared)) = shared.filter(|_| !target.read_outside_stacks.get()) {
                    shared.keep(way, about, judged);
                }
                judged.verdict()
            }
            Some(judged) => self.or_dead(judged.verdict(), judged.outcome, subject, question),
        }
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

/// What is known of a walk before it is made.
struct Known<'k> {
    memo: Option<&'k mut Memo>,
    beginning: Option<Beginning>,
    shared: Option<(Way, &'k mut Shared)>,
}

/// Judges a walk while it is made, as far as its end is not known. None if it must be judged as a whole.
fn follow(
    rules: &Rules<'_>,
    (subject, question, truth): (&dyn Subject, &Question<'_>, &Truth),
    known: Known<'_>,
) -> Option<Judged> {
    let Known { mut memo, beginning, shared } = known;
    let (about, target, of_kernel) = (subject.about(), question.target, truth.is_of_kernel());
    let mut follower = rules.follow(truth);
    let shared = shared.filter(|_| memo.as_ref().is_none_or(|memo| !memo.keeps()));
    let begun =
        shared.and_then(|(way, shared)| Some((way, shared.beginning(way, about.compares, question, truth, rules)?)));
    let mut entries = 0;
    if let Some((_, begun)) = begun {
        follower.pass(begun.taken);
        entries = begun.taken + 1;
    }
    let mut is_followed = true;
    let mut rest = None;
    let mut each = |entry: &Entry<'_>| {
        is_followed = entries == 0 || follower.takes(entry.pc.value(), entry.regs);
        entries += 1;
        if !is_followed || entries >= about.limit {
            return ControlFlow::Break(());
        }
        let memo = memo.as_deref_mut();
        rest = memo.and_then(|memo| memo.entry(entry, &mut follower, target, (of_kernel, about.limit)));
        if rest.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let outcome = match begun {
        Some((way, begun)) => way.walk_from(&begun.from, question, &mut each),
        None => subject.walk(question, &mut each),
    };
    match (is_followed, rest, memo) {
        (false, ..) => None,
        (true, Some(rest), memo) => {
            let judged = rest.judged(&follower);
            if let (Some(memo), Some(beginning)) = (memo, beginning) {
                memo.began(beginning, target, rest, judged.verdict());
            }
            Some(judged)
        }
        (true, None, memo) => {
            if let Some(memo) = memo {
                memo.keep(&mut follower, outcome, of_kernel, target);
            }
            Some(follower.judged(outcome))
        }
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
