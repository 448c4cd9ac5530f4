//! A kernel's own unwinder that does not come back.

use std::path::Path;

use unwind_harness::guest::conventions::OwnUnwinder;
use unwind_harness::machine::Machine;
use unwind_harness::oracle::Witnesses;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{OwnForm, OwnSubject, Subject};
use unwind_harness::suite::{Job, Subjects, machine};
use unwind_harness::trace::{Run as _, Unobserved};
use unwind_harness::verdict::Verdict;

/// One that is not there, and one that is no code.
#[test]
fn a_walk_that_does_not_come_back_has_crashed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(&root.join("scenarios/arm64/irq_on_task.toml")).expect("the scenario is there");
    let variant = &scenario.variants()[0];
    let mut program = scenario.program(root, variant).expect("the guest loads");
    let scratch = program.conventions.scratch.clone().expect("a kernel guest has one");
    program.conventions.own_unwinder = Some(OwnUnwinder {
        reliable: Some(0x10),                      // nothing is mapped there
        best_effort: program.conventions.sentinel, // zeros
        save_reliable: None,
        is_modelled: false,
        consume: 0,
        buffer: scratch.end - 0x100..scratch.end,
    });
    let mut undisturbed = machine(&program, &scenario.text).expect("a machine");
    undisturbed.drive(&mut Unobserved).expect("the guest runs");
    let undisturbed = unwind_harness::experiment::lasting_words(&program, undisturbed.memory());
    let subjects: Subjects = [OwnForm::Reliable, OwnForm::BestEffort]
        .map(|form| Box::new(OwnSubject::new(form)) as Box<dyn Subject + Send>)
        .into();
    let mut run: Machine<'_> = machine(&program, &scenario.text).expect("a machine");
    let job = Job { root, scenario: &scenario, variant, kind: Interruption::Irq };
    let done = job.over(&program, &mut run, &undisturbed, &subjects, Witnesses::default(), None).expect("it runs");
    let section = done.section;
    assert_eq!(section.void, None, "what the walks wrote is undone");
    assert!(section.columns.len() >= 2 && section.points > 10, "{:?}", section.columns);
    for column in &section.columns {
        assert_eq!(column.counters.crashed, column.counters.walks, "{}", column.label());
    }
    assert!(section.findings.iter().all(|finding| finding.verdict == Verdict::Crashed));
}
