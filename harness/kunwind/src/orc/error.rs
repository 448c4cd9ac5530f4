//! What the two arrays can have wrong.

use core::fmt;

/// What the two arrays can have wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrcError {
    /// The array of addresses has this many bytes, which is not a multiple of 4.
    AddressBytes(usize),
    /// The array of entries has this many bytes, which is not a multiple of [`ENTRY_SIZE`](super::ENTRY_SIZE).
    EntryBytes(usize),
    /// There are so many addresses, and so many entries.
    Counts(usize, usize),
    /// The address with this index is lower than the one before it.
    Unsorted(usize),
    /// There is no register with this number.
    UnknownBase(u8),
    /// There is no type with this number.
    UnknownType(u8),
}

impl fmt::Display for OrcError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressBytes(bytes) => write!(formatter, "{bytes} bytes are not a whole number of addresses"),
            Self::EntryBytes(bytes) => write!(formatter, "{bytes} bytes are not a whole number of entries"),
            Self::Counts(addresses, entries) => write!(formatter, "{addresses} addresses for {entries} entries"),
            Self::Unsorted(index) => write!(formatter, "address {index} is lower than the one before it"),
            Self::UnknownBase(number) => write!(formatter, "there is no register {number}"),
            Self::UnknownType(number) => write!(formatter, "there is no type {number}"),
        }
    }
}

impl core::error::Error for OrcError {}
