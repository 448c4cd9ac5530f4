//! CFI as a [`Table`]: the rows of all functions in all sections, read once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::cfi::{Cfi, CfiFunction, CfiRow, Unreadable};
use super::entry::CfiSection;
use super::expression::evaluate;
use super::kept_expressions::Expressions;
use super::storage::Storage;
use super::unsupported::Unsupported;
use crate::error::Error;
use crate::plain::{PlainRow, SavedWord, SavedWords};
use crate::regs::{Register, Regs};
use crate::row::{Entry, Expression, PauthKey, Rule, Slot};
use crate::target::Table;

/// The rows of every function that CFI describes, by address.
///
/// Each row takes some 130 bytes, and a section has no more rows than bytes.
#[derive(Debug, Default)]
pub struct CfiTable {
    functions: Vec<TableFunction>,
    expressions: Expressions,
    lists: Lists,
}

/// One function of a [`CfiTable`].
#[derive(Debug)]
pub struct TableFunction {
    /// The first address.
    pub start: u64,
    /// In bytes; not 0.
    pub size: u64,
    /// With which key return addresses are signed, where they are.
    pub key: PauthKey,
    /// Where it is described.
    pub section: CfiSection,
    /// By offset from the start.
    pub rows: Vec<TableRow>,
}

/// What holds from an offset on.
#[derive(Debug, PartialEq, Eq)]
pub struct TableRow {
    /// In bytes from the function's start.
    pub offset: u64,
    /// The CFA, the return address and the frame pointer; or why there is no such row.
    pub entry: Result<Entry, Unsupported>,
    /// The other registers.
    pub saved: Vec<(Register, Rule)>,
    /// All that as a plain row, if it is one.
    plain: Option<PlainRow>,
}

/// Where a pc is in a table: a function by its place, and how many of its rows begin at or before the pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePlace {
    function: u32,
    rows: u32,
}

/// What is wrong with sections of which a table is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CfiTrouble {
    /// An entry that is no part of the table.
    Unreadable(CfiSection, Unreadable),
    /// Two descriptions of the same code that differ. The table has the first.
    Differ {
        /// The first address and the size in bytes of both together.
        range: (u64, u64),
        /// Where the second begins.
        second: u64,
        /// Where each is.
        sections: [CfiSection; 2],
    },
}

/// Which registers rows restore: each list once. The first is empty.
#[derive(Debug)]
struct Lists {
    lists: Vec<Vec<SavedWord>>,
    known: BTreeMap<Vec<SavedWord>, u16>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { lists: alloc::vec![Vec::new()], known: BTreeMap::from([(Vec::new(), 0)]) }
    }
}

impl Lists {
    /// The number of the list with these rules; none if they are no list, or there are too many.
    fn keep(&mut self, rules: &[(Register, Rule)], sp: Register) -> Option<SavedWords> {
        let word = |(register, rule): &(Register, Rule)| SavedWord::of(*register, *rule).filter(|_| *register != sp);
        let list: Vec<SavedWord> = rules.iter().map(word).collect::<Option<_>>()?;
        if let Some(known) = self.known.get(&list) {
            return Some(SavedWords::List(*known));
        }
        let number = u16::try_from(self.lists.len()).ok().filter(|number| *number < SavedWords::MAX)?;
        self.lists.push(list.clone());
        self.known.insert(list, number);
        Some(SavedWords::List(number))
    }
}

impl CfiTable {
    /// Reads all sections. `see` is told what could not be read, and what is described twice and differs: the table has the first
    /// description then, so that a walk has something to go by, but it cannot be called right.
    pub fn new(sections: &[Cfi<'_>], see: &mut dyn FnMut(CfiTrouble)) -> Self {
        let mut storage = Storage::new();
        let mut table = Self::default();
        for cfi in sections {
            for function in cfi.functions() {
                match function {
                    // Left by a linker that has dropped the code: it covers nothing.
                    Ok(function) if function.size == 0 => {}
                    Ok(function) => {
                        let function = table.read(cfi, &function, &mut storage);
                        table.functions.push(function);
                    }
                    Err(entry) => see(CfiTrouble::Unreadable(cfi.section, entry)),
                }
            }
        }
        table.functions.sort_by_key(|function| function.start);
        table.merge(see);
        table
    }

    fn read(&mut self, cfi: &Cfi<'_>, function: &CfiFunction, storage: &mut Storage) -> TableFunction {
        let mut rows = Vec::new();
        let mut end = 0;
        let mut see = |covered: Range<u64>, row: &dyn CfiRow| {
            end = covered.end;
            let mut saved = Vec::new();
            row.each_saved(&mut |register, rule| {
                // A rule that has no meaning loses its register.
                saved.push((register, self.expressions.keep_rule(cfi.readable, rule.unwrap_or(Rule::Undefined))));
            });
            let entry = row.full_entry().map(|entry| self.expressions.keep_entry(cfi.readable, entry));
            let plain = match &entry {
                Ok(Entry::Row(row)) => {
                    self.lists.keep(&saved, cfi.columns.sp).and_then(|saved| PlainRow::of(row, saved))
                }
                _ => None,
            };
            rows.push(TableRow { offset: covered.start, entry, saved, plain });
        };
        // What was read stands up to where the program cannot be understood any more.
        if let Err(reason) = cfi.each_full_row(function, storage, &mut see) {
            rows.push(TableRow { offset: end, entry: Err(reason), saved: Vec::new(), plain: None });
        }
        let key = if function.b_key { PauthKey::B } else { PauthKey::A };
        TableFunction { start: function.start, size: function.size, key, section: cfi.section, rows }
    }

    /// Keeps the first of several descriptions of the same code.
    fn merge(&mut self, see: &mut dyn FnMut(CfiTrouble)) {
        let mut merged: Vec<TableFunction> = Vec::with_capacity(self.functions.len());
        for next in core::mem::take(&mut self.functions) {
            let overlapped = merged.last().filter(|last| next.start - last.start < last.size);
            let Some(last) = overlapped else {
                merged.push(next);
                continue;
            };
            if (last.start, last.size, last.key, &last.rows) == (next.start, next.size, next.key, &next.rows) {
                continue;
            }
            let end = (last.start + last.size).max(next.start + next.size);
            let range = (last.start, end - last.start);
            see(CfiTrouble::Differ { range, second: next.start, sections: [last.section, next.section] });
        }
        self.functions = merged;
    }

    /// The functions, by address. None overlaps another.
    #[must_use]
    pub fn functions(&self) -> &[TableFunction] {
        &self.functions
    }

    /// Where a pc is, if it is in a function.
    #[must_use]
    pub fn place(&self, pc: u64) -> Option<TablePlace> {
        let last = self.functions.partition_point(|function| function.start <= pc).checked_sub(1)?;
        let function = &self.functions[last];
        let offset = pc - function.start;
        let rows = function.rows.partition_point(|row| row.offset <= offset);
        // No section has 2^32 entries, and no program 2^32 rows.
        (offset < function.size).then_some(TablePlace { function: last as u32, rows: rows as u32 })
    }

    /// The function at a place, and its row there if there is one yet.
    ///
    /// # Panics
    ///
    /// If the place is another table's.
    #[must_use]
    pub fn at(&self, place: TablePlace) -> (&TableFunction, Option<&TableRow>) {
        let function = &self.functions[place.function as usize];
        (function, function.rows[..place.rows as usize].last())
    }

    fn row(&self, pc: u64) -> Option<&TableRow> {
        self.at(self.place(pc)?).1
    }
}

impl TableRow {
    /// What [`Table::entry`] says where this row is the last one up to a pc.
    ///
    /// # Errors
    ///
    /// [`Error::Unrepresentable`] when it says something that has no meaning.
    #[inline]
    pub fn entry_at(row: Option<&Self>, pc: u64) -> Result<Option<Entry>, Error> {
        row.map_or(Ok(Entry::NoRow { signal: false }), |row| row.entry.map_err(|_| Error::Unrepresentable(pc)))
            .map(Some)
    }
}

impl Table for CfiTable {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.place(pc).map_or(Ok(None), |place| TableRow::entry_at(self.at(place).1, pc))
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        Some(self.row(pc).map_or(&[], |row| &row.saved))
    }

    fn plain(&self, pc: u64) -> Option<PlainRow> {
        self.row(pc)?.plain
    }

    fn saved_words(&self, list: u16) -> &[SavedWord] {
        self.lists.lists.get(usize::from(list)).map_or(&[], |list| list)
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.place(pc).map_or(PauthKey::A, |place| self.at(place).0.key)
    }

    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        evaluate(self.expressions.get(expression).ok_or(Error::BadExpression)?, false, cfa, regs, read)
    }
}
