//! The atlas: its counters add up, its intervals match its counters, its page is self-contained, and it shows the windows that it
//! was made to show.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn atlas(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("atlas")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("atlas-{name}"))
}

/// The rows of a run of these scenarios.
fn rows(name: &str, arguments: &[&str]) -> Vec<Value> {
    let path = file(name);
    let output = atlas(&[&["--json", path.to_str().expect("a path of text")], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("it was written")).expect("it is JSON");
    assert_eq!(document["schema"], 2);
    document["rows"].as_array().expect("a list").clone()
}

fn count(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} is a number in {row}"))
}

#[test]
fn counters_add_up_and_intervals_are_what_they_count() {
    let rows = rows("sums.json", &["fgraph_voluntary", "klp_redirect", "rethook"]);
    assert!(rows.len() > 20, "{}", rows.len());
    for row in &rows {
        let states = ["not_claimed", "flagged", "overstated", "recovered", "unsound"];
        assert_eq!(states.iter().map(|state| count(row, state)).sum::<u64>(), count(row, "points"), "{row}");
        let intervals = row["intervals"].as_array().expect("a list");
        let walks = |wanted: &dyn Fn(&Value) -> bool| -> u64 {
            intervals.iter().filter(|interval| wanted(interval)).map(|interval| count(interval, "walks")).sum()
        };
        for state in states {
            assert_eq!(walks(&|interval| interval["state"] == state), count(row, state), "{state}: {row}");
        }
        assert_eq!(walks(&|interval| interval["unrecoverable"] == true), count(row, "unrecoverable"), "{row}");
        let is_reached = |interval: &Value| interval["state"] == "unsound" && interval["reachable"] == true;
        assert_eq!(walks(&is_reached), count(row, "unsound_reachable"), "{row}");
        let can_happen = |interval: &Value| is_reached(interval) && interval["callable"] == true;
        assert_eq!(walks(&can_happen), count(row, "unsound_callable"), "{row}");
        let names = |field: &str| -> BTreeSet<&str> {
            let names: Vec<&str> = row[field].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(names.len(), distinct.len(), "distinct: {row}");
            distinct
        };
        let (all, callable) = (names("unsound_instructions"), names("unsound_callable_instructions"));
        assert!(callable.is_subset(&all), "{row}");
        assert_eq!(all.is_empty(), count(row, "unsound_reachable") == 0, "{row}");
        assert_eq!(callable.is_empty(), count(row, "unsound_callable") == 0, "{row}");
        assert!(callable.len() as u64 <= count(row, "unsound_callable"), "an instruction counts once: {row}");
    }
}

/// A reliable walk has one user in Linux, of tasks that do not run.
#[test]
fn what_linux_asks_for_is_apart_from_questions_about_the_algorithm() {
    let rows = rows("callable.json", &["arm64/fgraph", "--return-hook", "fgraph", "--fix", "F0"]);
    let row = |unwinder: &str| rows.iter().find(|row| row["unwinder"] == unwinder).expect("a row");
    for interval in rows.iter().flat_map(|row| row["intervals"].as_array().expect("a list")) {
        assert_eq!(interval["callable"] == true, interval["start"] == "task", "{interval}");
    }
    let sframe = row("arm64-sframe");
    assert!(count(sframe, "unsound_callable") < count(sframe, "unsound"), "{sframe}");
    let names = |field: &str| sframe[field].to_string();
    // The callback runs with preemption off.
    assert!(names("unsound_instructions").contains("trace_return+0x0"));
    assert!(!names("unsound_callable_instructions").contains("trace_return+0x0"));
    assert!(names("unsound_callable_instructions").contains("ftrace_return_to_handler+0x0"));
    let kinds = ["arm64-kunwind", "arm64-sframe", "arm64-sframe-v6", "arm64-sframe-refuse"];
    let kinds =
        kinds.map(|unwinder| rows.iter().find(|row| row["unwinder"] == unwinder).map(|row| &row["status"]["kind"]));
    let expected = ["mainline", "proposal", "proposal"].map(Value::from);
    assert_eq!(kinds[..3], expected.iter().map(Some).collect::<Vec<_>>()[..]);
    assert_eq!(kinds[3], None, "it belongs to another fix");
    assert_eq!(sframe["status"]["mail"], "afTYzAF_x41pyilu@J2N7QTR9R3");
}

#[test]
fn an_interrupted_callee_of_return_to_handler_hides_the_parent() {
    let rows = rows("callee.json", &["arm64/fgraph", "--return-hook", "fgraph"]);
    let row = |fix: &str, unwinder: &str| {
        let is_it = |row: &&Value| row["fix"] == fix && row["unwinder"] == unwinder;
        rows.iter().find(is_it).unwrap_or_else(|| panic!("there is a row {fix} {unwinder}"))
    };
    let is_callee = |interval: &Value| {
        interval["range"].as_str().is_some_and(|range| range.starts_with("trace_return+"))
            && interval["state"] == "unsound"
            && interval["unrecoverable"] == false
    };
    let plain = row("F0", "arm64-sframe");
    assert!(plain["intervals"].as_array().expect("a list").iter().any(is_callee), "{plain}");
    for (fix, unwinder) in
        [("range", "arm64-sframe-refuse"), ("F1", "arm64-sframe-detect"), ("F3", "arm64-sframe-detect")]
    {
        assert_eq!(count(row(fix, unwinder), "unsound"), 0, "{fix}");
    }
    // Nothing is lost where the address is restored before the entry is popped, and every walk is right.
    let best = row("F3", "arm64-sframe-detect");
    assert_eq!((count(best, "unrecoverable"), count(best, "recovered")), (0, count(best, "points")));
}

#[test]
fn rows_can_be_asked_for() {
    let text = |arguments: &[&str]| String::from_utf8(atlas(arguments).stdout).expect("text");
    let one = text(&[
        "arm64/fgraph_voluntary",
        "--fix",
        "f3",
        "--unwinder",
        "ARM64-kunwind",
        "--return-hook",
        "Fgraph",
        "--all",
    ]);
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(one.lines().last().expect("a row").starts_with("arm64  fgraph       F3"), "{one}");
    for refused in [["arm64/fgraph_voluntary", "--fix", "F9"], ["arm64/leaf", "--fix", "F0"]] {
        assert_eq!(atlas(&refused).status.code(), Some(2), "{refused:?}");
    }
}

/// One screen for each CPU: instructions as rows, designs as columns, each with its fix and its unwinders.
#[test]
fn a_screen_for_each_cpu_shows_which_design_closes_the_window() {
    let output = atlas(&["fgraph", "--quiet"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let screens: Vec<&str> = text.split("\n\n").skip(1).collect();
    assert_eq!(screens.len(), 3, "{text}");
    for (screen, cpu) in screens.iter().zip(["arm64", "riscv64", "x86_64"]) {
        assert!(screen.starts_with(&format!("{cpu}: return_to_handler (fgraph), ")), "{screen}");
        assert!(screen.contains("\nworst ") && screen.contains("F0: Linux as it is"), "{screen}");
        // Of one CPU, all is one screen: the marks, an empty line, the screen, and at the end what else there is.
        let alone = String::from_utf8(atlas(&["fgraph", "--arch", cpu, "--quiet"]).stdout).expect("text");
        assert!(alone.lines().count() <= 40, "{cpu}: {} lines\n{alone}", alone.lines().count());
    }
    let line = |start: &str| screens[0].lines().find(|line| line.starts_with(start)).expect(start);
    // The letters of a fix's columns stand below it, and those of an unwinder behind its name.
    let [heads, letters] = [1, 2].map(|place| screens[0].lines().nth(place).expect("a line"));
    let of = |start: &str, unwinder: &str, fix: &str| {
        let first = heads.find(&format!(" {fix} ")).expect(fix) + 1;
        let width = letters[first..].find(' ').unwrap_or(letters.len() - first);
        let own = screens[0].split(&[';', '\n']).find_map(|part| part.trim().strip_prefix(&format!("{unwinder}: ")));
        let own: Vec<&str> = own.expect(unwinder).split(' ').collect();
        let mut columns = (first..first + width).filter(|column| own.contains(&&letters[*column..=*column]));
        line(start).chars().nth(columns.next().expect("a column")).unwrap_or(' ')
    };
    let callee = "in ftrace_return_to_handler";
    assert_eq!(of(callee, "arm64-sframe", "F0"), '!', "{}", screens[0]);
    assert_eq!(of(callee, "arm64-sframe-detect", "F3"), '=', "{}", screens[0]);
    assert_eq!(of("worst", "arm64-sframe-detect", "F3"), '=');
    assert!(screens[0].contains("unwind-harness explain arm64/"), "{}", screens[0]);
}

/// Starts, kinds and unwinders that fare alike are one line, and each unsound place has its command.
#[test]
fn intervals_fold_what_fares_alike() {
    let text =
        String::from_utf8(atlas(&["arm64/fgraph", "--return-hook", "fgraph", "--intervals"]).stdout).expect("text");
    assert!(text.contains("irq/nmi"), "{text}");
    let unsound = text.lines().filter(|line| line.starts_with("  unsound ")).count();
    assert!(unsound > 0, "{text}");
    let commands = text.matches("unwind-harness explain arm64/fgraph").count();
    assert_eq!(commands, unsound, "{text}");
    let all: usize = rows("fold.json", &["arm64/fgraph", "--return-hook", "fgraph"])
        .iter()
        .map(|row| row["intervals"].as_array().expect("a list").iter().filter(|it| it["state"] != "recovered").count())
        .sum();
    let lines = text.lines().filter(|line| !line.starts_with("    ")).count();
    assert!(lines * 4 < all, "{lines} lines for {all} intervals");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_page_is_the_report_with_the_windows_drawn() {
    let path = file("page.html");
    let output = atlas(&["riscv64/fgraph", "--html", path.to_str().expect("a path of text")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(path).expect("it was written");
    assert!(page.contains("id=\"windows\"") && page.contains("return_to_handler"));
    assert!(page.len() < 1_000_000, "{}", page.len());
}

/// A build that is a kernel under a condition alone is in no row of its return hook, but in one that says the condition.
#[test]
fn a_conditional_build_has_rows_of_its_own() {
    let recording = super::whole_run::report();
    let mut conditional = 0;
    for row in unwind_harness::analysis::atlas::rows(recording) {
        for interval in &row.intervals {
            let is_it = |section: &&unwind_harness::recording::Section| {
                section.scenario == interval.scenario && section.variant == interval.variant
            };
            let section = recording.sections.iter().find(is_it).expect("an interval is of a section");
            let said = row.return_hook.split_once(", if ").map(|(_, rest)| format!("if {rest}"));
            assert_eq!(said, section.condition, "{} {:?}", interval.scenario, interval.variant);
            conditional += u64::from(said.is_some());
        }
    }
    assert!(conditional > 100, "{conditional} intervals");
}
