//! `judge`: a recorded run, judged again without emulation.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{status, write_file};
use super::selection::require_subjects;
use crate::Error;
use crate::error::printed;
use crate::report::{json, text};
use crate::suite::{Options, judge_all};
use crate::trace::log::Log;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A file that `run --log` wrote
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
    /// How many runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Write the report as JSON to this file, replacing it: the same document as that of the run
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn execute(arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let path = &arguments.log;
    let file = std::fs::read(path).map_err(|source| Error::File { path: path.clone(), source })?;
    let malformed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
    let logs = Log::read_all(&file).map_err(malformed)?;
    let options =
        Options { unwinders: arguments.unwinder.clone(), threads: arguments.jobs.map(Into::into), log: false };
    let recording = judge_all(&logs, &options)?;
    if let Some(path) = &arguments.json {
        write_file(path, |out| json::write(&recording, out))?;
    }
    printed(text::write(&recording, out))?;
    Ok(status(&recording, false))
}
