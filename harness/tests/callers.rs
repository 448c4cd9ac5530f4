//! Who asks for a trace in Linux: every subject from each of its starts has one statement, and reliable walks have one caller.

use std::collections::BTreeSet;

use unwind_harness::cpu::ALL;
use unwind_harness::experiment::columns;
use unwind_harness::scenario::Interruption;
use unwind_harness::subject::in_linux::{self, in_linux};
use unwind_harness::subject::{self, Claims, Scope, Start, Subject};

const KINDS: [Interruption; 11] = [
    Interruption::Probe,
    Interruption::Irq,
    Interruption::Nmi,
    Interruption::Fault,
    Interruption::Serror,
    Interruption::Sdei,
    Interruption::Debug,
    Interruption::Nested,
    Interruption::Corrupt,
    Interruption::Preempt,
    Interruption::Voluntary,
];

/// The starts of a subject, in kernels or in programs, where only probes are possible.
fn starts(subject: &dyn Subject, is_kernel: bool) -> BTreeSet<Start> {
    let scope = subject.about().scope;
    let walks = match scope {
        Scope::Any | Scope::User => true,
        Scope::Kernel | Scope::Tracer | Scope::Own(_) => is_kernel,
        Scope::Program => !is_kernel,
    };
    let kinds = KINDS.into_iter().filter(|kind| walks && (is_kernel || *kind == Interruption::Probe));
    kinds
        .flat_map(|kind| columns(&[subject], kind).into_iter().map(|column| column.start).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_subject_from_every_start_has_one_statement() {
    let mut pairs = 0;
    for cpu in ALL {
        for subject in subject::all(cpu).into_iter().filter(|subject| subject.about().gate.is_sound()) {
            let name = &subject.about().name;
            assert!(in_linux::status(cpu.name, name).is_some(), "{name} has no status");
            for is_kernel in [false, true] {
                for start in starts(&*subject, is_kernel) {
                    let count = in_linux::count(cpu.name, name, start, is_kernel);
                    assert_eq!(count, 1, "{} {name} from {start:?}, in a kernel: {is_kernel}", cpu.name);
                    pairs += 1;
                }
            }
        }
    }
    assert!(pairs > 100, "{pairs}");
}

#[test]
fn statements_name_subjects() {
    let all: BTreeSet<String> =
        ALL.iter().flat_map(|cpu| subject::all(cpu)).map(|subject| subject.about().name.clone()).collect();
    for name in in_linux::names() {
        assert!(all.contains(name), "{name} is no subject");
    }
}

/// arch_stack_walk_reliable takes no registers, and live patching never calls it in a handler.
#[test]
fn a_reliable_walk_is_of_a_task_that_does_not_run() {
    for cpu in ALL {
        for subject in subject::all(cpu) {
            let about = subject.about();
            if !matches!(about.scope, Scope::Kernel | Scope::Tracer | Scope::Own(_)) {
                continue;
            }
            for start in starts(&*subject, true) {
                let asked = in_linux(cpu.name, &about.name, start, true).expect("a statement").is_callable();
                let expected = match about.claims {
                    Claims::Never => start != Start::Live,
                    Claims::Explicit | Claims::ByEnd | Claims::ByFlag => start == Start::Task,
                };
                assert_eq!(asked, expected, "{} from {start:?}", about.name);
            }
        }
    }
}
