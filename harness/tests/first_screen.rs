//! What a run prints first: one screen, on which what is new is seen and what is expected does not shout.

use std::process::Output;

use crate::names::{folder, program, program_in, stdout, succeeds};

/// What a terminal would be told to show in red.
const RED: &str = "\u{1b}[1m\u{1b}[31m";

fn wide(columns: &str, arguments: &[&str]) -> Output {
    program_in(columns, arguments)
}

#[track_caller]
fn fits(text: &str, width: usize) {
    for line in text.lines() {
        assert!(line.chars().count() <= width, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn everything_is_one_screen() {
    let report = crate::names::path("first-screen.json");
    let output = program(&["--json", report.to_str().expect("a path of text")]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let report = std::fs::read_to_string(&report).expect("a report");
    what_nobody_asks_for_is_told_apart(&text, &serde_json::from_str(&report).expect("a recording"));
    assert!(text.lines().count() <= 40, "{} lines:\n{text}", text.lines().count());
    fits(&text, 100);
    let first = text.lines().next().unwrap_or_default();
    for part in [" scenarios, ", " runs, ", " points, ", " walks, in "] {
        assert!(first.contains(part), "{part}: {first}");
    }
    // A line for whatever is unsound, on each CPU, with instructions beside walks and the worst run beside the best.
    for head in ["arm64 ", "riscv64 ", "x86_64 "] {
        let line = text.lines().find(|line| line.starts_with(head));
        assert!(line.is_some_and(|line| line.contains("walks") && line.contains("worst")), "{head}:\n{text}");
    }
    let sframe: Vec<&str> = text.lines().filter(|line| line.starts_with("  arm64-sframe ")).collect();
    assert!(sframe.len() == 1 && sframe[0].trim_end().ends_with("expected"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("  frame-record ")).count(), 3, "{text}");
    // Every unwinder is on it: in a line of its own, or by name in one that it shares.
    for name in ["unwind-user-fp", "riscv-walk-stackframe", "x86-orc:best-effort", "arm64-kunwind:best-effort"] {
        assert!(text.contains(name), "{name}:\n{text}");
    }
    for part in ["void as it must be: ", "--all: "] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(text.trim_end().ends_with("all gates hold") && !text.contains("NEW"), "{text}");
}

/// Most of what is unsound in a reliable walk is from starts from which nobody in Linux asks for one.
#[track_caller]
fn what_nobody_asks_for_is_told_apart(text: &str, recording: &unwind_harness::recording::Recording) {
    let judged = recording.sections.iter().filter(|section| section.void.is_none() && section.not_judged.is_none());
    let ours = judged.flat_map(|section| &section.columns).filter(|column| column.name == "arm64-kunwind");
    let (mut all, mut asked, mut unsound) = (0, 0, 0);
    for column in ours {
        all += column.counters.unsound;
        if column.caller.is_some() {
            asked += column.counters.walks - column.counters.masked;
            unsound += column.counters.unsound_reachable;
        }
    }
    assert!(0 < unsound && unsound < all && unsound < asked, "{unsound} of {asked}, {all} in all");
    let line = text.lines().find(|line| line.starts_with("  arm64-kunwind ")).expect("a line of its own");
    assert!(line.contains(&format!(" {all} ")) && line.contains(&format!(" {unsound}/{asked} ")), "{line}");
    // The format by its own rules is nobody's walk.
    let line = text.lines().find(|line| line.starts_with("  sframe ")).expect("a line of its own");
    assert!(line.split_whitespace().any(|cell| cell == "-"), "{line}");
    assert!(text.contains("asked for: unsound, of the walks that Linux or a debugger asks for"), "{text}");
}

/// Only what a scenario lists is expected; of what nothing is demanded, that is said.
#[test]
fn what_nobody_listed_is_not_expected() {
    use std::collections::BTreeMap;
    use unwind_harness::recording::{Novelty, Recording};
    let report = crate::names::path("listed.json");
    let output = program(&["--arch", "arm64", "--json", report.to_str().expect("a path of text")]);
    let text = std::fs::read_to_string(&report).expect("a report");
    let recording: Recording = serde_json::from_str(&text).expect("a recording");
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let findings = recording.sections.iter().flat_map(|section| &section.findings);
    for finding in findings.filter(|finding| finding.verdict.is_unsound()) {
        let (exempt, all) = sums.entry(&finding.subject).or_default();
        *all += finding.count;
        *exempt += if finding.novelty == Some(Novelty::Exempt) { finding.count } else { 0 };
    }
    let screen = stdout(&output);
    let mut kinds = [0; 2];
    for line in screen.lines().filter(|line| line.starts_with("  ")) {
        let Some((exempt, all)) = line.split_whitespace().next().and_then(|name| sums.get(name)) else { continue };
        let says = match exempt {
            0 => "  expected".to_owned(),
            all_of_it if all_of_it == all => "  no demand".to_owned(),
            some => format!("  {some} no demand"),
        };
        assert!(line.trim_end().ends_with(&says), "{says}: {line}");
        kinds[usize::from(*exempt > 0)] += 1;
    }
    assert!(kinds[0] > 0 && kinds[1] > 1, "{kinds:?}:\n{screen}");
}

#[test]
fn the_full_table_is_still_there() {
    let table = succeeds(&["run", "leaf", "--all", "--arch", "arm64"]);
    let line = table.lines().find(|line| line.starts_with("arm64/leaf probe") && line.contains("frame-record"));
    assert!(line.is_some_and(|line| line.contains(" unsound ")), "{table}");
}

#[test]
fn a_scenario_has_a_short_table_and_its_findings() {
    let text = succeeds(&["run", "arm64/late_frame_record"]);
    fits(&text, 100);
    assert!(text.lines().count() < 30, "{text}");
    assert!(text.lines().any(|line| line.starts_with("arm64/late_frame_record probe: ")), "{text}");
    let line = text.lines().find(|line| line.starts_with("  frame-record !skipped, "));
    assert!(line.is_some_and(|line| line.contains(" walks at caller+0x0..caller+0x4 and ") && line.contains(": expected, ")), "{text}");
    assert!(text.trim_end().ends_with("all gates hold"), "{text}");
    // Variants and kinds of interruption share one table.
    let many = succeeds(&["run", "arm64/fgraph"]);
    assert!(many.lines().count() <= 60, "{} lines:\n{many}", many.lines().count());
    fits(&many, 100);
}

/// The styles are those that the library writes; the program strips them where they do not belong.
#[test]
fn what_is_expected_does_not_shout_and_what_is_new_does() {
    use unwind_harness::report::screen::{self, Screen};
    let shown = |name: &str, scenario: &str| {
        let report = crate::names::path(&format!("{name}.json"));
        let folder = folder(name, scenario);
        let report_path = report.to_str().expect("a path of text");
        let _ = program(&["--root", folder.to_str().expect("a path of text"), "--json", report_path]);
        let text = std::fs::read_to_string(&report).expect("a report");
        let recording = serde_json::from_str(&text).expect("a recording");
        let mut out = Vec::new();
        screen::write(&recording, Screen::default(), &mut out).expect("memory takes it");
        String::from_utf8(out).expect("text")
    };
    let exempt = shown("screen-any", "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n");
    assert!(!exempt.contains(RED) && exempt.contains("no demand"), "{exempt}");
    let new = shown("screen-new", "guest = \"leaf\"\n");
    assert!(new.contains(&format!("{RED}NEW")) && new.contains("unwind-harness explain arm64/own "), "{new}");
    assert!(new.contains("--unwinder frame-record"), "{new}");
    assert!(new.contains("gate broken") && new.contains(" broken\u{1b}"), "{new}");
}

#[test]
fn columns_fit_the_terminal() {
    for columns in ["60", "80", "100", "200"] {
        let text = stdout(&wide(columns, &["--arch", "riscv64"]));
        fits(&text, columns.parse().expect("a number"));
        assert!(text.lines().count() <= 40 && text.contains("frame-record"), "{columns}:\n{text}");
        for head in ["walks", "unsound", "complete"] {
            assert!(text.contains(head), "{columns}: {head}:\n{text}");
        }
        // What has no room is named.
        let heads = text.lines().find(|line| line.starts_with("riscv64")).expect("heads");
        assert_ne!(heads.contains("overstated"), text.contains("  no room for: "), "{columns}:\n{text}");
    }
}

#[test]
fn a_judged_log_is_shown_as_its_run_is() {
    let log = crate::names::path("screen.log");
    let log = log.to_str().expect("a path of text");
    let body = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let ran = body(succeeds(&["run", "arm64/leaf", "arm64/loop", "--log", log]));
    assert_eq!(ran, body(succeeds(&["judge", log])));
    assert!(ran.len() > 10, "{ran:?}");
}

/// The layout with more broken gates, void and unjudged runs than fit: all are counted, and the screen stays one.
#[test]
fn what_does_not_fit_is_counted() {
    use unwind_harness::recording::{Failure, Recording};
    use unwind_harness::report::screen::{self, Screen};
    let report = crate::names::path("crowded.json");
    let names = ["leaf", "loop", "recursion", "late_frame_record", "tail_call"];
    let arguments = [&["run", "--json", report.to_str().expect("a path of text")], &names[..]].concat();
    let _ = program(&arguments);
    let text = std::fs::read_to_string(&report).expect("a report");
    let mut recording: Recording = serde_json::from_str(&text).expect("a recording");
    let whole = recording.sections.clone();
    for number in 0..8 {
        recording.sections.extend(whole.iter().cloned().map(|mut section| {
            section.scenario = format!("{}_{number}", section.scenario);
            section.failures.push(Failure::other("a gate\n    unwind-harness explain it".to_owned()));
            section
        }));
    }
    let count = recording.sections.len();
    for section in &mut recording.sections[count - 9..] {
        section.void = Some("nobody knows".to_owned());
    }
    for section in &mut recording.sections[..6] {
        section.not_judged = Some("it fails".to_owned());
    }
    let mut out = Vec::new();
    screen::write(&recording, Screen::default(), &mut anstream::StripStream::new(&mut out)).expect("memory takes it");
    let text = String::from_utf8(out).expect("text");
    assert!(text.lines().count() <= 40, "{} lines:\n{text}", text.lines().count());
    for part in ["void: 5 more", "not judged: 2 more", "gate broken: ", " more (--all tells all)", "9 void", "6 of "] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains("all gates hold"), "{text}");
}
