//! Turns one function into lines: merges kinds of interruption, arrivals and neighbouring instructions that fare alike.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::alphabet::{self, Cell, append};
use super::line::{Group, Line, Part, Places, fits, join, only_places, share};
use super::range::{self, Ranges};
use super::{Start, UNORDERED, is_lost};
use crate::recording::{ListedFunction, ListedInstruction, Run, Section};
use crate::verdict::Verdict;

/// The columns of one start, as indices of a section's subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) start: Start,
    pub(super) columns: Vec<usize>,
}

/// Kinds of interruption that have the same columns, in a function.
pub(super) struct Track<'s> {
    pub(super) kinds: Vec<(&'s Section, &'s ListedFunction)>,
    pub(super) blocks: Vec<Block>,
    /// The letters of each block's columns.
    pub(super) letters: Vec<String>,
}

/// What a line says of the columns it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Everything,
    Verdicts,
    Places,
}

/// Lines that cover the same columns. At an instruction where they would be too wide, their parts take their place.
struct Slot {
    says: Says,
    part: Part,
    blocks: Vec<Block>,
    /// For each instruction, what the line says; empty if there is none.
    groups: Vec<Vec<Group>>,
    parts: Vec<Slot>,
}

/// So many columns share a line where all columns of a start are too wide.
const COLUMNS: usize = 3;

impl Track<'_> {
    /// The lines. Each slot merges neighbours on its own, so that one changed verdict touches one line.
    pub(super) fn lines(&self) -> Result<Vec<String>, String> {
        let instructions = &self.kinds[0].1.instructions;
        let mut all = self.slots();
        for index in 0..instructions.len() {
            self.fill(&mut all, index)?;
        }
        let mut lines = Vec::new();
        all.each(&mut |slot| {
            let mut first = 0;
            for alike in slot.groups.chunk_by(|one, other| one == other) {
                let last = first + alike.len() - 1;
                if !alike[0].is_empty() {
                    let (from, to) = (instructions[first].offset, instructions[last].offset);
                    let line = Line { first: from, last: to, groups: alike[0].clone() };
                    lines.push((first, line.write(&instructions[first].text)));
                }
                first = last + 1;
            }
        });
        lines.sort_by_key(|(first, _)| *first);
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// From the widest lines to the narrowest: everything; verdicts alone, those of one start, those of a few columns; and places
    /// alone.
    fn slots(&self) -> Slot {
        let count = self.kinds[0].1.instructions.len();
        let slot = |says, part, blocks, parts| Slot { says, part, blocks, groups: vec![Vec::new(); count], parts };
        let mut starts = Vec::new();
        for (block, letters) in self.blocks.iter().zip(&self.letters) {
            let start = Some(block.start).filter(|_| self.blocks.len() > 1);
            let letters: Vec<char> = letters.chars().collect();
            let few = block.columns.chunks(COLUMNS).zip(letters.chunks(COLUMNS)).map(|(columns, letters)| {
                let part = Part { start, letters: letters.iter().collect() };
                let block = Block { start: block.start, columns: columns.to_vec() };
                slot(Says::Verdicts, part, vec![block], Vec::new())
            });
            let few = few.collect();
            starts.push(slot(Says::Verdicts, Part { start, letters: String::new() }, vec![block.clone()], few));
        }
        let verdicts = slot(Says::Verdicts, Part::default(), self.blocks.clone(), starts);
        let places = slot(Says::Places, Part::default(), self.blocks.clone(), Vec::new());
        slot(Says::Everything, Part::default(), self.blocks.clone(), vec![verdicts, places])
    }

    /// Finds what the lines of a slot say of an instruction; if there is no room for it, what those of its parts say.
    fn fill(&self, slot: &mut Slot, index: usize) -> Result<(), String> {
        let groups = self.groups(slot, index)?;
        if fits(&groups) || slot.parts.is_empty() {
            slot.groups[index] = groups;
            return Ok(());
        }
        slot.parts.iter_mut().try_for_each(|part| self.fill(part, index))
    }

    /// What there is to say of an instruction, in the shorter of two forms: the verdicts of each column arrival by arrival, or
    /// those of each arrival column by column.
    fn groups(&self, slot: &Slot, index: usize) -> Result<Vec<Group>, String> {
        let (mut by_column, mut by_arrival) = (Vec::new(), Vec::new());
        for (section, function) in &self.kinds {
            let instruction = &function.instructions[index];
            for masked in [false, true] {
                let mut runs = instruction.runs.iter().flatten();
                let has_runs = runs.clone().any(|run| run.reachable != masked);
                // An instruction that ran and was no point is not masked.
                if !has_runs && (masked || runs.next().is_some() || !ran(instruction)) {
                    continue;
                }
                let kind = section.interrupt.name();
                let mut found = group(kind, instruction, masked, slot).map_err(|error| {
                    format!("{}: {}+{:#x}: {error}", section.title(), function.name, instruction.offset)
                })?;
                if slot.says == Says::Verdicts {
                    found.places.clear();
                }
                let by_arrivals = if kind == UNORDERED { vec![found.clone()] } else { split_arrivals(&found) };
                share(&mut by_column, found, kind, masked);
                by_arrivals.into_iter().for_each(|found| share(&mut by_arrival, found, kind, masked));
            }
        }
        Ok(if slot.says == Says::Places {
            only_places(&by_column)
        } else if join(&by_arrival).len() < join(&by_column).len() {
            by_arrival
        } else {
            by_column
        })
    }
}

impl Slot {
    /// The slot, and then its parts.
    fn each(&self, what: &mut dyn FnMut(&Self)) {
        what(self);
        self.parts.iter().for_each(|part| part.each(what));
    }
}

fn ran(instruction: &ListedInstruction) -> bool {
    instruction.visits > 0 || instruction.split || !instruction.addresses.is_empty()
}

/// One kind of interruption at one instruction, as yet without its name.
fn group(kind: &str, instruction: &ListedInstruction, masked: bool, slot: &Slot) -> Result<Group, String> {
    let mut cells = Vec::new();
    for Block { columns, .. } in &slot.blocks {
        let runs = columns.iter().map(|column| instruction.runs.get(*column).map_or(&[][..], Vec::as_slice));
        cells.push(runs.map(|runs| cell(runs, masked, kind == UNORDERED)).collect::<Result<Vec<Cell>, _>>()?);
    }
    let last = cells.iter().flatten().map(alphabet::length).max().unwrap_or(0);
    let judged = if kind == UNORDERED { vec![(1, last)] } else { judged(instruction, last) };
    for cell in cells.iter_mut().flatten() {
        let missing = last - alphabet::length(cell);
        append(cell, None, missing);
        *cell = alphabet::only(cell, &judged);
    }
    let places = instruction.addresses.iter().map(|run| {
        if run.lost != is_lost(&run.places) {
            return Err(format!("{} says the opposite of whether it is lost", run.places));
        }
        Ok(Places { places: run.places.clone(), first: run.first, last: run.last })
    });
    Ok(Group {
        kinds: Vec::new(),
        part: slot.part.clone(),
        arrivals: judged.into_iter().filter(|(first, last)| first <= last).collect(),
        visits: instruction.visits,
        split: instruction.split,
        blocks: cells,
        places: places.collect::<Result<_, _>>()?,
    })
}

/// The arrivals up to `last` at which there was a walk at all: between them are those that were not judged.
fn judged(instruction: &ListedInstruction, last: u64) -> Ranges {
    let mut runs: Vec<(u64, u64)> = instruction.runs.iter().flatten().map(|run| (run.first, run.last)).collect();
    runs.sort_unstable();
    let mut judged = Ranges::new();
    for (first, end) in runs {
        let next = judged.last().map_or(0, |(_, last)| last + 1);
        let (first, end) = (first.max(next), end.min(last));
        if first <= end {
            range::append(&mut judged, first, end);
        }
    }
    judged
}

/// A group of all arrivals as groups of those that are alike in all columns. Arrivals without any walk are in none.
fn split_arrivals(group: &Group) -> Vec<Group> {
    let ends = group.blocks.iter().flatten().flat_map(|cell| {
        cell.iter().scan(0, |end, stretch| {
            *end += stretch.count;
            Some(*end)
        })
    });
    let ends: BTreeSet<u64> = ends.collect();
    let mut alike: Vec<(Vec<Option<Verdict>>, Ranges)> = Vec::new();
    // Cells count from the first judged arrival, without those that were not.
    let add = |arrivals: &mut Ranges, first, last| {
        range::part(&group.arrivals, first, last)
            .into_iter()
            .for_each(|(first, last)| range::append(arrivals, first, last));
    };
    let mut first = 1;
    for last in ends {
        let verdicts: Vec<_> = group.blocks.iter().flatten().map(|cell| alphabet::at(cell, first)).collect();
        match alike.iter_mut().find(|(known, _)| *known == verdicts) {
            _ if verdicts.iter().all(Option::is_none) => {}
            Some((_, arrivals)) => add(arrivals, first, last),
            None => {
                let mut arrivals = Ranges::new();
                add(&mut arrivals, first, last);
                alike.push((verdicts, arrivals));
            }
        }
        first = last + 1;
    }
    let groups = alike.into_iter().map(|(verdicts, arrivals)| {
        let count = arrivals.iter().map(|(first, last)| last - first + 1).sum();
        let mut verdicts = verdicts.into_iter();
        let blocks = group.blocks.iter().map(|cells| {
            let one = |verdict: Option<Verdict>| {
                let mut cell = Cell::new();
                append(&mut cell, verdict, count);
                cell
            };
            verdicts.by_ref().take(cells.len()).map(one).collect()
        });
        Group { blocks: blocks.collect(), arrivals, ..group.clone() }
    });
    let groups: Vec<Group> = groups.collect();
    if groups.is_empty() { vec![group.clone()] } else { groups }
}

/// The verdicts of one column, from the first arrival on.
fn cell(runs: &[Run], masked: bool, unordered: bool) -> Result<Cell, String> {
    let mut runs: Vec<Run> = runs.iter().copied().filter(|run| run.reachable != masked).collect();
    let mut cell = Cell::new();
    if unordered {
        // From the best to the worst.
        runs.sort_by_key(|run| Reverse(run.verdict));
        runs.iter().for_each(|run| append(&mut cell, Some(run.verdict), run.last - run.first + 1));
        return Ok(cell);
    }
    runs.sort_by_key(|run| run.first);
    let mut next = 1;
    for run in runs {
        if run.first < next || run.last < run.first {
            return Err(format!("two walks at arrival {}", run.first));
        }
        append(&mut cell, None, run.first - next);
        append(&mut cell, Some(run.verdict), run.last - run.first + 1);
        next = run.last + 1;
    }
    Ok(cell)
}
