//! Debian's x86-64 kernel, run: its own unwinder and ours, at every point. Nothing of the image is checked in: where `.ci/linux` has
//! not fetched it, these tests say so and pass.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unwind_harness::cpu;
use unwind_harness::experiment::{Arrival, Column, Experiment, Found, Visit, columns, lasting_words};
use unwind_harness::guest::Program;
use unwind_harness::linux::KernelImage;
use unwind_harness::oracle::{Truth, Witnesses};
use unwind_harness::scenario::{Interruption, Scenario, image_scenarios};
use unwind_harness::subject::{self, Claim, Question, Subject};
use unwind_harness::suite::machine;
use unwind_harness::trace::{Run as _, Unobserved};

/// SHA-256 of the pinned image's `vmlinuz`.
const PINNED: &str = "7435b9178e91998f4f70774510c4ffad6764a08c64b17f7ef9c4252ea5948932";

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
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("linux-binary-7.3.4") && name.ends_with("amd64.deb")
    };
    let entries = std::fs::read_dir(root().join("target/linux")).into_iter().flatten();
    let Some(path) = entries.filter_map(|entry| Some(entry.ok()?.path())).find(is_it) else {
        // Past the test runner, which shows only what failing tests print.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: no x86-64 image is in target/linux; `.ci/linux` fetches it");
        return None;
    };
    let image = KernelImage::open(&path).expect("it is read");
    assert_eq!(image.hash, PINNED);
    Some(Arc::new(image))
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
            self.points.push((key, Walked { place, ..Walked::default() }));
        }
        let Some((_, walked)) = self.points.last_mut() else { return };
        if column.label() == "linux@current" {
            walked.truth = truth.activations().map(|activation| activation.resume).collect();
        }
        walked.walks.insert(column.label(), Walk { claim: outcome.claim, pcs: pcs.split_off(1) });
    }
}

/// Runs one kind of a scenario. No run is void.
fn run(image: &Arc<KernelImage>, name: &str) -> Vec<Walked> {
    let scenarios = image_scenarios(root(), image).expect("they are read");
    let is_it = |scenario: &&Scenario| scenario.name == format!("x86_64/linux/{name}");
    let scenario = scenarios.iter().find(is_it).expect("a scenario");
    let (text, variant) = (&scenario.text, &scenario.variants()[0]);
    let program = scenario.program(root(), variant).expect("a program");
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
    let experiment =
        Experiment { program: &program, text, kind, columns: &columns, max_visits: text.max_visits, wanted: None };
    let mut machine = machine(&program, text).expect("a machine");
    let mut walks = Walks { program: &program, points: Vec::new() };
    let found: Found =
        experiment.drive(&mut machine, &undisturbed, Witnesses::default(), &mut walks).expect("it runs to its end");
    assert_eq!(found.testimony.contradiction, None, "{name} is not void");
    walks.points.into_iter().map(|(_, walked)| walked).collect()
}

/// Addresses in words.
fn names(image: &KernelImage, pcs: &[u64]) -> String {
    pcs.iter().map(|pc| image.symbols.name(*pc)).collect::<Vec<_>>().join(" ")
}

/// The places where our models and the kernel differ.
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

/// The kernel's reliable walk of a point: whether it claims to be reliable, and whether it is the truth.
fn fares(point: &Walked) -> (bool, bool) {
    let walk = &point.walks["linux@current"];
    (walk.claim == Claim::Reliable, walk.pcs == point.truth)
}

#[track_caller]
fn no_differences(image: &KernelImage, points: &[Walked]) {
    let found = differences(image, points);
    assert!(found.is_empty(), "{} of {} walks differ:\n{}", found.len(), points.len(), found[..found.len().min(5)].join("\n"));
}

#[test]
fn the_kernel_and_its_model_agree_at_every_point() {
    let Some(image) = image("the_kernel_and_its_model_agree_at_every_point") else { return };
    for name in ["snprintf", "nmi", "sort", "fgraph", "nested"] {
        let points = run(&image, name);
        let counts = |wanted| points.iter().filter(|point| fares(point) == wanted).count();
        eprintln!(
            "{name}: {} points; right and claimed {}, right and refused {}, wrong and claimed {}, wrong and refused {}",
            points.len(),
            counts((true, true)),
            counts((false, true)),
            counts((true, false)),
            counts((false, false))
        );
        for point in points.iter().filter(|point| fares(point) != (true, true)) {
            let walk = &point.walks["linux@current"];
            eprintln!(
                "  {} {:?} {} truth {}",
                point.place,
                fares(point),
                names(&image, &walk.pcs),
                names(&image, &point.truth)
            );
        }
        no_differences(&image, &points);
    }
}
