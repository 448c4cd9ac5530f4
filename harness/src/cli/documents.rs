//! The documents that a command writes of what it found: options, and files.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{is_cut, write};
use crate::Error;
use crate::file::{Console, Output};
use crate::recording::Recording;
use crate::report::{html, json, junit, ktap};

/// Documents of every command that judges.
#[derive(Debug, Default, Args)]
pub(super) struct Documents {
    /// Write the report as JSON to this file, replacing it; `-`: to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as JUnit XML, for CI servers, to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as KTAP, the kernel's form of TAP, to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    ktap: Option<PathBuf>,
    /// Write the report as one HTML page to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How many documents there are.
pub(super) const COUNT: usize = 4;

/// Writes a recording in one form.
type Format = fn(&Recording, &mut dyn Write) -> std::io::Result<()>;

/// The forms, in the order of the options.
const FORMATS: [Format; COUNT] = [json::write, junit::write, ktap::write, html::write];

impl Documents {
    /// The options and the files that they name.
    pub(super) fn named(&self) -> [(&'static str, Option<&PathBuf>); COUNT] {
        [("--json", &self.json), ("--junit", &self.junit), ("--ktap", &self.ktap), ("--html", &self.html)]
            .map(|(option, path)| (option, path.as_ref()))
    }
}

/// Writes the documents that are wanted: those of a recording that is cut short into `FILE.partial`.
pub(super) fn write_documents(
    outputs: &[Option<Output>; COUNT],
    console: &mut Console<'_>,
    recording: &Recording,
) -> Result<(), Error> {
    for (output, format) in outputs.iter().zip(FORMATS) {
        write_as(output.as_ref(), format, console, recording)?;
    }
    Ok(())
}

/// Writes one document, if it is wanted.
pub(super) fn write_as(
    output: Option<&Output>,
    format: Format,
    console: &mut Console<'_>,
    recording: &Recording,
) -> Result<(), Error> {
    write(output, is_cut(recording, console), console, &mut |out| format(recording, out))
}
