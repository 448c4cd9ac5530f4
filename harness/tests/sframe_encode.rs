//! `sframe encode` as a user meets it: the copy, what it leaves alone, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kunwind::Entry;
use kunwind::dwarf::{Cfi, CfiSection, Columns, Storage};
use kunwind::sframe::{SFrameAbi, SFrameSection};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, elf};

use super::elf_file::{ElfFile, TEXT};

type File<'a> = ElfFile64<'a, Endianness>;

/// The header of a file, the only part of it that may change.
const FILE_HEADER: usize = 64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("harness/kunwind/tests/fixtures/sframe/elf").join(name)
}

pub(crate) fn program(arguments: &[&str]) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_unwind-harness")).arg("sframe").args(arguments).output();
    program.expect("the program starts")
}

/// A path to which nothing was written yet.
fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("encode-{name}"));
    let _ = std::fs::remove_file(&path);
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Encodes a file to a fresh path, and gives what was printed and the copy.
#[track_caller]
fn encode(input: &Path, name: &str, more: &[&str]) -> (String, Vec<u8>) {
    let output = fresh(name);
    let before = std::fs::read(input).expect("the input");
    let ran = program(&[&["encode", text(input), "-o", text(&output)], more].concat());
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(std::fs::read(input).expect("the input") == before, "{}: the input has changed", input.display());
    let copy = std::fs::read(&output).expect("the copy");
    assert!(copy[FILE_HEADER..before.len()] == before[FILE_HEADER..], "{}: a byte has moved", input.display());
    for profile in if more.is_empty() { ["spec", "kernel"] } else { ["spec", "spec"] } {
        let ran = program(&["validate", "--profile", profile, text(&output)]);
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stdout));
    }
    (String::from_utf8(ran.stdout).expect("text"), copy)
}

/// Fails, says all of this, and leaves no copy.
#[track_caller]
fn refused(input: &Path, name: &str, says: &[&str]) {
    let output = fresh(name);
    let ran = program(&["encode", text(input), "-o", text(&output)]);
    let error = String::from_utf8(ran.stderr).expect("text");
    assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{error}");
    for part in says {
        assert!(error.contains(part), "should say {part:?}: {error}");
    }
    assert!(!output.exists());
}

/// That each pc of a function has the row of the CFI, and how many there are.
fn compare(input: &[u8], copy: &[u8], abi: SFrameAbi) -> usize {
    let (input, copy) = (File::parse(input).expect("an ELF file"), File::parse(copy).expect("an ELF file"));
    let table = copy.section_by_name(".sframe").expect(".sframe");
    let section = SFrameSection::parse(table.data().expect("its bytes"), table.address()).expect("a section");
    let (name, kind) = match input.section_by_name(".eh_frame") {
        Some(_) => (".eh_frame", CfiSection::EhFrame),
        None => (".debug_frame", CfiSection::DebugFrame),
    };
    let cfi = input.section_by_name(name).expect(name);
    let bytes = cfi.data().expect("its bytes");
    let cfi = Cfi { section: kind, bytes, readable: bytes, address: cfi.address(), columns: Columns::from(abi) };
    let mut storage = Storage::new();
    let mut compared = 0;
    for function in cfi.functions() {
        let function = function.expect("it can be read");
        for pc in function.start..function.start + function.size {
            let row = cfi.lookup(pc, &mut storage).expect("it can be run").expect("the function");
            let expected = row.entry.expect("a row");
            assert_eq!(section.lookup(pc).expect("it is sound"), Some(expected), "{pc:#x}");
            compared += usize::from(matches!(expected, Entry::Row(_)));
        }
    }
    compared
}

/// The section is loaded, by one segment that touches no other.
fn check_segments(copy: &[u8]) {
    let file = File::parse(copy).expect("an ELF file");
    let endian = file.endian();
    let table = file.section_by_name(".sframe").expect(".sframe");
    assert_eq!(table.address() % 8, 0);
    let range = |segment: &elf::ProgramHeader64<Endianness>| {
        segment.p_vaddr(endian)..segment.p_vaddr(endian) + segment.p_memsz(endian)
    };
    let segments = file.elf_program_headers();
    let loads: Vec<_> = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).collect();
    let end = table.address() + table.size();
    let holders: Vec<_> = loads.iter().filter(|load| range(load).contains(&table.address())).collect();
    let [holder] = holders[..] else { panic!("{} segments hold the section", holders.len()) };
    assert!(range(holder).end >= end);
    assert_eq!(holder.p_offset(endian) % holder.p_align(endian), holder.p_vaddr(endian) % holder.p_align(endian));
    let place = table.file_range().expect("its place").0;
    assert_eq!(place - holder.p_offset(endian), table.address() - holder.p_vaddr(endian));
    assert!(loads.is_sorted_by(|one, other| range(one).end <= range(other).start), "in order, and apart");
    let marked = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_SFRAME);
    assert_eq!(marked.map(range), Some(table.address()..end));
}

#[test]
fn a_linked_file_gets_the_rows_of_its_cfi() {
    for (cpu, abi) in [("x86_64", SFrameAbi::Amd64), ("arm64", SFrameAbi::Aarch64Le)] {
        for guest in ["leaf", "tail_call"] {
            let input = root().join(format!("guests/{cpu}/{guest}.elf"));
            let (printed, copy) = encode(&input, &format!("{cpu}-{guest}"), &[]);
            assert!(printed.contains(&format!("({})", abi.name())), "{printed}");
            assert!(!printed.contains("without rows"), "{printed}");
            check_segments(&copy);
            let compared = compare(&std::fs::read(&input).expect("the guest"), &copy, abi);
            assert!(compared > 20, "{cpu}/{guest}: {compared}");
        }
    }
}

#[test]
fn a_section_is_replaced_only_when_asked() {
    let input = fixture("xl_pie.v3.exe");
    refused(&input, "not-replaced", &["has a .sframe section", "--replace"]);
    let ran = program(&["encode", text(&input), "-o", text(&fresh("incomplete")), "--replace"]);
    assert_eq!(ran.status.code(), Some(1), "a function is left out");
    let (printed, copy) = encode(&input, "replaced", &["--replace", "--allow-refused"]);
    assert!(printed.contains("1 without rows"), "{printed}");
    assert!(printed.contains("at +0x10: the CFA is an expression"), "{printed}");
    check_segments(&copy);
    let file = File::parse(&*copy).expect("an ELF file");
    assert_eq!(file.sections().filter(|section| section.name() == Ok(".sframe")).count(), 1);
    let endian = file.endian();
    let marks = file.elf_program_headers().iter().filter(|segment| segment.p_type(endian) == elf::PT_GNU_SFRAME);
    assert_eq!(marks.count(), 1);
}

/// The program headers lie where Linux before 5.18 computes AT_PHDR: the distance of the first segment from its place in the
/// file, plus their own place. qemu before 8.0 takes the smallest distance of all segments.
#[track_caller]
fn finds_program_headers(copy: &[u8]) -> u64 {
    let file = File::parse(copy).expect("an ELF file");
    let endian = file.endian();
    let segments = file.elf_program_headers().iter();
    let loads: Vec<_> = segments.filter(|segment| segment.p_type(endian) == elf::PT_LOAD).collect();
    let distance = |load: &elf::ProgramHeader64<Endianness>| load.p_vaddr(endian) as i64 - load.p_offset(endian) as i64;
    let first = distance(loads[0]);
    assert_eq!(loads.iter().map(|load| distance(load)).min(), Some(first));
    let place = file.elf_header().e_phoff.get(endian);
    let at = (first + place as i64) as u64;
    let size = 56 * file.elf_program_headers().len() as u64;
    let holds = |load: &&&elf::ProgramHeader64<Endianness>| {
        let (start, end) = (load.p_vaddr(endian), load.p_vaddr(endian) + load.p_filesz(endian));
        start <= at && at + size <= end && load.p_offset(endian) + (at - start) == place
    };
    assert_eq!(loads.iter().filter(holds).count(), 1, "{place:#x} is not loaded at {at:#x}");
    place
}

#[test]
fn old_loaders_find_the_program_headers() {
    let cfi = || super::elf_file::cfi(true, &[(TEXT, 16)]);
    // The file is longer than what is loaded of it.
    let mut file = ElfFile::program().with(".eh_frame", cfi());
    file.extra = 100_000;
    let path = fresh("long-input");
    std::fs::write(&path, file.build()).expect("a file");
    let (printed, copy) = encode(&path, "long", &[]);
    check_segments(&copy);
    assert!(finds_program_headers(&copy) < 200_000 && !printed.contains("hole"), "{printed}");
    // What is loaded is longer than the file.
    let mut file = ElfFile::program().with(".eh_frame", cfi());
    file.segments.push((elf::PT_LOAD.0, 6, TEXT + 0x1000, 0, 40_000_000));
    let path = fresh("bss-input");
    std::fs::write(&path, file.build()).expect("a file");
    let (printed, copy) = encode(&path, "bss", &[]);
    check_segments(&copy);
    assert!(finds_program_headers(&copy) > 40_000_000, "{printed}");
    assert!(printed.contains("note: there is a hole of 0x26"), "{printed}");
    // More than any file should have.
    file.segments.push((elf::PT_LOAD.0, 6, 0x1000_0000, 0, 1 << 36));
    let path = fresh("huge-bss-input");
    std::fs::write(&path, file.build()).expect("a file");
    let (printed, copy) = encode(&path, "huge-bss", &[]);
    check_segments(&copy);
    assert!(copy.len() < 100_000 && printed.contains("warning: Linux before 5.18"), "{printed}");
}

#[cfg(unix)]
#[test]
fn a_copy_does_not_run_as_somebody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    for (mode, kept) in [(0o4755, 0o755), (0o2711, 0o711), (0o6750, 0o750), (0o750, 0o750)] {
        let path = fresh("set-id-input");
        std::fs::write(&path, ElfFile::program().with(".eh_frame", super::elf_file::cfi(true, &[(TEXT, 16)])).build())
            .expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its owner may");
        let (printed, _) = encode(&path, "set-id", &[]);
        let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("encode-set-id");
        let found = std::fs::metadata(output).expect("the copy").permissions().mode() & 0o7777;
        assert_eq!(found, kept, "{mode:o}");
        assert_eq!(printed.contains("warning: the copy is not set-user-ID"), mode & 0o6000 != 0, "{printed}");
    }
}

#[test]
fn an_object_file_gets_what_the_assembler_would_write() {
    for name in ["x06_multi.v3.o", "a02_fpframe.v3.o", "a06_pauth_b.v3.o", "be_a02_fpframe.v3.o"] {
        let input = fixture(name);
        let (_, copy) = encode(&input, name, &["--replace"]);
        let before = std::fs::read(&input).expect("the object");
        let (before, after) = (File::parse(&*before).expect("an object"), File::parse(&*copy).expect("an object"));
        let table = |file: &File<'_>| {
            let section = file.section_by_name(".sframe").expect(".sframe");
            let relocations: Vec<_> = section
                .relocations()
                .map(|(offset, relocation)| (offset, relocation.flags(), relocation.target(), relocation.addend()))
                .collect();
            (section.data().expect("its bytes").to_vec(), relocations)
        };
        assert!(!table(&before).1.is_empty());
        assert_eq!(table(&before), table(&after), "{name}");
    }
}

#[test]
fn a_file_that_exists_is_not_overwritten() {
    let output = fresh("exists");
    std::fs::write(&output, "mine").expect("a file");
    let input = root().join("guests/arm64/leaf.elf");
    let ran = program(&["encode", text(&input), "-o", text(&output)]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("overwrites nothing"));
    assert_eq!(std::fs::read(&output).expect("the file"), b"mine");
    let ran = program(&["encode", text(&output), "-o", text(&output)]);
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn what_cannot_be_encoded_is_refused_with_advice() {
    refused(&root().join("guests/riscv64/leaf.elf"), "riscv", &["SFrame has no ABI", "Riscv64"]);
    refused(&fixture("x26_nofunc.v3.o"), "no-cfi", &["no CFI", ".cfi_startproc"]);
    refused(&root().join("README.md"), "text", &["not an ELF file"]);
    refused(&root().join("no-such-file"), "missing", &["no-such-file"]);
    let whole = std::fs::read(root().join("guests/arm64/leaf.elf")).expect("the guest");
    for length in [3, 40, 1000, whole.len() / 2, whole.len() - 1] {
        let input = fresh("truncated-input");
        std::fs::write(&input, &whole[..length]).expect("a file");
        refused(&input, "truncated", &["ELF"]);
    }
}
