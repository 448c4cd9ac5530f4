//! The plain data of a run, and the forms it is printed in. Nothing in here runs a guest or judges a walk.

pub mod atlas;
pub mod findings;
pub mod json;
pub mod page;
pub mod snapshot;
pub mod text;

use kunwind::{Claims, Inside};

use crate::design::Rewriter;
use crate::verdict::Verdict;

/// All that was run.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each scenario, variant and kind of interruption, in order.
    pub sections: Vec<Section>,
}

impl Report {
    /// Whether a run is void that is not meant to be.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.sections.iter().any(|section| section.void.is_some() && !section.void_is_meant)
    }
}

/// One variant of one scenario, interrupted in one way.
#[derive(Debug, Clone)]
pub struct Section {
    /// `<cpu>/<name>`.
    pub scenario: String,
    /// The variant's name, if the scenario has any.
    pub variant: Option<String>,
    /// The kind of interruption.
    pub interrupt: &'static str,
    /// How many points were judged.
    pub points: u64,
    /// How many instructions had a point.
    pub distinct_pcs: usize,
    /// Of nested exceptions: how many outer ones there were, and into how many of them something was nested.
    pub outer: Option<(u64, u64)>,
    /// Activations that never went on: where they wait, and how many.
    pub unwitnessed: Vec<(String, usize)>,
    /// Why nothing of this may be believed.
    pub void: Option<String>,
    /// Whether the scenario demands that the run be void, for just that reason.
    pub void_is_meant: bool,
    /// The open claims that the scenario decides.
    pub claims: Vec<String>,
    /// Who rewrites return addresses.
    pub rewriter: Option<Rewriter>,
    /// The subjects, in the order of columns.
    pub subjects: Vec<SubjectResult>,
    /// The listing.
    pub functions: Vec<Function>,
    /// What is not exact, grouped.
    pub findings: Vec<Finding>,
    /// Which demands of the scenario are not met.
    pub broken: Vec<Broken>,
}

impl Section {
    /// The result of a subject.
    #[must_use]
    pub fn subject(&self, name: &str) -> Option<&SubjectResult> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    /// The offsets of a finding's instructions.
    pub fn offsets<'a>(&'a self, finding: &'a Finding) -> impl Iterator<Item = u64> + 'a {
        self.functions
            .iter()
            .filter(|function| function.name == finding.function)
            .flat_map(|function| &function.instructions)
            .map(|instruction| instruction.offset)
            .filter(|offset| (finding.first_offset..=finding.last_offset).contains(offset))
    }

    /// Scenario, variant and kind in one line.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{} [{variant}] {}", self.scenario, self.interrupt),
            None => format!("{} {}", self.scenario, self.interrupt),
        }
    }
}

/// A demand that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What and where, with the command that shows it.
    pub message: String,
    /// Whether it is an unsound verdict.
    pub is_unsound: bool,
}

impl Broken {
    /// A demand that has nothing to do with soundness.
    #[must_use]
    pub const fn other(message: String) -> Self {
        Self { message, is_unsound: false }
    }
}

/// Where a walk starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Start {
    /// From the live registers at the point.
    Live,
    /// In the handler: from its own frame.
    Current,
    /// In the handler: from the pt_regs of the exception.
    Regs,
    /// From the saved context of a task that is switched out.
    Task,
    /// From the registers with which user mode was left, when the kernel is about to go back there.
    User,
}

impl Start {
    /// The name in reports, and behind `@` in scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Current => "current",
            Self::Regs => "regs",
            Self::Task => "task",
            Self::User => "user",
        }
    }
}

/// A subject, with its start where there can be more than one.
#[must_use]
pub fn label(subject: &str, start: Start) -> String {
    match start {
        Start::Live => subject.to_owned(),
        start => format!("{subject}@{}", start.name()),
    }
}

/// How one subject fared from one start: a column of the listing.
#[derive(Debug, Clone)]
pub struct SubjectResult {
    /// Its name.
    pub name: String,
    /// How its walks claim: soundness means nothing of those that never do.
    pub claims: Claims,
    /// Its design against the windows of `return_to_handler`.
    pub inside: Inside,
    /// Where its walks started.
    pub start: Start,
    /// Its verdicts, counted.
    pub counters: Counters,
    /// How many of its walks read outside of the stacks that they were offered.
    pub strays: u64,
}

impl SubjectResult {
    /// The head of its column: the start is told where there can be more than one.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.name, self.start)
    }
}

/// How many walks had which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
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
    /// Those of them that can really happen. A probe stands for an ideal NMI, which can arrive anywhere.
    pub unsound_reachable: u64,
}

impl Counters {
    /// Counts `walks` walks with this verdict, at points that can really be reached or not.
    pub const fn add(&mut self, verdict: Verdict, reachable: bool, walks: u64) {
        self.walks += walks;
        match verdict {
            Verdict::Exact => self.exact += walks,
            Verdict::Cautious => self.cautious += walks,
            Verdict::Incomplete(_) => self.incomplete += walks,
            Verdict::WrongFlagged(_) => self.wrong_flagged += walks,
            Verdict::Overstated(_) => self.overstated += walks,
            Verdict::Unsound(_) => {
                self.unsound += walks;
                self.unsound_reachable += if reachable { walks } else { 0 };
            }
        }
    }

    /// Adds another count to this one.
    pub const fn merge(&mut self, other: &Self) {
        self.walks += other.walks;
        self.exact += other.exact;
        self.cautious += other.cautious;
        self.incomplete += other.incomplete;
        self.wrong_flagged += other.wrong_flagged;
        self.overstated += other.overstated;
        self.unsound += other.unsound;
        self.unsound_reachable += other.unsound_reachable;
    }
}

/// The annotated disassembly of a function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// All its instructions, also those that never ran.
    pub instructions: Vec<Instruction>,
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// From the start of the function, in bytes.
    pub offset: u64,
    /// The disassembly.
    pub text: String,
    /// How often it ran.
    pub visits: u64,
    /// Whether SP and the frame pointer were on different stacks when it was interrupted.
    pub split: bool,
    /// Where the youngest return address is that is not where a call or an ordinary frame leaves it, by arrival.
    pub addresses: Vec<Displaced>,
    /// For each subject, the verdicts by arrival; empty if no point was judged here.
    pub runs: Vec<Vec<Run>>,
}

impl Instruction {
    /// What is known of the displaced return address at an arrival, if there is one.
    #[must_use]
    pub fn displaced(&self, arrival: u64) -> Option<&Displaced> {
        self.addresses.iter().find(|run| (run.first..=run.last).contains(&arrival))
    }
}

/// Arrivals in a row at which the youngest displaced return address is in the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The places.
    pub places: String,
    /// Whether none of them is one that a rule may trust: no unwinder can find the address.
    pub lost: bool,
    /// The trampoline that runs, or waits, above the activation whose address it is.
    pub trampoline: Option<&'static str>,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}

/// Arrivals in a row with one verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the interruption can really arrive there.
    pub reachable: bool,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}

/// Neighbouring instructions with the same verdict of the same subject.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The subject.
    pub subject: String,
    /// Where its walks started.
    pub start: Start,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the interruption can really arrive there.
    pub reachable: bool,
    /// The function.
    pub function: String,
    /// The first instruction's offset.
    pub first_offset: u64,
    /// The last instruction's offset.
    pub last_offset: u64,
    /// How many walks.
    pub count: u64,
    /// The arrival at the first instruction that showed it first.
    pub visit: u64,
    /// The outer exception, if that point was nested in one.
    pub within: Option<String>,
    /// The true trace there, without the interrupted instruction.
    pub expected: Vec<String>,
    /// The walk's trace there, without its start.
    pub got: Vec<String>,
}

impl Finding {
    /// The subject, with its start where there can be more than one.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.subject, self.start)
    }

    /// `leaf+0x0..leaf+0xc`, or one point.
    #[must_use]
    pub fn range(&self) -> String {
        let (function, first, last) = (&self.function, self.first_offset, self.last_offset);
        if first == last {
            format!("{function}+{first:#x}")
        } else {
            format!("{function}+{first:#x}..{function}+{last:#x}")
        }
    }

    /// The name of the first point.
    #[must_use]
    pub fn point(&self) -> String {
        let outer = self.within.as_ref().map(|outer| format!("{outer}/")).unwrap_or_default();
        format!("{outer}{}+{:#x}#{}", self.function, self.first_offset, self.visit)
    }
}
