//! The two arrays, made of entries.

use core::fmt;

use alloc::vec::Vec;

use super::entry::OrcEntry;

/// Why a table cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrcWriteError {
    /// This address is too far from the place where its offset would lie for 32 bits.
    OutOfReach(u64),
    /// Two entries have this address.
    Twice(u64),
}

impl fmt::Display for OrcWriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfReach(address) => write!(formatter, "{address:#x} is out of reach of 32 bits"),
            Self::Twice(address) => write!(formatter, "two entries for {address:#x}"),
        }
    }
}

impl core::error::Error for OrcWriteError {}

/// The bytes of the two arrays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenOrc {
    /// `.orc_unwind_ip`.
    pub offsets: Vec<u8>,
    /// `.orc_unwind`.
    pub entries: Vec<u8>,
}

/// Writes a table of entries, each with the address from which it holds, in any order. `.orc_unwind_ip` will lie at
/// `address`. An entry that equals the one before it is left out.
///
/// # Errors
///
/// [`OrcWriteError::OutOfReach`], [`OrcWriteError::Twice`].
pub fn write(entries: &[(u64, OrcEntry)], address: u64) -> Result<WrittenOrc, OrcWriteError> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|(from, _)| *from);
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(OrcWriteError::Twice(pair[0].0));
    }
    sorted.dedup_by_key(|(_, entry)| *entry);
    let mut written = WrittenOrc::default();
    for (from, entry) in sorted {
        let place = address.wrapping_add(written.offsets.len() as u64);
        let offset = from.wrapping_sub(place).cast_signed();
        let offset = i32::try_from(offset).map_err(|_| OrcWriteError::OutOfReach(from))?;
        written.offsets.extend_from_slice(&offset.to_le_bytes());
        written.entries.extend_from_slice(&entry.encode());
    }
    Ok(written)
}
