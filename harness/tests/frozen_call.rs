//! Calls of processes as cases: what a live run did, its frozen state does again, without the program.

use std::path::Path;
use std::sync::Arc;

use unwind_harness::case::State;
use unwind_harness::recording::{ListedFunction, Section};
use unwind_harness::scenario::{Asked, Scenario, process};
use unwind_harness::suite::{FrozenCall, Options, freeze_process};

use crate::user_process::{TOOLS, compile, judge, launch};

/// It asks its kernel for memory, gives it back, and writes.
const WORKS: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
__attribute__((noinline)) int work(int n) {
    int v[] = {5, 3, 9, 1};
    char *block = malloc(300000), *small = malloc(100);
    memset(block, n, 300000);
    qsort(v, 4, sizeof v[0], compare);
    printf("%d %s %.3f\n", v[0], block[7] == n ? "same" : "other", 2.5);
    fflush(stdout);
    free(block);
    free(small);
    return v[0] + n;
}
int main(int argc, char **argv) { return work(argc) + work(argc) == 4 ? 0 : 1; }
"#;

/// A thread, a signal to itself, and an end without a return.
const LEAVES: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
static void handler(int number) { (void)number; }
static void *thread(void *argument) { return argument; }
__attribute__((noinline)) void threads(void) { pthread_t id; pthread_create(&id, 0, thread, 0); pthread_join(id, 0); }
__attribute__((noinline)) void signals(void) { signal(SIGUSR1, handler); raise(SIGUSR1); }
__attribute__((noinline)) void leaves(void) { exit(3); }
int main(void) { signals(); threads(); leaves(); }
"#;

fn frozen(scenario: &Scenario) -> Result<FrozenCall, String> {
    let process = scenario.process().expect("it is a process");
    let options = Options { unwinders: vec!["dwarf".to_owned()], ..Options::default() };
    freeze_process(scenario, process, Path::new("call.toml"), &options).map_err(|error| error.to_string())
}

fn asked(within: &str) -> Asked {
    let within = Some(within).filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect();
    Asked { max_visits: Some(1000), within, ..Asked::default() }
}

fn function<'s>(section: &'s Section, name: &str) -> &'s ListedFunction {
    section.functions.iter().find(|function| function.name == name).unwrap_or_else(|| panic!("{name} did not run"))
}

#[test]
fn a_call_of_a_process_runs_again_without_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let options = ["-fno-builtin", "-fasynchronous-unwind-tables"];
        let Some(file) = compile(folder.path(), compiler, cpu, WORKS, &options) else { continue };
        let live = process(launch(&file, sysroot), &asked("work")).expect("it runs");
        let FrozenCall { text, recording, scenario } = frozen(&live).unwrap_or_else(|error| panic!("{cpu}: {error}"));
        let [section] = recording.sections.as_slice() else { panic!("{cpu}: {} runs", recording.sections.len()) };
        assert_eq!((section.void.as_deref(), section.scenario.as_str()), (None, format!("{cpu}/call").as_str()));
        // brk, mmap, munmap, write, and what the C library asks about its standard output.
        let calls = text.matches("[[syscall]]").count();
        assert!((5..40).contains(&calls), "{cpu}: {calls} system calls");
        assert!(text.len() < 1 << 20, "{cpu}: {} bytes", text.len());
        // The first of its two calls, with the verdicts that the process had there.
        let whole = judge(&live);
        let (now, then) = (function(section, "work"), function(&whole, "work"));
        assert_eq!(now.instructions.len(), then.instructions.len(), "{cpu}");
        let first = |listed: &ListedFunction| -> Vec<_> {
            let runs = listed.instructions.iter().map(|instruction| instruction.runs.iter().flatten().next());
            runs.map(|run| run.map(|run| run.verdict)).collect()
        };
        assert_eq!(first(now), first(then), "{cpu}");
        assert!(first(now).iter().flatten().count() > 40, "{cpu}");
        // What stands in the file is all that a reader needs.
        let again = State::parse(Path::new("elsewhere.toml"), &text).expect("it can be read");
        assert_eq!(scenario.name, format!("{cpu}/call"));
        let points = judge(&Scenario::of_state(&Arc::new(again)).expect("it is a state")).points;
        assert_eq!(points, section.points, "{cpu}");
        assert!(points > 1000, "{cpu}: {points}");
    }
}

#[test]
fn what_a_state_cannot_tell_is_not_frozen() {
    let folder = tempfile::tempdir().expect("a folder");
    for (cpu, compiler, sysroot) in TOOLS {
        let Some(file) = compile(folder.path(), compiler, cpu, LEAVES, &["-pthread", "-fno-builtin"]) else { continue };
        for (within, says) in [
            ("threads", "another thread runs"),
            ("signals", "a signal arrives"),
            ("handler", "signal's handler"),
            ("leaves", "does not return"),
            ("_start", "nobody waits for it"),
            ("", "name the function with --within"),
        ] {
            let live = process(launch(&file, sysroot), &asked(within)).expect("it runs");
            let refused = frozen(&live).expect_err("it cannot be frozen");
            assert!(refused.contains(says) && refused.contains(within), "{cpu} {within}: {refused}");
        }
    }
}
