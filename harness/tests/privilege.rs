//! What x86-64 alone does at an exception, and breakpoints on every CPU: where the frame lies, what comes back, and that a guest
//! which loses something is noticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kunwind::Target as _;
use rstest::rstest;
use unwind_harness::cpu::{self, Exception};
use unwind_harness::guest::Guest;
use unwind_harness::guest::Program;
use unwind_harness::machine::Machine;
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{self, GuestTarget};
use unwind_harness::suite::Job;
use unwind_harness::trace::{Action, Observer, Point, RegisterSet, Run as _};

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

/// A copy of one scenario with its guest, with one instruction of a function replaced by as many bytes.
fn patched(name: &str, scenario: &str, function: &str, offset: u64, code: &[u8]) -> PathBuf {
    let (cpu, stem) = scenario.split_once('/').expect("a scenario's name is <cpu>/<name>");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("privilege-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    for part in ["scenarios", "guests"] {
        std::fs::create_dir_all(folder.join(part).join(cpu)).expect("a new folder");
    }
    let (toml, elf) = (format!("scenarios/{cpu}/{stem}.toml"), format!("guests/{cpu}/{stem}.elf"));
    let guest = Guest::load(&root().join(&elf), cpu::by_name(cpu).expect("a CPU")).expect("the guest loads");
    let address = guest.function(function).expect("a function").address + offset;
    let mut data = std::fs::read(root().join(&elf)).expect("the guest is there");
    // Code is found in the file by what stands around it.
    let around = &guest.bytes_at(address - 16)[..48];
    let at = data.windows(around.len()).position(|window| window == around).expect("the code is in the file") + 16;
    data[at..at + code.len()].copy_from_slice(code);
    std::fs::write(folder.join(elf), data).expect("a new file");
    std::fs::copy(root().join(&toml), folder.join(&toml)).expect("a copy");
    folder
}

/// The exits of an x86-64 guest, each by a path of its own: from user mode, from a system call, from a breakpoint, from a double
/// fault. A pop into rcx instead of rbp or r12 must be noticed, which it is only where the path is really taken.
#[rstest]
#[case::user("user_entry", Interruption::Irq, "common_interrupt_return", true, &[0x41, 0x5c], "r12 ")]
#[case::syscall("syscall", Interruption::Nmi, "common_interrupt_return", true, &[0x5d], "rbp ")]
#[case::debug_in_user("user_entry", Interruption::Debug, "common_interrupt_return", true, &[0x41, 0x5c], "r12 ")]
#[case::debug("irq_on_task", Interruption::Debug, "common_interrupt_return", false, &[0x41, 0x5c], "r12 ")]
#[case::double_fault("overflow", Interruption::Irq, "common_interrupt_return", false, &[0x5d], "rbp ")]
fn a_register_that_an_x86_exit_loses_voids_the_run(
    #[case] guest: &str,
    #[case] kind: Interruption,
    #[case] function: &str,
    #[case] to_user: bool,
    #[case] pop: &[u8],
    #[case] register: &str,
) {
    let scenario = format!("x86_64/{guest}");
    assert_eq!(run(root(), &scenario, kind).void, None, "without the fault");
    let elf = root().join(format!("guests/{scenario}.elf"));
    let loaded = Guest::load(&elf, cpu::by_name("x86_64").expect("a CPU")).expect("the guest loads");
    let whole = loaded.function(function).expect("a function");
    let code = &loaded.bytes_at(whole.address)[..whole.size as usize];
    // The way to user mode stands first, the way back to the kernel last.
    // A byte 0x41 before it would make it a pop of another register.
    let is_pop = |window: &[u8]| window[0] != 0x41 && &window[1..] == pop;
    let mut windows = code.windows(pop.len() + 1);
    let before = if to_user { windows.position(is_pop) } else { windows.rposition(is_pop) }.expect("a pop") as u64;
    let offset = before + 1;
    let name = format!("{guest}-{}-{function}", kind.name());
    let folder = patched(&name, &scenario, function, offset, &[0x59, 0x90][..pop.len()]);
    let reason = run(&folder, &scenario, kind).void.expect("the run is void");
    assert!(reason.contains(register) || reason.contains("callee-saved"), "{reason}");
}

#[test]
fn breakpoints_arrive_wherever_interrupts_do() {
    for cpu in ["arm64", "riscv64", "x86_64"] {
        let name = format!("{cpu}/irq_on_task");
        let (irq, debug) = (run(root(), &name, Interruption::Irq), run(root(), &name, Interruption::Debug));
        assert_eq!((irq.void.as_ref(), debug.void.as_ref()), (None, None), "{name}");
        assert_eq!(places(&irq, true), places(&debug, true), "{name}");
    }
}

/// An NMI can interrupt the entry from user mode with the user's GS base, on the entry stack, with pt_regs incomplete.
#[test]
fn nmis_nest_in_the_entry_from_user_mode() {
    let mut scenario = Scenario::load(&root().join("scenarios/x86_64/user_entry.toml")).expect("the scenario is there");
    let entry = ["idt_irq", "error_entry", "sync_regs", "error_return", "common_interrupt_return"];
    scenario.text.within = entry.map(str::to_owned).to_vec();
    scenario.text.max_visits = 1;
    scenario.text.budget = 100_000_000;
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Nested };
    let section = job.run(&subject::all(scenario.cpu)).expect("the guest runs");
    assert_eq!(section.void, None);
    let points: BTreeSet<String> = places(&section, true).into_iter().map(|(function, _)| function).collect();
    assert_eq!(points, entry.map(str::to_owned).into(), "sync_regs runs for user mode alone");
}

/// Delivers one exception at the first arrival at an instruction, and stops at what runs next.
struct DeliverOnce {
    at: u64,
    exception: Exception,
    sp: RegisterSet,
    /// SP before, and in the first instruction of the entry, with the words that the CPU has pushed there.
    seen: Option<(u64, u64, Vec<u64>)>,
    before: Option<u64>,
}

impl Observer for DeliverOnce {
    fn point(&mut self, at: &Point<'_>) -> Action {
        let mut sp = [0];
        at.read_values(&self.sp, &mut sp);
        if let Some(before) = self.before {
            let words = (0..6).map(|index| at.memory.read_u64(sp[0] + 8 * index).unwrap_or_default());
            self.seen = Some((before, sp[0], words.collect()));
            return Action::Stop;
        }
        if at.pc != self.at {
            return Action::Continue;
        }
        self.before = Some(sp[0]);
        Action::Deliver { exception: self.exception, write: None }
    }
}

/// Which stack an x86-64 CPU pushes its frame on, and what it pushes: by the SDM, not by what a guest makes of it.
#[rstest]
#[case::rsp0("user_entry", "user_leaf", Exception::Irq, "entry", None)]
#[case::rsp0_with_error_code("user_entry", "user_leaf", Exception::Fault, "entry", Some(4))]
#[case::ist("user_entry", "user_leaf", Exception::Debug, "db", None)]
#[case::nmi("user_entry", "user_leaf", Exception::Nmi, "nmi", None)]
#[case::kernel_ist("irq_on_task", "leaf", Exception::Debug, "db", None)]
#[case::double_fault("overflow", "leaf", Exception::Irq, "df", Some(0))]
#[case::double_fault_of_a_fault("overflow", "leaf", Exception::Fault, "df", Some(0))]
fn an_x86_exception_frame_lies_where_the_cpu_puts_it(
    #[case] name: &str,
    #[case] function: &str,
    #[case] exception: Exception,
    #[case] stack: &str,
    #[case] error_code: Option<u64>,
) {
    let cpu = cpu::by_name("x86_64").expect("a CPU");
    let guest = Guest::load(&root().join(format!("guests/x86_64/{name}.elf")), cpu).expect("the guest loads");
    let at = guest.function(function).expect("a function").address;
    let program = Program::mimic(guest, &[], 0).expect("a sound guest");
    let sp = RegisterSet::new(cpu, [cpu.sp]);
    let mut observer = DeliverOnce { at, exception, sp, seen: None, before: None };
    Machine::new(&program, "_start", 100_000).expect("a machine").drive(&mut observer).expect("it stops at the entry");
    let (before, sp, words) = observer.seen.expect("the exception was taken");
    let top = program.layout.stacks.iter().find(|one| one.name == stack).expect("a stack").bounds.high;
    assert_eq!(sp, top - 40 - 8 * error_code.iter().count() as u64);
    let frame = match error_code {
        Some(code) => {
            assert_eq!(words[0], code);
            &words[1..]
        }
        None => &words[..5],
    };
    let (cs, ss) = if name == "user_entry" { (0x2b, 0x23) } else { (0x10, 0x18) };
    assert_eq!((frame[0], frame[1], frame[3], frame[4]), (at, cs, before, ss));
}

#[test]
fn a_deferred_walk_that_is_given_other_registers_voids_the_run() {
    assert_eq!(run(root(), "x86_64/syscall", Interruption::Nmi).void, None, "without the fault");
    // xorl %edi, %edi; nop, instead of the load of the argument.
    let load = 0x17;
    let folder = patched("walk_user", "x86_64/syscall", "do_syscall_64", load, &[0x31, 0xff, 0x90]);
    let reason = run(&folder, "x86_64/syscall", Interruption::Nmi).void.expect("a void run");
    assert!(reason.contains("walk_user was given"), "{reason}");
}

#[test]
fn a_deferred_walk_is_made_only_for_earlier_requests() {
    let section = run(root(), "x86_64/syscall", Interruption::Nmi);
    let column = section.columns.iter().position(|column| column.name == "unwind-user").expect("a column");
    let exit = section.functions.iter().find(|function| function.name == "exit_to_user_mode").expect("it runs");
    let walks: Vec<(u64, bool)> = exit
        .instructions
        .iter()
        .filter(|line| line.visits > 0)
        .map(|line| (line.offset, !line.runs[column].is_empty()))
        .collect();
    let call = walks.iter().position(|(_, was_walked)| !was_walked).expect("points after the walk");
    assert!(call > 0 && walks[..call].iter().all(|(_, was_walked)| *was_walked), "{walks:x?}");
    assert!(walks[call..].iter().all(|(_, was_walked)| !was_walked), "{walks:x?}");
}

#[test]
fn a_walk_of_a_user_stack_reads_nothing_else() {
    let path = root().join("scenarios/x86_64/syscall.toml");
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
    let machine = Machine::new(&program, "_start", 100_000).expect("a machine");
    let user = program.layout.stacks.iter().find(|stack| stack.name == "user").expect("its stack").bounds;
    let stacks = [user];
    let target = GuestTarget::of_user(&program, machine.memory(), &stacks);
    assert!(target.read_u64(user.low).is_some() && target.read_u64(user.high - 8).is_some());
    for of_kernel in [user.high, user.low - 8, user.low - 4, program.guest.segments[0].address] {
        assert_eq!(target.read_u64(of_kernel), None, "{of_kernel:#x}");
    }
}
