//! The snapshot of a scenario: a narrow page that holds the verdict of every walk, and parses back to exactly that.
//!
//! One block for each function and variant. Neighbouring instructions at which everything is alike are one line, and its layout
//! depends on nothing but the line itself, so that a changed verdict is a changed line. [`parse()`] is the inverse of [`write()`],
//! except for the disassembly, of which the page shows only the first instruction of a line. docs/snapshot.md describes the
//! form.

pub(super) mod alphabet;
mod head;
mod line;
mod parse;
mod range;
mod recorded;
#[cfg(test)]
mod tests;
mod track;
mod write;

pub use parse::parse;
pub use recorded::{Code, recorded};
pub use write::write;

use crate::experiment::LeftOut;
use crate::recording::{Counters, Run};
use crate::scenario::Interruption;
use crate::subject::Start;

/// The kind of interruption that walks damaged stacks. The order of its walks says nothing, so a snapshot does not keep it.
const UNORDERED: &str = Interruption::Corrupt.name();

/// The content of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `<cpu>/<name>`.
    pub scenario: String,
    /// One for each variant and kind of interruption, in order.
    pub sections: Vec<Section>,
}

/// One variant, interrupted in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The variant's name, if the scenario has any.
    pub variant: Option<String>,
    /// The kind of interruption.
    pub interrupt: String,
    /// How many points were judged.
    pub points: u64,
    /// How many instructions had a point.
    pub distinct_pcs: usize,
    /// Of nested exceptions: how many outer ones there were, and into how many of them something was nested.
    pub outer: Option<(u64, u64)>,
    /// The arrivals that were not judged.
    pub left_out: LeftOut,
    /// Activations that never resumed: where they wait, and how many.
    pub unwitnessed: Vec<(String, usize)>,
    /// Why nothing of this may be believed; then all that follows is empty.
    pub void: Option<String>,
    /// The subjects with their starts, in the order of [`Instruction::runs`].
    pub subjects: Vec<Subject>,
    /// The functions with a point.
    pub functions: Vec<Function>,
}

/// One subject from one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Where its walks started.
    pub start: Start,
    /// Its verdicts, counted.
    pub counters: Counters,
    /// How many of its walks read outside of the stacks that they were offered.
    pub reads_outside_stacks: u64,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// All its instructions, also those that never ran.
    pub instructions: Vec<Instruction>,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// From the start of the function, in bytes.
    pub offset: u64,
    /// How often it ran.
    pub visits: u64,
    /// Whether SP and the frame pointer were on different stacks when it was interrupted.
    pub split: bool,
    /// Where the youngest displaced return address is, by arrival.
    pub addresses: Vec<Displaced>,
    /// For each subject, the verdicts by arrival; empty if no point was judged here.
    pub runs: Vec<Vec<Run>>,
}

/// Arrivals in a row at which the youngest displaced return address is in the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The places.
    pub places: String,
    /// Whether none of them is one that a rule may trust.
    pub lost: bool,
    /// The first arrival, from 1.
    pub first: u64,
    /// The last arrival.
    pub last: u64,
}

/// Whether places are of an address that no unwinder can find.
fn is_lost(places: &str) -> bool {
    places == "lost" || places.starts_with("lost:")
}

/// The page in a snapshot's file, without the lines between `---` that stand above it.
#[must_use]
pub fn page(text: &str) -> &str {
    let rest = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    rest.map_or(text, |(_, page)| page)
}

/// The start of this name.
fn start_named(name: &str) -> Option<Start> {
    [Start::Live, Start::Current, Start::Regs, Start::Task, Start::User].into_iter().find(|start| start.name() == name)
}
