//! A section: its index, and the way from a pc to its row. Who asks, and why, is not known here.

use crate::row::Entry;

use super::bytes::Bytes;
use super::error::{Error, ErrorKind, Field};
use super::fde::{Fde, IndexEntry};
use super::format::MAGIC;
use super::header::Header;
use super::search::last_at_or_before;
use super::usual::Usual;

/// A section whose header makes sense. Functions and rows are read, and refused, when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SFrameSection<'a> {
    pub(super) bytes: Bytes<'a>,
    /// Its address. While that is unknown it is taken for 0, and addresses before it wrap around.
    pub(super) address: Option<u64>,
    pub(super) header: Header,
    /// For a usual section: its lookup in one go.
    usual: Option<Usual>,
}

impl<'a> SFrameSection<'a> {
    /// Reads the header of a section that lies at `address`. Bytes after what the header describes are ignored: linkers
    /// leave some (see [`SFrameSection::len`]).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Empty`] for a section without bytes, which is not corrupt. Otherwise the first rule that the header
    /// breaks.
    pub fn parse(data: &'a [u8], address: u64) -> Result<Self, Error> {
        Self::parse_at(data, Some(address))
    }

    /// Reads the header of a section whose address is not known: all addresses are distances from its start, and those
    /// of code before it wrap around.
    ///
    /// # Errors
    ///
    /// As [`SFrameSection::parse`].
    pub fn parse_unplaced(data: &'a [u8]) -> Result<Self, Error> {
        Self::parse_at(data, None)
    }

    fn parse_at(data: &'a [u8], address: Option<u64>) -> Result<Self, Error> {
        let header = Header::read(data)?;
        let mut first = None;
        header.check(data.len(), &mut |error| {
            first.get_or_insert(error);
        });
        let usual = address.and_then(|address| Usual::of(&header, address));
        first.map_or(Ok(Self { usual, ..Self::new(data, address, header) }), Err)
    }

    /// A section with a header that may break rules. Lookups take the general way.
    pub(super) const fn new(data: &'a [u8], address: Option<u64>, header: Header) -> Self {
        Self { bytes: Bytes { data, is_big_endian: header.is_big_endian }, address, header, usual: None }
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The address of the section; 0 where it is not known.
    #[must_use]
    pub const fn address(&self) -> u64 {
        match self.address {
            Some(address) => address,
            None => 0,
        }
    }

    /// A pc as starts are counted: one before a section at 0 is negative.
    fn exact(&self, pc: u64) -> i128 {
        if self.address.is_some() { pc.into() } else { (pc as i64).into() }
    }

    /// How many bytes the header describes: to the end of the index or of the rows, whichever is later.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there is always a header")]
    pub const fn len(&self) -> usize {
        let (index, rows) = (self.header.index_end(), self.header.rows_end());
        // Both are inside of a slice, so they fit.
        (if index > rows { index } else { rows }) as usize
    }

    /// Where the first byte after the header's data that is not zero lies, in bytes from the start of the section, and
    /// whether another section seems to begin there: a linker that does not merge sections concatenates them, and only
    /// the first can be reached.
    #[must_use]
    pub fn tail(&self) -> Option<(usize, bool)> {
        let end = self.len();
        let tail = self.bytes.data.get(end..)?;
        let nonzero = tail.iter().position(|byte| *byte != 0)?;
        let magic = [MAGIC.to_le_bytes(), MAGIC.to_be_bytes()];
        Some((end + nonzero, magic.iter().any(|magic| tail[nonzero..].starts_with(magic))))
    }

    /// The function at this place of the index.
    ///
    /// # Errors
    ///
    /// When the index is shorter, or the function breaks a rule without which its rows cannot be read.
    pub fn function(&self, index: u32) -> Result<Fde<'a>, Error> {
        let function = self.read_function(index)?;
        let mut first = None;
        function.check(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(function), Err)
    }

    /// The function as it is, if it is inside at all.
    #[inline]
    pub(super) fn read_function(&self, index: u32) -> Result<Fde<'a>, Error> {
        Fde::read(self.bytes, &self.header, self.address.is_some(), self.index_entry(index)?)
    }

    /// All functions, in the order of the index.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = Result<Fde<'a>, Error>> + use<'a> {
        let section = *self;
        // An iterator over u32 has no exact size where usize is shorter.
        (0..self.header.num_fdes as usize).map(move |index| section.function(index as u32))
    }

    /// The function that holds a pc: of the functions with a size that begin at or before it, the one that begins last.
    /// If several begin there, the first that holds the pc.
    ///
    /// # Errors
    ///
    /// When that function cannot be read.
    pub fn function_at(&self, pc: u64) -> Result<Option<Fde<'a>>, Error> {
        let pc = self.exact(pc);
        let found = if mutant!("sframe-unsorted-searched", self.header.is_sorted(), true) {
            self.search(pc)?
        } else {
            self.scan(pc)?
        };
        found.map(|entry| self.function(entry.index)).transpose()
    }

    /// What is known of a pc; `None` when no function holds it (a literal, padding, another section's code). The pc is
    /// taken as it is: for a return address, look up the byte before it.
    ///
    /// # Errors
    ///
    /// When its function, or a row of it up to the one for this pc, breaks a rule without which it cannot be read.
    #[inline]
    pub fn lookup(&self, pc: u64) -> Result<Option<Entry>, Error> {
        match self.usual.as_ref().and_then(|usual| usual.lookup(self.bytes.data, pc)) {
            Some(found) => Ok(found),
            None => self.lookup_any(pc),
        }
    }

    /// As [`SFrameSection::lookup`], the same way for every section. It is slower, and says what is wrong.
    ///
    /// # Errors
    ///
    /// As [`SFrameSection::lookup`].
    pub fn lookup_any(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.function_at(pc)?.map(|function| function.entry_at(pc)).transpose()
    }

    fn index_entry(&self, index: u32) -> Result<IndexEntry, Error> {
        if index >= self.header.num_fdes {
            return Err(Error::new(ErrorKind::OutOfBounds, Field::NumFdes, 8, index.into()));
        }
        IndexEntry::read(self.bytes, &self.header, self.address(), index)
    }

    /// Looks at every entry.
    fn scan(&self, pc: i128) -> Result<Option<IndexEntry>, Error> {
        let mut last: Option<i128> = None;
        let mut found = None;
        for index in 0..self.header.num_fdes {
            let entry = self.index_entry(index)?;
            if entry.size == 0 || entry.start > pc || last.is_some_and(|last| entry.start < last) {
                continue;
            }
            if last != Some(entry.start) {
                found = None;
            }
            last = Some(entry.start);
            if entry.contains(pc) {
                found = found.or(Some(entry));
            }
        }
        Ok(found)
    }

    /// Searches a sorted index. An index that is not sorted gives some entry or none, after the same number of steps.
    fn search(&self, pc: i128) -> Result<Option<IndexEntry>, Error> {
        let last_start = last_at_or_before(self.header.num_fdes as usize, |index| {
            let (_, start) = IndexEntry::start(self.bytes, &self.header, self.address(), index as u32)?;
            Ok(mutant!("sframe-search-excludes-start", start <= pc, start < pc))
        })?;
        // Functions without a size, and those that begin at the same address, stand side by side.
        let mut last = None;
        let mut found = None;
        for index in (0..self.header.num_fdes.min(last_start as u32 + 1)).rev() {
            let entry = self.index_entry(index)?;
            if mutant!("sframe-empty-function-found", entry.size == 0, false) {
                continue;
            }
            if last.is_some_and(|last| entry.start != last) {
                break;
            }
            last = Some(entry.start);
            if entry.contains(pc) {
                found = Some(entry);
            }
        }
        Ok(found)
    }
}
