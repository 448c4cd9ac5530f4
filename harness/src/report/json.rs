//! The recording for machines: schema 2, described in docs/report.md.

use std::io::Write;

use crate::recording::Recording;

/// Writes the recording, with a newline at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, recording)?;
    writeln!(out)
}
