//! Unwind rows, held against the truth: what was found.

use serde::{Deserialize, Serialize};

/// The unwind data of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRows {
    /// `<cpu>/<file's stem>`.
    pub name: String,
    /// The scenario that says how it is entered and where its stacks lie.
    pub scenario: String,
    /// Why nothing of the run may be believed.
    pub void: Option<String>,
    /// Whether the scenario says that it must be.
    pub void_is_meant: bool,
    /// All its functions, by address; none of a void run.
    pub functions: Vec<FunctionRows>,
}

/// The rows of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRows {
    /// Its name.
    pub name: String,
    /// How often one of its instructions was about to run.
    pub points: u64,
    /// How many instructions it has.
    pub instructions: usize,
    /// How many of them ran.
    pub ran: usize,
    /// What each table that the guest has says of it.
    pub tables: Vec<TableResult>,
    /// Whether the tables say the same.
    pub agreement: Agreement,
}

/// Whether two tables say the same of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// There is no instruction of which both say something.
    None,
    /// They do, at every instruction of which both say something.
    Same,
    /// They do not, first at this offset.
    Differ(u64),
}

/// What one table says of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableResult {
    /// The table's format: `sframe` or `dwarf`.
    pub format: String,
    /// At how many instructions it says something, whether they ran or not.
    pub covered: usize,
    /// The rules for the CFA.
    pub cfa: PartResult,
    /// The rules for the return address.
    pub ra: PartResult,
    /// The rules for the frame pointer.
    pub fp: PartResult,
    /// Whether its rows claim that the function is a leaf, and whether that is so.
    pub leaf: Leaf,
    /// What is wrong, by offset.
    pub wrong: Vec<Wrong>,
}

impl TableResult {
    /// Whether something in it is false.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// The rules for one part.
    #[must_use]
    pub const fn part(&self, part: Part) -> PartResult {
        match part {
            Part::Cfa => self.cfa,
            Part::Ra => self.ra,
            Part::Fp => self.fp,
        }
    }

    /// The first instruction at which something is false.
    #[must_use]
    pub fn first_wrong(&self) -> Option<u64> {
        self.wrong.first().map(|wrong| wrong.offset)
    }
}

/// How one part of a function's rows stands the test.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartResult {
    /// Instructions that ran, have a row, and a true caller to compare it with.
    pub judged: usize,
    /// Those at which it was right at each arrival.
    pub right: usize,
}

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Where the frame begins.
    Cfa,
    /// The place of the return address; or that there is no caller.
    Ra,
    /// The place of the caller's frame pointer.
    Fp,
}

impl Part {
    /// In the order of reports.
    pub const ALL: [Self; 3] = [Self::Cfa, Self::Ra, Self::Fp];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cfa => "cfa",
            Self::Ra => "ra",
            Self::Fp => "fp",
        }
    }
}

/// A part of a row that is not the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The instruction, from the start of its function.
    pub offset: u64,
    /// Which part.
    pub part: Part,
    /// What it comes to and what it should, at the first arrival where it was wrong.
    pub detail: String,
}

/// Whether a function's rows claim that it is a leaf, and whether that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaf {
    /// They claim nothing of the kind.
    NotClaimed,
    /// They do, and the function never ran.
    Untested,
    /// They do, and at each instruction that ran it was so.
    Holds,
    /// They do, and it is not so: first at this offset.
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
