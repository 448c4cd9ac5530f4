//! The results for every function, put together from its instructions.

use std::collections::BTreeMap;

use kunwind::{Entry, Format};

use super::asked::{Asked, Data, Site};
use super::leaf::is_frameless;
use super::{FORMATS, says};
use crate::guest::{Program, Symbol};
use crate::recording::rows::{
    Agreement, FunctionRows, Leaf, Part, PartResult, TableResult, Unjudged, UnreadData, Wrong,
};

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
        changes: changes(program, function),
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

/// The callee-saved registers that a function was seen to change.
fn changes(program: &Program, function: &Symbol) -> Vec<String> {
    let convention = program.conventions.calls.of(function.address).map(|(_, convention)| convention);
    let Some(convention) = convention.filter(|convention| convention.is_supposed) else { return Vec::new() };
    let cpu = program.guest.cpu;
    let changed = cpu.callee_saved.iter().enumerate().filter(|(index, _)| !convention.preserves.holds(*index));
    changed.map(|(_, register)| cpu.abi.register_name(*register).to_owned()).collect()
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
