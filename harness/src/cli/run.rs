//! `run`: walks, judged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::documents::{Documents, write_documents};
use super::foreign::{Foreign, Must};
use super::narrow::{Narrow, narrow};
use super::output::{finish, is_cut, require_common, show, status, write};
use super::save::save;
use super::selection::{Selection, select_part, unwinders};
use super::{BROKEN, HOLDS, revision, snapshots};
use crate::analysis::diff::Diff;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::recording::{Recording, ShardOf};
use crate::report::screen::is_on_trial;
use crate::report::{certificate, page};
use crate::scenario::{Interruption, Part, Scenario};
use crate::suite::{Freeze, FrozenCall, Options, called, freeze, freeze_process, is_split, run_all};
use crate::trace::log::{Log, LogFile};
use crate::{Error, analysis, rows};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    foreign: Foreign,
    #[command(flatten)]
    must: Must,
    /// How many runs at a time [default: the number of CPUs]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    documents: Documents,
    /// Record the runs in this file, replacing it: `judge` reads it; `-`: on standard output
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Freeze the run in this file, replacing it: `run --case` runs it without the guest. One scenario, and one variant of it; of a
    /// process, the first call of the function that --within names
    #[arg(long, value_name = "FILE", conflicts_with_all = ["log", "case", "unwinder_cmd"])]
    freeze: Option<PathBuf>,
    /// With --elf: write the call or the process as a scenario of this name, which must be new, below the root
    #[arg(long, value_name = "NAME", requires = "elf")]
    save_scenario: Option<String>,
    /// Run only this part, `2/3`: the second of three; of the scenarios, or, of fewer scenarios than shards, of each run's points.
    /// `merge` puts the JSON reports of all together
    #[arg(long, value_name = "I/N", conflicts_with_all = ["log", "freeze", "elf"])]
    shard: Option<ShardOf>,
    /// Print the annotated listings before the table
    #[arg(long)]
    listing: bool,
    /// Print a line for each run and unwinder; with --elf or --case every function, and each range in which a row is wrong
    #[arg(long)]
    all: bool,
    /// Print only what differs from this report of an earlier run (`--json`)
    #[arg(long, value_name = "FILE", conflicts_with = "case")]
    baseline: Option<PathBuf>,
    /// Keep every verdict of each scenario in ROOT/snapshots, or compare with what is kept (docs/snapshot.md)
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["shard", "freeze", "case", "elf", "linux", "unwinder_cmd"])]
    snapshots: Option<snapshots::What>,
    /// Print unsound verdicts, but do not fail because of them
    #[arg(long)]
    allow_unsound: bool,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (mut scenarios, skipped, mut part) = select_part(root, &arguments.selection, &arguments.narrow)?;
    refuse(arguments, &scenarios, &part)?;
    arguments.must.require(&arguments.foreign, arguments.shard.is_some())?;
    if let (Some(name), [scenario]) = (&arguments.save_scenario, scenarios.as_slice()) {
        save(root, scenario, name)?;
    }
    let baseline = arguments.baseline.as_deref().map(revision::report).transpose()?;
    let [json, junit, ktap, html] = arguments.documents.named();
    let others = [("--log", &arguments.log), ("--freeze", &arguments.freeze)];
    let [log, frozen] = others.map(|(option, path)| (option, path.as_ref()));
    let outputs = Output::prepare([json, junit, ktap, html, log, frozen])?;
    let names = part.names();
    let met = arguments.foreign.meet(scenarios.iter().map(|scenario| scenario.cpu), &mut part)?;
    // A case names its own, unless only others are wanted.
    let are_alone = names.is_empty() && !met.remote.is_empty();
    let options = Options {
        unwinders: if are_alone { names } else { unwinders(&names, &scenarios)? },
        remote: met.remote.clone(),
        part: part.clone(),
        threads: arguments.jobs.map(Into::into),
        log: arguments.log.is_some(),
        keep_going: true,
        interrupt: console.interrupt.clone(),
        shard: arguments.shard,
    };
    console.interrupt.defer();
    let progress = console.show_progress();
    let began = Instant::now();
    let [documents @ .., log, frozen] = &outputs;
    let (mut recording, logs) = match frozen {
        None => run_all(root, &scenarios, &options)?,
        Some(output) => (frozen_as(output, root, &mut scenarios, &options, console)?, Vec::new()),
    };
    // What was frozen is run from its case.
    if let Some(target) = arguments.selection.target().filter(|_| frozen.is_none()) {
        recording.sections.iter_mut().for_each(|section| section.target = Some(target.clone()));
    }
    arguments.must.hold(&met, &mut recording);
    let absent = met.absent(&recording);
    recording.skipped.splice(0..0, skipped.into_iter().chain(absent));
    let are_calls = scenarios.iter().all(|scenario| scenario.text.is_of_others());
    if are_calls && recording.partial.is_none() {
        add_calls(root, &scenarios, &mut recording, console)?;
    }
    drop(progress);
    let took = began.elapsed();
    narrow(&mut recording, &part)?;
    let is_cut = is_cut(&recording, console);
    write(log.as_ref(), is_cut, console, &mut |out| out.write_all(&log_file(&recording, &logs)))?;
    write_documents(documents, console, &recording)?;
    console.interrupt.no_longer_defer();
    let changes = baseline.map(|baseline| changes(baseline, &recording, &scenarios, &part)).transpose()?;
    say(arguments, &scenarios, &recording, changes.as_ref(), took, console.text(&outputs))?;
    // Gates come first: what broke one is in the snapshots too.
    let held = arguments.snapshots.map(|what| snapshots::hold(root, what, &recording, console.text(&outputs)));
    require_common(arguments.baseline.as_deref(), changes.as_ref())?;
    let status = match (status(&recording, arguments.allow_unsound), held.transpose()?) {
        (HOLDS, Some(false)) => BROKEN,
        (status, _) => status,
    };
    let status = finish(&recording, status, console);
    std::mem::forget(recording); // the program ends: to free it piece by piece takes as long as to print it
    Ok(status)
}

/// Prints what was found.
fn say(
    arguments: &Arguments,
    scenarios: &[Scenario],
    recording: &Recording,
    changes: Option<&Diff>,
    took: Duration,
    out: &mut dyn Write,
) -> Result<(), Error> {
    printed(super::process::write(scenarios, out))?;
    if arguments.listing {
        for section in &recording.sections {
            printed(page::write(section, out).and_then(|()| writeln!(out)))?;
        }
    }
    if let Some(shard) = &recording.shard {
        let (here, all) = (shard.positions.len(), shard.runs);
        printed(writeln!(
            out,
            "shard {}: {here} of {all} runs; `unwind-harness merge` puts shards together",
            shard.shard
        ))?;
    }
    let are_calls = scenarios.iter().all(|scenario| scenario.text.is_of_others());
    if are_calls && changes.is_none() && (arguments.all || !is_on_trial(recording)) {
        return printed(certificate::write(recording, arguments.all, out));
    }
    show(recording, changes, (arguments.all, Some(took)), out)
}

/// Refuses what cannot be kept, or means nothing together.
fn refuse(arguments: &Arguments, scenarios: &[Scenario], part: &Part) -> Result<(), Error> {
    if arguments.save_scenario.is_some() && arguments.selection.elf.elf.is_none() {
        return Err(Error::Usage("--save-scenario: it needs a file (--elf)".to_owned()));
    }
    refuse_what_cannot_be_kept(arguments, scenarios)?;
    refuse_forms_of_points(arguments, scenarios, part)?;
    if arguments.snapshots.is_some() {
        snapshots::require_whole(part)?;
    }
    Ok(())
}

/// A shard that has parts of runs holds no gates, so that only `merge` can say in other forms what came of them.
fn refuse_forms_of_points(arguments: &Arguments, scenarios: &[Scenario], part: &Part) -> Result<(), Error> {
    let [_, others @ ..] = arguments.documents.named();
    let is_split = arguments.shard.is_some_and(|shard| is_split(scenarios, shard));
    let has_starts = !part.starts.is_empty() || part.unwinders.iter().any(|(_, start)| start.is_some());
    if is_split && (part.is_of_places() || has_starts) {
        let reason = "--shard: there are more shards than scenarios, and the gates of points that are put together need all starts and \
                      functions: name none";
        return Err(Error::Usage(reason.to_owned()));
    }
    match others.iter().find(|(_, path)| is_split && path.is_some()) {
        None => Ok(()),
        Some((option, _)) => Err(Error::Usage(format!(
            "{option}: there are more shards than scenarios, so that a shard has a part of each run's points and no gate is held; \
             write --json, and {option} of `merge`"
        ))),
    }
}

/// A log does not hold everything that somebody's program is made of.
fn refuse_what_cannot_be_kept(arguments: &Arguments, scenarios: &[Scenario]) -> Result<(), Error> {
    let is_process = scenarios.iter().any(|scenario| scenario.process().is_some());
    let is_call = scenarios.iter().any(|scenario| scenario.text.elf.is_some());
    if arguments.log.is_none() {
        return Ok(());
    }
    let reason = match (is_process, is_call) {
        (true, _) => {
            "--log records guests of this repository: what a process maps, its threads and its signals change what is there while it \
             runs; --save-scenario keeps how it is run, and --freeze one of its calls"
        }
        (false, true) => "--log records guests of this repository; --freeze keeps a call of a file",
        _ => return Ok(()),
    };
    Err(Error::Usage(reason.to_owned()))
}

/// How a run differs from an earlier one, of which only what was selected now is of interest.
fn changes(mut baseline: Recording, recording: &Recording, scenarios: &[Scenario], part: &Part) -> Result<Diff, Error> {
    baseline.sections.retain(|section| scenarios.iter().any(|scenario| scenario.name == section.scenario));
    baseline.rows.clear(); // those of `check`
    // A function of the part may be new.
    match narrow(&mut baseline, part) {
        Ok(()) | Err(Error::Usage(_)) => Ok(analysis::diff::diff(&baseline, recording)),
        Err(error) => Err(error),
    }
}

/// Adds what the functions of somebody's files did, and how right their rows are.
fn add_calls(
    root: &Path,
    scenarios: &[Scenario],
    recording: &mut Recording,
    console: &Console<'_>,
) -> Result<(), Error> {
    for scenario in scenarios {
        // A call that fails is a run that was not judged, which says why.
        if let Ok(Some(call)) = called(root, scenario, &console.interrupt) {
            recording.calls.push(call);
        }
    }
    let judged: Vec<Scenario> = { scenarios.iter() }
        .filter(|it| {
            it.process().is_some() || it.case().is_some() || recording.calls.iter().any(|call| call.scenario == it.name)
        })
        .cloned()
        .collect();
    let checked = rows::check_all(root, &judged, &[], &console.interrupt, true)?;
    recording.rows = checked.rows;
    Ok(())
}

/// Runs the one selected scenario, and writes its case. What is shown of a call that a process makes is what the case shows, and its
/// scenario takes the place of the selected one.
fn frozen_as(
    output: &Output,
    root: &Path,
    scenarios: &mut Vec<Scenario>,
    options: &Options,
    console: &mut Console<'_>,
) -> Result<Recording, Error> {
    let [scenario] = scenarios.as_slice() else {
        let count = scenarios.len();
        return Err(Error::Usage(format!("--freeze takes one scenario, and {count} are selected; name one")));
    };
    if let Some(process) = scenario.process() {
        let FrozenCall { text, scenario, recording } = freeze_process(scenario, process, output.path(), options)?;
        output.write(console.document(), &mut |out| out.write_all(text.as_bytes()))?;
        *scenarios = vec![scenario];
        return Ok(recording);
    }
    let mut variants = scenario.variants();
    let part = &options.part;
    variants.retain(|variant| part.variants.is_empty() || part.has_variant(Some(&variant.name)));
    let [variant] = variants.as_slice() else {
        let (name, count) = (&scenario.name, variants.len());
        return Err(Error::Usage(format!("--freeze takes one variant, and {name} has {count}")));
    };
    let is_wanted = |kind: &Interruption| part.kinds.is_empty() || part.kinds.contains(kind);
    let kinds: Vec<Interruption> = scenario.text.interrupt.iter().copied().filter(is_wanted).collect();
    let linux = scenario.image().and_then(|image| image.path.file_name());
    let linux = linux.map_or(String::new(), |name| format!(" --linux {}", name.to_string_lossy()));
    let named = kinds.iter().map(|kind| format!(" --interrupt {}", kind.name()));
    let named: String = named.chain(options.unwinders.iter().map(|name| format!(" --unwinder {name}"))).collect();
    let command = format!("unwind-harness run{linux} {}{named} --freeze FILE", scenario.name);
    let what = Freeze { root, scenario, variant, kinds: &kinds, command: &command };
    let (recording, case) = freeze(what, options)?;
    match case {
        Some(case) => {
            let text = case.to_text()?;
            output.write(console.document(), &mut |out| out.write_all(text.as_bytes()))?;
        }
        None => {
            let _ = writeln!(console.err, "no case was written: it would show nothing");
        }
    }
    Ok(recording)
}

/// The file of these logs, marked as partial if one is missing or was cut short.
fn log_file(recording: &Recording, logs: &[Vec<u8>]) -> Vec<u8> {
    let of = recording.partial.as_ref().map_or(recording.sections.len() as u64, |partial| partial.of);
    let is_whole = recording.partial.is_none() && recording.not_judged().next().is_none();
    if is_whole { Log::file(logs) } else { LogFile::partial(logs, of) }
}
