//! What became of mistakes that were planted in unwind rows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::rows::Part;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mutation {
    /// By guest, in the order of the scenarios. Guests without tables are left out.
    pub guests: Vec<GuestMutants>,
}

/// The mutants of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GuestMutants {
    /// `<cpu>/<stem of the file>`.
    pub name: String,
    /// Whether they were judged.
    pub state: State,
    /// By table.
    pub tables: Vec<TableMutants>,
    /// Those that were missed.
    pub missed: Vec<Missed>,
}

impl GuestMutants {
    /// A guest of which nothing is known.
    #[must_use]
    pub const fn without(name: String, state: State) -> Self {
        Self { name, state, tables: Vec::new(), missed: Vec::new() }
    }
}

/// Whether the mutants of a guest were judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum State {
    /// They were.
    Judged,
    /// The run is void, as its scenario demands: nothing is true of it.
    MeantVoid(String),
    /// The run is void.
    Void(String),
    /// The guest could not be loaded, or did what no guest may do.
    Failed(String),
    /// The user stopped before.
    NotReached(String),
}

/// The mutants of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TableMutants {
    /// `sframe`, `dwarf` or `orc`.
    pub format: String,
    /// By the kind of mistake.
    pub families: BTreeMap<Family, MutantCounts>,
    /// By function, in the order in which they ran.
    pub functions: Vec<FunctionMutants>,
}

/// The mutants of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FunctionMutants {
    /// Its name.
    pub name: String,
    /// What became of them.
    #[serde(flatten)]
    pub counts: MutantCounts,
}

/// The kind of a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The CFA (or pt_regs) is 8 or 16 bytes off.
    CfaOffset,
    /// The CFA is computed from another register, or from memory instead of a register, or the other way round.
    CfaBase,
    /// A return address, frame pointer or saved register is in a neighbouring word.
    Slot,
    /// Another kind of rule.
    Rule,
    /// The row is missing: what held before it goes on.
    Dropped,
    /// The row starts one instruction early or late.
    Moved,
    /// Two registers are each in the other's place.
    Swapped,
    /// Whether, or with which key, the return address is signed.
    Signed,
}

impl Family {
    /// In the order of reports.
    pub const ALL: [Self; 8] = [
        Self::CfaOffset,
        Self::CfaBase,
        Self::Slot,
        Self::Rule,
        Self::Dropped,
        Self::Moved,
        Self::Swapped,
        Self::Signed,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CfaOffset => "CFA offset",
            Self::CfaBase => "CFA base",
            Self::Slot => "wrong slot",
            Self::Rule => "kind of rule",
            Self::Dropped => "row dropped",
            Self::Moved => "row moved",
            Self::Swapped => "swapped",
            Self::Signed => "sign state",
        }
    }
}

/// What became of mutants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MutantCounts {
    /// Some verdict changed.
    pub caught: u64,
    /// A value differed at an instruction that ran, and no verdict changed.
    pub missed: u64,
    /// No value differed at any instruction that ran.
    pub indistinguishable: u64,
    /// No instruction of the row ran.
    pub unreached: u64,
}

impl MutantCounts {
    /// Adds others.
    pub const fn add(&mut self, others: &Self) {
        self.caught += others.caught;
        self.missed += others.missed;
        self.indistinguishable += others.indistinguishable;
        self.unreached += others.unreached;
    }

    /// All of them.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.caught + self.missed + self.indistinguishable + self.unreached
    }

    /// Per 10,000 of those that could be told apart, how many were caught; nothing if none could. Rounded down, so that 100 %
    /// means all.
    #[must_use]
    pub const fn score(&self) -> Option<u64> {
        (self.caught * 10_000).checked_div(self.caught + self.missed)
    }
}

/// A mutant that was missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missed {
    /// `sframe`, `dwarf` or `orc`.
    pub format: String,
    /// The first instruction that it concerns.
    pub at: String,
    /// The mistake.
    pub mistake: String,
    /// The right row, in words.
    pub row: String,
    /// The first part that differed.
    pub part: Part,
    /// Why no verdict changed.
    pub why: Why,
}

/// Why a mutant was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Nothing is known there with which that part could be compared.
    NotJudged,
    /// The row was wrong before, and is still called wrong in the same words.
    WrongBefore,
    /// It was called right, and still is: a fault of `check`.
    CalledRight,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJudged => "nothing is known there to judge it by",
            Self::WrongBefore => "and the row was wrong before, in the same words",
            Self::CalledRight => "and is still called right",
        }
    }
}
