//! Programs as processes that have more than one stack, or leave functions without returning from them: exceptions of C++, contexts,
//! many threads, handlers with a stack of their own; and what their kernel gives them: a vDSO, and no network.

use std::path::{Path, PathBuf};

use unwind_harness::oracle::Cause;
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Asked, Scenario, process};
use unwind_harness::user::process::Launch;
use unwind_harness::verdict::Verdict;

use crate::user_process::{TOOLS, compile, judge, launch, printed, verdicts};

fn run(file: &Path, sysroot: &str, within: &[&str]) -> Scenario {
    let within = within.iter().map(|name| (*name).to_owned()).collect();
    process(launch(file, sysroot), &Asked { max_visits: Some(1), within, ..Asked::default() }).expect("it runs")
}

fn status(scenario: &Scenario) -> Option<u8> {
    scenario.process().expect("it is a process").shown.status
}

/// How many of the walks in these functions are right; all of them must be, where the compiler makes rows unasked.
fn are_exact(section: &Section, functions: &[&str], cpu: &str) {
    assert_eq!(section.void, None, "{cpu}");
    for function in functions {
        let verdicts = verdicts(section, function);
        assert!(!verdicts.is_empty(), "{cpu} {function}");
        let wrong = verdicts.iter().filter(|verdict| **verdict != Verdict::Exact).count();
        assert!(wrong == 0 || cpu == "riscv64", "{cpu} {function}: {wrong} of {}", verdicts.len());
    }
}

/// An exception that is caught two functions up, with a destructor on its way. In `thrower` the landing pad is right behind the call.
const THROWS: &str = r#"
extern "C" {
__attribute__((noinline)) int thrower(int n);
__attribute__((noinline)) int middle(int n);
__attribute__((noinline)) int catcher(int n);
}
struct Local { int *count; ~Local() { ++*count; } };
static int count;
int thrower(int n) { Local local{&count}; if (n > 1) throw n; return n; }
int middle(int n) { Local local{&count}; return thrower(n) + 1; }
int catcher(int n) { try { return middle(n); } catch (int caught) { return caught + 10; } }
int main(int argc, char **) { int v = catcher(argc) + catcher(argc + 1); return v + count; }
"#;

#[test]
fn an_exception_goes_to_its_landing_pad() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let compiler = compiler.replace("gcc", "g++");
        let options = ["-xc++", "-static-libgcc", "-static-libstdc++", "-fasynchronous-unwind-tables"];
        let Some(file) = compile(folder.path(), &compiler, cpu, THROWS, &options) else { continue };
        let scenario = run(&file, sysroot, &["thrower", "middle", "catcher", "main"]);
        assert_eq!(status(&scenario), Some(18), "{cpu}");
        are_exact(&judge(&scenario), &["thrower", "middle", "catcher", "main"], cpu);
    }
}

/// Two contexts that take turns, the first of which is made again on its stack when it has ended.
const CONTEXTS: &str = r#"
#include <ucontext.h>
static ucontext_t here, one, two;
static char first[65536], second[65536];
static int sum;
static void f(int a) { sum += a; swapcontext(&one, &two); sum += 2 * a; }
static void g(int a) { sum += a; swapcontext(&two, &one); sum += 2 * a; }
static void make(ucontext_t *it, char *stack, void (*function)(int), int a) {
    getcontext(it); it->uc_link = &here;
    it->uc_stack.ss_sp = stack; it->uc_stack.ss_size = sizeof first;
    makecontext(it, (void (*)(void))function, 1, a);
}
int main(void) {
    make(&one, first, f, 1); make(&two, second, g, 10);
    swapcontext(&here, &one);
    make(&one, first, f, 3);
    swapcontext(&here, &one);
    swapcontext(&here, &one);
    return sum;
}
"#;

#[test]
fn contexts_have_stacks_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let options = ["-fasynchronous-unwind-tables"];
        let Some(file) = compile(folder.path(), compiler, cpu, CONTEXTS, &options) else { continue };
        let scenario = run(&file, sysroot, &["f", "g", "main"]);
        assert_eq!(status(&scenario), Some(3 + 30 + 3 + 6), "{cpu}");
        let section = judge(&scenario);
        assert_eq!(section.void, None, "{cpu}");
        assert_eq!(scenario.process().expect("it is a process").launch.contexts.stacks.len(), 3, "{cpu}");
        are_exact(&section, &["main"], cpu);
        // Each begins on an empty stack: it is called by what glibc has put there, or by nothing.
        let program = scenario.program(Path::new(""), &scenario.variants()[0]).expect("it loads");
        let depths = Depths::of(&scenario, &program, &["f", "g"]);
        assert!(depths.iter().all(|depth| *depth <= 1) && !depths.is_empty(), "{cpu}: {depths:?}");
    }
}

/// How many activations wait at each point of some functions.
struct Depths<'p> {
    oracle: unwind_harness::oracle::Oracle<'p>,
    functions: Vec<std::ops::Range<u64>>,
    found: Vec<u32>,
}

impl<'p> Depths<'p> {
    fn of(scenario: &Scenario, program: &'p unwind_harness::guest::Program, functions: &[&str]) -> Vec<u32> {
        let functions = functions.iter().filter_map(|name| program.guest.symbols.function_named(name));
        let functions = functions.map(|it| it.address..it.address + it.size).collect();
        let oracle = unwind_harness::oracle::Oracle::new(program, Default::default());
        let mut depths = Depths { oracle, functions, found: Vec::new() };
        scenario.live(program).expect("a machine").drive(&mut depths).expect("it runs");
        depths.found
    }
}

impl unwind_harness::trace::Observer for Depths<'_> {
    fn point(&mut self, at: &unwind_harness::trace::Point<'_>) -> unwind_harness::trace::Action {
        self.oracle.observe(at);
        if self.functions.iter().any(|function| function.contains(&at.pc)) {
            self.found.push(self.oracle.truth().activations().filter(|it| it.cause == Cause::Call).count() as u32);
        }
        unwind_harness::trace::Action::Continue
    }
}

/// Twelve threads that are all there at once.
const THREADS: &str = r#"
#include <pthread.h>
#define N 12
static pthread_barrier_t all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int sum;
static void add(int n) { pthread_mutex_lock(&lock); sum += n; pthread_mutex_unlock(&lock); }
static void *work(void *argument) { pthread_barrier_wait(&all); add(*(int *)argument); return 0; }
int main(void) {
    pthread_t threads[N]; int values[N];
    pthread_barrier_init(&all, 0, N);
    for (int i = 0; i < N; i++) { values[i] = i; pthread_create(&threads[i], 0, work, &values[i]); }
    for (int i = 0; i < N; i++) pthread_join(threads[i], 0);
    return sum;
}
"#;

#[test]
fn a_walk_finds_its_stack_among_many() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let options = ["-pthread", "-fasynchronous-unwind-tables"];
        let Some(file) = compile(folder.path(), compiler, cpu, THREADS, &options) else { continue };
        let within = ["work".to_owned(), "main".to_owned()].to_vec();
        // Every arrival: the twelfth thread has the twelfth stack.
        let asked = Asked { max_visits: Some(64), within, ..Asked::default() };
        let scenario = process(launch(&file, sysroot), &asked).expect("it runs");
        assert_eq!(status(&scenario), Some(66), "{cpu}");
        are_exact(&judge(&scenario), &["main", "work"], cpu);
    }
}

/// A handler with a stack of its own, and a socket that cannot be had.
const ALONE: &str = r#"
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
static char stack[65536];
static volatile int on;
static void handler(int number) { char here; on += number * (&here >= stack && &here < stack + sizeof stack); }
int main(void) {
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&own, 0);
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    return on + (socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT ? 100 : 0);
}
"#;

#[test]
fn a_handler_may_have_a_stack_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let options = ["-fasynchronous-unwind-tables"];
        let Some(file) = compile(folder.path(), compiler, cpu, ALONE, &options) else { continue };
        let scenario = run(&file, sysroot, &["handler", "main"]);
        assert_eq!(status(&scenario), Some(110), "{cpu}");
        let section = judge(&scenario);
        are_exact(&section, &["main"], cpu);
        assert!(!verdicts(&section, "handler").is_empty(), "{cpu}");
        if cpu == "x86_64" {
            are_exact(&section, &["handler"], cpu); // from the handler's stack to the first
        }
    }
}

const CLOCK: &str = r#"
#include <signal.h>
#include <time.h>
static volatile int hits;
static void handler(int number) { hits = number; }
int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    return now.tv_sec + hits;
}
"#;

/// What a vDSO defines: names and versions as in Linux arch/*/kernel/vdso.
const VDSO: &str = r#"
struct now { long seconds, nanoseconds; };
__attribute__((noinline)) static long seconds(void) { __asm__ volatile (""); return 77; }
int CLOCK(int clock, struct now *now) { now->seconds = seconds(); now->nanoseconds = clock; return 0; }
#ifdef RETURN
__asm__(".text\n.globl " RETURN "\n.type " RETURN ", %function\n.cfi_startproc\n.cfi_signal_frame\nnop\n" RETURN ":\n" CODE
    "\n.cfi_endproc\n.size " RETURN ", . - " RETURN "\n");
#endif
"#;

/// One segment, which nobody writes to: the dynamic loader would adjust a dynamic section that it may write to.
const SCRIPT: &str = "
SECTIONS {
    . = SIZEOF_HEADERS;
    .hash : { *(.hash) } :text
    .gnu.hash : { *(.gnu.hash) }
    .dynsym : { *(.dynsym) }
    .dynstr : { *(.dynstr) }
    .gnu.version : { *(.gnu.version) }
    .gnu.version_d : { *(.gnu.version_d) }
    .dynamic : { *(.dynamic) } :text :dynamic
    .eh_frame_hdr : { *(.eh_frame_hdr) } :text :frames
    .eh_frame : { KEEP(*(.eh_frame)) } :text
    .text : { *(.text*) } :text
}
PHDRS {
    text PT_LOAD FLAGS(5) FILEHDR PHDRS;
    dynamic PT_DYNAMIC FLAGS(4);
    frames PT_GNU_EH_FRAME;
}
";

#[test]
fn a_vdso_is_announced_and_its_rows_are_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    for ((cpu, compiler, sysroot), (clock, version, returns, code)) in TOOLS.into_iter().zip([
        ("__vdso_clock_gettime", "LINUX_2.6", "", ""),
        ("__kernel_clock_gettime", "LINUX_2.6.39", "__kernel_rt_sigreturn", "mov x8, #139; svc #0"),
        ("__vdso_clock_gettime", "LINUX_4.15", "__vdso_rt_sigreturn", "li a7, 139; ecall"),
    ]) {
        let versions = folder.path().join("versions");
        std::fs::write(&versions, format!("{version} {{ global: *; }};")).expect("it can be written");
        let script = folder.path().join("script");
        std::fs::write(&script, SCRIPT).expect("it can be written");
        let mut options = vec![
            format!("-Wl,-T,{}", script.display()),
            format!("-DCLOCK={clock}"),
            format!("-Wl,--version-script={}", versions.display()),
            "-Wl,-soname,linux-vdso.so.1,--hash-style=both".to_owned(),
        ];
        options.extend(["-shared", "-nostdlib", "-fPIC", "-fasynchronous-unwind-tables"].map(str::to_owned));
        if !returns.is_empty() {
            options.extend([format!("-DRETURN=\"{returns}\""), format!("-DCODE=\"{code}\"")]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let Some(vdso) = compile(folder.path(), compiler, &format!("{cpu}-vdso"), VDSO, &options) else { continue };
        let Some(file) = compile(folder.path(), compiler, cpu, CLOCK, &[]) else { continue };
        let text = unwind_harness::scenario::ProcessText {
            file,
            sysroot: Some(PathBuf::from(sysroot)),
            vdso: Some(vdso),
            ..Default::default()
        };
        let launch: Launch = text.launch(Path::new(""), 10_000_000).expect("it is a program");
        let scenario = process(launch, &Asked::default()).expect("it runs");
        assert_eq!(status(&scenario), Some(87), "{cpu}: {}", printed(&scenario));
        let section = judge(&scenario);
        assert_eq!(section.void, None, "{cpu}");
        assert!(!verdicts(&section, "seconds").is_empty(), "{cpu}");
        let rows = unwind_harness::rows::run_all(Path::new(""), &[scenario], &[]).expect("it runs").rows;
        let judged = rows[0].functions.iter().find(|function| function.name == clock).expect("it ran");
        assert!(judged.points > 0, "{cpu}");
        let trampoline = rows[0].functions.iter().find(|function| function.name == returns);
        assert_eq!(trampoline.is_some(), cpu != "x86_64", "{cpu}: handlers return there");
    }
}
