//! Functions of other people's files, called without a scenario: Debian's libc packages for each CPU, where they are installed, and
//! small objects, where there is a clang that can make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use unwind_harness::Error;
use unwind_harness::interrupt::Interrupt;
use unwind_harness::recording::{CallOutcome, Recording, Section};
use unwind_harness::scenario::{Scenario, elf_call};
use unwind_harness::suite::{Options, called, run_all};
use unwind_harness::user::{ElfCall, Kind, Module, prepare};
use unwind_harness::{cpu, rows};

use crate::linux_packages::skip;

/// The libc of a CPU: Debian's libc6-arm64-cross, libc6-riscv64-cross, and libc6 on amd64.
const LIBCS: [(&str, &str); 3] = [
    ("arm64", "/usr/aarch64-linux-gnu/lib/libc.so.6"),
    ("riscv64", "/usr/riscv64-linux-gnu/lib/libc.so.6"),
    ("x86_64", "/lib/x86_64-linux-gnu/libc.so.6"),
];

/// The libcs that are there. A missing one is said aloud.
pub(crate) fn libcs(test: &str) -> impl Iterator<Item = (&'static str, PathBuf)> {
    LIBCS.into_iter().filter_map(move |(cpu, path)| {
        let path = Path::new(path).to_path_buf();
        if !path.exists() {
            skip(test, &format!("{cpu}: there is no {}: `.ci/setup --ci` installs it", path.display()));
        }
        path.exists().then_some((cpu, path))
    })
}

pub(crate) fn call(file: &Path, function: &str, arguments: &[&str]) -> Scenario {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    elf_call(file, function, &arguments, &[]).expect("it is a call")
}

fn outcome(scenario: &Scenario) -> Result<CallOutcome, Error> {
    called(Path::new(""), scenario, &Interrupt::default()).map(|outcome| outcome.expect("it is a call"))
}

/// The walks of a call, which must not be void.
fn walks(scenario: &Scenario) -> Section {
    let options = Options { threads: Some(1), ..Options::default() };
    let (mut recording, _) = run_all(Path::new(""), std::slice::from_ref(scenario), &options).expect("it runs");
    let section = recording.sections.remove(0);
    assert_eq!(section.void, None, "{}", section.scenario);
    assert!(section.failures.is_empty(), "somebody's code breaks no gate: {:?}", section.failures);
    section
}

/// The rows of a call.
fn checked(scenario: &Scenario) -> Recording {
    let report = rows::run_all(Path::new(""), std::slice::from_ref(scenario), &[]).expect("it runs");
    assert!(report.row_failures.is_empty(), "{:?}", report.row_failures);
    report
}

#[test]
fn a_libc_is_read_wherever_it_is_loaded() {
    for (cpu, path) in libcs("a_libc_is_read_wherever_it_is_loaded") {
        let mut module = Module::load(&path).expect("it is an ELF file");
        assert_eq!((module.cpu.name, module.kind, &*module.name), (cpu, Kind::Shared, "libc.so.6"));
        let qsort = |module: &Module| {
            let symbol = module.symbols.iter().find(|symbol| symbol.name == "qsort").expect("it has qsort");
            let exported =
                module.dynamic.symbols.iter().find(|symbol| symbol.name == "qsort").expect("it exports qsort");
            assert_eq!(symbol.address, exported.value);
            assert!(exported.version.as_ref().is_some_and(|version| version.starts_with("GLIBC_2.")), "{exported:?}");
            symbol.address
        };
        let (linked, low) = (qsort(&module), module.extent().0);
        let place = module.dynamic.relocations[0].place;
        module.shift(0x2000_0000).expect("it can be moved");
        assert_eq!(qsort(&module), linked + 0x2000_0000);
        assert_eq!(module.extent().0, low + 0x2000_0000);
        assert_eq!(module.dynamic.relocations[0].place, place + 0x2000_0000);
        assert!(module.tls.is_some() && module.dynamic.needed.iter().any(|name| name.starts_with("ld-linux")));
        assert!(module.shift(1).is_err(), "by whole pages only");
        // Every place that is relocated is loaded.
        let places =
            module.dynamic.relocations.iter().map(|it| it.place).chain(module.dynamic.relative.iter().copied());
        let lost: Vec<u64> = places.filter(|place| module.word(*place).is_none()).collect();
        assert!(lost.is_empty(), "{lost:x?}");
        // Stripped code has names all the same.
        assert!(module.symbols.iter().any(|symbol| symbol.name.starts_with("sub_")), "{cpu}");
        assert!(module.symbols.iter().any(|symbol| symbol.name.ends_with("@plt")), "{cpu}");
    }
}

/// What is returned and stored is what the functions' manuals say, so the files were linked as a dynamic linker links them.
#[test]
fn functions_of_libc_do_what_they_should() {
    /// The function, its arguments, the lower half of its result, and the start of what its first buffer then holds.
    type Case = (&'static str, &'static [&'static str], Option<u32>, &'static str);
    let cases: [Case; 7] = [
        ("qsort", &["u32:5,3,-9,1", "4", "4", "fn:compare-int"], None, "f7ffffff010000000300000005000000"),
        ("snprintf", &["buf:16", "16", "str:%d-%s", "42", "str:ab"], Some(5), "34322d616200"),
        ("memcpy", &["buf:8", "hex:0102030405060708", "8"], None, "0102030405060708"),
        ("strtod", &["str:2.5x", "buf:8"], None, ""),
        ("strcmp", &["str:abc", "str:abc"], Some(0), ""),
        ("strtol", &["str:-77", "0", "10"], Some(-77_i32 as u32), ""),
        ("__isoc99_sscanf", &["str:12", "str:%d", "buf:4"], Some(1), "0c000000"),
    ];
    for (cpu, path) in libcs("functions_of_libc_do_what_they_should") {
        for (function, arguments, result, bytes) in cases {
            let scenario = call(&path, function, arguments);
            let outcome = outcome(&scenario).unwrap_or_else(|error| panic!("{cpu}: {function}: {error}"));
            if let Some(result) = result {
                assert_eq!(outcome.result as u32, result, "{cpu}: {outcome:?}");
            }
            let hex = outcome.changed.first().map_or("", |changed| &changed.hex);
            assert!(hex.starts_with(bytes), "{cpu}: {outcome:?}");
        }
        // An IFUNC is passed by its address, whichever function it stands for.
        let sorted = outcome(&call(&path, "qsort", &["hex:63006200", "2", "2", "sym:strcmp"])).expect("it runs");
        assert_eq!(sorted.changed[0].hex, "62006300", "{cpu}: {sorted:?}");
        // Memory, output and random bytes come from a kernel of ours.
        let written = outcome(&call(&path, "perror", &["str:here"])).expect("it runs");
        assert_eq!(written.error_output, "here: Success\n", "{cpu}: {written:?}");
        let copy = outcome(&call(&path, "strdup", &["str:text"])).expect("it runs");
        assert!(copy.result > 0x7900_0000, "{cpu}: {copy:?}");
        let number = outcome(&call(&path, "strtod", &["str:2.5x", "0"])).expect("it runs");
        assert_eq!(number.float_result.as_deref(), Some("2.5"), "{cpu}: {number:?}");
        let found = outcome(&call(&path, "bsearch", &["u32:5", "u32:1,3,5,9", "4", "4", "fn:compare-int"]));
        let missed = outcome(&call(&path, "bsearch", &["u32:6", "u32:1,3,5,9", "4", "4", "fn:compare-int"]));
        assert!(found.expect("it runs").result != 0 && missed.expect("it runs").result == 0, "{cpu}");
    }
}

/// glibc for amd64 and arm64 describes each instruction; that for riscv64 describes few functions, qsort among them.
#[test]
fn walks_by_the_cfi_of_libc_are_right() {
    for (cpu, path) in libcs("walks_by_the_cfi_of_libc_are_right") {
        let scenario = call(&path, "qsort", &["u32:5,3,9,1", "4", "4", "fn:compare-int"]);
        let section = walks(&scenario);
        let dwarf = section.column("dwarf").expect("it has CFI").counters;
        let frames = section.column("frame-record").expect("it always walks").counters;
        assert!(dwarf.walks == section.points && dwarf.walks > 100, "{cpu}: {dwarf:?}");
        assert_eq!((dwarf.unsound, dwarf.overstated, dwarf.wrong_flagged), (0, 0, 0), "{cpu}");
        // The PLT has no CFI on arm64, and memcpy has none on riscv64.
        let is_right = match cpu {
            "x86_64" => dwarf.exact == dwarf.walks,
            "arm64" => dwarf.walks - dwarf.exact == dwarf.incomplete && dwarf.incomplete == 4,
            _ => dwarf.incomplete > 0 && dwarf.exact > dwarf.walks / 2,
        };
        assert!(is_right, "{cpu}: {dwarf:?}");
        assert!(frames.exact < frames.walks, "{cpu}: not all of it has frame records");
        let report = checked(&scenario);
        let function = report.rows[0].functions.iter().find(|function| function.name == "qsort_r").expect("it ran");
        let table = function.tables.iter().find(|table| table.format == "dwarf").expect("it has CFI");
        assert_eq!((table.cfa.judged, table.wrong.len()), (function.ran, 0), "{cpu}: {function:?}");
        assert!(report.rows[0].functions.iter().all(|function| function.ran > 0), "what did not run is not asked for");
    }
}

#[test]
fn what_a_call_cannot_do_is_said() {
    for (cpu, path) in libcs("what_a_call_cannot_do_is_said") {
        let error = outcome(&call(&path, "fork", &[])).expect_err("it needs a process").to_string();
        assert!(error.contains("clone (system call") && error.contains("--process"), "{cpu}: {error}");
        let number = if cpu == "x86_64" { "call 56" } else { "call 220" };
        assert!(error.contains(number), "{cpu}: {error}");
        let error = outcome(&call(&path, "abort", &[])).expect_err("it sends a signal").to_string();
        assert!(error.contains("tgkill") && error.contains("signal"), "{cpu}: {error}");
        let error = outcome(&call(&path, "qsortt", &[])).expect_err("there is none").to_string();
        assert!(error.contains("no function `qsortt`") && error.contains("; it has "), "{cpu}: {error}");
        let error = outcome(&call(&path, "qsort", &["fn:nothing"])).expect_err("there is none").to_string();
        assert!(error.contains("fn:compare-int"), "{cpu}: {error}");
    }
}

/// A damaged index is found, and a sound one is not called damaged.
#[test]
fn the_index_of_frames_is_held_against_them() {
    for (cpu, path) in libcs("the_index_of_frames_is_held_against_them") {
        let data = std::fs::read(&path).expect("it is there");
        let whole = Module::parse(&path, &data).expect("it is an ELF file");
        let index = whole.eh_frame_hdr.clone().expect("it has an index");
        let at = data.windows(64).position(|bytes| bytes == &index.data[..64]).expect("the file holds it");
        let folder = tempfile::tempdir().expect("a folder");
        let unread = |data: &[u8]| {
            let path = folder.path().join("libc.so.6");
            std::fs::write(&path, data).expect("it is written");
            let arguments =
                ElfCall { file: path, call: "qsort".into(), arguments: vec![], lib: vec![], all_functions: false };
            let program = prepare(Path::new(""), &arguments).expect("it loads").program;
            program.tables.unread().iter().map(|unread| unread.reason.clone()).collect::<Vec<_>>()
        };
        assert!(!unread(&data).iter().any(|reason| reason.contains(".eh_frame_hdr")), "{cpu}: {:?}", unread(&data));
        let mut damaged = data.clone();
        damaged[at + 12 + 8 * 20] ^= 4; // the address of its 21st function
        let found = unread(&damaged);
        assert!(found.iter().any(|reason| reason.contains(".eh_frame_hdr")), "{cpu}: {found:?}");
    }
}

/// Compiles a file for a CPU; `None`, said aloud, if there is no clang.
pub(crate) fn object(folder: &Path, cpu: &str, name: &str, text: &str, options: &[&str]) -> Option<PathBuf> {
    let source = folder.join(name);
    std::fs::write(&source, text).expect("it is written");
    let target = match cpu {
        "arm64" => "aarch64-linux-gnu",
        "riscv64" => "riscv64-linux-gnu",
        _ => "x86_64-linux-gnu",
    };
    let object = source.with_extension(format!("{cpu}.o"));
    let (target, source) = (format!("--target={target}"), source.to_string_lossy().into_owned());
    let (output, march) =
        (object.to_string_lossy().into_owned(), if cpu == "riscv64" { "-march=rv64gc" } else { "-g0" });
    let arguments = [&["-c", &target, march, "-o", &output, &source], options].concat();
    match Command::new("clang-14").args(arguments).status() {
        Ok(status) => {
            assert!(status.success(), "{cpu}: {name} does not compile");
            Some(object)
        }
        Err(error) => {
            skip(name, &format!("{cpu}: clang-14: {error}; `.ci/setup --ci` installs it"));
            None
        }
    }
}

const SOURCE: &str = r#"
extern int elsewhere(int);
extern __thread int there;
static __thread int counter = 40;
static const int table[] = { 1, 2, 3 };
static int (*const pointers[])(int) = { elsewhere };
int sum;
__attribute__((noinline)) static int add(int left, int right) { return left + right + counter; }
int work(int *out, int (*compare)(const void *, const void *)) {
    for (int index = 0; index < 3; index++) sum += table[index];
    counter++;
    out[0] = add(sum, compare(&table[2], &table[0]));
    return sizeof pointers;
}
int lost(int number) { return elsewhere(number) + 1; }
int lost_pointer(int number) { return pointers[0](number) + 1; }
"#;

#[test]
fn objects_are_linked_and_called() {
    let folder = tempfile::tempdir().expect("a folder");
    for cpu in cpu::ALL.map(|cpu| cpu.name) {
        for options in [&["-O1", "-fno-pic"][..], &["-O1", "-fPIC"], &["-O0", "-fPIC", "-ftls-model=initial-exec"]] {
            let options = [options, &["-fasynchronous-unwind-tables", "-fno-builtin"]].concat();
            let Some(object) = object(folder.path(), cpu, "work.c", SOURCE, &options) else { return };
            let scenario = call(&object, "work", &["buf:4", "fn:compare-int"]);
            // General dynamic TLS asks the dynamic loader, which nobody has named: we take its place.
            let outcome = outcome(&scenario).unwrap_or_else(|error| panic!("{cpu} {options:?}: {error}"));
            // 6 + 1 + 41
            assert_eq!((outcome.result, &*outcome.changed[0].hex), (8, "30000000"), "{cpu} {options:?}");
            let dwarf = walks(&scenario).column("dwarf").expect("it has CFI").counters;
            // For the other CPUs, clang 14 does not describe its epilogues, so that its rows are wrong there.
            let least = if cpu == "x86_64" { dwarf.walks } else { dwarf.walks * 4 / 5 };
            let is_sound = dwarf.unsound == 0 || cpu != "x86_64";
            let is_right = dwarf.exact >= least && dwarf.walks > 20 && is_sound;
            assert!(is_right, "{cpu} {options:?}: {dwarf:?}");
            for function in ["lost", "lost_pointer"] {
                let error = self::outcome(&call(&object, function, &["1"])).expect_err("it calls what is not there");
                let text = error.to_string();
                // What is far away is reached by a stub.
                let place = [function, "elsewhere@stub"].iter().any(|place| text.contains(place));
                assert!(text.contains("`elsewhere`") && place, "{cpu} {options:?}: {text}");
            }
        }
    }
}

/// A function whose CFI forgets that something was pushed.
const WRONG: [(&str, &str); 3] = [
    ("arm64", "stp x29, x30, [sp, #-16]!\n nop\n ldp x29, x30, [sp], #16\n ret\n"),
    ("riscv64", "addi sp, sp, -16\n nop\n addi sp, sp, 16\n ret\n"),
    ("x86_64", "push %rbp\n nop\n pop %rbp\n ret\n"),
];

#[test]
fn a_wrong_row_of_an_object_is_found_at_its_instruction() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, body) in WRONG {
        let text = format!(
            ".globl wrong\n.type wrong, %function\nwrong:\n.cfi_startproc\n{body}.cfi_endproc\n.size wrong, .-wrong\n"
        );
        let Some(object) =
            object(folder.path(), cpu, "wrong.s", &text, &["-mno-relax"][..usize::from(cpu == "riscv64")])
        else {
            return;
        };
        let report = checked(&call(&object, "wrong", &[]));
        let function = report.rows[0].functions.iter().find(|function| function.name == "wrong").expect("it ran");
        let table = function.tables.iter().find(|table| table.format == "dwarf").expect("it has CFI");
        let offsets: Vec<u64> = table.wrong.iter().map(|wrong| wrong.offset).collect();
        let first = if cpu == "x86_64" {
            1
        } else if cpu == "riscv64" {
            2
        } else {
            4
        };
        assert!(offsets.contains(&first) && !offsets.contains(&0), "{cpu}: {table:?}");
        // No gate is broken, and nothing says that all is right.
        let mut printed = Vec::new();
        unwind_harness::report::rows::write(&report, &mut printed).expect("memory can be written");
        let printed = String::from_utf8(printed).expect("text");
        assert!(printed.contains("functions with wrong rows 1,"), "{cpu}: {printed}");
        assert!(!printed.contains("all that was judged is right"), "{cpu}: {printed}");
    }
}

/// With all functions, those that did not run are listed, and are not called right.
#[test]
fn functions_that_did_not_run_are_not_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    for cpu in cpu::ALL.map(|cpu| cpu.name) {
        let options = ["-O1", "-fasynchronous-unwind-tables"];
        let Some(object) = object(folder.path(), cpu, "all.c", SOURCE, &options) else { return };
        let mut scenario = call(&object, "work", &["buf:4", "fn:compare-int"]);
        scenario.text.elf.as_mut().expect("it is a call").all_functions = true;
        let report = checked(&scenario);
        let lost = report.rows[0].functions.iter().find(|function| function.name == "lost").expect("it is listed");
        let table = &lost.tables[0];
        assert!(lost.ran == 0 && table.covered == lost.instructions && table.cfa.judged == 0, "{cpu}: {lost:?}");
    }
}

const NUMBERS: &str = r#"
static int prepared = 40;
__attribute__((constructor)) static void prepare(int count, char **arguments, char **environment) {
    prepared += 1 + count + (arguments[0] != 0) + (environment[0] != 0);
}
extern int elsewhere(void);
__attribute__((constructor)) static void fails(void) { prepared = 7; elsewhere(); }
double scaled(int count, double first, float second, long last) { return first * count + second + last + prepared; }
float half(float number) { return number / 2; }
"#;

/// Floating-point numbers have registers of their own, and constructors run first.
#[test]
fn numbers_are_passed_and_constructors_run() {
    let folder = tempfile::tempdir().expect("a folder");
    for cpu in cpu::ALL.map(|cpu| cpu.name) {
        let Some(object) = object(folder.path(), cpu, "numbers.c", NUMBERS, &["-O1", "-fPIC"]) else { return };
        let found = outcome(&call(&object, "scaled", &["2", "f64:1.25", "f32:0.5", "-1"])).expect("it runs");
        // 2.5 + 0.5 - 1 + 41
        assert_eq!(found.float_result.as_deref(), Some("43.0"), "{cpu}: {found:?}");
        assert_eq!((found.constructors, found.constructors_not_run.len()), (1, 1), "{cpu}: {found:?}");
        let failed = &found.constructors_not_run[0];
        assert!(failed.starts_with("fails of numbers.") && failed.contains("`elsewhere`"), "{cpu}: {failed}");
        let half = outcome(&call(&object, "half", &["f32:3"])).expect("it runs");
        assert_eq!(half.float_result.as_deref(), Some("1.5f"), "{cpu}: {half:?}");
        let too_many = vec!["f64:1"; 9];
        let error = outcome(&call(&object, "half", &too_many)).expect_err("there is no room").to_string();
        assert!(error.contains("8 floating-point arguments"), "{cpu}: {error}");
    }
}

/// Without a call nothing of the file runs, and every function is listed with what is known of its rows.
#[test]
fn a_file_can_be_looked_at_without_a_call() {
    let folder = tempfile::tempdir().expect("a folder");
    for cpu in cpu::ALL.map(|cpu| cpu.name) {
        let options = ["-O1", "-fasynchronous-unwind-tables"];
        let Some(object) = object(folder.path(), cpu, "idle.c", SOURCE, &options) else { return };
        let program = env!("CARGO_BIN_EXE_unwind-harness");
        let done = Command::new(program).args(["check", "--all-functions", "--elf"]).arg(&object).output();
        let done = done.expect("it runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(0), "{cpu}: {text}{}", String::from_utf8_lossy(&done.stderr));
        let said = "dwarf: 4 functions did not run, and their rows were not judged: 0 have no data, 0 have rows that cannot be read";
        assert!(text.contains(said), "{cpu}: {text}");
        // A function of ours ran instead. It is no success.
        assert!(text.contains("the CFA is right at 0 of 0 judged") && !text.contains("harness_"), "{cpu}: {text}");
        assert!(text.contains("nothing of this ran: 0 instructions judged"), "{cpu}: {text}");
    }
}
