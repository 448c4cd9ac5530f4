//! Planted faults: wrong unwinders, broken guests and wrong witnesses, each on a named scenario where it must be caught.
//!
//! Each wrong unwinder is a right one with one twist, and the right one is exact at the same point: so the verdict is the
//! twist's, and a judge that stops seeing it fails here.

use std::path::Path;

use kunwind::{
    Abi, Claims, CodeAddress, Error, Frame, FrameRecordUnwinder, Regs, Source, Step, Target, Unwinder, WalkState,
};
use unwind_harness::cpu::{self, ALL};
use unwind_harness::oracle::{Event, Future, Ledger, Transfer, Witness, Witnesses};
use unwind_harness::recording::Section;
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{KunwindSubject, Subject};
use unwind_harness::suite::Job;

/// The caller's frame; nothing if the frame is the outermost.
type Caller = Result<Option<Frame>, Error>;
type Twist = fn(&Right, &Frame, &mut WalkState, &dyn Target) -> Caller;

/// A right unwinder for guests in assembly: the link register or the top of the stack where that is where the return
/// address is, frame records from there on.
struct Right {
    abi: &'static Abi,
    records: FrameRecordUnwinder,
    /// The first step takes the return address from the link register (arm64, riscv64) or from the word at SP (x86-64).
    leaf_first: bool,
}

impl Right {
    fn caller(&self, frame: &Frame, state: &mut WalkState, target: &dyn Target) -> Caller {
        if !(self.leaf_first && matches!(frame.pc, CodeAddress::Interrupted(_))) {
            let mut caller = *frame;
            let step = self.records.step(&mut caller, state, target)?;
            return Ok((step == Step::Caller).then_some(caller));
        }
        let sp = frame.regs.get(self.abi.sp).expect("the start knows SP");
        let (pc, cfa) = match self.abi.ra {
            Some(link) => (frame.regs.get(link).expect("the start knows the link register"), sp),
            None => (target.read_u64(sp).ok_or(Error::Unreadable(sp))?, sp + 8),
        };
        let mut regs = Regs::none();
        regs.set(self.abi.fp, frame.regs.get(self.abi.fp).expect("the start knows FP"));
        regs.set(self.abi.sp, cfa);
        Ok(Some(Frame { pc: CodeAddress::Return(pc), regs, source: Source::Start }))
    }
}

struct Planted {
    right: Right,
    claims: Claims,
    twist: Twist,
}

impl Unwinder for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }

    fn claims(&self) -> Claims {
        self.claims
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        Ok(match (self.twist)(&self.right, frame, state, target)? {
            Some(caller) => {
                *frame = caller;
                Step::Caller
            }
            None => Step::Outermost,
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&root().join("scenarios").join(format!("{name}.toml"))).expect("the scenario is there")
}

fn run_with(name: &str, subjects: Vec<KunwindSubject>, witnesses: Witnesses) -> Section {
    let scenario = scenario(name);
    let variants = scenario.variants();
    let job = Job { root: root(), scenario: &scenario, variant: &variants[0], kind: Interruption::Probe };
    let subjects: Vec<Box<dyn Subject + Send>> = subjects.into_iter().map(|it| Box::new(it) as _).collect();
    job.run_with(&subjects, witnesses).expect("the guest runs to its end")
}

/// The verdict of a planted unwinder at one instruction, which must be the same at each arrival.
fn verdict(name: &str, place: (&str, u64), leaf_first: bool, claims: Claims, twist: Twist) -> String {
    let (cpu, _) = name.split_once('/').expect("a scenario's name is <cpu>/<name>");
    let abi = cpu::by_name(cpu).expect("a CPU").abi;
    let right = Right { abi, records: FrameRecordUnwinder::new(abi), leaf_first };
    let unwinder = Box::new(Planted { right, claims, twist });
    let subject = KunwindSubject::new(unwinder, |about| {
        about.registers = [abi.sp, abi.fp].into_iter().chain(abi.ra).collect();
    });
    let section = run_with(name, vec![subject], Witnesses::default());
    assert_eq!(section.void, None);
    let function = section.functions.iter().find(|function| function.name == place.0).expect("the function ran");
    let instruction = function.instructions.iter().find(|one| one.offset == place.1).expect("an instruction");
    let [run] = instruction.runs[0].as_slice() else { panic!("the verdict changes: {:?}", instruction.runs) };
    run.verdict.to_string()
}

/// Where the walk along frame records is exact, on each CPU: in the body of `late`, with its record linked.
const LINKED: [(&str, (&str, u64)); 3] = [
    ("arm64/late_frame_record", ("late", 0x18)),
    ("riscv64/late_frame_record", ("late", 0x12)),
    ("x86_64/late_frame_record", ("late", 0x21)),
];

/// Where the link register (or the word at SP) is right: in `leaf`.
const IN_LEAF: [(&str, (&str, u64)); 3] =
    [("arm64/leaf", ("leaf", 0)), ("riscv64/leaf", ("leaf", 0)), ("x86_64/leaf", ("leaf", 0))];

fn right(right: &Right, frame: &Frame, state: &mut WalkState, target: &dyn Target) -> Caller {
    right.caller(frame, state, target)
}

/// The twist is caught with this verdict at each place, where without it the walk is exact.
#[track_caller]
fn caught(places: &[(&str, (&str, u64))], leaf_first: bool, twist: Twist, expected: &str) {
    for (name, place) in places {
        let untwisted = verdict(name, *place, leaf_first, Claims::ByEnd, right);
        assert_eq!(untwisted, "=", "{name} {place:?} without the fault");
        assert_eq!(verdict(name, *place, leaf_first, Claims::ByEnd, twist), expected, "{name} {place:?}");
    }
}

/// Verdicts on the rest of a walk are kept for the next one that comes there, so this must not pass for an unwinder. Builds with debug
/// assertions look.
#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "planted: a step from 0x")]
fn a_step_that_follows_from_more_than_its_arguments() {
    thread_local! {
        static STEPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let (name, place) = IN_LEAF[0];
    verdict(name, place, true, Claims::ByEnd, |right, frame, state, target| {
        STEPS.set(STEPS.get() + 1);
        let mut caller = right.caller(frame, state, target)?;
        if let Some(caller) = caller.as_mut().filter(|_| STEPS.get().is_multiple_of(2)) {
            caller.regs.forget(right.abi.fp);
        }
        Ok(caller)
    });
}

#[test]
fn a_cfa_that_is_off_by_8() {
    // On riscv64 and x86-64 the convention fixes the CFA, so frame records give it; arm64 has its own test below.
    caught(
        &LINKED[1..],
        false,
        |right, frame, state, target| {
            let mut caller = right.caller(frame, state, target)?;
            if let Some(frame) = &mut caller
                && let Some(cfa) = frame.regs.get(right.abi.sp)
            {
                frame.regs.set(right.abi.sp, cfa + 8);
            }
            Ok(caller)
        },
        "+state",
    );
}

#[test]
fn a_wrong_cfa_with_right_pcs() {
    // As if every arm64 frame ended above its record; those that hold more do not.
    caught(
        &LINKED[..1],
        false,
        |right, frame, state, target| {
            let record = frame.regs.get(right.abi.fp).unwrap_or_default();
            let mut caller = right.caller(frame, state, target)?;
            if let Some(frame) = &mut caller {
                frame.regs.set(right.abi.sp, record + 16);
            }
            Ok(caller)
        },
        "+state",
    );
}

#[test]
fn a_wrong_frame_pointer_with_right_pcs() {
    caught(
        &LINKED,
        false,
        |right, frame, state, target| {
            let mut frame = *frame;
            let real = frame.regs.get(right.abi.fp).unwrap_or_default();
            frame.regs.set(right.abi.fp, real & !1); // the twisted caller handed it on with bit 0 set
            let mut caller = right.caller(&frame, state, target)?;
            if let Some(caller) = &mut caller {
                let fp = caller.regs.get(right.abi.fp).unwrap_or_default();
                caller.regs.set(right.abi.fp, fp | 1);
            }
            Ok(caller)
        },
        "+state",
    );
}

#[test]
fn a_skipped_frame() {
    caught(
        &LINKED,
        false,
        |right, frame, state, target| {
            let caller = right.caller(frame, state, target)?;
            match (frame.pc, caller) {
                (CodeAddress::Interrupted(_), Some(caller)) => right.caller(&caller, state, target),
                (_, caller) => Ok(caller),
            }
        },
        "!skipped",
    );
}

#[test]
fn a_repeated_frame() {
    caught(
        &LINKED,
        false,
        |right, frame, state, target| match (frame.pc, frame.source) {
            // The first caller is handed out a second time, marked so that it happens once.
            (CodeAddress::Return(_), Source::FrameRecord { .. }) if !is_outermost(right, frame, *state, target) => {
                Ok(Some(Frame { source: Source::Start, ..*frame }))
            }
            _ => right.caller(frame, state, target),
        },
        "+repeated",
    );
}

fn is_outermost(right: &Right, frame: &Frame, mut state: WalkState, target: &dyn Target) -> bool {
    matches!(right.caller(frame, &mut state, target), Ok(None))
}

#[test]
fn a_stale_record() {
    // After the call of `late`, its dead record is still below SP: at the top of its dead frame, on each CPU.
    let after_the_call = [
        ("arm64/late_frame_record", ("caller", 0x14)),
        ("riscv64/late_frame_record", ("caller", 0x14)),
        ("x86_64/late_frame_record", ("caller", 0x13)),
    ];
    caught(
        &after_the_call,
        false,
        |right, frame, state, target| {
            let mut frame = *frame;
            if matches!(frame.pc, CodeAddress::Interrupted(_)) {
                let sp = frame.regs.get(right.abi.sp).unwrap_or_default();
                let record = sp - 16;
                frame.regs.set(right.abi.fp, record.wrapping_add_signed(-right.abi.frame_record.offset_from_fp));
            }
            right.caller(&frame, state, target)
        },
        "+invented",
    );
}

#[test]
fn an_end_that_is_claimed_too_early() {
    caught(
        &LINKED,
        false,
        |right, frame, state, target| match frame.source {
            Source::FrameRecord { .. } => Ok(None),
            _ => right.caller(frame, state, target),
        },
        "!truncated",
    );
}

#[test]
fn a_return_address_from_the_wrong_slot() {
    caught(
        &LINKED,
        false,
        |right, frame, state, target| {
            let mut caller = right.caller(frame, state, target)?;
            if let (Some(caller), CodeAddress::Interrupted(_)) = (&mut caller, frame.pc)
                && let Source::FrameRecord { at } = caller.source
            {
                caller.pc = CodeAddress::Return(target.read_u64(at - 8).unwrap_or(1));
            }
            Ok(caller)
        },
        "!substituted",
    );
}

#[test]
fn a_function_that_was_left_by_a_tail_call() {
    // `fill` jumped to `fill_generic` and is gone; this unwinder knows the source and names it all the same.
    let places = [
        ("arm64/tail_call", ("fill_generic", 0)),
        ("riscv64/tail_call", ("fill_generic", 0)),
        ("x86_64/tail_call", ("fill_generic", 0)),
    ];
    caught(
        &places,
        true,
        |right, frame, state, target| match (frame.pc, frame.source) {
            (CodeAddress::Interrupted(pc), _) => {
                let regs = Regs::none();
                let marked = frame.regs.iter().fold(regs, |mut regs, (register, value)| {
                    regs.set(register, value);
                    regs
                });
                // Any address of the vanished function will do: it is in no true trace.
                Ok(Some(Frame { pc: CodeAddress::Return(pc - 4), regs: marked, source: Source::FrameRecord { at: 0 } }))
            }
            (CodeAddress::Return(_), Source::FrameRecord { at: 0 }) => {
                let start = Frame { pc: CodeAddress::Interrupted(0), ..*frame };
                right.caller(&start, state, target)
            }
            _ => right.caller(frame, state, target),
        },
        "+invented",
    );
}

#[test]
fn a_fallback_that_is_not_flagged() {
    // A walk by frame records misses a leaf's caller. That is acceptable if the walk flags it.
    let honest: Twist = |right, frame, state, target| {
        state.mark_unreliable();
        right.caller(frame, state, target)
    };
    for (name, place) in IN_LEAF {
        assert_eq!(verdict(name, place, true, Claims::Explicit, right), "=", "{name}: the link register is right");
        assert_eq!(verdict(name, place, false, Claims::Explicit, honest), "?skipped", "{name}: flagged");
        assert_eq!(verdict(name, place, false, Claims::Explicit, right), "!skipped", "{name}: not flagged");
    }
}

#[test]
fn a_right_walk_that_is_flagged_is_cautious() {
    let flagged: Twist = |right, frame, state, target| {
        state.mark_unreliable();
        right.caller(frame, state, target)
    };
    for (name, place) in LINKED {
        assert_eq!(verdict(name, place, false, Claims::Explicit, flagged), "~", "{name}");
        assert_eq!(verdict(name, place, false, Claims::Never, right), "=", "{name}: never claims, and is right");
    }
}

#[test]
fn an_overwritten_record_is_caught_at_exactly_three_instructions() {
    for cpu in ALL {
        let name = format!("{}/overwritten_record", cpu.name);
        let section = run_with(&name, vec![KunwindSubject::frame_record(cpu)], Witnesses::default());
        let substituted: Vec<_> =
            section.findings.iter().filter(|finding| finding.verdict.to_string() == "!substituted").collect();
        let [finding] = substituted.as_slice() else { panic!("{name}: {substituted:?}") };
        assert_eq!((finding.range.function.as_str(), finding.count), ("victim", 3), "{name}");
        assert!(finding.first.got[0].starts_with("bystander+"), "{name}: {:?}", finding.first.got);
    }
}

#[test]
fn a_clobbered_callee_saved_register_voids_the_run() {
    for cpu in ALL {
        let name = format!("{}/clobbered_callee_saved", cpu.name);
        let section = run_with(&name, Vec::new(), Witnesses::default());
        let reason = section.void.unwrap_or_else(|| panic!("{name} is not void"));
        assert!(reason.contains("callee-saved") && reason.contains("caller+"), "{name}: {reason}");
    }
}

/// What a wrong witness says instead of its event of this number.
type Fault = fn(usize, Option<Event>) -> Option<Event>;

/// A witness that does not see, or misjudges, one event.
struct Wrong<W> {
    witness: W,
    events: usize,
    fault: Fault,
}

impl<W: Witness> Witness for Wrong<W> {
    fn arrived(&mut self, transfer: &Transfer) -> Option<Event> {
        let event = self.witness.arrived(transfer);
        self.events += usize::from(event.is_some());
        if event.is_some() { (self.fault)(self.events, event) } else { None }
    }

    fn waits(&mut self, resume: u64, cfa: u64, number: u64) {
        self.witness.waits(resume, cfa, number);
    }

    fn ends(&mut self, task: u64, call: (u64, u64)) {
        self.witness.ends(task, call);
    }
}

#[test]
fn a_wrong_witness_voids_the_run() {
    let faults: [Fault; 3] = [
        // misses the third event
        |number, event| event.filter(|_| number != 3),
        // sees another CFA in the second
        |number, event| match event {
            Some(Event::Called { resume, cfa }) if number == 2 => Some(Event::Called { resume, cfa: cfa + 16 }),
            other => other,
        },
        // takes the first return for that of another call
        |_, event| match event {
            Some(Event::Resumed { resume, cfa, since }) => Some(Event::Resumed { resume, cfa, since: since + 1 }),
            other => other,
        },
    ];
    for cpu in ALL {
        let name = format!("{}/leaf", cpu.name);
        assert_eq!(run_with(&name, Vec::new(), Witnesses::default()).void, None, "{name}");
        for (number, fault) in faults.into_iter().enumerate() {
            let ledger = Wrong { witness: Ledger::default(), events: 0, fault };
            let witnesses = Witnesses { ledger: Box::new(ledger), ..Witnesses::default() };
            assert!(is_contradiction(&run_with(&name, Vec::new(), witnesses)), "{name}: ledger, fault {number}");
            let future = Wrong { witness: Future::default(), events: 0, fault };
            let witnesses = Witnesses { future: Box::new(future), ..Witnesses::default() };
            assert!(is_contradiction(&run_with(&name, Vec::new(), witnesses)), "{name}: future, fault {number}");
        }
    }
}

fn is_contradiction(section: &Section) -> bool {
    section.void.as_ref().is_some_and(|reason| reason.contains("the ledger says"))
}
