//! Mutants: mistakes in the judge, the oracle, the gate and the unwinders that were planted by hand, one at a time, and what catches
//! each. Where a walk changes, a scenario's gate does, which nobody can accept as one accepts a snapshot. Guards of the gate and of
//! the oracle that no scenario can be are tests, some of them here.

mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::analysis::gate;
use unwind_harness::guest::Program;
use unwind_harness::oracle::{Oracle, Witnesses};
use unwind_harness::recording::{Section, rows::UnreadData};
use unwind_harness::scenario::{Interruption, Known, Level, Range, Scenario, Span, load_all};
use unwind_harness::subject;
use unwind_harness::suite::{Job, machine};
use unwind_harness::trace::{Action, Observer, Point, Run as _};
use unwind_harness::verdict::{Deviation, Verdict};

use self::table::Guard::{Gate, Test};
use self::table::MUTANTS;
use super::whole_run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_mutant_has_guards_that_exist() {
    let mut sources = BTreeMap::new();
    for (file, mutant, guards) in MUTANTS {
        assert!(root().join(file).is_file(), "{mutant}: there is no {file}");
        assert!(!guards.is_empty(), "{file}: {mutant}");
        for guard in *guards {
            match guard {
                Gate(name) => {
                    let scenario = root().join(format!("scenarios/{name}.toml"));
                    assert!(scenario.is_file(), "{mutant}: there is no scenario {name}");
                }
                Test(file, name) => {
                    let source = sources.entry(*file).or_insert_with(|| {
                        let text = std::fs::read_to_string(root().join(file));
                        text.unwrap_or_else(|error| panic!("{mutant}: {file}: {error}"))
                    });
                    assert!(source.contains(&format!("fn {name}(")), "{mutant}: {file} has no test {name}");
                }
            }
        }
    }
}

/// The scenarios that have `[[known]]` and ran as a whole, with their sections, each as the gate saw them.
fn with_known() -> Vec<(Scenario, Vec<Section>)> {
    let scenarios = load_all(root()).expect("the scenarios load");
    let sections_of = |scenario: &Scenario| {
        let all = whole_run::report().sections.iter().filter(|section| section.scenario == scenario.name);
        all.cloned().collect::<Vec<_>>()
    };
    let known = scenarios.into_iter().filter(|scenario| !scenario.text.known.is_empty());
    known.map(|scenario| (sections_of(&scenario), scenario)).map(|(sections, scenario)| (scenario, sections)).collect()
}

/// What a gate says of `[[known]]` that covers nothing (how often), and of walks that a demand does not allow.
fn complaints(scenario: &Scenario, sections: &[Section]) -> (usize, Vec<String>) {
    let names: Vec<String> = subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect();
    let mut sections = sections.to_vec();
    gate::check(scenario, &mut sections, &names, true);
    let all = sections.into_iter().flat_map(|section| section.failures).map(|failure| failure.message);
    let (known, walks): (Vec<String>, Vec<String>) = all.partition(|message| message.contains("[[known]]"));
    (known.len(), walks)
}

/// The gates of all scenarios when each `[[known]]` of theirs says something else: each is stale then, and the walks are judged as
/// if there were none.
fn covers_nothing(what: &str, change: fn(&Scenario, &mut Known)) {
    let (mut listed, mut open) = (0, 0);
    for (scenario, sections) in with_known() {
        let mut changed = scenario.clone();
        changed.text.known.iter_mut().for_each(|known| change(&scenario, known));
        let (stale, walks) = complaints(&changed, &sections);
        assert_eq!(stale, scenario.text.known.len(), "{}: {what}", scenario.name);
        changed.text.known.clear();
        assert_eq!(walks, complaints(&changed, &sections).1, "{}: {what}", scenario.name);
        listed += stale;
        open += walks.len();
    }
    assert!(listed > 1000 && open > 300, "{what}: {listed} listed, {open} walks open");
}

#[test]
fn a_known_deviation_covers_no_other_verdict() {
    // No walk has so many entries.
    covers_nothing("the verdict", |_, known| known.verdict = Verdict::Incomplete(u16::MAX));
}

#[test]
fn a_known_deviation_covers_no_other_subject() {
    covers_nothing("the subject", |scenario, known| {
        // One of another CPU: the gate says so, once for each.
        known.unwinder = format!("not-on-{}", scenario.cpu.name);
    });
}

#[test]
fn a_known_deviation_covers_no_other_place() {
    covers_nothing("the function", |_, known| known.at.span = Span::Function("nowhere".to_owned()));
    covers_nothing("the offset", |_, known| match &mut known.at.span {
        Span::Offsets(range) => (range.first, range.last) = (1 << 40, 1 << 40),
        Span::Function(name) => *name = format!("{name}+0x1"),
        Span::Labels { from, before } => (*from, *before) = ("nowhere".to_owned(), None),
    });
}

#[test]
fn a_known_deviation_covers_no_other_variant_and_no_other_kind_of_interruption() {
    covers_nothing("the variant", |_, known| known.variant = Some("nowhere".to_owned()));
    covers_nothing("the interruption", |scenario, known| {
        let other = [Interruption::Voluntary, Interruption::Debug, Interruption::Serror];
        known.interrupt = other.into_iter().find(|kind| !scenario.text.interrupt.contains(kind));
    });
}

/// The range of an extent that is given by offsets.
fn offsets(known: &mut Known) -> Option<&mut Range> {
    match &mut known.at.span {
        Span::Offsets(range) => Some(range),
        Span::Function(_) | Span::Labels { .. } => None,
    }
}

/// Ranges by offsets: by names, the guest has none or every instruction (`tests/known.rs`).
#[test]
fn both_ends_of_a_known_range_must_be_real() {
    let mut changed = [0, 0];
    for (mut scenario, sections) in with_known() {
        scenario.text.known.retain_mut(|known| offsets(known).is_some());
        let known = scenario.text.known.clone();
        scenario.text.known.iter_mut().filter_map(offsets).for_each(|range| range.last = 1 << 40);
        assert_eq!(complaints(&scenario, &sections).0, known.len(), "{}: the last", scenario.name);
        changed[0] += known.len();
        if scenario.cpu.name == "x86_64" {
            continue; // an instruction may be at any offset
        }
        // An odd offset is no instruction.
        scenario.text.known = known;
        scenario.text.known.retain_mut(|known| offsets(known).is_some_and(|range| range.first > 0));
        scenario.text.known.iter_mut().filter_map(offsets).for_each(|range| range.first -= 1);
        assert_eq!(complaints(&scenario, &sections).0, scenario.text.known.len(), "{}: the first", scenario.name);
        changed[1] += scenario.text.known.len();
    }
    assert!(changed[0] > 700 && changed[1] > 400, "{changed:?}");
}

#[test]
fn a_gate_breaks_for_what_is_no_verdict() {
    let path = root().join("scenarios/arm64/leaf.toml");
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let all = whole_run::report().sections.iter().filter(|section| section.scenario == scenario.name);
    let sections: Vec<Section> = all.cloned().collect();
    let nothing = (0, Vec::new());
    assert_eq!(complaints(&scenario, &sections), nothing);
    let with = |change: fn(&mut Section)| {
        let mut sections = sections.clone();
        change(&mut sections[0]);
        complaints(&scenario, &sections).1
    };
    let outside = with(|section| section.columns[0].reads_outside_stacks = 3);
    assert_eq!(outside, ["frame-record read outside the stacks that it was offered, in 3 walks"]);
    assert_eq!(with(|section| section.points = 0), ["the run has no point, so no demand was tested"]);
    let unread = with(|section| {
        let reason = "they end in the middle".to_owned();
        section.unread.push(UnreadData { format: "sframe".to_owned(), reason });
    });
    let says =
        "sframe of the guest were not read: they end in the middle; mend them, or give the reason in [[unjudged]]";
    assert_eq!(unread, [says]);
}

#[test]
fn a_level_allows_what_it_says_and_nothing_else() {
    let omission = Deviation::Skipped;
    let verdicts = [
        (Verdict::Exact, [true, true]),
        (Verdict::Cautious, [false, true]),
        (Verdict::Crashed, [false, false]),
        (Verdict::Incomplete(3), [false, true]),
        (Verdict::WrongFlagged(omission), [false, true]),
        (Verdict::Overstated(Deviation::State), [false, true]),
        (Verdict::Unsound(omission), [false, false]),
    ];
    for (verdict, allowed) in verdicts {
        assert_eq!([Level::Exact, Level::Sound].map(|level| level.allows(verdict)), allowed, "{verdict}");
        assert!(Level::Any.allows(verdict), "{verdict}");
    }
}

/// The scenario with another line for its key, or without it.
fn scenario(name: &str, key: &str, line: &str) -> Scenario {
    let path: PathBuf = root().join(format!("scenarios/{name}.toml"));
    let source = Scenario::load(&path).expect("the scenario is there").source;
    let lines = source.lines().map(|old| if old.starts_with(key) { line } else { old });
    let text: Vec<&str> = lines.collect();
    assert_ne!(text.join("\n"), source.trim_end(), "{name} has no {key}");
    Scenario::parse(&path, &text.join("\n")).expect("the text is sound")
}

#[rstest]
fn a_call_that_never_returns_voids_the_run_unless_its_function_is_listed(
    #[values("arm64/new_task", "riscv64/new_task", "x86_64/new_task")] name: &str,
) {
    let void = |scenario: &Scenario| {
        let variant = &scenario.variants()[0];
        let job = Job { root: root(), scenario, variant, kind: Interruption::Probe };
        job.run(&[]).expect("the guest runs to its end").void
    };
    let listed = Scenario::load(&root().join(format!("scenarios/{name}.toml"))).expect("the scenario is there");
    assert_eq!(void(&listed), None);
    for left_out in &listed.text.never_resumes {
        let mut scenario = listed.clone();
        scenario.text.never_resumes.retain(|function| function != left_out);
        let Some(reason) = void(&scenario) else { continue }; // it is listed for another kind of interruption
        assert!(reason.contains(&format!("{left_out}+")) && reason.contains("never resumed ("), "{left_out}: {reason}");
    }
    let reason = void(&scenario(name, "never-resumes", "never-resumes = []")).expect("nothing is listed");
    assert!(reason.contains("if that is intended, list its function in never-resumes"), "{reason}");
}

struct Follow<'p>(Oracle<'p>);

impl Observer for Follow<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.0.observe(at);
        Action::Continue
    }
}

#[rstest]
fn poison_that_equals_a_return_address_voids_the_run(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let load = |name: &str| {
        let path = root().join(format!("scenarios/{cpu}/{name}.toml"));
        let scenario = Scenario::load(&path).expect("the scenario is there");
        let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
        (scenario, program)
    };
    let contradiction = |scenario: &Scenario, program: &Program| {
        let mut follow = Follow(Oracle::new(program, Witnesses::default()));
        machine(program, &scenario.text).expect("a machine").drive(&mut follow).expect("the guest ends");
        follow.0.finish(&[]).contradiction
    };
    let (scenario, mut program) = load("late_frame_record");
    assert_eq!(contradiction(&scenario, &program), None);
    // That of a guest whose code lies at the same addresses, and has its calls elsewhere.
    program.poison = load("shrink_wrap").1.poison;
    let reason = contradiction(&scenario, &program).expect("a return address may be poison");
    assert!(reason.contains("the poison in unwritten stack words may equal the return address"), "{reason}");
}
