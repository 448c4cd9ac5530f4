//! `[[known]]` by names of the guest: they resolve, they are no wider than the deviation, and a name that does not exist is told
//! with its line. And every reason gives a cause.

use std::path::Path;

use unwind_harness::analysis::gate;
use unwind_harness::recording::Section;
use unwind_harness::report::known;
use unwind_harness::scenario::{Scenario, load_all};
use unwind_harness::subject;

use super::whole_run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A scenario with a text in place of another.
fn edited(name: &str, text: &str, other: &str) -> Scenario {
    let path = root().join("scenarios").join(format!("{name}.toml"));
    let source = std::fs::read_to_string(&path).expect("the scenario is there");
    assert!(source.contains(text), "{name} has no {text}");
    Scenario::parse(&path, &source.replacen(text, other, 1)).expect("it can be read")
}

/// The broken gates of the recorded sections of a scenario.
fn failures(scenario: &Scenario) -> Vec<String> {
    held(scenario).into_iter().flat_map(|section| section.failures).map(|failure| failure.message).collect()
}

/// The recorded sections of a scenario, with the gates held against them.
fn held(scenario: &Scenario) -> Vec<Section> {
    let names: Vec<String> = subject::all(scenario.cpu).iter().map(|it| it.about().name.clone()).collect();
    let all = whole_run::report().sections.iter().filter(|section| section.scenario == scenario.name);
    let mut sections: Vec<Section> = all.cloned().collect();
    gate::check(scenario, &mut sections, &names, true);
    sections
}

#[test]
fn a_label_stands_for_its_instructions() {
    let by_label = r#"{ from = "nest_record_el1h_64_irq" }"#;
    let same = |other: &str| failures(&edited("arm64/nested_irq_nmi", by_label, other));
    assert_eq!(same(by_label), Vec::<String>::new());
    // The same instructions by their offsets today.
    assert_eq!(same(r#""el1h_64_irq+0x64..el1h_64_irq+0x6c""#), Vec::<String>::new());
    // Wider than the deviation: the function, and from another label.
    for wider in [r#"{ all-of = "el1h_64_irq" }"#, r#"{ from = "nest_from_el1h_64_irq" }"#] {
        let found = same(wider);
        assert!(
            found.iter().any(|it| it.contains("does not happen at every instruction there")),
            "{wider}: {found:#?}"
        );
    }
    // Nothing is left of it, or too little.
    let found = same(r#"{ from = "nest_record_el1h_64_irq", before = "nest_record_el1h_64_irq+0x4" }"#);
    assert!(found.iter().any(|it| it.contains("must be sound")), "{found:#?}");
}

/// What a broken gate prints to be pasted is accepted as it stands, and then the gate holds.
#[test]
fn what_is_printed_to_be_pasted_is_read_back() {
    for name in ["arm64/leaf", "arm64/irq_on_task", "arm64/fgraph", "x86_64/late_frame_record"] {
        let path = root().join("scenarios").join(format!("{name}.toml"));
        let source = std::fs::read_to_string(&path).expect("the scenario is there");
        let mut table: toml::Table = source.parse().expect("TOML");
        table.remove("known").expect("it lists deviations");
        let bare = toml::to_string(&table).expect("TOML");
        let scenario = Scenario::parse(&path, &bare).expect("it can be read");
        let sections = held(&scenario);
        let broken = |sections: &[Section]| sections.iter().map(|section| section.failures.len()).sum::<usize>();
        assert!(broken(&sections) > 0, "{name}: nothing is demanded");
        let blocks = known::blocks(&sections.iter().collect::<Vec<_>>());
        let pasted = format!("{bare}\n{blocks}");
        let scenario = Scenario::parse(&path, &pasted).unwrap_or_else(|error| panic!("{error}\n{blocks}"));
        assert_eq!(failures(&scenario), Vec::<String>::new(), "{blocks}");
    }
}

#[test]
fn a_whole_function_while_the_address_is_lost_is_not_the_whole_function() {
    let lost = r#"{ all-of = "ftrace_caller", while = "address-lost" }"#;
    let same = |other: &str| failures(&edited("x86_64/klp_redirect", lost, other));
    assert_eq!(same(lost), Vec::<String>::new());
    let found = same(r#"{ all-of = "ftrace_caller" }"#);
    assert!(
        found.iter().any(|it| it.contains("all of ftrace_caller does not happen at every instruction there")),
        "{found:#?}"
    );
}

#[test]
fn a_name_that_the_guest_lacks_is_told_with_its_line() {
    let by_label = r#"{ from = "nest_record_el1h_64_irq" }"#;
    for (other, says) in [
        (r#"{ from = "nest_recrod" }"#, "\"nest_recrod\" is no function and no label in one"),
        (r#"{ from = "__current" }"#, "\"__current\" is no function and no label in one"),
        (r#"{ all-of = "nest_record_el1h_64_irq" }"#, "is no function, but in el1h_64_irq"),
        (
            r#"{ from = "nest_record_el1h_64_irq", before = "nest_from_el1h_64_irq" }"#,
            "\"nest_from_el1h_64_irq\" must follow it there",
        ),
        (r#"{ from = "nest_record_el1h_64_irq", before = "ret_to_kernel" }"#, "\"ret_to_kernel\" must follow it there"),
    ] {
        let scenario = edited("arm64/nested_irq_nmi", by_label, other);
        let line = 1 + scenario.source.lines().position(|line| line.contains(other)).expect("it is there");
        let error = scenario.program(root(), &scenario.variants()[0]).expect_err(other).to_string();
        assert!(error.contains(&format!("arm64/nested_irq_nmi.toml:{line}: [[known]]: at: ")), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_extent_that_means_nothing_is_refused() {
    for (at, says) in [
        (r#"{ before = "leaf" }"#, "give from, from and before, or all-of"),
        (r#"{ all-of = "leaf", from = "leaf" }"#, "give from, from and before, or all-of"),
        (r#"{ all-of = "leaf", while = "moved" }"#, "unknown variant `moved`"),
        (r#"{ of = "leaf" }"#, "unknown field `of`"),
        ("3", "one value or a list of them"),
        ("[3]", "offsets, as in"),
    ] {
        let text = format!(
            "guest = \"leaf\"\n[[known]]\nunwinder = \"sframe\"\nat = {at}\nverdict = \"~\"\nbecause = \"it is\"\n"
        );
        let error = Scenario::parse(Path::new("scenarios/arm64/own.toml"), &text).expect_err(at).to_string();
        assert!(error.contains(says) && error.contains("line 4"), "{at} should say {says:?}: {error}");
    }
}

/// A reason that points at another entry, or at luck, gives no cause.
#[test]
fn every_reason_gives_a_cause() {
    let idle = [
        "by chance",
        "the same as",
        "as the others",
        "as above",
        "as before",
        "as in f",
        "as at the",
        "does too",
        "write here why",
    ];
    for scenario in load_all(root()).expect("the scenarios load") {
        for known in &scenario.text.known {
            let because = known.because.to_lowercase();
            assert!(because.len() > 15, "{}: {:?} is no cause", scenario.name, known.because);
            let found = idle.iter().find(|words| because.contains(*words));
            assert!(found.is_none(), "{}: {:?}: {:?} is no cause", scenario.name, found, known.because);
        }
    }
}
