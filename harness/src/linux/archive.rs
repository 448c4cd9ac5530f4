//! A Debian package: an `ar` archive (deb(5)) whose member `data.tar`, mostly compressed, holds the files. It is read as a stream, so
//! that a package of a gigabyte needs no more memory than the file that is wanted.

use std::io::{self, Read};

use super::decompress::{Format, read_bounded};

/// The magic of an `ar` archive (ar(5)).
pub(super) const MAGIC: &[u8] = b"!<arch>\n";

/// The most bytes that a package may unpack to: a kernel's modules with their debugging data have ten gigabytes.
const MAX_UNPACKED: u64 = 1 << 34;

/// The longest name of a file in an archive, in bytes (Linux's `PATH_MAX`).
const MAX_NAME: u64 = 4096;

/// The unit of a tar archive, in bytes.
const BLOCK: usize = 512;

/// Finds `data.tar` in a package, and gives its decompressed bytes.
pub(super) fn data_of_deb(mut deb: impl Read + 'static) -> Result<Box<dyn Read>, String> {
    let broken = |error: io::Error| format!("the package ends too early: {error}");
    let mut magic = [0; 8];
    deb.read_exact(&mut magic).map_err(broken)?;
    if magic != *MAGIC {
        return Err("it is no ar archive".to_owned());
    }
    loop {
        let mut header = [0; 60];
        deb.read_exact(&mut header).map_err(|_| "the package has no member data.tar".to_owned())?;
        let name = String::from_utf8_lossy(&header[..16]).trim_end().trim_end_matches('/').to_owned();
        let size = String::from_utf8_lossy(&header[48..58]).trim_end().parse::<u64>();
        let size = size.ok().filter(|_| header[58..] == *b"`\n");
        let size = size.ok_or_else(|| format!("the header of its member {name:?} is damaged"))?;
        if name.starts_with("data.tar") {
            return data_tar(deb.take(size)).map_err(|reason| format!("{name}: {reason}"));
        }
        // Members begin at even offsets.
        let skipped = size + size % 2;
        let copied = io::copy(&mut deb.by_ref().take(skipped), &mut io::sink()).map_err(broken)?;
        if copied < skipped {
            return Err(format!("the package ends within its member {name:?}"));
        }
    }
}

fn data_tar(mut member: impl Read + 'static) -> Result<Box<dyn Read>, String> {
    let mut magic = [0; 6];
    member.read_exact(&mut magic).map_err(|error| error.to_string())?;
    let whole = io::Cursor::new(magic).chain(member);
    match Format::of(&magic) {
        Some(format) => Ok(Box::new(format.reader(whole)?.take(MAX_UNPACKED))),
        None => Ok(Box::new(whole.take(MAX_UNPACKED))),
    }
}

/// A regular file of a tar archive, at its beginning.
pub(super) struct Entry<'a> {
    /// Its path, without a leading `./`.
    pub(super) path: String,
    /// Its contents.
    content: io::Take<&'a mut dyn Read>,
}

impl Entry<'_> {
    /// All its bytes, at most `most`.
    pub(super) fn read(&mut self, most: u64) -> Result<Vec<u8>, String> {
        let size = self.content.limit();
        let bytes = read_bounded(&mut self.content, most).map_err(|error| format!("{}: {error}", self.path))?;
        if (bytes.len() as u64) < size {
            return Err(format!("{} ends after {} of {size} bytes: the package is truncated", self.path, bytes.len()));
        }
        Ok(bytes)
    }
}

/// Shows the regular files of a tar archive (POSIX ustar and pax, GNU long names) to `visit`, in order, until it says that it has
/// seen enough.
pub(super) fn files_of_tar(
    tar: &mut dyn Read,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<Visit, String>,
) -> Result<(), String> {
    let mut long_name: Option<String> = None;
    loop {
        let mut header = [0; BLOCK];
        tar.read_exact(&mut header).map_err(|error| format!("tar: {error}"))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if !has_checksum(&header) {
            return Err("tar: the checksum of a header is wrong".to_owned());
        }
        let size = number(&header[124..136]).ok_or("tar: a file has no size")?;
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        match header[156] {
            // GNU: the name of the next entry; pax: records, of which `path` is that.
            kind @ (b'L' | b'x') => {
                let content =
                    read_bounded(tar.take(size), MAX_NAME).map_err(|error| format!("tar: a name: {error}"))?;
                let name = if kind == b'L' { Some(content.as_slice()) } else { path_of_pax(&content) };
                long_name = name.map(text).or(long_name);
            }
            kind => {
                let path = long_name.take().unwrap_or_else(|| short_name(&header));
                let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
                let mut content = tar.take(size);
                if matches!(kind, b'0' | 0) {
                    let entry = Entry { path, content: (&mut content as &mut dyn Read).take(size) };
                    if visit(entry)? == Visit::Enough {
                        return Ok(());
                    }
                }
                io::copy(&mut content, &mut io::sink()).map_err(|error| format!("tar: {error}"))?;
            }
        }
        io::copy(&mut tar.take(padding), &mut io::sink()).map_err(|error| format!("tar: {error}"))?;
    }
}

/// Whether the files after this one are wanted, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// They are.
    More,
    /// They are not.
    Enough,
}

/// The bytes up to the first NUL, as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn short_name(header: &[u8; BLOCK]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    let is_ustar = header[257..263] == *b"ustar\0";
    if is_ustar && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
}

/// An octal number; GNU's base-256 form is for files beyond 8 GiB, which are not wanted.
fn number(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(text(field).trim(), 8).ok()
}

fn has_checksum(header: &[u8; BLOCK]) -> bool {
    // The field counts as blanks.
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let field: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    number(&header[148..156]) == Some(sum - field + 8 * u64::from(b' '))
}

/// The value of `path` in pax records: `LENGTH path=VALUE\n`.
fn path_of_pax(records: &[u8]) -> Option<&[u8]> {
    let mut records = records.split(|byte| *byte == b'\n');
    records.find_map(|record| {
        let blank = record.iter().position(|byte| *byte == b' ')?;
        record[blank + 1..].strip_prefix(b"path=")
    })
}
