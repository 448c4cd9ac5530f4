//! The files of a process: those below its sysroot, to be read; and what it writes to standard output and standard error.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::abi::Stat;
use super::answer::{EACCES, EBADF, EISDIR, ELOOP, ENOENT, ENOTDIR, EROFS};
use crate::file;

/// The largest file that a process may read, in bytes: more than any library.
const MAX_FILE: u64 = 1 << 28;
/// How much of its output is kept, in bytes.
const MAX_OUTPUT: usize = 1 << 16;
/// How many symbolic links a path may lead through: Linux's limit.
const MAX_LINKS: usize = 40;
/// What is there of a running system alone, and not the same in every run.
const LIVING: [&str; 3] = ["proc", "sys", "dev"];

const O_ACCMODE: u64 = 3;
const O_CREAT: u64 = 0x40;
const S_IFREG: u32 = 0o10_0000;
const S_IFDIR: u32 = 0o4_0000;
const S_IFCHR: u32 = 0o2_0000;
const S_IFIFO: u32 = 0o1_0000;
const S_IFLNK: u32 = 0o12_0000;

/// Standard output or standard error of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The bytes, as far as they are kept.
    pub bytes: Vec<u8>,
    /// How many there were.
    pub total: u64,
}

/// What a descriptor stands for.
#[derive(Debug, Clone)]
pub(super) enum Open {
    /// Standard input: there is none, so it is at its end. `/dev/null` is the same, and takes what is written.
    Null,
    /// Standard output (0), standard error (1).
    Output(usize),
    /// A file, as the process names it, and the place in it.
    File { path: String, bytes: Arc<Vec<u8>>, stat: Stat, at: u64 },
    /// A folder.
    Folder { path: PathBuf, stat: Stat, entries: Vec<(u64, u8, OsString)>, at: usize },
}

/// The open files of a process.
#[derive(Debug, Clone)]
pub struct Files {
    sysroot: Option<PathBuf>,
    open: BTreeMap<u64, Open>,
    /// The working folder, below the sysroot.
    pub(super) folder: PathBuf,
    /// The name of the program.
    program: String,
    /// What was written to standard output, and to standard error.
    pub output: [Written; 2],
}

/// What the kinds of a directory's entries are (`d_type`).
fn kind(mode: u32) -> u8 {
    (mode >> 12 & 0xf) as u8
}

/// A file's `struct stat`: nothing of it depends on when and by whom it was made.
fn stat_of(metadata: &std::fs::Metadata) -> Stat {
    let of = metadata.file_type();
    let kind = if of.is_dir() {
        S_IFDIR
    } else if of.is_symlink() {
        S_IFLNK
    } else if of.is_fifo() {
        S_IFIFO
    } else if of.is_char_device() {
        S_IFCHR
    } else {
        S_IFREG
    };
    let mode = kind | metadata.permissions().mode() & 0o777;
    Stat { inode: metadata.ino(), mode, links: 1, size: if of.is_dir() { 4096 } else { metadata.len() } }
}

fn errno(error: &io::Error) -> u64 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => EACCES,
        io::ErrorKind::NotADirectory => ENOTDIR,
        _ => ENOENT,
    }
}

impl Files {
    /// No file is open but standard input, which is at its end, standard output and standard error.
    #[must_use]
    pub fn new(sysroot: Option<PathBuf>, program: String) -> Self {
        let open = BTreeMap::from([(0, Open::Null), (1, Open::Output(0)), (2, Open::Output(1))]);
        Self { sysroot, open, folder: PathBuf::from("/"), program, output: Default::default() }
    }

    /// The place on this machine of a path that the process names. Every link is followed as if the sysroot were the root, and no
    /// path leads out of it.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub fn resolve(&self, from: &Path, path: &str, follows_last: bool) -> Result<PathBuf, u64> {
        let sysroot = self.sysroot.as_ref().ok_or(ENOENT)?;
        // What is still to be followed, the last first.
        let mut rest: Vec<OsString> = Vec::new();
        let push = |rest: &mut Vec<OsString>, path: &Path| {
            for part in path.components().rev() {
                match part {
                    Component::Normal(name) => rest.push(name.to_owned()),
                    Component::ParentDir => rest.push("..".into()),
                    Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
                }
            }
        };
        push(&mut rest, Path::new(path));
        if !path.starts_with('/') {
            push(&mut rest, from);
        }
        let mut below = PathBuf::new();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                below.pop();
                continue;
            }
            if below.as_os_str().is_empty() && LIVING.iter().any(|living| name == *living) {
                return Err(ENOENT);
            }
            let next = below.join(&name);
            let here = sysroot.join(&next);
            let metadata = std::fs::symlink_metadata(&here).map_err(|error| errno(&error))?;
            if metadata.is_symlink() && (follows_last || !rest.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(ELOOP);
                }
                let target = std::fs::read_link(&here).map_err(|error| errno(&error))?;
                if target.is_absolute() {
                    below.clear();
                }
                push(&mut rest, &target);
            } else if !rest.is_empty() && !metadata.is_dir() {
                return Err(ENOTDIR);
            } else {
                below = next;
            }
        }
        Ok(below)
    }

    fn on_host(&self, below: &Path) -> PathBuf {
        self.sysroot.as_ref().map_or_else(PathBuf::new, |sysroot| sysroot.join(below))
    }

    /// The folder from which a relative path starts.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub(super) fn folder_of(&self, fd: u64) -> Result<PathBuf, u64> {
        const AT_FDCWD: i32 = -100;
        if fd as i32 == AT_FDCWD {
            return Ok(self.folder.clone());
        }
        match self.open.get(&fd) {
            Some(Open::Folder { path, .. }) => Ok(path.clone()),
            Some(_) => Err(ENOTDIR),
            None => Err(EBADF),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub fn open(&mut self, folder: &Path, path: &str, flags: u64) -> Result<u64, u64> {
        if path == "/dev/null" {
            return Ok(self.add(Open::Null));
        }
        if flags & O_CREAT != 0 || flags & O_ACCMODE != 0 {
            return Err(EROFS);
        }
        let below = self.resolve(folder, path, true)?;
        let host = self.on_host(&below);
        let metadata = std::fs::metadata(&host).map_err(|error| errno(&error))?;
        let stat = stat_of(&metadata);
        let open = if metadata.is_dir() {
            let entries = std::fs::read_dir(&host).map_err(|error| errno(&error))?;
            let entries = entries.filter_map(Result::ok).filter_map(|entry| {
                let stat = stat_of(&entry.metadata().ok()?);
                Some((stat.inode, kind(stat.mode), entry.file_name()))
            });
            let mut entries: Vec<(u64, u8, OsString)> = entries.collect();
            entries.sort_by(|left, right| left.2.cmp(&right.2));
            Open::Folder { path: below, stat, entries, at: 0 }
        } else {
            let bytes = file::read(&host, MAX_FILE).map_err(|_| EACCES)?;
            let path = format!("/{}", below.display());
            Open::File { path, bytes: Arc::new(bytes), stat, at: 0 }
        };
        Ok(self.add(open))
    }

    fn add(&mut self, open: Open) -> u64 {
        let free = (0..).find(|fd| !self.open.contains_key(fd)).unwrap_or(u64::MAX);
        self.open.insert(free, open);
        free
    }

    pub(super) fn get_mut(&mut self, fd: u64) -> Option<&mut Open> {
        self.open.get_mut(&fd)
    }

    pub(super) fn get(&self, fd: u64) -> Option<&Open> {
        self.open.get(&fd)
    }

    pub(super) fn close(&mut self, fd: u64) -> bool {
        self.open.remove(&fd).is_some()
    }

    /// Another descriptor for the same: the lowest free one from `least` on, or exactly `to`. (Both have a place of their own in the
    /// file.)
    pub(super) fn duplicate(&mut self, fd: u64, least: u64, to: Option<u64>) -> Option<u64> {
        let open = self.open.get(&fd)?.clone();
        let free = to.or_else(|| (least..).find(|fd| !self.open.contains_key(fd)))?;
        self.open.insert(free, open);
        Some(free)
    }

    /// The path and the bytes of an open file.
    pub(super) fn content(&self, fd: u64) -> Option<(String, Arc<Vec<u8>>)> {
        match self.open.get(&fd) {
            Some(Open::File { path, bytes, .. }) => Some((path.clone(), Arc::clone(bytes))),
            _ => None,
        }
    }

    /// The `struct stat` of a descriptor.
    pub(super) fn stat_of(&self, fd: u64) -> Option<Stat> {
        Some(match self.open.get(&fd)? {
            Open::Null => Stat { inode: 1, mode: S_IFCHR | 0o666, links: 1, size: 0 },
            // A pipe: it is no terminal.
            Open::Output(_) => Stat { inode: 2, mode: S_IFIFO | 0o600, links: 1, size: 0 },
            Open::File { stat, .. } | Open::Folder { stat, .. } => *stat,
        })
    }

    /// The `struct stat` of a path.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub(super) fn stat(&self, folder: &Path, path: &str, follows_last: bool) -> Result<Stat, u64> {
        let below = self.resolve(folder, path, follows_last)?;
        let metadata = std::fs::symlink_metadata(self.on_host(&below)).map_err(|error| errno(&error))?;
        Ok(stat_of(&metadata))
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub(super) fn link(&self, folder: &Path, path: &str) -> Result<Vec<u8>, u64> {
        if path == "/proc/self/exe" {
            return Ok(self.program.clone().into_bytes());
        }
        let below = self.resolve(folder, path, false)?;
        let target = std::fs::read_link(self.on_host(&below)).map_err(|_| super::answer::EINVAL)?;
        Ok(target.into_os_string().into_encoded_bytes())
    }

    /// Writes to a descriptor.
    ///
    /// # Errors
    ///
    /// The number of Linux's error.
    pub fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<(), u64> {
        match self.open.get(&fd) {
            Some(Open::Output(number)) => {
                let output = &mut self.output[*number];
                output.total += bytes.len() as u64;
                let room = MAX_OUTPUT.saturating_sub(output.bytes.len());
                output.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(())
            }
            Some(Open::Null) => Ok(()),
            Some(Open::Folder { .. }) => Err(EISDIR),
            Some(Open::File { .. }) | None => Err(EBADF),
        }
    }
}
