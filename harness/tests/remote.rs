//! Unwinders in processes of their own: the examples walk, and nothing that a process does can confuse or stop the harness.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use unwind_harness::cpu;
use unwind_harness::recording::{ColumnResult, Section};
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::remote::{Greeted, Limits, Remote};
use unwind_harness::subject::{Gate, KunwindSubject};
use unwind_harness::suite::{Job, Options, chosen, run_all, subjects};

#[path = "../examples/mine.rs"]
#[allow(unreachable_pub, reason = "it is an example for a library")]
mod mine;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Enough for a process to start on a busy machine, ten times of it.
const QUICK: Limits = Limits { time: Duration::from_millis(200), bytes: 1 << 17, failures: 100 };

/// A few points: the instructions of one function, once each.
fn few(cpu: &str) -> Scenario {
    let path = Path::new("scenarios").join(cpu).join("few.toml");
    Scenario::parse(&path, "guest = \"leaf\"\nwithin = [\"leaf\"]\nmax-visits = 1\n").expect("it is one")
}

fn run(scenario: &Scenario, names: &[&str], command: &str, limits: Limits) -> Result<Section, String> {
    let remote = Remote::new(command, limits).map_err(|error| error.to_string())?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let subjects = chosen(scenario.cpu, &names, &[remote]).map_err(|error| error.to_string())?;
    let variants = scenario.variants();
    let job = Job { root: root(), scenario, variant: &variants[0], kind: Interruption::Probe };
    job.run(&subjects).map_err(|error| error.to_string())
}

/// A shell that answers the first message, and does this at each point. `$id` is the point's.
fn shell(at_a_point: &str) -> String {
    let loops = format!(
        r#"read h; echo '{{"t":"hello","proto":1,"name":"sh"}}'
        while read l; do id=${{l#*\"id\":}}; id=${{id%%[!0-9]*}}; case $l in *'"point"'*) {at_a_point};; esac; done"#
    );
    format!("sh -c '{}'", loops.replace('\'', r"'\''"))
}

/// The verdicts on all walks, and why the first did not come back.
fn verdicts(section: &Section) -> (Vec<String>, String) {
    let runs = section.functions.iter().flat_map(|function| &function.instructions).flat_map(|it| &it.runs[0]);
    let mut verdicts: Vec<String> = runs.map(|run| run.verdict.to_string()).collect();
    verdicts.dedup();
    let why = section.findings.first().and_then(|finding| finding.first.why.clone());
    (verdicts, why.unwrap_or_default())
}

const WALK: &str = r#"{\"t\":\"walk\",\"id\":$id,\"frames\":[],\"end\":\"stopped\"}"#;

#[test]
fn a_shell_can_be_an_unwinder() {
    let section = run(&few("arm64"), &[], &shell(&format!("echo \"{WALK}\"")), Limits::default()).expect("it runs");
    assert_eq!(verdicts(&section), (vec!["<0".to_owned()], String::new()));
    assert_eq!(section.columns[0].name, "sh");
    assert!(section.points >= 2, "{}", section.points);
}

/// What a process does at a point, the verdict, and a part of the reason.
#[rstest]
#[case::garbage("echo garbage", "#", "it sent \"garbage\"")]
#[case::nothing("echo", "#", "it sent \"\"")]
#[case::binary(r"printf '\377\376\001\002\n'", "#", "it sent")]
#[case::other_json("echo '[1, 2]'", "#", "it sent \"[1, 2]\"")]
#[case::unknown_message(r#"echo '{"t":"dance"}'"#, "#", "dance")]
#[case::hello_again(r#"echo '{"t":"hello","proto":1,"name":"sh"}'"#, "#", "instead of a walk")]
#[case::nested("yes '[' | head -n 20000 | tr -d '\\n'; echo", "#", "it sent")]
#[case::endless_line("cat /dev/zero", "%", "more than 131072 bytes")]
#[case::endless_lines("yes", "#", "it sent \"y\"")]
#[case::endless_reads(r#"while :; do echo '{"t":"read","a":"0x0","n":8}'; read l; done"#, "%", "")]
#[case::reads_unheard(r#"yes '{"t":"read","a":"0x0","n":8}'"#, "%", "bytes sent and received")]
#[case::early_end("exit 3", "#", "exit status: 3")]
#[case::end_in_a_line("printf '{\"t\":\"wa'; exit 0", "#", "in the middle of a line")]
#[case::closed_output("exec >&-; sleep 20", "#", "it closed its output")]
#[case::killed("kill -SEGV $$", "#", "signal: 11")]
#[case::limited("echo data $(ulimit -d) core $(ulimit -c) >&2; sleep 0.01; exit 1", "#", "data 8388608 core 0")]
#[case::complaint("echo 'no such table' >&2; sleep 0.01; exit 1", "#", "it has written \"no such table\"")]
#[case::hang("sleep 20", "%", "no answer in 2000 ms")]
#[case::deaf("exec <&-; sleep 20", "%", "no answer in 2000 ms")]
#[case::grandchild("sleep 20 & exit 0", "%", "no answer in 2000 ms")]
#[case::loud_hang("yes >&2", "%", "no answer in 2000 ms")]
#[case::other_id(r#"echo '{"t":"walk","id":99,"frames":[],"end":"stopped"}'"#, "#", "the walk is of point 99")]
#[case::huge_id(r#"echo '{"t":"walk","id":1e999,"frames":[],"end":"stopped"}'"#, "#", "out of range")]
#[case::huge_read(r#"echo '{"t":"read","a":"0x0","n":99999999999999999999}'"#, "#", "it sent")]
#[case::huge_pc(
    r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[{\"pc\":\"0x1ffffffffffffffff\"}],\"end\":\"stopped\"}""#,
    "#",
    "64 bits"
)]
#[case::number_pc(
    r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[{\"pc\":17}],\"end\":\"stopped\"}""#,
    "#",
    "crash: 17 is no string with a number of 64 bits"
)]
#[case::no_register(
    r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[{\"pc\":\"0x1\",\"regs\":{\"q9\":\"0x1\"}}],\"end\":\"stopped\"}""#,
    "#",
    "no register \"q9\""
)]
#[case::no_end(r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[]}""#, "#", "missing field `end`")]
#[case::false_claim(
    r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[],\"end\":\"stopped\",\"reliable\":true}""#,
    "#",
    "claims are not explicit"
)]
fn misbehaviour_is_a_verdict(#[case] at_a_point: &str, #[case] verdict: &str, #[case] reason: &str) {
    let began = Instant::now();
    let section = run(&few("arm64"), &[], &shell(at_a_point), QUICK).expect("the others are judged");
    let (found, why) = verdicts(&section);
    assert_eq!(found, [verdict], "{why}");
    assert!(why.contains(reason), "{why}");
    assert!(section.failures.is_empty(), "{:?}", section.failures);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn too_many_frames_are_a_full_trace_that_claims_nothing() {
    let many = r#"printf "{\"t\":\"walk\",\"id\":$id,\"frames\":["; yes '{"pc":"0x10"},' | head -n 2000 | tr -d '\n'
        echo '{"pc":"0x10"}],"end":"outermost"}'"#;
    let section = run(&few("arm64"), &[], &shell(many), Limits::default()).expect("it runs");
    assert_eq!(verdicts(&section).0, ["?substituted"]);
}

#[test]
fn a_second_answer_is_not_taken_for_the_next() {
    let section =
        run(&few("arm64"), &[], &shell(&format!("echo \"{WALK}\"; echo \"{WALK}\"")), QUICK).expect("it runs");
    let (found, _) = verdicts(&section);
    assert_eq!(found[..2], ["<0", "#"]);
}

#[test]
fn a_process_that_ends_is_started_again() {
    let mark = Path::new(env!("CARGO_TARGET_TMPDIR")).join("remote-mark");
    let _ = std::fs::remove_file(&mark);
    let mark = mark.display();
    let once = format!("if ! [ -e \"{mark}\" ]; then : > \"{mark}\"; exit 1; fi; echo \"{WALK}\"");
    let section = run(&few("arm64"), &[], &shell(&once), Limits::default()).expect("it runs");
    assert_eq!(verdicts(&section).0, ["#", "<0"]);
}

#[test]
fn an_unwinder_that_fails_too_often_is_not_judged() {
    let error = run(&few("arm64"), &[], &shell("exit 3"), Limits { failures: 2, ..QUICK }).expect_err("it gives up");
    assert!(error.contains("given up after 2 walks") && error.contains("exit status: 3"), "{error}");
}

/// How a process greets, and a part of the error.
#[rstest]
#[case("/no/such/program", "cannot be started")]
#[case("sh -c 'exit 7'", "exit status: 7")]
#[case("sh -c 'sleep 20'", "no answer in 2000 ms")]
#[case("cat", "missing field `name`")]
#[case(r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":2,\"name\":\"a\"}"'"#, "version 2 of the protocol")]
#[case(r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"a b\"}"'"#, "the name \"a b\"")]
#[case(r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"dwarf\"}"'"#, "an unwinder here has that name")]
#[case(
    r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"a\",\"needs\":[\"foo\"]}"'"#,
    "needs can be eh_frame, debug_frame, sframe, not \"foo\""
)]
#[case(
    r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"a\",\"claims\":\"by-flag\"}"'"#,
    "claims must be explicit, by-end or never, not \"by-flag\""
)]
#[case("sh -c 'open", "an open quote")]
#[case("", "no program")]
fn a_wrong_greeting_is_an_error(#[case] command: &str, #[case] reason: &str) {
    let error = run(&few("arm64"), &[], command, QUICK).expect_err("it cannot be asked");
    assert!(error.contains(reason), "{error}");
}

#[test]
fn an_unwinder_may_refuse_a_cpu() {
    let command = r#"sh -c 'read h; echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"a\",\"refuse\":\"only 6502\"}"'"#;
    let remote = Remote::new(command, Limits::default()).expect("a command");
    let greeted = remote.start(cpu::by_name("arm64").expect("a CPU")).expect("it answers");
    assert!(matches!(greeted, Greeted::Refuses(name, reason) if name == "a" && reason.contains("only 6502")));
}

/// The example in this language, on a whole scenario beside the walk of ours that does the same.
fn beside_ours(cpu: &str, command: &str) -> [ColumnResult; 2] {
    let path = root().join("scenarios").join(cpu).join("call_chain.toml");
    let scenario = Scenario::load(&path).expect("a scenario");
    let section = run(&scenario, &["frame-record"], command, Limits::default()).expect("it runs");
    section.columns.try_into().expect("two columns")
}

#[rstest]
fn the_example_in_python_walks(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED the_example_in_python_walks: no python3");
        return;
    }
    let [ours, example] = beside_ours(cpu, &format!("python3 {}/harness/examples/unwinder.py", root().display()));
    assert_eq!((example.name.as_str(), example.counters), ("example-py", ours.counters));
}

#[rstest]
fn the_example_in_c_walks(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("unwinder-{cpu}"));
    let source = root().join("harness/examples/unwinder.c");
    let compiled =
        Command::new("cc").args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source).status();
    assert!(compiled.expect("Unicorn needs a C compiler, too").success());
    let [ours, example] = beside_ours(cpu, &program.display().to_string());
    assert_eq!((example.name.as_str(), example.counters), ("example-c", ours.counters));
}

#[rstest]
fn the_example_in_rust_walks(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let path = root().join("scenarios").join(cpu).join("call_chain.toml");
    let scenario = Scenario::load(&path).expect("a scenario");
    let cpu = scenario.cpu;
    let mut both = subjects(cpu, &["frame-record".to_owned()]);
    both.push(Box::new(KunwindSubject::new(Box::new(mine::Mine { abi: cpu.abi }), |about| {
        about.registers = vec![cpu.abi.fp];
    })));
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let section = job.run(&both).expect("it runs");
    let [ours, example] = section.columns.as_slice() else { panic!("two columns") };
    assert_eq!((example.gate, example.counters.exact), (Gate::Any, ours.counters.exact));
}

/// gdb, where there is one, finds the true chain at every point of a guest whose CFI is right.
#[test]
fn the_adapter_of_gdb_walks() {
    if !Command::new("gdb").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED the_adapter_of_gdb_walks: no gdb");
        return;
    }
    let scenario = Scenario::load(&root().join("scenarios/x86_64/leaf.toml")).expect("a scenario");
    let command = format!("gdb -nx -q -batch -x {}/harness/adapters/gdb_walk.py", root().display());
    let limits = Limits { time: Duration::from_secs(10), ..Limits::default() };
    let section = run(&scenario, &[], &command, limits).expect("it runs");
    let column = &section.columns[0];
    assert_eq!((column.name.as_str(), column.counters.exact), ("gdb", column.counters.walks), "{:?}", section.findings);
}

/// The same wrong walks break the gate of a subject of ours, and none of a new one.
#[test]
fn nothing_is_demanded_of_a_new_unwinder() {
    let command = shell(r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[],\"end\":\"outermost\"}""#);
    let remote = vec![Remote::new(&command, Limits::default()).expect("a command")];
    let scenarios = [few("arm64")];
    let options = Options { remote, unwinders: vec!["frame-record".to_owned()], ..Options::default() };
    let (recording, _) = run_all(root(), &scenarios, &options).expect("it runs");
    let [section] = recording.sections.as_slice() else { panic!("one run") };
    let unsound = |name: &str| section.column(name).map(|column| column.counters.unsound);
    assert!(unsound("sh") > Some(0) && unsound("frame-record") > Some(0), "{:?}", section.columns);
    let broken: Vec<_> = section.failures.iter().filter_map(|failure| failure.column.as_deref()).collect();
    assert_eq!(broken, ["frame-record"]);
}

fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
    let output = { output }.args(arguments).current_dir(root()).output().expect("the program starts");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (output.status.code(), out, err)
}

/// A score, ten findings, and nothing else; and the command below a finding explains it.
#[test]
fn a_new_unwinder_gets_a_score_and_ten_findings() {
    let command = shell(r#"echo "{\"t\":\"walk\",\"id\":$id,\"frames\":[],\"end\":\"outermost\"}""#);
    let (status, out, err) = program(&["run", "call_chain", "--arch", "arm64", "--unwinder-cmd", &command]);
    assert_eq!(status, Some(0), "{err}");
    let first = out.lines().next().unwrap_or_default();
    assert!(first.starts_with("sh: 3.1 % right: 8 of 257 walks"), "{out}");
    assert_eq!(out.matches("      true: ").count(), 10, "{out}");
    assert!(!out.contains("gates"), "{out}");
    assert!(out.lines().last().is_some_and(|line| line.contains("more findings")), "{out}");
    let (status, out, err) = program(&["explain", "arm64/call_chain", "depth_8+0x0", "--unwinder-cmd", &command]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("sh: !truncated") && out.contains("then outermost"), "{out}");
}

/// A run that is recorded can be judged with an unwinder that was not there.
#[test]
fn a_log_is_judged_by_an_unwinder_of_others() {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("remote.log");
    let log = log.to_str().expect("text");
    let (status, _, err) = program(&["run", "arm64/leaf", "--unwinder", "dwarf", "--log", log]);
    assert_eq!(status, Some(0), "{err}");
    let command = shell(&format!("echo \"{WALK}\""));
    let [live, replayed] = [&["run", "arm64/leaf"][..], &["judge", log][..]].map(|verb| {
        let (status, out, err) = program(&[verb, &["--unwinder-cmd", &command]].concat());
        assert_eq!(status, Some(0), "{err}");
        out.lines()
            .filter(|line| !line.contains(" s\u{1b}") && !line.contains("in 1 run"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(live, replayed);
}

/// Without a walk there is no score, and that is said.
#[test]
fn a_kernel_is_none_of_its_guests() {
    let command = shell(&format!("echo \"{WALK}\""));
    let (status, out, err) = program(&["run", "arm64/irq_on_task", "--unwinder-cmd", &command]);
    assert!(status == Some(2) && err.contains("nothing was judged"), "{status:?} {err}");
    assert!(out.contains("sh made no walk here"), "{out}");
    let both = ["run", "arm64/irq_on_task", "arm64/leaf", "--unwinder-cmd", &command];
    let (status, out, err) = program(&both);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("no walk in 1 other scenario: it does not walk in guests of their kind"), "{out}");
}

/// Nothing is demanded of somebody's unwinder, but by whoever runs it.
#[test]
fn a_level_can_be_demanded_of_an_unwinder_of_others() {
    let run = |at_a_point: &str, more: &[&str]| {
        let command = shell(at_a_point);
        program(&[&["run", "arm64/leaf", "--unwinder-cmd", &command], more].concat())
    };
    let stops = format!("echo \"{WALK}\"");
    for (at_a_point, level, expected, says) in [
        (stops.as_str(), "sound", 0, "right: "),
        (stops.as_str(), "exact", 1, "walks are not as demanded; the first: "),
        ("exit 3", "sound", 1, "33 walks are not as demanded; the first: # at"),
    ] {
        let (status, out, err) = run(at_a_point, &["--must", level]);
        assert!(status == Some(expected) && out.contains(says), "{at_a_point} {level}: {status:?} {out}{err}");
        assert_eq!(out.contains("gate broken: arm64/leaf probe: sh: "), expected == 1, "{out}");
    }
    let (status, out, err) = run("exit 3", &["--must", "exact", "--ktap", "-", "--quiet"]);
    assert!(status == Some(1) && out.contains("not ok 1 sh"), "{out}{err}");
    for wrong in
        [&["run", "arm64/leaf", "--must", "sound"][..], &["run", "arm64/leaf", "--must", "sound", "--freeze", "a"]]
    {
        let (status, _, err) = program(wrong);
        assert!(status == Some(2) && err.contains("--unwinder-cmd"), "{err}");
    }
}

/// Data that a guest has not cannot be sent, and that is said.
#[test]
fn a_section_that_is_missing_is_told() {
    let command = shell(&format!("echo \"{WALK}\""));
    let asks = command.replace(r#""name":"sh""#, r#""name":"sh","needs":["eh_frame","debug_frame"]"#);
    let (status, out, err) = program(&["run", "leaf", "loop", "--arch", "arm64", "--unwinder-cmd", &asks]);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("eh_frame, which it asked for: 2 of 2 guests have none"), "{out}");
    assert!(!out.contains("debug_frame, which"), "{out}");
    let (_, out, _) = program(&["run", "leaf", "--arch", "arm64", "--unwinder-cmd", &command]);
    assert!(!out.contains("which it asked for"), "{out}");
}

/// A reason needs no version before it; and a name that is only the process's is no typing mistake that has no cure.
#[test]
fn what_is_said_of_a_process_is_to_the_point() {
    let refuses = r#"sh -c 'echo "{\"t\":\"hello\",\"proto\":1,\"name\":\"a\",\"refuse\":\"because\"}"'"#;
    let (_, out, _) = program(&["run", "arm64/leaf", "--unwinder-cmd", refuses]);
    assert!(out.contains("a on arm64: because"), "{out}");
    let (status, _, err) = program(&["run", "arm64/leaf", "--unwinder-cmd", refuses, "--unwinder", "a"]);
    assert!(status == Some(2) && err.contains("those of --unwinder-cmd run without being named"), "{err}");
    let (status, _, err) = program(&["run", "arm64/leaf", "--unwinder", "framehop"]);
    assert!(cfg!(feature = "framehop") || (status == Some(2) && err.contains("--features framehop")), "{err}");
}

/// framehop finds what the same CFI gives, where nothing is special about the end of the stack.
#[cfg(feature = "framehop")]
#[rstest]
fn framehop_walks(#[values("arm64", "x86_64")] cpu: &str) {
    let scenario = Scenario::load(&root().join("scenarios").join(cpu).join("call_chain.toml")).expect("a scenario");
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let both = subjects(scenario.cpu, &["framehop".to_owned(), "dwarf".to_owned()]);
    let section = job.run(&both).expect("it runs");
    let [dwarf, framehop] = section.columns.as_slice() else { panic!("two columns: {:?}", section.columns) };
    assert_eq!((dwarf.gate, framehop.gate), (Gate::Sound, Gate::Any));
    let right = |column: &ColumnResult| column.counters.exact * 100 / column.counters.walks;
    assert!(right(framehop) > 0, "{framehop:?}");
    assert_eq!((framehop.counters.crashed, right(dwarf) > 50), (0, true));
}

/// The plain evaluator, which shares no code with the tables of kunwind, finds the same chains.
#[cfg(feature = "gimli")]
#[rstest]
fn a_plain_evaluator_agrees_with_the_table(
    #[values("arm64", "riscv64", "x86_64")] cpu: &str,
    #[values("call_chain", "fibers", "shrink_wrap")] name: &str,
) {
    let scenario =
        Scenario::load(&root().join("scenarios").join(cpu).join(format!("{name}.toml"))).expect("a scenario");
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let both = subjects(scenario.cpu, &["gimli".to_owned(), "dwarf".to_owned()]);
    let section = job.run(&both).expect("it runs");
    let [dwarf, gimli] = section.columns.as_slice() else { panic!("two columns: {:?}", section.columns) };
    assert_eq!(dwarf.counters, gimli.counters);
    assert!(gimli.counters.exact > 0, "{gimli:?}");
}
