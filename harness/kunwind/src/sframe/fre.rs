//! Rows as they stand in the section: where each begins, and its words. What the words mean is not known here.

use super::bytes::Bytes;
use super::error::{Error, ErrorKind, Field};
use super::format::FdeInfo;
use super::header::Header;

/// The rows of one function, which are read one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) bytes: Bytes<'a>,
    pub(super) header: Header,
    pub(super) info: FdeInfo,
    /// Where the first one is, in bytes from the start of the section.
    pub(super) first: usize,
    pub(super) count: u32,
}

/// A row (FRE, "frame row entry"): where it starts, and its words.
///
/// ```text
///  | start: 1, 2 or 4 bytes | info: 1 byte | word_count() words of word_size() bytes |
///
///  info   bit 7          6 .. 5      4 .. 1       0
///         mangled_ra_p   word size   word count   base of the CFA: 0 FP, 1 SP
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fre<'a> {
    pub(super) rows: &'a Rows<'a>,
    offset: usize,
    start: u32,
    pub(super) info: u8,
    words: usize,
}

impl Fre<'_> {
    /// Where it is, in bytes from the start of the section.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The first pc that it holds for, in bytes from the start of its function, or of the block that repeats.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// The number of its words; 0 says that the function is the outermost.
    #[must_use]
    pub const fn word_count(&self) -> usize {
        (self.info >> 1 & 0xf) as usize
    }

    /// The size of its words, in bytes.
    #[must_use]
    pub const fn word_size(&self) -> usize {
        1 << (self.info >> 5 & 3)
    }

    /// Whether its CFA is based on SP, and otherwise on FP. It has no meaning in a flexible row.
    #[must_use]
    pub const fn is_sp_based(&self) -> bool {
        self.info & 1 != 0
    }

    /// Whether the return address carries an authentication code.
    #[must_use]
    pub const fn is_mangled_ra(&self) -> bool {
        self.info & 0x80 != 0 && self.rows.header.abi.has_pauth()
    }

    /// A word, without a sign; `None` after the last.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<u64> {
        if index >= self.word_count() {
            return None;
        }
        self.rows.bytes.unsigned(self.word_offset(index), self.word_size())
    }

    pub(super) const fn word_offset(&self, index: usize) -> usize {
        self.words + index * self.word_size()
    }

    pub(super) const fn info_offset(&self) -> usize {
        self.words - 1
    }

    pub(super) const fn out_of_order(&self) -> Error {
        Error::new(ErrorKind::FreOrder, Field::FreStart, self.offset, self.start as u64)
    }
}

/// The rows of a function, in their order.
#[derive(Clone, Debug)]
pub struct Fres<'a> {
    rows: &'a Rows<'a>,
    next: usize,
    left: u32,
}

impl<'a> Fres<'a> {
    pub(super) const fn new(rows: &'a Rows<'a>) -> Self {
        Self { rows, next: rows.first, left: rows.count }
    }

    fn read(&mut self) -> Result<Fre<'a>, Error> {
        use ErrorKind::{BadDatawordSize, OutOfBounds};
        let rows = self.rows;
        let (offset, address_size) = (self.next, rows.info.row_address_size());
        let outside = |field, offset: usize, value| Error::new(OutOfBounds, field, offset, value);
        let info_offset = offset + address_size;
        let end = rows.header.rows_end();
        if info_offset as u64 + 1 > end {
            return Err(outside(Field::FreStart, offset, end));
        }
        let start = rows.bytes.unsigned(offset, address_size).ok_or(outside(Field::FreStart, offset, end))?;
        let info = rows.bytes.u8(info_offset).ok_or(outside(Field::FreInfo, info_offset, end))?;
        let fre = Fre { rows, offset, start: start as u32, info, words: info_offset + 1 };
        if info >> 5 & 3 == 3 {
            return Err(Error::new(BadDatawordSize, Field::FreInfo, info_offset, info.into()));
        }
        self.next = fre.word_offset(fre.word_count());
        if self.next as u64 > end {
            return Err(outside(Field::DataWords, fre.words, fre.word_count() as u64));
        }
        Ok(fre)
    }
}

impl<'a> Iterator for Fres<'a> {
    type Item = Result<Fre<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let fre = self.read();
        if fre.is_err() {
            self.left = 0;
        }
        Some(fre)
    }
}

impl core::iter::FusedIterator for Fres<'_> {}
