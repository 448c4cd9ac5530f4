//! `diff`: two recordings, compared.

use std::path::{Path, PathBuf};

use clap::Args;

use super::narrow::{Known, Narrow, narrow};
use super::output::width;
use super::{BROKEN, HOLDS};
use crate::Error;
use crate::analysis::diff::diff;
use crate::error::printed;
use crate::file::{self, Console};
use crate::recording::{Recording, SCHEMA};
use crate::report;
use crate::scenario::Part;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What `--json` wrote before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// What it wrote now
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    narrow: Narrow,
}

pub(super) fn execute(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (mut old, mut new) = (read(&arguments.old)?, read(&arguments.new)?);
    let mut part = Part::default();
    arguments.narrow.add_to(&mut part, &Known::of_recordings([&old, &new]))?;
    // A function may be in one of them only.
    if let (Err(error), Err(_)) = (narrow(&mut old, &part), narrow(&mut new, &part)) {
        return Err(error);
    }
    for (path, recording) in [(&arguments.old, &old), (&arguments.new, &new)] {
        if let Some(partial) = &recording.partial {
            let _ = writeln!(console.err, "note: {}: {partial}", path.display());
        }
    }
    let found = diff(&old, &new);
    printed(report::diff::write(&found, width(), console.out))?;
    Ok(if found.is_empty() { HOLDS } else { BROKEN })
}

/// Reads a report.
pub(super) fn read(path: &Path) -> Result<Recording, Error> {
    let bytes = file::read(path, file::MAX_BINARY)?;
    let no_report = |error: &dyn std::fmt::Display| {
        Error::Usage(format!("{}: it is no report of `--json`: {error}", path.display()))
    };
    let recording: Recording = serde_json::from_slice(&bytes).map_err(|error| no_report(&error))?;
    if recording.schema != SCHEMA {
        return Err(no_report(&format_args!("its schema is {}, and this program reads {SCHEMA}", recording.schema)));
    }
    Ok(recording)
}
