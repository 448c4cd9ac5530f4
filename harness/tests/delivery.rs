//! Delivered exceptions: no point is left out, and a guest that does not restore everything voids its run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::cpu;
use unwind_harness::guest::Guest;
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject;
use unwind_harness::suite::Job;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(root: &Path, name: &str, kind: Interruption) -> Section {
    let scenario = Scenario::load(&root.join("scenarios").join(format!("{name}.toml"))).expect("the scenario is there");
    let variants = scenario.variants();
    let subjects = subject::all(scenario.cpu);
    let job = Job { root, scenario: &scenario, variant: &variants[0], kind };
    job.run(&subjects).expect("the guest runs")
}

/// The instructions of each function that ran, or that were points.
fn places(section: &Section, only_points: bool) -> BTreeSet<(String, u64)> {
    let functions = section.functions.iter();
    let lines = functions.flat_map(|function| function.instructions.iter().map(move |line| (function, line)));
    lines
        .filter(|(_, line)| line.visits > 0 && (!only_points || line.runs.iter().any(|runs| !runs.is_empty())))
        .map(|(function, line)| (function.name.clone(), line.offset))
        .collect()
}

/// In a function that is interrupted at all, every instruction that runs must be interrupted: if the harness loses track of an
/// exception, the rest of the run has no points, and a listing cannot show that as different from code that never ran.
#[rstest]
fn every_instruction_that_runs_is_a_point(
    #[values("arm64", "riscv64", "x86_64")] cpu: &str,
    #[values("irq_on_task", "irq_on_irq_stack", "irq_in_softirq", "idle_primary", "idle_secondary", "fake_metadata")]
    name: &str,
) {
    let name = format!("{cpu}/{name}");
    let interrupted = places(&run(root(), &name, Interruption::Irq), true);
    let functions: BTreeSet<&String> = interrupted.iter().map(|(function, _)| function).collect();
    let ran = places(&run(root(), &name, Interruption::Probe), false);
    let missed: Vec<_> =
        ran.iter().filter(|place| functions.contains(&place.0) && !interrupted.contains(*place)).collect();
    assert!(missed.is_empty(), "{name}: {missed:?}");
    assert!(interrupted.len() > 10, "{name}: {interrupted:?}");
}

#[test]
fn every_interrupt_switches_back_and_forth_with_the_task() {
    // Both sides of the context switch, more than once: the point after the switch is on the other task's stack.
    for (cpu, function) in [("arm64", "cpu_switch_to"), ("riscv64", "__switch_to"), ("x86_64", "__switch_to_asm")] {
        let kind = if cpu == "riscv64" { Interruption::Fault } else { Interruption::Nmi };
        let section = run(root(), &format!("{cpu}/switch_each_insn"), kind);
        let switch = section.functions.iter().find(|one| one.name == function).expect("the switch ran");
        for line in &switch.instructions {
            assert!(line.visits >= 4 && line.runs.iter().all(|runs| !runs.is_empty()), "{cpu}: {line:?}");
        }
    }
}

/// A copy of the project's arm64 `irq_on_task`, with one instruction of a function replaced.
fn patched(name: &str, function: &str, offset: u64, word: impl Fn(u64, &Guest) -> u32) -> PathBuf {
    patched_guest("irq_on_task", name, function, |_| offset, word)
}

/// A copy of a scenario and the guest of the same name, with one instruction of a function replaced.
fn patched_guest(
    stem: &str,
    name: &str,
    function: &str,
    offset: impl Fn(&Guest) -> u64,
    word: impl Fn(u64, &Guest) -> u32,
) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("delivery-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    for part in ["scenarios/arm64", "guests/arm64"] {
        std::fs::create_dir_all(folder.join(part)).expect("a new folder");
    }
    let elf = format!("guests/arm64/{stem}.elf");
    let toml = format!("scenarios/arm64/{stem}.toml");
    let guest = Guest::load(&root().join(&elf), cpu::by_name("arm64").expect("a CPU")).expect("the guest loads");
    let address = guest.function(function).expect("a function").address + offset(&guest);
    let mut data = std::fs::read(root().join(&elf)).expect("the guest is there");
    // Code is found in the file by what stands around it.
    let around = &guest.bytes_at(address - 16)[..48];
    let at = data.windows(around.len()).position(|window| window == around).expect("the code is in the file") + 16;
    data[at..at + 4].copy_from_slice(&word(address, &guest).to_le_bytes());
    std::fs::write(folder.join(elf), data).expect("a new file");
    std::fs::copy(root().join(&toml), folder.join(&toml)).expect("a copy");
    folder
}

/// The offset of the first instruction of a function whose disassembly begins like this.
fn offset_of(function: &str, text: &str) -> u64 {
    let section = run(root(), "arm64/nested_irq_nmi", Interruption::Nested);
    let function = section.functions.iter().find(|one| one.name == function).expect("the function ran");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = function.instructions.iter().find(|line| words(&line.text).starts_with(text));
    line.unwrap_or_else(|| panic!("no {text} in {}", function.name)).offset
}

const NOP: u32 = 0xd503_201f;

#[test]
fn a_register_that_does_not_come_back_voids_the_run() {
    let offset = offset_of("ret_to_kernel", "ldp x0, x1");
    let folder = patched("register", "ret_to_kernel", offset, |_, _| NOP);
    let reason = run(&folder, "arm64/irq_on_task", Interruption::Irq).void.expect("the run is void");
    assert!(reason.contains("x0 was") || reason.contains("x1 was"), "{reason}");
}

#[test]
fn a_live_stack_word_that_is_overwritten_voids_the_run() {
    // str xzr, [x0, #344] in `handle`, where x0 is pt_regs: 24 bytes above the interrupted SP.
    let folder = patched("stack", "handle", offset_of("handle", "mov x29, sp"), |_, _| 0xf900_ac1f);
    let reason = run(&folder, "arm64/irq_on_task", Interruption::Irq).void.expect("the run is void");
    assert!(reason.contains("the live stack word at"), "{reason}");
}

#[test]
fn flags_that_do_not_come_back_void_the_run() {
    // msr spsr_el1, x22 becomes msr spsr_el1, xzr.
    let folder = patched("flags", "ret_to_kernel", offset_of("ret_to_kernel", "msr spsr_el1, x22"), |_, _| {
        0xd518_401f // back to EL0 with nothing masked
    });
    let scenario = Scenario::load(&folder.join("scenarios/arm64/irq_on_task.toml")).expect("the scenario is there");
    let variants = scenario.variants();
    let job = Job { root: &folder, scenario: &scenario, variant: &variants[0], kind: Interruption::Irq };
    // The guest continues in user mode, on another stack: that must be an error or a void run.
    if let Ok(section) = job.run(&[]) {
        assert!(section.void.is_some(), "the run is not void");
    }
}

#[test]
fn an_exception_that_never_returns_voids_the_run() {
    let folder = patched("parked", "ret_to_kernel", offset_of("ret_to_kernel", "eret"), |address, guest| {
        let sentinel = guest.symbols.address("__sentinel").expect("a sentinel");
        let words = (sentinel.wrapping_sub(address).cast_signed() / 4) as u32;
        0x1400_0000 | words & 0x03ff_ffff // b __sentinel
    });
    let reason = run(&folder, "arm64/irq_on_task", Interruption::Irq).void.expect("the run is void");
    assert!(reason.contains("never"), "{reason}");
}

#[test]
fn a_handler_that_is_never_walked_voids_the_run() {
    let folder = patched("unwalked", "handle", offset_of("handle", "bl walk_here"), |_, _| NOP);
    let reason = run(&folder, "arm64/irq_on_task", Interruption::Irq).void.expect("the run is void");
    assert!(reason.contains("without calling its marker"), "{reason}");
}

/// `sdei` with the first instruction of `sdei_entry` that has this encoding replaced by another; interrupted by events.
fn patched_sdei(name: &str, from: u32, to: impl Fn(u64, &Guest) -> u32) -> Result<Section, unwind_harness::Error> {
    let find = |guest: &Guest| {
        let address = guest.function("sdei_entry").expect("the handler").address;
        let mut words = guest.bytes_at(address).chunks_exact(4);
        words.position(|word| word == from.to_le_bytes()).expect("the instruction is there") as u64 * 4
    };
    let folder = patched_guest("sdei", name, "sdei_entry", find, to);
    let scenario = Scenario::load(&folder.join("scenarios/arm64/sdei.toml")).expect("the scenario is there");
    let variants = scenario.variants();
    Job { root: &folder, scenario: &scenario, variant: &variants[0], kind: Interruption::Sdei }.run(&[])
}

#[test]
fn a_register_that_the_handler_of_an_event_keeps_voids_the_run() {
    // ldp x18, x19, [x4, #144]: not among the registers that the firmware restores.
    let section = patched_sdei("event-register", 0xa949_4c92, |_, _| NOP).expect("the guest runs");
    let reason = section.void.expect("the run is void");
    assert!(reason.contains("x19 was"), "{reason}");
}

#[test]
fn an_event_that_is_not_completed_voids_the_run() {
    let section = patched_sdei("event-parked", 0xd400_0003, |address, guest| {
        let sentinel = guest.symbols.address("__sentinel").expect("a sentinel");
        let words = (sentinel.wrapping_sub(address).cast_signed() / 4) as u32;
        0x1400_0000 | words & 0x03ff_ffff // b __sentinel
    });
    let reason = section.expect("the guest runs").void.expect("the run is void");
    assert!(reason.contains("never"), "{reason}");
}

#[test]
fn the_firmware_refuses_calls_that_it_does_not_know() {
    // movk x0, #0xc400, lsl #16: without it, the number is of another service.
    let error = patched_sdei("event-number", 0xf2b8_8000, |_, _| NOP).expect_err("the run ends");
    assert!(error.to_string().contains("does not know call 0x25"), "{error}");
}

#[test]
fn an_event_hits_what_no_other_exception_may() {
    let section = run(root(), "arm64/sdei_in_irq", Interruption::Nested);
    for name in ["vectors", "el1h_64_irq", "ret_to_kernel"] {
        let function = section.functions.iter().find(|one| one.name == name).expect("the function ran");
        let judged = function.instructions.iter().filter(|line| line.runs.iter().any(|runs| !runs.is_empty()));
        // Of the vectors, the one of an interrupt from the kernel, as far as its branch to the entry.
        let all = if name == "vectors" { 7 } else { function.instructions.len() };
        assert_eq!(judged.count(), all, "{name}");
    }
    let other = run(root(), "arm64/nested_irq_nmi", Interruption::Nested);
    assert!(other.functions.iter().all(|function| function.name != "vectors"));
}
