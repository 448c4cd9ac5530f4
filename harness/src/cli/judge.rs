//! `judge`: a recorded run, judged again without emulation.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::documents::{Documents, write_documents};
use super::foreign::{Foreign, Must};
use super::narrow::{Known, Narrow, narrow};
use super::output::{finish, require_common, show, status};
use super::revision;
use crate::file::{Console, Output};
use crate::recording::Partial;
use crate::scenario::Part;
use crate::suite::{Options, judge_all};
use crate::trace::log::LogFile;
use crate::{Error, analysis, cpu, file};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A file that `run --log` wrote
    #[arg(value_name = "LOG")]
    log: PathBuf,
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    foreign: Foreign,
    #[command(flatten)]
    must: Must,
    /// Print a line for each run and unwinder
    #[arg(long)]
    all: bool,
    /// Print only what differs from this report of an earlier run (`--json`)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How many runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    documents: Documents,
}

pub(super) fn execute(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let baseline = arguments.baseline.as_deref().map(revision::report).transpose()?;
    let outputs = Output::prepare(arguments.documents.named())?;
    for output in outputs.iter().flatten() {
        output.require_other_than(&arguments.log)?;
    }
    arguments.must.require(&arguments.foreign, false)?;
    let LogFile { logs, partial_of } = read(&arguments.log)?;
    let mut part = Part::default();
    arguments.narrow.add_to(&mut part, &Known::of_logs(&logs))?;
    let names = part.names();
    let cpus = logs.iter().filter_map(|log| cpu::by_name(log.head.scenario.split('/').next()?));
    let met = arguments.foreign.meet(cpus, &mut part)?;
    let options = Options {
        unwinders: names,
        remote: met.remote.clone(),
        threads: arguments.jobs.map(Into::into),
        keep_going: true,
        interrupt: console.interrupt.clone(),
        ..Options::default()
    };
    console.interrupt.defer();
    let progress = console.show_progress();
    let began = Instant::now();
    let mut recording = judge_all(logs, &options)?;
    drop(progress);
    arguments.must.hold(&met, &mut recording);
    let absent = met.absent(&recording);
    recording.skipped.splice(0..0, absent);
    if let Some(of) = partial_of {
        let whole = recording.sections.iter().filter(|section| !section.interrupted).count() as u64;
        let because = if console.interrupt.is_asked() { "interrupted" } else { "the log is partial" };
        recording.partial = Some(Partial { because: because.to_owned(), whole, of });
    }
    let took = began.elapsed();
    narrow(&mut recording, &part)?;
    write_documents(&outputs, console, &recording)?;
    console.interrupt.no_longer_defer();
    let changes = baseline.map(|mut baseline| {
        // A function of the part may be new.
        let _ = narrow(&mut baseline, &part);
        analysis::diff::diff(&baseline, &recording)
    });
    show(&recording, changes.as_ref(), (arguments.all, Some(took)), console.text(&outputs))?;
    require_common(arguments.baseline.as_deref(), changes.as_ref())?;
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
