//! `run --shard` and `merge`: the parts of a run, made apart and put together, are the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Scenarios with variants, with several kinds, with known deviations, and a void one.
const SELECTION: [&str; 6] =
    ["leaf", "late_frame_record", "clobbered_callee_saved", "x86_64/fgraph", "arm64/irq_on_task", "riscv64/tail_call"];

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sharding").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
    command.args(arguments).current_dir(folder).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Runs the selection, or a shard of it, into a file.
fn run(folder: &Path, more: &[&str]) {
    let output = program(folder, &[&["run"][..], &SELECTION, more].concat());
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn shards(folder: &Path, of: usize) -> Vec<String> {
    let one = |index: usize| {
        let name = format!("{index}.json");
        run(folder, &["--shard", &format!("{index}/{of}"), "--json", &name]);
        name
    };
    (1..=of).map(one).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

#[test]
fn merged_shards_are_the_report_of_the_whole_byte_by_byte() {
    for of in [2, 4] {
        let folder = folder(&format!("bytes-{of}"));
        run(&folder, &["--json", "whole.json", "--junit", "whole.xml", "--ktap", "whole.ktap"]);
        let mut names = shards(&folder, of);
        let counts: Vec<usize> =
            { names.iter() }.map(|name| json(&folder.join(name))["scenarios"].as_array().map_or(0, Vec::len)).collect();
        let whole = json(&folder.join("whole.json"))["scenarios"].as_array().expect("a list").len();
        assert!(
            counts.iter().sum::<usize>() == whole && counts.iter().all(|count| *count > 0),
            "{counts:?} of {whole}"
        );
        names.reverse();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let formats = ["--json", "merged.json", "--junit", "merged.xml", "--ktap", "merged.ktap"];
        let output = program(&folder, &[&["merge"][..], &names, &formats].concat());
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).contains("all gates hold"), "{}", text(&output.stdout));
        for format in ["json", "xml", "ktap"] {
            let read = |name: &str| std::fs::read(folder.join(format!("{name}.{format}"))).expect("the file");
            assert!(read("whole") == read("merged"), "{format} of {of} shards");
        }
    }
}

/// Of fewer scenarios than shards, probes are split by their points, and other runs are dealt out: kinds, nested exceptions, damaged
/// stacks, user walks, variants and a void run.
#[test]
fn merged_points_are_the_report_of_the_whole_byte_by_byte() {
    let few = [
        "arm64/fgraph",
        "riscv64/deep_loop",
        "arm64/corrupt_stack",
        "arm64/serror",
        "x86_64/clobbered_callee_saved",
        "arm64/user_entry",
    ];
    for (name, of) in few.into_iter().zip([5, 2, 3, 4, 2, 7]) {
        let folder = folder(&format!("points-{of}"));
        let made = |arguments: &[&str]| {
            let output = program(&folder, &[&["run", name][..], arguments].concat());
            assert_eq!(output.status.code(), Some(0), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
            text(&output.stdout).to_owned()
        };
        made(&["--json", "whole.json", "--ktap", "whole.ktap"]);
        let names: Vec<String> = (1..=of).map(|index| format!("{index}.json")).collect();
        for (index, json) in (1..).zip(&names) {
            let said = made(&["--shard", &format!("{index}/{of}"), "--json", json]);
            assert!(said.contains("gates are not held") && !said.contains("all gates hold"), "{said}");
        }
        let points = |name: &str| json(&folder.join(name))["totals"]["points"].as_u64().expect("a number");
        let parts: Vec<u64> = names.iter().map(|name| points(name)).collect();
        // A void run has no points, and a single run with exceptions is in one shard.
        let is_spread = parts.iter().filter(|points| **points > 0).count() > 1;
        assert_eq!(
            is_spread,
            !["x86_64/clobbered_callee_saved", "arm64/user_entry"].contains(&name),
            "{name}: {parts:?}"
        );
        assert_eq!(parts.iter().sum::<u64>(), points("whole.json"), "{name}");
        let reports: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let merged = [&["merge"][..], &reports, &["--json", "merged.json", "--ktap", "merged.ktap"]].concat();
        let output = program(&folder, &merged);
        assert_eq!(output.status.code(), Some(0), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
        for format in ["json", "ktap"] {
            let read = |of: &str| std::fs::read_to_string(folder.join(format!("{of}.{format}"))).expect("the file");
            let (whole, merged) = (read("whole"), read("merged"));
            let differs = whole.lines().zip(merged.lines()).find(|(whole, merged)| whole != merged);
            assert!(whole == merged, "{name}, {format}: {differs:?}");
        }
        // Without one of them there is no gate to hold.
        let output = program(&folder, &[&["merge"][..], &reports[1..]].concat());
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output.stdout));
        assert!(!text(&output.stdout).contains("all gates hold"), "{}", text(&output.stdout));
    }
}

#[test]
fn a_missing_shard_is_not_judged() {
    let folder = folder("missing");
    shards(&folder, 3);
    let output = program(&folder, &["merge", "1.json", "3.json", "--json", "merged.json", "--ktap", "merged.ktap"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 of 3 shards are missing"), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("all gates hold"), "{}", text(&output.stdout));
    let partial = &json(&folder.join("merged.json"))["partial"];
    assert!(partial["whole"].as_u64() < partial["of"].as_u64(), "{partial}");
    let ktap = std::fs::read_to_string(folder.join("merged.ktap")).expect("the file");
    assert!(ktap.contains("# ERROR partial: 1 of 3 shards are missing"), "{ktap}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = folder("refused");
    shards(&folder, 2);
    run(&folder, &["--json", "whole.json"]);
    let other = program(&folder, &["run", "leaf", "--shard", "2/2", "--json", "other.json"]);
    assert_eq!(other.status.code(), Some(0));
    std::fs::write(folder.join("bad.json"), "{}").expect("a file");
    for (arguments, says) in [
        (&["merge", "1.json", "1.json"][..], "it is shard 1/2, as 1.json is"),
        (&["merge", "1.json", "whole.json"], "whole.json: it is no shard"),
        (&["merge", "1.json", "other.json"], "other.json: it is not of the same run as 1.json"),
        (&["merge", "1.json", "bad.json"], "bad.json: it is no report"),
        (&["merge", "1.json", "--json", "1.json"], "is the file that is read"),
        (&["merge"], "REPORT"),
        (&["run", "leaf", "--shard", "3/2"], "shards look like 1/3"),
        (&["run", "leaf", "--shard", "0/2"], "shards look like 1/3"),
        (&["run", "leaf", "--shard", "1/2", "--log", "a.log"], "cannot be used with"),
    ] {
        let output = program(&folder, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(says), "{arguments:?} should say {says:?}: {error}");
    }
    // One whole report is written in another form.
    let output = program(&folder, &["merge", "whole.json", "--json", "again.json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(std::fs::read(folder.join("whole.json")).unwrap() == std::fs::read(folder.join("again.json")).unwrap());
}
