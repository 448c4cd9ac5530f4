//! The preamble and the header: 28 bytes that are the same in every version, although the specification promises that only
//! of the preamble. What lies in the parts that it describes, the header does not know.

use super::bytes::Bytes;
use super::error::{Error, ErrorKind, Field};
use super::format::{
    FLAG_FDE_FUNC_START_PCREL, FLAG_FDE_SORTED, FLAG_FRAME_POINTER, HEADER_SIZE, MAGIC, SFrameAbi, Version,
};

/// The header of a section (2.2).
///
/// ```text
///   0  magic: u16       2  version: u8         3  flags: u8               the preamble
///   4  abi_arch: u8     5  fixed FP: i8        6  fixed RA: i8            7  auxhdr_len: u8
///   8  num_fdes: u32   12  num_fres: u32      16  fre_len: u32
///  20  fdeoff: u32     24  freoff: u32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The version.
    pub version: Version,
    /// The flags (`FLAG_` in [`format`](super::format)).
    pub flags: u8,
    /// The ABI whose registers the rows name.
    pub abi: SFrameAbi,
    /// Whether the section is big endian.
    pub is_big_endian: bool,
    /// From the CFA to the caller's frame pointer, in bytes ("the CFA fixed FP offset, if any"); 0 where each row gives
    /// it.
    pub fixed_fp_offset: i8,
    /// From the CFA to the return address, in bytes ("the CFA fixed RA offset, if any"); 0 where each row gives it.
    pub fixed_ra_offset: i8,
    /// "Size in bytes of the auxiliary header that follows".
    pub aux_header_len: u8,
    /// "The number of SFrame FDEs in the section".
    pub num_fdes: u32,
    /// "The number of SFrame FREs in the section".
    pub num_fres: u32,
    /// "The length in bytes of the SFrame FRE sub-section"; in version 3 it includes the functions' attributes.
    pub fre_len: u32,
    /// The offset in bytes of the index "relative to the end of the SFrame header", auxiliary header included.
    pub fdeoff: u32,
    /// The offset in bytes of the rows, relative to the same end.
    pub freoff: u32,
}

impl Header {
    /// Reads the header, and refuses it only if the rest cannot be understood.
    pub(super) fn read(data: &[u8]) -> Result<Self, Error> {
        use ErrorKind::{BadMagic, Empty, Truncated, UnsupportedAbi, UnsupportedVersion};
        let size = data.len() as u64;
        if data.is_empty() {
            return Err(Error::new(Empty, Field::Section, 0, 0));
        }
        let preamble = Error::new(Truncated, Field::Preamble, 0, size);
        let little = Bytes { data, is_big_endian: false };
        if data.len() < 4 {
            return Err(preamble);
        }
        let magic = little.unsigned(0, 2).ok_or(preamble)?;
        let is_big_endian = magic == u64::from(MAGIC.swap_bytes());
        if magic != u64::from(MAGIC) && !is_big_endian {
            return Err(Error::new(BadMagic, Field::Magic, 0, magic));
        }
        let bytes = Bytes { data, is_big_endian };
        let version = match bytes.u8(2).ok_or(preamble)? {
            2 => Version::V2,
            3 => Version::V3,
            other => return Err(Error::new(UnsupportedVersion, Field::Version, 2, other.into())),
        };
        let truncated = Error::new(Truncated, Field::Header, 0, size);
        if data.len() < HEADER_SIZE {
            return Err(truncated);
        }
        let byte = |offset| bytes.u8(offset).ok_or(truncated);
        let word = |offset| bytes.u32(offset).ok_or(truncated);
        let abi = byte(4)?;
        let abi = SFrameAbi::from_number(abi).ok_or(Error::new(UnsupportedAbi, Field::AbiArch, 4, abi.into()))?;
        Ok(Self {
            version,
            flags: byte(3)?,
            abi,
            is_big_endian,
            fixed_fp_offset: byte(5)? as i8,
            fixed_ra_offset: byte(6)? as i8,
            aux_header_len: byte(7)?,
            num_fdes: word(8)?,
            num_fres: word(12)?,
            fre_len: word(16)?,
            fdeoff: word(20)?,
            freoff: word(24)?,
        })
    }

    /// Reports what is wrong with the header of a section of `size` bytes: unknown flags, an ABI that contradicts the
    /// byte order, and parts that overlap or are not inside the section.
    pub(super) fn check(&self, size: usize, report: &mut dyn FnMut(Error)) {
        use ErrorKind::{BadFixedOffset, EndianMismatch, OutOfBounds, SubsectionOverlap, UnknownFlags};
        let mut report = |kind, field, offset, value| report(Error::new(kind, field, offset, value));
        if self.flags & !self.version.flags() != 0 {
            report(UnknownFlags, Field::Flags, 3, self.flags.into());
        }
        if self.is_big_endian != self.abi.is_big_endian() {
            report(EndianMismatch, Field::AbiArch, 4, self.abi.number().into());
        }
        if self.abi.fixed_ra_offset() != 0 && self.fixed_ra_offset == 0 {
            report(BadFixedOffset, Field::FixedRaOffset, 6, 0);
        }
        let size = size as u64;
        if self.headers_end() > size {
            report(OutOfBounds, Field::Header, 7, self.headers_end());
            return;
        }
        let index_fits = self.index_end() <= size;
        if !index_fits {
            let (field, offset) = if self.index_start() > size { (Field::FdeOffset, 20) } else { (Field::NumFdes, 8) };
            report(
                OutOfBounds,
                field,
                offset,
                if field == Field::NumFdes { self.num_fdes } else { self.fdeoff }.into(),
            );
        }
        if self.rows_end() > size {
            let (field, offset) =
                if self.rows_start() > size { (Field::FreOffset, 24) } else { (Field::FreLength, 16) };
            report(
                OutOfBounds,
                field,
                offset,
                if field == Field::FreLength { self.fre_len } else { self.freoff }.into(),
            );
        }
        if self.fdeoff > self.freoff || (index_fits && self.index_end() > self.rows_start()) {
            report(SubsectionOverlap, Field::FreOffset, 24, self.freoff.into());
        }
    }

    /// Where both headers end. Like the other ends and starts, it is an offset in the section; no sum of 32-bit fields
    /// overflows 64 bits.
    pub(super) const fn headers_end(&self) -> u64 {
        HEADER_SIZE as u64 + self.aux_header_len as u64
    }

    /// Where the index starts.
    pub(super) const fn index_start(&self) -> u64 {
        self.headers_end() + self.fdeoff as u64
    }

    /// Where the index ends.
    pub(super) const fn index_end(&self) -> u64 {
        self.index_start() + self.num_fdes as u64 * self.version.fde_size() as u64
    }

    /// Where the rows start.
    pub(super) const fn rows_start(&self) -> u64 {
        self.headers_end() + self.freoff as u64
    }

    /// Where the rows end.
    pub(super) const fn rows_end(&self) -> u64 {
        self.rows_start() + self.fre_len as u64
    }

    /// Whether the index says that it is sorted by address.
    #[must_use]
    pub const fn is_sorted(&self) -> bool {
        self.flags & FLAG_FDE_SORTED != 0
    }

    /// Whether the start of a function is relative to its own field, and not to the section.
    #[must_use]
    pub const fn is_pcrel(&self) -> bool {
        self.flags & FLAG_FDE_FUNC_START_PCREL != 0
    }

    /// The names of the flags that are set and known.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.flags;
        let all =
            [(FLAG_FDE_SORTED, "sorted"), (FLAG_FRAME_POINTER, "frame-pointer"), (FLAG_FDE_FUNC_START_PCREL, "pcrel")];
        all.into_iter().filter(move |(flag, _)| flags & flag != 0).map(|(_, name)| name)
    }
}
