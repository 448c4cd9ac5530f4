//! What an interruption point costs: as nanoseconds, and as a ratio to an empty hook measured in the same run.
//!
//! `cargo bench --bench points` prints divan's table of whole runs (setting up an engine included), and then the cost of
//! each instruction, computed from the very same samples without the set-up: the minimum, because on a shared machine all
//! noise is slowness. Compare ratios, not nanoseconds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use unwind_harness::cpu::{self, ALL, Cpu};
use unwind_harness::experiment::{Arrival, Column, EVERYWHERE, Experiment, Visit, columns};
use unwind_harness::guest::Guest;
use unwind_harness::guest::Program;
use unwind_harness::machine::Machine;
use unwind_harness::oracle::{Truth, Witnesses};
use unwind_harness::recording::Recorder;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{self, KunwindSubject, Question, Subject};

/// How a run is watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    /// Without a hook.
    NoHook,
    /// By a hook that returns at once.
    EmptyHook,
    /// By the oracle, without walks.
    Probe,
    /// Every point is walked along its frame records and judged. In the guest's loop, which stores nothing, most walks are known to be as
    /// at the point before.
    Judged,
    /// The same where none is: as if every instruction had changed something.
    Afresh,
    /// The same for the first four arrivals at each instruction, and for later ones in a new state; there is none.
    Sampled,
}

impl std::fmt::Display for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::NoHook => "no hook",
            Self::EmptyHook => "empty hook",
            Self::Probe => "probe, no unwinding",
            Self::Judged => "probe, frame-record, verdict",
            Self::Afresh => "the same, all changes",
            Self::Sampled => "four arrivals of each",
        })
    }
}

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    cpu: &'static str,
    depth: u64,
    instructions: u64,
    watch: Watch,
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} depth {} length {} {}", self.cpu, self.depth, self.instructions, self.watch)
    }
}

/// The fastest sample of each case, in nanoseconds for each instruction.
static FASTEST: Mutex<BTreeMap<Case, f64>> = Mutex::new(BTreeMap::new());

/// The depths of stack (activations below the interrupted function, `_start` and `guest_main` included), the lengths of runs; the others stay at the first of each while one varies.
const DEPTHS: [u64; 3] = [8, 32, 128];
const LENGTHS: [u64; 3] = [10_000, 100_000, 1_000_000];
const WATCHES: [Watch; 6] =
    [Watch::NoHook, Watch::EmptyHook, Watch::Probe, Watch::Judged, Watch::Afresh, Watch::Sampled];

/// A recorder to which nothing is as at the point before.
struct Afresh<'p>(Recorder<'p>);

impl Visit for Afresh<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        self.0.walk(at, within, column, question, truth);
    }

    fn is_full(&self, at: &Arrival) -> bool {
        self.0.is_full(at)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for cpu in ALL {
        let cpu = cpu.name;
        cases.extend(WATCHES.map(|watch| Case { cpu, depth: DEPTHS[0], instructions: LENGTHS[1], watch }));
        for depth in &DEPTHS[1..] {
            cases.push(Case { cpu, depth: *depth, instructions: LENGTHS[1], watch: Watch::Judged });
        }
        for instructions in [LENGTHS[0], LENGTHS[2]] {
            cases.push(Case { cpu, depth: DEPTHS[0], instructions, watch: Watch::Judged });
        }
    }
    cases
}

/// `deep_loop` with this many activations below `work` (`_start`, `guest_main`, dives, `spin`) and this many rounds.
fn guest_of_rounds(cpu: &'static Cpu, depth: u64, rounds: u64) -> Program {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(cpu.name).join("deep_loop.elf");
    let mut guest = Guest::load(&path, cpu).expect("the guest is checked in");
    for (symbol, value) in [("depth", depth - 3), ("rounds", rounds)] {
        let address = guest.symbols.address(symbol).expect("the guest has it");
        let segment = guest.segments.iter_mut().find(|segment| segment.writable).expect("data");
        let offset = (address - segment.address) as usize;
        segment.data[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    Program::mimic(guest, &[], 0).expect("a sound guest")
}

/// `deep_loop` of this depth, running about this many instructions.
fn guest(cpu: &'static Cpu, depth: u64, instructions: u64) -> Program {
    let (in_a_round, apart) = instructions_of(cpu, depth);
    guest_of_rounds(cpu, depth, instructions.saturating_sub(apart) / in_a_round)
}

/// How many instructions a round of the guest's loop has, and how many of a run of 100 rounds are not in it.
fn instructions_of(cpu: &'static Cpu, depth: u64) -> (u64, u64) {
    let executed = |rounds| run(&guest_of_rounds(cpu, depth, rounds), None, Watch::Probe).1;
    let (few, more) = (executed(100), executed(200));
    let in_a_round = (more - few) / 100;
    (in_a_round, few - 100 * in_a_round)
}

/// One run; the time and the number of instructions.
fn run(program: &Program, subject: Option<&dyn Subject>, watch: Watch) -> (Duration, u64) {
    let mut machine = Machine::new(program, "_start", u64::MAX).expect("a machine");
    match watch {
        Watch::NoHook | Watch::EmptyHook => {
            let time = machine.run_unwatched(watch == Watch::EmptyHook).expect("the guest ends");
            (time, 0)
        }
        Watch::Probe | Watch::Judged | Watch::Afresh | Watch::Sampled => {
            // Every arrival is judged.
            let source = "guest = \"deep_loop\"\nmax-visits = 9223372036854775807";
            let path = Path::new(program.guest.cpu.name).join("deep_loop.toml");
            let text = Scenario::parse(&path, source).expect("a sound scenario").text;
            let subjects: Vec<&dyn Subject> = subject.filter(|_| watch != Watch::Probe).into_iter().collect();
            let columns = columns(&subjects, Interruption::Probe);
            let max_visits = if watch == Watch::Sampled { 4 } else { u64::MAX };
            let kind = Interruption::Probe;
            let experiment = Experiment {
                program,
                text: &text,
                kind,
                columns: &columns,
                max_visits,
                wanted: &[],
                addresses: EVERYWHERE,
            };
            let mut recorder = Recorder::new(program, &columns, &[]);
            let mut drive = |visit: &mut dyn Visit| experiment.drive(&mut machine, &[], Witnesses::default(), visit);
            let found = if watch == Watch::Afresh { drive(&mut Afresh(recorder)) } else { drive(&mut recorder) };
            let found = found.expect("the guest ends");
            (found.ran_for, found.sites.iter().map(|site| site.arrivals).sum())
        }
    }
}

#[divan::bench(args = cases(), sample_count = 12, sample_size = 1)]
fn points(bencher: Bencher<'_, '_>, case: &Case) {
    let cpu = cpu::by_name(case.cpu).expect("a CPU");
    let program = guest(cpu, case.depth, case.instructions);
    let subject = KunwindSubject::frame_record(cpu);
    let (_, executed) = run(&program, Some(&subject), Watch::Probe);
    bencher.counter(ItemsCount::new(executed)).bench_local(|| {
        let (time, _) = run(&program, Some(&subject), case.watch);
        let each = time.as_nanos() as f64 / executed as f64;
        let mut fastest = FASTEST.lock().expect("no thread panics");
        fastest.entry(*case).and_modify(|known| *known = known.min(each)).or_insert(each);
    });
}

/// The most memory that the process has had, in KiB (`VmHWM` in proc_pid_status(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("Linux says it")
}

/// The subject of this name, or the walk along frame records.
fn subject_named(cpu: &'static Cpu, name: &str) -> Option<Box<dyn Subject + Send>> {
    let name = if name == "judged" { "frame-record" } else { name };
    subject::all(cpu).into_iter().find(|subject| subject.about().name == name)
}

/// For `cargo xtask speed`, which counts instructions: `--case CPU WATCH DEPTH ROUNDS` is one run, and says how many points that were.
/// WATCH is `empty` for an empty hook, `bare` for a probe without a walk, `afresh` for walks along frame records where something has always
/// changed, or whose walk is judged.
fn one_case(arguments: &[String]) -> Option<String> {
    let [cpu, watch, depth, rounds] = arguments else { return None };
    let (cpu, depth, rounds) = (cpu::by_name(cpu)?, depth.parse().ok()?, rounds.parse().ok()?);
    let (in_a_round, apart) = instructions_of(cpu, depth);
    let program = guest_of_rounds(cpu, depth, rounds);
    match watch.as_str() {
        "empty" => run(&program, None, Watch::EmptyHook),
        "bare" => run(&program, None, Watch::Probe),
        "afresh" => run(&program, Some(&KunwindSubject::frame_record(cpu)), Watch::Afresh),
        name => run(&program, Some(&*subject_named(cpu, name)?), Watch::Judged),
    };
    Some(format!("{} items", apart + rounds * in_a_round))
}

/// The time for which the process has had a CPU (`utime` and `stime` in proc_pid_stat(5), in hundredths of a second): others that are
/// busy do not count.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// `--scale CPU POINTS`: runs of a hundredth, a tenth and all of so many judged points in this one process, with the time and the memory
/// of each.
///
/// # Errors
///
/// The time of a point, or the memory of the process, has grown.
fn scale(arguments: &[String]) -> Result<(), String> {
    let usage = || "--scale CPU POINTS".to_owned();
    let [cpu, points] = arguments else { return Err(usage()) };
    let cpu = cpu::by_name(cpu).ok_or_else(usage)?;
    let points: u64 = points.parse().map_err(|_| usage())?;
    let subject = KunwindSubject::frame_record(cpu);
    println!("{:>13} {:>11} {:>8} {:>9}", "points", "CPU seconds", "ns each", "peak KiB");
    let mut before: Option<(f64, u64)> = None;
    for length in [points / 100, points / 10, points] {
        let program = guest(cpu, DEPTHS[0], length);
        let start = cpu_seconds();
        let (_, executed) = run(&program, Some(&subject), Watch::Judged);
        let (seconds, peak) = (cpu_seconds() - start, peak());
        let each = 1e9 * seconds / executed as f64;
        println!("{executed:>13} {seconds:>11.2} {each:>8.1} {peak:>9}");
        if let Some((each_before, peak_before)) = before {
            // Caches that others use as well slow a point down. Memory that grew by a byte for each point would be far more than this.
            if each > 1.5 * each_before || peak > peak_before + 1024 {
                return Err(format!("{executed} points cost more, each, than a tenth of them"));
            }
        }
        before = Some((each, peak));
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let after = |option: &str| arguments.iter().position(|argument| argument == option).map(|at| &arguments[at + 1..]);
    if let Some(arguments) = after("--case") {
        let line = one_case(arguments).expect("--case CPU WATCH DEPTH ROUNDS, of CPUs and subjects that there are");
        println!("{line}");
        return;
    }
    if let Some(arguments) = after("--scale") {
        scale(arguments).unwrap_or_else(|reason| panic!("{reason}"));
        return;
    }
    divan::main();
    let fastest = FASTEST.lock().expect("no thread panics");
    if fastest.is_empty() {
        return; // listing or testing
    }
    println!("\n{:<8} {:>5} {:>9}  {:<28} {:>8} {:>12}", "CPU", "depth", "length", "watched by", "ns", "empty hooks");
    for (case, each) in fastest.iter() {
        let empty = Case { depth: DEPTHS[0], instructions: LENGTHS[1], watch: Watch::EmptyHook, ..*case };
        let ratio = fastest.get(&empty).map(|empty| format!("{:.1}", each / empty)).unwrap_or_default();
        println!(
            "{:<8} {:>5} {:>9}  {:<28} {each:>8.1} {ratio:>12}",
            case.cpu, case.depth, case.instructions, case.watch
        );
    }
}
