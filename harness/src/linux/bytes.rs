//! Little-endian reads that end where the bytes end.

use memchr::memmem;

fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

pub(super) fn u8_at(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    array(data, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_le_bytes)
}

pub(super) fn i32_at(data: &[u8], at: usize) -> Option<i32> {
    array(data, at).map(i32::from_le_bytes)
}

pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    array(data, at).map(u64::from_le_bytes)
}

/// The bytes from `at` to the next NUL, which must be there.
pub(super) fn string_at(data: &[u8], at: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    rest.get(..memchr::memchr(0, rest)?)
}

/// Where these bytes stand first, at or after `from`.
pub(super) fn find(data: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    memmem::find(data.get(from..)?, needle).map(|at| from + at)
}

/// `size` bytes from `at`.
pub(super) fn slice(data: &[u8], at: usize, size: usize) -> Option<&[u8]> {
    data.get(at..at.checked_add(size)?)
}
