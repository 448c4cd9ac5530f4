//! The two arrays, and the look-up in them.

use super::{ENTRY_SIZE, OrcEntry, OrcError};

/// An ORC table: addresses, ascending, each with the entry that holds from there to the next.
#[derive(Clone, Copy, Debug)]
pub struct OrcTable<'a> {
    /// `.orc_unwind_ip`: signed 32-bit offsets, each from its own place.
    offsets: &'a [u8],
    /// Where the first offset lies.
    address: u64,
    /// `.orc_unwind`.
    entries: &'a [u8],
    /// From here on code was generated when the kernel ran: nobody made entries of it.
    generated: Option<u64>,
}

impl<'a> OrcTable<'a> {
    /// A table of the bytes of `.orc_unwind_ip`, which lies at `address`, and of those of `.orc_unwind`. Neither is read yet.
    ///
    /// # Errors
    ///
    /// [`OrcError::AddressBytes`], [`OrcError::EntryBytes`] and [`OrcError::Counts`] when the lengths do not fit.
    pub const fn parse(offsets: &'a [u8], address: u64, entries: &'a [u8]) -> Result<Self, OrcError> {
        if !offsets.len().is_multiple_of(4) {
            return Err(OrcError::AddressBytes(offsets.len()));
        }
        if !entries.len().is_multiple_of(ENTRY_SIZE) {
            return Err(OrcError::EntryBytes(entries.len()));
        }
        if offsets.len() / 4 != entries.len() / ENTRY_SIZE {
            return Err(OrcError::Counts(offsets.len() / 4, entries.len() / ENTRY_SIZE));
        }
        Ok(Self { offsets, address, entries, generated: None })
    }

    /// The same for a kernel that has generated code behind its own. What the table says there is what the generator knows of it;
    /// where that is nothing there is no entry, while in other code nothing is UNDEFINED.
    #[must_use]
    pub const fn with_generated(self, generated: u64) -> Self {
        Self { generated: Some(generated), ..self }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.offsets.len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// From where on the entry with this index holds; nothing beyond the last.
    #[must_use]
    pub fn address_of(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(4)?;
        let bytes = self.offsets.get(at..)?.first_chunk()?;
        let place = self.address.wrapping_add(at as u64);
        Some(place.wrapping_add_signed(i64::from(i32::from_le_bytes(*bytes))))
    }

    /// The entry with this index; nothing beyond the last.
    ///
    /// # Errors
    ///
    /// [`OrcError::UnknownBase`], [`OrcError::UnknownType`].
    pub fn entry_of(&self, index: usize) -> Result<Option<OrcEntry>, OrcError> {
        let bytes = index.checked_mul(ENTRY_SIZE).and_then(|at| self.entries.get(at..)?.first_chunk());
        bytes.map(|bytes| OrcEntry::decode(*bytes)).transpose()
    }

    /// The last entry whose address is not above `pc`; nothing below the first. Of entries with one address it is the last, as
    /// in the kernel. Of a table that is not sorted it is any, or none.
    ///
    /// # Errors
    ///
    /// As [`OrcTable::entry_of`].
    pub fn lookup(&self, pc: u64) -> Result<Option<OrcEntry>, OrcError> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address_of(middle).is_some_and(|address| address <= pc) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low.checked_sub(1) {
            Some(index) => {
                let is_generated = self.generated.is_some_and(|generated| generated <= pc);
                Ok(self.entry_of(index)?.filter(|entry| !is_generated || *entry != OrcEntry::UNDEFINED))
            }
            None => Ok(None),
        }
    }

    /// Reads all of it, as nobody does who looks up.
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
