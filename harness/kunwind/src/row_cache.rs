//! The rows for which tables were asked last, in the form in which a walk wants them.

use core::num::NonZeroU64;

use crate::cache::PcCache;
use crate::error::Error;
use crate::plain::{PlainRow, SavedWords};
use crate::row::Entry;
use crate::target::Table;

/// What tables said last: 512 plain rows, and as many of all answers. That is some 70 KB, however large the tables are.
///
/// As of a [`PcCache`], the owner gives each table a number of its own, and no table may change.
#[derive(Debug, Default)]
pub struct RowCache {
    plain: PcCache<PlainRow>,
    entries: PcCache<Result<Option<Entry>, Error>>,
}

impl RowCache {
    /// An empty cache.
    #[must_use]
    pub const fn new() -> Self {
        Self { plain: PcCache::new(), entries: PcCache::new() }
    }

    /// What [`Table::entry`] says.
    ///
    /// # Errors
    ///
    /// Those of the table.
    #[inline]
    pub fn entry(&self, number: NonZeroU64, pc: u64, table: &(impl Table + ?Sized)) -> Result<Option<Entry>, Error> {
        self.entries.get(number, pc, || Some(table.entry(pc))).unwrap_or(Ok(None))
    }

    /// For [`Table::plain`]: what the table says of that itself, or else its row, if it is a plain one and the table knows no registers
    /// besides the return address and the frame pointer.
    #[inline]
    pub fn plain(&self, number: NonZeroU64, pc: u64, table: &(impl Table + ?Sized)) -> Option<PlainRow> {
        let made = || match self.entry(number, pc, table) {
            Ok(Some(Entry::Row(row))) if table.saved(pc).is_none() => PlainRow::of(&row, SavedWords::Unknown),
            _ => None,
        };
        self.plain.get(number, pc, || table.plain(pc).or_else(made))
    }
}
