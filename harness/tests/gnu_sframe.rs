//! SFrame as the current GNU assembler and linker make it (`.ci/binutils` fetches them; Debian 12 has older ones): of an object, of
//! objects that were linked, with sections merged, unused functions removed and instructions relaxed. It is judged by running the
//! code, and must say what the CFI beside it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use unwind_harness::recording::rows::{Agreement, FunctionRows, GuestRows};
use unwind_harness::rows;

use crate::linux_packages::skip;
use crate::user_call::call;

/// What calls, and what it calls: two files, so that the linker has sections to merge. Of the functions that nobody calls, it
/// removes one from the middle of each.
const CALLS: &str = r#"
int leaf(int number);
int sum(int count, ...);
extern int shared;
int table[2] = { 2, 1 };
__attribute__((visibility("hidden"))) int unused_here(int number) { return leaf(number) - leaf(shared); }
__attribute__((noinline)) int deep(int count) { return count ? deep(count - 1) + leaf(count) : sum(3, 1, 2, 3); }
int work(int count, int (*compare)(const void *, const void *)) {
    volatile int room[count + 4];
    for (int index = 0; index < count; index++) room[index] = leaf(index);
    return deep(count) + room[count - 1] + shared + compare(&table[0], &table[1]);
}
"#;
const CALLED: &str = r#"
#include <stdarg.h>
int shared = 7;
int leaf(int number) { return number * 3 + 1; }
__attribute__((visibility("hidden"))) int unused_there(int number) { return leaf(number) + shared; }
int sum(int count, ...) {
    va_list list;
    va_start(list, count);
    int all = 0;
    while (count--) all += va_arg(list, int);
    va_end(list);
    return all;
}
"#;

/// The CPUs for which the assembler makes SFrame, as GNU tools name them, and their compilers.
const CPUS: [(&str, &str, &str); 2] =
    [("x86_64", "x86_64-linux-gnu", "gcc"), ("arm64", "aarch64-linux-gnu", "aarch64-linux-gnu-gcc")];

fn run(command: &str, arguments: &[&str]) {
    let done = Command::new(command).args(arguments).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(done.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The tools for a CPU, if they were fetched and there is a compiler.
fn tools(test: &str, target: &str, compiler: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/binutils");
    let bin = folder.join("bin");
    if !bin.join(format!("{target}-as")).exists() {
        let reason = std::fs::read_to_string(folder.join("unreachable"));
        let reason = reason.as_deref().map_or("`.ci/binutils` fetches them", str::trim);
        skip(test, &format!("no binutils in target/binutils: {reason}"));
        return None;
    }
    if let Err(error) = Command::new(compiler).arg("--version").output() {
        skip(test, &format!("{compiler}: {error}; `.ci/setup --ci` installs it"));
        return None;
    }
    Some(bin)
}

/// Compiles to assembly with the installed compiler, and assembles that with the new assembler.
fn assembled(folder: &Path, bin: &Path, (target, compiler): (&str, &str), (name, text): (&str, &str)) -> PathBuf {
    let [source, assembly, object] = ["c", "s", "o"].map(|kind| folder.join(format!("{name}.{kind}")));
    std::fs::write(&source, text).expect("it is written");
    let options = ["-O1", "-fPIC", "-fno-plt", "-ffunction-sections", "-fno-stack-protector", "-S", "-o"];
    let (from, to) = (assembly.to_string_lossy(), object.to_string_lossy());
    run(compiler, &[&options[..], &[&*from, "-fasynchronous-unwind-tables", &source.to_string_lossy()]].concat());
    run(&bin.join(format!("{target}-as")).to_string_lossy(), &["--gsframe", "-o", &to, &from]);
    object
}

/// The rows of all functions of a file whose function `work` is called.
fn checked(file: &Path, cpu: &str) -> GuestRows {
    let mut scenario = call(file, "work", &["4", "fn:compare-int"]);
    scenario.text.elf.as_mut().expect("it is a call").all_functions = true;
    let mut report = rows::run_all(Path::new(""), &[scenario], &[]).expect("it runs");
    let rows = report.rows.remove(0);
    assert_eq!((&rows.void, rows.unread.len()), (&None, 0), "{cpu}: {:?}", rows.unread);
    assert!(rows.bytes.sframe > 0, "{cpu}: {} has SFrame of its own", file.display());
    rows
}

fn names(rows: &GuestRows) -> Vec<&str> {
    let theirs = rows.functions.iter().filter(|function| !function.is_ours() && !function.name.contains("plt"));
    theirs.map(|function| &*function.name).collect()
}

/// SFrame covers what the CFI covers, says the same, and is right wherever the function ran.
fn require_right(rows: &GuestRows, cpu: &str) {
    for function in rows.functions.iter().filter(|function| !function.is_ours()) {
        let FunctionRows { name, ran, instructions, tables, agreement, .. } = function;
        let [sframe, dwarf] = ["sframe", "dwarf"].map(|format| {
            tables.iter().find(|table| table.format == format).unwrap_or_else(|| panic!("{cpu}: {name}: no {format}"))
        });
        if name.contains("plt") {
            // What the linker itself has written.
            assert!(sframe.wrong.is_empty() && dwarf.wrong.is_empty(), "{cpu}: {name}");
            continue;
        }
        assert_eq!((sframe.covered, dwarf.covered), (*instructions, *instructions), "{cpu}: {name}");
        assert_eq!(*agreement, Agreement::Same, "{cpu}: {name}");
        assert_eq!((sframe.cfa.judged, sframe.ra.judged), (*ran, *ran), "{cpu}: {name}");
        assert!(sframe.wrong.is_empty() && sframe.unjudged.is_empty(), "{cpu}: {name}: {sframe:?}");
    }
}

#[test]
fn what_the_gnu_assembler_and_linker_make_is_right() {
    let test = "what_the_gnu_assembler_and_linker_make_is_right";
    for (cpu, target, compiler) in CPUS {
        let Some(bin) = tools(test, target, compiler) else { continue };
        let folder = tempfile::tempdir().expect("a folder");
        let objects = [("calls", CALLS), ("called", CALLED)];
        let objects = objects.map(|source| assembled(folder.path(), &bin, (target, compiler), source));
        let [calls, called] = objects.each_ref().map(|object| object.to_string_lossy());
        let linked = |name: &str, options: &[&str]| {
            let file = folder.path().join(name);
            let ld = bin.join(format!("{target}-ld"));
            run(&ld.to_string_lossy(), &[options, &["-o", &file.to_string_lossy(), &calls, &called]].concat());
            file
        };
        // One object whose sections were merged, and none removed.
        let merged = checked(&linked("merged.o", &["-r"]), cpu);
        require_right(&merged, cpu);
        for name in ["unused_here", "unused_there", "work", "leaf"] {
            assert!(names(&merged).contains(&name), "{cpu}: {name} of {:?}", names(&merged));
        }
        // Linked, with what nobody calls removed and calls through the global offset table relaxed.
        let shared = checked(&linked("libwork.so", &["-shared", "-Bsymbolic", "--gc-sections"]), cpu);
        let program = checked(&linked("work", &["-pie", "--gc-sections", "--entry=work", "--export-dynamic"]), cpu);
        for rows in [&shared, &program] {
            require_right(rows, cpu);
            let mut names = names(rows);
            names.sort_unstable();
            assert_eq!(names, ["deep", "leaf", "sum", "work"], "{cpu}");
            assert!(rows.bytes.sframe < merged.bytes.sframe, "{cpu}: what was removed costs nothing");
            assert!(rows.side_by_side.instructions > 80 && rows.side_by_side.differ == 0, "{cpu}");
        }
        if cpu == "x86_64" {
            // `call *leaf@GOTPCREL(%rip)` has become `addr32 call leaf` (x86-64 psABI, B.2).
            let relaxed = |name: &str| {
                let bytes = std::fs::read(folder.path().join(name)).expect("it was linked");
                bytes.windows(2).filter(|bytes| *bytes == [0x67, 0xe8]).count()
            };
            assert_eq!(relaxed("merged.o"), 0);
            assert!(["libwork.so", "work"].into_iter().all(|name| relaxed(name) >= 3), "calls are relaxed");
        }
        // In a shared object, others may take the place of its functions: it calls them through a table, by code that the linker
        // writes. Of that, it makes SFrame on x86-64 alone (and not with --gc-sections: docs/findings-real.md).
        let open = checked(&linked("libopen.so", &["-shared", "-z", "lazy"]), cpu);
        require_right(&open, cpu);
        for function in open.functions.iter().filter(|function| function.name.ends_with("@plt") && function.ran > 0) {
            let sframe = function.tables.iter().find(|table| table.format == "sframe").expect("it has SFrame");
            assert_eq!(sframe.ra.right == function.ran, cpu == "x86_64", "{cpu}: {function:?}");
        }
    }
}

/// The assembler's sections have rows that the code refutes, if the CFI has: they are read, and not made anew by us.
#[test]
fn a_wrong_row_of_the_gnu_assembler_is_found() {
    let test = "a_wrong_row_of_the_gnu_assembler_is_found";
    let Some(bin) = tools(test, "x86_64-linux-gnu", "gcc") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let [source, object] = ["wrong.s", "wrong.o"].map(|name| folder.path().join(name));
    let text = ".globl work\n.type work, @function\nwork: .cfi_startproc\npush %rbp\n.cfi_adjust_cfa_offset 16\nnop\npop %rbp\n\
                .cfi_adjust_cfa_offset -16\nret\n.cfi_endproc\n.size work, .-work\n";
    std::fs::write(&source, text).expect("it is written");
    let arguments = ["--gsframe", "-o", &object.to_string_lossy(), &source.to_string_lossy()];
    run(&bin.join("x86_64-linux-gnu-as").to_string_lossy(), &arguments);
    let rows = checked(&object, "x86_64");
    let work = rows.functions.iter().find(|function| function.name == "work").expect("it ran");
    let sframe = work.tables.iter().find(|table| table.format == "sframe").expect("it has SFrame");
    let mut offsets: Vec<u64> = sframe.wrong.iter().map(|wrong| wrong.offset).collect();
    offsets.dedup();
    assert_eq!(offsets, [1, 2], "{sframe:?}");
}

/// The functions of a file's SFrame, by start and size, with their rows. A row that repeats the one before it is none.
fn functions(file: &Path) -> BTreeMap<(u64, u64), Vec<String>> {
    let arguments = ["sframe", "dump", "--json"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_unwind-harness")).args(arguments).arg(file).output().expect("it starts");
    let Ok(document) = serde_json::from_slice::<Value>(&output.stdout) else { return BTreeMap::new() };
    let mut functions: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for function in document["functions"].as_array().expect("functions") {
        let number = |key: &str| function[key].as_u64().expect("a number");
        let mut rows: Vec<(Value, Value)> = Vec::new();
        for row in function["rows"].as_array().expect("rows") {
            let mut says = row.clone();
            let start = says["start"].take();
            if rows.last().is_none_or(|(_, last)| *last != says) {
                rows.push((start, says));
            }
        }
        let says = format!("{} {} {rows:?}", function["signal"], function["fde_type"]);
        functions.entry((number("start"), number("size"))).or_default().push(says);
    }
    functions.values_mut().for_each(|says| says.sort());
    functions
}

/// Guests that are not compared, and why.
const LEFT_OUT: [(&str, &str); 6] = [
    ("arm64/museum_local_on_lr_slot", "GNU as does not take its operands"),
    ("x86_64/bpf_trampoline", "GNU as refuses its CFI outside of a procedure"),
    ("x86_64/rethook", "GNU as does not take its macros"),
    ("x86_64/rethook_fgraph", "GNU as does not take its macros"),
    ("x86_64/no_fde", "its section is written by hand"),
    ("x86_64/plt_stub", "its section is written by hand"),
];

/// What docs/findings.md says: of the guests in assembly, GNU as makes the rows that walks get, or none.
#[test]
fn the_gnu_assembler_makes_of_the_guests_what_we_make() {
    let test = "the_gnu_assembler_makes_of_the_guests_what_we_make";
    for (cpu, target, compiler) in CPUS {
        let Some(bin) = tools(test, target, compiler) else { continue };
        let folder = tempfile::tempdir().expect("a folder");
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
        let mut same = 0;
        for entry in std::fs::read_dir(guests.join(cpu)).expect("the folder is there") {
            let source = entry.expect("an entry").path();
            let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_left_out = LEFT_OUT.iter().any(|(guest, _)| *guest == format!("{cpu}/{name}"));
            if source.extension().is_none_or(|it| it != "S") || is_left_out {
                continue;
            }
            let [assembly, theirs, ours] =
                ["s", "o", "ours.o"].map(|kind| folder.path().join(format!("{name}.{kind}")));
            let includes = [guests.clone(), guests.join(cpu).join("include"), guests.join(cpu)];
            let includes: Vec<String> = includes.iter().map(|it| format!("-I{}", it.display())).collect();
            let includes: Vec<&str> = includes.iter().map(String::as_str).collect();
            let paths = [&source, &assembly, &theirs, &ours].map(|path| path.to_string_lossy());
            let [source, assembly_path, theirs_path, ours_path] = paths.each_ref().map(|path| &**path);
            run(compiler, &[&["-E", "-o", assembly_path][..], &includes, &[source]].concat());
            let as_command = bin.join(format!("{target}-as"));
            let arguments = [&["--gsframe"][..], &includes, &["-o", theirs_path, assembly_path]].concat();
            let assembled = Command::new(as_command).args(arguments).output().expect("it starts");
            let said = String::from_utf8_lossy(&assembled.stderr);
            assert!(assembled.status.success(), "{cpu}/{name}: {said}");
            let encode = ["sframe", "encode", "--replace", theirs_path, "-o", ours_path];
            let _ = Command::new(env!("CARGO_BIN_EXE_unwind-harness")).args(encode).output().expect("it starts");
            let (theirs, ours) = (functions(&theirs), functions(&ours));
            for (at, says) in &theirs {
                assert!(ours.get(at) == Some(says), "{cpu}/{name} at {at:x?}: other rows");
                same += says.len();
            }
            // What only we have, the assembler has refused, and says so.
            let refused = said.matches("no SFrame FDE emitted").count();
            assert!(ours.len() <= theirs.len() + refused, "{cpu}/{name}: {} {} {said}", ours.len(), theirs.len());
        }
        assert!(same > 1000, "{cpu}: {same}");
    }
}
