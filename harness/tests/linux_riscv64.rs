//! What the real riscv64 kernel's own walk returns, trace by trace: each defect that is known happens as it is described. That the model
//! gives the same, and how often each defect shows, is in `linux_runs`.

use unwind_harness::linux::KernelImage;
use unwind_harness::subject::Start;
use unwind_harness::suite::{Job, subjects};

use crate::linux_walks::{Walk, Walks, images, root, scenario};

const KERNEL: &str = "linux:best-effort";

/// The release whose numbers are known, by the SHA-256 of its `vmlinuz`.
fn is_pinned(image: &KernelImage) -> bool {
    image.hash == "84b0b9ec39aa16cbe29d19a7c359a354fc893aa8b5a814122b4bb1536ebe9216"
}

fn from(walks: &Walks, start: Start) -> impl Iterator<Item = &Walk> {
    walks.walks.iter().filter(move |walk| walk.start == Some(start))
}

/// `fp_is_valid` demands the frame pointer within the stack of SP, and in a handler SP is on the IRQ's stack.
#[test]
fn a_walk_from_a_handler_never_leaves_its_stack() {
    for image in images("a_walk_from_a_handler_never_leaves_its_stack", "riscv64") {
        let walks = Walks::of(&scenario(&image, "snprintf"), KERNEL);
        assert_eq!(walks.void, None);
        assert!(from(&walks, Start::Current).count() > 500);
        for walk in from(&walks, Start::Current) {
            let names = walks.names(&walk.kernel);
            assert!(!walk.kernel.contains(&walk.at) && walk.truth.contains(&walk.at), "{names:?}");
            let last = names.last().expect("an entry");
            assert!(last.starts_with("call_on_irq_stack+"), "{names:?}");
            assert!(!is_pinned(&image) || last == "call_on_irq_stack+0x32", "{names:?}");
        }
    }
}

/// `ftrace_graph_func` registers the address of `fregs->ra` as the place of the return address, and `walk_stackframe` asks with that
/// of `frame->ra`.
#[test]
fn a_traced_return_address_is_never_recovered() {
    for image in images("a_traced_return_address_is_never_recovered", "riscv64") {
        let walks = Walks::of(&scenario(&image, "fgraph"), KERNEL);
        assert_eq!(walks.void, None);
        let trampoline = walks.program.guest.symbols.address("return_to_handler").expect("a trampoline");
        let all: Vec<_> = from(&walks, Start::Regs).collect();
        assert!(!is_pinned(&image) || all.len() == 2644, "{}", all.len());
        assert_eq!(all.iter().filter(|walk| walk.kernel == walk.truth).count(), 0, "no walk is right");
        let shown = all.iter().filter(|walk| walk.kernel[1..].contains(&trampoline)).count();
        assert!(all.len() > 2000 && 3 * shown > 2 * all.len(), "{shown} of {}", all.len());
        // Where the trampoline itself is interrupted, the original address is on the ret_stack or in a register.
        let end = walks.program.guest.symbols.function_named("return_to_handler").expect("a trampoline").size;
        let inside: Vec<_> = all.iter().filter(|walk| (trampoline..trampoline + end).contains(&walk.at)).collect();
        assert!(!is_pinned(&image) || inside.len() == 64, "{}", inside.len());
        for walk in inside {
            assert!(
                !walk.kernel.contains(&walk.truth[1]),
                "{:?} {:?}",
                walks.names(&walk.kernel),
                walks.names(&walk.truth)
            );
        }
    }
}

/// The task is switched out in the tracer, four times on the way in and four times on the way out, and walked by the next task.
#[test]
fn a_task_that_is_preempted_in_the_tracer_is_walked_wrongly() {
    for image in images("a_task_that_is_preempted_in_the_tracer_is_walked_wrongly", "riscv64") {
        let walks = Walks::of(&scenario(&image, "fgraph_preempts_itself"), KERNEL);
        assert_eq!(walks.void, None);
        assert_eq!(walks.walks.len(), 8);
        for walk in &walks.walks {
            assert_eq!(walk.start, Some(Start::Task));
            let (names, truth) = (walks.names(&walk.kernel), walks.names(&walk.truth));
            assert!(truth.iter().any(|name| name.starts_with("preempt_schedule_notrace+")), "{truth:?}");
            assert!(walk.kernel != walk.truth && walk.kernel[..3] == walk.truth[..3], "{names:?} {truth:?}");
        }
    }
}

/// A workload that returns something else than its scenario says is not judged.
#[test]
fn a_workload_that_went_wrong_is_not_judged() {
    for image in images("a_workload_that_went_wrong_is_not_judged", "riscv64") {
        let mut scenario = scenario(&image, "kstrtoull");
        let variant = scenario.variants().remove(0);
        let subjects = subjects(scenario.cpu, &[KERNEL.to_owned()]);
        for (returns, is_it) in [(0, true), (-22, false), (1 << 32, false)] {
            scenario.text.linux.as_mut().expect("a call").returns = Some(returns);
            for kind in [scenario.text.interrupt[0], unwind_harness::scenario::Interruption::Probe] {
                let job = Job { root: root(), scenario: &scenario, variant: &variant, kind };
                let ran = job.run(&subjects).map_err(|error| error.to_string());
                let reason = format!("returns = {returns}: guest {}: kstrtoull returned 0x0 at", image.release);
                match ran {
                    Ok(section) => assert!(is_it && section.void.is_none(), "{:?}", section.void),
                    Err(error) => assert!(!is_it && error.contains(&reason), "{error}"),
                }
            }
        }
    }
}
