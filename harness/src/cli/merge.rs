//! `merge`: the reports of shards, as the report of the whole run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::documents::{Documents, write_documents};
use super::output::{finish, show, status};
use crate::Error;
use crate::analysis::merge::merge;
use crate::file::{self, Console, Output};
use crate::recording::Recording;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Reports of `run --shard I/N --json FILE`, in any order; or one report, to write it in another form
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,
    /// Print a line for each run and unwinder
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    documents: Documents,
}

pub(super) fn execute(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let outputs = Output::prepare(arguments.documents.named())?;
    for (output, report) in
        outputs.iter().flatten().flat_map(|it| arguments.reports.iter().map(move |report| (it, report)))
    {
        output.require_other_than(report)?;
    }
    let parts: Vec<(String, Recording)> = arguments
        .reports
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<_, Error>>()?;
    let recording = merge(parts).map_err(Error::Usage)?;
    write_documents(&outputs, console, &recording)?;
    show(&recording, None, (arguments.all, None), console.text(&outputs))?;
    Ok(finish(&recording, status(&recording, false), console))
}

/// Reads a report.
fn read(path: &Path) -> Result<Recording, Error> {
    let bytes = file::read(path, file::MAX_BINARY)?;
    let no_report = |error| Error::Usage(format!("{}: it is no report of `--json`: {error}", path.display()));
    serde_json::from_slice(&bytes).map_err(no_report)
}
