//! What `check` found: unwind rows compared with the truth.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Novelty, SideBySide, TableBytes};

/// The unwind data of one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How often an instruction was about to run; 0 for a void run.
    #[serde(default)]
    pub points: u64,
    /// How many instructions ran.
    #[serde(default)]
    pub distinct_pcs: usize,
    /// How far each table leads, by its format: `sframe`, `dwarf` or `orc`.
    #[serde(default)]
    pub levels: BTreeMap<String, Level>,
    /// All its functions, by address; empty for a void run.
    pub functions: Vec<FunctionRows>,
    /// Unwind data in the file that were not read and belong to no function, or to one that has no symbol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<UnreadData>,
    /// How many instructions ran that lie in no function.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outside_functions: usize,
    /// SFrame, CFI and frame pointers at every instruction of its functions; without our own beside the program.
    #[serde(default)]
    pub side_by_side: SideBySide,
    /// What its unwind data cost.
    #[serde(default)]
    pub bytes: TableBytes,
}

const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Unwind data in the file that were not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadData {
    /// Their format: `sframe`, `dwarf` or `orc`.
    pub format: String,
    /// Why.
    pub reason: String,
}

impl GuestRows {
    /// A guest of which nothing could be judged, for this reason.
    #[must_use]
    pub fn without_rows(name: String, scenario: String, reason: String) -> Self {
        Self {
            name,
            scenario,
            void: None,
            void_is_meant: false,
            not_judged: Some(reason),
            interrupted: false,
            points: 0,
            distinct_pcs: 0,
            levels: BTreeMap::new(),
            functions: Vec::new(),
            unread: Vec::new(),
            outside_functions: 0,
            side_by_side: SideBySide::default(),
            bytes: TableBytes::default(),
        }
    }
}

/// How far one table leads from the points of a run. `innermost_right`, `wrong`, `no_row` and `not_judged` add up to the points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// The running function's row gives the right return address, CFA and callee-saved registers.
    pub innermost_right: u64,
    /// The whole list of return addresses is right, by this table's rows alone, and ends where the truth does. Absent in a kernel,
    /// where rows do not lead over exceptions, stacks and tasks by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_addresses_right: Option<u64>,
    /// So are the CFAs and the callee-saved registers of all callers, and `innermost_right` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<u64>,
    /// The table has nothing for the running instruction.
    pub no_row: u64,
    /// The running function's row is wrong in some part.
    pub wrong: u64,
    /// Its row cannot be read, or there was nothing to compare it with.
    pub not_judged: u64,
}

impl Level {
    /// The sums with those of another run.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |ours: Option<u64>, others: Option<u64>| Some(ours? + others?);
        Self {
            innermost_right: self.innermost_right + other.innermost_right,
            return_addresses_right: sum(self.return_addresses_right, other.return_addresses_right),
            exact: sum(self.exact, other.exact),
            no_row: self.no_row + other.no_row,
            wrong: self.wrong + other.wrong,
            not_judged: self.not_judged + other.not_judged,
        }
    }
}

/// What `check` found of all guests together: its answer in short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// How often an instruction was about to run.
    pub points: u64,
    /// How many instructions ran, those of each guest.
    pub distinct_pcs: usize,
    /// How far each table leads, over the guests that have it.
    pub levels: BTreeMap<String, Level>,
    /// Every function that ran.
    pub functions: Vec<CheckedFunction>,
    /// Every wrong row.
    pub findings: Vec<WrongRow>,
}

/// A function that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckedFunction {
    /// The guest.
    pub guest: String,
    /// The function.
    pub name: String,
    /// How often one of its instructions was about to run.
    pub points: u64,
    /// How many instructions it has.
    pub instructions: usize,
    /// How many of them ran.
    pub ran: usize,
    /// For each table: how many instructions ran with a row that is wrong in some part.
    pub wrong: BTreeMap<String, usize>,
}

/// A wrong row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrongRow {
    /// The guest.
    pub guest: String,
    /// The function.
    pub function: String,
    /// The instruction, from its start.
    pub offset: u64,
    /// The table's format.
    pub table: String,
    /// The part of the row that is wrong.
    pub part: Part,
    /// What it gives, and what it should give.
    pub detail: String,
}

impl Checked {
    /// The sums over these guests.
    #[must_use]
    pub fn of(guests: &[GuestRows]) -> Self {
        let mut checked = Self::default();
        for guest in guests {
            checked.points += guest.points;
            checked.distinct_pcs += guest.distinct_pcs;
            for (format, level) in &guest.levels {
                let sum = checked.levels.get(format).map_or(*level, |sum| sum.plus(*level));
                checked.levels.insert(format.clone(), sum);
            }
            for function in guest.functions.iter().filter(|function| function.ran > 0) {
                checked.functions.push(function.checked(&guest.name));
                checked.findings.extend(function.wrong_rows(&guest.name));
            }
        }
        checked
    }
}

/// The rows of one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionRows {
    /// Its name.
    pub name: String,
    /// How often one of its instructions was about to run.
    pub points: u64,
    /// Whether the file gives it no size, so that it was taken to reach to the next function.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_size_inferred: bool,
    /// The callee-saved registers that it was seen to return changed, by a convention of its own: nobody can ask for them while it
    /// runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// How many instructions it has.
    pub instructions: usize,
    /// How many of them ran.
    pub ran: usize,
    /// The results for each table that the guest has.
    pub tables: Vec<TableResult>,
    /// Whether the tables agree.
    pub agreement: Agreement,
    /// For contrast: whether the frame record to which the frame pointer points leads to the caller.
    #[serde(default)]
    pub frame_pointer: PartResult,
    /// SFrame, CFI and frame pointers at its instructions.
    #[serde(default)]
    pub side_by_side: SideBySide,
}

impl FunctionRows {
    /// What the names of our own functions beside somebody's program begin with.
    pub(crate) const OURS: &'static str = "harness_";

    /// Whether it is a function of ours, which calls somebody's or is called back.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.name.starts_with(Self::OURS)
    }

    /// Whether it is a jump that linking an object has made, as a linker would.
    #[must_use]
    pub fn is_stub(&self) -> bool {
        self.name.ends_with("@stub")
    }
}

impl FunctionRows {
    fn checked(&self, guest: &str) -> CheckedFunction {
        let wrong = |table: &TableResult| {
            let mut offsets: Vec<u64> = table.wrong.iter().map(|wrong| wrong.offset).collect();
            offsets.dedup();
            (table.format.clone(), offsets.len())
        };
        CheckedFunction {
            guest: guest.to_owned(),
            name: self.name.clone(),
            points: self.points,
            instructions: self.instructions,
            ran: self.ran,
            wrong: self.tables.iter().map(wrong).collect(),
        }
    }

    fn wrong_rows<'a>(&'a self, guest: &'a str) -> impl Iterator<Item = WrongRow> + 'a {
        let of_table = move |table: &'a TableResult| {
            table.wrong.iter().map(move |wrong| WrongRow {
                guest: guest.to_owned(),
                function: self.name.clone(),
                offset: wrong.offset,
                table: table.format.clone(),
                part: wrong.part,
                detail: wrong.detail.clone(),
            })
        };
        self.tables.iter().flat_map(of_table)
    }
}

/// Whether the tables agree on a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "TablesAgree")]
pub enum Agreement {
    /// No instruction is covered by two tables.
    None,
    /// They agree at every instruction that two or more of them cover.
    Same,
    /// They differ, first at this offset.
    Differ(u64),
}

/// The results for one table and one function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How many rows it has here: neighbouring instructions with the same rules have one.
    #[serde(default)]
    pub rows: usize,
    /// How many of them have an instruction that ran. Of the others nothing is known.
    #[serde(default)]
    pub rows_run: usize,
    /// The wrong parts, by offset.
    pub wrong: Vec<Wrong>,
    /// Why it has no data, where that is known: it is made from another table, which says something that it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data_because: Option<String>,
    /// What was not judged though it ran, or though there are data for it; by offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<Unjudged>,
    /// How its wrong rows stand to what the guest's scenarios list; `None`: none is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_novelty: Option<Novelty>,
    /// The same of what was not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unjudged_novelty: Option<Novelty>,
    /// The reasons that the scenarios give for either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartResult {
    /// Instructions that ran, have a row, and have a true caller to compare it with.
    pub judged: usize,
    /// Those of them at which it was right at each arrival.
    pub right: usize,
}

/// A part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wrong {
    /// The instruction, from the start of its function.
    pub offset: u64,
    /// Which part.
    pub part: Part,
    /// What it gives and what it should give, at the first arrival at which it was wrong.
    pub detail: String,
    /// The whole row, in words.
    #[serde(default)]
    pub row: String,
}

/// Instructions of a function that were not judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unjudged {
    /// The first, from the start of the function.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

/// Whether a function's rows claim that it is a leaf, and whether that is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
