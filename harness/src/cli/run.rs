//! `run`: walks, judged.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{status, write_file};
use super::selection::{Selection, require_subjects, select};
use crate::Error;
use crate::error::printed;
use crate::report::{json, page, text};
use crate::suite::{Options, run_all};
use crate::trace::log::Log;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
    /// How many runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Write the report as JSON to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Record the runs in this file, replacing it: `judge` reads it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the annotated listings before the table
    #[arg(long)]
    listing: bool,
    /// Print unsound verdicts, but do not fail because of them
    #[arg(long)]
    allow_unsound: bool,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let scenarios = select(root, &arguments.selection)?;
    let options = Options {
        unwinders: arguments.unwinder.clone(),
        threads: arguments.jobs.map(Into::into),
        log: arguments.log.is_some(),
    };
    let (recording, logs) = run_all(root, &scenarios, &options)?;
    if let Some(path) = &arguments.log {
        write_file(path, |out| out.write_all(&Log::file(&logs)))?;
    }
    if let Some(path) = &arguments.json {
        write_file(path, |out| json::write(&recording, out))?;
    }
    if arguments.listing {
        for section in &recording.sections {
            printed(page::write(section, out).and_then(|()| writeln!(out)))?;
        }
    }
    printed(text::write(&recording, out))?;
    Ok(status(&recording, arguments.allow_unsound))
}
