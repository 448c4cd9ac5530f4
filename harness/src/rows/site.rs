//! What is known of each instruction: what every table has for it, and how that was judged.

use std::collections::BTreeMap;

use kunwind::{Entry, Error, Format};

use super::judge::Judgement;
use super::leaf::is_frameless;
use super::{FORMATS, says};
use crate::guest::{Program, Symbol};
use crate::recording::rows::{
    Agreement, FunctionRows, Leaf, Part, PartResult, TableResult, Unjudged, UnreadData, Wrong,
};

/// Why the place of a return address cannot be judged where a tracer keeps the original elsewhere. Scenarios declare that with
/// `return-hook`.
pub(super) const HOOKED: &str = "the return address alone: a return hook had replaced it at each arrival";

/// What a table has for an instruction.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// Nothing.
    None,
    /// An entry.
    Entry(Entry),
    /// Something that cannot be read.
    Unread(String),
}

/// A table's data for one instruction, and how they were judged.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) data: Data,
    pub(super) judged: [bool; Part::ALL.len()],
    pub(super) wrong: [Option<String>; Part::ALL.len()],
    /// Why an arrival was not judged, for the latest that was not.
    blocked: Option<&'static str>,
}

impl Asked {
    fn new(program: &Program, format: Format, address: u64) -> Self {
        let data = match program.tables.get(format).map(|table| table.entry(address)) {
            None | Some(Ok(None)) => Data::None,
            Some(Ok(Some(Entry::NoRow { .. }))) => Data::None,
            Some(Ok(Some(entry))) => Data::Entry(entry),
            // ORC says of some code that it knows nothing (ORC_TYPE_UNDEFINED).
            Some(Err(Error::UnusableRule(_))) if format == Format::Orc => Data::None,
            Some(Err(error)) => {
                Data::Unread(program.tables.reason(format, address).unwrap_or_else(|| error.to_string()))
            }
        };
        let nothing = [const { None }; Part::ALL.len()];
        Self { data, judged: [false; Part::ALL.len()], wrong: nothing, blocked: None }
    }

    /// The entry, if there is one.
    pub(super) const fn entry(&self) -> Option<&Entry> {
        match &self.data {
            Data::Entry(entry) => Some(entry),
            Data::None | Data::Unread(_) => None,
        }
    }

    /// Takes a judgement. `role` says in which role the function was judged, where it was not the running one.
    pub(super) fn note(&mut self, judgement: Judgement, role: &str, blocked: &'static str) {
        if judgement.iter().all(Option::is_none) {
            self.blocked = Some(blocked);
        }
        for (part, outcome) in judgement.into_iter().enumerate() {
            self.judged[part] |= outcome.is_some();
            if let Some(Err(detail)) = outcome {
                self.wrong[part].get_or_insert_with(|| format!("{role}{detail}"));
            }
        }
    }

    /// Why it was not judged, if it ran or has data that could not be read.
    fn unjudged(&self, points: u64, has_neighbours: bool) -> Option<String> {
        match &self.data {
            Data::Unread(reason) => Some(reason.clone()),
            Data::None if points > 0 && has_neighbours => {
                Some("there is no row for it, though there are for others of the function".to_owned())
            }
            Data::Entry(_) if points > 0 && self.judged.iter().all(|judged| !judged) => {
                Some(self.blocked.unwrap_or("there was nothing to compare it with").to_owned())
            }
            Data::Entry(Entry::Row(_)) if points > 0 && self.judged[0] && !self.judged[1] => Some(HOOKED.to_owned()),
            Data::None | Data::Entry(_) => None,
        }
    }
}

/// An instruction.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) points: u64,
    /// Whether the frame record led to the caller at each arrival that could be judged.
    pub(super) frame_pointer: Option<bool>,
    /// In the order of [`FORMATS`].
    pub(super) asked: [Asked; FORMATS.len()],
}

impl Site {
    pub(super) fn new(program: &Program, address: u64) -> Self {
        Self { points: 0, frame_pointer: None, asked: FORMATS.map(|format| Asked::new(program, format, address)) }
    }
}

/// The results for every function, those that never ran included unless `only_run`.
pub(super) fn functions(program: &Program, sites: &BTreeMap<u64, Site>, only_run: bool) -> Vec<FunctionRows> {
    let has_run = |function: &&Symbol| {
        let range = function.address..function.address.saturating_add(function.size);
        sites.range(range).any(|(_, site)| site.points > 0)
    };
    let functions = program.guest.symbols.functions().iter().filter(|function| !only_run || has_run(function));
    functions.map(|function| of_function(program, function, sites)).collect()
}

/// What was not read and lies in no function, and how many instructions ran outside of functions.
pub(super) fn strays(program: &Program, sites: &BTreeMap<u64, Site>) -> (Vec<UnreadData>, usize) {
    let symbols = &program.guest.symbols;
    let is_stray = |range: Option<(u64, u64)>| range.is_none_or(|(start, _)| symbols.function_at(start).is_none());
    let unread = program.tables.unread().iter().filter(|unread| is_stray(unread.range));
    let unread =
        unread.map(|unread| UnreadData { format: unread.format.name().to_owned(), reason: unread.reason.clone() });
    let outside = sites.iter().filter(|(address, site)| site.points > 0 && symbols.function_at(**address).is_none());
    (unread.collect(), outside.count())
}

fn of_function(program: &Program, function: &Symbol, all: &BTreeMap<u64, Site>) -> FunctionRows {
    let lines = program.listing.of(function);
    let sites: Vec<(u64, Site)> = lines
        .iter()
        .map(|line| {
            let site = all.get(&line.address).cloned().unwrap_or_else(|| Site::new(program, line.address));
            (line.address - function.address, site)
        })
        .collect();
    let tables = FORMATS.iter().enumerate().filter(|(_, format)| {
        let has_unread = program.tables.unread().iter().any(|unread| unread.format == **format);
        has_unread || program.tables.get(**format).is_some()
    });
    FunctionRows {
        name: function.name.clone(),
        points: sites.iter().map(|(_, site)| site.points).sum(),
        is_size_inferred: function.is_size_inferred,
        instructions: sites.len(),
        ran: sites.iter().filter(|(_, site)| site.points > 0).count(),
        tables: tables.map(|(index, _)| of_table(program, function, &sites, index)).collect(),
        agreement: agreement(&sites),
        frame_pointer: PartResult {
            judged: sites.iter().filter(|(_, site)| site.frame_pointer.is_some()).count(),
            right: sites.iter().filter(|(_, site)| site.frame_pointer == Some(true)).count(),
        },
        side_by_side: says::side_by_side(&sites),
    }
}

/// The results for the table of this index and one function.
fn of_table(program: &Program, function: &Symbol, sites: &[(u64, Site)], index: usize) -> TableResult {
    let asked = || sites.iter().map(|(offset, site)| (*offset, &site.asked[index]));
    let format = FORMATS[index];
    let mut parts = [PartResult::default(); Part::ALL.len()];
    let mut wrong = Vec::new();
    for (offset, asked) in asked() {
        for (number, part) in Part::ALL.into_iter().enumerate() {
            parts[number].judged += usize::from(asked.judged[number]);
            match &asked.wrong[number] {
                Some(detail) => {
                    let (detail, row) = (detail.clone(), says::row(program, format, function.address + offset, asked));
                    wrong.push(Wrong { offset, part, detail, row });
                }
                None => parts[number].right += usize::from(asked.judged[number]),
            }
        }
    }
    let cpu = program.guest.cpu;
    let claims = !sites.is_empty() && asked().all(|(_, asked)| is_frameless(asked.entry(), cpu));
    let leaf = match wrong.first() {
        _ if !claims => Leaf::NotClaimed,
        Some(wrong) => Leaf::Refuted(wrong.offset),
        None if parts.iter().all(|part| part.judged == 0) => Leaf::Untested,
        None => Leaf::Holds,
    };
    let (rows, rows_run) = says::row_coverage(program, function, sites, index);
    let covered = asked().filter(|(_, asked)| asked.entry().is_some()).count();
    let [cfa, ra, fp, saved] = parts;
    let knows_saved = program.tables.get(format).is_some_and(|table| table.saved(function.address).is_some());
    TableResult {
        format: format.name().to_owned(),
        covered,
        cfa,
        ra,
        fp,
        saved: knows_saved.then_some(saved),
        leaf,
        rows,
        rows_run,
        wrong,
        no_data_because: if covered == 0 { program.tables.reason(format, function.address) } else { None },
        unjudged: unjudged(program, function, sites, index),
        wrong_novelty: None,
        unjudged_novelty: None,
        because: Vec::new(),
    }
}

/// What was not judged: neighbours with one reason are one range.
fn unjudged(program: &Program, function: &Symbol, sites: &[(u64, Site)], index: usize) -> Vec<Unjudged> {
    let format = FORMATS[index];
    let range = function.address..function.address + function.size;
    let of_function = program.tables.unread().iter().find(|unread| {
        unread.format == format
            && unread
                .range
                .is_some_and(|(start, size)| start < range.end && range.start - start.min(range.start) < size)
    });
    if let Some(unread) = of_function {
        let last = sites.last().map_or(0, |(offset, _)| *offset);
        return vec![Unjudged { first: 0, last, reason: unread.reason.clone() }];
    }
    let has_entries = sites.iter().any(|(_, site)| !matches!(site.asked[index].data, Data::None));
    let mut ranges: Vec<Unjudged> = Vec::new();
    let mut is_open = false;
    for (offset, site) in sites {
        let Some(reason) = site.asked[index].unjudged(site.points, has_entries && format != Format::Orc) else {
            is_open = false;
            continue;
        };
        match ranges.last_mut() {
            Some(last) if is_open && last.reason == reason => last.last = *offset,
            _ => ranges.push(Unjudged { first: *offset, last: *offset, reason }),
        }
        is_open = true;
    }
    ranges
}

/// Whether all tables agree on a function, at the instructions that two or more of them cover.
fn agreement(sites: &[(u64, Site)]) -> Agreement {
    let compared = sites.iter().filter_map(|(offset, site)| {
        let said: Vec<&Entry> = site.asked.iter().filter_map(Asked::entry).collect();
        (said.len() > 1).then(|| (*offset, said.windows(2).all(|pair| pair[0] == pair[1])))
    });
    compared.fold(Agreement::None, |so_far, (offset, same)| match so_far {
        Agreement::Differ(_) => so_far,
        _ if same => Agreement::Same,
        _ => Agreement::Differ(offset),
    })
}
