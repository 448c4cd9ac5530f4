//! What `check` found: unwind rows compared with the truth.

use serde::{Deserialize, Serialize};

/// The unwind data of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRows {
    /// `<cpu>/<stem of the file>`.
    pub name: String,
    /// The scenario that says how the guest is entered and where its stacks are.
    pub scenario: String,
    /// Why the run is void, if it is.
    pub void: Option<String>,
    /// Whether the scenario demands that it be void, for this reason.
    pub void_is_meant: bool,
    /// Why nothing was judged: the guest could not be loaded, or did what no guest may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<String>,
    /// Whether the user stopped the run: the rest of it may show more wrong rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// All its functions, by address; empty for a void run.
    pub functions: Vec<FunctionRows>,
    /// Unwind data in the file that were not read and belong to no function, or to one that has no symbol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<UnreadData>,
    /// How many instructions ran that lie in no function.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outside_functions: usize,
}

const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Unwind data in the file that were not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadData {
    /// Their format: `sframe`, `dwarf` or `orc`.
    pub format: String,
    /// Why.
    pub reason: String,
}

impl GuestRows {
    /// A guest of which nothing could be judged, for this reason.
    #[must_use]
    pub const fn without_rows(name: String, scenario: String, reason: String) -> Self {
        Self {
            name,
            scenario,
            void: None,
            void_is_meant: false,
            not_judged: Some(reason),
            interrupted: false,
            functions: Vec::new(),
            unread: Vec::new(),
            outside_functions: 0,
        }
    }
}

/// The rows of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRows {
    /// Its name.
    pub name: String,
    /// How often one of its instructions was about to run.
    pub points: u64,
    /// Whether the file gives it no size, so that it was taken to reach to the next function.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_size_inferred: bool,
    /// How many instructions it has.
    pub instructions: usize,
    /// How many of them ran.
    pub ran: usize,
    /// The results for each table that the guest has.
    pub tables: Vec<TableResult>,
    /// Whether the tables agree.
    pub agreement: Agreement,
}

/// Whether the tables agree on a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// No instruction is covered by two tables.
    None,
    /// They agree at every instruction that two or more of them cover.
    Same,
    /// They differ, first at this offset.
    Differ(u64),
}

/// The results for one table and one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableResult {
    /// The table's format: `sframe`, `dwarf` or `orc`.
    pub format: String,
    /// For how many instructions it has a readable row, whether they ran or not.
    pub covered: usize,
    /// The rules for the CFA.
    pub cfa: PartResult,
    /// The rules for the return address.
    pub ra: PartResult,
    /// The rules for the frame pointer.
    pub fp: PartResult,
    /// The rules for the other callee-saved registers, together; `None` for a format that knows none.
    pub saved: Option<PartResult>,
    /// Whether its rows claim that the function is a leaf, and whether that is true.
    pub leaf: Leaf,
    /// The wrong parts, by offset.
    pub wrong: Vec<Wrong>,
    /// Why it has no data, where that is known: it is made from another table, which says something that it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_because: Option<String>,
    /// What was not judged though it ran, or though there are data for it; by offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<Unjudged>,
}

impl TableResult {
    /// Whether any part is wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// The rules for one part; `None` if the format has none for it.
    #[must_use]
    pub const fn part(&self, part: Part) -> Option<PartResult> {
        match part {
            Part::Cfa => Some(self.cfa),
            Part::Ra => Some(self.ra),
            Part::Fp => Some(self.fp),
            Part::Saved => self.saved,
        }
    }

    /// Whether the table says nothing at all of the function.
    #[must_use]
    pub fn has_no_data(&self) -> bool {
        self.covered == 0 && self.unjudged.is_empty()
    }

    /// The offset of the first instruction at which a part is wrong.
    #[must_use]
    pub fn first_wrong(&self) -> Option<u64> {
        self.wrong.first().map(|wrong| wrong.offset)
    }
}

/// The results for one part of a function's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartResult {
    /// Instructions that ran, have a row, and have a true caller to compare it with.
    pub judged: usize,
    /// Those of them at which it was right at each arrival.
    pub right: usize,
}

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The rule for the CFA.
    Cfa,
    /// The rule for the return address, or the statement that there is no caller.
    Ra,
    /// The rule for the caller's frame pointer.
    Fp,
    /// The rules for the other callee-saved registers.
    Saved,
}

impl Part {
    /// In the order of reports.
    pub const ALL: [Self; 4] = [Self::Cfa, Self::Ra, Self::Fp, Self::Saved];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cfa => "cfa",
            Self::Ra => "ra",
            Self::Fp => "fp",
            Self::Saved => "saved",
        }
    }
}

/// A wrong part of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The instruction, from the start of its function.
    pub offset: u64,
    /// Which part.
    pub part: Part,
    /// What it gives and what it should give, at the first arrival at which it was wrong.
    pub detail: String,
}

/// Instructions of a function that were not judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unjudged {
    /// The first, from the start of the function.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

/// Whether a function's rows claim that it is a leaf, and whether that is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// They do not claim it.
    NotClaimed,
    /// They claim it, but the function never ran.
    Untested,
    /// They claim it, and it was true at each instruction that ran.
    Holds,
    /// They claim it, and it was false, first at this offset.
    Refuted(u64),
}

impl Leaf {
    /// The word in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotClaimed => "-",
            Self::Untested => "untested",
            Self::Holds => "true",
            Self::Refuted(_) => "false",
        }
    }
}
