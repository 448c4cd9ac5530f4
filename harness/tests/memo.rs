//! The rest of a walk is not walked again where it is known. That changes no verdict.

use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::experiment::{Arrival, Column, EVERYWHERE, Experiment, Visit, columns};
use unwind_harness::oracle::{AddressPlaces, Truth, Witnesses};
use unwind_harness::recording::Recorder;
use unwind_harness::scenario::{Interruption, Scenario, Variant};
use unwind_harness::subject::{Question, Subject};
use unwind_harness::suite::subjects;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Two recorders that see the same run.
struct Both<'p>([Recorder<'p>; 2]);

impl Visit for Both<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        self.0.iter_mut().for_each(|recorder| recorder.walk(at, within, column, question, truth));
    }

    fn places(&mut self, at: Arrival, found: &AddressPlaces, truth: &Truth) {
        self.0.iter_mut().for_each(|recorder| recorder.places(at, found, truth));
    }

    fn split(&mut self, at: Arrival) {
        self.0.iter_mut().for_each(|recorder| recorder.split(at));
    }

    fn cancelled(&mut self, at: Arrival) {
        self.0.iter_mut().for_each(|recorder| recorder.cancelled(at));
    }
}

/// Requires that a run is judged alike with and without a memo. Returns how many walks were not made to their end, and how many walks
/// there were.
fn held(scenario: &Scenario, variant: &Variant, kind: Interruption) -> (u64, u64) {
    let program = scenario.program(root(), variant).expect("the guest is sound");
    let hook = scenario.return_hook(variant);
    let subjects = subjects(scenario.cpu, &[]);
    let fitting: Vec<&dyn Subject> = subjects
        .iter()
        .map(|subject| -> &dyn Subject { &**subject })
        .filter(|subject| subject.about().fits(&program, hook.as_ref(), kind.walks_user()))
        .collect();
    let (columns, text) = (columns(&fitting, kind), &scenario.text);
    let recorder = || Recorder::new(&program, &columns, &text.omissible);
    let mut both = Both([recorder(), recorder().without_memo()]);
    let experiment = Experiment {
        program: &program,
        text,
        kind,
        columns: &columns,
        max_visits: text.max_visits,
        wanted: &[],
        addresses: EVERYWHERE,
    };
    let mut run = scenario.live(&program).expect("a machine");
    let found = experiment.drive(&mut *run, &[], Witnesses::default(), &mut both).expect("it runs to its end");
    let [with, without] = both.0;
    assert_eq!(without.reused(), 0);
    let reused = with.reused();
    let [with, without] = [with, without].map(|recorder| recorder.finish(scenario, variant, kind, &found));
    let json = |section| serde_json::to_string(section).expect("plain data");
    assert!(json(&with) == json(&without), "{}: the memo changes verdicts", with.title());
    (reused, with.columns.iter().map(|column| column.counters.walks).sum())
}

#[rstest]
fn every_run_is_judged_alike_with_and_without_a_memo(
    #[files("scenarios/*/*.toml")]
    #[exclude("scenarios/linux/")]
    path: PathBuf,
) {
    let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
    for kind in &scenario.text.interrupt {
        // What is delivered is judged by the same code. One variant shows that its walks are.
        let variants = scenario.variants().into_iter().take(if *kind == Interruption::Probe { usize::MAX } else { 1 });
        for variant in variants {
            held(&scenario, &variant, *kind);
        }
    }
}

#[rstest]
fn most_walks_of_a_deep_stack_are_not_made_to_their_end(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let path = root().join("scenarios").join(cpu).join("deep_loop.toml");
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let (reused, walks) = held(&scenario, &scenario.variants()[0], Interruption::Probe);
    assert!(reused * 2 > walks, "{reused} of {walks}");
}
