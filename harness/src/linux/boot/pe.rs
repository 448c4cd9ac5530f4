//! What kernels are as EFI applications (Microsoft's PE/COFF specification), and the EFI application that holds a compressed one.

use super::super::bytes::{slice, string_at, u16_at, u32_at};
use super::super::decompress::Format;
use super::MAX_IMAGE;

/// Where the contents of the last section end in the file; `None` where the file has no such header, or one that contradicts it.
/// Signatures lie behind.
pub(super) fn end_of_sections(data: &[u8]) -> Option<usize> {
    let header = u32_at(data, 0x3c)? as usize;
    if slice(data, header, 4)? != b"PE\0\0" {
        return None;
    }
    let count = usize::from(u16_at(data, header.checked_add(6)?)?);
    let optional = usize::from(u16_at(data, header.checked_add(20)?)?);
    let sections = header.checked_add(24 + optional)?;
    let mut end = 0;
    for index in 0..count {
        let section = sections.checked_add(40 * index)?;
        let (size, at) = (u32_at(data, section + 16)? as usize, u32_at(data, section + 20)? as usize);
        end = end.max(at.checked_add(size)?);
    }
    (end > sections && end <= data.len()).then_some(end)
}

/// The kernel inside of an EFI zboot application (drivers/firmware/efi/libstub/zboot-header.S), and what to call that; `None` for
/// another file.
pub(super) fn zboot(data: &[u8]) -> Option<Result<(String, Vec<u8>), String>> {
    if !data.starts_with(b"MZ") || slice(data, 4, 4)? != b"zimg" {
        return None;
    }
    let (offset, size) = (u32_at(data, 8)? as usize, u32_at(data, 12)? as usize);
    let kind =
        String::from_utf8_lossy(string_at(data.get(..0x40.min(data.len()))?, 0x18).unwrap_or_default()).into_owned();
    let inside = match slice(data, offset, size) {
        None => Err(format!("the payload of its EFI zboot application ({kind}) ends after the file: truncated?")),
        Some(payload) => match Format::of(payload) {
            Some(format) => {
                format.decode(payload, MAX_IMAGE).map_err(|reason| format!("its EFI zboot payload: {reason}"))
            }
            None => Err(format!("it is an EFI zboot application, compressed with {kind:?}, which is not decoded")),
        },
    };
    Some(inside.map(|inside| (format!("EFI zboot ({kind})"), inside)))
}
