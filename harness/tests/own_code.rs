//! A kernel's own unwinder that does not come back, or that reads what the next interrupt may overwrite.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use unwind_harness::Error;
use unwind_harness::cpu::{CodeAddress, Regs};
use unwind_harness::guest::conventions::OwnUnwinder;
use unwind_harness::machine::{Call, Called, Crash, Instead, Machine};
use unwind_harness::oracle::Witnesses;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{CallOwn, GuestTarget, OwnForm, OwnFrame, OwnSubject, Question, Subject};
use unwind_harness::suite::{Job, Subjects, machine};
use unwind_harness::trace::{Memory, Run as _, Unobserved};
use unwind_harness::verdict::Verdict;

/// One that is not there, and one that is no code.
#[test]
fn a_walk_that_does_not_come_back_has_crashed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(&root.join("scenarios/arm64/irq_on_task.toml")).expect("the scenario is there");
    let variant = &scenario.variants()[0];
    let mut program = scenario.program(root, variant).expect("the guest loads");
    let scratch = program.conventions.scratch.clone().expect("a kernel guest has one");
    program.conventions.own_unwinder = Some(OwnUnwinder {
        reliable: Some(0x10),                      // nothing is mapped there
        best_effort: program.conventions.sentinel, // zeros
        save_reliable: None,
        is_modelled: false,
        consume: 0,
        buffer: scratch.end - 0x100..scratch.end,
    });
    let mut undisturbed = machine(&program, &scenario.text).expect("a machine");
    undisturbed.drive(&mut Unobserved).expect("the guest runs");
    let undisturbed = unwind_harness::experiment::lasting_words(&program, undisturbed.memory());
    let subjects: Subjects = [OwnForm::Reliable, OwnForm::BestEffort]
        .map(|form| Box::new(OwnSubject::new(form, scenario.cpu)) as Box<dyn Subject + Send>)
        .into();
    let mut run: Machine<'_> = machine(&program, &scenario.text).expect("a machine");
    let job = Job { root, scenario: &scenario, variant, kind: Interruption::Irq };
    let done = job.over(&program, &mut run, &undisturbed, &subjects, Witnesses::default(), None).expect("it runs");
    let section = done.section;
    assert_eq!(section.void, None, "what the walks wrote is undone");
    assert!(section.columns.len() >= 2 && section.points > 10, "{:?}", section.columns);
    for column in &section.columns {
        assert_eq!(column.counters.crashed, column.counters.walks, "{}", column.label());
    }
    assert!(section.findings.iter().all(|finding| finding.verdict == Verdict::Crashed));
}

/// Notes what is written before each call.
#[derive(Default)]
struct Noted(RefCell<Vec<Vec<(u64, u64)>>>);

impl CallOwn for Noted {
    fn call(&self, _: &dyn Memory, call: Call<'_>, _: (u64, usize)) -> Result<Result<Called, Crash>, Error> {
        self.0.borrow_mut().push(call.words.to_vec());
        Ok(Ok(Called { result: 0, words: Vec::new() }))
    }
}

/// A walk that reads below SP, as its model does, is asked again as if an interrupt had been there.
#[test]
fn what_lies_below_sp_is_overwritten_for_a_walk_that_reads_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::load(&root.join("scenarios/arm64/irq_on_task.toml")).expect("the scenario is there");
    let mut program = scenario.program(root, &scenario.variants()[0]).expect("the guest loads");
    let scratch = program.conventions.scratch.clone().expect("a kernel guest has one");
    program.conventions.own_unwinder = Some(OwnUnwinder {
        reliable: None,
        best_effort: Some(0x10),
        save_reliable: None,
        is_modelled: true,
        consume: 0,
        buffer: scratch.end - 0x100..scratch.end,
    });
    let machine = machine(&program, &scenario.text).expect("a machine");
    let memory: &dyn Memory = machine.memory();
    let stack = program.layout.stacks[0].bounds;
    let (sp, noted) = (stack.high - 0x400, Noted::default());
    let subject = OwnSubject::new(OwnForm::BestEffort, scenario.cpu);
    let abi = scenario.cpu.abi;
    for (fp, is_dead) in [(sp - 0x40, true), (sp + 0x40, false)] {
        let own = OwnFrame { code: &noted, walked: 0, sp, instead: Instead { returns_to: 0, fp, task: 0 } };
        let stacks = [stack];
        let target = GuestTarget::new(&program, memory, &stacks, None).with_sp(sp, 0).with_own(Some(own));
        let mut regs = Regs::none();
        regs.set(abi.fp, fp);
        regs.set(abi.sp, sp);
        let pc = CodeAddress::Return(program.guest.function("guest_main").expect("it is there").address + 8);
        let question = Question::new(pc, &regs, &target);
        subject.walk(&question, &mut |_| ControlFlow::Continue(()));
        assert_eq!(target.read_dead.get(), is_dead, "{fp:#x}");
        assert_eq!(noted.0.borrow_mut().pop().map(|words| words.len()), Some(1), "the buffer alone");
        let overwritten = target.with_dead_overwritten();
        subject.walk(&Question { target: &overwritten, ..question }, &mut |_| ControlFlow::Continue(()));
        let words = noted.0.borrow_mut().pop().expect("it was called");
        // All words below SP but the lowest, where the mark of the stack's end is.
        assert_eq!(words.len() as u64, 1 + (sp - stack.low) / 8 - 1);
        let differs = |(address, value): &(u64, u64)| memory.read_u64(*address) != Some(*value);
        assert!(words[1..].iter().all(|word| (stack.low + 8..sp).contains(&word.0) && differs(word)));
    }
}
