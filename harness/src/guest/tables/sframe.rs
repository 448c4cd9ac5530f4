//! The SFrame sections of a guest's files as one table, each for the addresses of its file.

use std::ops::Range;

use kunwind::sframe::SFrameTable;
use kunwind::{Entry, Error, PauthKey, Table};

/// The sections, and what was made from CFI for files without one.
#[derive(Debug, Default)]
pub(super) struct SFrameTables {
    /// By the addresses of the files; nothing where the section could not be read.
    own: Vec<OfFile>,
    made: Option<SFrameTable<Vec<u8>>>,
}

/// The addresses of a file, and its section if that can be read.
type OfFile = (Range<u64>, Option<SFrameTable<Vec<u8>>>);

impl SFrameTables {
    /// One that was made from CFI.
    pub(super) const fn made(table: SFrameTable<Vec<u8>>) -> Self {
        Self { own: Vec::new(), made: Some(table) }
    }

    /// Adds the section of the file at these addresses.
    pub(super) fn add(&mut self, file: Range<u64>, table: Option<SFrameTable<Vec<u8>>>) {
        self.own.push((file, table));
    }

    /// The section that speaks of a pc.
    pub(super) fn at(&self, pc: u64) -> Option<&SFrameTable<Vec<u8>>> {
        let own = self.own.iter().find(|(file, _)| file.contains(&pc));
        own.map_or(self.made.as_ref(), |(_, table)| table.as_ref())
    }
}

impl Table for SFrameTables {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.at(pc).map_or(Ok(None), |table| table.entry(pc))
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.at(pc).map_or_else(PauthKey::default, |table| table.pauth_key(pc))
    }
}
