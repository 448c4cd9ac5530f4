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
use unwind_harness::experiment::{EVERYWHERE, Experiment, columns};
use unwind_harness::guest::Guest;
use unwind_harness::guest::Program;
use unwind_harness::machine::Machine;
use unwind_harness::oracle::Witnesses;
use unwind_harness::recording::Recorder;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{KunwindSubject, Subject};

/// How a run is watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    /// Without a hook.
    NoHook,
    /// By a hook that returns at once.
    EmptyHook,
    /// By the oracle, without walks.
    Probe,
    /// Every point is walked along its frame records and judged.
    Judged,
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
const WATCHES: [Watch; 5] = [Watch::NoHook, Watch::EmptyHook, Watch::Probe, Watch::Judged, Watch::Sampled];

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
    let executed = |rounds| run(&guest_of_rounds(cpu, depth, rounds), None, Watch::Probe).1;
    let (few, more) = (executed(100), executed(200));
    let in_a_round = (more - few) / 100;
    guest_of_rounds(cpu, depth, instructions.saturating_sub(few - 100 * in_a_round) / in_a_round)
}

/// One run; the time and the number of instructions.
fn run(program: &Program, subject: Option<&dyn Subject>, watch: Watch) -> (Duration, u64) {
    let mut machine = Machine::new(program, "_start", u64::MAX).expect("a machine");
    match watch {
        Watch::NoHook | Watch::EmptyHook => {
            let time = machine.run_unwatched(watch == Watch::EmptyHook).expect("the guest ends");
            (time, 0)
        }
        Watch::Probe | Watch::Judged | Watch::Sampled => {
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
            let found = experiment.drive(&mut machine, &[], Witnesses::default(), &mut recorder);
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

/// `points --once CPU DEPTH ROUNDS WATCH`, with the number of a [`WATCHES`]: one run, to be counted by `valgrind --tool=callgrind`. The
/// difference of two numbers of rounds is free of all set-up; each run says how many instructions the guest has executed.
fn once(words: &[String]) -> Option<()> {
    let [flag, cpu, depth, rounds, watch] = words else { return None };
    let watch = *WATCHES.get(watch.parse::<usize>().ok()?)?;
    let cpu = cpu::by_name(cpu).filter(|_| flag == "--once")?;
    let program = guest_of_rounds(cpu, depth.parse().ok()?, rounds.parse().ok()?);
    println!("{} instructions", run(&program, Some(&KunwindSubject::frame_record(cpu)), watch).1);
    Some(())
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if once(&words).is_some() {
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
