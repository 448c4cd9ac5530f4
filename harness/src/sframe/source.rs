//! Files that are read piece by piece: only what is asked for is in memory, so that a file of many gigabytes, most of them a
//! hole, costs no more than its tables.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use object::read::{ReadCache, ReadRef};

use crate::Error;
use crate::file::{self, Piece};

/// The largest piece that is read, in bytes: far more than any section with unwind data, and little enough for memory.
pub(super) const MAX_PIECE: u64 = 1 << 30;
/// The largest file that is copied, in bytes: a copy may have to be written in full where a file system knows no holes.
const MAX_COPY: u64 = 16 << 30;
/// How much is copied at once, in bytes.
const BLOCK: usize = 1 << 16;

/// A regular file.
pub(super) struct Source {
    cache: ReadCache<File>,
    /// The same file, for copying.
    handle: File,
    len: u64,
}

/// What a copy of a file has that the file has not.
#[derive(Debug)]
pub(super) struct Addition {
    /// The new header of the file.
    pub(super) header: Vec<u8>,
    /// Where the new bytes at the end begin; from the end of the file to there, there is nothing.
    pub(super) offset: u64,
    /// The new bytes at the end.
    pub(super) bytes: Vec<u8>,
}

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// As [`file::open`].
    pub(super) fn open(path: &Path) -> Result<(Self, Metadata), Error> {
        let (handle, metadata) = file::open(path)?;
        let file = handle.try_clone().map_err(|source| Error::File { path: path.to_path_buf(), source })?;
        Ok((Self { cache: ReadCache::new(file), handle, len: metadata.len() }, metadata))
    }

    /// In bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Its bytes, to be read.
    pub(super) const fn bytes(&self) -> Bytes<'_> {
        Bytes { source: self, addition: None }
    }

    /// The bytes of its copy, to be read before it is written.
    pub(super) const fn with<'a>(&'a self, addition: &'a Addition) -> Bytes<'a> {
        Bytes { source: self, addition: Some(addition) }
    }

    /// Whether it begins with these bytes.
    pub(super) fn starts_with(&self, start: &[u8]) -> bool {
        self.bytes().read_bytes_at(0, start.len() as u64) == Ok(start)
    }

    /// Why it is not copied.
    pub(super) fn check_copy(&self) -> Result<(), String> {
        if self.len <= MAX_COPY {
            return Ok(());
        }
        Err(format!("it has {} bytes, and files of more than {MAX_COPY} are not copied", self.len))
    }

    /// Gives the copy piece by piece: where each begins, and its bytes. Between the pieces there are zeros, for which a file
    /// system may have a hole.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or those of `write`.
    pub(super) fn copy(&self, addition: &Addition, write: Piece<'_>) -> io::Result<()> {
        let mut file = &self.handle;
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while let Some(data) = next_data(file, at).filter(|at| *at < self.len) {
            let size = usize::try_from(self.len - data).unwrap_or(BLOCK).min(BLOCK);
            file.seek(SeekFrom::Start(data))?;
            file.read_exact(&mut block[..size])?;
            if data == 0 {
                block[..addition.header.len()].copy_from_slice(&addition.header);
            }
            if block[..size].iter().any(|byte| *byte != 0) {
                write(data, &block[..size])?;
            }
            at = data + size as u64;
        }
        write(addition.offset, &addition.bytes)
    }
}

/// Where the next bytes of a file are that are not in a hole; none if there is only a hole to its end.
#[cfg(target_os = "linux")]
fn next_data(file: &File, at: u64) -> Option<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) => Some(data),
        Err(rustix::io::Errno::NXIO) => None,
        // The file system knows no holes.
        Err(_) => Some(at),
    }
}

#[cfg(not(target_os = "linux"))]
fn next_data(_: &File, at: u64) -> Option<u64> {
    Some(at)
}

/// The bytes of a file, or of its copy.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    source: &'a Source,
    addition: Option<&'a Addition>,
}

impl<'a> ReadRef<'a> for Bytes<'a> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.addition.map_or(self.source.len, |addition| addition.offset + addition.bytes.len() as u64))
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > MAX_PIECE {
            return Err(());
        }
        match self.addition {
            Some(addition) if offset >= addition.offset => {
                (&*addition.bytes).read_bytes_at(offset - addition.offset, size)
            }
            Some(addition) if offset == 0 && size <= addition.header.len() as u64 => {
                (&*addition.header).read_bytes_at(0, size)
            }
            _ => (&self.source.cache).read_bytes_at(offset, size),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        match self.addition {
            Some(addition) if range.start >= addition.offset => {
                let end = range.end.saturating_sub(addition.offset);
                (&*addition.bytes).read_bytes_at_until(range.start - addition.offset..end, delimiter)
            }
            _ => (&self.source.cache).read_bytes_at_until(range, delimiter),
        }
    }
}
