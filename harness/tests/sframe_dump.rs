//! `sframe dump` and `validate` on what is broken, large or out of the ordinary.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser as _;
use serde_json::{Value, json};
use unwind_harness::Error;
use unwind_harness::cli::Cli;

use super::elf_file::{ALLOC, ElfFile, Section, TEXT, cfi};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/kunwind/tests/fixtures/sframe")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).expect("a fixture")
}

fn file(name: &str, content: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("dump-{name}"));
    std::fs::write(&path, content).expect("a new file");
    path.to_str().expect("a path of text").to_owned()
}

fn run_to(arguments: &[&str], out: &mut dyn Write) -> Result<u8, Error> {
    let cli = Cli::try_parse_from(["unwind-harness", "sframe"].iter().chain(arguments)).expect("sound arguments");
    cli.execute(out)
}

#[track_caller]
fn prints(arguments: &[&str], status: u8, parts: &[&str]) -> String {
    let mut out = Vec::new();
    let found = run_to(arguments, &mut out).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let text = String::from_utf8(out).expect("text");
    assert_eq!(found, status, "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?} should print {part:?}:\n{text}");
    }
    text
}

#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    let error = run_to(arguments, &mut Vec::new()).expect_err("an error").to_string();
    for part in parts {
        assert!(error.contains(part), "{arguments:?} should say {part:?}:\n{error}");
    }
}

fn document(arguments: &[&str], status: u8) -> Value {
    serde_json::from_str(&prints(arguments, status, &[])).expect("JSON")
}

/// A section of version 3 for AMD64, flexible: `functions` that share these rows, each 0x1_0000 bytes.
fn shared(functions: u32, count: u16, rows: &[u8]) -> Vec<u8> {
    let rows = [&count.to_le_bytes()[..], &[1, 1, 0], rows].concat();
    let mut bytes = vec![0xe2, 0xde, 3, 5, 3, 0, 0xf8, 0];
    let all = functions * u32::from(count);
    for field in [functions, all, rows.len() as u32, 0, 16 * functions] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for index in 0..functions {
        // The starts are 0x1_0000 apart, and relative to fields that are 16 apart.
        let start = 0x10_0000 + i64::from(index) * (0x1_0000 - 16);
        bytes.extend_from_slice(&start.to_le_bytes());
        bytes.extend_from_slice(&0x1_0000_u32.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
    }
    bytes.extend_from_slice(&rows);
    bytes
}

#[test]
fn json_has_an_error_in_the_place_of_a_row_and_goes_on() {
    // CFA = sp + 8; then what GNU as writes for a frame pointer that it cannot name: register 0x1fffffff; then CFA = sp + 16.
    let rows = [
        &[0, 0, 0x04, 0x39, 8][..],
        &[1, 0, 0x4a, 0x39, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0xff],
        &[2, 0, 0x04, 0x39, 16],
    ];
    let path = file("register.sframe", &shared(1, 3, &rows.concat()));
    let found = document(&["dump", "--json", "--base", "0x1000", &path], 1);
    let rows = found["functions"][0]["rows"].as_array().expect("rows");
    assert_eq!((&rows[0]["cfa"]["offset"], &rows[2]["cfa"]["offset"]), (&json!(8), &json!(16)));
    let error =
        json!({"rule": "no such register", "field": "fre_control_word", "offset": 0x45, "value": 0xffff_fffb_u32});
    assert_eq!(rows[1], json!({"start": 1, "error": error}));
    prints(&["dump", &path], 1, &["  error: +0x1: no such register", "  +0x2     CFA=sp+16"]);
    // The third row has words of a size that does not exist, so the fourth cannot be found.
    let rows = [&[0, 0, 0x04, 0x39, 8][..], &[1, 0, 0x04, 0x39, 16], &[2, 0, 0x64, 0x39, 8], &[3, 0, 0x04, 0x39, 8]];
    let path = file("lost.sframe", &shared(2, 4, &rows.concat()));
    let found = document(&["dump", "--json", &path], 1);
    assert_eq!(found["functions"].as_array().map(Vec::len), Some(2));
    for function in found["functions"].as_array().expect("functions") {
        let rows = function["rows"].as_array().expect("rows");
        assert_eq!((rows.len(), &rows[2]["lost_rows"]), (3, &json!(2)), "{rows:?}");
        assert_eq!(rows[2]["error"]["rule"], "no such word size");
    }
    prints(&["dump", &path], 1, &["no such word size", "; 2 rows cannot be found"]);
}

#[test]
fn json_has_an_error_in_the_place_of_a_function_and_goes_on() {
    let path = fixtures().join("malformed/053_fde_type31.sframe");
    let found = document(&["dump", "--json", path.to_str().expect("text")], 1);
    let functions = found["functions"].as_array().expect("functions");
    let bad: Vec<_> = functions.iter().filter(|function| function["error"].is_object()).collect();
    let [bad] = bad[..] else { panic!("{functions:?}") };
    assert_eq!(bad["error"]["rule"], "this type of function is not supported");
    assert_eq!((bad["error"]["field"].as_str(), bad["error"]["value"].as_u64()), (Some("func_info2"), Some(31)));
    assert!(bad["index"].as_u64().is_some() && functions.len() == 5, "{functions:?}");
}

/// A reader that leaves after a while.
struct Leaving {
    left: usize,
}

impl Write for Leaving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_is_written_while_the_section_is_read() {
    // 262 million rows in 390 kB: some 13 GB of text, of which nothing may be kept.
    let rows: Vec<u8> = (0..u16::MAX).flat_map(|at| [at as u8, (at >> 8) as u8, 0x04, 0x39, at as u8 & 0x40]).collect();
    let path = file("shared.sframe", &shared(4000, u16::MAX, &rows));
    for arguments in [&["dump", &path][..], &["dump", "--json", &path]] {
        let mut out = Leaving { left: 1 << 20 };
        let error = run_to(arguments, &mut out).expect_err("nobody reads on");
        assert!(matches!(&error, Error::File { source, .. } if source.kind() == io::ErrorKind::BrokenPipe), "{error}");
        assert!(out.left < 1 << 18, "it came as far as it could: {}", out.left);
    }
}

#[test]
fn a_raw_section_is_where_the_user_says() {
    let addresses = std::fs::read_to_string(fixtures().join("addresses.tsv")).expect("a table");
    let line = addresses.lines().find(|line| line.starts_with("xl_lib.v3.so")).expect("a line");
    let address = line.split('\t').find(|field| field.starts_with("0x")).map_or("0x20a8", |field| field);
    let path = fixtures().join("xl_lib.v3.so.sframe");
    let raw = path.to_str().expect("text").to_owned();
    let path = fixtures().join("elf/xl_lib.v3.so");
    let elf = path.to_str().expect("text").to_owned();
    let starts = |document: &Value| -> Vec<u64> {
        let functions = document["functions"].as_array().expect("functions");
        functions.iter().map(|function| function["start"].as_u64().expect("an address")).collect()
    };
    let linked = starts(&document(&["dump", "--json", &elf], 0));
    assert_eq!(starts(&document(&["dump", "--json", "--base", address, &raw], 0)), linked);
    assert_eq!(starts(&document(&["dump", "--json", "--base", "8360", &raw], 0)), linked);
    prints(&["dump", "--base", address, &raw], 0, &["raw section at 0x20a8", "\n0x1010, 16 bytes"]);
    prints(&["dump", &raw], 0, &["--base ADDR says where it is loaded"]);
    prints(&["validate", "--base", address, "--profile", "kernel", &raw], 0, &["valid (kernel)"]);
    // From there the functions would lie before address 0.
    prints(&["validate", "--base", "0", &raw], 1, &["the address overflows"]);
    refused(&["dump", "--base", "0", &elf], &["an ELF file says where its section is"]);
    for wrong in ["0x", "here", "-1", "0x10000000000000000"] {
        let arguments = ["unwind-harness", "sframe", "dump", &format!("--base={wrong}"), &raw];
        let error = Cli::try_parse_from(arguments).expect_err("no address").to_string();
        assert!(error.contains("an address is a number such as 0x401000"), "{error}");
    }
}

#[test]
fn what_a_segment_has_left_over_belongs_to_nobody() {
    let mut elf = fixture("elf/xl_lib.v3.so");
    // The section headers go: offset, and their number and the index of names.
    elf[0x28..0x30].fill(0);
    elf[0x3c..0x40].fill(0);
    // The segment has 0xe3 bytes at 0x20a8, and the section 0xa6.
    for second_header in [false, true] {
        elf[0x20a8 + 0xa6..0x20a8 + 0xe3].fill(if second_header { 0 } else { 0x5a });
        if second_header {
            elf[0x20a8 + 0xb0..][..4].copy_from_slice(&[0xe2, 0xde, 3, 5]);
        }
        let path = file("segment.so", &elf);
        for profile in ["spec", "lenient", "kernel"] {
            let text =
                prints(&["validate", "--profile", profile, &path], 0, &["PT_GNU_SFRAME: valid", "0 errors, 0 notes"]);
            assert!(text.contains("PT_GNU_SFRAME has 0xe3 bytes, the section 0xa6: the rest is left over"), "{text}");
        }
        prints(&["dump", &path], 0, &["PT_GNU_SFRAME at 0x20a8, 166 bytes", "5 functions, 10 rows"]);
    }
}

#[test]
fn a_file_with_cfi_can_be_encoded() {
    for (name, is_eh_frame) in [(".eh_frame", true), (".debug_frame", false), (".zdebug_frame", false)] {
        let path = file("cfi", &ElfFile::program().with(name, cfi(is_eh_frame, &[(TEXT, 16)])).build());
        for command in ["dump", "validate"] {
            let encode = format!("`unwind-harness sframe encode` makes one from its {name}");
            refused(&[command, &path], &["no SFrame section", &encode, "--gsframe"]);
        }
    }
    let path = file("no-cfi", &ElfFile::program().build());
    let error = run_to(&["dump", &path], &mut Vec::new()).expect_err("no section").to_string();
    assert!(error.contains("--gsframe") && !error.contains("encode"), "{error}");
}

#[test]
fn a_start_in_another_file_is_named() {
    let mut object = ElfFile::object();
    object.symbols.push(("elsewhere", 0, 0, 0, 0));
    let section = object.add(Section::new(".sframe", ALLOC, 0, fixture("x02_fpframe.v3.sframe")));
    // R_X86_64_PC64 of the first function's start.
    object.relocate(section, &[(28, 2, 24, 0x10)]);
    let path = file("undefined.o", &object.build());
    prints(&["dump", &path], 0, &["undefined elsewhere+0x10, 18 bytes"]);
    prints(&["validate", &path], 0, &["valid (spec)"]);
}

#[test]
fn a_section_without_bytes_is_not_an_empty_one() {
    let mut elf = ElfFile::program();
    let mut section = Section::new(".sframe", ALLOC, TEXT + 0x1000, Vec::new());
    (section.sh_type, section.size) = (super::elf_file::NOBITS, Some(0x100));
    elf.add(section);
    refused(&["dump", &file("nobits", &elf.build())], &[".sframe has no bytes (NOBITS)"]);
}

#[test]
fn large_files_are_not_read_whole() {
    let path = file("sparse", &ElfFile::program().with(".eh_frame", cfi(true, &[(TEXT, 16)])).build());
    let sparse = std::fs::File::options().write(true).open(&path).expect("the file");
    // Some file systems hold no file of this size.
    if sparse.set_len(1 << 40).is_err() {
        return;
    }
    refused(&["dump", &path], &["no SFrame section; `unwind-harness sframe encode`"]);
    let copy = format!("{path}.copy");
    let _ = std::fs::remove_file(&copy);
    refused(&["encode", &path, "-o", &copy], &["it has 1099511627776 bytes", "are not copied"]);
    sparse.set_len(8 << 30).expect("a smaller file");
    prints(&["encode", &path, "-o", &copy], 0, &["1 functions, 2 rows"]);
    prints(&["dump", &copy], 0, &["0x401000, 16 bytes"]);
    let metadata = std::fs::metadata(&copy).expect("the copy");
    #[cfg(unix)]
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 20, "{metadata:?}");
    assert!(metadata.len() > 8 << 30);
    for path in [&path, &copy] {
        std::fs::remove_file(path).expect("the file");
    }
}
