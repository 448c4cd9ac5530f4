//! System calls that read and write: what they copy, and how they fail.

use std::path::{Path, PathBuf};

use super::Process;
use super::abi::Stat;
use super::answer::{Answer, EBADF, EFAULT, EINVAL, EISDIR, ENOENT, ENOTDIR, ERANGE, EROFS, ESPIPE};
use super::bytes::Bytes;
use super::files::Open;
use super::hardware::Hardware;

/// How much one call reads or writes at most, in bytes: a short count is no error.
pub(super) const IO_SIZE: u64 = 1 << 20;
/// The longest path: PATH_MAX.
const PATH_MAX: u64 = 4096;
/// How many pieces a vector may have: UIO_MAXIOV.
const MAX_PIECES: u64 = 1024;

const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_EMPTY_PATH: u64 = 0x1000;
const W_OK: u64 = 2;

/// Reads a text that ends with a zero.
fn text(hardware: &dyn Hardware, at: u64) -> Result<String, u64> {
    let mut bytes = Vec::new();
    for offset in 0..PATH_MAX {
        let mut byte = [0];
        if !hardware.read(at.wrapping_add(offset), &mut byte) {
            return Err(EFAULT);
        }
        if byte == [0] {
            return String::from_utf8(bytes).map_err(|_| ENOENT);
        }
        bytes.push(byte[0]);
    }
    Err(ENOENT)
}

impl Process {
    pub(super) fn read(
        &mut self,
        hardware: &mut dyn Hardware,
        fd: u64,
        at: u64,
        size: u64,
        from: Option<u64>,
    ) -> Answer {
        let size = size.min(IO_SIZE) as usize;
        let (bytes, place, is_own) = match self.files.get_mut(fd) {
            Some(Open::Null) => return Answer::value(0),
            Some(Open::File { bytes, at: place, .. }) => match from {
                Some(from) => (bytes, from, None),
                None => (bytes, *place, Some(place)),
            },
            Some(Open::Folder { .. }) => return Answer::error(EISDIR),
            Some(Open::Output(_)) | None => return Answer::error(EBADF),
        };
        let start = (place as usize).min(bytes.len());
        let count = size.min(bytes.len() - start);
        if !hardware.write(at, &bytes[start..start + count]) {
            return Answer::error(EFAULT);
        }
        if let Some(place) = is_own {
            *place += count as u64;
        }
        Answer::value(count as u64)
    }

    pub(super) fn write(&mut self, hardware: &mut dyn Hardware, fd: u64, at: u64, size: u64) -> Answer {
        let mut bytes = vec![0; size.min(IO_SIZE) as usize];
        if !hardware.read(at, &mut bytes) {
            return Answer::error(EFAULT);
        }
        Answer::from(self.files.write(fd, &bytes).map(|()| bytes.len() as u64))
    }

    /// `readv` and `writev`: piece by piece, until one is cut short.
    pub(super) fn vector(&mut self, hardware: &mut dyn Hardware, [fd, at, count]: [u64; 3], writes: bool) -> Answer {
        let mut total = 0;
        for piece in 0..count.min(MAX_PIECES) {
            let place = at.wrapping_add(piece * 16);
            let (base, size) = (hardware.read_u64(place), hardware.read_u64(place.wrapping_add(8)));
            let Some((base, size)) = base.zip(size) else { return Answer::error(EFAULT) };
            let done = match writes {
                _ if size == 0 => continue,
                true => self.write(hardware, fd, base, size),
                false => self.read(hardware, fd, base, size, None),
            };
            match done {
                Answer::Value(done) if (done as i64) < 0 && total == 0 => return Answer::Value(done),
                Answer::Value(done) if (done as i64) < 0 => break,
                Answer::Value(done) => {
                    total += done;
                    if done < size {
                        break;
                    }
                }
                other => return other,
            }
        }
        Answer::value(total)
    }

    /// A folder to start from, and a path.
    fn path(&self, hardware: &dyn Hardware, fd: u64, at: u64) -> Result<(PathBuf, String), u64> {
        let path = text(hardware, at)?;
        let folder = if path.starts_with('/') { PathBuf::from("/") } else { self.files.folder_of(fd)? };
        Ok((folder, path))
    }

    pub(super) fn open(&mut self, hardware: &mut dyn Hardware, fd: u64, at: u64, flags: u64) -> Answer {
        let opened = self.path(hardware, fd, at).and_then(|(folder, path)| self.files.open(&folder, &path, flags));
        Answer::from(opened)
    }

    pub(super) fn close_range(&mut self, first: u64, last: u64) -> Answer {
        for fd in first..=last.min(1024) {
            self.files.close(fd);
        }
        Answer::value(0)
    }

    pub(super) fn duplicate(&mut self, fd: u64, least: u64, to: Option<u64>) -> Answer {
        Answer::from(self.files.duplicate(fd, least, to).ok_or(EBADF))
    }

    pub(super) fn fcntl(&mut self, fd: u64, command: u64, argument: u64) -> Answer {
        const F_DUPFD: u64 = 0;
        const F_GETFD: u64 = 1;
        const F_SETFL: u64 = 4;
        const F_DUPFD_CLOEXEC: u64 = 1030;
        match command {
            F_DUPFD | F_DUPFD_CLOEXEC => self.duplicate(fd, argument, None),
            _ if self.files.get(fd).is_none() => Answer::error(EBADF),
            F_GETFD..=F_SETFL => Answer::value(0),
            _ => Answer::error(EINVAL),
        }
    }

    pub(super) fn seek(&mut self, fd: u64, offset: u64, whence: u64) -> Answer {
        let (place, size) = match self.files.get_mut(fd) {
            Some(Open::File { at, bytes, .. }) => {
                let size = bytes.len() as u64;
                (at, size)
            }
            Some(_) => return Answer::error(ESPIPE),
            None => return Answer::error(EBADF),
        };
        let from = match whence {
            0 => 0,
            1 => *place,
            2 => size,
            _ => return Answer::error(EINVAL),
        };
        let to = from.wrapping_add(offset);
        if (to as i64) < 0 {
            return Answer::error(EINVAL);
        }
        *place = to;
        Answer::value(to)
    }

    fn put_stat(&self, hardware: &mut dyn Hardware, at: u64, stat: Result<Stat, u64>) -> Answer {
        match stat {
            Ok(stat) if hardware.write(at, &(self.abi.stat)(&stat)) => Answer::value(0),
            Ok(_) => Answer::error(EFAULT),
            Err(error) => Answer::error(error),
        }
    }

    pub(super) fn fstat(&self, hardware: &mut dyn Hardware, fd: u64, at: u64) -> Answer {
        self.put_stat(hardware, at, self.files.stat_of(fd).ok_or(EBADF))
    }

    fn stat_at(&self, hardware: &dyn Hardware, fd: u64, path: u64, flags: u64) -> Result<Stat, u64> {
        let (folder, path) = match text(hardware, path) {
            Ok(path) if path.is_empty() && flags & AT_EMPTY_PATH != 0 => return self.files.stat_of(fd).ok_or(EBADF),
            Err(EFAULT) if path == 0 && flags & AT_EMPTY_PATH != 0 => return self.files.stat_of(fd).ok_or(EBADF),
            _ => self.path(hardware, fd, path)?,
        };
        if path.is_empty() {
            return Err(ENOENT);
        }
        self.files.stat(&folder, &path, flags & AT_SYMLINK_NOFOLLOW == 0)
    }

    pub(super) fn stat(&self, hardware: &mut dyn Hardware, fd: u64, [path, at, flags]: [u64; 3]) -> Answer {
        let stat = self.stat_at(hardware, fd, path, flags);
        self.put_stat(hardware, at, stat)
    }

    pub(super) fn statx(&self, hardware: &mut dyn Hardware, arguments: [u64; 5]) -> Answer {
        const BASIC: u32 = 0x7ff;
        let [fd, path, flags, _, at] = arguments;
        let stat = match self.stat_at(hardware, fd, path, flags) {
            Ok(stat) => stat,
            Err(error) => return Answer::error(error),
        };
        let mut bytes = Bytes::new(256);
        bytes.u32(0, BASIC);
        bytes.u32(4, 4096);
        bytes.u32(16, stat.links);
        bytes.u16(28, stat.mode as u16);
        bytes.u64(32, stat.inode);
        bytes.u64(40, stat.size);
        bytes.u64(48, stat.size.div_ceil(512));
        if hardware.write(at, &bytes.0) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    pub(super) fn access(&self, hardware: &mut dyn Hardware, fd: u64, path: u64, mode: u64) -> Answer {
        let stat = self.path(hardware, fd, path).and_then(|(folder, path)| self.files.stat(&folder, &path, true));
        Answer::from(stat.and(if mode & W_OK == 0 { Ok(0) } else { Err(EROFS) }))
    }

    pub(super) fn read_link(&self, hardware: &mut dyn Hardware, fd: u64, [path, at, size]: [u64; 3]) -> Answer {
        let target = self.path(hardware, fd, path).and_then(|(folder, path)| self.files.link(&folder, &path));
        let target = match target {
            Ok(target) => target,
            Err(error) => return Answer::error(error),
        };
        let count = target.len().min(size as usize);
        if hardware.write(at, &target[..count]) { Answer::value(count as u64) } else { Answer::error(EFAULT) }
    }

    pub(super) fn getcwd(&self, hardware: &mut dyn Hardware, at: u64, size: u64) -> Answer {
        let mut bytes = Path::new("/").join(&self.files.folder).into_os_string().into_encoded_bytes();
        bytes.push(0);
        if bytes.len() as u64 > size {
            return Answer::error(ERANGE);
        }
        if hardware.write(at, &bytes) { Answer::value(bytes.len() as u64) } else { Answer::error(EFAULT) }
    }

    pub(super) fn chdir(&mut self, hardware: &mut dyn Hardware, path: u64) -> Answer {
        const AT_FDCWD: u64 = (-100_i64).cast_unsigned();
        let found = self.path(hardware, AT_FDCWD, path);
        let found = found.and_then(|(folder, path)| {
            let is_folder = self.files.stat(&folder, &path, true)?.mode & 0o17_0000 == 0o4_0000;
            if is_folder { self.files.resolve(&folder, &path, true) } else { Err(ENOTDIR) }
        });
        Answer::from(found.map(|folder| {
            self.files.folder = folder;
            0
        }))
    }

    /// `getdents64`: as many whole entries as fit.
    pub(super) fn getdents(&mut self, hardware: &mut dyn Hardware, fd: u64, at: u64, size: u64) -> Answer {
        let (entries, next) = match self.files.get_mut(fd) {
            Some(Open::Folder { entries, at, .. }) => (entries, at),
            Some(_) => return Answer::error(ENOTDIR),
            None => return Answer::error(EBADF),
        };
        let mut bytes = Vec::new();
        while let Some((inode, kind, name)) = entries.get(*next) {
            let name = name.as_encoded_bytes();
            let length = (19 + name.len() + 1).next_multiple_of(8);
            if bytes.len() + length > size as usize {
                break;
            }
            let mut entry = Bytes::new(length);
            entry.u64(0, *inode);
            entry.u64(8, *next as u64 + 1);
            entry.u16(16, length as u16);
            entry.put(18, &[*kind]);
            entry.put(19, name);
            bytes.extend_from_slice(&entry.0);
            *next += 1;
        }
        if bytes.is_empty() && *next < entries.len() {
            return Answer::error(EINVAL);
        }
        if hardware.write(at, &bytes) { Answer::value(bytes.len() as u64) } else { Answer::error(EFAULT) }
    }
}
