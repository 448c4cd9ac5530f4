//! Loaded memory, while nothing runs in it.

use object::elf::FileHeader64;
use object::endian::LittleEndian;

use crate::guest::Segment;

/// The header of a file.
pub(super) type Header = FileHeader64<LittleEndian>;

/// The bytes from `address` to the end of its segment; empty outside.
pub(super) fn bytes_at(segments: &[Segment], address: u64) -> &[u8] {
    segments
        .iter()
        .find(|segment| (segment.address..segment.end()).contains(&address))
        .map_or(&[], |segment| &segment.data[(address - segment.address) as usize..])
}
