//! Mutants: mistakes in the judge, the oracle, the gate and the unwinders that were planted by hand, one at a time, and what catches
//! each. Where a walk changes, a scenario's gate does, which nobody can accept as one accepts a snapshot. Guards of the gate and of
//! the oracle that no scenario can be are tests, some of them here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::analysis::gate;
use unwind_harness::guest::Program;
use unwind_harness::oracle::{Oracle, Witnesses};
use unwind_harness::recording::{Section, rows::UnreadData};
use unwind_harness::scenario::{Interruption, Known, Level, Scenario, load_all};
use unwind_harness::subject;
use unwind_harness::suite::{Job, machine};
use unwind_harness::trace::{Action, Observer, Point, Run as _};
use unwind_harness::verdict::{Deviation, Verdict};

use super::whole_run;

/// What catches a mutant.
enum Guard {
    /// The gate of this scenario.
    Gate(&'static str),
    /// This test, in this file.
    Test(&'static str, &'static str),
}

use Guard::{Gate, Test};

const HERE: &str = "harness/tests/mutants.rs";
const COMPLETENESS: &str = "harness/tests/completeness.rs";
const VERDICT: &str = "harness/src/verdict/tests.rs";
const KERNEL: &str = "harness/kunwind/tests/kernel.rs";
const BOUNDARY: &str = "harness/kunwind/tests/boundary.rs";
const USER: &str = "harness/kunwind/tests/user.rs";

/// The file that was changed, what the mutant does, and what catches it.
const MUTANTS: &[(&str, &str, &[Guard])] = &[
    (
        "harness/src/analysis/gate.rs",
        "[[known]] covers any verdict",
        &[Test(HERE, "a_known_deviation_covers_no_other_verdict")],
    ),
    (
        "harness/src/analysis/gate.rs",
        "[[known]] covers any subject, function, offset, variant or kind of interruption",
        &[
            Test(HERE, "a_known_deviation_covers_no_other_subject"),
            Test(HERE, "a_known_deviation_covers_no_other_place"),
            Test(HERE, "a_known_deviation_covers_no_other_variant_and_no_other_kind_of_interruption"),
        ],
    ),
    (
        "harness/src/analysis/gate.rs",
        "one end of a [[known]] range, or none, has to be real",
        &[Test(HERE, "both_ends_of_a_known_range_must_be_real")],
    ),
    (
        "harness/src/analysis/gate.rs",
        "a subject may be right as seldom as it likes",
        &[
            Test(COMPLETENESS, "a_walker_that_always_fails_breaks_a_gate_wherever_it_is_right_today"),
            Test(COMPLETENESS, "a_floor_is_held_to_the_walk_and_says_where_it_broke"),
        ],
    ),
    (
        "harness/src/analysis/gate.rs",
        "reads outside of the stacks, unread data or a run without points are no failure",
        &[Test(HERE, "a_gate_breaks_for_what_is_no_verdict")],
    ),
    (
        "harness/src/scenario/demand.rs",
        "`exact` allows `~`, or all that is not `!`",
        &[Test(HERE, "a_level_allows_what_it_says_and_nothing_else")],
    ),
    (
        "harness/src/oracle/mod.rs",
        "calls that never resume need not be listed in never-resumes",
        &[Test(HERE, "a_call_that_never_returns_voids_the_run_unless_its_function_is_listed")],
    ),
    (
        "harness/src/oracle/mod.rs",
        "poison may equal a return address",
        &[Test(HERE, "poison_that_equals_a_return_address_voids_the_run")],
    ),
    (
        "harness/src/verdict/align.rs",
        "walk and truth are aligned by pc alone",
        &[
            Gate("arm64/recursion_wrong_cfa"),
            Gate("riscv64/recursion_wrong_cfa"),
            Gate("x86_64/recursion_wrong_cfa"),
            Test(VERDICT, "a_repeated_activation"),
        ],
    ),
    (
        "harness/src/verdict/align.rs",
        "an activation that a walk skips is not missed",
        &[Gate("arm64/fgraph_nested"), Gate("arm64/sdei"), Test(VERDICT, "a_skipped_activation")],
    ),
    (
        "harness/src/verdict/align.rs",
        "a CFA, a frame pointer or a callee-saved register is not compared",
        &[
            Gate("riscv64/museum_millicode"),
            Gate("arm64/leaf_misannotated"),
            Gate("riscv64/museum_push_order"),
            Test(VERDICT, "a_wrong_state_with_right_pcs"),
        ],
    ),
    (
        "harness/src/verdict/align.rs",
        "an entry that repeats an earlier one is a stranger",
        &[Gate("arm64/leaf_misannotated"), Test(VERDICT, "a_repeated_activation")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "pt_regs are not consumed",
        &[
            Gate("arm64/stack_order"),
            Gate("arm64/sframe_checks"),
            Test(BOUNDARY, "v5_takes_sp_from_the_handlers_frame_record_and_not_from_pt_regs"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "pt_regs are not consumed",
        &[Gate("x86_64/syscall"), Gate("x86_64/corrupt_stack")],
    ),
    (
        "harness/kunwind/src/stack.rs",
        "stacks are bounded but not consumed, or entered twice",
        &[
            Gate("arm64/fgraph"),
            Gate("arm64/serror"),
            Gate("arm64/fault_in_irq"),
            Test("harness/kunwind/src/stack.rs", "a_stack_is_consumed_upwards"),
            Test("harness/kunwind/src/stack.rs", "a_stack_that_was_left_is_gone"),
        ],
    ),
    (
        "harness/kunwind/src/stack.rs",
        "a walk by ORC enters a stack twice",
        &[
            Gate("x86_64/stack_reentered"),
            Test("harness/kunwind/tests/orc/step.rs", "a_stack_is_entered_once_and_sp_rises_on_it"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the return address is consumed 8 bytes low",
        &[Gate("arm64/fgraph_nested")],
    ),
    (
        "harness/kunwind/src/unwinder/table.rs",
        "the return address is consumed 8 bytes low",
        &[Gate("arm64/recursion_wrong_cfa"), Gate("riscv64/recursion_wrong_cfa"), Gate("x86_64/recursion_wrong_cfa")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "any FINAL record is the end",
        &[
            Gate("riscv64/fgraph_stale_record"),
            Gate("arm64/museum_record_below_sp"),
            Test(KERNEL, "arm64_ends_at_the_final_record_of_the_task_and_nowhere_else"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "it stops at once",
        &[
            Gate("riscv64/stack_order"),
            Gate("riscv64/syscall"),
            Gate("riscv64/s0_scratch"),
            Test(COMPLETENESS, "a_walker_that_always_fails_breaks_a_gate_wherever_it_is_right_today"),
        ],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "the CFA need not rise",
        &[Gate("x86_64/cfa_not_rising"), Test(USER, "the_cfa_rises_but_the_youngest_frame_may_keep_sp")],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "the CFA must rise in the youngest frame too",
        &[
            Gate("arm64/call_on_irq_stack"),
            Gate("arm64/noreturn_last_insn"),
            Test(USER, "the_cfa_rises_but_the_youngest_frame_may_keep_sp"),
        ],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "a return address is looked up one byte back",
        &[
            Gate("arm64/noreturn_last_insn"),
            Gate("x86_64/noreturn_last_insn"),
            Test(USER, "a_return_address_is_looked_up_where_it_is"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the fallback to a frame record is not flagged",
        &[
            Gate("arm64/fgraph"),
            Gate("arm64/stack_order"),
            Test(BOUNDARY, "v5_falls_back_to_the_frame_record_where_metadata_fails_and_flags_that"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the slot of the frame pointer may lie anywhere",
        &[Gate("arm64/sdei_in_irq"), Gate("arm64/idle_secondary")],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the CFA may be misaligned, or an outermost row ends the walk well",
        &[
            Gate("arm64/sframe_checks"),
            Gate("arm64/fgraph"),
            Test(BOUNDARY, "each_version_checks_the_cfa_with_its_own_mask_and_the_order_of_fp_and_sp_as_it_does"),
            Test(BOUNDARY, "an_outermost_row_ends_the_walk_well_in_v5_alone"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "a row is followed with a misaligned frame pointer",
        &[Test(BOUNDARY, "no_row_is_followed_with_a_misaligned_frame_pointer")],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "a signed return address keeps its signature",
        &[Gate("arm64/pac_signed")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "a record of a trampoline is not consumed",
        &[Test(KERNEL, "a_record_of_a_trampoline_is_consumed_like_any_other")],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "a frame pointer may be misaligned",
        &[Test(KERNEL, "riscv_mainline_stops_where_a_frame_pointer_cannot_be_one_and_never_says_why")],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "the rule for leaves is dropped, or holds for return addresses too",
        &[
            Gate("riscv64/leaf_s0_in_ra_slot"),
            Test(KERNEL, "riscv_mainline_takes_a_lone_s0_in_the_slot_of_ra_for_a_leaf_only_at_the_start_from_pt_regs"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "exceptions are not noticed",
        &[Gate("riscv64/fault_in_irq"), Gate("riscv64/syscall")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "a frame pointer may be misaligned",
        &[Test(KERNEL, "x86_follows_no_misaligned_frame_pointer")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "the last record of a realigned stack is not known",
        &[Test(KERNEL, "x86_knows_the_last_record_where_gcc_realigned_the_stack")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "the reliable walk begins at an interrupted instruction",
        &[Gate("x86_64/fgraph"), Gate("x86_64/stack_order")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "pt_regs of user mode, or those of the task, are no end",
        &[Gate("x86_64/corrupt_stack"), Gate("x86_64/idle_primary")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_orc.rs",
        "words below rsp are believed inside of return_to_handler",
        &[Gate("x86_64/fgraph_stale_bp")],
    ),
    (
        "harness/kunwind/src/kernel/trampoline.rs",
        "the design that refuses the trampoline does not, or one that has lost the address goes on",
        &[Gate("arm64/fgraph_nested"), Gate("arm64/fgraph_sdei")],
    ),
    (
        "harness/kunwind/src/kernel/trampoline.rs",
        "what the ret_stack gives is not asked for again",
        &[Gate("arm64/rethook_fgraph"), Gate("riscv64/rethook_fgraph")],
    ),
    (
        "harness/kunwind/src/kernel/recover.rs",
        "a circle of return hooks is left with a trampoline's address",
        &[Test(
            "harness/kunwind/tests/return_hook.rs",
            "a_design_gives_up_where_the_second_answer_is_a_trampoline_too",
        )],
    ),
    (
        "harness/kunwind/src/return_hook.rs",
        "an entry or a node is used twice, or holds the trampoline",
        &[Test(
            "harness/kunwind/tests/return_hook.rs",
            "an_entry_and_a_node_are_used_once_and_not_those_that_hold_the_trampoline",
        )],
    ),
];

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
    covers_nothing("the function", |_, known| known.at.function = "nowhere".to_owned());
    covers_nothing("the offset", |_, known| (known.at.first, known.at.last) = (1 << 40, 1 << 40));
}

#[test]
fn a_known_deviation_covers_no_other_variant_and_no_other_kind_of_interruption() {
    covers_nothing("the variant", |_, known| known.variant = Some("nowhere".to_owned()));
    covers_nothing("the interruption", |scenario, known| {
        let other = [Interruption::Voluntary, Interruption::Debug, Interruption::Serror];
        known.interrupt = other.into_iter().find(|kind| !scenario.text.interrupt.contains(kind));
    });
}

#[test]
fn both_ends_of_a_known_range_must_be_real() {
    let mut changed = [0, 0];
    for (mut scenario, sections) in with_known() {
        let known = scenario.text.known.clone();
        scenario.text.known.iter_mut().for_each(|known| known.at.last = 1 << 40);
        assert_eq!(complaints(&scenario, &sections).0, known.len(), "{}: the last", scenario.name);
        changed[0] += known.len();
        if scenario.cpu.name == "x86_64" {
            continue; // an instruction may be at any offset
        }
        // An odd offset is no instruction.
        scenario.text.known = known.into_iter().filter(|known| known.at.first > 0).collect();
        scenario.text.known.iter_mut().for_each(|known| known.at.first -= 1);
        assert_eq!(complaints(&scenario, &sections).0, scenario.text.known.len(), "{}: the first", scenario.name);
        changed[1] += scenario.text.known.len();
    }
    assert!(changed[0] > 1000 && changed[1] > 300, "{changed:?}");
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
