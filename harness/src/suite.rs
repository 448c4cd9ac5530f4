//! Jobs: each variant of each scenario with each of its kinds of interruption, on several threads. The recording is the same for
//! any number of threads.

mod called;
mod exported;
mod freeze;
mod freeze_process;
mod shards;
mod skips;
mod subjects;
mod visits;
mod wanted;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::analysis::gate::hold_gates;
use crate::experiment::{EVERYWHERE, Experiment, Found, LastResult, Visit, columns, lasting_words};
use crate::guest::{Guest, Program};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::oracle::Witnesses;
use crate::pool::in_parallel;
use crate::recording::{Partial, Recorder, Recording, Section, ShardOf, WalkLog};
use crate::scenario::{Interruption, Model, Part, Scenario, Text, Variant};
use crate::subject::Subject;
use crate::subject::remote::Remote;
use crate::trace::log::{Head, Log, LogWriter, Logged, Replay};
use crate::trace::{Observer, Run, Unobserved, Watched};
use crate::{Error, file};

pub use called::called;
pub use freeze::{Freeze, freeze};
pub use freeze_process::{FrozenCall, freeze_process};
use shards::Plan;
pub use shards::is_split;
pub use subjects::{Subjects, chosen, subjects, walking};
use visits::All;
use wanted::Told;
pub use wanted::{Done, Wanted};

/// One run: a scenario, one of its variants, and a kind of interruption.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The folder with `guests`.
    pub root: &'a Path,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The variant.
    pub variant: &'a Variant,
    /// The kind of interruption.
    pub kind: Interruption,
}

impl Job<'_> {
    /// Runs, and judges the subjects at every point.
    ///
    /// # Errors
    ///
    /// Whatever prevents the guest from being loaded or from running to its end. A void run is not an error but a section that
    /// says so.
    pub fn run(self, subjects: &[Box<dyn Subject + Send>]) -> Result<Section, Error> {
        self.run_with(subjects, Witnesses::default())
    }

    /// Like [`Job::run`], with other witnesses: to show that wrong ones void the run.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn run_with(self, subjects: &[Box<dyn Subject + Send>], witnesses: Witnesses) -> Result<Section, Error> {
        Ok(self.execute(subjects, witnesses, None, &Interrupt::default())?.section)
    }

    /// Like [`Job::run`], with the time that the emulator ran, without setup. For benches.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn timed(self, subjects: &[Box<dyn Subject + Send>]) -> Result<(Section, Duration), Error> {
        let done = self.execute(subjects, Witnesses::default(), None, &Interrupt::default())?;
        Ok((done.section, done.ran_for))
    }

    /// How long the emulator runs the guest from entry to end with an empty observer: the baseline of the naive method, which
    /// runs the guest once for each point.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn timed_undisturbed(self) -> Result<Duration, Error> {
        let program = self.scenario.program(self.root, self.variant)?;
        machine(&program, &self.scenario.text)?.drive(&mut Unobserved).map(|ended| ended.ran_for)
    }

    /// Runs, judges, and records the run: [`judge_log`] makes the same section from the log.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn run_logged(self, subjects: &[Box<dyn Subject + Send>]) -> Result<(Section, Vec<u8>), Error> {
        self.log_until(subjects, &Interrupt::default())
    }

    fn log_until(
        self,
        subjects: &[Box<dyn Subject + Send>],
        interrupt: &Interrupt,
    ) -> Result<(Section, Vec<u8>), Error> {
        let program = self.scenario.program(self.root, self.variant)?;
        let undisturbed = self.undisturbed(&program, interrupt)?;
        let mut machine = self.machine(&program)?;
        let file = file::read(&self.scenario.guest_path(self.root, self.variant), file::MAX_BINARY)?;
        let Self { scenario, variant, kind, .. } = self;
        let head = Head {
            scenario: scenario.name.clone(),
            source: scenario.source.clone(),
            variant: variant.name.clone(),
            interrupt: kind.name().to_owned(),
            guest: program.guest.name.clone(),
            file,
        };
        let mut writer = LogWriter::new(&head, &program, &undisturbed, machine.memory());
        let mut watched = Watched::new(&mut machine, interrupt);
        let mut logged = Logged::new(&mut watched, &mut writer);
        let done = self.over(&program, &mut logged, &undisturbed, subjects, Witnesses::default(), None)?;
        Ok((done.section, writer.finish()))
    }

    /// The lasting words at the end of a run in which nothing is delivered. A function of a kernel must have returned there what the
    /// scenario says: a workload that went wrong shows nothing.
    fn undisturbed(self, program: &Program, interrupt: &Interrupt) -> Result<Vec<u64>, Error> {
        self.undisturbed_noting(program, interrupt, None)
    }

    /// The same; adds the pages that the run uses.
    fn undisturbed_noting(
        self,
        program: &Program,
        interrupt: &Interrupt,
        pages: Option<&mut BTreeSet<u64>>,
    ) -> Result<Vec<u64>, Error> {
        let expected = self.scenario.text.linux.as_ref().and_then(|call| Some((call, call.returns?)));
        if self.needs_no_other_run() {
            return Ok(Vec::new());
        }
        let mut machine = self.machine(program)?;
        if pages.is_some() {
            machine.note_pages();
        }
        let mut result = LastResult::new(program.guest.cpu);
        let observer: &mut dyn Observer = if expected.is_some() { &mut result } else { &mut Unobserved };
        let ended = Watched::new(&mut machine, interrupt).drive(observer);
        let ended = ended.map_err(|error| self.scenario.blame(self.variant, error))?;
        if ended.interrupted {
            return Err(Error::Interrupted);
        }
        if let Some(pages) = pages {
            pages.extend(machine.used_pages());
        }
        if let Some((call, expected)) = expected
            && !call.has_returned(result.value)
        {
            let reason = format!("{} returned {:#x}", call.workload.name(), result.value);
            let at = program.guest.symbols.name(result.at);
            let error = Error::Run { guest: program.guest.name.clone(), reason, at, executed: ended.executed };
            return Err(self.scenario.blame_key(&format!("returns = {expected}"), error));
        }
        Ok(lasting_words(program, machine.memory()))
    }

    /// Whether nothing has to be known of an undisturbed run: nothing is delivered, and nothing must be returned.
    fn needs_no_other_run(self) -> bool {
        let returns = self.scenario.text.linux.as_ref().and_then(|call| call.returns.as_ref());
        self.kind == Interruption::Probe && returns.is_none()
    }

    fn machine(self, program: &Program) -> Result<Machine<'_>, Error> {
        machine(program, &self.scenario.text).map_err(|error| self.scenario.blame(self.variant, error))
    }

    fn execute(
        self,
        subjects: &[Box<dyn Subject + Send>],
        witnesses: Witnesses,
        wanted: Option<Wanted<'_>>,
        interrupt: &Interrupt,
    ) -> Result<Done, Error> {
        self.execute_beside(subjects, witnesses, wanted, interrupt, &Undisturbed::default())
    }

    /// The same, beside other runs of the variant: one of them makes the undisturbed run for all.
    fn execute_beside(
        self,
        subjects: &[Box<dyn Subject + Send>],
        witnesses: Witnesses,
        wanted: Option<Wanted<'_>>,
        interrupt: &Interrupt,
        made: &Undisturbed,
    ) -> Result<Done, Error> {
        let program = self.scenario.program(self.root, self.variant)?;
        let undisturbed: &[u64] = match made.get() {
            _ if self.needs_no_other_run() => &[],
            Some(words) => words,
            None => {
                let words = self.undisturbed(&program, interrupt)?;
                made.get_or_init(|| words)
            }
        };
        let run = self.scenario.live(&program).map_err(|error| self.scenario.blame(self.variant, error));
        let mut run = run?;
        let mut watched = Watched::new(&mut *run, interrupt);
        self.over(&program, &mut watched, undisturbed, subjects, witnesses, wanted)
    }

    /// Judges the subjects over a run of the program, wherever that comes from.
    ///
    /// # Errors
    ///
    /// As [`Job::run`].
    pub fn over(
        self,
        program: &Program,
        run: &mut dyn Run,
        undisturbed: &[u64],
        subjects: &[Box<dyn Subject + Send>],
        witnesses: Witnesses,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Done, Error> {
        let Self { scenario, variant, kind, .. } = self;
        let points = wanted.as_ref().map_or(Vec::new(), Wanted::points);
        let text = &scenario.text;
        let hook = scenario.return_hook(variant);
        let fitting: Vec<&dyn Subject> = subjects
            .iter()
            .map(|subject| -> &dyn Subject { &**subject })
            .filter(|subject| subject.about().fits(program, hook.as_ref(), kind.walks_user()))
            .collect();
        let columns = columns(&fitting, kind);
        // A point may be a later arrival than the scenario judges; nested points are all judged anyway.
        let more = points.iter().filter(|_| kind != Interruption::Nested).filter_map(|point| {
            let function = program.guest.symbols.function_named(&point.function)?;
            Some((function.address.wrapping_add(point.offset), point.visit))
        });
        let more: Vec<(u64, u64)> = more.collect();
        let addresses = match wanted {
            Some(Wanted::Part(first, last)) => (first, last),
            _ => EVERYWHERE,
        };
        let max_visits = text.max_visits;
        let experiment = Experiment { program, text, kind, columns: &columns, max_visits, wanted: &more, addresses };
        let mut recorder = Recorder::new(program, &columns, &text.omissible);
        let mut told = Told::of(wanted, program, &text.omissible)?;
        // A run that explains may have one point more.
        let writes = matches!(wanted, Some(Wanted::Walks)) || scenario.case().is_some() && points.is_empty();
        let mut walks = writes.then(|| WalkLog::new(&program.guest.symbols, &columns));
        let mut all = All(vec![&mut recorder]);
        all.0.extend(told.visit());
        all.0.extend(walks.as_mut().map(|walks| walks as &mut dyn Visit));
        let found = experiment.drive(run, undisturbed, witnesses, &mut all);
        let found = found.map_err(|error| scenario.blame(variant, error))?;
        for column in &columns {
            if let Some(reason) = column.subject.gave_up() {
                return Err(Error::Unwinder { name: column.subject.about().name.clone(), reason });
            }
        }
        let Found { ran_for, .. } = found;
        let mut section = recorder.finish(scenario, variant, kind, &found);
        let walks = walks.map(WalkLog::finish);
        if let (Some(case), Some(walks)) = (scenario.case(), &walks) {
            section.agreements.extend(freeze::held_against(case, walks, kind, subjects)?);
        }
        Ok(Done { section, explained: told.finish(), walks, ran_for })
    }
}

/// A machine for one run of a program, as its scenario wants it.
///
/// # Errors
///
/// As [`Machine::new`].
pub fn machine<'p>(program: &'p Program, text: &Text) -> Result<Machine<'p>, Error> {
    let mut machine = Machine::new(program, &text.entry, text.budget)?;
    if text.cpu == Model::Max {
        machine.use_max_cpu();
    }
    Ok(machine)
}

/// How a suite is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The unwinders; empty: all.
    pub unwinders: Vec<String>,
    /// Unwinders that are processes of their own.
    pub remote: Vec<Remote>,
    /// Which variants and kinds of interruption are run; what else it leaves out runs, for the gates.
    pub part: Part,
    /// How many runs at a time; `None`: as many as there are CPUs.
    pub threads: Option<usize>,
    /// Whether each run is recorded.
    pub log: bool,
    /// Whether a run whose guest fails is one that was not judged, and not the end of all.
    pub keep_going: bool,
    /// Whether the user has asked to stop.
    pub interrupt: Interrupt,
    /// The only part that is run; `None`: everything.
    pub shard: Option<ShardOf>,
}

/// A run that is to be made, apart from its root.
#[derive(Clone)]
struct Planned {
    scenario: Arc<Scenario>,
    variant: Variant,
    kind: Interruption,
    /// The part of its points that is judged here; `None`: all.
    part: Option<ShardOf>,
}

/// The lasting words at the end of an undisturbed run, once that has been made.
type Undisturbed = OnceLock<Vec<u64>>;

/// Runs scenarios on several threads.
///
/// # Errors
///
/// The first error, in the order of jobs, unless [`Options::keep_going`].
pub fn run_all(root: &Path, scenarios: &[Scenario], options: &Options) -> Result<(Recording, Vec<Vec<u8>>), Error> {
    let plan = Plan::of(scenarios, options.shard, &options.part);
    let (root, unwinders, log) = (root.to_path_buf(), options.unwinders.clone(), options.log);
    let (interrupt, remote) = (options.interrupt.clone(), options.remote.clone());
    let work = move |(planned, undisturbed): &(Planned, Arc<Undisturbed>)| {
        let Planned { scenario, variant, kind, part } = planned;
        let subjects = chosen(scenario.cpu, &unwinders, &remote)?;
        let job = Job { root: &root, scenario, variant, kind: *kind };
        if log {
            let (section, log) = job.log_until(&subjects, &interrupt)?;
            return Ok((section, Some(log)));
        }
        let addresses = part.map(|shard| job.addresses(shard, &interrupt)).transpose()?;
        let wanted = addresses.map(|(first, last)| Wanted::Part(first, last));
        let done = job.execute_beside(&subjects, Witnesses::default(), wanted, &interrupt, undisturbed)?;
        let Done { section, ran_for, .. } = done;
        let seconds = ran_for.as_secs_f64();
        interrupt.progress().note(|| format!("{}: {} points, {seconds:.1} s", section.title(), section.points));
        Ok((section, None))
    };
    finish(scenarios, &plan, perform(plan.jobs(), options, work), options)
}

/// Judges recorded runs again, without emulation.
///
/// # Errors
///
/// [`Error::Scenario`] when a log's scenario is malformed, else as [`run_all`] and [`judge_log`].
pub fn judge_all(logs: Vec<Log>, options: &Options) -> Result<Recording, Error> {
    let mut scenarios: Vec<Arc<Scenario>> = Vec::new();
    let mut planned = Vec::new();
    for log in &logs {
        let known = scenarios.iter().find(|scenario| scenario.name == log.head.scenario).cloned();
        let scenario = match known {
            Some(scenario) => scenario,
            None => Arc::new(scenario_of(log)?),
        };
        if !scenarios.iter().any(|other| other.name == scenario.name) {
            scenarios.push(Arc::clone(&scenario));
        }
        let (variant, kind) = run_of(log, &scenario)?;
        planned.push(Planned { scenario, variant, kind, part: None });
    }
    let Options { unwinders, interrupt, remote, .. } = options.clone();
    let work = move |log: &Log| Ok((judge_until(log, (&unwinders, &remote), &interrupt)?, None));
    let scenarios = scenarios.iter().map(|scenario| &**scenario);
    finish(scenarios, &Plan::whole(planned), perform(logs, options, work), options).map(|(recording, _)| recording)
}

/// What a job gives: a section, and the run's log if it is recorded.
type Judged = (Section, Option<Vec<u8>>);

/// Does the jobs.
fn perform<J: Send + 'static>(
    jobs: Vec<J>,
    options: &Options,
    work: impl Fn(&J) -> Result<Judged, Error> + Send + Sync + 'static,
) -> Vec<Option<Result<Judged, Error>>> {
    let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    in_parallel(jobs, threads, &options.interrupt, work)
}

/// Makes a recording of the results, and checks it against the demands of the scenarios.
fn finish<'s>(
    scenarios: impl IntoIterator<Item = &'s Scenario>,
    plan: &Plan,
    results: Vec<Option<Result<Judged, Error>>>,
    options: &Options,
) -> Result<(Recording, Vec<Vec<u8>>), Error> {
    let (mut sections, mut logs, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut failed = 0;
    for (place, result) in plan.here.iter().zip(results) {
        let Planned { scenario, variant, kind, .. } = &plan.all[*place];
        match result {
            None | Some(Err(Error::Interrupted)) => continue,
            Some(Ok((section, log))) => {
                sections.push(section);
                logs.extend(log);
            }
            Some(Err(error)) if !options.keep_going => return Err(error),
            Some(Err(error)) => {
                sections.push(Section::without_verdicts(scenario, variant, *kind, error.to_string()));
                failed += 1;
            }
        }
        places.push(*place);
    }
    let all_unwinders = options.unwinders.is_empty() && options.remote.is_empty();
    if !plan.is_split {
        hold_gates(scenarios, &mut sections, all_unwinders);
    }
    let skipped = skips::of(&plan.all, &sections, &options.unwinders);
    let shard = options.shard.map(|shard| plan.shard(shard, &places, all_unwinders));
    let mut recording = Recording { skipped, shard, ..Recording::new(sections) };
    let cut = recording.sections.iter().filter(|section| section.interrupted).count();
    if recording.sections.len() < plan.here.len() || cut > 0 {
        let whole = (recording.sections.len() - cut - failed) as u64;
        recording.partial = Some(Partial { because: "interrupted".to_owned(), whole, of: plan.here.len() as u64 });
    }
    Ok((recording, logs))
}

/// Judges subjects over a log: the section is that of the run.
///
/// # Errors
///
/// [`Error::Log`] when the log does not match its scenario, else whatever prevents its guest from being loaded.
pub fn judge_log(log: &Log, unwinders: &[String]) -> Result<Section, Error> {
    judge_until(log, (unwinders, &[]), &Interrupt::default())
}

fn judge_until(
    log: &Log,
    (unwinders, remote): (&[String], &[Remote]),
    interrupt: &Interrupt,
) -> Result<Section, Error> {
    let scenario = scenario_of(log)?;
    let (variant, kind) = run_of(log, &scenario)?;
    let path = scenario.guest_path(Path::new(""), &variant);
    let load = || {
        let guest = Guest::parse(log.head.guest.clone(), &path, &log.head.file, scenario.cpu)?;
        Program::mimic(guest, &variant.stacks, variant.cfa_mod32)
    };
    let program = load().map_err(|error| scenario.blame(&variant, error))?;
    let program = scenario.declare(program)?;
    let mut replay = Replay::new(log, &program.guest)?;
    let mut watched = Watched::new(&mut replay, interrupt);
    let subjects = chosen(scenario.cpu, unwinders, remote)?;
    let job = Job { root: Path::new(""), scenario: &scenario, variant: &variant, kind };
    let done = job.over(&program, &mut watched, &log.undisturbed, &subjects, Witnesses::default(), None)?;
    Ok(done.section)
}

/// The variant of a log's scenario, and the kind of interruption, that it records.
fn run_of(log: &Log, scenario: &Scenario) -> Result<(Variant, Interruption), Error> {
    let misfit = |reason: &str| Error::Log { run: log.head.run(), at: 0, reason: reason.to_owned() };
    let variant = scenario.variants().into_iter().find(|variant| variant.name == log.head.variant);
    let variant = variant.ok_or_else(|| misfit("its scenario has no such variant"))?;
    let kind = scenario.text.interrupt.iter().copied().find(|kind| kind.name() == log.head.interrupt);
    Ok((variant, kind.ok_or_else(|| misfit("its scenario has no such kind of interruption"))?))
}

/// The scenario that a log holds.
fn scenario_of(log: &Log) -> Result<Scenario, Error> {
    Scenario::parse(&Path::new("scenarios").join(format!("{}.toml", log.head.scenario)), &log.head.source)
}
