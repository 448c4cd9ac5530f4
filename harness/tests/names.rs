//! Whatever the program prints of a run is taken back as an argument, and a wrong name is answered with the near ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn program(arguments: &[&str]) -> Output {
    program_in("", arguments)
}

/// With this value of COLUMNS, if it is one.
pub(crate) fn program_in(columns: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
        .args(arguments)
        .env("COLUMNS", columns)
        .current_dir(root())
        .output()
        .expect("the program starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = program(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{error}", stdout(&output));
    stdout(&output)
}

/// Where a test may write a file or a folder of this name.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("names");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

/// A folder with one scenario of its own, arm64/own.
pub(crate) fn folder(name: &str, scenario: &str) -> PathBuf {
    let folder = path(name);
    let _ = std::fs::remove_dir_all(&folder);
    for part in ["scenarios/arm64", "guests/arm64"] {
        std::fs::create_dir_all(folder.join(part)).expect("a new folder");
    }
    let elf = "guests/arm64/leaf.elf";
    std::fs::copy(root().join(elf), folder.join(elf)).expect("the guest is there");
    std::fs::write(folder.join("scenarios/arm64/own.toml"), scenario).expect("a new file");
    folder
}

/// What the two commands print, but for the first line with the time.
#[track_caller]
fn are_the_same(one: &[&str], other: &[&str]) {
    let body = |arguments: &[&str]| succeeds(arguments).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = (body(one), body(other));
    assert!(left.len() > 1, "{one:?}: {left:?}");
    assert_eq!(left, right, "{one:?} {other:?}");
}

#[test]
fn what_a_report_prints_of_a_run_names_the_run() {
    are_the_same(&["run", "arm64/leaf"], &["run", "arm64/leaf probe"]);
    are_the_same(&["run", "arm64/leaf"], &["run", "ARM64/Leaf", "probe"]);
    are_the_same(
        &["run", "arm64/call_chain", "--variant", "O0", "--interrupt", "probe"],
        &["run", "arm64/call_chain [O0] probe"],
    );
    are_the_same(&["run", "fgraph", "F0", "irq", "--arch", "arm64"], &["run", "arm64/fgraph [f0] irq"]);
    are_the_same(
        &["run", "arm64/irq_on_task", "--unwinder", "arm64-sframe", "--start", "regs"],
        &["run", "arm64/irq_on_task", "ARM64-sframe@regs"],
    );
    are_the_same(&["run", "arm64/leaf", "--function", "leaf+0x8"], &["run", "arm64/leaf", "leaf+0x8#1"]);
}

#[test]
fn options_narrow_a_run_and_leave_its_gates() {
    let text = succeeds(&["run", "arm64/fgraph", "--variant", "F0", "--interrupt", "irq", "--start", "regs"]);
    assert!(text.contains("arm64/fgraph [F0] irq: ") && text.contains("@regs "), "{text}");
    assert!(!text.contains("@current "), "{text}");
    let report = path("narrow.json");
    let report = report.to_str().expect("a path of text");
    succeeds(&["run", "arm64/leaf", "--function", "leaf", "--unwinder", "frame-record", "--json", report]);
    let text = std::fs::read_to_string(report).expect("a report");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let section = &document["scenarios"][0];
    let functions: Vec<_> = section["functions"].as_array().into_iter().flatten().collect();
    assert!(functions.len() == 1 && functions[0]["name"] == "leaf", "{functions:?}");
    let walks = section["columns"][0]["counters"]["walks"].as_u64().expect("a number");
    assert!(walks > 0 && section["points"] == walks && document["totals"]["points"] == walks, "{walks}");
    // Without narrowing there are more.
    let all = succeeds(&["run", "arm64/leaf", "--unwinder", "frame-record"]);
    assert!(!all.contains(&format!(": {walks} points")), "{all}");
}

#[test]
fn a_log_is_narrowed_as_its_run_is() {
    let log = path("narrow.log");
    let log = log.to_str().expect("a path of text");
    succeeds(&["run", "arm64/call_chain", "--log", log]);
    let narrow = ["--variant", "o0", "--unwinder", "SFRAME", "--function", "_start"];
    are_the_same(&[&["run", "arm64/call_chain"], &narrow[..]].concat(), &[&["judge", log], &narrow[..]].concat());
}

#[test]
fn check_is_narrowed_to_a_function() {
    let all = succeeds(&["check", "arm64/leaf"]);
    let one = succeeds(&["check", "arm64/leaf", "--function", "leaf"]);
    assert!(all.contains("caller") && !one.contains("caller") && one.contains("leaf"), "{all}{one}");
}

#[test]
fn explain_takes_a_scenario_of_every_cpu() {
    let text = succeeds(&["explain", "leaf", "leaf+0"]);
    for cpu in ["arm64", "riscv64", "x86_64"] {
        let title = format!("{cpu}/leaf probe leaf+0x0#1");
        assert_eq!(text.lines().filter(|line| *line == title).count(), 1, "{cpu}: {text}");
    }
    // Whatever the case, and with what a report prints of the run.
    let of_one = succeeds(&["explain", "ARM64/leaf probe", "Leaf+0x8#1", "--unwinder", "Frame-Record"]);
    assert!(of_one.starts_with("arm64/leaf probe leaf+0x8#1\n"), "{of_one}");
    assert!(of_one.contains("frame-record: ") && !of_one.contains("sframe: "), "{of_one}");
    let hooked = ["explain", "arm64/fgraph F0", "return_to_handler+0x0#1:irq@regs"];
    let hooked = succeeds(&hooked);
    assert!(hooked.starts_with("arm64/fgraph [F0] irq ") && !hooked.contains("@current: "), "{hooked}");
}

#[test]
fn explain_tells_the_truth_once() {
    let text = succeeds(&["explain", "arm64/late_frame_record", "late+0x8#1"]);
    assert!(text.contains("\nframe-record: ") && text.contains("\ndwarf: "), "{text}");
    assert_eq!(text.matches("truth, youngest activation first").count(), 1, "{text}");
}

#[test]
fn explain_draws_the_stack_and_marks_where_a_walk_goes_wrong() {
    let text = succeeds(&["explain", "arm64/late_frame_record", "late+0x8#1", "--unwinder", "frame-record"]);
    assert!(text.contains("  first difference: entry 1 is guest_main+0xc, and caller+0x14 waits there\n"), "{text}");
    let stack = text.split("stack, from low to high addresses\n").nth(1).expect("it is drawn");
    assert!(stack.contains("x30: return address of 1 caller+0x14\n"), "{text}");
    let line = stack.lines().find(|line| line.contains("return address of 2 guest_main+0xc"));
    assert!(line.is_some_and(|it| it.starts_with("  sp+0x38 ") && it.ends_with("read by frame-record")), "{text}");
    let right = succeeds(&["explain", "arm64/late_frame_record", "late+0x8#1", "--unwinder", "dwarf"]);
    assert!(!right.contains("first difference"), "{right}");
}

#[test]
fn a_wrong_name_is_answered_with_the_near_ones() {
    for (arguments, near) in [
        (&["run", "lef"][..], "did you mean arm64/leaf"),
        (&["run", "arm64/leaf", "--unwinder", "arm64-sfrme"], "did you mean arm64-sframe"),
        (&["run", "arm64/call_chain", "--variant", "O9"], "did you mean O0"),
        (&["run", "arm64/fgraph", "--interrupt", "irk"], "did you mean irq"),
        (&["run", "arm64/leaf", "--start", "lve"], "did you mean live"),
        (&["run", "arm64/leaf", "--function", "calller"], "did you mean caller"),
        (&["explain", "arm64/lef", "leaf"], "did you mean arm64/leaf"),
        (&["explain", "arm64/leaf", "laef"], "did you mean leaf"),
        (&["explain", "arm64/leaf", "laef+0x4"], "did you mean leaf"),
    ] {
        let output = program(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(near), "{arguments:?} should say {near:?}: {error}");
    }
}

/// Every command that a broken gate prints does what it says.
#[test]
fn a_printed_command_explains_what_is_said_above_it() {
    let folder = folder("printed", "guest = \"leaf\"\n");
    let folder = folder.to_str().expect("a path of text");
    let output = program(&["--root", folder]);
    let text = stdout(&output);
    let command = text.replace("\\\n", " ");
    let command = command.lines().map(str::trim).find(|line| line.starts_with("unwind-harness explain "));
    let words: Vec<&str> = command.expect("a command").split_whitespace().skip(1).collect();
    let explained = succeeds(&[&words[..], &["--root", folder]].concat());
    assert!(explained.contains("frame-record: !skipped") && !explained.contains("\nsframe: "), "{explained}");
}
