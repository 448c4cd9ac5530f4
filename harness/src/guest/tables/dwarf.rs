//! CFI as a table, with the places of the pcs that were asked for last.

use std::num::NonZeroU64;

use kunwind::dwarf::{Cfi, CfiSection, CfiTable, CfiTrouble, TableFunction, TablePlace, TableRow};
use kunwind::{
    Entry, Error, Expression, Format, PauthKey, PcCache, PlainRow, Register, Regs, Rule, SavedWord, Slot, Table,
};

use super::{Unread, kept};

thread_local! {
    /// Where the pcs of the last walks are.
    static PLACES: PcCache<TablePlace> = const { PcCache::new() };
}

/// The rows of every function that CFI describes, by address.
#[derive(Debug)]
pub struct DwarfTable {
    table: CfiTable,
    number: NonZeroU64,
}

/// The name of a section.
const fn name(section: CfiSection) -> &'static str {
    match section {
        CfiSection::EhFrame => ".eh_frame",
        CfiSection::DebugFrame => ".debug_frame",
    }
}

/// As unread data. Where descriptions differ, none can be called the table's, so the code is unread, and no checker will call it right.
fn unread(trouble: CfiTrouble) -> Unread {
    let (range, reason) = match trouble {
        CfiTrouble::Unreadable(section, entry) => {
            (entry.range, format!("{}: the entry at offset {:#x}: {}", name(section), entry.fde, entry.reason))
        }
        CfiTrouble::Differ { range, second, sections: [one, other] } if one == other => {
            (Some(range), format!("{} describes the code at {second:#x} twice", name(one)))
        }
        CfiTrouble::Differ { range, second, sections: [one, other] } => {
            (Some(range), format!("{} and {} describe the code at {second:#x} differently", name(one), name(other)))
        }
    };
    Unread { format: Format::Dwarf, range, reason }
}

impl DwarfTable {
    /// Reads all sections. The second is what could not be read.
    pub(super) fn new(sections: &[Cfi<'_>]) -> (Self, Vec<Unread>) {
        let mut troubles = Vec::new();
        let table = CfiTable::new(sections, &mut |trouble| troubles.push(unread(trouble)));
        (Self { table, number: kept::number() }, troubles)
    }

    /// The functions, by address.
    pub(super) fn functions(&self) -> &[TableFunction] {
        self.table.functions()
    }

    /// The function that holds a pc, and its row there.
    fn at(&self, pc: u64) -> Option<(&TableFunction, Option<&TableRow>)> {
        let place = PLACES.with(|places| places.get(self.number, pc, || self.table.place(pc)));
        place.map(|place| self.table.at(place))
    }

    /// Why there is no row for a pc in a function, if there is none.
    #[must_use]
    pub fn reason(&self, pc: u64) -> Option<String> {
        let (function, row) = self.at(pc)?;
        match row {
            Some(row) => row.entry.err().map(|reason| format!("{}: {reason}", name(function.section))),
            None => Some(format!("{}: there is no row yet", name(function.section))),
        }
    }
}

impl Table for DwarfTable {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.at(pc).map_or(Ok(None), |(_, row)| TableRow::entry_at(row, pc))
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        let row = self.at(pc).and_then(|(_, row)| row);
        Some(row.map_or(&[], |row| &row.saved))
    }

    fn plain(&self, pc: u64) -> Option<PlainRow> {
        kept::plain(self.number, pc, &self.table)
    }

    fn saved_words(&self, list: u16) -> &[SavedWord] {
        self.table.saved_words(list)
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.at(pc).map_or(PauthKey::A, |(function, _)| function.key)
    }

    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        regs: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        self.table.expression(expression, cfa, regs, read)
    }
}
