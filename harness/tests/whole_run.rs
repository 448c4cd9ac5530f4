//! One run of all scenarios, which several tests look at, and what must hold of every part of it.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use unwind_harness::recording::Recording;
use unwind_harness::report::json;
use unwind_harness::scenario::load_all;
use unwind_harness::suite::{Options, run_all};

/// The recording of all scenarios, run with as many threads as there are CPUs.
pub(crate) fn report() -> &'static Recording {
    static REPORT: LazyLock<Recording> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scenarios = load_all(root).expect("the scenarios load");
        run_all(root, &scenarios, &Options::default()).expect("everything runs").0
    });
    &REPORT
}

#[test]
fn the_counters_of_the_report_add_up() {
    let mut text = Vec::new();
    json::write(report(), &mut text).expect("a vector takes everything");
    let document: Value = serde_json::from_slice(&text).expect("the report is JSON");
    assert_eq!(document["schema"], 2);
    let scenarios = document["scenarios"].as_array().expect("a list");
    assert!(scenarios.len() > 39);
    for scenario in scenarios {
        for (name, counters) in scenario["subjects"].as_object().expect("a map") {
            let count = |key: &str| counters[key].as_u64().expect("a number");
            let parts = ["exact", "cautious", "incomplete", "wrong_flagged", "overstated", "unsound"];
            assert_eq!(parts.iter().map(|part| count(part)).sum::<u64>(), count("walks"), "{scenario}");
            let found = scenario["findings"].as_array().expect("a list").iter();
            let found = found.filter(|finding| finding["subject"] == name.as_str());
            let not_exact: u64 = found.map(|finding| finding["count"].as_u64().expect("a number")).sum();
            assert_eq!(not_exact, count("walks") - count("exact"), "{scenario}");
        }
    }
    let leaf = scenarios.iter().find(|scenario| scenario["name"] == "arm64/leaf").expect("the scenario ran");
    assert_eq!((&leaf["variant"], &leaf["interrupt"], &leaf["void"]), (&Value::Null, &"probe".into(), &Value::Null));
    let findings = leaf["findings"].as_array().expect("a list");
    let finding = findings.iter().rfind(|finding| finding["subject"] == "frame-record").expect("a finding");
    assert_eq!(finding["start"], "live");
    assert_eq!(finding["verdict"], "!skipped");
    assert!(finding["range"].as_str().is_some_and(|range| range.starts_with("leaf+0x0")), "{finding}");
    assert_eq!(finding["first"]["point"], "leaf+0x0#1");
}
