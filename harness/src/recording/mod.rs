//! The Recording: the one document of everything that was found. It holds a run's verdicts, the walks of its findings, gates,
//! and rows of unwind data. It is plain data: gates, claims, the atlas and every report are functions of it, and need neither
//! guest nor emulator. As JSON it is schema 2 (docs/report.md).

mod agreement;
mod beside;
mod call;
mod command;
mod counters;
mod evidence;
mod finding;
pub mod mutation;
mod novelty;
mod recorder;
pub mod rows;
mod shard;
mod shared;
mod skip;
mod state;
mod text;
mod walks;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::experiment::LeftOut;
use crate::guest::return_hook::{Fix, ReturnHook};
use crate::scenario::{Interruption, Range, Scenario, Variant};
use crate::subject::{Claims, Gate, Start, Status, label};
use crate::verdict::Verdict;

pub use agreement::{Agreement, Disagreement, RECORDED};
pub use beside::{SideBySide, TableBytes};
pub use call::{CallOutcome, Changed, float};
pub(crate) use command::{ARGUMENTS, word};
pub use counters::{Counters, by_subject};
pub use finding::{Finding, FirstWalk, WordRead};
pub use novelty::Novelty;
pub use recorder::{MOST_CHANGES, Recorder};
pub use shard::{Shard, ShardOf, SplitScenario};
pub use shared::Shared;
pub use skip::Skip;
pub use state::{Overall, RunState};
pub use walks::{WalkLog, Written, compare};

/// The version of the JSON form.
pub const SCHEMA: u32 = 2;

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// The version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: u32,
    /// The version of the program that made it.
    pub tool: String,
    /// Whether something is missing that should be here. No reader may take the rest for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<Partial>,
    /// Which part of a run it is, if it is one of several. No reader may take it for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// One for each scenario, variant and kind of interruption, in order.
    #[serde(rename = "scenarios")]
    pub sections: Vec<Section>,
    /// Unwind rows compared with the truth: one entry for each guest that was checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<rows::GuestRows>,
    /// Of unwind rows: the sums over all guests, and what is wrong, in short.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub checked: Option<rows::Checked>,
    /// What functions of other people's files did when they were called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallOutcome>,
    /// Broken gates on rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_failures: Vec<String>,
    /// Of kernel images: what was not run, or not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skip>,
    /// Sums over all sections that are not void.
    pub totals: Totals,
}

impl Default for Recording {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Recording {
    /// A recording of these sections.
    #[must_use]
    pub fn new(sections: Vec<Section>) -> Self {
        let totals = Totals::of(&sections);
        let tool = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            schema: SCHEMA,
            tool,
            partial: None,
            shard: None,
            sections,
            rows: Vec::new(),
            checked: None,
            calls: Vec::new(),
            row_failures: Vec::new(),
            skipped: Vec::new(),
            totals,
        }
    }

    /// The runs of which nothing was judged, because their guests failed, with the reasons.
    pub fn not_judged(&self) -> impl Iterator<Item = (String, &str)> {
        let sections = self.sections.iter().map(|section| (section.title(), &section.not_judged));
        let guests = self.rows.iter().map(|guest| (guest.name.clone(), &guest.not_judged));
        sections.chain(guests).filter_map(|(title, reason)| Some((title, reason.as_deref()?)))
    }
}

/// What a recording that is not whole should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Partial {
    /// Why it is not whole.
    pub because: String,
    /// How many runs it holds from start to end.
    pub whole: u64,
    /// How many it should hold.
    pub of: u64,
}

impl std::fmt::Display for Partial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { because, whole, of } = self;
        write!(formatter, "{because}: {whole} of {of} runs are whole, and only their gates are held")
    }
}

/// Sums over sections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Points that were judged.
    pub points: u64,
    /// Sections that are void.
    pub void: u64,
    /// Sections of which nothing was judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_judged: u64,
    /// For each subject, over all its starts.
    #[serde(with = "text::ordered")]
    #[schemars(with = "BTreeMap<String, Counters>")]
    pub subjects: Vec<(String, Counters)>,
}

impl Totals {
    /// The sums over these sections.
    #[must_use]
    pub fn of(sections: &[Section]) -> Self {
        let is_valid = |section: &&Section| section.void.is_none() && section.not_judged.is_none();
        Self {
            points: sections.iter().filter(is_valid).map(|section| section.points).sum(),
            void: sections.iter().filter(|section| section.void.is_some()).count() as u64,
            not_judged: sections.iter().filter(|section| section.not_judged.is_some()).count() as u64,
            subjects: by_subject(sections.iter().filter(is_valid).flat_map(|section| &section.columns)),
        }
    }
}

/// One variant of one scenario, with one kind of interruption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    /// `<cpu>/<name>`.
    #[serde(rename = "name")]
    pub scenario: String,
    /// The variant's name, if the scenario has any.
    pub variant: Option<String>,
    /// The kind of interruption.
    pub interrupt: Interruption,
    /// The guest.
    pub guest: GuestRef,
    /// How many points were judged.
    pub points: u64,
    /// How many instructions had a point.
    pub distinct_pcs: usize,
    /// In a nested run: how many outer exceptions there could have been, and how many were delivered (the rest were folded).
    pub outer: Option<(u64, u64)>,
    /// The arrivals that were not judged; of nested exceptions, those at which no outer one was considered.
    #[serde(default)]
    pub left_out: LeftOut,
    /// Activations that never resumed: where they wait, and how many.
    pub unwitnessed: Vec<(String, usize)>,
    /// Why the run is void, if it is. A void run has no valid verdicts.
    pub void: Option<String>,
    /// Whether the scenario demands that the run be void, for this reason.
    pub void_is_meant: bool,
    /// Why nothing was judged: the guest could not be loaded, or did what no guest may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<String>,
    /// Whether the user stopped the run: the verdicts are those up to there, and no gate was held against them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Whether no level is demanded of any of its walks, as of a released kernel: no verdict can break a gate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undemanded: bool,
    /// The open claims that the scenario decides.
    pub claims: Vec<String>,
    /// The return hook, if there is one.
    pub return_hook: Option<ReturnHook>,
    /// What must hold of a kernel for the guest to be one, in words (`condition` of the variant); nothing: it always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Unwind data in the guest's file that could not be read, so that no subject could use them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<rows::UnreadData>,
    /// For each subject, over all its starts.
    #[serde(with = "text::ordered")]
    #[schemars(with = "BTreeMap<String, Counters>")]
    pub subjects: Vec<(String, Counters)>,
    /// Each subject from each of its starts, in the order of columns.
    pub columns: Vec<ColumnResult>,
    /// Every verdict that is not exact, grouped.
    pub findings: Vec<Finding>,
    /// The reasons (`because`) of known findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// How a command names what was run, where that is not the scenario's name: `--case FILE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// In a kernel image: how our models of its walks agree with its own. In a frozen case: how its recorded walks agree with those of
    /// this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreements: Vec<Agreement>,
    /// The scenario's broken gates.
    pub failures: Vec<Failure>,
    /// The annotated disassembly.
    pub functions: Vec<ListedFunction>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The guest of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestRef {
    /// The file's stem.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Section {
    /// A section of which nothing could be judged, for this reason.
    #[must_use]
    pub fn without_verdicts(scenario: &Scenario, variant: &Variant, kind: Interruption, reason: String) -> Self {
        Self {
            variant: (!variant.name.is_empty()).then(|| variant.name.clone()),
            not_judged: Some(reason),
            claims: scenario.text.claims.clone(),
            return_hook: scenario.return_hook(variant),
            condition: variant.condition.clone(),
            ..Self::empty(scenario.name.clone(), kind)
        }
    }

    /// A section without anything in it.
    #[must_use]
    pub fn empty(scenario: String, kind: Interruption) -> Self {
        Self {
            scenario,
            variant: None,
            interrupt: kind,
            guest: GuestRef::default(),
            points: 0,
            distinct_pcs: 0,
            outer: None,
            left_out: LeftOut::default(),
            unwitnessed: Vec::new(),
            void: None,
            void_is_meant: false,
            not_judged: None,
            interrupted: false,
            undemanded: false,
            claims: Vec::new(),
            return_hook: None,
            condition: None,
            unread: Vec::new(),
            subjects: Vec::new(),
            columns: Vec::new(),
            findings: Vec::new(),
            reasons: Vec::new(),
            target: None,
            agreements: Vec::new(),
            failures: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// Whether the run has verdicts, and has them to its end.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.void.is_none() && self.not_judged.is_none() && !self.interrupted
    }

    /// The result of a subject's first start.
    #[must_use]
    pub fn column(&self, subject: &str) -> Option<&ColumnResult> {
        self.columns.iter().find(|column| column.name == subject)
    }

    /// What is demanded of a subject where the scenario says nothing.
    #[must_use]
    pub fn gate(&self, subject: &str) -> Gate {
        self.column(subject).map_or(Gate::Sound, |column| column.gate)
    }

    /// The offsets of a finding's instructions.
    pub fn offsets<'a>(&'a self, finding: &'a Finding) -> impl Iterator<Item = u64> + 'a {
        let Range { function, first, last } = &finding.range;
        self.functions
            .iter()
            .filter(move |listed| listed.name == *function)
            .flat_map(|listed| &listed.instructions)
            .map(|instruction| instruction.offset)
            .filter(move |offset| (*first..=*last).contains(offset))
    }

    /// Scenario, variant and kind in one line.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{} [{variant}] {}", self.scenario, self.interrupt.name()),
            None => format!("{} {}", self.scenario, self.interrupt.name()),
        }
    }
}

/// A broken gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What and where, with the command that shows it.
    pub message: String,
    /// Whether the verdict is unsound.
    pub is_unsound: bool,
    /// The label of the column whose walks broke it; `None`: it is one of the whole scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Failure {
    /// A broken gate other than an unsound verdict.
    #[must_use]
    pub const fn other(message: String) -> Self {
        Self { message, is_unsound: false, column: None }
    }

    /// The same, broken by the walks of this column.
    #[must_use]
    pub fn of(self, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..self }
    }
}

/// How one subject fared from one start: a column of the listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnResult {
    /// Its name.
    pub name: String,
    /// Where its walks started.
    pub start: Start,
    /// How its walks claim; soundness is undefined for walks that never do.
    pub claims: Claims,
    /// Its fix for the windows of `return_to_handler`.
    #[serde(with = "text::fix")]
    #[schemars(with = "String")]
    pub fix: Fix,
    /// Where the subject comes from.
    pub status: Status,
    /// What is demanded of it where the scenario says nothing.
    #[serde(default, skip_serializing_if = "Gate::is_sound")]
    pub gate: Gate,
    /// The command that starts it, if it is a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Who asks in Linux for a trace from this start; `None`: nobody, so that its walks are questions about the algorithm.
    pub caller: Option<String>,
    /// Its verdicts, counted.
    pub counters: Counters,
    /// How many of its walks read outside the stacks that they were offered.
    pub reads_outside_stacks: u64,
}

impl ColumnResult {
    /// Whether Linux asks for a trace from this start.
    #[must_use]
    pub const fn is_callable(&self) -> bool {
        self.caller.is_some()
    }

    /// The head of its column: the name, with the start unless that is `live`.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.name, self.start)
    }
}

/// A label inside a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// From the start of the function, in bytes.
    pub offset: u64,
}

/// The annotated disassembly of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListedFunction {
    /// Its name.
    pub name: String,
    /// The return hook or entry tracer that puts it between a function and its caller, if one does.
    pub trampoline_of: Option<String>,
    /// The guest's labels in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// All its instructions, including those that never ran.
    pub instructions: Vec<ListedInstruction>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListedInstruction {
    /// From the start of the function, in bytes.
    pub offset: u64,
    /// The disassembly.
    pub text: String,
    /// How often it ran.
    pub visits: u64,
    /// Whether SP and the frame pointer were on different stacks when it was interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub split: bool,
    /// Where the youngest displaced return address is, by arrival.
    #[serde(default, skip_serializing_if = "shared::is_empty")]
    pub addresses: Shared<Vec<Displaced>>,
    /// For each column, the verdicts by arrival; empty if no point was judged here.
    #[serde(default, skip_serializing_if = "shared::is_empty", with = "text::runs")]
    #[schemars(with = "Vec<String>")]
    pub runs: Shared<Vec<Vec<Run>>>,
}

impl ListedInstruction {
    /// The displaced return address at an arrival, if there is one.
    #[must_use]
    pub fn displaced(&self, arrival: u64) -> Option<&Displaced> {
        self.addresses.iter().find(|run| (run.first..=run.last).contains(&arrival))
    }
}

/// Consecutive arrivals at which the youngest displaced return address is in the same places.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Displaced {
    /// The places.
    pub places: String,
    /// Whether no rule may trust any of them, so that no unwinder can find the address.
    pub lost: bool,
    /// The hook whose trampoline runs, or waits, younger than the activation to which the address belongs.
    pub trampoline_of: Option<String>,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}

/// Consecutive arrivals with one verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the interruption can really arrive there; if not, it is masked.
    pub reachable: bool,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}
