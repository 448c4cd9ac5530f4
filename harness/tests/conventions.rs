//! Other people's conventions: what a scenario declares of calls and of fibers, what the witnesses make of it, and what they say
//! where nothing is declared.

use std::path::{Path, PathBuf};

use rstest::rstest;
use unwind_harness::cpu::FlowKind;
use unwind_harness::guest::conventions::{SpAtReturn, mimic};
use unwind_harness::guest::{Guest, Program};
use unwind_harness::oracle::{Event, Future, Ledger, Oracle, Transfer, Witness, Witnesses};
use unwind_harness::recording::Section;
use unwind_harness::rows;
use unwind_harness::scenario::{Interruption, Scenario, Variant};
use unwind_harness::subject::Subject;
use unwind_harness::suite::{Job, judge_log, machine};
use unwind_harness::trace::log::Log;
use unwind_harness::trace::{Action, Observer, Point, Run as _};

const NOBODY: [Box<dyn Subject + Send>; 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path_of(name: &str) -> PathBuf {
    root().join("scenarios").join(format!("{name}.toml"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&path_of(name)).expect("the scenario is there")
}

/// The scenario with other keys at its start, before its tables.
fn with(name: &str, from: &str, to: &str) -> Result<Scenario, String> {
    let source = scenario(name).source;
    assert!(source.contains(from), "{name} has no {from:?}");
    Scenario::parse(&path_of(name), &source.replacen(from, to, 1)).map_err(|error| error.to_string())
}

fn fixed(scenario: &Scenario) -> Variant {
    let variants = scenario.variants();
    variants.iter().find(|variant| variant.name == "fixed").unwrap_or(&variants[0]).clone()
}

fn run_with(scenario: &Scenario, witnesses: Witnesses) -> Section {
    let variant = fixed(scenario);
    let job = Job { root: root(), scenario, variant: &variant, kind: Interruption::Probe };
    job.run_with(&NOBODY, witnesses).expect("the guest runs to its end")
}

fn void(scenario: &Scenario) -> String {
    run_with(scenario, Witnesses::default()).void.unwrap_or_default()
}

#[rstest]
#[case(
    "x86_64/museum_ret_n",
    "caller+0xa resumed after its call of pops, but with SP 0x10 higher than at the call: task stack top-0x20 instead of task stack top-0x30, coming from pops+0xa",
    "pops = 0x10"
)]
#[case(
    "riscv64/museum_millicode",
    "user+0x4 resumed after its call of save_2, but with SP 0x70 lower than at the call",
    "outlined = \"prologue\""
)]
fn a_return_with_another_sp_is_void_with_both_unless_it_is_declared(
    #[case] name: &str,
    #[case] what: &str,
    #[case] advice: &str,
) {
    let mut scenario = scenario(name);
    assert_eq!(run_with(&scenario, Witnesses::default()).void, None);
    scenario.text.convention.clear();
    let void = void(&scenario);
    assert!(void.starts_with(what) && void.ends_with(advice), "{void}");
}

/// A witness that knows no conventions.
struct Deaf<W>(W);

impl<W: Witness> Witness for Deaf<W> {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        // Without the convention, the future witness would look for the address where the ISA's calls leave it.
        let linked = transfer.linked && (transfer.flow.kind == FlowKind::Call || !transfer.enters_by_jump);
        self.0.arrived(&Transfer { returns: SpAtReturn::Same, enters_by_jump: false, linked, ..*transfer })
    }

    fn waits(&mut self, resume: u64, cfa: u64, number: u64) {
        self.0.waits(resume, cfa, number);
    }

    fn ends(&mut self, task: u64, call: (u64, u64)) {
        self.0.ends(task, call);
    }
}

/// Neither copies what the other makes of a convention.
#[rstest]
fn each_witness_needs_the_convention_for_itself(
    #[values("x86_64/museum_ret_n", "riscv64/museum_millicode", "arm64/outlined_frame")] name: &str,
) {
    let scenario = scenario(name);
    for witnesses in [
        Witnesses { ledger: Box::new(Deaf(Ledger::default())), ..Witnesses::default() },
        Witnesses { future: Box::new(Deaf(Future::default())), ..Witnesses::default() },
    ] {
        let void = run_with(&scenario, witnesses).void.unwrap_or_default();
        assert!(void.contains("the ledger says"), "{name}: {void}");
    }
}

#[test]
fn the_register_witness_stays_on_for_what_a_function_preserves() {
    let name = "arm64/museum_ra_in_x19";
    for (from, to) in
        [("clobbers = [\"x19\"]", "clobbers = [\"x20\"]"), ("clobbers = [\"x19\"]", "pops = 0\npreserves = [\"x19\"]")]
    {
        let void = void(&with(name, from, to).expect("it is sound"));
        assert!(
            void.contains("callee-saved x19 was ml_code+0xc") || void.contains("callee-saved x19 was"),
            "{to}: {void}"
        );
    }
    for to in ["preserves = [\"x29\", \"x20\"]", "preserves = []"] {
        assert_eq!(void(&with(name, "clobbers = [\"x19\"]", to).expect("it is sound")), "", "{to}");
    }
}

#[test]
fn an_outlined_epilogue_may_restore_registers_and_nothing_else() {
    let name = "arm64/outlined_frame";
    assert_eq!(void(&scenario(name)), "");
    // As an ordinary function it may neither move SP nor touch x19.
    let undeclared = with(
        name,
        "functions = [\"epilogue_*\"]\noutlined = \"epilogue\"",
        "functions = [\"leaf\"]\nclobbers = [\"x28\"]",
    );
    let reason = void(&undeclared.expect("it is sound"));
    assert!(
        reason.contains("user+0x18 resumed after its call of epilogue_x19x20, but with SP 0x20 higher"),
        "{reason}"
    );
    let popped = with(name, "outlined = \"epilogue\"", "pops = 32").expect("it is sound");
    let reason = void(&popped);
    assert!(reason.contains("callee-saved x19 was 0x1 at the call and is 0x7 when user+0x18 resumes"), "{reason}");
}

#[test]
fn a_register_that_does_not_hold_the_return_address_contradicts_the_declaration() {
    let reason = void(&with("arm64/outlined_frame", "link = \"x9\"", "link = \"x10\"").expect("it is sound"));
    assert!(
        reason.contains("[[convention]] says that x10 holds the return address, but it is not by_x9+0x8"),
        "{reason}"
    );
}

#[rstest]
#[case("functions = []\npops = 8", "functions is empty")]
#[case("functions = [\"pops\"]", "declares nothing")]
#[case("functions = [\"pops\"]\npops = 8\noutlined = \"prologue\"", "pops and outlined exclude each other")]
#[case("functions = [\"pops\"]\npreserves = []\nclobbers = []", "preserves and clobbers exclude each other")]
#[case("functions = [\"pops\"]\nclobbers = [\"x19\"]", "\"x19\" is no register of x86_64, which has rax")]
#[case("functions = [\"pops\"]\nclobbers = [\"rax\"]", "no ABI makes a function preserve rax, only rbx, rbp")]
#[case("functions = [\"pops\"]\nlink = \"t0\"", "link: \"t0\" is no register of x86_64")]
#[case("functions = [\"pops\"]\noutlined = \"both\"", "unknown variant `both`")]
fn a_wrong_declaration_is_refused_by_its_key(#[case] keys: &str, #[case] what: &str) {
    let error = with("x86_64/museum_ret_n", "functions = [\"pops\"]\npops = 16", keys).expect_err("it is wrong");
    assert!(error.contains(what) && error.contains("museum_ret_n.toml"), "{error}");
}

#[rstest]
#[case("functions = [\"pops\"]", "functions = [\"pop\"]", "\"pop\" is no function of")]
#[case("functions = [\"pops\"]", "functions = [\"push*\"]", "\"push*\" is no function of")]
#[case(
    "[must]",
    "[[convention]]\nfunctions = [\"po*\"]\npops = 8\nbecause = \"twice\"\n\n[must]",
    "two tables name pops"
)]
#[case("only", "fibers = [\"task\"]\nonly", "\"task\" is the stack on which the run begins")]
#[case("only", "fibers = [\"a\"]\nonly", "no stack \"a\", only [\"task\"]")]
fn a_declaration_that_does_not_fit_the_guest_is_refused(#[case] from: &str, #[case] to: &str, #[case] what: &str) {
    let scenario = with("x86_64/museum_ret_n", from, to).expect("the text is sound");
    let error = scenario.program(root(), &fixed(&scenario)).expect_err("it does not fit").to_string();
    assert!(error.contains(what) && error.contains("museum_ret_n.toml"), "{error}");
}

#[test]
fn a_kernel_has_tasks_and_no_fibers() {
    let scenario = with("arm64/irq_on_task", "guest =", "fibers = [\"other\"]\nguest =").expect("the text is sound");
    let error = scenario.program(root(), &scenario.variants()[0]).expect_err("it is a kernel").to_string();
    assert!(error.contains("fibers: a kernel's tasks"), "{error}");
}

#[test]
fn only_a_kernels_entry_code_returns_with_another_sp_without_a_declaration() {
    let scenario = scenario("x86_64/leaf");
    let guest = Guest::load(&scenario.guest_path(root(), &scenario.variants()[0]), scenario.cpu).expect("it loads");
    let mut conventions = mimic(&guest);
    conventions.moved_returns.push(guest.function("leaf").expect("a function").address);
    let error = Program::new(guest, conventions, &[], 0).expect_err("it is no kernel").to_string();
    assert!(error.contains("[[convention]]") && error.contains("only the entry code of a kernel"), "{error}");
}

// Fibers

/// Notes the functions of the truth at each arrival at the first instruction of `leaf`.
struct Watch<'p> {
    oracle: Oracle<'p>,
    program: &'p Program,
    leaf: u64,
    found: Vec<String>,
    /// The points at which nobody can say who will resume.
    between: Vec<String>,
}

impl Observer for Watch<'_> {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.oracle.observe(at);
        let symbols = &self.program.guest.symbols;
        if self.oracle.is_between_strands() {
            self.between.push(symbols.name(at.pc));
        }
        if at.pc == self.leaf {
            let truth = self.oracle.truth();
            let function = |place: unwind_harness::oracle::Place| place.function(symbols).map_or("?", |it| &it.name);
            let names: Vec<&str> = truth.activations().map(|activation| function(activation.place())).collect();
            self.found.push(names.join(" "));
        }
        Action::Continue
    }
}

#[rstest]
fn each_fiber_has_activations_of_its_own(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let scenario = scenario(&format!("{cpu}/fibers"));
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
    let leaf = program.guest.function("leaf").expect("a function").address;
    let oracle = Oracle::new(&program, Witnesses::default());
    let mut watch = Watch { oracle, program: &program, leaf, found: Vec::new(), between: Vec::new() };
    machine(&program, &scenario.text).expect("a machine").drive(&mut watch).expect("the guest ends");
    // As the source has it: b goes first, on the shared stack; then the main stack; then a, where it had waited.
    assert_eq!(watch.found, ["on_shared b_main", "guest_main _start", "a_deeper a_main"]);
    // Twice: once for each fiber that begins, from the switch of SP to the end of switch_to.
    assert!(watch.between.iter().all(|place| place.starts_with("switch_to+")), "{:?}", watch.between);
    let (first, second) = watch.between.split_at(watch.between.len() / 2);
    assert!(first == second && first.len() > 2, "{:?}", watch.between);
    assert_eq!(watch.oracle.finish(&scenario.text.never_resumes).contradiction, None);
}

#[rstest]
fn fibers_that_are_not_declared_are_void(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let scenario = with(&format!("{cpu}/fibers"), "fibers = [\"a\", \"b\"]\n", "").expect("the text is sound");
    assert_ne!(void(&scenario), "");
    let scenario =
        with(&format!("{cpu}/fibers"), "\"a\", \"b\"", "\"a\", \"b\", \"shared\"").expect("the text is sound");
    let reason = void(&scenario);
    assert!(reason.contains("on_shared+") && reason.contains("take \"shared\" out of fibers"), "{reason}");
}

#[test]
fn all_subjects_of_programs_walk_fibers() {
    let scenario = scenario("arm64/fibers");
    let variant = fixed(&scenario);
    let job = Job { root: root(), scenario: &scenario, variant: &variant, kind: Interruption::Probe };
    let section = job.run(&unwind_harness::suite::subjects(scenario.cpu, &[])).expect("it runs");
    let names: Vec<&str> = section.columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["frame-record", "sframe", "dwarf", "unwind-user", "unwind-user-fp"]);
    assert!(section.columns.iter().all(|column| column.counters.walks == section.points));
}

// Slots

const STORE: &str = "callee-saved x29 was task stack top-0x10 at the call and is golang+0x10 when guest_main+0x10 resumes: \
                     memset_neon+0x0 stored over [cfa-0x38], where golang+0x4 had saved x29, while golang+0x10 waited";

#[test]
fn a_slot_that_was_overwritten_is_void_with_the_store() {
    let scenario = scenario("arm64/museum_clobbered_slot");
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let (section, log) = job.run_logged(&NOBODY).expect("it runs");
    let reason = section.void.clone().unwrap_or_default();
    assert_eq!(reason.split_once(": ").map(|(_, what)| what), Some(STORE));
    assert!(section.void_is_meant);
    let logs = Log::read_all(&Log::file(&[log])).expect("a sound log");
    assert_eq!(judge_log(&logs[0], &[]).expect("it is judged").void, Some(reason.clone()), "a log tells the same");
    let checked = rows::run_all(root(), std::slice::from_ref(&scenario), &[]).expect("it runs");
    let guest = checked.rows.iter().find(|guest| guest.name.ends_with("-defective")).expect("it was checked");
    assert_eq!((guest.void.as_ref(), guest.void_is_meant), (Some(&reason), true));
    assert_eq!(void(&scenario), "", "the fixed build is not void");
}

/// Where no store is to blame, the instruction is.
#[rstest]
#[case("arm64", "x19", "clobber+0x10")]
#[case("riscv64", "s1", "clobber+0x12")]
#[case("x86_64", "rbx", "clobber+0xc")]
fn a_register_that_was_never_saved_is_void_with_the_instruction(
    #[case] cpu: &str,
    #[case] register: &str,
    #[case] place: &str,
) {
    let reason = void(&scenario(&format!("{cpu}/clobbered_callee_saved")));
    let what = format!("no store to a slot that held it was seen: the register itself was changed at {place}");
    assert!(reason.contains(&format!("callee-saved {register} was")) && reason.ends_with(&what), "{reason}");
}

/// An interrupt's entry code stores where the function that it interrupts keeps a register, below SP.
#[rstest]
#[case("defective")]
#[case("fixed")] // here the handler of a later interrupt restores what the function had restored before
fn a_slot_that_entry_code_overwrites_is_void_with_its_store(#[case] build: &str) {
    let name = "arm64/museum_record_below_sp";
    let scenario = with(name, "within =", "interrupt = [\"irq\"]\nwithin =").expect("it is sound");
    let variants = scenario.variants();
    let variant = variants.iter().find(|variant| variant.name == build).expect("it has both");
    let job = Job { root: root(), scenario: &scenario, variant, kind: Interruption::Irq };
    let reason = job.run(&NOBODY).expect("it runs").void.unwrap_or_default();
    let what = "el1h_64_irq+0x58 stored over [cfa-0x38], where golang+0x4 had saved x29, while golang+0x8 waited";
    assert!(reason.ends_with(what), "{reason}");
}

/// `late` restores x19 and x20 from each other's slots.
#[test]
fn a_register_that_is_restored_from_another_place_is_void_with_the_instruction() {
    /// `ldp x19, x20, [sp]` and `ldp x20, x19, [sp]`, as clang assembles them.
    const RIGHT: [u8; 4] = 0xa940_53f3_u32.to_le_bytes();
    const WRONG: [u8; 4] = 0xa940_4ff4_u32.to_le_bytes();
    let scenario = scenario("arm64/late_frame_record");
    let variant = fixed(&scenario);
    let mut guest = Guest::load(&scenario.guest_path(root(), &variant), scenario.cpu).expect("it loads");
    let at = guest.function("late").expect("a function").address + 0x24;
    let segment = guest.segments.iter_mut().find(|segment| segment.executable).expect("code");
    let word = &mut segment.data[(at - segment.address) as usize..][..4];
    assert_eq!(word, RIGHT);
    word.copy_from_slice(&WRONG);
    let program = Program::mimic(guest, &[], 0).expect("a sound guest");
    let job = Job { root: root(), scenario: &scenario, variant: &variant, kind: Interruption::Probe };
    let mut machine = machine(&program, &scenario.text).expect("a machine");
    let done = job.over(&program, &mut machine, &[], &NOBODY, Witnesses::default(), None).expect("it runs");
    let reason = done.section.void.unwrap_or_default();
    let what =
        "nothing was stored over [cfa-0x30], where late+0x8 had saved it: the register itself was changed at late+0x24";
    assert!(reason.contains("callee-saved x19") && reason.ends_with(what), "{reason}");
}

#[test]
fn a_call_that_only_pushes_is_no_activation_and_nothing_returns_to_it() {
    // What return_to_handler's call pushes is overwritten: it stays on the list until its caller's caller resumes, unless it is
    // declared to be no call.
    let scenario = scenario("x86_64/fgraph");
    let variant = fixed(&scenario);
    let testimony = |pushes: &dyn Fn(&Program) -> Vec<u64>| {
        let mut program = scenario.program(root(), &variant).expect("the guest is there");
        program.conventions.pushes = pushes(&program);
        let mut run = machine(&program, &scenario.text).expect("a machine");
        let oracle = Oracle::new(&program, Witnesses::default());
        let mut watch = Watch { oracle, program: &program, leaf: 0, found: Vec::new(), between: Vec::new() };
        run.drive(&mut watch).expect("it runs to its end");
        watch.oracle.finish(&scenario.text.never_resumes)
    };
    let in_handler = |program: &Program| {
        let handler = program.guest.function("return_to_handler").expect("a function");
        let code = &program.guest.bytes_at(handler.address)[..handler.size as usize];
        let at = code.windows(6).position(|window| window == [0xe8, 1, 0, 0, 0, 0xcc]).expect("a call over int3");
        handler.address + at as u64 + 5
    };
    let waits = |testimony: &unwind_harness::oracle::Testimony, at: u64| {
        testimony.unwitnessed.iter().any(|(place, _)| place.address == at)
    };
    let program = scenario.program(root(), &variant).expect("the guest is there");
    let at = in_handler(&program);
    let plain = testimony(&|_| Vec::new());
    assert!(waits(&plain, at), "{:?}", plain.unwitnessed);
    let declared = testimony(&|program| vec![in_handler(program)]);
    assert_eq!(declared.contradiction, None);
    assert!(!waits(&declared, at), "{:?}", declared.unwitnessed);
    // A call that does return was declared wrongly.
    let wrong = testimony(&|program| {
        let subject = program.conventions.kernel.as_ref().and_then(|kernel| kernel.symbols.subject).expect("a subject");
        let function = program.guest.symbols.function_at(subject).expect("a function");
        let code = &program.guest.bytes_at(subject)[..function.size as usize];
        let at = code.iter().position(|byte| *byte == 0xe8).expect("a call");
        vec![subject + at as u64 + 5]
    });
    let reason = wrong.contradiction.unwrap_or_default();
    assert!(reason.contains("behind a call that is said only to push"), "{reason}");
}
