//! The seams, each with a second implementer that has nothing to do with the first: conventions without symbols, a subject that is
//! a list, a subject that is code of the guest, a run that is a log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use rstest::rstest;
use unwind_harness::cpu::{self, ALL, CodeAddress, Cpu, Register, Regs};
use unwind_harness::guest::conventions::{
    Conventions, DeclaredStack, Kernel, KernelSymbols, KnownTask, SavedContext, StackRole, TaskPlace, TaskStack,
    Vector, Vectors,
};
use unwind_harness::guest::{Guest, Program, Symbols};
use unwind_harness::machine::{Call, call};
use unwind_harness::oracle::Witnesses;
use unwind_harness::recording::{Recording, Section};
use unwind_harness::report::json;
use unwind_harness::scenario::{Interruption, Scenario, load_all};
use unwind_harness::subject::{About, Claim, Claims, End, Entry, KunwindSubject, Outcome, Question, Subject, all};
use unwind_harness::suite::{Job, judge_log, machine, subjects};
use unwind_harness::trace::log::{Log, Replay};
use unwind_harness::trace::{Action, Observer, Point, RegisterSet, Run as _};

type Subjects = Vec<Box<dyn Subject + Send>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&root().join("scenarios").join(format!("{name}.toml"))).expect("the scenario is there")
}

fn document(section: &Section) -> String {
    let mut out = Vec::new();
    json::write(&Recording::new(vec![section.clone()]), &mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("JSON is text")
}

// Conventions

/// The conventions of arm64's `irq_on_task` as numbers: offsets from the image's base, instead of labels and data symbols.
fn conventions_by_offsets(guest: &Guest, offsets: &BTreeMap<&str, u64>) -> Conventions {
    let base = guest.segments.first().expect("it is loaded").address;
    let at = |name: &str| base + offsets[name];
    let stack = |name: &str, role: StackRole| DeclaredStack {
        name: name.to_owned(),
        size: 0x1000,
        low_word: at(&format!("{name} stack")),
        high_word: at(&format!("{name} stack")) + 8,
        role,
    };
    let mut vectors = Vectors::default();
    vectors.set(Vector::Table, "the vector table", Some(at("vector table")));
    Conventions {
        sentinel: Some(at("end")),
        stacks: [("irq", StackRole::Kernel), ("other", StackRole::Kernel), ("overflow", StackRole::Kernel)]
            .into_iter()
            .chain([("task", StackRole::First)])
            .map(|(name, role)| stack(name, role))
            .collect(),
        arena: Some(at("arena")..at("arena end")),
        scratch: Some(at("scratch")..at("scratch end")),
        vectors,
        kernel: Some(Kernel {
            current: Some(at("current")),
            known: KnownTask::default(),
            frame_pointers: None,
            stack: TaskStack::Bounds(0, 8),
            entered_from: Vec::new(),
            tasks: [at("first task"), at("second task")]
                .map(|address| TaskPlace { address, ret_stack: None, rethooks: None })
                .to_vec(),
            fork_entry: None,
            context: SavedContext::InTask { pc: 112, registers: vec![(Register(29), 96), (Register(31), 104)] },
            pt_regs: guest.cpu.abi.pt_regs,
            saved_pc: None,
            symbols: KernelSymbols {
                subject: Some(at("subject")),
                walk_here: Some(at("walk here")),
                walk_task: Some(at("walk task")),
                walk_user: None,
                need_resched: Some((at("need resched"), 1)),
            },
        }),
        nesting: Vec::new(),
        ..Conventions::default()
    }
}

/// What stands in the table, and the symbol from which the test takes each offset.
const NAMES: [(&str, &str); 17] = [
    ("end", "__sentinel"),
    ("arena", "__stack_arena_low"),
    ("arena end", "__stack_arena_high"),
    ("scratch", "__scratch_low"),
    ("scratch end", "__scratch_high"),
    ("vector table", "vectors"),
    ("current", "__current"),
    ("first task", "task_boot"),
    ("second task", "task_other"),
    ("subject", "guest_main"),
    ("walk here", "walk_here"),
    ("walk task", "walk_task"),
    ("need resched", "need_resched"),
    ("irq stack", "__stack_irq_low"),
    ("other stack", "__stack_other_low"),
    ("overflow stack", "__stack_overflow_low"),
    ("task stack", "__stack_task_low"),
];

#[test]
fn conventions_need_no_symbols() {
    let scenario = scenario("arm64/irq_on_task");
    let variants = scenario.variants();
    let path = scenario.guest_path(root(), &variants[0]);
    let mut guest = Guest::load(&path, scenario.cpu).expect("the guest loads");
    let base = guest.segments.first().expect("it is loaded").address;
    let offset = |symbol: &str| guest.symbols.address(symbol).unwrap_or_else(|| panic!("{symbol} is there")) - base;
    let mut offsets: BTreeMap<&str, u64> = NAMES.iter().map(|(name, symbol)| (*name, offset(symbol))).collect();
    // The two words of a declared stack are adjacent.
    for name in ["irq", "other", "overflow", "task"] {
        assert_eq!(offset(&format!("__stack_{name}_high")) - offset(&format!("__stack_{name}_low")), 8, "{name}");
    }
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Irq };
    let subjects = all(scenario.cpu);
    let by_symbols = job.run(&subjects).expect("the guest runs");

    let size = |guest: &Guest, name: &str| {
        let word = guest.bytes_at(base + offsets[&*format!("{name} stack")] + 8).first_chunk().expect("a word");
        u64::from_le_bytes(*word)
    };
    let sizes = ["irq", "other", "overflow", "task"].map(|name| size(&guest, name));
    // Only the names of functions are left, which name points; not those that the harness looks for.
    let functions = guest.symbols.all().iter().filter(|symbol| symbol.is_function && symbol.size > 0).cloned();
    guest.symbols = Symbols::new(functions.collect());
    assert_eq!(guest.symbols.address("__current"), None);
    let mut conventions = conventions_by_offsets(&guest, &offsets);
    for (stack, size) in conventions.stacks.iter_mut().zip(sizes) {
        stack.size = size;
    }
    let program = Program::new(guest, conventions.clone(), &[], 0).expect("a sound guest");
    let run = |program: &Program| {
        let undisturbed = {
            let mut machine = machine(program, &scenario.text).expect("a machine");
            machine.drive(&mut unwind_harness::trace::Unobserved).expect("it ends");
            unwind_harness::experiment::lasting_words(program, machine.memory())
        };
        let mut machine = machine(program, &scenario.text).expect("a machine");
        job.over(program, &mut machine, &undisturbed, &subjects, Witnesses::default(), None)
    };
    let by_offsets = run(&program).expect("the guest runs").section;
    assert_eq!(by_offsets.void, None);
    assert!(by_offsets.points > 20);
    assert_eq!(document(&by_offsets), document(&by_symbols));

    // A table with one wrong offset is noticed.
    offsets.insert("current", offsets["need resched"]);
    let mut guest = Guest::load(&path, scenario.cpu).expect("the guest loads");
    guest.symbols = program.guest.symbols.clone();
    let wrong = Conventions { stacks: conventions.stacks, ..conventions_by_offsets(&guest, &offsets) };
    let program = Program::new(guest, wrong, &[], 0).expect("a sound guest");
    let outcome = run(&program);
    assert!(outcome.is_err() || outcome.is_ok_and(|done| done.section.void.is_some() || done.section.points == 0));
}

// Subjects

/// A subject with a fixed answer.
struct Canned {
    about: About,
    /// The return addresses after the start, with their CFAs.
    entries: Vec<(u64, Option<u64>)>,
    outcome: Outcome,
}

impl Subject for Canned {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let sp = question.target.program.guest.cpu.sp;
        let start = Entry { pc: question.pc, regs: question.regs, source: &"canned", progress: None };
        let mut flow = each(&start);
        for (pc, cfa) in &self.entries {
            if flow.is_break() {
                return Outcome { end: End::Full, ..self.outcome };
            }
            let mut regs = Regs::none();
            if let Some(cfa) = cfa {
                regs.set(sp, *cfa);
            }
            flow = each(&Entry { pc: CodeAddress::Return(*pc), regs: &regs, source: &"canned", progress: None });
        }
        self.outcome
    }
}

fn about(name: &str, cpu: &'static Cpu) -> About {
    About { name: name.to_owned(), claims: Claims::ByEnd, ..KunwindSubject::frame_record(cpu).about().clone() }
}

/// The verdict on the first instruction of `leaf`, which guest_main's callee calls twice.
fn verdict_on_leaf(subject: Canned) -> String {
    let scenario = scenario("arm64/leaf");
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let section = job.run(&[Box::new(subject) as _]).expect("the guest runs");
    let leaf = section.functions.iter().find(|function| function.name == "leaf").expect("it ran");
    leaf.instructions[0].runs[0][0].verdict.to_string()
}

#[test]
fn a_subject_can_be_a_list() {
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let scenario = scenario("arm64/leaf");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
    // The truth at the first arrival, read off the source: caller waits in its first call, guest_main and _start in theirs.
    let after_call = |function: &str| {
        let lines = program.listing.of(program.guest.function(function).expect("a function"));
        let call = lines.iter().position(|line| line.text.starts_with("bl ")).expect("a call");
        lines[call + 1].address
    };
    let right = ["caller", "guest_main", "_start"].map(|function| (after_call(function), None));
    let reliable = Outcome { end: End::Outermost, claim: Claim::Reliable };
    let verdict = |entries: &[(u64, Option<u64>)], outcome| {
        verdict_on_leaf(Canned { about: about("canned", cpu), entries: entries.to_vec(), outcome })
    };
    assert_eq!(verdict(&right, reliable), "=");
    assert_eq!(verdict(&right[1..], reliable), "!skipped");
    assert_eq!(verdict(&right[..2], reliable), "!truncated");
    assert_eq!(verdict(&right[..2], Outcome { end: End::Stopped, claim: Claim::Unreliable }), "<2");
    assert_eq!(verdict(&right, Outcome { end: End::Outermost, claim: Claim::Unreliable }), "~");
    assert_eq!(verdict(&[right[0], (1, None), right[2]], reliable), "!substituted");
    let wrong_cfa = [(right[0].0, Some(8)), right[1], right[2]];
    assert_eq!(verdict(&wrong_cfa, reliable), "+state");
}

/// The unwinder that a guest carries, run on a second engine over the guest's memory.
struct OwnWalker {
    about: About,
}

impl OwnWalker {
    fn new(cpu: &'static Cpu) -> Self {
        Self { about: About { registers: vec![cpu.abi.fp, cpu.sp], ..about("own-walker", cpu) } }
    }
}

impl Subject for OwnWalker {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        const MOST: usize = 32;
        let program = question.target.program;
        let abi = program.guest.cpu.abi;
        let known = |register| question.regs.get(register).expect("the start knows it");
        // Its own frame and its entries are below everything that the interrupted code has on its stack.
        let entries = known(abi.sp).wrapping_sub(1024) & !15;
        let function = program.guest.symbols.address("own_walk").expect("the guest carries it");
        let arguments = [known(abi.fp), entries, MOST as u64];
        let call = call(
            program,
            question.target.memory,
            Call {
                function,
                arguments: &arguments,
                sp: entries,
                words: &[],
                instead: None,
                has_cursor: false,
                budget: 40_000,
            },
            (entries, MOST),
        );
        let (count, words) = match call {
            Ok(returned) => returned,
            Err(_) => return Outcome { end: End::Stopped, claim: Claim::Unreliable },
        };
        let mut flow = each(&Entry { pc: question.pc, regs: question.regs, source: &"start", progress: None });
        for word in words.iter().take(count as usize) {
            if flow.is_break() {
                return Outcome { end: End::Full, claim: Claim::Unreliable };
            }
            flow = each(&Entry {
                pc: CodeAddress::Return(*word),
                regs: &Regs::none(),
                source: &"own walker",
                progress: None,
            });
        }
        Outcome { end: End::Outermost, claim: Claim::Reliable }
    }
}

#[rstest]
fn a_subject_can_be_code_of_the_guest(#[values("arm64", "riscv64", "x86_64")] name: &str) {
    let cpu = cpu::by_name(name).expect("a CPU");
    let scenario = scenario(&format!("{name}/own_walker"));
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let subjects = || -> Subjects { vec![Box::new(KunwindSubject::frame_record(cpu)), Box::new(OwnWalker::new(cpu))] };
    let (section, log) = job.run_logged(&subjects()).expect("the guest runs");
    assert_eq!(section.void, None, "what the walker writes is undone");
    let mut exact = 0;
    for instruction in section.functions.iter().flat_map(|function| &function.instructions) {
        let [ours, its_own] = instruction.runs.as_slice() else { continue };
        let kinds = |runs: &[unwind_harness::recording::Run]| -> Vec<String> {
            runs.iter().map(|run| run.verdict.to_string()).collect()
        };
        // Both follow the same records; only ours reports frame pointers and CFAs, which could make its verdict worse.
        assert_eq!(kinds(ours), kinds(its_own), "{}", instruction.text);
        exact += kinds(its_own).iter().filter(|verdict| *verdict == "=").count();
    }
    assert!(exact > 4, "{exact}");
    // Alone, frame records give the same verdicts: the second engine leaves no trace in the run.
    let alone = job.run(&subjects()[..1]).expect("the guest runs");
    assert_eq!(alone.columns[0], section.columns[0]);
    // And over a log, whose memory no engine can share.
    let logs = Log::read_all(&Log::file(&[log])).expect("a sound log");
    let program = scenario.program(root(), &variants[0]).expect("the guest loads");
    let mut replay = Replay::new(&logs[0], &program.guest).expect("it is of this guest");
    let again = job.over(&program, &mut replay, &[], &subjects(), Witnesses::default(), None).expect("it fits");
    assert_eq!(document(&again.section), document(&section));
}

// Logs

/// For each CPU and kind of interruption, the scenario with the smallest guest that has it.
fn one_of_each_kind() -> Vec<(Scenario, Interruption)> {
    let mut found: BTreeMap<(&str, Interruption), (u64, Scenario)> = BTreeMap::new();
    for scenario in load_all(root()).expect("the scenarios load") {
        for kind in scenario.text.interrupt.clone() {
            let snapshot = root().join("snapshots").join(format!("{}.snap", scenario.name));
            let size = std::fs::metadata(snapshot).map_or(u64::MAX, |file| file.len());
            let key = (scenario.cpu.name, kind);
            if found.get(&key).is_none_or(|(smallest, _)| size < *smallest) {
                let copy = Scenario::parse(&scenario.path, &scenario.source).expect("it was parsed before");
                found.insert(key, (size, copy));
            }
        }
    }
    found.into_iter().map(|((_, kind), (_, scenario))| (scenario, kind)).collect()
}

#[test]
fn a_recorded_run_judged_again_gives_the_same_recording() {
    let mut kinds = BTreeMap::new();
    let user = ["x86_64/syscall", "arm64/overflow", "arm64/fgraph_probe", "x86_64/overflow"].map(|name| {
        let scenario = scenario(name);
        let kind = scenario.text.interrupt[0];
        (scenario, kind)
    });
    for (scenario, kind) in one_of_each_kind().into_iter().chain(user) {
        let variants = scenario.variants();
        let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind };
        let name = format!("{} {}", scenario.name, kind.name());
        let (section, log) =
            job.run_logged(&subjects(scenario.cpu, &[])).unwrap_or_else(|error| panic!("{name}: {error}"));
        let plain = job.run(&subjects(scenario.cpu, &[])).expect("the guest runs");
        assert_eq!(document(&section), document(&plain), "{name}: writing a log changes nothing");
        let logs = Log::read_all(&Log::file(&[log])).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = judge_log(&logs[0], &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(document(&again), document(&section), "{name}");
        *kinds.entry(kind).or_insert(0) += 1;
    }
    // Nested, corrupt, preempt, voluntary, sdei, serror, ...: no kind is missing.
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

fn log_of(name: &str) -> (Vec<u8>, Section) {
    let scenario = scenario(name);
    let variants = scenario.variants();
    let kind = scenario.text.interrupt[0];
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind };
    let (section, log) = job.run_logged(&subjects(scenario.cpu, &[])).expect("the guest runs");
    (Log::file(&[log]), section)
}

/// Keeps pc and all registers of every point.
struct Keep {
    registers: RegisterSet,
    points: Vec<(u64, Vec<u64>)>,
}

impl Observer for Keep {
    fn point(&mut self, at: &Point<'_>) -> Action {
        let mut values = vec![0; self.registers.registers().len()];
        at.read_values(&self.registers, &mut values);
        self.points.push((at.pc, values));
        Action::Continue
    }
}

#[test]
fn a_log_opens_at_any_point() {
    let (file, _) = log_of("arm64/recursion");
    let logs = Log::read_all(&file).expect("a sound log");
    let scenario = scenario("arm64/recursion");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest loads");
    let mut keep = Keep { registers: RegisterSet::all(scenario.cpu), points: Vec::new() };
    Replay::new(&logs[0], &program.guest).expect("it fits").drive(&mut keep).expect("it is whole");
    let count = keep.points.len() as u64;
    assert!(count > 2 * unwind_harness::trace::log::KEYFRAME_POINTS, "{count} points need no keyframe");
    for point in [1, 2, 511, 512, 513, count / 2, count - 1, count] {
        let mut replay = Replay::new(&logs[0], &program.guest).expect("it fits");
        replay.skip_to(point).expect("the log has it");
        let (pc, values) = replay.registers();
        let expected = &keep.points[point as usize - 1];
        assert_eq!((pc, values), (expected.0, &*expected.1), "point {point}");
        // The rest is the same as without skipping.
        let mut rest = Keep { registers: RegisterSet::all(scenario.cpu), points: Vec::new() };
        replay.drive(&mut rest).expect("it is whole");
        assert_eq!(rest.points, keep.points[point as usize..], "after point {point}");
    }
    let mut replay = Replay::new(&logs[0], &program.guest).expect("it fits");
    assert!(replay.skip_to(count + 1).is_err());
}

#[test]
fn a_corrupt_log_is_refused_or_harmless() {
    let (file, _) = log_of("x86_64/leaf");
    assert!(Log::read_all(b"").is_err() && Log::read_all(b"uwh-log2").is_err());
    for end in (0..file.len()).step_by(file.len() / 200) {
        let _ = Log::read_all(&file[..end]).map(|logs| logs.iter().for_each(|log| drop(judge_log(log, &[]))));
    }
    // The events are at the end of the file, and small.
    let first = file.len() - file.len().min(1500);
    for at in (first..file.len()).step_by(3) {
        let mut bent = file.clone();
        bent[at] ^= 0x55;
        if let Ok(logs) = Log::read_all(&bent) {
            for log in logs {
                let _ = judge_log(&log, &[]);
            }
        }
    }
}

#[test]
fn every_cpu_has_arguments_and_a_result() {
    for cpu in ALL {
        assert!(cpu.arguments.len() >= 4 && !cpu.callee_saved.contains(&cpu.result), "{}", cpu.name);
    }
}
