//! `sframe encode`: which functions of a file's CFI are in the section, and what is said of those that are not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::elf_file::{ALLOC, CODE, ElfFile, FUNC, NOBITS, Section, TEXT, cfi, fde};
use super::sframe_encode::{program, text};

/// R_X86_64_64, R_X86_64_32 and a type that CFI does not need (R_X86_64_GOTPCREL).
const ADDRESS: u32 = 1;
const OFFSET: u32 = 10;
const OTHER: u32 = 9;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("merge-{name}"))
}

/// Writes a file and encodes it: the status, what was printed, and the starts of functions with their number of rows.
#[track_caller]
fn encode(name: &str, bytes: &[u8], more: &[&str]) -> (i32, String, Vec<(u64, usize)>) {
    let (input, output) = (path(name), path(&format!("{name}.out")));
    std::fs::write(&input, bytes).expect("a file");
    let _ = std::fs::remove_file(&output);
    let ran = program(&[&["encode", text(&input), "-o", text(&output)], more].concat());
    let printed = String::from_utf8([ran.stdout, ran.stderr].concat()).expect("text");
    let status = ran.status.code().expect("a status");
    assert_eq!(output.exists(), status != 2, "{printed}");
    let mut functions = Vec::new();
    if status != 2 {
        for profile in ["spec", "lenient"] {
            let ran = program(&["validate", "--profile", profile, text(&output)]);
            assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stdout));
        }
        let ran = program(&["dump", "--json", text(&output)]);
        let document: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
        let all = document["functions"].as_array().expect("functions");
        let rows = |function: &Value| function["rows"].as_array().expect("rows").len();
        functions = all.iter().map(|it| (it["start"].as_u64().expect("an address"), rows(it))).collect();
    }
    (status, printed, functions)
}

#[track_caller]
fn says(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "should say {part:?}:\n{printed}");
    }
}

#[test]
fn both_sections_are_read() {
    let eh = cfi(true, &[(TEXT, 16), (TEXT + 0x20, 16)]);
    let debug = cfi(false, &[(TEXT + 0x10, 16), (TEXT, 16), (0, 0x29), (0, 0x2c), (TEXT + 0x30, 0)]);
    let file = ElfFile::program().with(".debug_frame", debug).with(".eh_frame", eh);
    let (status, printed, functions) = encode("both", &file.build(), &["--profile", "kernel"]);
    assert_eq!((status, functions), (0, vec![(TEXT, 2), (TEXT + 0x10, 2), (TEXT + 0x20, 2)]), "{printed}");
    says(
        &printed,
        &[
            "from .eh_frame and .debug_frame",
            "1 entry not needed: of a function without code",
            "2 entries not needed: of code that the linker discarded",
            "1 entry not needed: that repeats what another says",
            "note: `strip` the input, not the copy",
        ],
    );
    // Two sections of one name.
    let file = ElfFile::program()
        .with(".eh_frame", cfi(true, &[(TEXT, 16)]))
        .with(".eh_frame", cfi(true, &[(TEXT + 0x10, 16)]));
    let (status, printed, functions) = encode("twice", &file.build(), &[]);
    assert_eq!((status, functions.len()), (0, 2), "{printed}");
}

#[test]
fn a_contradiction_is_said() {
    let file = ElfFile::program()
        .with(".eh_frame", cfi(true, &[(TEXT, 16)]))
        .with(".debug_frame", cfi(false, &[(TEXT, 17), (TEXT + 0x20, 8)]));
    let (status, printed, functions) = encode("contradiction", &file.build(), &[]);
    assert_eq!((status, functions), (1, vec![(TEXT, 2), (TEXT + 0x20, 2)]));
    says(&printed, &["1 without rows", "0x401000..0x401011 (.debug_frame): another entry, which is used"]);
    let (status, ..) = encode("contradiction", &file.build(), &["--allow-refused"]);
    assert_eq!(status, 0);
}

#[test]
fn what_cannot_be_read_is_named_and_is_not_silence() {
    let eh = || ElfFile::program().with(".eh_frame", cfi(true, &[(TEXT, 16)]));
    let debug = || cfi(false, &[(TEXT + 0x10, 16)]);
    let mut compressed = Section::new(".debug_frame", object::elf::SHF_COMPRESSED.0, 0, debug());
    let mut nobits = Section::new(".debug_frame", 0, 0, Vec::new());
    (nobits.sh_type, nobits.size) = (NOBITS, Some(0x100));
    let old = Section::new(".zdebug_frame", 0, 0, debug());
    let mut huge = Section::new(".debug_frame", 0, 0, debug());
    huge.size = Some(1 << 40);
    let cases = [
        (compressed.clone(), ".debug_frame is compressed; `objcopy --decompress-debug-sections`"),
        (old, ".zdebug_frame is compressed"),
        (nobits, ".debug_frame has no bytes (NOBITS)"),
        (huge, ".debug_frame has 1099511627776 bytes"),
    ];
    for (section, reason) in cases {
        let mut file = ElfFile::program();
        file.add(section.clone());
        let (status, printed, _) = encode("unread-alone", &file.build(), &[]);
        assert_eq!(status, 2);
        says(&printed, &[reason]);
        let mut file = eh();
        file.add(section);
        let (status, printed, functions) = encode("unread", &file.build(), &[]);
        assert_eq!((status, functions.len()), (1, 1));
        says(&printed, &[&format!("not read: {reason}")]);
    }
    // A section without anything is not unread.
    compressed.data.clear();
    compressed.flags = 0;
    let mut file = eh();
    file.add(compressed);
    assert_eq!(encode("nothing", &file.build(), &[]).0, 0);
}

#[test]
fn bad_entries_are_listed_and_the_others_are_found() {
    let mut bytes = cfi(true, &[(TEXT, 16), (TEXT + 0x10, 16), (TEXT + 0x20, 16), (TEXT + 0x30, 16)]);
    bytes[fde(1) + 4..][..4].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    bytes[fde(3)..][..4].copy_from_slice(&2_u32.to_le_bytes());
    let file = ElfFile::program().with(".eh_frame", bytes);
    let (status, printed, functions) = encode("bad", &file.build(), &[]);
    assert_eq!((status, functions), (1, vec![(TEXT, 2), (TEXT + 0x20, 2)]));
    says(
        &printed,
        &[
            "2 without rows",
            "FDE at 0x38 of .eh_frame: at +0x0: malformed: its CIE pointer leads to no CIE",
            "FDE at 0x78 of .eh_frame: at +0x0: malformed: its length is wrong, and what is in the 32 bytes",
        ],
    );
}

#[test]
fn code_that_is_not_there_has_no_rows() {
    // In `.eh_frame` no linker leaves what it discards.
    let file = ElfFile::program().with(".eh_frame", cfi(true, &[(TEXT, 16), (0, 16), (TEXT + 0xff8, 16)]));
    let (status, printed, functions) = encode("outside", &file.build(), &[]);
    assert_eq!((status, functions), (1, vec![(TEXT, 2)]));
    says(&printed, &["0x0..0x10 (.eh_frame): it is not in code that is loaded", "0x401ff8..0x402008 (.eh_frame)"]);
    // An executable segment may begin with headers, which are no code.
    let mut file = ElfFile::program_at(0).with(".debug_frame", cfi(false, &[(0, 16), (0x1000, 16)]));
    file.segments = vec![(1, 5, 0, 0x2000, 0x2000)];
    let (status, printed, functions) = encode("headers", &file.build(), &[]);
    assert_eq!((status, functions), (0, vec![(0x1000, 2)]), "{printed}");
}

#[test]
fn at_address_0_a_symbol_tells_what_was_discarded() {
    let debug = cfi(false, &[(0, 0x80), (0, 16), (0x20, 16), (0, 0x90)]);
    let mut file = ElfFile::program_at(0u64.wrapping_sub(0x1000)).with(".debug_frame", debug);
    file.segments.remove(0);
    let without = file.clone();
    file.symbols = vec![("start", 1, 0, 16, FUNC)];
    let (status, printed, functions) = encode("zero", &file.build(), &[]);
    assert_eq!((status, functions), (0, vec![(0, 2), (0x20, 2)]), "{printed}");
    says(&printed, &["2 entries not needed: of code that the linker discarded"]);
    let (status, printed, _) = encode("zero-unknown", &without.build(), &[]);
    assert_eq!(status, 1, "{printed}");
    says(&printed, &["(.debug_frame): another entry, which is used, describes it otherwise"]);
}

#[test]
fn an_object_may_have_its_cfi_in_debug_frame() {
    let mut file = ElfFile::object();
    file.symbols.push(("elsewhere", 0, 0, 0, 0));
    let debug = file.add(Section::new(".debug_frame", 0, 0, cfi(false, &[(0, 16), (0, 16), (0, 16), (0, 16)])));
    file.symbols.push((".debug_frame", debug as u16, 0, 0, 3));
    let cie = |index: usize| (fde(index) as u64 + 4, 3, OFFSET, 0);
    let start = |index: usize, symbol, r_type, addend| (fde(index) as u64 + 8, symbol, r_type, addend);
    file.relocate(
        debug,
        &[
            cie(0),
            start(0, 1, ADDRESS, 0),
            cie(1),
            start(1, 1, ADDRESS, 0x20),
            cie(2),
            start(2, 2, ADDRESS, 4),
            cie(3),
            start(3, 1, OTHER, 0),
        ],
    );
    let (status, printed, functions) = encode("object.o", &file.build(), &[]);
    assert_eq!((status, functions), (1, vec![(0, 2), (0x20, 2)]), "{printed}");
    says(
        &printed,
        &[
            "with 2 relocations",
            "FDE at 0x58 of .debug_frame, elsewhere+0x4, 16 bytes: its code is in another file",
            "FDE at 0x78 of .debug_frame, 16 bytes: no relocation that is known says where it begins",
        ],
    );
    let (status, printed, _) = encode("object.o", &file.build(), &["--profile", "kernel"]);
    assert_eq!(status, 2);
    says(&printed, &["--profile kernel is for linked files"]);
}

#[test]
fn nothing_is_written_that_is_not_valid() {
    // Every function is without code: a table of none, which the kernel does not take.
    let file = ElfFile::program().with(".eh_frame", cfi(true, &[(TEXT, 0)])).build();
    assert_eq!(encode("none", &file, &[]).0, 0);
    let (status, printed, _) = encode("none", &file, &["--profile", "kernel"]);
    assert_eq!(status, 2);
    says(&printed, &["the section would not be valid (kernel): there are none: num_fdes", "nothing was written"]);
}

#[test]
fn all_old_sections_are_replaced() {
    let old = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/harness/kunwind/tests/fixtures/sframe/x02_fpframe.v3.sframe"
    ))
    .expect("a fixture");
    let mut file = ElfFile::program();
    for address in [TEXT + 0x1000, TEXT + 0x1100] {
        file.add(Section::new(".sframe", ALLOC, address, old.clone()));
    }
    file.segments.push((object::elf::PT_LOAD.0, 4, TEXT + 0x1000, 0x200, 0x200));
    for _ in 0..2 {
        file.segments.push((object::elf::PT_GNU_SFRAME.0, 4, TEXT + 0x1000, 0x200, 0x200));
    }
    let file = file.with(".eh_frame", cfi(true, &[(TEXT, 16)]));
    let (status, printed, functions) = encode("replace-two", &file.build(), &["--replace"]);
    assert_eq!((status, functions.len()), (0, 1), "{printed}");
    let dump = program(&["dump", text(&path("replace-two.out"))]);
    let dump = String::from_utf8(dump.stdout).expect("text");
    assert!(dump.starts_with(".sframe at 0x4") && !dump.contains("note"), "{dump}");
    assert_eq!(dump.matches(".sframe at ").count(), 1, "{dump}");
    // The segment is compared with the section that lies there.
    let mut two = file.clone();
    two.segments.pop();
    let input = path("two-sections");
    std::fs::write(&input, two.build()).expect("a file");
    let dump = String::from_utf8(program(&["dump", text(&input)]).stdout).expect("text");
    assert_eq!((dump.matches(".sframe at ").count(), dump.matches("PT_GNU_SFRAME has").count()), (2, 1), "{dump}");
    // In an object, a group speaks of its sections by number.
    let mut object = ElfFile::object();
    for _ in 0..2 {
        object.add(Section::new(".sframe", ALLOC, 0, old.clone()));
    }
    let mut group = Section::new(".group", 0, 0, vec![0; 8]);
    group.sh_type = object::elf::SHT_GROUP.0;
    object.add(group);
    let eh = object.add(Section::new(".eh_frame", ALLOC, 0, cfi(true, &[(0, 16)])));
    object.relocate(eh, &[(fde(0) as u64 + 8, 1, ADDRESS, 0)]);
    let (status, printed, _) = encode("replace-two.o", &object.build(), &["--replace"]);
    assert_eq!(status, 2);
    says(&printed, &["several .sframe sections", "`objcopy -R .sframe`"]);
}

#[test]
fn sections_with_code_may_lie_apart() {
    let mut file = ElfFile::program();
    file.add(Section::new(".text.late", CODE, TEXT + 0x2000, vec![0x90; 64]));
    file.segments.push((object::elf::PT_LOAD.0, 5, TEXT + 0x2000, 64, 64));
    let file = file.with(".eh_frame", cfi(true, &[(TEXT + 0x2000, 16), (TEXT, 16), (TEXT + 0x1800, 16)]));
    let (status, printed, functions) = encode("apart", &file.build(), &[]);
    assert_eq!((status, functions), (1, vec![(TEXT, 2), (TEXT + 0x2000, 2)]), "{printed}");
}
