//! Functions: their entries in the index, their attributes, and the way to their rows.

use crate::Entry;

use super::error::{Error, ErrorKind, Field};
use super::format::FDE_ATTRIBUTE_SIZE;
use super::fre::{Fre, Fres};
use super::header::Version;
use super::section::Section;

/// What the index says of a function, without its attribute: enough to search.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexEntry {
    pub(super) index: u32,
    /// Where it is in the section.
    offset: usize,
    /// Its address, exactly: a corrupt one may be outside of 64 bits.
    pub(super) start: i128,
    pub(super) size: u32,
    fre_offset: u32,
}

impl IndexEntry {
    /// Reads an entry; `index` is below the number of functions.
    pub(super) fn read(section: &Section<'_>, index: u32) -> Result<Self, Error> {
        let header = &section.header;
        let fde_size = header.version.fde_size();
        let offset = header.index_start() + u64::from(index) * fde_size as u64;
        let outside = Error::new(ErrorKind::OutOfBounds, Field::NumFdes, 8, header.num_fdes.into());
        let offset = usize::try_from(offset).map_err(|_| outside)?;
        let start_size = header.version.start_size();
        let start = section.bytes.signed(offset, start_size).ok_or(outside)?;
        let size = section.bytes.u32(offset + start_size).ok_or(outside)?;
        let fre_offset = section.bytes.u32(offset + start_size + 4).ok_or(outside)?;
        let anchor = i128::from(section.address()) + if header.is_pcrel() { offset as i128 } else { 0 };
        Ok(Self { index, offset, start: anchor + i128::from(start), size, fre_offset })
    }

    pub(super) fn contains(&self, pc: i128) -> bool {
        (self.start..self.start + i128::from(self.size)).contains(&pc)
    }
}

/// How the rows of a function are chosen by pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PcType {
    /// By the distance from the function's start.
    Inc,
    /// By that distance modulo the size of a block that repeats, as stubs of a PLT do.
    Mask,
}

/// What the words of a function's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FdeType {
    /// Offsets from SP or FP, and from the CFA.
    Default,
    /// Rules with control words, which can name any register.
    Flexible,
}

/// The key that signs return addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauthKey {
    /// Key A.
    A,
    /// Key B.
    B,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    pub(super) section: Section<'a>,
    pub(super) entry: IndexEntry,
    /// Where the number of its rows is, and what follows it.
    pub(super) attribute: usize,
    pub(super) first_row: usize,
    pub(super) num_fres: u32,
    pub(super) info: u8,
    /// 0 in version 2, which has only what that means.
    pub(super) info2: u8,
    pub(super) rep_size: u8,
    /// Only version 2 has any.
    pub(super) padding: u16,
}

impl<'a> Function<'a> {
    /// Reads a function, and refuses only what is not inside.
    pub(super) fn read(section: Section<'a>, entry: IndexEntry) -> Result<Self, Error> {
        let (header, bytes) = (&section.header, section.bytes);
        let rows = header.rows_start() + u64::from(entry.fre_offset);
        let offset_of_field =
            entry.offset + header.version.fde_size() - if header.version == Version::V3 { 4 } else { 12 };
        let outside =
            Error::new(ErrorKind::OutOfBounds, Field::FuncStartFreOffset, offset_of_field, entry.fre_offset.into());
        let start = usize::try_from(rows).map_err(|_| outside)?;
        let read = |offset, size| bytes.unsigned(offset, size).ok_or(outside);
        match header.version {
            Version::V2 => {
                let attribute = entry.offset + 12;
                let function = Self {
                    section,
                    entry,
                    attribute,
                    first_row: start,
                    num_fres: read(attribute, 4)? as u32,
                    info: read(attribute + 4, 1)? as u8,
                    info2: 0,
                    rep_size: read(attribute + 5, 1)? as u8,
                    padding: read(attribute + 6, 2)? as u16,
                };
                if rows > header.rows_end() { Err(outside) } else { Ok(function) }
            }
            Version::V3 => {
                if rows + FDE_ATTRIBUTE_SIZE as u64 > header.rows_end() {
                    return Err(outside);
                }
                Ok(Self {
                    section,
                    entry,
                    attribute: start,
                    first_row: start + FDE_ATTRIBUTE_SIZE,
                    num_fres: read(start, 2)? as u32,
                    info: read(start + 2, 1)? as u8,
                    info2: read(start + 3, 1)? as u8,
                    rep_size: read(start + 4, 1)? as u8,
                    padding: 0,
                })
            }
        }
    }

    /// Reports what keeps the function or its rows from being understood.
    pub(super) fn check(&self, report: &mut dyn FnMut(Error)) {
        use ErrorKind::{AddressOverflow, BadFreType, BadRepSize, OutOfBounds, UnsupportedFdeType};
        let end = self.entry.start + i128::from(self.entry.size);
        let limits = if self.section.address.is_some() { 0..=1 << 64 } else { i64::MIN.into()..=1 << 63 };
        if !limits.contains(&self.entry.start) || !limits.contains(&end) {
            report(Error::new(AddressOverflow, Field::FuncStart, self.entry.offset, self.entry.start as u64));
        }
        if self.info & 0xf > 2 {
            report(Error::new(BadFreType, Field::FuncInfo, self.info_offset(), self.info.into()));
        } else {
            // Each takes its start and an info byte at least.
            let least = u64::from(self.num_fres) * (self.row_address_size() as u64 + 1);
            if self.first_row as u64 + least > self.section.header.rows_end() {
                report(Error::new(OutOfBounds, Field::FuncNumFres, self.attribute, self.num_fres.into()));
            }
        }
        if self.info2 & 0x1f > 1 {
            report(Error::new(UnsupportedFdeType, Field::FuncInfo2, self.info_offset() + 1, self.info2.into()));
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
        self.entry.offset + self.section.header.version.start_size()
    }

    pub(super) const fn info_offset(&self) -> usize {
        self.attribute + if matches!(self.section.header.version, Version::V2) { 4 } else { 2 }
    }

    pub(super) const fn rep_size_offset(&self) -> usize {
        self.info_offset() + if matches!(self.section.header.version, Version::V2) { 1 } else { 2 }
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

    /// How many rows it says that it has.
    #[must_use]
    pub const fn num_fres(&self) -> u32 {
        self.num_fres
    }

    /// The addresses of its rows, in bytes each.
    #[must_use]
    pub const fn row_address_size(&self) -> usize {
        1 << (self.info & 3)
    }

    /// How a row is chosen.
    #[must_use]
    pub const fn pc_type(&self) -> PcType {
        if self.info & 0x10 == 0 { PcType::Inc } else { PcType::Mask }
    }

    /// What its rows are made of.
    #[must_use]
    pub const fn fde_type(&self) -> FdeType {
        if self.info2 & 0x1f == 0 { FdeType::Default } else { FdeType::Flexible }
    }

    /// The key that signs its return addresses, where the ABI signs any.
    #[must_use]
    pub const fn pauth_key(&self) -> Option<PauthKey> {
        match (self.section.header.abi.has_pauth(), self.info & 0x20) {
            (false, _) => None,
            (true, 0) => Some(PauthKey::A),
            (true, _) => Some(PauthKey::B),
        }
    }

    /// Whether its frame is that of a signal or an exception. Version 2 cannot say so.
    #[must_use]
    pub const fn is_signal(&self) -> bool {
        matches!(self.section.header.version, Version::V3) && self.info & 0x80 != 0
    }

    /// The size in bytes of the block that repeats; 0 where none does.
    #[must_use]
    pub const fn rep_size(&self) -> u8 {
        self.rep_size
    }

    /// Its rows, in their order; after an error there is no next one.
    #[must_use]
    pub const fn fres(&self) -> Fres<'_> {
        Fres::new(self)
    }

    /// The row for a pc in this function: the last that starts at or before it.
    ///
    /// # Errors
    ///
    /// When a row up to there cannot be read or starts no later than the one before it.
    pub fn fre_at(&self, pc: u64) -> Result<Option<Fre<'_>>, Error> {
        let mut key = pc.wrapping_sub(self.start());
        if self.pc_type() == PcType::Mask {
            let unknown = Error::new(ErrorKind::BadRepSize, Field::RepSize, self.rep_size_offset(), 0);
            key = key.checked_rem(self.rep_size.into()).ok_or(unknown)?;
        }
        let mut found: Option<Fre<'_>> = None;
        for fre in self.fres() {
            let fre = fre?;
            if found.is_some_and(|before| before.start() >= fre.start()) {
                return Err(fre.out_of_order());
            }
            if u64::from(fre.start()) > key {
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
    /// As of [`Function::fre_at`], and when the row's words make no rules.
    pub fn entry_at(&self, pc: u64) -> Result<Entry, Error> {
        self.fre_at(pc)?.map_or(Ok(Entry::NoRow { signal: self.is_signal() }), |fre| fre.entry())
    }
}
