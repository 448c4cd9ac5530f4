//! CFI as a table: the rows of all functions in all sections, read once.

use std::ops::Range;

use kunwind::dwarf::{Cfi, CfiFunction, CfiRow, Storage, Unsupported, evaluate};
use kunwind::{Entry, Error as WalkError, Expression, Format, PauthKey, Register, Regs, Rule, Slot, Table};

use super::Unread;

/// The rows of every function that CFI describes, by address.
#[derive(Debug)]
pub struct DwarfTable {
    functions: Vec<Rows>,
    /// All sections, one after another: the rules' expressions lie in them.
    bytes: Vec<u8>,
}

/// One function.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) start: u64,
    pub(super) size: u64,
    key: PauthKey,
    section: &'static str,
    /// By offset from the start.
    pub(super) rows: Vec<Row>,
}

/// What holds from an offset on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) offset: u64,
    entry: Result<Entry, Unsupported>,
    saved: Vec<(Register, Rule)>,
}

impl Rows {
    fn read(name: &'static str, cfi: &Cfi<'_>, function: &CfiFunction, base: u32, storage: &mut Storage) -> Self {
        let mut rows = Vec::new();
        let mut end = 0;
        let mut see = |covered: Range<u64>, row: &dyn CfiRow| {
            end = covered.end;
            let mut saved = Vec::new();
            row.each_saved(&mut |register, rule| {
                // A rule that has no meaning loses its register.
                saved.push((register, moved_rule(rule.unwrap_or(Rule::Undefined), base)));
            });
            rows.push(Row { offset: covered.start, entry: row.full_entry().map(|entry| moved(entry, base)), saved });
        };
        // What was read stands up to where the program cannot be understood any more.
        if let Err(reason) = cfi.each_full_row(function, storage, &mut see) {
            rows.push(Row { offset: end, entry: Err(reason), saved: Vec::new() });
        }
        let key = if function.b_key { PauthKey::B } else { PauthKey::A };
        Self { start: function.start, size: function.size, key, section: name, rows }
    }

    fn row_at(&self, pc: u64) -> Option<&Row> {
        let after = self.rows.partition_point(|row| row.offset <= pc - self.start);
        self.rows[..after].last()
    }
}

/// A rule of a section whose bytes begin at `base` among those of all sections.
const fn moved_rule(rule: Rule, base: u32) -> Rule {
    match rule {
        Rule::Expression(at) => Rule::Expression(moved_expression(at, base)),
        Rule::ValExpression(at) => Rule::ValExpression(moved_expression(at, base)),
        rule => rule,
    }
}

const fn moved_expression(at: Expression, base: u32) -> Expression {
    Expression { offset: at.offset.wrapping_add(base), length: at.length }
}

fn moved(entry: Entry, base: u32) -> Entry {
    let Entry::Row(mut row) = entry else { return entry };
    if let kunwind::CfaRule::Expression(at) = row.cfa {
        row.cfa = kunwind::CfaRule::Expression(moved_expression(at, base));
    }
    row.ra = moved_rule(row.ra, base);
    row.fp = moved_rule(row.fp, base);
    Entry::Row(row)
}

impl DwarfTable {
    /// Reads all sections, each with its name. Where two describe a function in the same way, one of them counts; where they
    /// differ, neither can be called the table's, so the function is unread. `unread` takes what could not be read.
    pub(super) fn new(sections: &[(&'static str, Cfi<'_>)], unread: &mut Vec<Unread>) -> Self {
        let mut storage = Storage::new();
        let mut table = Self { functions: Vec::new(), bytes: Vec::new() };
        for (name, cfi) in sections {
            let base = u32::try_from(table.bytes.len()).unwrap_or(u32::MAX);
            table.bytes.extend_from_slice(cfi.readable);
            for function in cfi.functions() {
                match function {
                    // Left by a linker that has dropped the code: it covers nothing.
                    Ok(function) if function.size == 0 => {}
                    Ok(function) => table.functions.push(Rows::read(name, cfi, &function, base, &mut storage)),
                    Err(entry) => unread.push(Unread {
                        format: Format::Dwarf,
                        range: entry.range,
                        reason: format!("{name}: the entry at offset {:#x}: {}", entry.fde, entry.reason),
                    }),
                }
            }
        }
        table.functions.sort_by_key(|function| function.start);
        table.merge(unread);
        table
    }

    /// Keeps one of several equal descriptions of the same code, and none of those that differ.
    fn merge(&mut self, unread: &mut Vec<Unread>) {
        let mut merged: Vec<Rows> = Vec::with_capacity(self.functions.len());
        for next in std::mem::take(&mut self.functions) {
            let overlapped = merged.last().filter(|last| next.start - last.start < last.size);
            let Some(last) = overlapped else {
                merged.push(next);
                continue;
            };
            let is_same = (last.start, last.size, last.key) == (next.start, next.size, next.key);
            if is_same && self.same_rows(last, &next) {
                continue;
            }
            let reason = if last.section == next.section {
                format!("{} describes the code at {:#x} twice", last.section, next.start)
            } else {
                format!("{} and {} describe the code at {:#x} differently", last.section, next.section, next.start)
            };
            let end = (last.start + last.size).max(next.start + next.size);
            unread.push(Unread { format: Format::Dwarf, range: Some((last.start, end - last.start)), reason });
            // It stays, so that the walk has something to go by; the checker will not call it right.
        }
        self.functions = merged;
    }

    fn same_rows(&self, left: &Rows, right: &Rows) -> bool {
        let same = |left: Rule, right: Rule| match (left, right) {
            (Rule::Expression(left), Rule::Expression(right))
            | (Rule::ValExpression(left), Rule::ValExpression(right)) => self.bytes_of(left) == self.bytes_of(right),
            (left, right) => left == right,
        };
        let same_entry = |left: &Entry, right: &Entry| match (left, right) {
            (Entry::Row(left), Entry::Row(right)) => {
                let cfa = match (left.cfa, right.cfa) {
                    (kunwind::CfaRule::Expression(left), kunwind::CfaRule::Expression(right)) => {
                        self.bytes_of(left) == self.bytes_of(right)
                    }
                    (left, right) => left == right,
                };
                cfa && same(left.ra, right.ra) && same(left.fp, right.fp) && left.mangled_ra == right.mangled_ra
            }
            (left, right) => left == right,
        };
        left.rows.len() == right.rows.len()
            && left.rows.iter().zip(&right.rows).all(|(left, right)| {
                left.offset == right.offset
                    && left.saved.len() == right.saved.len()
                    && left.saved.iter().zip(&right.saved).all(|(l, r)| l.0 == r.0 && same(l.1, r.1))
                    && match (&left.entry, &right.entry) {
                        (Ok(left), Ok(right)) => same_entry(left, right),
                        (left, right) => left == right,
                    }
            })
    }

    /// The functions, by address.
    pub(super) fn functions(&self) -> &[Rows] {
        &self.functions
    }

    fn bytes_of(&self, expression: Expression) -> Option<&[u8]> {
        let start = expression.offset as usize;
        self.bytes.get(start..start.checked_add(expression.length as usize)?)
    }

    fn function_at(&self, pc: u64) -> Option<&Rows> {
        let after = self.functions.partition_point(|function| function.start <= pc);
        self.functions[..after].last().filter(|function| pc - function.start < function.size)
    }

    /// Why there is no row for a pc in a function, if there is none.
    #[must_use]
    pub fn reason(&self, pc: u64) -> Option<String> {
        let function = self.function_at(pc)?;
        match function.row_at(pc) {
            Some(row) => row.entry.err().map(|reason| format!("{}: {reason}", function.section)),
            None => Some(format!("{}: there is no row yet", function.section)),
        }
    }
}

impl Table for DwarfTable {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, WalkError> {
        let Some(function) = self.function_at(pc) else { return Ok(None) };
        match function.row_at(pc) {
            Some(row) => row.entry.map(Some).map_err(|_| WalkError::Unrepresentable(pc)),
            None => Ok(Some(Entry::NoRow { signal: false })),
        }
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        let row = self.function_at(pc).and_then(|function| function.row_at(pc));
        Some(row.map_or(&[], |row| &row.saved))
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.function_at(pc).map_or(PauthKey::A, |function| function.key)
    }

    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, WalkError>,
    ) -> Result<u64, WalkError> {
        let bytes = self.bytes_of(expression).ok_or(WalkError::BadExpression)?;
        evaluate(bytes, false, cfa, regs, read)
    }
}
