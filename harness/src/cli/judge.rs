//! `judge`: a recorded run, judged again without emulation.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::documents::{Documents, write_documents};
use super::output::{finish, status};
use super::selection::require_subjects;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::recording::Partial;
use crate::report::text;
use crate::suite::{Options, judge_all};
use crate::trace::log::LogFile;
use crate::{Error, file};

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
    #[command(flatten)]
    documents: Documents,
}

pub(super) fn execute(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let outputs = Output::prepare(arguments.documents.named())?;
    for output in outputs.iter().flatten() {
        output.require_other_than(&arguments.log)?;
    }
    let LogFile { logs, partial_of } = read(&arguments.log)?;
    let options = Options {
        unwinders: arguments.unwinder.clone(),
        threads: arguments.jobs.map(Into::into),
        keep_going: true,
        interrupt: console.interrupt.clone(),
        ..Options::default()
    };
    console.interrupt.defer();
    let progress = console.show_progress();
    let mut recording = judge_all(logs, &options)?;
    drop(progress);
    if let Some(of) = partial_of {
        let whole = recording.sections.iter().filter(|section| !section.interrupted).count() as u64;
        let because = if console.interrupt.is_asked() { "interrupted" } else { "the log is partial" };
        recording.partial = Some(Partial { because: because.to_owned(), whole, of });
    }
    write_documents(&outputs, console, &recording)?;
    console.interrupt.no_longer_defer();
    printed(text::write(&recording, console.text(&outputs)))?;
    Ok(finish(&recording, status(&recording, false), console))
}

/// Reads a file of logs. What is something else is not read whole, whatever its size.
fn read(path: &Path) -> Result<LogFile, Error> {
    let malformed = |reason: String| Error::Usage(format!("{}: {reason}", path.display()));
    let failed = |source| Error::File { path: path.to_path_buf(), source };
    let (mut stream, _) = file::open(path)?;
    let mut file = Vec::new();
    stream.by_ref().take(LogFile::MAGIC_SIZE).read_to_end(&mut file).map_err(failed)?;
    LogFile::require_magic(&file).map_err(malformed)?;
    stream.read_to_end(&mut file).map_err(failed)?;
    LogFile::read(&file).map_err(malformed)
}
