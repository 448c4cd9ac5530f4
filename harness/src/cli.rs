//! The command line: what can be asked, and the exit status of the answer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arch::{self, Arch};
use crate::claim::Claims;
use crate::error::printed;
use crate::explain::Point;
use crate::report::{self, Report, Section, json, page, text};
use crate::scenario::{Kind, Scenario, Variant, load_all};
use crate::subject::Subject;
use crate::{Error, check, gate, sframe, subject, sweep};

/// Interrupts small guests before every instruction and judges stack unwinders against a truth that reads no unwind data.
///
/// Without a command: run everything and print one table.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
    /// The folder that holds `scenarios` and `guests` [default: the current one, else where this program was built]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  every gate holds
  1  a gate is broken
  2  wrong usage or input
  3  a run is void: the witnesses of the truth contradict each other";

const CHECK_STATUS: &str = "\
Exit status:
  0  every wrong row is listed with its reason ([[wrong-rows]] of a scenario)
  1  one is not, or a listed one is right
  2  wrong usage or input
  3  a run is void: the witnesses of the truth contradict each other";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and print one table
    #[command(after_help = EXIT_STATUS)]
    Run(RunArguments),
    /// Hold the unwind data of guests against the truth, function by function, without any walk
    #[command(after_help = CHECK_STATUS)]
    Check(CheckArguments),
    /// List the scenarios, their variants and their unwinders
    List(Selection),
    /// Run what rewrites return addresses, and print where the originals can be found and what unwinders make of it
    Atlas(AtlasArguments),
    /// Run everything and print what it says of the open claims (docs/claims.toml), as Markdown
    Findings,
    /// Tell one point in full: registers, code, truth, and each walk with the words it read
    Explain(ExplainArguments),
    /// Read the SFrame section of a file
    Sframe(sframe::Arguments),
}

/// Which scenarios.
#[derive(Debug, Args)]
struct Selection {
    /// Only scenarios whose name contains one of these; a whole name (`arm64/leaf` or `leaf`) selects just that
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Only this CPU: arm64, riscv64 or x86_64
    #[arg(long, value_name = "CPU")]
    arch: Option<String>,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    selection: Selection,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
    /// How many runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Write the report to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the annotated listings before the table
    #[arg(long)]
    listing: bool,
    /// Let unsound verdicts pass: print them, but do not fail for them
    #[arg(long)]
    allow_unsound: bool,
}

#[derive(Debug, Args)]
struct CheckArguments {
    #[command(flatten)]
    selection: Selection,
    /// Write the report to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AtlasArguments {
    #[command(flatten)]
    selection: Selection,
    /// Only rows of this rewriter: fgraph, ftrace, rethook, ...
    #[arg(long, value_name = "NAME")]
    rewriter: Option<String>,
    /// Only rows of this design: F0, F1, ...
    #[arg(long, value_name = "NAME")]
    fix: Option<String>,
    /// Only rows of this unwinder
    #[arg(long, value_name = "NAME")]
    unwinder: Option<String>,
    /// Below each row, print where its walks are not right or no rule can find the address
    #[arg(long)]
    intervals: bool,
    /// Write the rows to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with rows, intervals and listings to this file, replacing it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// The scenario, as in `arm64/leaf`
    scenario: String,
    /// The point: `symbol+0x8#2` is the second arrival at that instruction
    point: Point,
    /// The kind of interruption [default: the scenario's first]
    #[arg(long, value_name = "KIND")]
    interrupt: Option<String>,
    /// The variant [default: the first]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
}

/// Every gate holds.
const HOLDS: u8 = 0;
/// A gate is broken.
const BROKEN: u8 = 1;
/// Wrong usage or input; clap uses the same.
pub const USAGE: u8 = 2;
/// A run is void.
const VOID: u8 = 3;

impl Cli {
    /// Does what was asked and gives the exit status. Results go to `out`; progress goes to the terminal, if there is one.
    ///
    /// # Errors
    ///
    /// Whatever keeps the work from being done; its exit status is [`USAGE`].
    pub fn execute(&self, out: &mut dyn Write) -> Result<u8, Error> {
        let root = self.root.clone().unwrap_or_else(default_root);
        match &self.command {
            None => run(&root, &self.run, out),
            Some(Command::Run(arguments)) => run(&root, arguments, out),
            Some(Command::Check(arguments)) => check_rows(&root, arguments, out),
            Some(Command::List(selection)) => list(&root, selection, out),
            Some(Command::Atlas(arguments)) => atlas(&root, arguments, out),
            Some(Command::Findings) => findings(&root, out),
            Some(Command::Explain(arguments)) => explain_point(&root, arguments, out),
            Some(Command::Sframe(arguments)) => sframe::execute(arguments, out),
        }
    }
}

fn default_root() -> PathBuf {
    let here = PathBuf::from(".");
    if here.join("scenarios").is_dir() { here } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) }
}

/// The scenarios that were asked for; none is an error, because it is a typing mistake.
fn select(root: &Path, selection: &Selection) -> Result<Vec<Scenario>, Error> {
    let Selection { filters, arch } = selection;
    if let Some(arch) = arch
        && arch::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", arch::names())));
    }
    let mut scenarios = load_all(root)?;
    scenarios.retain(|scenario| arch.as_ref().is_none_or(|arch| scenario.arch.name() == arch));
    let is_whole = |scenario: &Scenario, filter: &str| {
        scenario.name == filter || scenario.name.split_once('/').is_some_and(|(_, stem)| stem == filter)
    };
    for filter in filters {
        if !scenarios.iter().any(|scenario| scenario.name.contains(filter.as_str())) {
            return Err(Error::Usage(format!("no scenario matches {filter:?}; `unwind-harness list` shows them")));
        }
    }
    let wanted = |scenario: &Scenario| {
        filters.iter().any(|filter| {
            is_whole(scenario, filter)
                || (scenario.name.contains(filter.as_str()) && !scenarios.iter().any(|other| is_whole(other, filter)))
        })
    };
    let keep: Vec<bool> = scenarios.iter().map(|scenario| filters.is_empty() || wanted(scenario)).collect();
    let mut keep = keep.into_iter();
    scenarios.retain(|_| keep.next().unwrap_or(false));
    if scenarios.is_empty() {
        return Err(Error::Usage("no scenario is left".to_owned()));
    }
    Ok(scenarios)
}

/// The subjects of a CPU, or those of them that were named.
fn select_subjects(arch: &dyn Arch, names: &[String]) -> Vec<Subject> {
    let mut subjects = subject::all(arch);
    subjects.retain(|subject| names.is_empty() || names.contains(&subject.name));
    subjects
}

/// Every name must belong to a subject of some CPU.
fn require_subjects(names: &[String]) -> Result<(), Error> {
    let known: Vec<String> =
        arch::ALL.iter().flat_map(|arch| subject::all(*arch)).map(|subject| subject.name).collect();
    match names.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(unknown) => {
            let mut known = known;
            known.sort();
            known.dedup();
            Err(Error::Usage(format!("--unwinder {unknown}: no such unwinder; there are {}", known.join(", "))))
        }
    }
}

fn run(root: &Path, arguments: &RunArguments, out: &mut dyn Write) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let scenarios = select(root, &arguments.selection)?;
    let report = run_all(root, &scenarios, &arguments.unwinder, arguments.jobs.map(Into::into))?;
    if let Some(path) = &arguments.json {
        write_file(path, |out| json::write(&report, out))?;
    }
    if arguments.listing {
        for section in &report.sections {
            printed(page::write(section, out).and_then(|()| writeln!(out)))?;
        }
    }
    printed(text::write(&report, out))?;
    let broken = report.sections.iter().flat_map(|section| &section.broken);
    let is_broken = broken.into_iter().any(|broken| !(arguments.allow_unsound && broken.is_unsound));
    Ok(if report.is_void() {
        VOID
    } else if is_broken {
        BROKEN
    } else {
        HOLDS
    })
}

/// Writes a file at once, when all that it will hold is known.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Error> {
    let file_error = |source| Error::File { path: path.to_path_buf(), source };
    let mut document = Vec::new();
    write(&mut document).map_err(file_error)?;
    std::fs::write(path, document).map_err(file_error)
}

fn check_rows(root: &Path, arguments: &CheckArguments, out: &mut dyn Write) -> Result<u8, Error> {
    let scenarios = select(root, &arguments.selection)?;
    let report = check::run_all(root, &scenarios, &load_all(root)?)?;
    if let Some(path) = &arguments.json {
        write_file(path, |out| check::json::write(&report, out))?;
    }
    printed(check::text::write(&report, out))?;
    Ok(if report.guests.iter().any(|guest| guest.void.is_some() && !guest.void_is_meant) {
        VOID
    } else if report.broken.is_empty() {
        HOLDS
    } else {
        BROKEN
    })
}

fn atlas(root: &Path, arguments: &AtlasArguments, out: &mut dyn Write) -> Result<u8, Error> {
    let mut scenarios = select(root, &arguments.selection)?;
    scenarios.retain(|scenario| scenario.text.rewriter.is_some());
    if scenarios.is_empty() {
        return Err(Error::Usage("no scenario that was asked for rewrites return addresses".to_owned()));
    }
    let report = run_all(root, &scenarios, &[], None)?;
    let mut rows = report::atlas::rows(&report);
    let AtlasArguments { rewriter, fix, unwinder, .. } = arguments;
    let had_rows = !rows.is_empty();
    for (index, wanted) in [(1, rewriter), (2, fix), (3, unwinder)] {
        rows.retain(|row| wanted.as_ref().is_none_or(|wanted| row.names()[index] == wanted));
    }
    if had_rows && rows.is_empty() {
        return Err(Error::Usage(
            "the atlas has no such row; without --rewriter, --fix and --unwinder it prints all".to_owned(),
        ));
    }
    if let Some(path) = &arguments.json {
        write_file(path, |out| report::atlas::json::write(&rows, out))?;
    }
    if let Some(path) = &arguments.html {
        write_file(path, |out| report::atlas::html::write(&rows, &report, out))?;
    }
    printed(report::atlas::text::write(&rows, arguments.intervals, out))?;
    Ok(if report.is_void() { VOID } else { HOLDS })
}

/// One run of one guest.
struct Job<'a> {
    scenario: &'a Scenario,
    variant: Variant,
    kind: Kind,
}

/// Runs scenarios on several threads; the report is the same for any number of them.
///
/// # Errors
///
/// The first error, in the order of jobs.
pub fn run_all(
    root: &Path,
    scenarios: &[Scenario],
    unwinders: &[String],
    threads: Option<usize>,
) -> Result<Report, Error> {
    let jobs: Vec<Job<'_>> = scenarios
        .iter()
        .flat_map(|scenario| {
            scenario.variants().into_iter().flat_map(move |variant| {
                let kinds = scenario.text.interrupt.iter();
                kinds.map(move |kind| Job { scenario, variant: variant.clone(), kind: *kind })
            })
        })
        .collect();
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let bar = ProgressBar::new(jobs.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Section, Error>>>> = Mutex::new((0..jobs.len()).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((index, job)) = take(&next, &jobs) {
                    bar.set_message(job.scenario.name.clone());
                    let subjects = select_subjects(job.scenario.arch, unwinders);
                    let result = sweep::Job { root, scenario: job.scenario, variant: &job.variant, kind: job.kind }
                        .run(&subjects);
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut sections = results.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
    for scenario in scenarios {
        let all: Vec<String> = subject::all(scenario.arch).into_iter().map(|subject| subject.name).collect();
        let Some(first) = sections.iter().position(|section| section.scenario == scenario.name) else { continue };
        let count = sections[first..].iter().take_while(|section| section.scenario == scenario.name).count();
        gate::check(scenario, &mut sections[first..first + count], &all, unwinders.is_empty());
    }
    Ok(Report { sections })
}

/// The next job that nobody has taken.
fn take<'j, 'a>(next: &AtomicUsize, jobs: &'j [Job<'a>]) -> Option<(usize, &'j Job<'a>)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, jobs.get(index)?))
}

fn findings(root: &Path, out: &mut dyn Write) -> Result<u8, Error> {
    let claims = Claims::load(root)?;
    let report = run_all(root, &load_all(root)?, &[], None)?;
    printed(report::findings::write(&report, &claims, out))?;
    Ok(HOLDS)
}

fn list(root: &Path, selection: &Selection, out: &mut dyn Write) -> Result<u8, Error> {
    for scenario in select(root, selection)? {
        let variants: Vec<_> = scenario.variants().into_iter().map(|variant| variant.name).collect();
        let variants = variants.join(" ");
        let kinds: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        let subjects: Vec<_> = subject::all(scenario.arch).into_iter().map(|subject| subject.name).collect();
        let line = format!("{:<36} {:<12} {:<20} {variants}", scenario.name, kinds.join(" "), subjects.join(" "));
        printed(writeln!(out, "{}", line.trim_end()))?;
    }
    Ok(HOLDS)
}

fn explain_point(root: &Path, arguments: &ExplainArguments, out: &mut dyn Write) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let scenarios = load_all(root)?;
    let scenario = scenarios.iter().find(|scenario| scenario.name == arguments.scenario).ok_or_else(|| {
        Error::Usage(format!("no scenario {:?}; `unwind-harness list` shows them", arguments.scenario))
    })?;
    let variants = scenario.variants();
    let variant = match &arguments.variant {
        None => variants.first(),
        Some(name) => variants.iter().find(|variant| variant.name == *name),
    };
    let variant = variant.ok_or_else(|| {
        let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
        Error::Usage(format!("{} has no such variant; it has {names:?}", scenario.name))
    })?;
    let subjects = select_subjects(scenario.arch, &arguments.unwinder);
    let kind = match &arguments.interrupt {
        None => scenario.text.interrupt.first().copied(),
        Some(name) => scenario.text.interrupt.iter().copied().find(|kind| kind.name() == name),
    };
    let kind = kind.ok_or_else(|| {
        let names: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        Error::Usage(format!("{} is not interrupted like that, but by {names:?}", scenario.name))
    })?;
    let text = sweep::Job { root, scenario, variant, kind }.explain(&subjects, &arguments.point)?;
    printed(write!(out, "{text}"))?;
    Ok(HOLDS)
}
