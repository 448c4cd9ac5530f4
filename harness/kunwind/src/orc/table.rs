//! The two arrays, and the lookup in them.

use super::entry::{ENTRY_SIZE, OrcEntry, OrcNumbers};
use super::error::OrcError;
use crate::error::Error;
use crate::row::Entry;
use crate::target::Table;

/// An ORC table: addresses, ascending, each with the entry that holds from there to the next. It borrows or owns its
/// bytes.
///
/// ```text
///  .orc_unwind_ip   | i32 | i32 | i32 | ...    address = place of the i32 + its value
///  .orc_unwind      | entry | entry | entry | ...
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OrcTable<D> {
    /// `.orc_unwind_ip`: signed 32-bit offsets, each from its own place.
    offsets: D,
    /// Where the first offset lies.
    address: u64,
    /// `.orc_unwind`.
    entries: D,
    /// From here on code was generated when the kernel ran, and has no entries of its own.
    generated: Option<u64>,
    /// Which number stands for which base.
    numbers: OrcNumbers,
}

impl<D: AsRef<[u8]>> OrcTable<D> {
    /// A table of the bytes of `.orc_unwind_ip`, which lies at `address`, and of those of `.orc_unwind`. No entry is
    /// read.
    ///
    /// # Errors
    ///
    /// [`OrcError::AddressBytes`], [`OrcError::EntryBytes`] and [`OrcError::Counts`] when the lengths do not fit.
    pub fn parse(offsets: D, address: u64, entries: D) -> Result<Self, OrcError> {
        let (of_offsets, of_entries) = (offsets.as_ref().len(), entries.as_ref().len());
        if !of_offsets.is_multiple_of(4) {
            return Err(OrcError::AddressBytes(of_offsets));
        }
        if !of_entries.is_multiple_of(ENTRY_SIZE) {
            return Err(OrcError::EntryBytes(of_entries));
        }
        if of_offsets / 4 != of_entries / ENTRY_SIZE {
            return Err(OrcError::Counts(of_offsets / 4, of_entries / ENTRY_SIZE));
        }
        Ok(Self { offsets, address, entries, generated: None, numbers: OrcNumbers::Own })
    }

    /// The same for a kernel with code from `generated` on that it has generated at run time. An UNDEFINED entry there
    /// means that the generator knows nothing, so there is no entry; in other code UNDEFINED is an entry like any
    /// other.
    #[must_use]
    pub fn with_generated(self, generated: u64) -> Self {
        Self { generated: Some(generated), ..self }
    }

    /// The same with bases of these numbers.
    #[must_use]
    pub fn with_numbers(self, numbers: OrcNumbers) -> Self {
        Self { numbers, ..self }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.as_ref().len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.as_ref().is_empty()
    }

    /// The address from which the entry with this index holds; nothing beyond the last.
    #[must_use]
    pub fn address_of(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(4)?;
        let bytes = self.offsets.as_ref().get(at..)?.first_chunk()?;
        let place = mutant!("orc-address-from-table", self.address.wrapping_add(at as u64), self.address);
        Some(place.wrapping_add_signed(i64::from(i32::from_le_bytes(*bytes))))
    }

    /// The entry with this index; nothing beyond the last.
    ///
    /// # Errors
    ///
    /// [`OrcError::UnknownBase`], [`OrcError::UnknownType`].
    pub fn entry_of(&self, index: usize) -> Result<Option<OrcEntry>, OrcError> {
        let bytes = index.checked_mul(ENTRY_SIZE).and_then(|at| self.entries.as_ref().get(at..)?.first_chunk());
        bytes.map(|bytes| OrcEntry::decode_as(self.numbers, *bytes)).transpose()
    }

    /// The last entry whose address is not above `pc`; nothing below the first. Of entries with the same address it is
    /// the last, as in the kernel. In a table that is not sorted it is any entry, or none.
    ///
    /// # Errors
    ///
    /// As [`OrcTable::entry_of`].
    pub fn lookup(&self, pc: u64) -> Result<Option<OrcEntry>, OrcError> {
        let Some(index) = self.index_at(pc) else { return Ok(None) };
        let is_generated = self.generated.is_some_and(|generated| generated <= pc);
        Ok(self
            .entry_of(index)?
            .filter(|entry| mutant!("orc-generated-undefined", !is_generated, true) || *entry != OrcEntry::UNDEFINED))
    }

    fn index_at(&self, pc: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self
                .address_of(middle)
                .is_some_and(|address| mutant!("orc-search-excludes-start", address <= pc, address < pc))
            {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        mutant!("orc-search-takes-next", low.checked_sub(1), Some(low))
    }

    /// Reads the whole table, which no lookup does.
    ///
    /// # Errors
    ///
    /// [`OrcError::Unsorted`], or as [`OrcTable::entry_of`].
    pub fn validate(&self) -> Result<(), OrcError> {
        for index in 0..self.len() {
            self.entry_of(index)?;
            if index > 0 && self.address_of(index) < self.address_of(index - 1) {
                return Err(OrcError::Unsorted(index));
            }
        }
        Ok(())
    }
}

impl<D: AsRef<[u8]>> Table for OrcTable<D> {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        match self.lookup(pc) {
            Ok(Some(entry)) => entry.lower().map(Some).ok_or(Error::UnusableRule(pc)),
            Ok(None) => Ok(None),
            Err(_) => {
                let index = self.index_at(pc).unwrap_or(0);
                Err(Error::BadTable { pc, offset: index * ENTRY_SIZE })
            }
        }
    }
}
