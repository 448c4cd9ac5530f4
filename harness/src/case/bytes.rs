//! Memory as text: base64 of zstd, in lines.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// The largest window that a frame may ask for, in bytes: zstd's own limit for decoders (RFC 8878, 3.1.1.1.2).
const MAX_WINDOW: u64 = 8 << 20;

/// How many letters of base64 stand on a line.
const LINE: usize = 120;

/// Packs bytes.
pub(super) fn pack(bytes: &[u8]) -> String {
    let text = STANDARD.encode(compress_to_vec(bytes, CompressionLevel::Fastest));
    let mut lines = String::with_capacity(text.len() + text.len() / LINE + 2);
    for (index, letter) in text.chars().enumerate() {
        if index % LINE == 0 {
            lines.push('\n');
        }
        lines.push(letter);
    }
    lines.push('\n');
    lines
}

/// Unpacks exactly so many bytes.
///
/// # Errors
///
/// Why these are not so many bytes.
pub(super) fn unpack(text: &str, size: usize) -> Result<Vec<u8>, String> {
    let bytes = unpack_up_to(text, size)?;
    if bytes.len() == size {
        return Ok(bytes);
    }
    Err(format!("it should hold {size:#x} bytes, but it holds {:#x}", bytes.len()))
}

/// Unpacks at most so many bytes.
///
/// # Errors
///
/// Why these are no bytes, or more.
pub(super) fn unpack_up_to(text: &str, size: usize) -> Result<Vec<u8>, String> {
    let letters: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let packed = STANDARD.decode(letters).map_err(|error| format!("it is not base64: {error}"))?;
    let decoder = StreamingDecoder::new_with_max_window_size(&*packed, MAX_WINDOW);
    let decoder = decoder.map_err(|error| format!("it is not zstd: {error}"))?;
    let mut bytes = Vec::new();
    let read = decoder.take(size as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("its zstd is damaged: {error}"))?;
    if bytes.len() > size {
        return Err(format!("it should hold {size:#x} bytes, but it holds more than that"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};

    #[test]
    fn what_is_packed_is_unpacked_or_refused() {
        let bytes: Vec<u8> = (0..0x3000_u32).map(|index| (index / 7) as u8).collect();
        let text = pack(&bytes);
        assert_eq!(unpack(&text, bytes.len()), Ok(bytes.clone()));
        let refused = |text: &str, size, says: &str| {
            let reason = unpack(text, size).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        };
        refused(&text, bytes.len() - 1, "more than that");
        refused(&text, bytes.len() + 1, "but it holds 0x3000");
        refused("%", 1, "not base64");
        refused("aaaa", 1, "not zstd");
        refused(&text[..text.len() / 8 * 4], bytes.len(), "");
    }
}
