//! A page as sections of a recording, to be compared with others.

use super::Page;
use crate::Error;
use crate::recording::{ColumnResult, Displaced, ListedFunction, ListedInstruction, Section, by_subject};
use crate::scenario::Interruption;
use crate::subject::{Claims, Gate, Status};

/// The disassembly that a page leaves out: of a variant's function (the variant's name may be empty), the instruction at an offset.
pub type Code<'c> = dyn Fn(&str, &str, u64) -> String + 'c;

/// The sections of a page. A page does not say how subjects claim or where they come from: that is neutral.
///
/// # Errors
///
/// [`Error::Usage`] for a kind of interruption that this program does not know.
pub fn recorded(page: &Page, code: &Code<'_>) -> Result<Vec<Section>, Error> {
    page.sections.iter().map(|section| of_section(&page.scenario, section, code)).collect()
}

fn of_section(scenario: &str, section: &super::Section, code: &Code<'_>) -> Result<Section, Error> {
    let kind = Interruption::ALL.into_iter().find(|kind| kind.name() == section.interrupt);
    let unknown = || Error::Usage(format!("the snapshot of {scenario}: unknown kind {}", section.interrupt));
    let variant = section.variant.as_deref().unwrap_or_default();
    let columns: Vec<ColumnResult> = section.subjects.iter().map(column).collect();
    Ok(Section {
        variant: section.variant.clone(),
        points: section.points,
        distinct_pcs: section.distinct_pcs,
        outer: section.outer,
        left_out: section.left_out,
        unwitnessed: section.unwitnessed.clone(),
        void_is_meant: section.void.is_some(),
        void: section.void.clone(),
        subjects: by_subject(&columns),
        columns,
        functions: section.functions.iter().map(|function| listed(function, variant, code)).collect(),
        ..Section::empty(scenario.to_owned(), kind.ok_or_else(unknown)?)
    })
}

fn column(subject: &super::Subject) -> ColumnResult {
    ColumnResult {
        name: subject.name.clone(),
        start: subject.start,
        claims: Claims::Never,
        fix: crate::guest::return_hook::Fix::None,
        status: Status::Generic,
        gate: Gate::default(),
        command: None,
        caller: None,
        counters: subject.counters,
        reads_outside_stacks: subject.reads_outside_stacks,
    }
}

fn listed(function: &super::Function, variant: &str, code: &Code<'_>) -> ListedFunction {
    let instructions = function.instructions.iter().map(|instruction| ListedInstruction {
        offset: instruction.offset,
        text: code(variant, &function.name, instruction.offset),
        visits: instruction.visits,
        split: instruction.split,
        addresses: { instruction.addresses.iter() }
            .map(|place| Displaced {
                places: place.places.clone(),
                lost: place.lost,
                trampoline_of: None,
                first: place.first,
                last: place.last,
            })
            .collect::<Vec<_>>()
            .into(),
        runs: instruction.runs.clone().into(),
    });
    let instructions = instructions.collect();
    ListedFunction { name: function.name.clone(), trampoline_of: None, labels: Vec::new(), instructions }
}
