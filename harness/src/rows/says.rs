//! What the rows of a function say: in words, how many there are, how many ran, and those of the formats side by side.

use kunwind::{CfaRule, Entry, Format, Register, Rule};

use super::FORMATS;
use super::asked::{Asked, Data, Site};
use crate::cpu::Cpu;
use crate::guest::{Program, Symbol};
use crate::recording::{SideBySide, TableBytes};

/// The row that a table has for an instruction, in words.
pub(super) fn row(program: &Program, format: Format, pc: u64, asked: &Asked) -> String {
    asked.entry().map_or_else(String::new, |found| entry(program, format, pc, found))
}

/// An entry that a table has for an instruction, in words.
pub(super) fn entry(program: &Program, format: Format, pc: u64, entry: &Entry) -> String {
    let cpu = program.guest.cpu;
    let row = match entry {
        Entry::Row(row) => row,
        Entry::Outermost => return "no caller".to_owned(),
        Entry::PtRegs(_) => return "saved by an exception".to_owned(),
        Entry::NoRow { .. } => return String::new(),
    };
    let name = |register: Register| cpu.abi.register_name(register);
    let cfa = match row.cfa {
        CfaRule::RegOffset(base, offset) => format!("{}{offset:+}", name(base)),
        CfaRule::RegOffsetDeref(base, offset) => format!("*({}{offset:+})", name(base)),
        CfaRule::RegDerefOffset(base, offset) => format!("*({}){offset:+}", name(base)),
        CfaRule::Expression(_) => "expression".to_owned(),
    };
    let signed = if row.mangled_ra { " (signed)" } else { "" };
    let mut text = format!("CFA={cfa} RA={}{signed} {}={}", rule(cpu, row.ra), name(cpu.abi.fp), rule(cpu, row.fp));
    for (register, at) in program.tables.get(format).and_then(|table| table.saved(pc)).unwrap_or_default() {
        text += &format!(" {}={}", name(*register), rule(cpu, *at));
    }
    text
}

fn rule(cpu: &Cpu, rule: Rule) -> String {
    match rule {
        Rule::Retain => "same".to_owned(),
        Rule::CfaOffset(offset) => format!("CFA{offset:+}"),
        Rule::CfaOffsetDeref(offset) => format!("*(CFA{offset:+})"),
        Rule::RegOffset(base, offset) => format!("{}{offset:+}", cpu.abi.register_name(base)),
        Rule::RegOffsetDeref(base, offset) => format!("*({}{offset:+})", cpu.abi.register_name(base)),
        Rule::Expression(_) | Rule::ValExpression(_) => "expression".to_owned(),
        Rule::Undefined => "undefined".to_owned(),
    }
}

/// How many rows the table of this index has for a function, and how many of them have an instruction that ran. Instructions that
/// follow each other with the same rules have one row.
pub(super) fn row_coverage(
    program: &Program,
    function: &Symbol,
    sites: &[(u64, Site)],
    index: usize,
) -> (usize, usize) {
    let table = program.tables.get(FORMATS[index]);
    let rules = |offset: u64, site: &Site| {
        let entry = site.asked[index].entry().copied()?;
        let saved = table.and_then(|table| table.saved(function.address + offset)).unwrap_or_default().to_vec();
        Some((entry, saved))
    };
    let mut rows: Vec<bool> = Vec::new();
    let mut before = None;
    for (offset, site) in sites {
        let here = rules(*offset, site);
        if here.is_some() && here != before {
            rows.push(false);
        }
        if let (Some(_), Some(has_run)) = (&here, rows.last_mut()) {
            *has_run |= site.points > 0;
        }
        before = here;
    }
    (rows.len(), rows.iter().filter(|has_run| **has_run).count())
}

/// How a table fares at an instruction that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fares {
    Missing,
    Wrong,
    Right,
    NotJudged,
}

fn fares(asked: &Asked) -> Fares {
    match asked.data {
        Data::None | Data::Unread(_) => Fares::Missing,
        Data::Entry(_) if asked.wrong.iter().any(Option::is_some) => Fares::Wrong,
        Data::Entry(_) if asked.judged.iter().any(|judged| *judged) => Fares::Right,
        Data::Entry(_) => Fares::NotJudged,
    }
}

/// The three answers at every instruction of a function that ran.
pub(super) fn side_by_side(sites: &[(u64, Site)]) -> SideBySide {
    let position = |format: Format| FORMATS.iter().position(|other| *other == format).unwrap_or_default();
    let (sframe, dwarf) = (position(Format::SFrame), position(Format::Dwarf));
    let mut sums = SideBySide::default();
    for (_, site) in sites.iter().filter(|(_, site)| site.points > 0) {
        let (ours, cfi) = (&site.asked[sframe], &site.asked[dwarf]);
        let (by_sframe, by_dwarf) = (fares(ours), fares(cfi));
        let is_open = |fares: Fares| matches!(fares, Fares::NotJudged | Fares::Missing);
        let all_right = by_sframe == Fares::Right && by_dwarf == Fares::Right && site.frame_pointer == Some(true);
        let not_judged = site.frame_pointer.is_none() && is_open(by_sframe) && is_open(by_dwarf);
        let differ = matches!((ours.entry(), cfi.entry()), (Some(one), Some(other)) if one != other);
        sums = sums.plus(SideBySide {
            instructions: 1,
            all_right: usize::from(all_right),
            sframe_missing: usize::from(by_sframe == Fares::Missing),
            sframe_wrong: usize::from(by_sframe == Fares::Wrong),
            dwarf_missing: usize::from(by_dwarf == Fares::Missing),
            dwarf_wrong: usize::from(by_dwarf == Fares::Wrong),
            differ: usize::from(differ),
            fp_wrong: usize::from(site.frame_pointer == Some(false)),
            not_judged: usize::from(not_judged),
        });
    }
    sums
}

/// What the unwind data of a program cost.
pub(super) fn bytes(program: &Program) -> TableBytes {
    let unwind = &program.guest.unwind;
    let sum = |sections: &[crate::guest::LoadedSection]| sections.iter().map(|section| section.data.len()).sum();
    TableBytes {
        eh_frame: sum(&unwind.eh_frame),
        eh_frame_hdr: unwind.index_size,
        sframe: sum(&unwind.sframe),
        sframe_made: program.tables.made_size(),
    }
}
