//! The truth at named points, as a person reads it off the guest's source: the oracle must know it without unwind data.

use std::path::Path;

use rstest::rstest;
use unwind_harness::guest::Program;
use unwind_harness::machine::Machine;
use unwind_harness::oracle::{Oracle, Witnesses};
use unwind_harness::scenario::Scenario;
use unwind_harness::trace::{Action, Observer, Point, Run as _};

struct Watch<'p> {
    oracle: Oracle<'p>,
    program: &'p Program,
    address: u64,
    found: Vec<Vec<String>>,
}

impl Observer for Watch<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        if at.pc == self.address {
            let symbols = &self.program.guest.symbols;
            let truth = self.oracle.truth();
            self.found.push(truth.activations().map(|entry| symbols.name_of_return(entry.resume)).collect());
        }
        Action::Continue
    }
}

/// The true traces at each arrival at a point, without the interrupted instruction.
fn truths(name: &str, function: &str, offset: u64) -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(&root.join("scenarios").join(format!("{name}.toml"))).expect("the scenario is there");
    let program = scenario.program(root, &scenario.variants()[0]).expect("the guest loads");
    let address = program.guest.function(function).expect("a function").address + offset;
    let oracle = Oracle::new(&program, Witnesses::default());
    let mut watch = Watch { oracle, program: &program, address, found: Vec::new() };
    Machine::new(&program, "_start", 1_000_000).expect("a machine").drive(&mut watch).expect("the guest ends");
    let testimony = watch.oracle.finish(&[]);
    assert_eq!((testimony.contradiction, testimony.unwitnessed), (None, vec![]));
    watch.found
}

#[rstest]
// Nobody has called _start, and nothing is left when it is done.
#[case("arm64/leaf", ("_start", 0), &[""])]
#[case("arm64/leaf", ("_start", 0xc), &[""])]
#[case("x86_64/leaf", ("_start", 0), &[""])]
#[case("riscv64/leaf", ("_start", 0xc), &[""])]
// A call that is being made has not happened yet; one that returns is over when its target is reached.
#[case("arm64/late_frame_record", ("caller", 0x10), &["guest_main+0xc _start+0xc"])]
#[case("arm64/late_frame_record", ("late", 0), &["caller+0x14 guest_main+0xc _start+0xc"])]
#[case("arm64/late_frame_record", ("late", 0x30), &["caller+0x14 guest_main+0xc _start+0xc"])]
#[case("arm64/late_frame_record", ("caller", 0x14), &["guest_main+0xc _start+0xc"])]
// fill has jumped to fill_generic: only those who wait for its return are left.
#[case("arm64/tail_call", ("fill_generic", 0), &["caller+0x18 guest_main+0xc _start+0xc", "caller+0x38 guest_main+0xc _start+0xc"])]
#[case("riscv64/tail_call", ("fill_generic", 0), &["caller+0x16 guest_main+0x10 _start+0xc", "caller+0x36 guest_main+0x10 _start+0xc"])]
#[case("x86_64/tail_call", ("fill_generic", 0), &["caller+0x1a guest_main+0x9 _start+0x7", "caller+0x3d guest_main+0x9 _start+0x7"])]
// The return address is in x9, t0, t6, rdx or r11; the activations are the same as ever.
#[case("arm64/return_address_in_gpr", ("kept_in_x9", 0xc), &["caller+0xc guest_main+0x10 _start+0xc"])]
#[case("arm64/return_address_in_gpr", ("returns_by_x9", 0xc), &["caller+0x14 guest_main+0x10 _start+0xc"])]
#[case("arm64/return_address_in_gpr", ("x30_is_scratch", 0x8), &["caller+0x1c guest_main+0x10 _start+0xc"])]
#[case("riscv64/return_address_in_gpr", ("move_word", 0), &[
    "move_two+0x4 caller+0x1a guest_main+0x10 _start+0xc",
    "move_two+0xc caller+0x1a guest_main+0x10 _start+0xc",
])]
#[case("riscv64/return_address_in_gpr", ("kept_in_t6", 0x8), &["caller+0x22 guest_main+0x10 _start+0xc"])]
#[case("riscv64/return_address_in_gpr", ("helper", 0), &["kept_in_t6+0xc caller+0x22 guest_main+0x10 _start+0xc"])]
#[case("x86_64/return_address_in_gpr", ("kept_in_rdx", 0x5), &["caller+0x9 guest_main+0xe _start+0x7"])]
#[case("x86_64/return_address_in_gpr", ("slot_is_scratch", 0xb), &["caller+0x1b guest_main+0xe _start+0x7"])]
// The handler runs on another stack; who waits for it waits on this one.
#[case("arm64/call_on_irq_stack", ("leaf", 0), &[
    "first_handler+0xc call_on_irq_stack+0x18 do_irq+0x18 guest_main+0xc _start+0xc",
    "second_handler+0x14 call_on_irq_stack+0x18 do_irq+0x24 guest_main+0xc _start+0xc",
])]
#[case("x86_64/call_on_irq_stack", ("call_on_irq_stack", 0x15), &[
    "do_irq+0x1a guest_main+0x9 _start+0x7",
    "do_irq+0x2c guest_main+0x9 _start+0x7",
])]
fn the_truth_is_what_the_source_says(#[case] name: &str, #[case] place: (&str, u64), #[case] expected: &[&str]) {
    let found: Vec<String> = truths(name, place.0, place.1).iter().map(|trace| trace.join(" ")).collect();
    assert_eq!(found, expected);
}

#[rstest]
#[case("arm64")]
#[case("riscv64")]
#[case("x86_64")]
fn recursion_is_150_deep(#[case] cpu: &str) {
    let traces = truths(&format!("{cpu}/recursion"), "descend", 0);
    let deepest = traces.iter().map(|trace| trace.iter().filter(|entry| entry.starts_with("descend+")).count()).max();
    assert_eq!(deepest, Some(149), "the 150th activation of descend is the one that is interrupted");
}
