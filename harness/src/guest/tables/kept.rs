//! Tables that are asked for the same few rows at every point: what they said last is kept, by each thread for itself.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use kunwind::{Entry, Error, PauthKey, PlainRow, RowCache, Table};

thread_local! {
    /// Of all tables together: its size bounds what is kept.
    static ROWS: RowCache = const { RowCache::new() };
}

/// A number that no other table has, or has had.
pub(super) fn number() -> NonZeroU64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    NonZeroU64::MIN.saturating_add(LAST.fetch_add(1, Ordering::Relaxed))
}

/// The row for a pc if it is a plain one, of a table with this number.
pub(super) fn plain(number: NonZeroU64, pc: u64, table: &impl Table) -> Option<PlainRow> {
    ROWS.with(|rows| rows.plain(number, pc, table))
}

/// A table with rows alone, whose last answers are kept. It is whole: nothing is added to it any more.
#[derive(Debug)]
pub(super) struct Kept<T> {
    table: T,
    number: NonZeroU64,
}

impl<T> Kept<T> {
    pub(super) fn new(table: T) -> Self {
        Self { table, number: number() }
    }

    /// The table itself.
    pub(super) const fn table(&self) -> &T {
        &self.table
    }
}

impl<T: Table> Table for Kept<T> {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        ROWS.with(|rows| rows.entry(self.number, pc, &self.table))
    }

    fn plain(&self, pc: u64) -> Option<PlainRow> {
        plain(self.number, pc, &self.table)
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.table.pauth_key(pc)
    }
}
