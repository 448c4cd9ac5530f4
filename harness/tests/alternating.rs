//! A verdict that changes with every arrival at an instruction does not fill the memory: what is beyond the bound is counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use unwind_harness::cpu;
use unwind_harness::experiment::{EVERYWHERE, Experiment, columns};
use unwind_harness::guest::{Guest, Program};
use unwind_harness::machine::Machine;
use unwind_harness::oracle::Witnesses;
use unwind_harness::recording::{MOST_CHANGES, Recorder};
use unwind_harness::scenario::{Interruption, Scenario};
use unwind_harness::subject::{About, Claim, End, Entry, KunwindSubject, Outcome, Question, Subject};

/// It finds nothing. At every other arrival at an instruction it says that there is nothing.
struct Moody {
    about: About,
    asked: Mutex<BTreeMap<u64, u64>>,
}

impl Subject for Moody {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, question: &Question<'_>, each: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        let mut asked = self.asked.lock().expect("no walk panics");
        let times = asked.entry(question.pc.value()).or_default();
        // Whoever wants to know why asks once more.
        *times += u64::from(question.why.is_none());
        let _ = each(&Entry { pc: question.pc, regs: question.regs, source: &"start", progress: None });
        match *times % 2 {
            0 => Outcome { end: End::Outermost, claim: Claim::Reliable },
            _ => Outcome { end: End::Stopped, claim: Claim::Unreliable },
        }
    }
}

/// `deep_loop` with this many rounds.
fn program(cpu: &'static cpu::Cpu, rounds: u64) -> Program {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(cpu.name).join("deep_loop.elf");
    let mut guest = Guest::load(&path, cpu).expect("the guest is checked in");
    let address = guest.symbols.address("rounds").expect("the guest has it");
    let segment = guest.segments.iter_mut().find(|segment| segment.writable).expect("data");
    let offset = (address - segment.address) as usize;
    segment.data[offset..offset + 8].copy_from_slice(&rounds.to_le_bytes());
    Program::mimic(guest, &[], 0).expect("a sound guest")
}

#[test]
fn verdicts_that_alternate_a_million_times_take_no_more_room_than_the_bound() {
    const ROUNDS: u64 = 120_000;
    let cpu = cpu::by_name("arm64").expect("a CPU");
    let program = program(cpu, ROUNDS);
    let source = "guest = \"deep_loop\"\nmax-visits = 1000000000\nbudget = 1000000000";
    let scenario = Scenario::parse(Path::new("arm64/deep_loop.toml"), source).expect("a sound scenario");
    let about = About { name: "moody".to_owned(), ..KunwindSubject::frame_record(cpu).about().clone() };
    let subject = Moody { about, asked: Mutex::default() };
    let subjects: [&dyn Subject; 1] = [&subject];
    let kind = Interruption::Probe;
    let columns = columns(&subjects, kind);
    let text = &scenario.text;
    let (max_visits, program) = (text.max_visits, &program);
    let experiment =
        Experiment { program, text, kind, columns: &columns, max_visits, wanted: &[], addresses: EVERYWHERE };
    let mut machine = Machine::new(program, "_start", text.budget).expect("a machine");
    let mut recorder = Recorder::new(program, &columns, &[]);
    let found = experiment.drive(&mut machine, &[], Witnesses::default(), &mut recorder).expect("it ends");
    let arrivals: u64 = found.sites.iter().map(|site| site.arrivals).sum();
    assert!(arrivals > 1_000_000, "{arrivals}");

    let section = recorder.finish(&scenario, &scenario.variants()[0], kind, &found);
    assert_eq!(section.void, None);
    let instructions = section.functions.iter().flat_map(|function| &function.instructions);
    let loops: Vec<_> = instructions.filter(|instruction| instruction.visits >= ROUNDS).collect();
    assert!(loops.len() > 8, "{}", loops.len());
    for instruction in &loops {
        let runs = &instruction.runs[0];
        assert_eq!(runs.len(), MOST_CHANGES + 1, "{}", instruction.text);
        // What is known of them is told exactly, as before.
        assert!((1..).zip(runs).all(|(arrival, run)| (run.first, run.last) == (arrival, arrival)));
    }
    // Every arrival was judged, or is counted among those that were not.
    let counters = section.columns[0].counters;
    assert_eq!(counters.walks, section.points);
    assert_eq!(section.points + section.left_out.arrivals, arrivals);
    assert!(section.left_out.arrivals > 1_000_000 - (loops.len() * (MOST_CHANGES + 1)) as u64);
    assert_eq!(section.left_out.other_states, 0);
}
