//! The documents of a run: each is read by somebody else's parser, and none calls what was not judged a pass.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use serde_json::Value;
use unwind_harness::recording::{Novelty, Partial, Recording, Section, Skip};
use unwind_harness::report::{json, junit, ktap, sarif};
use unwind_harness::rows;
use unwind_harness::scenario::{Scenario, load_all};
use unwind_harness::suite::{Options, run_all};

use super::linux_packages::skip;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenarios(names: &[&str]) -> Vec<Scenario> {
    let mut all = load_all(root()).expect("the scenarios load");
    all.retain(|scenario| names.contains(&scenario.name.as_str()));
    assert_eq!(all.len(), names.len());
    all
}

/// Runs of every kind: exact ones, known deviations, a void one that is meant, and a hook with variants.
fn runs() -> Recording {
    let names = [
        "arm64/leaf",
        "arm64/late_frame_record",
        "arm64/clobbered_callee_saved",
        "x86_64/fgraph",
        "riscv64/irq_on_task",
    ];
    run_all(root(), &scenarios(&names), &Options::default()).expect("they run").0
}

/// Checked rows: right ones, wrong ones that are listed, and what is not judged for a listed reason.
fn checked() -> Recording {
    let names = ["arm64/leaf", "arm64/alloca", "arm64/fgraph", "x86_64/leaf"];
    rows::run_all(root(), &scenarios(&names), &load_all(root()).expect("the scenarios load")).expect("they run")
}

fn written(format: fn(&Recording, &mut dyn std::io::Write) -> std::io::Result<()>, recording: &Recording) -> String {
    let mut bytes = Vec::new();
    format(recording, &mut bytes).expect("memory takes it");
    String::from_utf8(bytes).expect("text")
}

/// A line of a result, as a parser sees it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    is_ok: bool,
    is_skip: bool,
    text: String,
}

/// Reads TAP with Perl's TAP::Parser (of `prove`): the plan, and each result. `None`: this machine has no such parser.
fn perl(tap: &str) -> Option<(usize, Vec<Line>)> {
    const PROGRAM: &str = r#"
        use TAP::Parser;
        my $parser = TAP::Parser->new({ tap => do { local $/; <STDIN> } });
        while (my $line = $parser->next) {
            next unless $line->is_test;
            printf "%d\t%d\t%s\n", $line->is_actual_ok ? 1 : 0, $line->has_skip ? 1 : 0, $line->as_string;
        }
        die join("; ", $parser->parse_errors) if $parser->parse_errors;
        printf "%d\n", $parser->tests_planned;
    "#;
    let has_parser = Command::new("perl").args(["-MTAP::Parser", "-e", "1"]).stderr(Stdio::null()).status();
    if !has_parser.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut child = Command::new("perl")
        .args(["-e", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl starts");
    child.stdin.take().expect("a pipe").write_all(tap.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "TAP::Parser refuses:\n{tap}");
    let text = String::from_utf8(output.stdout).expect("text");
    let (lines, plan) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    let line = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let mut next = || parts.next().expect("three parts").to_owned();
        Line { is_ok: next() == "1", is_skip: next() == "1", text: next() }
    };
    Some((plan.parse().expect("a number"), lines.lines().map(line).collect()))
}

/// The nested parts of a KTAP document, each as a document of its own: TAP::Parser reads one level.
fn nested(ktap: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in ktap.lines().filter_map(|line| line.strip_prefix("  ")) {
        if line.starts_with("KTAP version") {
            parts.push(String::new());
        }
        parts.last_mut().expect("a version line comes first").extend([line, "\n"]);
    }
    parts
}

fn case<'r>(report: &'r Report, suite: &str, name: &str) -> &'r TestCaseStatus {
    let suites = report.test_suites.iter().filter(|it| it.name.as_str() == suite);
    let mut cases = suites.flat_map(|suite| &suite.test_cases).filter(|it| it.name.as_str() == name);
    &cases.next().unwrap_or_else(|| panic!("no case {name} in {suite}")).status
}

fn read_junit(recording: &Recording) -> Report {
    Report::deserialize_from_str(&written(junit::write, recording)).expect("JUnit XML")
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::validator_for(schema).expect("it is a JSON Schema")
}

#[track_caller]
fn require_valid(validator: &jsonschema::Validator, document: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(document).take(5).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_schema_is_that_of_the_types_and_holds_of_reports() {
    let mut made = Vec::new();
    json::write_schema(&mut made).expect("memory takes it");
    let path = root().join("docs/recording.schema.json");
    let file = std::fs::read_to_string(&path).expect("the schema is there");
    let advice = "unwind-harness schema > docs/recording.schema.json";
    assert!(String::from_utf8(made).expect("text") == file, "the types have changed: {advice}");

    let validator = validator(&serde_json::from_str(&file).expect("JSON"));
    let mut cut = runs();
    cut.sections[0].interrupted = true;
    cut.partial = Some(Partial { because: "interrupted".to_owned(), whole: 1, of: 9 });
    cut.skipped.push(Skip::failed("a file", "a reason"));
    for recording in [runs(), checked(), cut, Recording::default()] {
        let text = written(json::write, &recording);
        require_valid(&validator, &serde_json::from_str(&text).expect("JSON"));
        assert_eq!(serde_json::from_str::<Recording>(&text).expect("it reads back"), recording);
    }

    let good = serde_json::to_value(runs()).expect("JSON");
    for (pointer, bad) in [
        ("/schema", Value::from(1)),
        ("/scenarios/0/points", Value::from(-1)),
        ("/scenarios/0/interrupt", Value::from("never")),
        ("/scenarios/1/findings/0/verdict", Value::from("!state")),
        ("/scenarios/1/findings/0/novelty", Value::from("fine")),
        ("/totals", Value::Null),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap_or_else(|| panic!("there is {pointer}")) = bad;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}

#[test]
fn a_tap_parser_reads_ktap() {
    for recording in [runs(), checked()] {
        let text = written(ktap::write, &recording);
        let parts = nested(&text);
        let Some((plan, lines)) = perl(&text) else {
            return skip("formats::a_tap_parser_reads_ktap", "perl has no TAP::Parser (Debian: package perl)");
        };
        assert_eq!((plan, lines.len()), (parts.len(), parts.len()));
        assert!(lines.iter().all(|line| line.is_ok), "{lines:?}");
        for part in parts {
            let (plan, lines) = perl(&part).expect("it is there");
            assert_eq!(plan, lines.len(), "{part}");
        }
    }
}

#[test]
fn what_is_expected_is_no_pass_and_no_failure() {
    let recording = runs();
    let text = written(ktap::write, &recording);
    for part in [
        "ok 2 sframe\n",
        " frame-record # XFAIL ",
        " walks deviate as listed: x29 still holds its value from before _start",
        "arm64/clobbered_callee_saved probe # SKIP void, as it must be: ",
    ] {
        assert!(text.contains(part), "{part:?}:\n{text}");
    }
    assert!(!text.contains("not ok"), "{text}");
    let report = read_junit(&recording);
    assert_eq!((report.failures, report.errors), (0, 0));
    let is_skipped = |suite: &str, name: &str, kind: &str| {
        let status = case(&report, suite, name);
        matches!(status, TestCaseStatus::Skipped { ty, .. } if ty.as_ref().is_some_and(|ty| ty.as_str() == kind))
    };
    assert!(is_skipped("arm64/late_frame_record probe", "frame-record", "expected"));
    assert!(is_skipped("arm64/clobbered_callee_saved probe", "run", "not applicable"));
    assert!(matches!(case(&report, "arm64/late_frame_record probe", "sframe"), TestCaseStatus::Success { .. }));
}

/// One section, with a change, and what a test runner is to see: the case, and the type of its error or failure.
fn changed(change: impl FnOnce(&mut Section)) -> Recording {
    let whole = run_all(root(), &scenarios(&["arm64/late_frame_record"]), &Options::default()).expect("it runs").0;
    let mut section = whole.sections.into_iter().next().expect("a section");
    change(&mut section);
    Recording::new(vec![section])
}

#[test]
fn what_was_not_judged_is_a_pass_in_no_format() {
    let reason = || Some("a reason".to_owned());
    let skipped = Recording { skipped: vec![Skip::failed("a file", "a reason")], ..Recording::default() };
    let partial = Partial { because: "interrupted".to_owned(), whole: 0, of: 3 };
    let partial = Recording { partial: Some(partial), ..Recording::default() };
    let mut guests = [checked(), checked(), checked()];
    guests[0].rows[0].not_judged = reason();
    guests[1].rows[0].void = reason();
    guests[2].rows[0].interrupted = true;
    let cases = [
        (changed(|section| section.void = reason()), "void"),
        (changed(|section| section.not_judged = reason()), "not judged"),
        (changed(|section| section.interrupted = true), "interrupted"),
        (changed(|section| section.findings.iter_mut().for_each(|finding| finding.novelty = None)), "not judged"),
        (skipped, "not judged"),
        (partial, "partial"),
    ];
    let guests = guests.into_iter().zip(["not judged", "void", "interrupted"]);
    for (recording, kind) in cases.into_iter().chain(guests) {
        let is_row = !recording.rows.is_empty();
        let text = written(ktap::write, &recording);
        assert!(text.lines().any(|line| line.starts_with("not ok 1 ")), "{kind}: {text}");
        assert!(text.contains(&format!("# ERROR {kind}: ")), "{kind}: {text}");
        let report = read_junit(&recording);
        let errors: Vec<&TestCaseStatus> = { report.test_suites.iter().flat_map(|suite| &suite.test_cases) }
            .map(|case| &case.status)
            .filter(|it| matches!(it, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. }))
            .collect();
        let is_kind = |status: &&TestCaseStatus| matches!(status, TestCaseStatus::NonSuccess { ty: Some(ty), .. } if ty.as_str() == kind);
        assert!(!errors.is_empty() && errors.iter().all(is_kind), "{kind}: {errors:?}");
        if is_row {
            let document: Value = serde_json::from_str(&written(sarif::write, &recording)).expect("JSON");
            let invocation = &document["runs"][0]["invocations"][0];
            assert_eq!(invocation["executionSuccessful"], false, "{invocation}");
            let note = invocation["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap_or_default();
            assert!(note.contains(kind), "{kind}: {note}");
        }
    }
}

#[test]
fn a_broken_gate_is_a_failure_of_its_unwinder() {
    let mut scenarios = scenarios(&["arm64/late_frame_record"]);
    scenarios[0].text.known.clear();
    let recording = run_all(root(), &scenarios, &Options::default()).expect("it runs").0;
    let report = read_junit(&recording);
    let TestCaseStatus::NonSuccess { kind, message: Some(message), .. } =
        case(&report, "arm64/late_frame_record probe", "frame-record")
    else {
        panic!("it must fail: {report:?}");
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    assert!(message.as_str().starts_with("frame-record must be exact, but is "), "{message:?}");
    let text = written(ktap::write, &recording);
    assert!(text.contains("  # frame-record must be exact, but is ") && text.contains("not ok 1 arm64/late"), "{text}");
    assert!(matches!(case(&report, "arm64/late_frame_record probe", "sframe"), TestCaseStatus::Success { .. }));
    let novelty = recording.sections[0].findings.iter().find(|it| it.subject == "frame-record").expect("one").novelty;
    assert_eq!(novelty, Some(Novelty::New));
}

/// The schema of SARIF 2.1.0 that the crate serde-sarif is made from.
fn sarif_schema() -> Option<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .ok()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).ok()?;
    let package = metadata["packages"].as_array()?.iter().find(|package| package["name"] == "serde-sarif")?;
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?.to_owned();
    let mut schema: Value = serde_json::from_slice(&std::fs::read(folder.join("src/schema.json")).ok()?).ok()?;
    // One of its patterns, that of a language, is no regular expression (a bracket too many). No report here has a language.
    for owner in ["run", "toolComponent"] {
        let language = schema.pointer_mut(&format!("/definitions/{owner}/properties/language"));
        language.and_then(Value::as_object_mut).and_then(|language| language.remove("pattern"));
    }
    Some(schema)
}

#[test]
fn sarif_is_what_its_schema_says() {
    let Some(schema) = sarif_schema() else {
        return skip("formats::sarif_is_what_its_schema_says", "cargo does not know where serde-sarif is");
    };
    let validator = validator(&schema);
    let good = checked();
    // The same without the lists: each is then new.
    let scenarios = scenarios(&["arm64/alloca", "arm64/fgraph"]);
    let new = rows::run_all(root(), &scenarios, &[]).expect("they run");
    for recording in [&good, &new] {
        let document: Value = serde_json::from_str(&written(sarif::write, recording)).expect("JSON");
        require_valid(&validator, &document);
        let run = &document["runs"][0];
        assert_eq!(run["invocations"][0]["executionSuccessful"], true);
        let results = run["results"].as_array().expect("a list");
        let wrong: usize = { recording.rows.iter().flat_map(|guest| &guest.functions) }
            .filter(|function| function.ran > 0)
            .flat_map(|function| &function.tables)
            .map(|table| table.wrong.len())
            .sum();
        let of = |rule: &'static str| {
            results.iter().filter(move |result| result["ruleId"].as_str().is_some_and(|id| id.starts_with(rule)))
        };
        assert!(wrong > 0 && of("wrong-").count() == wrong, "{wrong} {}", of("wrong-").count());
        assert!(of("not-judged").all(|result| result["kind"] == "open"));
        let is_new = std::ptr::eq(recording, &new);
        assert!(of("wrong-").all(|result| result["level"] == if is_new { "error" } else { "note" }));
        assert!(of("wrong-").all(|result| result["suppressions"].is_array() != is_new));
        assert_eq!(of("gate").count(), recording.row_failures.len());
    }
    let mut bad: Value = serde_json::from_str(&written(sarif::write, &good)).expect("JSON");
    bad["runs"][0]["results"][0]["level"] = "loud".into();
    assert!(!validator.is_valid(&bad));
}

#[test]
fn every_command_that_judges_writes_every_format() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("formats");
    std::fs::create_dir_all(&folder).expect("a folder");
    let program = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness")).args(arguments).current_dir(&folder).output();
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("the file");
    let formats = ["--json", "a.json", "--junit", "a.xml", "--ktap", "a.ktap"];
    program(&[&["run", "arm64/leaf", "--log", "a.log"][..], &formats].concat());
    let first = ["a.json", "a.xml", "a.ktap"].map(read);
    assert!(first[2].starts_with("KTAP version 1\n1..1\n"), "{}", first[2]);
    Report::deserialize_from_str(&first[1]).expect("JUnit XML");
    // The same documents of the same run.
    program(&[&["judge", "a.log"][..], &formats].concat());
    assert_eq!(["a.json", "a.xml", "a.ktap"].map(read), first);
    program(&[&["check", "arm64/leaf", "--sarif", "a.sarif"][..], &formats].concat());
    assert!(read("a.xml").contains("name=\"rows of arm64/leaf\""), "{}", read("a.xml"));
    let document: Value = serde_json::from_str(&read("a.sarif")).expect("JSON");
    assert_eq!(document["version"], "2.1.0");
    // Standard output carries the document alone.
    assert_eq!(program(&["run", "arm64/leaf", "--ktap", "-"]), first[2]);
}
