//! What a recording means for the exit status, and what is printed and written of it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::{BROKEN, HOLDS, USAGE, VOID};
use crate::Error;
use crate::analysis::diff::Diff;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::interrupt;
use crate::recording::{Overall, Recording};
use crate::report::screen::{self, Screen};
use crate::report::{self, text};

/// How wide text for people may be: as the user says in COLUMNS, else as the terminal is, else as a page is.
pub(super) fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    asked.filter(|width| *width > 0).or_else(terminal).map_or(screen::WIDTH, |width| width.max(NARROWEST))
}

/// Prints what a run has found, or how it differs from an earlier one; `all`: however much that is. `took`: if it has just run.
pub(super) fn show(
    recording: &Recording,
    changes: Option<&Diff>,
    (all, took): (bool, Option<Duration>),
    out: &mut dyn Write,
) -> Result<(), Error> {
    let screen = Screen { width: width(), took, changes };
    printed(match changes {
        None if all => text::write(recording, out),
        Some(changes) if all => report::diff::write(changes, width(), out),
        _ => screen::write(recording, screen, out),
    })
}

/// In fewer columns than this no row fits.
const NARROWEST: usize = 50;

/// The exit status, by the gates of a recording. Nothing that was not judged is right.
pub(super) fn status(recording: &Recording, allow_unsound: bool) -> u8 {
    match recording.overall(allow_unsound) {
        Overall::NotJudged(_) => USAGE,
        Overall::Void(_) => VOID,
        Overall::Broken(_) | Overall::Partial => BROKEN,
        Overall::Holds => HOLDS,
    }
}

/// Whether the user's request has cut this recording short. One that came when all was done has not.
pub(super) fn is_cut(recording: &Recording, console: &Console<'_>) -> bool {
    console.interrupt.is_asked() && recording.partial.is_some()
}

/// Writes a document, if it is wanted: one of a recording that is cut short into `FILE.partial`.
pub(super) fn write(
    output: Option<&Output>,
    is_cut: bool,
    console: &mut Console<'_>,
    document: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), Error> {
    let Some(output) = output else { return Ok(()) };
    if !is_cut {
        return output.write(console.document(), document);
    }
    output.write_partial(console.document(), document)?;
    // There is nowhere to say that standard error is closed.
    let _ = writeln!(console.err, "what is known is in {}", output.partial_name().display());
    Ok(())
}

/// Says on standard error what was not judged, and gives the exit status. That of a recording that is cut short is
/// [`interrupt::STATUS`], whatever was found.
pub(super) fn finish(recording: &Recording, status: u8, console: &mut Console<'_>) -> u8 {
    let all = recording.sections.len() + recording.rows.len();
    let count = recording.not_judged().count();
    if let Some((title, reason)) = recording.not_judged().next() {
        let first = if count > 1 { "; the first" } else { "" };
        let _ = writeln!(console.err, "error: {count} of {all} runs not judged{first}: {title}: {reason}");
    }
    if let Some(reason) = recording.nothing_judged() {
        let _ = writeln!(console.err, "error: nothing was judged: {reason}");
    }
    if let Some(first) = recording.unread_images().next() {
        let count = recording.unread_images().count();
        let _ = writeln!(console.err, "error: {count} images could not be read; the first: {}", first.reason);
    }
    if !is_cut(recording, console) {
        return status;
    }
    let _ = writeln!(console.err, "interrupted");
    interrupt::STATUS
}

/// Refuses a comparison of nothing.
///
/// # Errors
///
/// [`Error::Usage`] for an earlier report that has none of the runs.
pub(super) fn require_common(baseline: Option<&Path>, changes: Option<&Diff>) -> Result<(), Error> {
    match baseline.zip(changes) {
        Some((path, changes)) if changes.compared == 0 => {
            let reason = "it has none of these runs, so that nothing was compared";
            Err(Error::Usage(format!("--baseline {}: {reason}", path.display())))
        }
        _ => Ok(()),
    }
}
