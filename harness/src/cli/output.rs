//! Output files, and the exit status of a recording.

use std::io::Write;
use std::path::Path;

use super::{BROKEN, HOLDS, VOID};
use crate::Error;
use crate::recording::Recording;

/// Writes a file under a temporary name and renames it into place when it is complete, so that it is never half written.
pub(super) fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Error> {
    let file_error = |source| Error::File { path: path.to_path_buf(), source };
    let mut document = Vec::new();
    write(&mut document).map_err(file_error)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    std::fs::write(&beside, document).map_err(file_error)?;
    std::fs::rename(&beside, path).map_err(file_error)
}

/// The exit status, by the gates of a recording.
pub(super) fn status(recording: &Recording, allow_unsound: bool) -> u8 {
    let mut failures = recording.sections.iter().flat_map(|section| &section.failures);
    if recording.is_void() {
        VOID
    } else if failures.any(|failure| !(allow_unsound && failure.is_unsound)) || !recording.row_failures.is_empty() {
        BROKEN
    } else {
        HOLDS
    }
}
