//! What did not look is not green: selections that walk nothing, options that mean nothing, code of ours that stands for somebody's.

use crate::names::{program, stdout, succeeds};

/// Runs it, and gives the status with both outputs.
fn says(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = program(arguments);
    (output.status.code(), stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The one who is wrong is told what would be right.
#[track_caller]
fn refuses(arguments: &[&str], parts: &[&str]) {
    let (status, text, error) = says(arguments);
    assert_eq!(status, Some(2), "{arguments:?}: {text}{error}");
    for part in parts {
        assert!(error.contains(part), "{arguments:?}: {part}: {error}");
    }
    assert!(!text.contains("all gates hold"), "{arguments:?}: {text}");
}

#[test]
fn a_run_without_a_walk_was_not_judged() {
    for arguments in [
        ["run", "leaf", "--arch", "arm64", "--unwinder", "x86-orc"],
        ["run", "leaf", "--arch", "arm64", "--unwinder", "arm64-sframe"],
        ["run", "leaf", "--arch", "arm64", "--start", "task"],
        ["run", "fgraph", "--arch", "arm64", "--unwinder", "sframe"],
    ] {
        refuses(&arguments, &["nothing was judged: no walk was made"]);
    }
    let (status, text, _) = says(&["run", "leaf", "--arch", "arm64", "--start", "task", "--ktap", "-", "--quiet"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("  ok 1 demands # SKIP no walk was made here"), "{text}");
    assert!(text.contains("  not ok 1 walks # ERROR not judged: no walk was made"), "{text}");
    // One run that walks is enough; and one that is void because it must be has no walks.
    let some = succeeds(&["run", "leaf", "fgraph_probe", "--arch", "arm64", "--unwinder", "arm64-sframe"]);
    assert!(some.trim_end().ends_with("all gates hold"), "{some}");
}

#[test]
fn a_place_without_an_instruction_is_an_error() {
    refuses(&["run", "leaf", "--arch", "arm64", "--function", "leaf+0x3"], &["leaf+0x3", "+0x0 and +0x4"]);
    refuses(&["run", "leaf", "--function", "leaf+0x8000"], &["no instruction begins at leaf+0x8000"]);
    refuses(&["run", "leaf", "--function", "leaf+0x8000..leaf+0x8004"], &["in leaf+0x8000..leaf+0x8004"]);
}

#[test]
fn check_judges_whole_functions() {
    refuses(&["check", "leaf", "--function", "leaf+0x8"], &["whole functions", "--function leaf"]);
    refuses(&["check", "leaf+0x8"], &["whole functions"]);
    // What is told of a part is counted over the part.
    let report = crate::names::path("part.json");
    let report = report.to_str().expect("a path of text");
    let text = succeeds(&["check", "leaf", "--arch", "arm64", "--function", "leaf", "--json", report]);
    assert!(!text.contains(" points: innermost"), "{text}");
    let whole = succeeds(&["check", "leaf", "--arch", "arm64"]);
    assert!(whole.contains("  of 33 points: innermost"), "{whole}");
    let report = std::fs::read_to_string(report).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(
        (&report["points"], report["levels"].as_object().map(serde_json::Map::len)),
        (&12.into(), Some(0)),
        "{text}"
    );
}

#[test]
fn options_of_processes_are_refused_elsewhere() {
    let call = ["run", "--elf", "guests/x86_64/leaf.elf", "--call", "leaf"];
    for (option, says) in [
        (&["--within", "nosuch"][..], "--function NAME"),
        (&["--max-visits", "1"], "--process"),
        (&["--budget", "100000"], "--process"),
        (&["--sysroot", "/"], "--process"),
        (&["--env", "A=B"], "--process"),
        (&["--", "word"], "--process"),
    ] {
        refuses(&[&call[..], option].concat(), &[says]);
        refuses(&[&["run", "leaf"], option].concat(), &[says]);
    }
    refuses(&["run", "leaf", "--lib", "a.so"], &["--elf"]);
    refuses(&["run", "leaf", "--alternatives", "LSE"], &["--linux"]);
    refuses(&["run", "--linux", "/nosuch", "--lib", "a.so"], &["--lib"]);
    refuses(&["run", "--linux", "/nosuch", "--save-scenario", "a"], &[]);
    refuses(&["check", "--linux", "/nosuch", "--all-functions"], &["--all-functions"]);
}

#[test]
fn a_comparison_of_nothing_is_an_error() {
    let report = crate::names::path("old.json");
    let report = report.to_str().expect("a path of text");
    let _ = succeeds(&["run", "arm64/loop", "--json", report]);
    let (status, text, error) = says(&["run", "arm64/leaf", "--baseline", report]);
    assert!(status == Some(2) && error.contains("--baseline") && error.contains("none of these runs"), "{text}{error}");
    let text = std::fs::read_to_string(report).expect("a report");
    let mut empty: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    empty["scenarios"] = serde_json::Value::Array(Vec::new());
    let other = crate::names::path("empty.json");
    std::fs::write(&other, empty.to_string()).expect("a new file");
    let other = other.to_str().expect("a path of text");
    refuses(&["diff", other, other], &["nothing was compared"]);
    refuses(&["merge", other], &["nothing was judged: there is no run"]);
    let (status, text, _) = says(&["diff", report, other]);
    assert_eq!((status, text.contains("compared no run")), (Some(1), true), "{text}");
}

#[test]
fn where_nothing_is_demanded_no_gate_holds() {
    let scenario = "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n";
    let folder = crate::names::folder("free", scenario);
    let root = folder.to_str().expect("a path of text");
    let page = crate::names::path("free.html");
    let page = page.to_str().expect("a path of text");
    let some = succeeds(&["--root", root]);
    assert!(some.trim_end().ends_with("all gates hold"), "{some}");
    for all in [&[][..], &["--all"]] {
        let none = succeeds(&[&["--root", root, "--unwinder", "frame-record", "--html", page], all].concat());
        assert!(none.trim_end().ends_with("no gate: nothing is demanded of these walks"), "{none}");
    }
    let html = std::fs::read_to_string(page).expect("a page");
    assert!(html.contains("Nothing is demanded of these walks") && !html.contains("All gates hold"));
}

#[test]
fn an_empty_selection_says_what_is_missing() {
    refuses(&["run", ""], &["a filter is empty"]);
    let folder = crate::names::folder("none", "guest = \"leaf\"\n");
    let root = folder.to_str().expect("a path of text");
    refuses(
        &["run", "--root", root, "--arch", "riscv64"],
        &["scenarios: no scenario of riscv64 there", "<cpu>/NAME.toml"],
    );
    refuses(&["explain"], &["a scenario and a point"]);
    refuses(&["explain", "--elf", "guests/arm64/leaf.elf", "--call", "leaf"], &["explain needs a point"]);
    refuses(&["explain", "arm64/leaf", "leaf+0x8#99"], &["arrives 2 times at leaf+0x8, not at leaf+0x8#99"]);
    refuses(&["run", "--elf", "README.md", "--call", "main"], &["it is no ELF file"]);
    let output = program(&["export", "arm64/leaf", "leaf+0x3", "--format", "jsonl", "--out", "-"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", stdout(&output));
}

#[test]
fn only_unwinders_that_walk_are_listed() {
    let text = succeeds(&["list", "leaf", "fault_in_irq", "--arch", "arm64"]);
    let line = |name: &str| text.lines().find(|line| line.starts_with(&format!("arm64/{name} "))).unwrap_or_default();
    assert!(line("leaf").contains(" frame-record sframe dwarf "), "{text}");
    assert!(!line("leaf").contains("kunwind") && !line("leaf").contains(" linux"), "{text}");
    assert!(line("fault_in_irq").contains(" arm64-kunwind ") && !line("fault_in_irq").contains(" dwarf "), "{text}");
}
