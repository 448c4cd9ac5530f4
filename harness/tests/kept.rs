//! Runs of other people's code that are kept, as scenarios and as cases, and what one screen says of them. Objects are made here, where
//! there is a compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use unwind_harness::recording::rows::{GuestRows, Leaf};
use unwind_harness::recording::{Recording, SideBySide};

/// A function whose CFI forgets what it pushes, and its row as the report writes it.
const WRONG: &str = ".globl wrong\n.type wrong, %function\nwrong:\n.cfi_startproc\n stp x29, x30, [sp, #-16]!\n nop\n \
                     ldp x29, x30, [sp], #16\n ret\n.cfi_endproc\n.size wrong, .-wrong\n";

/// A function with a loop, and a call of what it is given.
const LOOP: &str = "int total(const int *p, int n, int (*compare)(const void *, const void *)) {\n int sum = 0;\n for (int i = 0; i < n; \
                    i++) sum += compare(p + i, p) < 1;\n return n < 0 ? -1 : sum;\n}\n";

const PROGRAM: &str =
    "#include <stdio.h>\nint main(int argc, char **argv) { printf(\"%d %s\\n\", argc, argv[1]); return 3; }\n";

/// Runs a compiler in a folder; `false`, said aloud, if there is none.
fn made(folder: &Path, compiler: &str, name: &str, text: &str, arguments: &[&str]) -> bool {
    std::fs::write(folder.join(name), text).expect("it is written");
    match Command::new(compiler).current_dir(folder).args(arguments).arg(name).status() {
        Ok(status) => {
            assert!(status.success(), "{compiler} {arguments:?} {name}");
            true
        }
        Err(error) => {
            println!("SKIPPED: {compiler}: {error}");
            false
        }
    }
}

fn object(folder: &Path, name: &str, text: &str) -> bool {
    let output = Path::new(name).with_extension("o").to_string_lossy().into_owned();
    made(folder, "clang-14", name, text, &["--target=aarch64-linux-gnu", "-O1", "-c", "-o", &output])
}

/// The exit status and the text of a command, run in a folder.
fn tool(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_unwind-harness")).current_dir(folder).args(arguments).output();
    let output = output.expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// What a command finds: its report as JSON.
fn found(folder: &Path, arguments: &[&str]) -> Recording {
    let file = "report.json";
    let (status, text) = tool(folder, &[arguments, &["--json", file]].concat());
    assert!(matches!(status, Some(0 | 1)), "{arguments:?}: {status:?} {text}");
    let text = std::fs::read_to_string(folder.join(file)).expect("it was written");
    serde_json::from_str(&text).expect("it is a recording")
}

/// The same rows, whatever their run is called. A case does not say how large the index of frames was.
fn unnamed(rows: &GuestRows) -> GuestRows {
    let mut rows = GuestRows { name: String::new(), scenario: String::new(), ..rows.clone() };
    rows.bytes.eh_frame_hdr = 0;
    rows
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("scenarios")).expect("a folder");
    let path = folder.path().to_path_buf();
    (folder, path)
}

#[test]
fn a_call_is_kept_as_a_scenario_and_as_a_case() {
    let (_kept, folder) = folder();
    if !object(&folder, "total.c", LOOP) {
        return;
    }
    let call = ["--elf", "total.o", "--call", "total", "--arg", "u32:5,3,9", "--arg", "3", "--arg", "fn:compare-int"];
    fn run<'a>(call: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [&["run"], call, more].concat()
    }
    let first = found(&folder, &run(&call, &["--save-scenario", "mine", "--root", "."]));
    let again = found(&folder, &["run", "mine", "--root", "."]);
    assert_eq!((first.calls[0].result, again.calls[0].result), (2, 2));
    assert_eq!(unnamed(&first.rows[0]), unnamed(&again.rows[0]));
    assert_eq!(first.sections[0].functions, again.sections[0].functions);
    assert_eq!(again.sections[0].scenario, "arm64/mine");
    // Files below the root are named from there, so that the folder may move.
    let path = folder.join("scenarios/arm64/mine.toml");
    let text = std::fs::read_to_string(&path).expect("it was written");
    assert!(text.contains("\nfile = \"total.o\"\n"), "{text}");
    // A broken gate of such a scenario is told on its one screen, with the command that explains it.
    std::fs::write(&path, text + "\n[must]\nframe-record = \"exact\"\n").expect("it is written");
    let (status, screen) = tool(&folder, &["run", "mine", "--root", "."]);
    assert_eq!(status, Some(1), "{screen}");
    for says in
        ["gate broken: arm64/mine probe: frame-record must be exact", "unwind-harness explain", "gates are broken"]
    {
        assert!(screen.contains(says), "{says}: {screen}");
    }
    assert!(screen.lines().count() <= 40, "{screen}");
    for (name, says) in [("mine", "exists"), ("a/b", "letters, digits"), ("", "letters, digits")] {
        let (status, text) = tool(&folder, &run(&call, &["--save-scenario", name, "--root", "."]));
        assert!(status == Some(2) && text.contains(says), "{name}: {status:?} {text}");
    }
    let (status, text) = tool(&folder, &run(&call, &["--freeze", "case.toml"]));
    assert_eq!(status, Some(0), "{text}");
    std::fs::remove_file(folder.join("total.o")).expect("it was there");
    let frozen = found(&folder, &["run", "--case", "case.toml"]);
    assert_eq!(unnamed(&first.rows[0]), unnamed(&frozen.rows[0]));
    assert_eq!(first.sections[0].functions, frozen.sections[0].functions);
    assert_eq!(frozen.calls[0].result, 2);
    let checked = found(&folder, &["check", "--case", "case.toml"]);
    assert_eq!(unnamed(&checked.rows[0]), unnamed(&frozen.rows[0]));
    let (status, text) = tool(&folder, &["explain", "--case", "case.toml", "total+0x4"]);
    assert!(status == Some(0) && text.contains("harness_caller"), "{text}");
}

#[test]
fn a_process_is_kept_as_a_scenario() {
    let (_kept, folder) = folder();
    if !made(&folder, "gcc", "hello.c", PROGRAM, &["-O1", "-o", "hello"]) {
        return;
    }
    let process = ["run", "--elf", "hello", "--process", "--sysroot", "/", "--within", "hello", "--root", "."];
    fn run<'a>(process: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [process, more, &["--", "world"]].concat()
    }
    let (status, text) = tool(&folder, &run(&process, &["--save-scenario", "mine", "--json", "first.json"]));
    assert!(status == Some(0) && text.contains("| 2 world"), "{status:?} {text}");
    let first: Recording =
        serde_json::from_slice(&std::fs::read(folder.join("first.json")).expect("it is there")).expect("a recording");
    let cpu = first.sections[0].scenario.split('/').next().unwrap_or_default().to_owned();
    let again = found(&folder, &["run", "mine", "--root", "."]);
    assert!(first.sections[0].points > 10);
    let text = std::fs::read_to_string(folder.join(format!("scenarios/{cpu}/mine.toml"))).expect("it was written");
    assert!(text.contains("\nfile = \"hello\"\n") && text.contains("\nsysroot = \"/\"\n"), "{text}");
    assert_eq!(first.sections[0].functions, again.sections[0].functions);
    assert_eq!(unnamed(&first.rows[0]), unnamed(&again.rows[0]));
    assert_eq!(again.sections[0].scenario, format!("{cpu}/mine"));
    let (status, text) = tool(&folder, &["explain", &format!("{cpu}/mine"), "main+0x0", "--root", "."]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = tool(&folder, &run(&process, &["--log", "run.log"]));
    assert!(status == Some(2) && text.contains("--save-scenario") && text.contains("--freeze"), "{text}");
    // `check` judges the rows of what --within names, and no others.
    let rows = found(&folder, &["check", "--elf", "hello", "--process", "--sysroot", "/", "--within", "main"]).rows;
    let names: Vec<&str> = rows[0].functions.iter().map(|function| &*function.name).collect();
    assert_eq!(names, ["main"]);
    assert!(rows[0].functions[0].ran > 5);
    let one = ["run", "--elf", "hello", "--process", "--sysroot", "/", "--within", "main", "--freeze", "case.toml"];
    let (status, text) = tool(&folder, &[&one[..], &["--", "world"]].concat());
    assert!(status == Some(0) && text.contains("/case probe"), "{status:?} {text}");
    // A wrong name is answered with those that are near.
    let wrong: [&[&str]; 4] = [
        &["run", "--elf", "hello", "--process", "--sysroot", "/", "--within", "mian"],
        &["run", "--elf", "hello", "--process", "--sysroot", "/", "--signal", "10@mian"],
        &["run", "--elf", "hello", "--process", "--sysroot", "/", "--signal-everywhere", "10@mian"],
        &["explain", "--case", "case.toml", "mian+0x0"],
    ];
    for words in wrong {
        let (status, text) = tool(&folder, words);
        assert!(matches!(status, Some(2)) && text.contains("did you mean main"), "{words:?}: {status:?} {text}");
    }
    // What is gone is said, with the file that names it, and is still listed.
    std::fs::remove_file(folder.join("hello")).expect("it was there");
    for (command, more, says) in
        [("run", None, "points"), ("check", None, "instructions"), ("explain", Some("main+0x0"), "truth, youngest")]
    {
        let words: Vec<&str> = [command, "--case", "case.toml"].into_iter().chain(more).collect();
        let (status, text) = tool(&folder, &words);
        assert!(matches!(status, Some(0 | 1)) && text.contains(says), "{command}: {status:?} {text}");
    }
    let (status, text) = tool(&folder, &["run", "mine", "--root", "."]);
    assert!(status == Some(2) && text.contains("mine.toml") && text.contains("[process]"), "{status:?} {text}");
    assert!(tool(&folder, &["list", "--root", "."]).1.contains(&format!("{cpu}/mine")));
}

#[test]
fn one_screen_shows_the_worst_row_and_all_shows_its_range() {
    let (_kept, folder) = folder();
    if !object(&folder, "wrong.s", WRONG) {
        return;
    }
    let call = ["run", "--elf", "wrong.o", "--call", "wrong"];
    let (status, screen) = tool(&folder, &call);
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.lines().count() <= 40 && screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    assert!(screen.contains("+0x4 (nop): cfa is 0x10 too low"), "{screen}");
    assert!(!screen.contains("wrong ..") && !screen.contains("the row:"), "{screen}");
    // The command below a finding is whole.
    let (_, tried) = tool(
        &folder,
        &[
            &call[..],
            &[
                "--unwinder-cmd",
                "sh -c 'read h; echo \"{\\\"t\\\":\\\"hello\\\",\\\"proto\\\":1,\\\"name\\\":\\\"sh\\\"}\"'",
            ],
        ]
        .concat(),
    );
    assert!(tried.contains("unwind-harness explain --elf wrong.o --call wrong "), "{tried}");
    let (_, all) = tool(&folder, &[&call[..], &["--all"]].concat());
    assert!(all.contains("dwarf cfa +0x4..+0x8 (nop): is 0x10 too low"), "{all}");
    assert!(all.contains("the row: CFA=sp+0 RA=same x29=same"), "{all}");
    let rows = found(&folder, &call).rows.remove(0);
    let function = rows.functions.iter().find(|function| function.name == "wrong").expect("it ran");
    let dwarf = function.tables.iter().find(|table| table.format == "dwarf").expect("it has CFI");
    assert_eq!((dwarf.rows, dwarf.rows_run, dwarf.leaf), (1, 1, Leaf::Refuted(4)));
    // Between `stp` and `ldp`, x29 is still the caller's, whose record is not this function's.
    assert_eq!((function.frame_pointer.judged, function.frame_pointer.right), (4, 0));
    let SideBySide { instructions, all_right, sframe_wrong, dwarf_wrong, fp_wrong, .. } = rows.side_by_side;
    assert_eq!((instructions, all_right, sframe_wrong, dwarf_wrong, fp_wrong), (4, 0, 2, 2, 4));
    let bytes = rows.bytes;
    assert!(bytes.eh_frame > 0 && bytes.sframe_made > 0 && bytes.sframe == 0 && bytes.eh_frame_hdr == 0, "{bytes:?}");
}

/// Nothing is demanded of somebody's rows, but by a scenario of one's own.
#[test]
fn rows_of_ones_own_file_can_be_gated() {
    let (_kept, folder) = folder();
    if !object(&folder, "wrong.s", WRONG) {
        return;
    }
    let save = ["run", "--elf", "wrong.o", "--call", "wrong", "--save-scenario", "mine", "--root", "."];
    assert_eq!(tool(&folder, &save).0, Some(0));
    let (status, text) = tool(&folder, &["check", "mine", "--root", "."]);
    assert!(status == Some(0) && text.contains("which break no gate"), "{text}");
    let path = folder.join("scenarios/arm64/mine.toml");
    let scenario = std::fs::read_to_string(&path).expect("it was saved");
    let listed = "[[wrong-rows]]\nfunctions = [\"wrong\"]\nbecause = \"it is wrong on purpose\"\n";
    for (keys, list, expected, says) in [
        ("must-be-right = [\"dwarf\"]\n", "", 1, "dwarf is wrong at wrong+0x4"),
        ("must-be-right = [\"dwraf\"]\n", "", 1, "no row of dwraf was judged"),
        ("must-be-right = [\"dwarf\"]\n", listed, 0, "break no gate: functions with wrong rows 1"),
        ("must-be-right = [\"dwarf\", \"sframe\"]\n", listed, 0, "listed with its reason"),
        ("must-have-rows = [\"orc\"]\n", "", 1, "orc has no data for wrong"),
    ] {
        std::fs::write(&path, format!("{keys}{scenario}\n{list}")).expect("it can be written");
        let (status, text) = tool(&folder, &["check", "mine", "--root", "."]);
        assert!(status == Some(expected) && text.contains(says), "{keys}{list}: {status:?} {text}");
    }
}

/// Rows of code that did not run are counted, and not as right.
#[test]
fn rows_that_did_not_run_are_counted() {
    let (_kept, folder) = folder();
    let text = ".globl twice\n.type twice, %function\ntwice:\n.cfi_startproc\n cbz x0, 1f\n stp x29, x30, [sp, #-16]!\n\
                .cfi_def_cfa_offset 16\n.cfi_offset 29, -16\n.cfi_offset 30, -8\n ldp x29, x30, [sp], #16\n\
                .cfi_def_cfa_offset 0\n.cfi_restore 29\n.cfi_restore 30\n1: ret\n.cfi_endproc\n.size twice, .-twice\n";
    if !object(&folder, "twice.s", text) {
        return;
    }
    for (argument, run) in [("0", 2), ("1", 3)] {
        let rows = found(&folder, &["run", "--elf", "twice.o", "--call", "twice", "--arg", argument]).rows.remove(0);
        let function = rows.functions.iter().find(|function| function.name == "twice").expect("it ran");
        for table in &function.tables {
            assert_eq!((table.rows, table.rows_run, table.wrong.len()), (3, run, 0), "{argument}: {table:?}");
        }
    }
}

/// Each file has a section of its own, and each is used for the code of its file.
#[test]
fn every_file_has_its_own_sframe() {
    let (_kept, folder) = folder();
    let inner = "int inner(int a) { volatile int b[4]; b[a & 3] = a; return b[a & 3] + 1; }\n";
    let outer = "int inner(int);\nint outer(int a) { return inner(a) + 2; }\n";
    let shared = |name| ["-O1", "-shared", "-fPIC", "-o", name];
    std::fs::create_dir(folder.join("with")).expect("a folder");
    if !made(&folder, "gcc", "inner.c", inner, &shared("libinner.so"))
        || !made(&folder, "gcc", "outer.c", outer, &[&shared("libouter.so")[..], &["-Wl,-soname,libouter.so"]].concat())
    {
        return;
    }
    for library in ["libinner.so", "libouter.so"] {
        let with = format!("with/{library}");
        let (status, text) = tool(&folder, &["sframe", "encode", library, "-o", &with, "--allow-refused"]);
        assert_eq!(status, Some(0), "{text}");
    }
    let call = |files: [&str; 2]| {
        found(&folder, &["check", "--elf", files[0], "--lib", files[1], "--call", "outer", "--arg", "1"]).rows.remove(0)
    };
    let rows = call(["with/libouter.so", "with/libinner.so"]);
    let sizes = [(true, true), (true, false)].map(|(outer, inner)| {
        let of = |with: bool| if with { "with/" } else { "" };
        let rows = call([&format!("{}libouter.so", of(outer)), &format!("{}libinner.so", of(inner))]);
        for name in ["inner", "outer"] {
            let function = rows.functions.iter().find(|function| function.name == name).expect("it ran");
            let sframe = function.tables.iter().find(|table| table.format == "sframe").expect("it has rows");
            assert_eq!((sframe.covered, sframe.cfa.right), (function.instructions, function.ran), "{sframe:?}");
        }
        assert!(rows.unread.is_empty(), "{:?}", rows.unread);
        rows.bytes.sframe
    });
    assert!(sizes[0] > sizes[1] && sizes[1] > 0, "{sizes:?}");
    assert!(rows.bytes.eh_frame_hdr > 0 && rows.bytes.sframe_made > 0);
}
