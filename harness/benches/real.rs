//! A shipped program, from the first instruction of its dynamic loader to `exit_group`, with a walk by its DWARF CFI before every
//! instruction, as points for each second and thread, and as a ratio to a hook that does nothing.
//!
//! `cargo bench --bench real` takes `/bin/true` of this machine; `PROGRAM=FILE SYSROOT=FOLDER cargo bench --bench real` another program,
//! with the folder in which its loader and libraries are (`/` without it). Times are without setting up engines, the fastest sample of
//! each, because on a shared machine all noise is slowness. Compare ratios, not points.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use divan::Bencher;
use divan::counter::ItemsCount;
use unwind_harness::scenario::{Asked, Interruption, Scenario, Variant, process};
use unwind_harness::suite::{Job, subjects};
use unwind_harness::trace::Unobserved;
use unwind_harness::user::process::Launch;

/// How the run is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    /// By a hook before each instruction that does nothing.
    EmptyHook,
    /// By the oracle, without walks.
    Probe,
    /// The first two arrivals at each instruction, and later ones in a new state, are walked and judged: the default.
    Default,
    /// Every point is walked and judged.
    EveryPoint,
}

impl std::fmt::Display for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::EmptyHook => "empty hook",
            Self::Probe => "truth, no walk",
            Self::Default => "dwarf, two arrivals of each",
            Self::EveryPoint => "dwarf, every point",
        })
    }
}

/// The fastest sample of each, in nanoseconds for each instruction that ran.
static FASTEST: Mutex<BTreeMap<Watch, f64>> = Mutex::new(BTreeMap::new());

/// A path that the environment gives.
fn given(variable: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(otherwise), PathBuf::from)
}

/// The program. It runs once here, without an observer.
fn scenario(watch: Watch) -> Scenario {
    let (file, sysroot) = (given("PROGRAM", "/bin/true"), given("SYSROOT", "/"));
    let launch = Launch::open(&file, Some(sysroot)).expect("it is a program for one of the CPUs");
    let max_visits = if watch == Watch::EveryPoint { Some(u64::MAX >> 1) } else { None };
    process(launch, &Asked { max_visits, ..Asked::default() }).expect("it runs to its end")
}

#[divan::bench(args = [Watch::EmptyHook, Watch::Probe, Watch::Default, Watch::EveryPoint], sample_count = 8, sample_size = 1)]
fn real(bencher: Bencher<'_, '_>, watch: Watch) {
    let scenario = scenario(watch);
    let executed = scenario.process().expect("it is a process").executed;
    let dwarf = match watch {
        Watch::EmptyHook | Watch::Probe => Vec::new(),
        Watch::Default | Watch::EveryPoint => subjects(scenario.cpu, &["dwarf".to_owned()]),
    };
    let (root, variant) = (Path::new(""), Variant::default());
    let job = Job { root, scenario: &scenario, variant: &variant, kind: Interruption::Probe };
    bencher.counter(ItemsCount::new(executed)).bench_local(|| {
        let time = if watch == Watch::EmptyHook {
            let program = scenario.program(root, &variant).expect("it loads");
            let mut run = scenario.live(&program).expect("a machine");
            run.drive(&mut Unobserved).expect("it runs to its end").ran_for
        } else {
            let (section, time) = job.timed(&dwarf).expect("it runs to its end");
            assert_eq!(section.void, None);
            assert!(watch != Watch::EveryPoint || section.points == executed, "every instruction is a point");
            time
        };
        let each = time.as_nanos() as f64 / executed as f64;
        let mut fastest = FASTEST.lock().expect("no thread panics");
        fastest.entry(watch).and_modify(|known| *known = known.min(each)).or_insert(each);
    });
}

fn main() {
    divan::main();
    let fastest = FASTEST.lock().expect("no thread panics");
    let Some(empty) = fastest.get(&Watch::EmptyHook) else { return }; // listing or testing
    println!("\n{:<28} {:>8} {:>12} {:>12}", "watched by", "ns", "points/s", "empty hooks");
    for (watch, each) in fastest.iter() {
        println!("{watch:<28} {each:>8.1} {:>12.0} {:>12.1}", 1e9 / each, each / empty);
    }
}
