//! Debian's x86-64 kernel, run: its own unwinder and ours, at every point. Nothing of the image is checked in: where `.ci/linux` has
//! not fetched it, these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use unwind_harness::cpu::{self, Register};
use unwind_harness::experiment::{Arrival, Column, EVERYWHERE, Experiment, Visit, columns, lasting_words};
use unwind_harness::guest::Program;
use unwind_harness::linux::KernelImage;
use unwind_harness::oracle::{Truth, Witnesses};
use unwind_harness::scenario::{Interruption, Scenario, image_scenarios};
use unwind_harness::subject::{self, Claim, Question, Subject};
use unwind_harness::suite::machine;
use unwind_harness::trace::{Run as _, Unobserved};

use crate::linux_packages::{images_of, require_pinned};

/// Our model of each form of the kernel's unwinder.
const MODELS: [(&str, &str); 3] = [
    ("linux@current", "x86-orc@current"),
    ("linux:best-effort@current", "x86-orc:best-effort@current"),
    ("linux:best-effort@regs", "x86-orc:best-effort@regs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pinned image, if it was fetched.
fn image(test: &str) -> Option<Arc<KernelImage>> {
    images_of(test, "x86_64").into_iter().find(|image| require_pinned(test, image)).map(Arc::new)
}

/// A walk, without its start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Walk {
    claim: Claim,
    pcs: Vec<u64>,
}

/// What was walked at one point, by column; and the truth.
#[derive(Default)]
struct Walked {
    pc: u64,
    place: String,
    truth: Vec<u64>,
    walks: BTreeMap<String, Walk>,
}

/// Keeps every walk.
struct Walks<'p> {
    program: &'p Program,
    points: Vec<((usize, u64), Walked)>,
}

impl Visit for Walks<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let symbols = &self.program.guest.symbols;
        let mut pcs = Vec::new();
        let outcome = column.subject.walk(question, &mut |entry| {
            pcs.push(entry.pc.value());
            ControlFlow::Continue(())
        });
        let key = (at.site, at.visit);
        if self.points.last().is_none_or(|(last, _)| *last != key) {
            let place = within.map_or_else(|| symbols.name(at.pc), |outer| format!("{outer}/{}", symbols.name(at.pc)));
            self.points.push((key, Walked { pc: at.pc, place, ..Walked::default() }));
        }
        let Some((_, walked)) = self.points.last_mut() else { return };
        if column.label() == "linux@current" {
            walked.truth = truth.activations().map(|activation| activation.resume).collect();
        }
        walked.walks.insert(column.label(), Walk { claim: outcome.claim, pcs: pcs.split_off(1) });
    }
}

/// Runs a scenario in a program that is changed first: why the run is void, if it is, and all walks.
fn attempt(image: &Arc<KernelImage>, name: &str, change: impl Fn(&mut Program)) -> (Option<String>, Vec<Walked>) {
    let scenarios = image_scenarios(root(), image).expect("they are read");
    let is_it = |scenario: &&Scenario| scenario.name == format!("x86_64/linux/{name}");
    let scenario = scenarios.iter().find(is_it).expect("a scenario");
    let (text, variant) = (&scenario.text, &scenario.variants()[0]);
    let mut program = scenario.program(root(), variant).expect("a program");
    change(&mut program);
    let kind: Interruption = text.interrupt[0];
    let hook = scenario.return_hook(variant);
    let subjects = subject::all(cpu::by_name("x86_64").expect("a CPU"));
    let names = ["linux", "linux:best-effort", "x86-orc", "x86-orc:best-effort"];
    let fits = |subject: &&dyn Subject| {
        names.contains(&subject.about().name.as_str()) && subject.about().fits(&program, hook.as_ref(), false)
    };
    let fitting: Vec<&dyn Subject> = subjects.iter().map(|it| -> &dyn Subject { &**it }).filter(fits).collect();
    let columns = columns(&fitting, kind);
    let mut undisturbed = machine(&program, text).expect("a machine");
    undisturbed.drive(&mut Unobserved).expect("it runs to its end");
    let undisturbed = lasting_words(&program, undisturbed.memory());
    let experiment = Experiment {
        program: &program,
        text,
        kind,
        columns: &columns,
        max_visits: text.max_visits,
        wanted: &[],
        addresses: EVERYWHERE,
    };
    let mut machine = machine(&program, text).expect("a machine");
    let mut walks = Walks { program: &program, points: Vec::new() };
    let found =
        experiment.drive(&mut machine, &undisturbed, Witnesses::default(), &mut walks).expect("it runs to its end");
    (found.testimony.contradiction, walks.points.into_iter().map(|(_, walked)| walked).collect())
}

/// The walks of a run that is not void, and in which our models agree with the kernel at every point.
#[track_caller]
fn run(image: &Arc<KernelImage>, name: &str, change: impl Fn(&mut Program)) -> Vec<Walked> {
    let (contradiction, points) = attempt(image, name, change);
    assert_eq!(contradiction, None, "{name} is not void");
    let found = differences(image, &points);
    let first = found.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{name}: {} of {} walks differ:\n{first}", found.len(), points.len());
    points
}

/// Addresses in words.
fn names(image: &KernelImage, pcs: &[u64]) -> String {
    pcs.iter().map(|pc| image.symbols.name(*pc)).collect::<Vec<_>>().join(" ")
}

/// The walks in which our models and the kernel differ, in their entries or their claims.
fn differences(image: &KernelImage, points: &[Walked]) -> Vec<String> {
    let mut found = Vec::new();
    for point in points {
        for (kernel, model) in MODELS {
            let (kernel, model) = (&point.walks[kernel], &point.walks[model]);
            if kernel != model {
                let say = |walk: &Walk| format!("{}: {}", walk.claim, names(image, &walk.pcs));
                found.push(format!("{}\n  kernel {}\n  model  {}", point.place, say(kernel), say(model)));
            }
        }
    }
    found
}

/// How the kernel's reliable walk fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fares {
    /// It returns 0, and is the truth.
    Right,
    /// It returns 0, and has entries that are not true, but lacks none.
    Adds,
    /// It returns 0, and lacks a true entry.
    Omits,
    /// It returns an error.
    Refuses,
}

impl Walked {
    fn fares(&self) -> Fares {
        let walk = &self.walks["linux@current"];
        let mut rest = walk.pcs.iter();
        let has_all = self.truth.iter().all(|pc| rest.any(|entry| entry == pc));
        match walk.claim {
            Claim::Reliable if walk.pcs == self.truth => Fares::Right,
            Claim::Reliable if has_all => Fares::Adds,
            Claim::Reliable => Fares::Omits,
            Claim::Unreliable | Claim::None => Fares::Refuses,
        }
    }
}

/// The offsets in a function at which the kernel's reliable walk fares like this.
fn offsets(image: &KernelImage, points: &[Walked], function: &str, fares: Fares) -> Vec<u64> {
    let symbol = image.symbol(function).expect("a function");
    let within = points.iter().filter(|point| (symbol.address..symbol.address + symbol.size).contains(&point.pc));
    let these: BTreeSet<u64> = within.filter(|it| it.fares() == fares).map(|it| it.pc - symbol.address).collect();
    these.into_iter().collect()
}

fn unchanged(_: &mut Program) {}

#[test]
fn orc_is_right_in_plain_code_under_irqs_nmis_and_faults() {
    let Some(image) = image("orc_is_right_in_plain_code_under_irqs_nmis_and_faults") else { return };
    for name in ["snprintf", "nmi", "fault"] {
        let points = run(&image, name, unchanged);
        assert!(points.len() > 900, "{name}: {}", points.len());
        let wrong: Vec<_> = points.iter().filter(|it| it.fares() != Fares::Right).map(|it| &it.place).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn a_retpoline_is_refused_and_then_shows_its_target_as_a_caller() {
    let Some(image) = image("a_retpoline_is_refused_and_then_shows_its_target_as_a_caller") else { return };
    let points = run(&image, "sort", unchanged);
    let thunk = "__x86_indirect_thunk_rax";
    assert_eq!(offsets(&image, &points, thunk, Fares::Refuses), [0, 6]);
    assert_eq!(offsets(&image, &points, thunk, Fares::Adds), [10]);
    let (other, omits) = (Fares::Right, Fares::Omits);
    assert!([other, omits].iter().all(|fares| offsets(&image, &points, thunk, *fares).is_empty()));
    assert!(points.iter().all(|point| point.fares() != Fares::Omits));
}

/// The instructions of return_to_handler at which the popped address is still in the word that was popped, and the last one, which
/// returns by it.
const POPPED: [u64; 8] = [0x7, 0xe, 0x13, 0x18, 0x1d, 0x25, 0x28, 0x4b];

#[test]
fn the_tracers_trampoline_is_right_by_luck_or_refused() {
    let Some(image) = image("the_tracers_trampoline_is_right_by_luck_or_refused") else { return };
    let (handler, inner) = ("return_to_handler", "ftrace_return_to_handler");
    let points = run(&image, "fgraph", unchanged);
    assert_eq!(offsets(&image, &points, handler, Fares::Refuses), [0, 3, 0x2d, 0x30, 0x35, 0x3a, 0x41, 0x47]);
    assert_eq!(offsets(&image, &points, handler, Fares::Right), POPPED);
    // From where the index is popped to the return.
    let (popped, right) = (0x178..=0x19c, offsets(&image, &points, inner, Fares::Right));
    let refused = offsets(&image, &points, inner, Fares::Refuses);
    assert_eq!((refused.first(), refused.last()), (Some(popped.start()), Some(popped.end())));
    assert!(right.iter().all(|offset| !popped.contains(offset)), "{right:x?}");
    assert!(points.iter().all(|point| point.fares() != Fares::Omits));

    // The word below the stack pointer, which still holds the popped address, is overwritten by the interrupt's frame if that needs no
    // alignment.
    let points = run(&image, "fgraph", |program| program.layout.sp -= 8);
    assert_eq!(offsets(&image, &points, handler, Fares::Right), [0x4b]);
    assert_eq!(offsets(&image, &points, inner, Fares::Right), [] as [u64; 0]);
    assert!(points.iter().all(|point| point.fares() != Fares::Omits));
}

#[test]
fn an_nmi_in_entry_code_that_has_moved_its_return_address_is_walked_wrongly() {
    let Some(image) = image("an_nmi_in_entry_code_that_has_moved_its_return_address_is_walked_wrongly") else { return };
    let (entry, gate) = ("error_entry", "asm_sysvec_apic_timer_interrupt");
    let behind = image.address(gate).expect("a gate") + 0xf;
    let lacking = |point: &Walked| {
        let walk = &point.walks["linux@current"].pcs;
        point.truth.iter().copied().filter(|pc| !walk.contains(pc)).collect::<Vec<_>>()
    };
    let is_in = |point: &Walked, function: &str| {
        let symbol = image.symbol(function).expect("a function");
        (symbol.address..symbol.address + symbol.size).contains(&point.pc)
    };
    let points = run(&image, "nested", unchanged);
    let omits = |points: &[Walked]| points.iter().filter(|point| point.fares() == Fares::Omits).count();
    let in_entry: Vec<_> = points.iter().filter(|it| it.fares() == Fares::Omits && is_in(it, entry)).collect();
    assert!(in_entry.len() > 1000 && in_entry.iter().all(|point| lacking(point) == [behind]));
    // Behind it the hint still speaks of the CPU's frame, where the saved registers are by now: r13 is taken for cs, and an odd one
    // means user mode, the end of a trace that is claimed to be reliable.
    let others: Vec<_> = points.iter().filter(|it| it.fares() == Fares::Omits && !is_in(it, entry)).collect();
    let places: BTreeSet<&str> = others.iter().filter_map(|point| point.place.split('/').next_back()).collect();
    assert_eq!(others.len() + in_entry.len(), omits(&points));
    assert_eq!(places.len(), 2, "{places:?}");
    for point in &others {
        assert!(point.pc == behind || is_in(point, "__x86_return_thunk"), "{}", point.place);
        assert!(lacking(point).len() >= 3, "all that was interrupted is missing");
    }
    let even = run(&image, "nested", |program| {
        program.start.as_mut().expect("a start").registers.push((Register(13), 0x10));
    });
    assert_eq!(omits(&even), in_entry.len());
    assert_eq!(offsets(&image, &even, gate, Fares::Refuses), [0xf]);
}

#[test]
fn what_the_truth_must_know_of_this_kernel_is_declared() {
    let Some(image) = image("what_the_truth_must_know_of_this_kernel_is_declared") else { return };
    let (void, _) = attempt(&image, "sort", |program| program.conventions.pushes.clear());
    let void = void.expect("a contradiction");
    assert!(void.contains("__x86_indirect_thunk_rax+0x5 never resumed"), "{void}");
    let (void, _) = attempt(&image, "snprintf", |program| program.conventions.moved_returns.clear());
    let void = void.expect("a contradiction");
    assert!(void.contains("asm_sysvec_apic_timer_interrupt+0xf"), "{void}");
    let (void, _) = attempt(&image, "snprintf", |program| program.conventions.outermost.clear());
    let void = void.expect("a contradiction");
    assert!(void.contains("ret_from_fork"), "{void}");
    // Without its marker, no NMI is walked.
    let (void, points) = attempt(&image, "nmi", |program| program.conventions.other_markers.clear());
    let void = void.expect("a contradiction");
    assert!(points.is_empty() && void.contains("without calling its marker"), "{void}");
}

#[test]
fn the_kernel_has_prepared_its_unwinder_before_a_run() {
    let Some(image) = image("the_kernel_has_prepared_its_unwinder_before_a_run") else { return };
    let scenarios = image_scenarios(root(), &image).expect("they are read");
    let program = scenarios[0].program(root(), &scenarios[0].variants()[0]).expect("a program");
    assert!(program.booted_by.is_empty());
    let (start, end) =
        (image.address("orc_lookup").expect("a table"), image.address("orc_lookup_end").expect("its end"));
    let of_table = program.layout.words.iter().filter(|(address, _)| (start..end).contains(address));
    assert_eq!(of_table.count() as u64, (end - start).div_ceil(8));
    let initialised = image.address("orc_init").expect("a flag");
    let word = program.layout.words.iter().find(|(address, _)| *address == initialised & !7).expect("it is written");
    assert_eq!(word.1 >> (8 * (initialised & 7)) & 0xff, 1);
}
