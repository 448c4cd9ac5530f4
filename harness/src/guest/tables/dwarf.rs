//! CFI as a table: the rows of all functions in all sections, read once.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;

use kunwind::dwarf::{Cfi, CfiFunction, CfiRow, Storage, Unsupported, evaluate};
use kunwind::{
    CfaRule, Entry, Error as WalkError, Expression, Format, PauthKey, PcCache, Register, Regs, Rule, Slot, Table,
};

use super::{Unread, kept};

/// A function by its place, and how many of its rows begin at or before a pc.
type Place = (u32, u32);

thread_local! {
    /// Where the pcs of the last walks are.
    static PLACES: PcCache<Place> = const { PcCache::new() };
}

/// The rows of every function that CFI describes, by address.
#[derive(Debug)]
pub struct DwarfTable {
    functions: Vec<Rows>,
    expressions: Expressions,
    number: NonZeroU64,
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
    fn read(
        name: &'static str,
        cfi: &Cfi<'_>,
        function: &CfiFunction,
        expressions: &mut Expressions,
        storage: &mut Storage,
    ) -> Self {
        let mut rows = Vec::new();
        let mut end = 0;
        let mut see = |covered: Range<u64>, row: &dyn CfiRow| {
            end = covered.end;
            let mut saved = Vec::new();
            row.each_saved(&mut |register, rule| {
                // A rule that has no meaning loses its register.
                saved.push((register, expressions.keep_rule(cfi.readable, rule.unwrap_or(Rule::Undefined))));
            });
            let entry = row.full_entry().map(|entry| expressions.keep_entry(cfi.readable, entry));
            rows.push(Row { offset: covered.start, entry, saved });
        };
        // What was read stands up to where the program cannot be understood any more.
        if let Err(reason) = cfi.each_full_row(function, storage, &mut see) {
            rows.push(Row { offset: end, entry: Err(reason), saved: Vec::new() });
        }
        let key = if function.b_key { PauthKey::B } else { PauthKey::A };
        Self { start: function.start, size: function.size, key, section: name, rows }
    }

    fn rows_to(&self, pc: u64) -> usize {
        self.rows.partition_point(|row| row.offset <= pc - self.start)
    }
}

/// The expressions in the rules of all sections, each kept once: equal rows name equal places.
#[derive(Debug, Default)]
struct Expressions {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, Expression>,
}

impl Expressions {
    /// The place that an expression of a section has here. One that reaches beyond its section stays unreadable.
    fn keep(&mut self, section: &[u8], at: Expression) -> Expression {
        let start = at.offset as usize;
        let Some(bytes) = section.get(start..start.saturating_add(at.length as usize)) else {
            return Expression { offset: u32::MAX, length: at.length };
        };
        if let Some(known) = self.known.get(bytes) {
            return *known;
        }
        let place = Expression { offset: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), length: at.length };
        self.bytes.extend_from_slice(bytes);
        self.known.insert(bytes.to_vec(), place);
        place
    }

    fn keep_rule(&mut self, section: &[u8], rule: Rule) -> Rule {
        match rule {
            Rule::Expression(at) => Rule::Expression(self.keep(section, at)),
            Rule::ValExpression(at) => Rule::ValExpression(self.keep(section, at)),
            rule => rule,
        }
    }

    fn keep_entry(&mut self, section: &[u8], entry: Entry) -> Entry {
        let Entry::Row(mut row) = entry else { return entry };
        if let CfaRule::Expression(at) = row.cfa {
            row.cfa = CfaRule::Expression(self.keep(section, at));
        }
        row.ra = self.keep_rule(section, row.ra);
        row.fp = self.keep_rule(section, row.fp);
        Entry::Row(row)
    }

    fn get(&self, at: Expression) -> Option<&[u8]> {
        let start = at.offset as usize;
        self.bytes.get(start..start.checked_add(at.length as usize)?)
    }
}

impl DwarfTable {
    /// Reads all sections, each with its name. `unread` takes what could not be read.
    pub(super) fn new(sections: &[(&'static str, Cfi<'_>)], unread: &mut Vec<Unread>) -> Self {
        let mut storage = Storage::new();
        let mut table = Self { functions: Vec::new(), expressions: Expressions::default(), number: kept::number() };
        for (name, cfi) in sections {
            for function in cfi.functions() {
                match function {
                    // Left by a linker that has dropped the code: it covers nothing.
                    Ok(function) if function.size == 0 => {}
                    Ok(function) => {
                        let rows = Rows::read(name, cfi, &function, &mut table.expressions, &mut storage);
                        table.functions.push(rows);
                    }
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

    /// Keeps one of several descriptions of the same code: the first, so that a walk has something to go by. Where they differ,
    /// none can be called the table's, so the code is unread, and no checker will call it right.
    fn merge(&mut self, unread: &mut Vec<Unread>) {
        let mut merged: Vec<Rows> = Vec::with_capacity(self.functions.len());
        for next in std::mem::take(&mut self.functions) {
            let overlapped = merged.last().filter(|last| next.start - last.start < last.size);
            let Some(last) = overlapped else {
                merged.push(next);
                continue;
            };
            if (last.start, last.size, last.key, &last.rows) == (next.start, next.size, next.key, &next.rows) {
                continue;
            }
            let reason = if last.section == next.section {
                format!("{} describes the code at {:#x} twice", last.section, next.start)
            } else {
                format!("{} and {} describe the code at {:#x} differently", last.section, next.section, next.start)
            };
            let end = (last.start + last.size).max(next.start + next.size);
            unread.push(Unread { format: Format::Dwarf, range: Some((last.start, end - last.start)), reason });
        }
        self.functions = merged;
    }

    /// The functions, by address.
    pub(super) fn functions(&self) -> &[Rows] {
        &self.functions
    }

    /// The function that holds a pc, and its row there.
    fn at(&self, pc: u64) -> Option<(&Rows, Option<&Row>)> {
        let place = PLACES.with(|places| places.get(self.number, pc, || self.place(pc)));
        let (function, rows) = place?;
        let function = &self.functions[function as usize];
        Some((function, function.rows[..rows as usize].last()))
    }

    fn place(&self, pc: u64) -> Option<Place> {
        let last = self.functions.partition_point(|function| function.start <= pc).checked_sub(1)?;
        let function = &self.functions[last];
        // No section has 2^32 entries, and no program 2^32 rows.
        (pc - function.start < function.size).then(|| (last as u32, function.rows_to(pc) as u32))
    }

    /// Why there is no row for a pc in a function, if there is none.
    #[must_use]
    pub fn reason(&self, pc: u64) -> Option<String> {
        let (function, row) = self.at(pc)?;
        match row {
            Some(row) => row.entry.err().map(|reason| format!("{}: {reason}", function.section)),
            None => Some(format!("{}: there is no row yet", function.section)),
        }
    }
}

impl Table for DwarfTable {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, WalkError> {
        let Some((_, row)) = self.at(pc) else { return Ok(None) };
        match row {
            Some(row) => row.entry.map(Some).map_err(|_| WalkError::Unrepresentable(pc)),
            None => Ok(Some(Entry::NoRow { signal: false })),
        }
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        let row = self.at(pc).and_then(|(_, row)| row);
        Some(row.map_or(&[], |row| &row.saved))
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.at(pc).map_or(PauthKey::A, |(function, _)| function.key)
    }

    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, WalkError>,
    ) -> Result<u64, WalkError> {
        let bytes = self.expressions.get(expression).ok_or(WalkError::BadExpression)?;
        evaluate(bytes, false, cfa, regs, read)
    }
}
