//! Two recordings, compared.

use std::path::{Path, PathBuf};

use unwind_harness::analysis::diff::{Change, What, diff};
use unwind_harness::recording::{Recording, Run};
use unwind_harness::verdict::{Deviation, Verdict};

use crate::names::{path, program, stdout, succeeds};

fn report(name: &str, arguments: &[&str]) -> PathBuf {
    let path = path(&format!("diff-{name}.json"));
    succeeds(&[&["run", "--json", path.to_str().expect("a path of text")], arguments].concat());
    path
}

fn read(path: &Path) -> Recording {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("a recording")
}

fn write(name: &str, recording: &Recording) -> PathBuf {
    let path = path(&format!("diff-{name}.json"));
    std::fs::write(&path, serde_json::to_string(recording).expect("JSON")).expect("a file");
    path
}

fn compare(old: &Path, new: &Path) -> (Option<i32>, String) {
    let output = program(&["diff", old.to_str().expect("text"), new.to_str().expect("text")]);
    (output.status.code(), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
}

/// Gives the walks of a column at some instructions of a function another verdict.
fn set(recording: &mut Recording, section: usize, column: &str, function: &str, offsets: &[u64], verdict: Verdict) {
    let section = &mut recording.sections[section];
    let column = section.columns.iter().position(|it| it.label() == column).expect("a column");
    let function = section.functions.iter_mut().find(|it| it.name == function).expect("a function");
    for instruction in function.instructions.iter_mut().filter(|it| offsets.contains(&it.offset)) {
        instruction.runs[column] = vec![Run { verdict, reachable: true, first: 1, last: instruction.visits.max(1) }];
    }
}

fn changes(old: &Recording, new: &Recording) -> Vec<Change> {
    diff(old, new).runs.into_iter().flat_map(|run| run.changes).collect()
}

const SKIPPED: Verdict = Verdict::Unsound(Deviation::Skipped);

#[test]
fn a_recording_is_like_itself_in_any_order() {
    let one = report("same", &["arm64/leaf", "arm64/call_chain", "arm64/irq_on_task"]);
    let mut other = read(&one);
    other.sections.reverse();
    let other = write("same-reversed", &other);
    let (status, text) = compare(&one, &other);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("no verdict changed"), "{text}");
}

#[test]
fn windows_open_close_move_and_change() {
    let old = read(&report("windows", &["arm64/late_frame_record"]));
    let (dwarf, late) = ("dwarf", "late");
    let mut new = old.clone();
    set(&mut new, 0, dwarf, late, &[0x8, 0xc], SKIPPED);
    let found = changes(&old, &new);
    assert_eq!(found.len(), 1, "{found:?}");
    let Change { unwinder, what, new: place, instructions, is_worse, command, .. } = &found[0];
    assert_eq!((unwinder.as_str(), *what, *place, *instructions), ("dwarf", What::Opened, Some((0x8, 0xc)), 2));
    assert!(*is_worse && command.as_ref().is_some_and(|it| it.contains("late+0x8#1") && it.contains("dwarf")));
    let closed = changes(&new, &old);
    assert!(closed.len() == 1 && closed[0].what == What::Closed && !closed[0].is_worse, "{closed:?}");
    // The same window, further down.
    let mut moved = old.clone();
    set(&mut moved, 0, dwarf, late, &[0x10, 0x14], SKIPPED);
    let found = changes(&new, &moved);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].what, found[0].old, found[0].new), (What::Moved, Some((0x8, 0xc)), Some((0x10, 0x14))));
    // Wrong in another way; an instruction between two intervals parts them.
    let mut changed = new.clone();
    set(&mut changed, 0, dwarf, late, &[0x8], Verdict::Cautious);
    let found = changes(&new, &changed);
    assert!(found.len() == 1 && found[0].what == What::Changed && found[0].instructions == 1, "{found:?}");
    let mut parted = old.clone();
    set(&mut parted, 0, dwarf, late, &[0x0, 0x8], SKIPPED);
    assert_eq!(changes(&old, &parted).len(), 2);
}

#[test]
fn an_instruction_that_no_walk_starts_from_any_more_is_told() {
    let old = read(&report("unwalked", &["arm64/leaf"]));
    let mut new = old.clone();
    let section = &mut new.sections[0];
    let function = section.functions.iter_mut().find(|function| function.name == "leaf").expect("leaf");
    function.instructions[1].runs.iter_mut().for_each(Vec::clear);
    let found = changes(&old, &new);
    assert!(!found.is_empty() && found.iter().all(|change| change.verdicts.1 == "no walk"), "{found:?}");
}

/// An inserted instruction moves the windows behind it, and makes no others.
#[test]
fn code_that_moved_is_followed() {
    let old = read(&report("inserted", &["arm64/late_frame_record", "--unwinder", "frame-record"]));
    let mut new = old.clone();
    let function = new.sections[0].functions.iter_mut().find(|function| function.name == "late").expect("late");
    let mut inserted = function.instructions[0].clone();
    inserted.text = "nop".to_owned();
    function.instructions.iter_mut().for_each(|instruction| instruction.offset += 4);
    function.instructions.insert(0, inserted);
    let found = changes(&old, &new);
    let whats: Vec<What> = found.iter().map(|change| change.what).collect();
    assert_eq!(whats, [What::Opened, What::Moved, What::Moved], "{found:?}");
    assert_eq!((found[1].old, found[1].new), (Some((0x0, 0x14)), Some((0x4, 0x18))));
}

#[test]
fn what_is_on_one_side_only_is_named_and_the_status_says_so() {
    let old = report("left", &["arm64/leaf", "arm64/call_chain"]);
    let new = report("right", &["arm64/leaf", "arm64/loop"]);
    let (status, text) = compare(&old, &new);
    assert_eq!(status, Some(1), "{text}");
    for part in ["only in the old one: arm64/call_chain [O0] probe", "only in the new one: arm64/loop probe"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("compared 1 run: no verdict changed"), "{text}");
}

#[test]
fn a_run_that_is_void_or_breaks_a_gate_now_differs() {
    let old = read(&report("state", &["arm64/leaf"]));
    let mut void = old.clone();
    void.sections[0].void = Some("a witness disagrees".to_owned());
    let found = diff(&old, &void);
    assert!(found.runs[0].notes[0].contains("is void (a witness disagrees)"), "{found:?}");
    let mut broken = old.clone();
    broken.sections[0].failures.push(unwind_harness::recording::Failure::other("a gate\n  more".to_owned()));
    assert_eq!(diff(&old, &broken).runs[0].notes, ["gate broken: a gate"]);
    assert_eq!(diff(&broken, &old).runs[0].notes, ["gate no longer broken: a gate"]);
    let mut fewer = old.clone();
    fewer.sections[0].columns.pop();
    let function = |section: &mut unwind_harness::recording::Section| {
        let instructions = section.functions.iter_mut().flat_map(|function| &mut function.instructions);
        instructions.for_each(|instruction| drop(instruction.runs.pop()));
    };
    function(&mut fewer.sections[0]);
    assert!(diff(&old, &fewer).runs[0].notes[0].contains("is only in the old one"));
}

#[test]
fn what_is_no_report_is_refused() {
    let report = report("refused", &["arm64/leaf"]);
    let bad = path("diff-bad.json");
    std::fs::write(&bad, "{}").expect("a file");
    let mut later = read(&report);
    later.schema += 1;
    let later = write("later", &later);
    for (one, says) in [(&bad, "it is no report"), (&later, "its schema is 3"), (&path("diff-none.json"), "diff-none")]
    {
        let (status, text) = compare(one, &report);
        assert_eq!(status, Some(2), "{text}");
        assert!(text.contains(says), "{says}: {text}");
    }
}

#[test]
fn rows_are_compared_too() {
    let report = path("diff-rows.json");
    succeeds(&["check", "arm64/leaf", "--json", report.to_str().expect("text")]);
    let old = read(&report);
    let mut new = old.clone();
    let table = new.rows[0].functions.iter_mut().flat_map(|function| &mut function.tables).next().expect("a table");
    table.wrong.push(unwind_harness::recording::rows::Wrong {
        offset: 4,
        part: unwind_harness::recording::rows::Part::Cfa,
        detail: "off by 8".to_owned(),
        row: String::new(),
    });
    let found = changes(&old, &new);
    assert!(found.len() == 1 && found[0].what == What::Opened && found[0].is_worse, "{found:?}");
    assert!(diff(&old, &old.clone()).is_empty());
}

#[test]
fn a_baseline_leaves_what_is_new_or_gone() {
    let old = report("baseline", &["arm64/late_frame_record", "arm64/loop"]);
    let baseline = ["run", "arm64/late_frame_record", "--baseline"];
    let text = succeeds(&[&baseline[..], &[old.to_str().expect("text")]].concat());
    assert!(text.contains("compared 1 run: no verdict changed"), "{text}");
    assert!(!text.contains("only in") && !text.contains("frame-record"), "what was not selected is not gone: {text}");
    let mut other = read(&old);
    set(&mut other, 0, "dwarf", "late", &[0x8], SKIPPED);
    let other = write("baseline-other", &other);
    let text = succeeds(&[&baseline[..], &[other.to_str().expect("text")]].concat());
    assert!(text.contains("intervals 1 closed") && text.contains("dwarf !skipped -> = at late+0x8"), "{text}");
    assert!(text.trim_end().ends_with("all gates hold"), "{text}");
}

/// The snapshots of two revisions, in a repository of its own: an instruction that fares otherwise is named, with its command.
#[test]
fn two_revisions_are_compared_by_their_snapshots() {
    let folder = tempfile::tempdir().expect("a folder");
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let output = std::process::Command::new("git")
            .args(identity)
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("git starts");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let diff = |old: &str, new: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
            .args(["diff", old, new])
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        (output.status.code(), stdout(&output) + &String::from_utf8_lossy(&output.stderr))
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [
        "scenarios/arm64/leaf.toml",
        "guests/arm64/leaf.elf",
        "snapshots/arm64/leaf.snap",
        "snapshots/arm64/loop.snap",
    ];
    for file in files {
        let to = folder.path().join(file);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(here.join(file), to).expect(file);
    }
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    assert_eq!(diff("HEAD", "."), (Some(0), "compared 2 runs: no verdict changed\n".to_owned()));
    // As after a change of caller's epilogue: its last instruction fares otherwise, and another scenario is gone.
    let snapshot = folder.path().join("snapshots/arm64/leaf.snap");
    let text = std::fs::read_to_string(&snapshot).expect("a snapshot");
    let head = "a frame-record                   33     14        1       -       -          -      18        18";
    let now = "a frame-record                   33     15        1       -       -          -      17        17";
    let line = "  +0x28            ret                          | S===s  probe 1";
    assert!(text.contains(head) && text.contains(line), "the snapshot is another now");
    let changed =
        text.replace(head, now).replace(line, "  +0x28            ret                          | ====s  probe 1");
    std::fs::write(&snapshot, changed).expect("written");
    git(&["rm", "-q", "--", "snapshots/arm64/loop.snap"]);
    git(&["commit", "-q", "-a", "-m", "second"]);
    let (status, said) = diff("main~1", "main");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("closed  frame-record !skipped -> = at caller+0x28"), "{said}");
    assert!(said.contains("1 run only in the old one") && said.contains("arm64/loop probe"), "{said}");
    assert_eq!(diff("main", ".").0, Some(0));
    assert!(diff(".", "main~1").1.contains("opened  frame-record = -> !skipped at caller+0x28"));
    // Nothing was left behind, and nothing in the repository has changed.
    git(&["diff", "--exit-code", "HEAD"]);
    let (status, said) = diff("no-such-thing", "HEAD");
    assert!(status == Some(2) && said.contains("no revision of git"), "{said}");
    std::fs::write(&snapshot, text.replace("+0x28 ", "+0x29 ")).expect("written");
    let (status, said) = diff("HEAD", ".");
    assert!(status == Some(2) && said.contains("snapshots/arm64/leaf.snap: line "), "{said}");
}
