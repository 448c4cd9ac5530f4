//! The rest of a walk is not walked again where it is known. That changes no verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rstest::rstest;
use unwind_harness::cpu::{CodeAddress, Regs};
use unwind_harness::experiment::{Arrival, Column, EVERYWHERE, Experiment, Visit, columns};
use unwind_harness::guest::conventions::Preserved;
use unwind_harness::oracle::{Activation, Cause, Truth, Witnesses};
use unwind_harness::recording::Recorder;
use unwind_harness::scenario::{Interruption, Scenario, Variant};
use unwind_harness::subject::{GuestTarget, KunwindSubject, Question, Subject};
use unwind_harness::suite::subjects;
use unwind_harness::trace::Memory;
use unwind_harness::verdict::{Judge, Memo, Verdict};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Requires that a run is judged alike with and without a memo. Returns how many walks were not made to their end, and how many walks
/// there were.
fn held(scenario: &Scenario, variant: &Variant, kind: Interruption) -> (u64, u64) {
    let program = scenario.program(root(), variant).expect("the guest is sound");
    let hook = scenario.return_hook(variant);
    let subjects = subjects(scenario.cpu, &[]);
    let fitting: Vec<&dyn Subject> = subjects
        .iter()
        .map(|subject| -> &dyn Subject { &**subject })
        .filter(|subject| subject.about().fits(&program, hook.as_ref(), kind.walks_user()))
        .collect();
    let (columns, text) = (columns(&fitting, kind), &scenario.text);
    let experiment = Experiment {
        program: &program,
        text,
        kind,
        columns: &columns,
        max_visits: text.max_visits,
        wanted: &[],
        addresses: EVERYWHERE,
    };
    let judged = |mut recorder: Recorder<'_>| {
        let mut run = scenario.live(&program).expect("a machine");
        let found = experiment.drive(&mut *run, &[], Witnesses::default(), &mut recorder).expect("it runs to its end");
        (recorder.reused(), recorder.finish(scenario, variant, kind, &found))
    };
    let recorder = || Recorder::new(&program, &columns, &text.omissible);
    let ((reused, with), (none, without)) = (judged(recorder()), judged(recorder().without_memo()));
    assert_eq!(none, 0);
    let json = |section| serde_json::to_string(section).expect("plain data");
    assert!(json(&with) == json(&without), "{}: the memo changes verdicts", with.title());
    (reused, with.columns.iter().map(|column| column.counters.walks).sum())
}

#[rstest]
fn every_run_is_judged_alike_with_and_without_a_memo(
    #[files("scenarios/*/*.toml")]
    #[exclude("scenarios/linux/")]
    path: PathBuf,
) {
    let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
    for kind in &scenario.text.interrupt {
        // What is delivered is judged by the same code. One variant shows that its walks are.
        let variants = scenario.variants().into_iter().take(if *kind == Interruption::Probe { usize::MAX } else { 1 });
        for variant in variants {
            held(&scenario, &variant, *kind);
        }
    }
}

#[rstest]
fn most_walks_of_a_deep_stack_are_not_made_to_their_end(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let path = root().join("scenarios").join(cpu).join("deep_loop.toml");
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let (reused, walks) = held(&scenario, &scenario.variants()[0], Interruption::Probe);
    assert!(reused * 2 > walks, "{reused} of {walks}");
}

/// Counts what it is asked, and takes everything for known.
#[derive(Default)]
struct Asked {
    again: u64,
    walks: u64,
}

impl Visit for Asked {
    fn walk(&mut self, _: Arrival, _: Option<&str>, _: &Column<'_>, _: &Question<'_>, _: &Truth) {
        self.walks += 1;
    }

    fn again(&mut self, _: &Arrival, _: &Column<'_>) -> bool {
        self.again += 1;
        true
    }
}

/// Where the instruction before was no point, nothing is as at the point before: what lies between was not looked at.
#[rstest]
fn a_walk_is_as_at_the_point_before_only_if_that_was_the_instruction_before(
    #[values("arm64", "riscv64", "x86_64")] cpu: &str,
) {
    let path = root().join("scenarios").join(cpu).join("deep_loop.toml");
    let scenario = Scenario::load(&path).expect("the scenario is there");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest is sound");
    let subject = KunwindSubject::frame_record(scenario.cpu);
    let subjects: [&dyn Subject; 1] = [&subject];
    let kind = Interruption::Probe;
    let (columns, text) = (columns(&subjects, kind), &scenario.text);
    let (program, max_visits) = (&program, text.max_visits);
    let asked = |addresses| {
        let experiment = Experiment { program, text, kind, columns: &columns, max_visits, wanted: &[], addresses };
        let mut run = scenario.live(program).expect("a machine");
        let mut asked = Asked::default();
        let found = experiment.drive(&mut *run, &[], Witnesses::default(), &mut asked).expect("it runs to its end");
        (asked, found.sites)
    };
    let (all, sites) = asked(EVERYWHERE);
    let points: u64 = sites.iter().map(|site| site.visits).sum();
    assert!(all.again > points / 4 && all.walks > points / 8 && all.again + all.walks == points, "{points}");
    for site in sites {
        let (one, _) = asked((site.pc, site.pc));
        assert_eq!((one.again, one.walks), (0, site.visits), "{:#x}", site.pc);
    }
}

/// Memory that holds these words.
struct Words(BTreeMap<u64, u64>);

impl Memory for Words {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        (address..).zip(bytes).all(|(address, byte)| {
            let word = self.0.get(&(address & !7));
            word.map(|word| *byte = word.to_le_bytes()[(address & 7) as usize]).is_some()
        })
    }
}

/// The activations of a stack of two records, the youngest last.
fn truth(activations: Vec<Activation>) -> Truth {
    let link = |parent: Option<Rc<Activation>>, mut activation: Activation| {
        activation.depth = parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        activation.parent = parent;
        Some(Rc::new(activation))
    };
    Truth::new(activations.into_iter().fold(None, link))
}

/// A walk that begins like one before has its verdict; if the truth is another, it is judged anew. On x86-64, a walk along records knows
/// the CFAs.
#[test]
fn a_walk_begins_otherwise_where_anything_is_otherwise_that_a_verdict_looks_at() {
    let scenario = Scenario::load(&root().join("scenarios/x86_64/deep_loop.toml")).expect("the scenario is there");
    let program = scenario.program(root(), &scenario.variants()[0]).expect("the guest is sound");
    let (cpu, stack) = (scenario.cpu, program.layout.stacks[0].bounds);
    let fp_index = cpu.fp_index().expect("rbp is callee-saved");
    let records: [u64; 3] = [0x300, 0x200, 0x100].map(|below| stack.high - below);
    let words = [(records[0], records[1], 0x1111), (records[1], records[2], 0x2222), (records[2], 0, 0)];
    let mut memory = Words((records[0]..stack.high).step_by(8).map(|at| (at, 0)).collect());
    memory.0.extend(words.into_iter().flat_map(|(at, fp, ra)| [(at, fp), (at + 8, ra)]));
    let waits = |serial: u64, resume: u64, record: usize| {
        let mut saved = [0; _];
        saved[fp_index] = records[record + 1];
        let (preserved, links, cause) = (Preserved::ALL, [0; _], Cause::Call);
        let (cfa, entry) = (records[record] + 16, 0);
        Activation {
            resume,
            cfa,
            saved,
            preserved,
            entry,
            links,
            stack: Some(0),
            cause,
            depth: 0,
            serial,
            parent: None,
        }
    };
    let subject = KunwindSubject::frame_record(cpu);
    let mut regs = Regs::none();
    regs.set(cpu.abi.fp, records[0]);
    let stacks = [stack];
    let target = GuestTarget::new(&program, &memory, &stacks, None);
    let pc = CodeAddress::Interrupted(program.guest.function("work").expect("it is there").address);
    let question = Question::new(pc, &regs, &target);
    let (mut judge, mut memo) = (Judge::new(cpu, &program.guest.symbols, &[]), Memo::default());
    let right = || vec![waits(1, 0x2222, 1), waits(2, 0x1111, 0)];
    let is_known = |memo: &mut Memo, judge: &mut Judge<'_>| {
        let before = memo.reused();
        // Until walks of this truth begin alike, and two more.
        (0..12)
            .for_each(|_| assert_eq!(judge.verdict(&subject, &question, &truth(right()), Some(memo)), Verdict::Exact));
        memo.reused() - before >= 2
    };
    let mut wrong_fp = waits(2, 0x1111, 0);
    wrong_fp.saved[fp_index] += 8;
    let mut wrong_cfa = waits(3, 0x1111, 0);
    wrong_cfa.cfa += 8;
    let others = [
        vec![waits(1, 0x2222, 1), waits(3, 0x3333, 0)],
        vec![waits(1, 0x2222, 1), wrong_cfa],
        vec![waits(1, 0x2222, 1), wrong_fp],
        vec![waits(4, 0x4444, 1), waits(5, 0x1111, 0)],
        vec![],
    ];
    for other in others {
        assert!(is_known(&mut memo, &mut judge));
        let truth = truth(other);
        let with = judge.verdict(&subject, &question, &truth, Some(&mut memo));
        assert_eq!(with, judge.verdict(&subject, &question, &truth, None), "{:?}", truth.activations().next());
        assert_ne!(with, Verdict::Exact);
    }
}
