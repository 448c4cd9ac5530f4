//! The program as a user meets it: output, exit status, and what it says of bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// A usage or input error: status 2, nothing on standard output, one error that contains all of this.
#[track_caller]
fn refused(arguments: &[&str], says: &[&str]) {
    let output = program(arguments);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}{error}", stdout(&output));
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(error.starts_with("error: "), "{error}");
    for part in says {
        assert!(error.contains(part), "{arguments:?} should say {part:?}:\n{error}");
    }
    assert!(!error.contains("panicked"), "{error}");
}

/// The only run of a folder is not judged, for this reason, which its row and the error say.
#[track_caller]
fn not_judged(folder: &Path, says: &[&str]) {
    let output = run_in(folder, &[]);
    let (table, error) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(2), "{table}{error}");
    assert!(table.contains("  not judged: "), "{table}");
    assert!(!table.contains("all gates hold"), "{table}");
    assert!(error.starts_with("error: 1 of 1 runs not judged: arm64/own "), "{error}");
    for part in says {
        assert!(table.contains(part) && error.contains(part), "should say {part:?}:\n{table}{error}");
    }
}

/// Where a test may write a file or a folder of this name.
fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

/// A folder with one scenario of its own, whose guests are this project's.
fn folder(name: &str, scenario: &str) -> PathBuf {
    let folder = path(name);
    let _ = std::fs::remove_dir_all(&folder);
    for part in ["scenarios/arm64", "guests/arm64"] {
        std::fs::create_dir_all(folder.join(part)).expect("a new folder");
    }
    for guest in ["leaf", "clobbered_callee_saved"] {
        let elf = format!("guests/arm64/{guest}.elf");
        std::fs::copy(root().join(&elf), folder.join(&elf)).expect("the guest is there");
    }
    std::fs::write(folder.join("scenarios/arm64/own.toml"), scenario).expect("a new file");
    folder
}

/// Runs everything in such a folder.
fn run_in(folder: &Path, more: &[&str]) -> Output {
    let folder = folder.to_str().expect("a path of text");
    program(&[&["--root", folder], more].concat())
}

#[test]
fn help_lists_the_exit_status() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let help = succeeds(arguments);
        for part in ["Exit status", "a run is void", "--json", "--allow-unsound", "--jobs"] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}

#[test]
fn a_table_that_is_not_printed_to_a_terminal_has_no_colour() {
    let table = succeeds(&["run", "leaf", "late_frame_record", "--unwinder", "frame-record"]);
    assert!(!table.contains('\u{1b}'), "{table}");
    for part in
        ["arm64/leaf probe", "riscv64/late_frame_record probe", "x86_64/leaf probe", "frame-record", "all gates hold"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert_eq!(table.lines().filter(|line| line.contains(" probe: ")).count(), 6, "{table}");
}

#[test]
fn filters_select() {
    let names = |arguments: &[&str]| -> Vec<String> {
        let text = succeeds(arguments);
        text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    };
    assert_eq!(names(&["list", "leaf"]), ["arm64/leaf", "riscv64/leaf", "x86_64/leaf"]);
    assert_eq!(names(&["list", "arm64/leaf"]), ["arm64/leaf"]);
    assert_eq!(names(&["list", "leaf", "--arch", "riscv64"]), ["riscv64/leaf"]);
    assert_eq!(
        names(&["list", "_record", "--arch", "x86_64"]),
        ["x86_64/late_frame_record", "x86_64/overwritten_record"]
    );
    let of = |cpu| names(&["list", "--arch", cpu]);
    assert_eq!(names(&["list"]), [of("arm64"), of("riscv64"), of("x86_64")].concat());
}

#[test]
fn what_does_not_exist_is_an_error_that_names_it() {
    refused(&["run", "no_such"], &["no scenario matches \"no_such\"", "unwind-harness list"]);
    refused(&["run", "--arch", "mips"], &["mips", "arm64, riscv64, x86_64"]);
    refused(&["run", "--unwinder", "magic"], &["magic", "frame-record"]);
    refused(&["run", "--jobs", "0"], &["--jobs"]);
    refused(&["run", "--root", "/nonexistent"], &["/nonexistent", "scenarios"]);
    refused(&["explain", "arm64/no_such", "leaf"], &["arm64/no_such"]);
    refused(&["explain", "arm64/leaf", "no_such"], &["no symbol `no_such`"]);
    refused(&["explain", "arm64/leaf", "leaf+0x1"], &["leaf+0x1#1 is not the start of an instruction"]);
    refused(&["explain", "arm64/leaf", "leaf+0xffffffffffffffff"], &["is not the start of an instruction"]);
    refused(&["--arch", "arm64", "list"], &["stands before the command `list`"]);
    refused(
        &["explain", "arm64/leaf", "leaf", "--interrupt", "irq"],
        &["no such kind of interruption here; there are probe"],
    );
    refused(&["explain", "arm64/leaf", "leaf#99"], &["arrives 2 times"]);
    refused(&["explain", "arm64/leaf", "leaf#0"], &["counts from 1"]);
    refused(&["explain", "arm64/leaf", "leaf", "--variant", "big"], &["no such variant"]);
    refused(&["run", "arm64/leaf", "--json", "/nonexistent/report.json"], &["/nonexistent/report.json"]);
}

#[test]
fn explain_shows_truth_and_walk_side_by_side() {
    let text = succeeds(&["explain", "arm64/late_frame_record", "late+0x8#1"]);
    for part in [
        "arm64/late_frame_record probe late+0x8#1",
        "the witnesses of the truth agree",
        "x29 0x",
        "-> late+0x8 ",
        "1  caller+0x14",
        "3  _start+0xc",
        "frame-record: !skipped (claimed reliable, end: outermost)",
        "frame record at 0x",
        "read 0x",
        "task stack top-0x",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn explain_names_the_damage_to_a_corrupt_stack() {
    // The fourth copy of the first damaged record's stack: its frame pointer is its own.
    let point = ["explain", "arm64/corrupt_stack", "first+0x4#4", "--variant", "preempted", "--interrupt", "corrupt"];
    let text = succeeds(&point);
    let damage = text.lines().find_map(|line| line.strip_prefix("damaged: ")).expect("it is damaged");
    let (place, reads) = damage.split_once(" reads ").expect("what is read");
    assert!(reads.starts_with(&format!("{place}, and is 0x")), "{damage}");
    let undamaged = succeeds(&[
        "explain",
        "arm64/corrupt_stack",
        "first+0x4#1",
        "--variant",
        "preempted",
        "--interrupt",
        "corrupt",
    ]);
    assert!(!undamaged.contains("damaged: "), "{undamaged}");
}

#[test]
fn a_frame_interrupted_at_its_first_instruction_has_a_name() {
    let path = path("first-instruction.json");
    succeeds(&["run", "fgraph_voluntary", "irq_on_task", "--json", path.to_str().expect("a path of text")]);
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the report was written")).expect("it is JSON");
    let mut names = Vec::new();
    for finding in
        report["scenarios"].as_array().into_iter().flatten().flat_map(|it| it["findings"].as_array()).flatten()
    {
        names.extend(finding["first"]["expected"].as_array().into_iter().flatten().filter_map(|name| name.as_str()));
    }
    let is_first = |name: &&&str| name.ends_with("+0x0");
    assert!(names.iter().filter(is_first).count() > 0, "some are interrupted there");
    assert_eq!(names.iter().find(|name| name.starts_with("0x")), None);
}

/// Small scenarios that between them are interrupted in every way but by SErrors, and void runs. They take very different times, so
/// that with several threads they do not end in the order in which they began.
const SMALL: &[&str] = &[
    "arm64/corrupt_stack",
    "buffer_full",
    "clobbered_callee_saved",
    "exit_each_insn",
    "leaf",
    "preempt_on_exit",
    "arm64/sdei_user",
    "user_entry",
    "x86_64/irq_on_task",
];

#[test]
fn the_report_is_the_same_for_any_number_of_jobs() {
    let report = |jobs: &str| {
        let path = path(&format!("jobs-{jobs}.json"));
        succeeds(&[&["run", "--jobs", jobs, "--json", path.to_str().expect("a path of text")], SMALL].concat());
        std::fs::read_to_string(path).expect("the report was written")
    };
    let text = report("1");
    let document: serde_json::Value = serde_json::from_str(&text).expect("the report is JSON");
    let sections = document["scenarios"].as_array().expect("a list");
    assert!(sections.iter().any(|section| section["void"].is_string()), "none is void");
    for kind in ["probe", "irq", "nmi", "fault", "debug", "sdei", "nested", "preempt", "voluntary", "corrupt"] {
        assert!(sections.iter().any(|section| section["interrupt"] == kind), "none is interrupted by {kind}");
    }
    assert_eq!(text, report("2"));
    assert_eq!(text, report("7"));
}

#[test]
fn a_broken_gate_is_status_1_and_says_how_to_see_it() {
    let sound_by_default = folder("unsound", "guest = \"leaf\"\n");
    let output = run_in(&sound_by_default, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("gate broken"), "{text}");
    assert!(text.contains("frame-record must be sound, but is !skipped at caller+0x0..caller+0x4"), "{text}");
    assert!(text.contains("unwind-harness explain arm64/own caller+0x0#1"), "{text}");
    assert!(text.contains("and 2 more findings of this kind"), "{text}");
    assert_eq!(run_in(&sound_by_default, &["--allow-unsound"]).status.code(), Some(0));

    let exact = folder("exact", "guest = \"leaf\"\nwithin = [\"_start\"]\n[must]\nframe-record = \"exact\"\n");
    let output = run_in(&exact, &["--allow-unsound"]);
    assert_eq!(output.status.code(), Some(1), "a flagged walk is not exact, and not unsound either");
    assert!(stdout(&output).contains("frame-record must be exact, but is ~ at _start+0x0"), "{}", stdout(&output));
}

#[test]
fn a_known_deviation_must_happen_at_both_of_its_ends() {
    let with = |name: &str, at: &str| {
        let known = format!(
            "[[known]]\nunwinder = \"frame-record\"\nat = \"{at}\"\nverdict = \"!skipped\"\nbecause = \"a leaf\"\n"
        );
        folder(name, &format!("guest = \"leaf\"\nwithin = [\"leaf\"]\n{known}"))
    };
    let output = run_in(&with("known", "leaf+0x0..leaf+0x14"), &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    for (name, at) in [("known-too-wide", "leaf+0x0..leaf+0x40"), ("known-elsewhere", "caller+0x0")] {
        let output = run_in(&with(name, at), &["--allow-unsound"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stdout(&output).contains("does not happen at both ends of its range"), "{}", stdout(&output));
    }
}

/// A demand that no walk can meet or break is a typing mistake.
#[test]
fn a_demand_without_walks_breaks_the_gate() {
    let broken = |name: &str, scenario: &str, says: &str| {
        let output = run_in(&folder(name, scenario), &["--allow-unsound"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains(says), "{name} should say {says:?}: {}", stdout(&output));
    };
    let must = |demand: &str| format!("guest = \"leaf\"\n[must]\n{demand}\n");
    broken("must-typo", &must("frame-recrod = \"any\""), "is not a subject here");
    broken("must-absent-typo", &must("frame-recrod = \"absent\""), "no such subject on any CPU");
    broken("must-absent", &must("frame-record = \"absent\""), "it exists on this CPU");
    broken("must-no-walk", &must("arm64-kunwind = \"exact\""), "makes no walk here");
    broken("must-no-start", &must("\"frame-record@task\" = \"any\""), "makes no walk here");
    let known =
        "[[known]]\nunwinder = \"arm64-kunwind\"\nat = \"leaf\"\nverdict = \"~\"\nbecause = \"it never walks\"\n";
    broken("known-no-walk", &format!("guest = \"leaf\"\n{known}"), "does not happen at both ends of its range");
}

#[test]
fn a_demand_may_name_a_start() {
    let scenario =
        std::fs::read_to_string(root().join("scenarios/arm64/irq_on_task.toml")).expect("the scenario is there");
    let scenario =
        scenario.replace("frame-record = \"any\"", "frame-record = \"any\"\n\"arm64-kunwind@regs\" = \"exact\"");
    let folder = folder("must-start", &scenario);
    std::fs::copy(root().join("guests/arm64/irq_on_task.elf"), folder.join("guests/arm64/irq_on_task.elf"))
        .expect("a copy");
    let output = run_in(&folder, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("arm64-kunwind@regs must be exact, but is <0"), "{text}");
    assert!(!text.contains("arm64-kunwind@current must be"), "{text}");
}

#[test]
fn a_void_run_is_status_3_unless_it_is_meant() {
    let unexpected = folder("void", "guest = \"clobbered_callee_saved\"\n[must]\nframe-record = \"any\"\n");
    let output = run_in(&unexpected, &[]);
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("void: at caller+"), "{}", stdout(&output));
    let meant = folder("void-meant", "guest = \"clobbered_callee_saved\"\nvoid = \"callee-saved x19\"\n");
    assert_eq!(run_in(&meant, &[]).status.code(), Some(0));
    let another_reason = folder("void-otherwise", "guest = \"clobbered_callee_saved\"\nvoid = \"callee-saved x20\"\n");
    assert_eq!(run_in(&another_reason, &[]).status.code(), Some(3));
    let not_void = folder("not-void", "guest = \"leaf\"\nvoid = \"callee-saved\"\n");
    assert_eq!(run_in(&not_void, &[]).status.code(), Some(1));
}

#[test]
fn an_activation_that_never_resumes_must_be_declared() {
    // Entered in the middle: `leaf` returns to what the harness planted in the link register.
    let entered = folder("entered", "guest = \"leaf\"\nentry = \"leaf\"\n");
    not_judged(&entered, &["own.toml: guest = \"leaf\": guest leaf: execution in unmapped page"]);
}

#[test]
fn bad_scenarios_are_refused_with_file_and_line() {
    for (name, text, says) in [
        ("syntax", "guest = \n", &["own.toml", "line 1"][..]),
        ("unknown-key", "guest = \"leaf\"\nflavour = 1\n", &["line 2", "flavour"]),
        ("unknown-kind", "guest = \"leaf\"\ninterrupt = [\"magic\"]\n", &["line 2", "magic", "probe"]),
        ("no-guest", "entry = \"_start\"\n", &["it needs one of guest = \"NAME\""]),
        ("visits", "guest = \"leaf\"\nmax-visits = 0\n", &["max-visits"]),
        ("level", "guest = \"leaf\"\n[must]\nframe-record = \"good\"\n", &["line 3", "exact"]),
        (
            "verdict",
            "guest = \"leaf\"\n[[known]]\nunwinder = \"frame-record\"\nat = \"leaf\"\nverdict = \"!state\"\nbecause = \"no\"\n",
            &["!state"],
        ),
        (
            "range",
            "guest = \"leaf\"\n[[known]]\nunwinder = \"frame-record\"\nat = \"leaf..caller\"\nverdict = \"~\"\nbecause = \"no\"\n",
            &["within one function"],
        ),
        ("mod32", "guest = \"leaf\"\n[[variant]]\nname = \"a\"\ncfa-mod32 = 8\n", &["cfa-mod32"]),
        ("twice", "guest = \"leaf\"\n[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"\n", &["unique"]),
        ("kinds", "guest = \"leaf\"\ninterrupt = [\"probe\", \"probe\"]\n", &["twice"]),
        ("spaces", "guest = \"leaf\"\n[[variant]]\nname = \"a b\"\n", &["letters, digits"]),
        ("only", "guest = \"leaf\"\nonly = [\"riscv64\"]\n", &["only"]),
    ] {
        let folder = folder(&format!("bad-{name}"), text);
        refused(&["--root", folder.to_str().expect("a path of text")], says);
    }
}

#[test]
fn bad_guests_are_named_with_scenario_and_key() {
    for (name, text, says) in [
        ("missing-elf", "guest = \"no_such\"\n", &["guest = \"no_such\": ", "no_such.elf"][..]),
        ("entry", "guest = \"leaf\"\nentry = \"nowhere\"\n", &["entry = \"nowhere\": ", "no symbol `nowhere`"]),
        ("within", "guest = \"leaf\"\nwithin = [\"nowhere\"]\n", &["within: \"nowhere\": ", "no symbol `nowhere`"]),
        ("budget", "guest = \"leaf\"\nbudget = 5\n", &["no end within the budget of 5 instructions at"]),
        (
            "stacks",
            "guest = \"leaf\"\n[[variant]]\nname = \"a\"\nstacks = [\"irq\"]\n",
            &["variant a: guest = \"leaf\": ", "declares [\"task\"]"],
        ),
        ("kernel", "guest = \"leaf\"\ninterrupt = [\"irq\"]\n", &["no symbol `__current`", "KERNEL.md"]),
    ] {
        not_judged(&folder(&format!("bad-{name}"), text), &[says, &["scenarios/arm64/own.toml: "]].concat());
    }
}

#[test]
fn a_user_decides_how_much_is_said_and_in_which_colours() {
    let run = |more: &[&str]| program(&[&["run", "arm64/leaf", "--unwinder", "frame-record"], more].concat());
    let plain = run(&[]);
    assert_eq!((stdout(&plain).contains('\u{1b}'), stderr(&plain)), (false, String::new()));
    let coloured = run(&["--color", "always"]);
    assert!(stdout(&coloured).contains('\u{1b}'), "{}", stdout(&coloured));
    // The same words.
    let with_codes = stdout(&coloured);
    let bare: String = { with_codes.split('\u{1b}') }
        .map(|part| {
            part.strip_prefix('[').and_then(|part| part.split_once('m')).map_or(part, |(_, rest)| rest).to_owned()
        })
        .collect();
    assert_eq!(bare, stdout(&plain));
    let verbose = run(&["-v"]);
    assert_eq!(stdout(&verbose), stdout(&plain));
    let said = stderr(&verbose);
    assert!(said.starts_with("arm64/leaf probe: ") && said.contains(" points, ") && said.ends_with(" s\n"), "{said}");
    assert_eq!(stderr(&run(&["-q"])), "");
    refused(&["run", "arm64/leaf", "-q", "-v"], &["cannot be used with"]);
    refused(&["run", "arm64/leaf", "--color", "pink"], &["pink", "always"]);
}

#[test]
fn completions_and_manual_pages_name_the_commands_and_options() {
    for shell in ["bash", "zsh", "fish"] {
        let text = succeeds(&["completions", shell]);
        for part in ["unwind-harness", "junit", "explain"] {
            assert!(text.contains(part), "{shell} {part}");
        }
    }
    let bash = Command::new("bash").args(["-n", "-c", &succeeds(&["completions", "bash"])]).status().expect("bash");
    assert!(bash.success());
    let page = succeeds(&["man"]);
    assert!(page.contains(".TH") && page.contains("fidelity") && page.contains("Exit status"), "{page}");
    let page = succeeds(&["man", "run"]);
    assert!(page.contains("\\-\\-junit") && page.contains("\\-\\-color"), "{page}");
    refused(&["man", "fly"], &["man fly: there is no such command"]);
    refused(&["completions", "cmd"], &["cmd", "bash"]);
}

/// What every command takes may stand before it; what only a run takes may not, because it would be passed over.
#[test]
fn options_stand_before_a_command_or_are_refused() {
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"));
        let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for before in [&["-q"][..], &["--root", "."], &["--color", "never"]] {
        let (status, text) = run(&[before, &["list", "arm64/leaf"]].concat());
        assert_eq!((status, text.starts_with("arm64/leaf ")), (Some(0), true), "{before:?}: {text}");
    }
    for before in [&["--arch", "arm64"][..], &["leaf"], &["--json", "-"]] {
        let (status, text) = run(&[before, &["list", "arm64/leaf"]].concat());
        assert_eq!(status, Some(2), "{before:?}: {text}");
        assert!(text.contains("stands before the command `list`"), "{before:?}: {text}");
    }
    assert_eq!(run(&["arm64/leaf", "--all"]).0, Some(0));
}
