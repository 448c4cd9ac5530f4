//! The real riscv64 kernel, interrupted before every instruction of its functions: its own unwinder and kunwind's model of it return
//! the same traces, and what linux.md lists as findings happens.

use crate::linux_walks::{Walks, images, scenario};
use unwind_harness::subject::Start;

const KERNEL: &str = "linux:best-effort";
const MODEL: &str = "riscv-walk-stackframe";

/// The workloads that need no tracer.
const PLAIN: [&str; 7] = ["snprintf", "sort", "crc32_le", "memcpy", "kstrtoull", "hex_dump_to_buffer", "xa_load"];

#[test]
fn the_model_walks_as_the_kernel_does() {
    for image in images("the_model_walks_as_the_kernel_does", "riscv64") {
        for name in PLAIN.into_iter().chain(["fgraph"]) {
            let walks = Walks::of(&scenario(&image, name), KERNEL, MODEL);
            walks.require_agreement(&format!("{} {name}", image.release));
        }
    }
}

/// `fp_is_valid` demands the frame pointer within the stack of SP, and in a handler SP is on the IRQ's stack.
#[test]
fn a_walk_from_a_handler_never_leaves_its_stack() {
    for image in images("a_walk_from_a_handler_never_leaves_its_stack", "riscv64") {
        let walks = Walks::of(&scenario(&image, "snprintf"), KERNEL, MODEL);
        let last = walks.program.guest.symbols.address("call_on_irq_stack").expect("a function");
        let current: Vec<_> = walks.walks.iter().filter(|walk| walk.start == Some(Start::Current)).collect();
        assert!(current.len() > 500, "{}", current.len());
        for walk in current {
            let names = walks.names(&walk.kernel);
            assert!(!walk.kernel.contains(&walk.at), "{names:?}");
            assert!(names.last().is_some_and(|name| name.starts_with("call_on_irq_stack+")), "{names:?} {last:#x}");
        }
    }
}
