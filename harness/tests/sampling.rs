//! Which arrivals are points: the first ones, and later ones in a new state.

use std::path::Path;
use std::process::Command;

use unwind_harness::interrupt::Interrupt;
use unwind_harness::recording::Section;
use unwind_harness::rows;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::suite::{Job, Options, run_all, subjects};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&root().join("scenarios").join(format!("{name}.toml"))).expect("the scenario is there")
}

fn run(scenario: &Scenario, unwinder: &str) -> Section {
    let variants = scenario.variants();
    let job = Job { root: root(), scenario, variant: &variants[0], kind: scenario.text.interrupt[0] };
    job.run(&subjects(scenario.cpu, &[unwinder.to_owned()])).expect("it runs")
}

fn program(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the program starts");
    String::from_utf8(output.stdout).expect("text")
}

/// The instructions of the loop at which a row is wrong, if all arrivals are judged.
const WRONG: usize = 8;

#[test]
fn what_is_wrong_from_the_seventh_turn_on_is_found_with_four_visits_and_with_one() {
    let found = |most: u64| {
        let mut scenario = scenario("x86_64/museum_late_row");
        scenario.text.max_visits = most;
        let section = run(&scenario, "dwarf");
        let wrong: Vec<u64> = section.findings.iter().flat_map(|finding| section.offsets(finding)).collect();
        (wrong, section.points + section.left_out.arrivals, section.left_out.other_states)
    };
    let (all, arrivals, _) = found(1000);
    assert_eq!(all.len(), WRONG);
    for most in [4, 1] {
        assert_eq!(found(most), (all.clone(), arrivals, 0), "{most} visits");
    }
}

#[test]
fn a_late_point_is_named_by_its_arrival_and_can_be_explained() {
    let listing = program(&["run", "x86_64/museum_late_row", "--unwinder", "dwarf", "--listing"]);
    assert!(listing.contains("49 points at 21 instructions; 21 arrivals not judged"), "{listing}");
    assert!(listing.contains("#1..#4") && listing.contains("#7"), "{listing}");
    let explained = |point: &str| {
        program(&["explain", "x86_64/museum_late_row", point, "--variant", "defective", "--unwinder", "dwarf"])
    };
    for (point, verdict) in [("#4", "dwarf: ="), ("#7", "dwarf: ?substituted"), ("#8", "dwarf: ?substituted")] {
        let point = format!("lowers_rsp_late+0x9{point}");
        let text = explained(&point);
        assert!(text.contains(&point) && text.contains(verdict), "{text}");
    }
}

#[test]
fn the_interrupts_of_a_nested_run_are_chosen_by_state_too() {
    let scenario = scenario("arm64/entry_each_insn");
    assert_eq!((scenario.text.max_visits, scenario.text.interrupt.as_slice()), (1, &[Interruption::Nested][..]));
    let section = run(&scenario, "frame-record");
    let (seen, delivered) = section.outer.expect("it is nested");
    // `leaf` is called from two places: its three instructions are interrupted twice.
    assert_eq!((seen, delivered), (35, 35));
}

/// What progress tells as points are those that are judged: not every instruction that a run passes, but each copy of a damaged stack.
#[test]
fn progress_counts_the_points_that_are_judged() {
    for name in ["x86_64/museum_late_row", "arm64/corrupt_stack", "arm64/preempt_on_exit", "arm64/entry_each_insn"] {
        let options = Options { unwinders: vec!["frame-record".to_owned()], ..Options::default() };
        let (recording, _) = run_all(root(), &[scenario(name)], &options).expect("it runs");
        let points: u64 = recording.sections.iter().map(|section| section.points).sum();
        let passed: u64 = points + recording.sections.iter().map(|section| section.left_out.arrivals).sum::<u64>();
        assert_eq!(options.interrupt.progress().points(), points, "{name}");
        assert!(name != "x86_64/museum_late_row" || passed > points, "{name} leaves no arrival out");
    }
    let (interrupt, scenarios) = (Interrupt::default(), [scenario("arm64/loop")]);
    let rows = rows::check_all(root(), &scenarios, &scenarios, &interrupt, false).expect("it runs").rows;
    assert_eq!(interrupt.progress().points(), rows.iter().map(|guest| guest.points).sum::<u64>());
}
