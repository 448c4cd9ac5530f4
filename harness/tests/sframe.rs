//! `sframe dump` and `sframe validate` as a user meets them, on files that other assemblers and linkers made.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::{Value, json};
use unwind_harness::Error;
use unwind_harness::cli::Cli;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/kunwind/tests/fixtures/sframe")
}

fn fixture(name: &str) -> String {
    fixtures().join(name).to_str().expect("a path of text").to_owned()
}

/// A new file with this content.
fn file(name: &str, content: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sframe-{name}"));
    std::fs::write(&path, content).expect("a new file");
    path.to_str().expect("a path of text").to_owned()
}

/// Runs the program in this process: what it prints, and its exit status.
fn run(arguments: &[&str]) -> Result<(String, u8), Error> {
    let cli = Cli::try_parse_from(["unwind-harness", "sframe"].iter().chain(arguments)).expect("sound arguments");
    let mut out = Vec::new();
    let status = cli.execute(&mut out)?;
    Ok((String::from_utf8(out).expect("text"), status))
}

#[track_caller]
fn prints(arguments: &[&str], status: u8, parts: &[&str]) -> String {
    let (text, found) = run(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    assert_eq!(found, status, "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?} should print {part:?}:\n{text}");
    }
    text
}

/// An error, which `main` prints with status 2.
#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    let error = run(arguments).expect_err("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "{arguments:?} should say {part:?}:\n{error}");
    }
}

fn document(name: &str) -> Value {
    let text = prints(&["dump", "--json", &fixture(name)], 0, &[]);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_program_has_the_commands_and_exits_with_their_status() {
    let program = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_unwind-harness"))
            .arg("sframe")
            .args(arguments)
            .output()
            .expect("the program starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    assert_eq!(program(&["dump", &fixture("elf/xl_lib.v3.so")]), (Some(0), String::new()));
    assert_eq!(program(&["validate", &fixture("malformed/041_not_sorted.sframe")]), (Some(1), String::new()));
    let (status, error) = program(&["dump", "/nonexistent"]);
    assert!(status == Some(2) && error.starts_with("error: /nonexistent: "), "{error}");
    assert_eq!(program(&["validate", "--profile", "strict", "x"]).0, Some(2));
}

#[test]
fn text_has_every_function_and_row() {
    let dump = prints(
        &["dump", &fixture("elf/xl_lib.v3.so")],
        0,
        &[
            ".sframe at 0x20a8, 166 bytes: version 3, amd64, sorted pcrel\n5 functions, 10 rows, RA always at CFA-8\n",
            "PT_GNU_SFRAME has 0xe3 bytes, the section 0xa6",
            "0x1010, 16 bytes, repeats every 8 bytes\n  +0x0     CFA=sp+16        RA=*(CFA-8)     FP=retain\n",
            "0x103a, 11 bytes, flexible\n",
            "  +0x3     CFA=r10+8 ",
            "0x1045, 1 byte\n",
        ],
    );
    assert_eq!(dump.lines().filter(|line| line.starts_with("  +")).count(), 10, "{dump}");
    prints(
        &["dump", &fixture("elf/001_good.elf")],
        0,
        &["  +0x0     outermost\n", "CFA=*(fp-8)      RA=*(CFA-8)     FP=*(fp+0)"],
    );
    prints(&["dump", &fixture("elf/a06_pauth_b.v3.o")], 0, &[".text+0x0, 28 bytes, key B\n", "RA is signed"]);
    prints(&["dump", &fixture("x11_signal.v3.sframe")], 0, &["signal frame"]);
    prints(&["dump", &fixture("x24_simple_empty.v3.sframe")], 0, &[": no rows"]);
}

#[test]
fn json_is_complete() {
    let retain = json!({"rule": "retain", "reg": null, "offset": 0, "deref": false});
    let saved = |offset: i64| json!({"rule": "cfa", "reg": null, "offset": offset, "deref": true});
    let row = |start: u32, reg: u8, offset: i64, fp: &Value| {
        let cfa = json!({"reg": reg, "offset": offset, "deref": false});
        json!({"start": start, "outermost": false, "mangled_ra": false, "cfa": cfa, "ra": saved(-8), "fp": fp})
    };
    let rows = [row(0, 7, 8, &retain), row(1, 7, 16, &saved(-16)), row(4, 6, 16, &saved(-16)), row(17, 7, 8, &retain)];
    assert_eq!(
        document("elf/x02_fpframe.v3.o"),
        json!({"version": 3, "abi": "amd64", "flags": ["pcrel"], "functions": [{
            "start": 0, "size": 18, "pc_type": "inc", "fde_type": "default", "signal": false, "pauth_key": null,
            "rep_size": 0, "rows": rows,
        }]})
    );
    let good = document("elf/001_good.elf");
    assert_eq!(good["functions"][1]["pc_type"], "mask");
    assert_eq!(good["functions"][2]["rows"][2]["cfa"], json!({"reg": 6, "offset": -8, "deref": true}));
    assert_eq!(good["functions"][2]["rows"][2]["fp"], json!({"rule": "reg", "reg": 6, "offset": 0, "deref": true}));
    assert_eq!(
        good["functions"][3]["rows"],
        json!([{"start": 0, "outermost": true, "mangled_ra": false, "cfa": null, "ra": null, "fp": null}])
    );
    let signed = document("elf/be_a05_pauth_a.v3.o");
    assert_eq!((&signed["abi"], &signed["functions"][0]["pauth_key"]), (&json!("aarch64-be"), &json!("a")));
    assert_eq!(signed["functions"][0]["rows"][1]["mangled_ra"], true);
    assert_eq!(document("elf/a06_pauth_b.v3.o")["functions"][0]["pauth_key"], "b");
    assert_eq!(document("elf/s04_regs.v3.o")["functions"][0]["rows"][1]["ra"]["reg"], 17);
    // There is no data, which is not an error.
    assert_eq!(document("elf/xl_discard.v3.exe"), Value::Null);
}

#[test]
fn starts_are_those_that_objdump_finds() {
    let objects = [
        "a06_pauth_b.v3.o",
        "be_a05_pauth_a.v3.o",
        "s04_regs.v3.o",
        "x01_leaf.v2p.o",
        "x02_fpframe.v3.o",
        "x06_multi.v3.o",
    ];
    let linked = ["xl_lib.v2.so", "xl_lib.v3.so", "xl_static.v2.exe", "xl_cat.v2p.exe"];
    for name in objects.iter().chain(&linked) {
        let dump = std::fs::read_to_string(fixtures().join(format!("{}.dump", name.trim_end_matches(".o"))));
        let dump = dump.unwrap_or_else(|error| panic!("{name}: {error}"));
        let starts = dump.lines().filter_map(|line| line.split_once("pc = 0x")?.1.split_once(','));
        let theirs: Vec<_> = starts.map(|(start, _)| u64::from_str_radix(start, 16).expect("an address")).collect();
        let document = document(&format!("elf/{name}"));
        let functions = document["functions"].as_array().expect("functions");
        let ours: Vec<_> = functions.iter().map(|function| function["start"].as_u64().expect("an address")).collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn validation_knows_the_file_around_the_section() {
    prints(&["validate", &fixture("elf/001_good.elf")], 0, &[".sframe: valid (spec): 0 errors, 0 notes\n"]);
    prints(&["validate", &fixture("elf/019_abi_machine.elf")], 1, &["error: the ABI contradicts the file's machine"]);
    // The first function moves from 0x1000 to 0x1400, where no segment of code is.
    let mut elf = std::fs::read(fixture("elf/001_good.elf")).expect("a fixture");
    let section = elf.windows(4).position(|bytes| bytes == [0xe2, 0xde, 3, 5]).expect("the section");
    elf[section + 0x1d] = 0xf3;
    let path = file("outside.elf", &elf);
    prints(&["validate", &path], 1, &["error: the function is outside of the text: func_start_offset at 0x1c"]);
}

#[test]
fn profiles_differ() {
    let linked = fixture("elf/xl_lib.v3.so");
    prints(&["validate", "--profile", "kernel", &linked], 0, &["valid (kernel)"]);
    let old = fixture("elf/xl_lib.v2.so");
    prints(
        &["validate", "--profile", "spec", &old],
        1,
        &["error: reserved bits are set: func_rep_size at 0x2d is 0x10"],
    );
    prints(&["validate", "--profile", "lenient", &old], 0, &["note: reserved bits", "0 errors, 1 note\n"]);
    prints(
        &["validate", "--profile", "kernel", &old],
        1,
        &["this version is not supported", "a flag is missing, SFRAME_F_FDE_"],
    );
    prints(&["validate", "--profile", "kernel", &fixture("elf/xl_discard.v3.exe")], 1, &["the section is empty"]);
    prints(&["validate", &fixture("elf/xl_discard.v3.exe")], 0, &["note: the section is empty"]);
}

#[test]
fn concatenated_sections_are_noted() {
    let path = fixture("elf/xl_cat.v2p.exe");
    prints(&["dump", &path], 0, &["another section begins at 0x58", "2 functions"]);
    prints(&["validate", &path], 1, &["second header at 0x58"]);
    prints(&["validate", "--profile", "lenient", &path], 0, &["second header at 0x58"]);
}

#[test]
fn what_can_be_read_is_printed_and_the_rest_is_an_error() {
    let broken = fixture("malformed/053_fde_type31.sframe");
    let dump = prints(&["dump", &broken], 1, &["error: this type of function is not supported: func_info2"]);
    assert!(dump.contains("outermost"), "{dump}");
    prints(&["validate", &fixture("malformed/007_short_preamble.sframe")], 1, &["the section is too short"]);
    refused(&["dump", &fixture("malformed/007_short_preamble.sframe")], &["the section is too short"]);
}

#[test]
fn bad_files_are_refused_with_advice() {
    refused(&["dump", "/nonexistent"], &["/nonexistent: ", "No such file"]);
    refused(&["dump", &fixture("README.md")], &["README.md: neither an ELF file nor a raw SFrame section", "objcopy"]);
    refused(&["validate", &file("empty", &[])], &["an empty file"]);
    refused(&["dump", &fixture("elf/x26_nofunc.v3.o")], &["no SFrame section", "--gsframe"]);
    refused(&["dump", "guests/riscv64/leaf.elf"], &["no SFrame section", "no ABI for machine 243 (Riscv64)"]);
    let mut other = std::fs::read(fixture("elf/x01_leaf.v3.o")).expect("a fixture");
    other[18..20].copy_from_slice(&[40, 0]); // EM_ARM
    refused(&["dump", &file("arm.o", &other)], &["no ABI for machine 40 (Arm)"]);
    refused(&["dump", &fixture("x02_fpframe.v1.sframe")], &["version at 0x2 is 0x1", "GNU as 2.41"]);
    for command in ["dump", "validate"] {
        refused(&[command, &fixture("elf/x01_leaf.v2.o")], &["version 2 and without the flag PCREL", "link it first"]);
    }
    let mut elf = std::fs::read(fixture("elf/xl_lib.v3.so")).expect("a fixture");
    elf[4] = 1;
    refused(&["dump", &file("class32.so", &elf)], &["32-bit"]);
    elf[4] = 2;
    elf.truncate(0x2100);
    refused(&["dump", &file("truncated.so", &elf)], &["truncated"]);
}

#[test]
fn truncated_and_mutated_files_do_no_harm() {
    for name in ["xl_lib.v3.so", "x06_multi.v3.o", "001_good.elf"] {
        let whole = std::fs::read(fixture(&format!("elf/{name}"))).expect("a fixture");
        let step = whole.len() / 97;
        for cut in (0..whole.len()).step_by(step) {
            let truncated = file(&format!("cut-{name}"), &whole[..cut]);
            let mut changed = whole.clone();
            changed[cut] ^= 0xff;
            let changed = file(&format!("changed-{name}"), &changed);
            for path in [&truncated, &changed] {
                for arguments in [&["dump", path][..], &["dump", "--json", path], &["validate", path]] {
                    // Any answer but a panic.
                    let _ = run(arguments);
                }
            }
        }
    }
}
