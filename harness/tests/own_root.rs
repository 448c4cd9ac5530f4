//! A folder of one's own (`--root`): scenarios, guests and snapshots out of this tree; and what changes between two points.

use std::path::Path;
use std::process::Output;

use crate::names::{folder, program, stdout, succeeds};

const OWN: &str = "guest = \"leaf\"\n[must]\nsframe = \"exact\"\nframe-record = \"any\"\n";

fn run(root: &Path, arguments: &[&str]) -> Output {
    program(&[arguments, &["--root", root.to_str().expect("a path of text")]].concat())
}

#[test]
fn snapshots_of_ones_own_are_written_and_held() {
    let root = folder("own-root", OWN);
    let check = ["run", "--snapshots", "check"];
    let output = run(&root, &check);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).contains("no snapshot of arm64/own: --snapshots write"), "{}", stdout(&output));
    let output = run(&root, &["run", "--snapshots", "write"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let path = root.join("snapshots/arm64/own.snap");
    let text = std::fs::read_to_string(&path).expect("it was written");
    assert!(text.starts_with("---\n") && text.contains("\narm64/own\n"), "{text}");
    let output = run(&root, &check);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("snapshots: 1 as they were"), "{}", stdout(&output));
    // A verdict that is another one now is told by its line, and the head of the file stays.
    let line = "  +0x28            ret                          | S===s  probe 1";
    let head = "---\nsource: by hand\n---\n";
    let page = text.split_once("\n---\n").expect("a head").1.replace(line, &line.replace("S===s", "====s"));
    std::fs::write(&path, format!("{head}{page}")).expect("written");
    let output = run(&root, &check);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let said = stdout(&output);
    assert!(said.contains("snapshot differs: arm64/own") && said.contains(&format!("+ {line}")), "{said}");
    assert_eq!(run(&root, &["run", "--snapshots", "write"]).status.code(), Some(0));
    assert_eq!(
        std::fs::read_to_string(&path).expect("written"),
        text.replacen(text.split("arm64/own").next().unwrap(), head, 1)
    );
    // A part of a scenario would be another page.
    let output = run(&root, &["run", "--snapshots", "write", "--unwinder", "sframe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("keeps whole scenarios"));
}

/// The snapshots of this tree are those that the program itself would write.
#[test]
fn the_snapshots_of_the_tests_are_those_of_the_program() {
    let said = succeeds(&["run", "leaf", "arm64/fgraph", "x86_64/irq_on_task", "--snapshots", "check"]);
    assert!(said.contains("snapshots: 5 as they were"), "{said}");
}

#[test]
fn what_a_broken_gate_prints_can_be_pasted() {
    let root = folder("own-known", "guest = \"leaf\"\n[must]\nsframe = \"exact\"\n");
    let output = run(&root, &["run"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let blocks = said.split("with the reason:\n").nth(1).and_then(|rest| rest.split("\n1 ").next().or(Some(rest)));
    let blocks: String = { blocks.expect("blocks").lines() }
        .take_while(|line| !line.contains("broken"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(blocks.starts_with("[[known]]\nunwinder = \"frame-record\"\n"), "{said}");
    let path = root.join("scenarios/arm64/own.toml");
    let text = std::fs::read_to_string(&path).expect("the scenario");
    std::fs::write(&path, format!("{text}\n{blocks}")).expect("written");
    let output = run(&root, &["run"]);
    assert_eq!(output.status.code(), Some(0), "{blocks}{}", stdout(&output));
}

#[test]
fn two_points_are_told_by_what_changes_between_them() {
    let explain = |arguments: &[&str]| succeeds(&[&["explain"], arguments].concat());
    let said = explain(&["arm64/leaf", "caller+0..+8", "--unwinder", "sframe", "--unwinder", "frame-record"]);
    for part in [
        "arm64/leaf probe caller+0x0#1 -> caller+0x8#1\n",
        "  -> caller+0x0               stp  x29, x30, [sp, #-0x20]!\n",
        "registers that change\n   x29 ",
        "task stack top-0x30      below SP           -> 0x",
        "the same 2 activations",
        "frame-record: !skipped (claimed reliable) -> = (claimed reliable)\n  + guest_main+0x10 ",
        "  - guest_main+0x10              unwind row: CFA sp = ",
        "  + guest_main+0x10              unwind row: CFA x29+0x20 = ",
        "return address at CFA-0x18",
    ] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    // All CPUs that have the points; two arrivals; another function's case.
    let said = explain(&["leaf", "LEAF+0#1..leaf+0#2"]);
    assert_eq!(said.matches("leaf+0x0#1 -> leaf+0x0#2").count(), 3, "{said}");
    let fails = |arguments: &[&str], says: &str| {
        let output = program(&[&["explain", "arm64/leaf"], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(says), "{arguments:?}: {error}");
    };
    fails(&["leaf+0..leaf+0#9"], "the guest arrives 2 times at leaf+0x0, not at leaf+0x0#9");
    fails(&["leaf+0..leef+4"], "did you mean leaf");
    fails(&["leaf+0..leaf+1"], "is not the start of an instruction");
    fails(&["leaf+0.."], "is not a place");
}
