//! Functions: their entries in the index, their attributes, and the way to their rows.

use crate::row::{Entry, PauthKey};

use super::bytes::Bytes;
use super::error::{Error, ErrorKind, Field};
use super::format::{FDE_ATTRIBUTE_SIZE, FdeInfo, FdeType, PcType, Version};
use super::fre::{Fre, Fres, Rows};
use super::header::Header;

/// What the index says of a function, without its attribute: enough to search.
///
/// ```text
///  version 3   0 func_start_offset: i64   8 func_size: u32   12 func_start_fre_off: u32
///  version 2   0 func_start_offset: i32   4 func_size: u32    8 func_start_fre_off: u32   12 the attribute
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexEntry {
    pub(super) index: u32,
    /// Where it is in the section.
    offset: usize,
    /// Its address, exactly: a corrupt one may be outside 64 bits.
    pub(super) start: i128,
    pub(super) size: u32,
    fre_offset: u32,
}

impl IndexEntry {
    /// Reads an entry of a section that lies at `address`; `index` is below the number of functions.
    pub(super) fn read(bytes: Bytes<'_>, header: &Header, address: u64, index: u32) -> Result<Self, Error> {
        let (offset, start) = Self::start(bytes, header, address, index)?;
        let outside = Error::new(ErrorKind::OutOfBounds, Field::NumFdes, 8, header.num_fdes.into());
        let after_start = offset + header.version.start_size();
        let size = bytes.u32(after_start).ok_or(outside)?;
        let fre_offset = bytes.u32(after_start + 4).ok_or(outside)?;
        Ok(Self { index, offset, start, size, fre_offset })
    }

    /// Where the entry is, and the address of its function: all that a search needs.
    #[inline]
    pub(super) fn start(bytes: Bytes<'_>, header: &Header, address: u64, index: u32) -> Result<(usize, i128), Error> {
        let outside = Error::new(ErrorKind::OutOfBounds, Field::NumFdes, 8, header.num_fdes.into());
        let offset = header.index_start() + u64::from(index) * header.version.fde_size() as u64;
        let offset = usize::try_from(offset).map_err(|_| outside)?;
        let start = bytes.signed(offset, header.version.start_size()).ok_or(outside)?;
        let anchor = i128::from(address)
            + if mutant!("sframe-start-from-section", header.is_pcrel(), false) { offset as i128 } else { 0 };
        Ok((offset, anchor + i128::from(start)))
    }

    #[inline]
    pub(super) fn contains(&self, pc: i128) -> bool {
        (self.start..self.start + mutant!("sframe-end-included", i128::from(self.size), i128::from(self.size) + 1))
            .contains(&pc)
    }
}

/// A function (FDE, "function descriptor entry"), with its attribute:
///
/// ```text
///  version 3, before the rows   0 num_fres: u16   2 func_info: u8   3 func_info2: u8   4 rep_size: u8
///  version 2, in the index      0 num_fres: u32   4 func_info: u8   5 rep_size: u8     6 padding: u16
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fde<'a> {
    pub(super) entry: IndexEntry,
    /// Where the attribute is.
    pub(super) attribute: usize,
    pub(super) rows: Rows<'a>,
    pub(super) rep_size: u8,
    /// Only version 2 has any.
    pub(super) padding: u16,
    /// Whether it is known where the section lies, so that starts are addresses.
    is_placed: bool,
}

impl<'a> Fde<'a> {
    /// Reads a function, and refuses only what is not inside.
    #[inline]
    pub(super) fn read(bytes: Bytes<'a>, header: &Header, is_placed: bool, entry: IndexEntry) -> Result<Self, Error> {
        let version = header.version;
        let rows = header.rows_start() + u64::from(entry.fre_offset);
        let offset_of_field = entry.offset + version.fde_size() - if version == Version::V3 { 4 } else { 12 };
        let outside =
            Error::new(ErrorKind::OutOfBounds, Field::FuncStartFreOffset, offset_of_field, entry.fre_offset.into());
        let start = usize::try_from(rows).map_err(|_| outside)?;
        let read = |offset, size| bytes.unsigned(offset, size).ok_or(outside);
        let before_rows = if version == Version::V3 { FDE_ATTRIBUTE_SIZE } else { 0 };
        if rows + before_rows as u64 > header.rows_end() {
            return Err(outside);
        }
        let first = start + before_rows;
        // The sizes are written out for each version: reads of a size that is known are cheap.
        let (attribute, count, info, info2, rep_size, padding) = match version {
            Version::V2 => {
                let at = entry.offset + 12;
                (at, read(at, 4)?, read(at + 4, 1)?, 0, read(at + 5, 1)?, read(at + 6, 2)?)
            }
            Version::V3 => (start, read(start, 2)?, read(start + 2, 1)?, read(start + 3, 1)?, read(start + 4, 1)?, 0),
        };
        let (info, count) = (FdeInfo { version, info: info as u8, info2: info2 as u8 }, count as u32);
        let rows = Rows { bytes, header: *header, info, first, count };
        Ok(Self { entry, attribute, rows, rep_size: rep_size as u8, padding: padding as u16, is_placed })
    }

    /// Reports what keeps the function or its rows from being understood.
    pub(super) fn check(&self, report: &mut dyn FnMut(Error)) {
        use ErrorKind::{AddressOverflow, BadFreType, BadRepSize, OutOfBounds, UnsupportedFdeType};
        let info = self.rows.info;
        let end = self.entry.start + i128::from(self.entry.size);
        let limits = if self.is_placed { 0..=1 << 64 } else { i64::MIN.into()..=1 << 63 };
        if !limits.contains(&self.entry.start) || !limits.contains(&end) {
            report(Error::new(AddressOverflow, Field::FuncStart, self.entry.offset, self.entry.start as u64));
        }
        if info.has_fre_type() {
            // Each row takes its start and an info byte at least.
            let least = u64::from(self.rows.count) * (info.row_address_size() as u64 + 1);
            if self.rows.first as u64 + least > self.rows.header.rows_end() {
                report(Error::new(OutOfBounds, Field::FuncNumFres, self.attribute, self.rows.count.into()));
            }
        } else {
            report(Error::new(BadFreType, Field::FuncInfo, self.info_offset(), info.info.into()));
        }
        if !info.has_fde_type() {
            report(Error::new(UnsupportedFdeType, Field::FuncInfo2, self.info_offset() + 1, info.info2.into()));
        }
        if self.pc_type() == PcType::Mask && self.rep_size == 0 {
            report(Error::new(BadRepSize, Field::RepSize, self.rep_size_offset(), 0));
        }
    }

    /// Where its entry of the index is, in bytes from the start of the section.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.entry.offset
    }

    pub(super) const fn size_offset(&self) -> usize {
        self.entry.offset + self.rows.header.version.start_size()
    }

    pub(super) const fn info_offset(&self) -> usize {
        self.attribute + if matches!(self.rows.header.version, Version::V2) { 4 } else { 2 }
    }

    pub(super) const fn rep_size_offset(&self) -> usize {
        self.info_offset() + if matches!(self.rows.header.version, Version::V2) { 1 } else { 2 }
    }

    /// Its place in the index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.entry.index
    }

    /// Its address.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.entry.start as u64
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.entry.size
    }

    /// The number of rows that it claims to have.
    #[must_use]
    pub const fn num_fres(&self) -> u32 {
        self.rows.count
    }

    /// The size of its rows' start addresses, in bytes.
    #[must_use]
    pub const fn row_address_size(&self) -> usize {
        self.rows.info.row_address_size()
    }

    /// How a row is chosen.
    #[must_use]
    pub const fn pc_type(&self) -> PcType {
        self.rows.info.pc_type()
    }

    /// What its rows are made of.
    #[must_use]
    pub const fn fde_type(&self) -> FdeType {
        self.rows.info.fde_type()
    }

    /// The key that signs its return addresses, where the ABI signs any.
    #[must_use]
    pub const fn pauth_key(&self) -> Option<PauthKey> {
        self.rows.info.pauth_key(self.rows.header.abi)
    }

    /// Whether its frame is that of a signal or an exception. Version 2 cannot say so.
    #[must_use]
    pub const fn is_signal(&self) -> bool {
        self.rows.info.is_signal()
    }

    /// The size in bytes of the block that repeats; 0 where none does.
    #[must_use]
    pub const fn rep_size(&self) -> u8 {
        self.rep_size
    }

    /// Its rows, in their order; after an error there is no next one.
    #[must_use]
    pub const fn fres(&self) -> Fres<'_> {
        Fres::new(&self.rows)
    }

    /// The row for a pc in this function: the last that starts at or before it.
    ///
    /// # Errors
    ///
    /// When a row up to there cannot be read or starts no later than the one before it.
    pub fn fre_at(&self, pc: u64) -> Result<Option<Fre<'_>>, Error> {
        let mut key = pc.wrapping_sub(self.start());
        if mutant!("sframe-block-does-not-repeat", self.pc_type() == PcType::Mask, false) {
            let unknown = Error::new(ErrorKind::BadRepSize, Field::RepSize, self.rep_size_offset(), 0);
            key = key.checked_rem(self.rep_size.into()).ok_or(unknown)?;
        }
        let mut found: Option<Fre<'_>> = None;
        for fre in self.fres() {
            let fre = fre?;
            if found.is_some_and(|before| mutant!("sframe-rows-unordered", before.start() >= fre.start(), false)) {
                return Err(fre.out_of_order());
            }
            if mutant!("sframe-row-start-excluded", u64::from(fre.start()) > key, u64::from(fre.start()) >= key) {
                break;
            }
            found = Some(fre);
        }
        Ok(found)
    }

    /// What is known of a pc in this function.
    ///
    /// # Errors
    ///
    /// As of [`Fde::fre_at`], and when the row's words make no rules.
    pub fn entry_at(&self, pc: u64) -> Result<Entry, Error> {
        self.fre_at(pc)?.map_or(
            Ok(mutant!("sframe-no-row-is-end", Entry::NoRow { signal: self.is_signal() }, Entry::Outermost)),
            |fre| fre.entry(),
        )
    }
}
