//! Planted walkers that are never right: one that always stops at once, and one that never claims. Neither is ever wrong, so
//! only a demand for completeness can see it. They are planted in the recording of a whole run, and nothing is emulated.

use std::collections::BTreeSet;
use std::path::Path;

use unwind_harness::analysis::gate;
use unwind_harness::cpu::{ALL, Cpu};
use unwind_harness::recording::{Counters, Finding, FirstWalk, ListedInstruction, Section};
use unwind_harness::scenario::{Range, Scenario, is_share, load_all};
use unwind_harness::subject::{self, Scope};
use unwind_harness::verdict::Verdict;

use super::whole_run;

/// Subjects that are right in one kind of interruption of a variant but not in another, so that a floor for both would be 0. Each
/// has a floor elsewhere in its scenario, or is in [`WITHOUT_FLOOR`].
const RIGHT_IN_ONE_KIND: &[(&str, &str)] = &[
    // A walk of a nested exception always meets an exception boundary, which a bare chain of frame records does not show.
    ("arm64/serror", "frame-record@regs"),
    ("x86_64/ist_nmi_paranoid", "frame-record@regs"),
    // It ends where it leaves the IRQ stack; a fault is taken on the stack of the interrupted code.
    ("riscv64/irq_in_softirq", "riscv-walk-stackframe@current"),
    ("riscv64/irq_on_irq_stack", "riscv-walk-stackframe@current"),
    ("riscv64/irq_on_task", "riscv-walk-stackframe@current"),
    // In F0 the IRQ overwrites the word below rsp from which the hints take rbp; an NMI has a stack of its own.
    ("x86_64/fgraph_stale_bp", "x86-orc@current"),
    ("x86_64/fgraph_stale_bp", "x86-orc@regs"),
    ("x86_64/fgraph_stale_bp", "x86-orc:best-effort@current"),
    ("x86_64/fgraph_stale_bp", "x86-orc:best-effort@regs"),
    ("x86_64/fgraph_stale_bp", "x86-orc-detect@current"),
    ("x86_64/fgraph_stale_bp", "x86-orc-detect@regs"),
    // It is right at two instructions of context_switch alone, where interrupts are off: 4 of 254 walks by NMI.
    ("x86_64/ftrace_regs", "x86-unwind-frame:best-effort@current"),
    ("x86_64/ftrace_regs", "x86-unwind-frame:best-effort@regs"),
];

/// Subjects that no floor holds anywhere in a scenario.
const WITHOUT_FLOOR: &[(&str, &str)] = &[
    // Right in less than one percent of the walks of each section, which no whole percentage can express. Almost every damaged
    // frame record stops or misleads these: 1 of 1785 walks.
    ("arm64/corrupt_stack", "arm64-kunwind"),
    ("arm64/corrupt_stack", "frame-record"),
    // Its right walks are flagged, but for 4 of 677.
    ("arm64/overflow", "arm64-sframe-v6"),
    // Right in one kind of interruption alone, as above.
    ("arm64/serror", "frame-record"),
    ("x86_64/ist_nmi_paranoid", "frame-record"),
    ("x86_64/ftrace_regs", "x86-unwind-frame:best-effort"),
];

fn scenarios() -> Vec<Scenario> {
    load_all(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the scenarios load")
}

/// The subjects of a scenario's CPU.
fn names(scenario: &Scenario) -> Vec<String> {
    subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect()
}

/// The sections of a scenario, in which every walk of one subject has the same verdict.
fn planted(sections: &[Section], subject: &str, verdict: Verdict) -> Vec<Section> {
    let mut sections = sections.to_vec();
    for section in &mut sections {
        section.failures.clear();
        section.findings.retain(|finding| finding.subject != subject);
        for index in
            (0..section.columns.len()).filter(|index| section.columns[*index].name == subject).collect::<Vec<_>>()
        {
            let mut counters = Counters::default();
            let judged = section.functions.iter_mut().flat_map(|function| &mut function.instructions);
            for run in judged.filter_map(|instruction| instruction.runs.get_mut(index)).flatten() {
                run.verdict = verdict;
                counters.add(verdict, run.reachable, run.last - run.first + 1);
            }
            assert_eq!(counters.walks, section.columns[index].counters.walks, "{}", section.title());
            section.columns[index].counters = counters;
            let found = findings(section, index, verdict);
            section.findings.extend(found);
        }
    }
    sections
}

/// The findings of a column whose every walk has this verdict: one for each run of neighbouring instructions.
fn findings(section: &Section, index: usize, verdict: Verdict) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let walks = |instruction: &ListedInstruction| -> u64 {
        instruction.runs.get(index).into_iter().flatten().map(|run| run.last - run.first + 1).sum()
    };
    for function in &section.functions {
        let mut is_open = false;
        for instruction in &function.instructions {
            let (offset, count) = (instruction.offset, walks(instruction));
            if count > 0 && !is_open {
                let column = &section.columns[index];
                found.push(Finding {
                    subject: column.name.clone(),
                    start: column.start,
                    verdict,
                    range: Range { function: function.name.clone(), first: offset, last: offset },
                    count: 0,
                    reachable: true,
                    novelty: None,
                    new: 0,
                    reason: None,
                    first: FirstWalk::default(),
                });
            }
            is_open = count > 0;
            if let Some(finding) = found.last_mut().filter(|_| is_open) {
                finding.range.last = offset;
                finding.count += count;
            }
        }
    }
    found
}

/// What a planted verdict left standing.
#[derive(Debug, Default)]
struct Uncaught {
    /// Scenarios and labels that were right in a section, in one percent of the walks or more, in which no demand on them broke.
    labels: BTreeSet<(String, String)>,
    /// Scenarios and subjects that were right at all, without a demand on them that broke in any section.
    subjects: BTreeSet<(String, String)>,
}

/// Plants the verdict for every subject of every scenario, one at a time, and holds the gates. A stale `[[known]]` does not count.
fn plant(verdict: Verdict) -> Uncaught {
    let mut uncaught = Uncaught::default();
    let (mut caught, mut planted_subjects) = (0, BTreeSet::new());
    for scenario in scenarios() {
        let whole = whole_run::report().sections.iter().filter(|section| section.scenario == scenario.name);
        let whole: Vec<Section> = whole.filter(|section| section.is_whole()).cloned().collect();
        for name in names(&scenario) {
            let columns = whole.iter().flat_map(|section| &section.columns);
            if !columns.into_iter().any(|column| column.name == name && column.counters.exact > 0) {
                continue;
            }
            let mut sections = planted(&whole, &name, verdict);
            gate::check(&scenario, &mut sections, &names(&scenario), true);
            let mut is_caught = false;
            for (before, after) in whole.iter().zip(&sections) {
                for column in before.columns.iter().filter(|column| column.name == name) {
                    let (label, counters) = (column.label(), column.counters);
                    if after.failures.iter().any(|failure| failure.message.starts_with(&format!("{label} must be "))) {
                        is_caught = true;
                        caught += 1;
                    } else if counters.exact > 0 && is_share(1, counters.exact, counters.walks) {
                        uncaught.labels.insert((scenario.name.clone(), label));
                    }
                }
            }
            if !is_caught {
                uncaught.subjects.insert((scenario.name.clone(), name.clone()));
            }
            planted_subjects.insert((scenario.cpu.name, name));
        }
    }
    // A kernel image's own unwinder walks in that image alone, and no image is checked in.
    let of_cpu =
        |cpu: &'static Cpu| subject::all(cpu).into_iter().filter(|one| !matches!(one.about().scope, Scope::Own(_)));
    let all = |cpu: &'static Cpu| of_cpu(cpu).map(|one| (cpu.name, one.about().name.clone()));
    assert_eq!(planted_subjects, ALL.into_iter().flat_map(all).collect(), "every subject is right somewhere");
    assert!(caught > 2000, "{caught} columns");
    uncaught
}

/// Fails unless exactly the exceptions were not caught.
fn assert_caught(uncaught: &Uncaught) {
    let Uncaught { labels, subjects } = uncaught;
    let is_listed = |list: &[(&str, &str)], (scenario, label): &(String, String)| {
        list.iter().any(|(name, subject)| name == scenario && subject == label)
    };
    let open: Vec<_> = labels.iter().filter(|pair| !is_listed(RIGHT_IN_ONE_KIND, pair)).collect();
    assert!(open.is_empty(), "right, but never missed: {open:#?}");
    let open: Vec<_> = subjects.iter().filter(|pair| !is_listed(WITHOUT_FLOOR, pair)).collect();
    assert!(open.is_empty(), "right in a scenario, but never missed: {open:#?}");
    let has = |list: &BTreeSet<(String, String)>, (scenario, label): &(&str, &str)| {
        list.contains(&((*scenario).to_owned(), (*label).to_owned()))
    };
    let stale = RIGHT_IN_ONE_KIND.iter().filter(|pair| !has(labels, pair));
    let stale: Vec<_> = stale.chain(WITHOUT_FLOOR.iter().filter(|pair| !has(subjects, pair))).collect();
    assert!(stale.is_empty(), "exceptions that are none: {stale:#?}");
}

#[test]
fn a_walker_that_always_fails_breaks_a_gate_wherever_it_is_right_today() {
    assert_caught(&plant(Verdict::Incomplete(0)));
}

#[test]
fn a_walker_that_never_claims_breaks_a_gate_wherever_it_is_right_today() {
    assert_caught(&plant(Verdict::Cautious));
}

/// The failures of a recorded scenario under other demands.
fn failures(name: &str, must: &str) -> Vec<String> {
    let found = scenarios().into_iter().find(|scenario| scenario.name == name);
    let mut scenario = found.expect("the scenario is there");
    scenario.text.must = toml::from_str(must).unwrap_or_else(|error| panic!("{must}: {error}"));
    let all = whole_run::report().sections.iter().filter(|section| section.scenario == name);
    let mut sections: Vec<Section> = all.cloned().collect();
    gate::check(&scenario, &mut sections, &names(&scenario), true);
    sections.into_iter().flat_map(|section| section.failures).map(|failure| failure.message).collect()
}

#[test]
fn a_floor_is_held_to_the_walk_and_says_where_it_broke() {
    let leaf = whole_run::report().sections.iter().find(|section| section.scenario == "arm64/leaf").expect("it ran");
    let Counters { exact, walks, .. } = leaf.column("unwind-user-fp").expect("it walked").counters;
    let floor = exact * 100 / walks;
    assert_ne!(exact * 100 % walks, 0, "the share is no whole percentage, so that rounding would show");
    let with = |floor: u64| {
        let must = format!("frame-record = \"any\"\nunwind-user-fp = {{ level = \"any\", exact = {floor} }}");
        failures("arm64/leaf", &must)
    };
    assert_eq!(with(floor), Vec::<String>::new());
    let says = format!(
        "unwind-user-fp must be = in {} percent of its walks or more, but is in {floor} ({exact} of {walks} walks of \
         arm64/leaf probe)\n    unwind-harness run --listing --unwinder unwind-user-fp arm64/leaf",
        floor + 1
    );
    assert_eq!(with(floor + 1), [says]);
}

#[test]
fn a_floor_of_a_variant_holds_there_alone() {
    let with = |floors: &str| {
        let must = format!("frame-record = \"any\"\nx86-orc-detect = {{ level = \"any\", exact = {floors} }}");
        let mut found = failures("x86_64/fgraph", &must);
        found.retain(|message| message.contains("floor") || message.contains("must be ="));
        found
    };
    assert_eq!(with("{ F3 = 1, F0-by8 = 1 }"), Vec::<String>::new());
    let found = with("{ F3 = 100 }");
    assert!(!found.is_empty() && found.iter().all(|message| message.contains("x86_64/fgraph [F3]")), "{found:#?}");
    let says = "[must]: x86-orc-detect makes no walk in variant F4, so its floor means nothing";
    assert_eq!(with("{ F3 = 1, F4 = 1 }"), [says]);
}

#[test]
fn a_share_is_not_rounded_and_does_not_overflow() {
    assert!(is_share(87, 870, 1000));
    assert!(!is_share(87, 8699, 10_000));
    assert!(is_share(100, u64::MAX, u64::MAX));
    assert!(!is_share(100, u64::MAX - 1, u64::MAX));
}

#[test]
fn a_demand_that_cannot_be_read_is_refused_with_its_line() {
    for (demand, says) in [
        ("{ level = \"sound\", exact = 0 }", "a floor of 0 demands nothing"),
        ("{ level = \"sound\", exact = 101 }", "101 is not a whole percentage from 1 to 100"),
        ("{ level = \"sound\", exact = -1 }", "-1 is not a whole percentage from 1 to 100"),
        ("{ level = \"sound\", exact = 87.5 }", "floating point `87.5`, expected a whole percentage from 1 to 100"),
        ("{ level = \"sound\", exact = \"87\" }", "string \"87\", expected a whole percentage from 1 to 100"),
        ("{ level = \"sound\", exact = {} }", "names no variant"),
        ("{ level = \"sound\", exact = { F0 = 0 } }", "a floor of 0 demands nothing"),
        ("{ level = \"sound\", exact = { F0 = \"x\" } }", "expected a whole percentage from 1 to 100"),
        ("{ level = \"sound\", exact = 87, cautious = 3 }", "unknown field `cautious`"),
        ("{ level = \"sound\" }", "missing field `exact`"),
        ("{ exact = 87 }", "missing field `level`"),
        ("{ level = \"good\", exact = 87 }", "unknown variant `good`"),
        ("{ level = \"absent\", exact = 87 }", "it can have no floor"),
        ("87", "expected a level, or one with a floor"),
    ] {
        let text = format!("guest = \"leaf\"\n[must]\nsframe = {demand}\n");
        let error = Scenario::parse(Path::new("scenarios/arm64/own.toml"), &text).expect_err(demand).to_string();
        for says in ["own.toml", "line 3", says] {
            assert!(error.contains(says), "{demand} should say {says:?}: {error}");
        }
    }
    let text =
        "guest = \"leaf\"\n[must]\nsframe = { level = \"sound\", exact = { F9 = 3 } }\n[[variant]]\nname = \"F0\"\n";
    let error = Scenario::parse(Path::new("scenarios/arm64/own.toml"), text).expect_err("no F9").to_string();
    assert!(error.contains("must: sframe: exact: there is no variant \"F9\"; there are {\"F0\"}"), "{error}");
}
