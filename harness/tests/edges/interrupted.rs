//! The user stops the program.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use unwind_harness::interrupt::Interrupt;
use unwind_harness::recording::Recording;
use unwind_harness::rows;
use unwind_harness::scenario::{Asked, ProcessText, load_all, process};
use unwind_harness::suite::{Job, Options, judge_all, run_all, subjects};
use unwind_harness::trace::log::{Log, LogFile};

use super::{ENDLESS, LOOP, Root, json, leaf, text};

/// How long a stopped program may still work. The promise is about a second; the machine may have other work.
const SOON: Duration = Duration::from_secs(8);

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill");
    assert!(sent.success());
}

/// What an interrupted program leaves: its status, how long it took to stop, standard output and error.
fn stop(root: &Root, arguments: &[&str], name: &str, after: Duration) -> (Option<i32>, Duration, String, String) {
    let mut command = root.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(after);
    assert_eq!(child.try_wait().expect("it can be asked"), None, "{arguments:?} has ended already");
    let start = Instant::now();
    signal(&child, name);
    let status = child.wait().expect("it ends");
    let took = start.elapsed();
    let mut printed = [String::new(), String::new()];
    child.stdout.expect("a pipe").read_to_string(&mut printed[0]).expect("text");
    child.stderr.expect("a pipe").read_to_string(&mut printed[1]).expect("text");
    let [out, error] = printed;
    (status.code(), took, out, error)
}

const WHILE_IT_RUNS: Duration = Duration::from_secs(2);

#[test]
fn what_is_known_is_kept_beside_the_file() {
    for (name, arguments) in [
        ("-INT", &["run", "--json", "report.json", "--log", "runs.log", "--jobs", "2"][..]),
        ("-TERM", &["run", "--json", "report.json", "--log", "runs.log", "--jobs", "1"]),
    ] {
        let root = Root::of(&format!("interrupted{name}"), "arm64", LOOP, ENDLESS);
        root.guest("arm64", "leaf", &leaf("arm64"));
        root.scenario("arm64", "a_leaf", "guest = \"leaf\"\n[must]\nframe-record = \"any\"\n");
        root.scenario("arm64", "c_leaf", "guest = \"leaf\"\nmax-visits = 0x10\n[must]\nframe-record = \"any\"\n");
        std::fs::write(root.path("report.json"), "old").expect("a file");
        let (status, took, out, error) = stop(&root, arguments, name, WHILE_IT_RUNS);
        assert_eq!(status, Some(130), "{out}{error}");
        assert!(took < SOON, "{took:?}");
        let whole = if name == "-INT" { 2 } else { 1 };
        let says = format!("interrupted: {whole} of 3 runs are whole");
        assert!(out.contains(&says) && out.contains("arm64/bad probe") && out.contains("arm64/a_leaf probe"), "{out}");
        assert!(!out.contains("all gates hold"), "{out}");
        assert!(error.ends_with("interrupted\n") && error.contains("report.json.partial"), "{error}");
        assert_eq!(root.names(), ["report.json", "report.json.partial", "runs.log.partial"]);
        assert_eq!(std::fs::read_to_string(root.path("report.json")).expect("the file"), "old");
        let document = json(&root.path("report.json.partial"));
        assert_eq!(document["partial"]["because"], "interrupted");
        assert_eq!((&document["partial"]["whole"], &document["partial"]["of"]), (&whole.into(), &3.into()));
        let bad = document["scenarios"].as_array().expect("a list").iter().find(|it| it["name"] == "arm64/bad");
        let bad = bad.expect("its verdicts until then");
        assert_eq!((&bad["interrupted"], &bad["void"]), (&true.into(), &Value::Null));
        assert!(bad["points"].as_u64().is_some_and(|points| points > 10), "{bad}");
        let _: Recording = serde_json::from_value(document.clone()).expect("a Recording");

        // The log is no whole one to any reader, and `judge` finds in it what the run had found.
        let log = std::fs::read(root.path("runs.log.partial")).expect("the log");
        assert!(Log::read_all(&log).expect_err("it is partial").contains("partial"), "a reader of whole logs");
        let output = root.run(&["judge", "runs.log.partial", "--json", "again.json"]);
        assert_eq!(output.status.code(), Some(1), "not all is judged: {}", text(&output.stderr));
        let says = format!("the log is partial: {whole} of 3 runs are whole");
        assert!(text(&output.stdout).contains(&says), "{}", text(&output.stdout));
        let again = json(&root.path("again.json"));
        assert_eq!(again["scenarios"], document["scenarios"]);
        assert_eq!(again["partial"]["of"], 3);
    }
}

#[test]
fn every_long_command_stops_soon() {
    let root = Root::of("stop", "arm64", LOOP, &format!("return-hook = \"fgraph\"\n{ENDLESS}"));
    std::fs::create_dir(root.path("docs")).expect("a folder");
    std::fs::write(root.path("docs/claims.toml"), "claim = []\n").expect("a file");
    for (arguments, files) in [
        (
            &["check", "--json", "rows.json", "--junit", "rows.xml", "--ktap", "rows.ktap", "--sarif", "rows.sarif"][..],
            &["rows.json.partial", "rows.ktap.partial", "rows.sarif.partial", "rows.xml.partial"][..],
        ),
        (
            &["run", "--junit", "a.xml", "--ktap", "a.ktap", "--html", "a.html"],
            &["a.html.partial", "a.ktap.partial", "a.xml.partial"],
        ),
        (&["atlas", "--json", "atlas.json", "--html", "atlas.html"], &["atlas.html.partial", "atlas.json.partial"]),
        (&["findings", "hooked"], &[]),
        (&["mutate", "all", "--json", "mutants.json"], &["mutants.json.partial"]),
        (&["explain", "arm64/bad", "leaf+0x0#7"], &[]),
        (&["run", "--json", "-"], &[]),
    ] {
        let (status, took, out, error) = stop(&root, arguments, "-INT", WHILE_IT_RUNS);
        assert_eq!(status, Some(130), "{arguments:?}: {out}{error}");
        assert!(took < SOON, "{arguments:?}: {took:?}");
        let names: Vec<String> = root.names().into_iter().filter(|name| name != "docs").collect();
        assert_eq!(names, files, "{arguments:?}");
        for file in files.iter().filter(|name| name.contains(".json") && !name.contains("mutants")) {
            assert_eq!(json(&root.path(file))["partial"]["because"], "interrupted", "{file}");
        }
        for file in files {
            let page = std::fs::read_to_string(root.path(file)).expect("the file");
            assert!(page.contains("interrupted"), "{file}");
            std::fs::remove_file(root.path(file)).expect("the file");
        }
        if arguments.contains(&"-") {
            let document: Value = serde_json::from_str(&out).expect("one document");
            assert_eq!(document["partial"]["of"], 1);
        }
    }
}

/// Sentences are about a whole run: of one that was stopped, no page is made.
#[test]
fn no_page_with_sentences_is_made_of_a_part() {
    let root = Root::of("pages", "arm64", LOOP, ENDLESS);
    for name in ["claims.toml", "linux.md", "data/linux.md"].into_iter().chain(SOURCES) {
        let path = root.path("docs").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let text = if name == "claims.toml" { "claim = []\n" } else { "+++\n+++\n{{run.points}} points\n" };
        std::fs::write(path, text).expect("a file");
    }
    for arguments in [&["findings", "s2"][..], &["findings", "--write"]] {
        let (status, took, out, error) = stop(&root, arguments, "-INT", WHILE_IT_RUNS);
        assert_eq!((status, out.as_str()), (Some(130), ""), "{arguments:?}: {error}");
        assert!(took < SOON, "{arguments:?}: {took:?}");
        assert!(error.contains("no page was made: interrupted: 0 of 1 runs are whole"), "{error}");
        assert!(!root.path("docs/findings/s2.md").exists(), "{arguments:?}");
    }
}

const SOURCES: [&str; 6] = [
    "findings/source/findings.md.in",
    "findings/source/s0.md.in",
    "findings/source/s1.md.in",
    "findings/source/s2.md.in",
    "findings/source/s3.md.in",
    "findings/source/s4.md.in",
];

/// A program that runs for long, and comes to its end.
const LONG: &str = "static volatile unsigned sink;\nint main(void) {\n  for (unsigned i = 0; i < 100000; i++) sink = sink * 1664525u + i;\n  \
                    return 0;\n}\n";

/// A process runs twice, first to learn what it does. Once it is judged, what is known is kept.
#[test]
fn a_process_stops_when_it_is_judged() {
    let root = Root::new("process");
    std::fs::write(root.path("long.c"), LONG).expect("a file");
    let mut compiler = Command::new("gcc");
    let Ok(made) = compiler.args(["-O1", "-o", "long", "long.c"]).current_dir(root.path("")).status() else {
        println!("SKIPPED: no gcc");
        return;
    };
    assert!(made.success());
    let text = ProcessText { file: root.path("long"), sysroot: Some("/".into()), ..ProcessText::default() };
    let launch = text.launch(Path::new(""), 100_000_000).expect("it can be launched");
    let asked = Asked { max_visits: Some(1_000_000), within: vec!["long".to_owned()], ..Asked::default() };
    let scenario = process(launch, &asked).expect("it comes to its end");
    let options = Options { unwinders: vec!["dwarf".to_owned()], ..Options::default() };
    let interrupt = options.interrupt.clone();
    let user = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(120);
        while interrupt.progress().points() == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt.ask();
    });
    let (recording, _) = run_all(Path::new(""), &[scenario], &options).expect("it runs");
    user.join().expect("it has asked");
    // On a busy machine it may not have stopped in time to be told of.
    for section in &recording.sections {
        assert!(section.interrupted && section.points > 0, "{} points", section.points);
    }
    assert_eq!(recording.partial.map(|partial| (partial.whole, partial.of)), Some((0, 1)));
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let root = Root::of("twice", "arm64", LOOP, ENDLESS);
    std::fs::write(root.path("report.json"), "old").expect("a file");
    let mut command = root.command(&["run", "--json", "report.json"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(WHILE_IT_RUNS);
    let start = Instant::now();
    signal(&child, "-INT");
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(std::fs::read_to_string(root.path("report.json")).expect("the file"), "old");
}

/// A request before anything has begun.
fn asked() -> Interrupt {
    let interrupt = Interrupt::default();
    interrupt.ask();
    interrupt
}

#[test]
fn nothing_begins_after_the_request() {
    let root = super::root();
    let mut scenarios = load_all(root).expect("the scenarios load");
    scenarios.retain(|scenario| scenario.name.ends_with("/leaf"));
    let options = Options { interrupt: asked(), ..Options::default() };
    let (recording, logs) = run_all(root, &scenarios, &options).expect("no run, no error");
    let partial = recording.partial.expect("it is partial");
    assert_eq!((partial.whole, partial.of, recording.sections.len(), logs.len()), (0, 3, 0, 0));
    let recording = rows::check_all(root, &scenarios, &scenarios, &asked(), false).expect("no run, no error");
    assert_eq!(recording.partial.map(|partial| partial.whole), Some(0));

    let variants = scenarios[0].variants();
    let kind = scenarios[0].text.interrupt[0];
    let job = Job { root, scenario: &scenarios[0], variant: &variants[0], kind };
    let (_, log) = job.run_logged(&subjects(scenarios[0].cpu, &[])).expect("the guest runs");
    let log = LogFile::read(&Log::file(&[log])).expect("a log");
    assert_eq!(log.partial_of, None);
    let recording = judge_all(log.logs, &options).expect("no run, no error");
    assert_eq!(recording.partial.map(|partial| (partial.whole, partial.of)), Some((0, 1)));
}
