//! Files in and out: what is read is a regular file of a bounded size, and what is written is there when it is whole or not at
//! all.
//!
//! An [`Output`] is looked at before the work begins, so that a path that cannot be written costs no run. Its document goes into a
//! temporary file in the same folder, which is renamed when it is complete: a full disk, a signal or a crash leaves the old file,
//! or none.

mod revision;

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::progress::{Form, Shown};

pub use revision::{CheckedOut, check_out};

/// The largest file that is read as a guest or for its unwind data, in bytes: twice that of a kernel image with its debugging
/// data. A sparse file may claim any size.
pub const MAX_BINARY: u64 = 1 << 31;

/// The largest TOML file, in bytes.
pub const MAX_TEXT: u64 = 1 << 22;

/// The name of a file that is a standard stream instead.
pub const STDOUT: &str = "-";

/// Why a kind of file is neither read nor written; `None` for a regular file.
fn unfit(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("is a folder")
    } else if kind.is_fifo() {
        Some("is a FIFO or a pipe")
    } else if kind.is_socket() {
        Some("is a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("is a device")
    } else {
        Some("is not a regular file")
    }
}

fn refused(path: &Path, reason: String) -> Error {
    Error::File { path: path.to_path_buf(), source: io::Error::other(reason) }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { path: path.clone(), source }
}

/// Opens a regular file for reading. Everything else is refused: a FIFO waits for a writer that may never come, and a device may
/// never end.
///
/// # Errors
///
/// [`Error::File`].
pub fn open(path: &Path) -> Result<(File, Metadata), Error> {
    let kind = std::fs::metadata(path).map_err(failed(path))?.file_type();
    if let Some(is) = unfit(kind) {
        return Err(refused(path, format!("it {is}; only regular files are read, because reading might never end")));
    }
    let file = File::open(path).map_err(failed(path))?;
    let metadata = file.metadata().map_err(failed(path))?;
    Ok((file, metadata))
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
///
/// [`Error::File`].
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let (file, metadata) = open(path)?;
    let too_large = |size: u64| refused(path, format!("it has {size} bytes or more, and at most {most} are read"));
    if metadata.len() > most {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed(path))?;
    if bytes.len() as u64 > most { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}

/// Reads a regular file of text.
///
/// # Errors
///
/// [`Error::File`].
pub fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path, MAX_TEXT)?).map_err(|error| refused(path, format!("it is not text: {error}")))
}

/// What a folder holds, by name; nothing if there is no such folder.
///
/// # Errors
///
/// [`Error::File`].
pub fn names_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed(folder))?;
    paths.sort();
    Ok(paths)
}

/// Makes the folder in which a file is to be written, and those above it.
///
/// # Errors
///
/// [`Error::File`].
pub fn make_folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(failed(folder))
}

/// Requires that a path lies below `root` when all symbolic links are followed. A path to nothing lies nowhere, and whoever reads
/// it says so.
///
/// # Errors
///
/// [`Error::File`].
pub fn require_inside(root: &Path, path: &Path) -> Result<(), Error> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let root = root.canonicalize().map_err(failed(root))?;
    if real.starts_with(&root) {
        return Ok(());
    }
    Err(refused(path, format!("it leads to {}, out of the root {}", real.display(), root.display())))
}

/// Where a command writes one document: a file, or standard output.
#[derive(Debug)]
pub struct Output {
    /// The option that names it, for messages.
    option: &'static str,
    /// As the user wrote it.
    path: PathBuf,
    /// The file, without symbolic links; `None` for standard output.
    target: Option<PathBuf>,
}

impl Output {
    /// Where it goes, as the user wrote it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that a document can be written to each of these paths, as far as that can be known before.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for a missing folder, a missing permission, or what is not a regular file; [`Error::Usage`] when two
    /// options name one file.
    pub fn prepare<const N: usize>(paths: [(&'static str, Option<&PathBuf>); N]) -> Result<[Option<Self>; N], Error> {
        let mut outputs = [const { None }; N];
        for (index, (option, path)) in paths.into_iter().enumerate() {
            let Some(path) = path else { continue };
            let output = Self::new(option, path)?;
            let others = outputs.iter().flatten();
            if let Some(other) = others.into_iter().find(|other: &&Self| other.target == output.target) {
                let name = path.display();
                return Err(Error::Usage(format!("{} and {option} both write to {name}", other.option)));
            }
            outputs[index] = Some(output);
        }
        Ok(outputs)
    }

    fn new(option: &'static str, path: &Path) -> Result<Self, Error> {
        let target = if path.as_os_str() == STDOUT { None } else { Some(Self::target(path)?) };
        Ok(Self { option, path: path.to_path_buf(), target })
    }

    /// The file that a path means, once it is known that it can be written.
    fn target(path: &Path) -> Result<PathBuf, Error> {
        let target = match std::fs::metadata(path) {
            Ok(metadata) => {
                if let Some(is) = unfit(metadata.file_type()) {
                    return Err(refused(path, format!("it {is}; name a file, or {STDOUT} for standard output")));
                }
                // Replacing needs no permission for the file itself, but a protected file is meant to stay.
                File::options().append(true).open(path).map_err(failed(path))?;
                path.canonicalize().map_err(failed(path))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.is_symlink() {
                    return Err(refused(path, "it is a symbolic link to nothing".to_owned()));
                }
                let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
                    return Err(refused(path, "it names no file".to_owned()));
                };
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                folder.canonicalize().map_err(failed(path))?.join(name)
            }
            Err(error) => return Err(failed(path)(error)),
        };
        // Whether the folder takes a file is best asked by making one.
        beside(&target).map_err(failed(path))?;
        Ok(target)
    }

    /// Whether the document goes to standard output, which then carries nothing else.
    #[must_use]
    pub const fn is_stdout(&self) -> bool {
        self.target.is_none()
    }

    /// Refuses to overwrite a file that the command reads.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn require_other_than(&self, input: &Path) -> Result<(), Error> {
        match (&self.target, input.canonicalize()) {
            (Some(target), Ok(input)) if *target == input => {
                Err(Error::Usage(format!("{} {} is the file that is read", self.option, self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to overwrite any file.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub fn require_new(&self, command: &str) -> Result<(), Error> {
        match &self.target {
            Some(target) if target.symlink_metadata().is_ok() => {
                Err(Error::Usage(format!("{} exists; `{command}` overwrites nothing", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Writes the whole document, which replaces the file when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::File`]; the old file is as it was then.
    pub fn write(&self, stdout: &mut dyn Write, document: Document<'_>) -> Result<(), Error> {
        match &self.target {
            None => self.to_stdout(stdout, document),
            Some(target) => self.replace(target, document),
        }
    }

    /// Writes what is known of the document beside the file, which stays as it is: into `FILE.partial`.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn write_partial(&self, stdout: &mut dyn Write, document: Document<'_>) -> Result<(), Error> {
        match &self.target {
            None => self.to_stdout(stdout, document),
            Some(target) => self.replace(&partial(target), document),
        }
    }

    /// The name of the file with what is known, for messages.
    #[must_use]
    pub fn partial_name(&self) -> PathBuf {
        if self.is_stdout() { "standard output".into() } else { partial(&self.path) }
    }

    /// Writes a new file with these permissions, piece by piece; one that has appeared in the meantime stays. Between the pieces
    /// there are zeros, in a file as holes.
    ///
    /// # Errors
    ///
    /// [`Error::File`], and [`Error::Interrupted`] when a signal came while it was written. There is no file then.
    pub fn create(
        &self,
        stdout: &mut dyn Write,
        pieces: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
        permissions: std::fs::Permissions,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let Some(target) = &self.target else {
            return self.to_stdout(stdout, &mut |out| {
                let mut end = 0;
                pieces(&mut |at, bytes| {
                    io::copy(&mut io::repeat(0).take(at.saturating_sub(end)), out)?;
                    end = at + bytes.len() as u64;
                    out.write_all(bytes)
                })
            });
        };
        let failed = failed(&self.path);
        // A signal that kills at once would leave the temporary file.
        interrupt.defer();
        let mut file = beside(target).map_err(&failed)?;
        let filled = pieces(&mut |at, bytes| {
            if interrupt.is_asked() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)
        });
        if interrupt.is_asked() {
            return Err(Error::Interrupted);
        }
        filled.and_then(|()| file.as_file().sync_all()).map_err(&failed)?;
        file.as_file().set_permissions(permissions).map_err(&failed)?;
        file.persist_noclobber(target).map(drop).map_err(|error| failed(error.error))
    }

    fn to_stdout(&self, stdout: &mut dyn Write, document: Document<'_>) -> Result<(), Error> {
        crate::error::printed(document(stdout).and_then(|()| stdout.flush()))
    }

    fn replace(&self, target: &Path, document: Document<'_>) -> Result<(), Error> {
        let failed = failed(&self.path);
        let file = filled(target, document).map_err(&failed)?;
        if let Ok(old) = std::fs::metadata(target) {
            file.as_file().set_permissions(old.permissions()).map_err(&failed)?;
        }
        file.persist(target).map(drop).map_err(|error| failed(error.error))
    }
}

/// Takes a piece of a file: where it begins, and its bytes. Pieces come in the order of the file.
pub type Piece<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// Writes a document to a writer.
pub type Document<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// A temporary file in the folder of a file, with the permissions of a new one. It vanishes with the value.
fn beside(target: &Path) -> io::Result<NamedTempFile> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let everyone = std::fs::Permissions::from_mode(0o666); // less the umask
    tempfile::Builder::new().prefix(".unwind-harness-").suffix(".tmp").permissions(everyone).tempfile_in(folder)
}

/// The same with a document that has reached the disk.
fn filled(target: &Path, document: Document<'_>) -> io::Result<NamedTempFile> {
    let mut out = io::BufWriter::new(beside(target)?);
    document(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// A stream whose reader may leave: the rest is thrown away in silence, as if it had been read. The work goes on, so that files
/// are written and the exit status is that of the whole (`| head`).
#[derive(Debug)]
pub struct UntilClosed<W> {
    stream: W,
    is_closed: bool,
}

impl<W: Write> UntilClosed<W> {
    /// Of an open stream.
    pub const fn new(stream: W) -> Self {
        Self { stream, is_closed: false }
    }

    fn pass<T>(&mut self, done: T, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(done)
            }
            other => other,
        }
    }
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let result = self.stream.write(bytes);
        self.pass(bytes.len(), result)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let result = self.stream.flush();
        self.pass((), result)
    }
}

/// Where a command prints.
pub struct Console<'a> {
    /// Text for people.
    pub out: &'a mut dyn Write,
    /// Standard output for documents, byte by byte; `None`: `out` takes any byte.
    pub document: Option<&'a mut dyn Write>,
    /// Errors, and the text where standard output carries a document.
    pub err: &'a mut dyn Write,
    /// Whether the user has asked to stop.
    pub interrupt: Interrupt,
    /// How progress is shown.
    pub progress: Form,
    /// Whether each run is told that ends.
    pub verbose: bool,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Console").field("interrupt", &self.interrupt).finish_non_exhaustive()
    }
}

impl Console<'_> {
    /// Standard output, for a document.
    pub fn document(&mut self) -> &mut dyn Write {
        match &mut self.document {
            Some(document) => *document,
            None => self.out,
        }
    }

    /// Shows how far the work is on the program's standard error, as long as the result lives.
    #[must_use]
    pub fn show_progress(&self) -> Shown {
        Shown::begin(self.interrupt.progress(), self.progress, self.verbose, Box::new(io::stderr()))
    }

    /// Where text for people goes: standard error, if standard output carries one of these documents.
    pub fn text<'o>(&mut self, outputs: impl IntoIterator<Item = &'o Option<Output>>) -> &mut dyn Write {
        if outputs.into_iter().flatten().any(Output::is_stdout) { self.err } else { self.out }
    }
}

#[cfg(test)]
mod tests;
