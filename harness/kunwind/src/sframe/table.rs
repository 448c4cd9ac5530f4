//! A section that is kept, with its header read once, as a [`Table`].

use super::error::Error;
use super::header::Header;
use super::section::SFrameSection;
use super::usual::Usual;
use crate::error::Error as WalkError;
use crate::row::{Entry, PauthKey};
use crate::target::Table;

/// A section as a table: it borrows or owns the bytes (`D` is `&[u8]`, `Vec<u8>`, ...) and keeps the header that was
/// read from them, so that a lookup begins with the index.
#[derive(Clone, Copy, Debug)]
pub struct SFrameTable<D> {
    data: D,
    address: u64,
    header: Header,
    usual: Option<Usual>,
}

impl<D: AsRef<[u8]>> SFrameTable<D> {
    /// Reads the header of a section that lies at `address`.
    ///
    /// # Errors
    ///
    /// As [`SFrameSection::parse`].
    pub fn parse(data: D, address: u64) -> Result<Self, Error> {
        let header = *SFrameSection::parse(data.as_ref(), address)?.header();
        Ok(Self { data, address, header, usual: Usual::of(&header, address) })
    }

    /// The section. [`SFrameSection::lookup`] says in full what [`WalkError::BadTable`] says in short.
    #[must_use]
    #[inline]
    pub fn section(&self) -> SFrameSection<'_> {
        SFrameSection::new(self.data.as_ref(), Some(self.address), self.header)
    }
}

impl<D: AsRef<[u8]>> Table for SFrameTable<D> {
    #[inline]
    fn entry(&self, pc: u64) -> Result<Option<Entry>, WalkError> {
        if let Some(found) = self.usual.as_ref().and_then(|usual| usual.lookup(self.data.as_ref(), pc)) {
            return Ok(found);
        }
        self.section().lookup(pc).map_err(|error| WalkError::BadTable { pc, offset: error.offset })
    }

    fn pauth_key(&self, pc: u64) -> PauthKey {
        self.section()
            .function_at(pc)
            .ok()
            .flatten()
            .and_then(|function| mutant!("sframe-key-a-always", function.pauth_key(), None))
            .unwrap_or_default()
    }
}
