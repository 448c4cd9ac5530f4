//! One test for each scenario: its gates hold, and its listing is the snapshot.

use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::report::page as snapshot;
use unwind_harness::scenario::Scenario;
use unwind_harness::suite::{Options, run_all};

#[rstest]
fn scenario(#[files("scenarios/*/*.toml")] path: PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
    let scenarios = [scenario];
    let (report, _) = run_all(root, &scenarios, &Options { threads: Some(1), ..Options::default() })
        .unwrap_or_else(|error| panic!("{error}"));
    let [scenario] = scenarios;

    let mut problems = Vec::new();
    let mut listing = Vec::new();
    for section in &report.sections {
        if !listing.is_empty() {
            listing.extend_from_slice(b"\n\n");
        }
        snapshot::write(section, &mut listing).expect("a vector takes everything");
        if let (Some(reason), false) = (&section.void, section.void_is_meant) {
            problems.push(format!("{}: void: {reason}", section.title()));
        }
        problems.extend(section.failures.iter().map(|broken| format!("{}: {}", section.title(), broken.message)));
    }
    let listing = String::from_utf8(listing).expect("listings are text");

    let (cpu, name) = scenario.name.split_once('/').expect("a scenario's name is <cpu>/<name>");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root.join("snapshots").join(cpu));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, listing));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
