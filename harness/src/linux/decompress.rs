//! Decompression: the formats in which kernels and packages come. The only module that knows the crates for it.

use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;

use ruzstd::decoding::StreamingDecoder;
use xz4rust::{XzDecoder, XzReader};

/// The largest window or dictionary that a stream may ask for, in bytes: a kernel's `zstd -22 --ultra` asks for 2^27, a package's
/// `xz -9` for 2^26.
const MAX_WINDOW: usize = 1 << 27;

/// A compressed format, told by its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    /// One that is not decoded, by name.
    Unknown(&'static str),
}

impl Format {
    /// The name of the format (the kernel's `CONFIG_KERNEL_*`).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Unknown(name) => name,
        }
    }

    /// The format of these bytes, if they begin as compressed ones do (lib/decompress.c).
    pub(super) fn of(data: &[u8]) -> Option<Self> {
        const MAGIC: &[(&[u8], Format)] = &[
            (&[0x1f, 0x8b], Format::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Format::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
            (&[0x02, 0x21, 0x4c, 0x18], Format::Lz4), // the legacy frame, which the kernel's build uses
            (&[0x04, 0x22, 0x4d, 0x18], Format::Lz4),
            (b"BZh", Format::Unknown("bzip2")),
            (&[0x5d, 0, 0], Format::Unknown("lzma")),
            (&[0x89, b'L', b'Z', b'O'], Format::Unknown("lzo")),
        ];
        MAGIC.iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, format)| *format)
    }

    /// Decodes the first stream of a reader; what follows it is not read to its end.
    pub(super) fn reader(self, from: impl Read + 'static) -> Result<Box<dyn Read>, String> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::GzDecoder::new(from)),
            Self::Xz => {
                let decoder = XzDecoder::in_heap_with_alloc_dict_size(0, MAX_WINDOW);
                Box::new(XzReader::new_with_buffer_size_and_decoder(
                    from,
                    NonZeroUsize::MIN.saturating_add(0xffff),
                    decoder,
                ))
            }
            Self::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(from, MAX_WINDOW as u64);
                Box::new(decoder.map_err(|error| format!("zstd: {error}"))?)
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(from)),
            Self::Unknown(name) => return Err(format!("it is compressed with {name}, which is not decoded")),
        })
    }

    /// Decodes the first stream that these bytes begin with, into at most `most` bytes.
    pub(super) fn decode(self, data: &[u8], most: u64) -> Result<Vec<u8>, String> {
        // The kernel's build appends the size of what was packed, which is not a block of the legacy frame.
        let data = match self {
            Self::Lz4 if data.starts_with(&[0x02, 0x21, 0x4c, 0x18]) => legacy_lz4_blocks(data),
            _ => data,
        };
        let reader = self.reader(Cursor::new(data.to_vec()))?;
        read_bounded(reader, most).map_err(|error| format!("{}: {error}", self.name()))
    }
}

/// The blocks of a legacy LZ4 frame, which has no end mark: up to the end or to what cannot be a block. Four bytes at the end are
/// the size that the kernel's build appends.
fn legacy_lz4_blocks(data: &[u8]) -> &[u8] {
    let mut at = 4;
    while let Some(size) = super::bytes::u32_at(data, at) {
        let end = at.saturating_add(4).saturating_add(size as usize);
        if size == 0 || end > data.len() || at + 4 == data.len() {
            break;
        }
        at = end;
    }
    if at + 4 == data.len() { &data[..at] } else { data }
}

/// Reads to the end, which must come within `most` bytes.
pub(super) fn read_bounded(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What is small in a file may be without end when it is unpacked.
    #[test]
    fn no_more_is_unpacked_than_was_asked_for() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[0; 0x1_0000]).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&[0; 0x1_0000][..], ruzstd::encoding::CompressionLevel::Fastest);
        for bytes in [gzip, zstd] {
            let format = Format::of(&bytes).unwrap();
            assert_eq!(format.decode(&bytes, 0x1_0000).unwrap().len(), 0x1_0000);
            let reason = format.decode(&bytes, 0xffff).unwrap_err();
            assert_eq!(reason, format!("{}: it has more than 65535 bytes", format.name()));
        }
    }

    /// A window of 2 GiB, which the frame's header asks for (RFC 8878, 3.1.1.1.2), is not allocated.
    #[test]
    fn no_stream_chooses_its_window() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
        assert!(Format::Zstd.decode(&frame, 0x1000).unwrap_err().starts_with("zstd: "));
    }
}
