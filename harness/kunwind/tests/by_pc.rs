//! A table that is drawn row by row.

use std::collections::BTreeMap;

use kunwind::{Entry, Error, Table};

/// Rows by pc; other pcs are in no function.
pub(crate) struct Rows(pub(crate) BTreeMap<u64, Entry>);

impl Table for Rows {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        Ok(self.0.get(&pc).copied())
    }
}
