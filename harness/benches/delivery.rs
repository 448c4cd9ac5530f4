//! What a delivered exception costs: with walks and verdicts, and bare (delivered, handled, returned and compared, without walks),
//! and compared with the naive method of running the guest from its entry once for each point.
//!
//! `cargo bench --bench delivery` prints divan's table of whole runs, and then microseconds for each point from the same samples,
//! without setting up engines (the fastest, because on a shared machine all noise is slowness), with the ratios that mean
//! something. A run of fault_in_irq delivers some sixty times as many exceptions as one of irq_on_task: what a point costs, bare, is
//! flat in the length of the run if the two lines agree, but for the deeper stacks that its snapshots copy.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use divan::Bencher;
use unwind_harness::cpu::{self, ALL};
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject;
use unwind_harness::suite::Job;

/// How the points of a scenario are gone through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// One run; exceptions are delivered, without walks.
    Bare,
    /// One run; every subject walks twice at every point, and is judged.
    Judged,
    /// One run for each point, with its walks: the guest runs again from its entry. Grows with the length of the guest.
    Naive,
}

impl std::fmt::Display for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Bare => "bare delivery",
            Self::Judged => "walked and judged",
            Self::Naive => "naive: a run for each point",
        })
    }
}

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    cpu: &'static str,
    scenario: &'static str,
    way: Way,
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.cpu, self.scenario, self.way)
    }
}

/// For each case the fastest sample, in microseconds for each point, and the number of points.
static FASTEST: Mutex<BTreeMap<Case, (f64, u64)>> = Mutex::new(BTreeMap::new());

fn cases() -> Vec<Case> {
    let scenarios = [("irq_on_task", true), ("irq_in_softirq", true), ("fault_in_irq", false)];
    let mut cases = Vec::new();
    for cpu in ALL {
        for (scenario, naive) in scenarios {
            let ways = [Way::Bare, Way::Judged].into_iter().chain(naive.then_some(Way::Naive));
            cases.extend(ways.map(|way| Case { cpu: cpu.name, scenario, way }));
        }
    }
    cases
}

#[divan::bench(args = cases(), sample_count = 12, sample_size = 1)]
fn delivery(bencher: Bencher<'_, '_>, case: &Case) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("scenarios").join(case.cpu).join(format!("{}.toml", case.scenario));
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let variants = scenario.variants();
    let kind = scenario.text.interrupt.first().copied().unwrap_or(Interruption::Irq);
    let job = Job { root, scenario: &scenario, variant: &variants[0], kind };
    let all = subject::all(cpu::by_name(case.cpu).expect("a CPU"));
    let none = Vec::new();
    let points = job.run(&none).expect("the guest runs").points;
    bencher.bench_local(|| {
        let time = match case.way {
            Way::Bare => job.timed(&none).map(|(_, time)| time),
            Way::Judged => job.timed(&all).map(|(_, time)| time),
            // One delivery, and half of a run on the average until it is due: without the engine that each run would need.
            Way::Naive => job.timed(&all).and_then(|(_, time)| Ok(time + job.timed_undisturbed()? * points as u32 / 2)),
        };
        let each = time.expect("the guest runs").as_secs_f64() * 1e6 / points as f64;
        let mut fastest = FASTEST.lock().expect("no thread panics");
        let entry = fastest.entry(*case).or_insert((each, points));
        entry.0 = entry.0.min(each);
    });
}

/// For `cargo xtask speed`, which counts instructions: `--case CPU SCENARIO WAY RUNS` makes so many runs, and says how many points
/// these were. WAY is `bare` or `judged`.
fn one_case(arguments: &[String]) -> Option<String> {
    let [cpu, scenario, way, runs] = arguments else { return None };
    let (cpu, runs): (_, u64) = (cpu::by_name(cpu)?, runs.parse().ok()?);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("scenarios").join(cpu.name).join(format!("{scenario}.toml"));
    let scenario = Scenario::load(&path).ok()?;
    let variants = scenario.variants();
    let kind = scenario.text.interrupt.first().copied().unwrap_or(Interruption::Irq);
    let job = Job { root, scenario: &scenario, variant: &variants[0], kind };
    let subjects = match way.as_str() {
        "bare" => Vec::new(),
        "judged" => subject::all(cpu),
        _ => return None,
    };
    let points: u64 = (0..runs).map(|_| job.run(&subjects).expect("the guest runs").points).sum();
    Some(format!("{points} items"))
}

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    if let Some(case) = arguments.iter().position(|argument| argument == "--case") {
        let line = one_case(&arguments[case + 1..]);
        println!("{}", line.expect("--case CPU SCENARIO WAY RUNS, of CPUs and scenarios that there are"));
        return;
    }
    divan::main();
    let fastest = FASTEST.lock().expect("no thread panics");
    if fastest.is_empty() {
        return; // listing or testing
    }
    println!("\n{:<8} {:<16} {:<28} {:>7} {:>10} {:>8}", "CPU", "scenario", "way", "points", "us", "to bare");
    for (case, (each, points)) in fastest.iter() {
        let bare = fastest.get(&Case { way: Way::Bare, ..*case }).map_or(f64::NAN, |bare| bare.0);
        println!(
            "{:<8} {:<16} {:<28} {points:>7} {each:>10.2} {:>8.2}",
            case.cpu,
            case.scenario,
            case.way,
            each / bare
        );
    }
}
