//! `run`: walks, judged.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{finish, is_cut, status, write, write_json};
use super::selection::{Selection, require_subjects, select};
use crate::Error;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::recording::Recording;
use crate::report::{page, text};
use crate::suite::{Options, run_all};
use crate::trace::log::{Log, LogFile};

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
    /// Write the report as JSON to this file, replacing it; `-`: to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Record the runs in this file, replacing it: `judge` reads it; `-`: on standard output
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the annotated listings before the table
    #[arg(long)]
    listing: bool,
    /// Print unsound verdicts, but do not fail because of them
    #[arg(long)]
    allow_unsound: bool,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let scenarios = select(root, &arguments.selection)?;
    let outputs = Output::prepare([("--json", arguments.json.as_ref()), ("--log", arguments.log.as_ref())])?;
    let options = Options {
        unwinders: arguments.unwinder.clone(),
        threads: arguments.jobs.map(Into::into),
        log: arguments.log.is_some(),
        keep_going: true,
        interrupt: console.interrupt.clone(),
    };
    console.interrupt.defer();
    let (recording, logs) = run_all(root, &scenarios, &options)?;
    let [json, log] = &outputs;
    let is_cut = is_cut(&recording, console);
    write(log.as_ref(), is_cut, console, &mut |out| out.write_all(&log_file(&recording, &logs)))?;
    write_json(json.as_ref(), console, &recording)?;
    console.interrupt.no_longer_defer();
    let out = console.text(&outputs);
    if arguments.listing {
        for section in &recording.sections {
            printed(page::write(section, out).and_then(|()| writeln!(out)))?;
        }
    }
    printed(text::write(&recording, out))?;
    Ok(finish(&recording, status(&recording, arguments.allow_unsound), console))
}

/// The file of these logs, marked as partial if one is missing or was cut short.
fn log_file(recording: &Recording, logs: &[Vec<u8>]) -> Vec<u8> {
    let of = recording.partial.as_ref().map_or(recording.sections.len() as u64, |partial| partial.of);
    let is_whole = recording.partial.is_none() && recording.not_judged().next().is_none();
    if is_whole { Log::file(logs) } else { LogFile::partial(logs, of) }
}
