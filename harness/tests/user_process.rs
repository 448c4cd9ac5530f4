//! Programs as processes: compiled here, where there is a compiler, and run on each CPU for which there is a C library.

use std::path::{Path, PathBuf};
use std::process::Command;

use unwind_harness::Error;
use unwind_harness::oracle::Witnesses;
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Asked, Interruption, Scenario, Variant, process};
use unwind_harness::suite::{Job, subjects};
use unwind_harness::user::process::{Files, Launch};
use unwind_harness::verdict::Verdict;

use crate::linux_packages::skip;

/// A compiler, and the folder with the libraries that its programs need.
pub(crate) const TOOLS: [(&str, &str, &str); 3] = [
    ("x86_64", "gcc", "/"),
    ("arm64", "aarch64-linux-gnu-gcc", "/usr/aarch64-linux-gnu"),
    ("riscv64", "riscv64-linux-gnu-gcc", "/usr/riscv64-linux-gnu"),
];

/// setjmp and longjmp, a signal that it sends itself, a callback of qsort, a thread.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static jmp_buf place;
static volatile int hits;
static void handler(int number) { hits += number; }
static void *thread(void *argument) { (*(int *)argument)++; return argument; }
static void deep(int n) { if (n == 0) longjmp(place, 7); deep(n - 1); hits++; }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(int argc, char **argv) {
    int count = argc, v[] = {5, 3, 9, 1}; pthread_t id;
    signal(SIGUSR1, handler);
    if (setjmp(place) == 0) deep(3); else hits++;
    raise(SIGUSR1);
    qsort(v, 4, sizeof v[0], compare);
    pthread_create(&id, 0, thread, &count);
    pthread_join(id, 0);
    printf("%d %d %d\n", count, hits, v[0]);
    return count;
}
"#;

/// Compiles a program, or says loudly why not.
pub(crate) fn compile(folder: &Path, compiler: &str, name: &str, source: &str, options: &[&str]) -> Option<PathBuf> {
    let (text, file) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&text, source).expect("the source can be written");
    let made = Command::new(compiler).args(["-O1", "-o"]).arg(&file).arg(&text).args(options).output();
    match made {
        Ok(made) if made.status.success() => Some(file),
        Ok(made) => panic!("{compiler}: {}", String::from_utf8_lossy(&made.stderr)),
        Err(error) => {
            skip(name, &format!("{compiler}: {error}; `.ci/setup --ci` installs it"));
            None
        }
    }
}

pub(crate) fn launch(file: &Path, sysroot: &str) -> Launch {
    Launch::open(file, Some(PathBuf::from(sysroot))).expect("it is a program")
}

pub(crate) fn judge(scenario: &Scenario) -> Section {
    let job = Job { root: Path::new(""), scenario, variant: &Variant::default(), kind: Interruption::Probe };
    job.run_with(&subjects(scenario.cpu, &["dwarf".to_owned()]), Witnesses::default()).expect("it is judged")
}

/// The verdicts of all points in a function.
pub(crate) fn verdicts(section: &Section, function: &str) -> Vec<Verdict> {
    let of = section.functions.iter().filter(|listed| listed.name == function);
    let runs = of.flat_map(|listed| &listed.instructions).flat_map(|instruction| instruction.runs.iter().flatten());
    runs.map(|run| run.verdict).collect()
}

pub(crate) fn printed(scenario: &Scenario) -> String {
    let process = scenario.process().expect("it is a process");
    String::from_utf8_lossy(&process.shown.kernel.output()[0].bytes).into_owned()
}

#[test]
fn a_program_runs_to_its_end_on_every_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let Some(file) = compile(folder.path(), compiler, cpu, PROGRAM, &["-pthread"]) else { continue };
        let mut launch = launch(&file, sysroot);
        launch.arguments = vec!["one".to_owned(), "two".to_owned()];
        let scenario = process(launch, &Asked { max_visits: Some(1), ..Asked::default() }).expect("it runs");
        let shown = &scenario.process().expect("it is a process").shown;
        assert_eq!(shown.status, Some(4), "{cpu}");
        assert_eq!(printed(&scenario), "4 11 1\n", "{cpu}");
        let section = judge(&scenario);
        assert_eq!(section.void, None, "{cpu}");
        // Every instruction that ran is a point: whatever has no name was given one.
        let process = scenario.process().expect("it is a process");
        assert_eq!(section.distinct_pcs, process.instructions.len(), "{cpu}");
        for function in ["main", "deep", "handler", "thread", "compare"] {
            assert!(!verdicts(&section, function).is_empty(), "{cpu} {function}");
        }
        // GNU as makes rows for these only where it is asked to.
        if cpu != "riscv64" {
            let is_exact = |function: &str| verdicts(&section, function).iter().all(|it| *it == Verdict::Exact);
            assert!(is_exact("deep") && is_exact("main") && is_exact("compare"), "{cpu}");
        }
    }
}

/// The compilers put the second block behind the call of longjmp, which has not returned there: a jump arrives with its SP.
const JUMPS: &str = r#"
#include <setjmp.h>
#include <signal.h>
static jmp_buf place; static sigjmp_buf other;
static volatile int times;
static void handler(int number) { (void)number; siglongjmp(other, 1); }
int main(void) {
    if (setjmp(place) == 0) longjmp(place, 1);
    signal(SIGUSR2, handler);
    if (sigsetjmp(other, 1) == 0) raise(SIGUSR2);
    times++;
    return times;
}
"#;

#[test]
fn what_longjmp_has_ended_does_not_return() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let Some(file) = compile(folder.path(), compiler, cpu, JUMPS, &["-fno-builtin"]) else { continue };
        let asked = Asked { max_visits: Some(1), within: vec!["main".to_owned()], ..Asked::default() };
        let scenario = process(launch(&file, sysroot), &asked).expect("it runs");
        assert_eq!(scenario.process().expect("it is a process").shown.status, Some(1), "{cpu}");
        assert_eq!(judge(&scenario).void, None, "{cpu}");
    }
}

#[test]
fn two_runs_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, compiler, sysroot) = TOOLS[0];
    let Some(file) = compile(folder.path(), compiler, "program", PROGRAM, &["-pthread"]) else { return };
    let asked = Asked { max_visits: Some(1), within: vec!["main".to_owned()], ..Asked::default() };
    let runs = [(); 2].map(|()| process(launch(&file, sysroot), &asked).expect("it runs"));
    let [first, second] = runs.each_ref().map(|run| run.process().expect("it is a process"));
    assert_eq!((first.executed, &first.instructions), (second.executed, &second.instructions));
    assert_eq!(judge(&runs[0]), judge(&runs[1]));
    assert_eq!(judge(&runs[0]).functions.len(), 1);
}

/// The low bits of the clock, as an exit status.
const CLOCK: &str = r#"
int main(void) {
    unsigned long time;
#if defined(__x86_64__)
    time = __builtin_ia32_rdtsc();
#else
    __asm__ volatile ("mrs %0, cntvct_el0" : "=r"(time));
#endif
    for (int n = 0; n < 8; n++) time ^= time >> 8;
    return time & 0xff;
}
"#;

#[test]
fn the_clock_is_the_same_in_every_run() {
    let folder = tempfile::tempdir().expect("a folder");
    // The emulator refuses `rdtime` of riscv64.
    for (cpu, compiler, sysroot) in TOOLS.into_iter().filter(|(cpu, ..)| *cpu != "riscv64") {
        let Some(file) = compile(folder.path(), compiler, cpu, CLOCK, &[]) else { continue };
        let status = || {
            let run = process(launch(&file, sysroot), &Asked::default()).expect("it runs");
            run.process().and_then(|process| process.shown.status)
        };
        let first = status();
        for _ in 0..8 {
            assert_eq!(status(), first, "{cpu}");
        }
    }
}

#[test]
fn signals_arrive_where_they_are_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let Some(file) = compile(folder.path(), compiler, cpu, PROGRAM, &["-pthread"]) else { continue };
        let asked = |signals: &[&str], everywhere: &[&str]| Asked {
            signals: signals.iter().map(|text| (*text).to_owned()).collect(),
            signal_everywhere: everywhere.iter().map(|text| (*text).to_owned()).collect(),
            max_visits: Some(2),
            within: vec!["handler".to_owned(), "compare".to_owned()],
        };
        let one = process(launch(&file, sysroot), &asked(&["10@compare+0x0#2"], &[])).expect("it runs");
        assert_eq!(one.process().map(|process| process.shown.delivered), Some(1), "{cpu}");
        assert_eq!(printed(&one), "2 21 1\n", "{cpu}");
        let all = process(launch(&file, sysroot), &asked(&[], &["compare"])).expect("it runs");
        let delivered = all.process().map_or(0, |process| process.shown.delivered);
        assert!(delivered >= 6, "{cpu}: {delivered}");
        let section = judge(&all);
        assert_eq!(section.void, None, "{cpu}");
        let of_handler = verdicts(&section, "handler");
        // From the handler across the signal's frame, up to the function without a caller. Without a vDSO two CPUs have no rows for
        // the trampoline.
        let exact = of_handler.iter().filter(|verdict| **verdict == Verdict::Exact).count();
        if cpu == "x86_64" {
            assert_eq!(exact, of_handler.len(), "{cpu}");
        } else {
            assert!(exact == 0 && !of_handler.is_empty(), "{cpu}");
        }
        let never = process(launch(&file, sysroot), &asked(&["12@compare"], &[]));
        let error = never.expect_err("it has no handler for it").to_string();
        assert!(error.contains("no signal arrived"), "{cpu}: {error}");
    }
}

/// The error of a program of a few instructions, without a C library.
fn failure(name: &str, body: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, compiler, _) = TOOLS[0];
    let source = format!("void _start(void) {{ __asm__ volatile ({body:?}); }}\n");
    let file = compile(folder.path(), compiler, name, &source, &["-nostdlib", "-static"])?;
    let run = process(Launch::open(&file, None).expect("it is a program"), &Asked::default());
    Some(run.expect_err("it fails").to_string())
}

#[test]
fn what_is_not_emulated_is_named_with_its_place() {
    let Some(error) = failure("ptrace", "mov $101, %eax; syscall") else { return };
    assert!(error.contains("ptrace (system call 101): it is not emulated"), "{error}");
    assert!(error.contains("/ptrace (offset 0x"), "{error}");
    let error = failure("none", "mov $999, %eax; syscall").expect("there is a compiler");
    assert!(error.contains("system call 999: no kernel has it"), "{error}");
    let error = failure("vector", "vmovdqu64 %zmm0, %zmm1").expect("there is a compiler");
    assert!(error.contains("an instruction that the emulator does not have (62 f1 fe 48"), "{error}");
    let error = failure("fork", "mov $57, %eax; syscall").expect("there is a compiler");
    assert!(error.contains("fork (system call 57): it makes another process"), "{error}");
    let error = failure("wild", "xor %eax, %eax; mov (%rax), %rax").expect("there is a compiler");
    assert!(error.contains("read in unmapped page 0x0"), "{error}");
    let error = failure("endless", "mov $34, %eax; syscall").expect("there is a compiler");
    assert!(error.contains("pause (system call 34)"), "{error}");
    let error = failure("killed", "mov $39, %eax; syscall; mov %eax, %edi; mov $9, %esi; mov $62, %eax; syscall");
    assert!(error.as_ref().is_some_and(|it| it.contains("signal 9, for which it has no handler")), "{error:?}");
}

#[test]
fn a_dynamic_program_needs_a_sysroot() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, compiler, _) = TOOLS[0];
    let Some(file) = compile(folder.path(), compiler, "program", PROGRAM, &["-pthread"]) else { return };
    let error = process(Launch::open(&file, None).expect("it is a program"), &Asked::default());
    let error = error.expect_err("its loader is nowhere").to_string();
    assert!(error.contains("with --sysroot"), "{error}");
    let text = folder.path().join("text");
    std::fs::write(&text, "no program").expect("it can be written");
    assert!(matches!(Launch::open(&text, None), Err(Error::Elf { .. })));
}

/// Half a program is an error, wherever it is cut.
#[test]
fn a_truncated_program_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, compiler, _) = TOOLS[0];
    let Some(file) = compile(folder.path(), compiler, "program", PROGRAM, &["-pthread"]) else { return };
    let bytes = std::fs::read(&file).expect("it was made");
    for size in [0, 3, 17, 20, 63, 64, 100, 200, 500, 2000, 0x1100] {
        let cut = folder.path().join("cut");
        std::fs::write(&cut, &bytes[..size]).expect("it can be written");
        let run = Launch::open(&cut, Some(PathBuf::from("/"))).and_then(|launch| process(launch, &Asked::default()));
        assert!(run.is_err(), "{size}");
    }
}

/// A sysroot with a file, links that lead out of it, and a circle.
fn sysroot() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("lib")).expect("a folder");
    std::fs::create_dir_all(root.join("proc")).expect("a folder");
    std::fs::write(root.join("lib/inside"), "inside").expect("a file");
    std::fs::write(root.join("proc/version"), "1").expect("a file");
    std::fs::write(folder.path().join("secret"), "secret").expect("a file");
    for (target, link) in [
        ("../../secret", "lib/up"),
        ("/secret", "lib/absolute"),
        ("/lib/inside", "lib/good"),
        ("around", "lib/round"),
        ("round", "lib/around"),
        ("..", "lib/parent"),
    ] {
        std::os::unix::fs::symlink(target, root.join(link)).expect("a link");
    }
    let files = Files::new(Some(root), "/program".to_owned());
    (folder, files)
}

const ENOENT: u64 = 2;
const EROFS: u64 = 30;
const ELOOP: u64 = 40;

#[test]
fn no_path_leads_out_of_the_sysroot() {
    let (_folder, files) = sysroot();
    let resolve = |path: &str| files.resolve(Path::new("/"), path, true);
    let inside = Ok(PathBuf::from("lib/inside"));
    for path in ["/lib/inside", "lib/inside", "/../../lib/inside", "/lib/good", "/lib/parent/lib/inside"] {
        assert_eq!(resolve(path), inside, "{path}");
    }
    let outside =
        ["/lib/up", "/lib/absolute", "/../secret", "/lib/../../secret", "/lib/parent/secret", "/proc/version"];
    for path in outside {
        assert_eq!(resolve(path), Err(ENOENT), "{path}");
    }
    assert_eq!(resolve("/lib/round"), Err(ELOOP));
}

#[test]
fn nothing_is_written_but_output() {
    let (folder, mut files) = sysroot();
    for flags in [1, 2, 0x40] {
        assert_eq!(files.open(Path::new("/"), "/lib/inside", flags), Err(EROFS), "{flags}");
    }
    assert_eq!(files.open(Path::new("/"), "/lib/inside", 0), Ok(3));
    assert!(files.write(3, b"x").is_err());
    assert_eq!(files.write(1, b"out"), Ok(()));
    assert_eq!((files.output[0].bytes.as_slice(), files.output[0].total), (b"out".as_slice(), 3));
    assert_eq!(std::fs::read(folder.path().join("root/lib/inside")).expect("it is there"), b"inside");
    for _ in 0..3 {
        files.write(2, &[0; 1 << 15]).expect("it is open");
    }
    assert_eq!((files.output[1].bytes.len(), files.output[1].total), (1 << 16, 3 << 15));
}

#[test]
fn without_a_sysroot_there_are_no_files() {
    let mut files = Files::new(None, "/program".to_owned());
    assert_eq!(files.open(Path::new("/"), "/etc/passwd", 0), Err(ENOENT));
}
