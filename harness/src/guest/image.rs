//! The initial memory image of a guest.

/// The granularity of permissions, in bytes.
pub const PAGE: u64 = 0x1000;

/// More than any guest needs, a kernel image included; a corrupt size must not exhaust the machine.
pub(crate) const MAX_MEMORY: u64 = 1 << 30;

/// A range of pages with one permission.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The first address, a multiple of [`PAGE`].
    pub address: u64,
    /// The contents, a multiple of [`PAGE`] long.
    pub data: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
    /// Whether it may be written.
    pub writable: bool,
}

impl Segment {
    /// The address after the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address + self.data.len() as u64
    }
}

/// Extends a segment to whole pages and to its size in memory.
pub(crate) fn whole_pages(mut piece: Segment, memory_size: u64) -> Result<Segment, String> {
    let lead = piece.address % PAGE;
    let size =
        memory_size.checked_add(lead).filter(|size| *size <= MAX_MEMORY && memory_size >= piece.data.len() as u64);
    let size =
        size.ok_or_else(|| format!("the segment at {:#x} has an impossible size of {memory_size:#x}", piece.address))?;
    let size = size.next_multiple_of(PAGE);
    piece.address -= lead;
    if piece.address.checked_add(size).is_none() {
        return Err(format!("the segment at {:#x} wraps around the address space", piece.address));
    }
    // From the allocator's zeroed pages: those of a large .bss that nobody touches need no memory.
    let mut data = vec![0; size as usize];
    data[lead as usize..][..piece.data.len()].copy_from_slice(&piece.data);
    piece.data = data;
    Ok(piece)
}
