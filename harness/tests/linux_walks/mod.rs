//! The traces of a kernel's own unwinder in a workload, beside those of its model and the true ones.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unwind_harness::cpu::CodeAddress;
use unwind_harness::experiment::{Arrival, Column, Experiment, Visit, columns, lasting_words};
use unwind_harness::guest::Program;
use unwind_harness::linux::{KernelImage, list};
use unwind_harness::oracle::{Truth, Witnesses};
use unwind_harness::scenario::{Scenario, image_scenarios};
use unwind_harness::subject::{Question, Start};
use unwind_harness::suite::{machine, subjects};
use unwind_harness::trace::{Run as _, Unobserved};

/// The folder of this repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The images of a CPU that were fetched. Where none is, a test says so and passes; where the fetch left a gap, it fails.
pub(crate) fn images(test: &str, cpu: &str) -> Vec<Arc<KernelImage>> {
    let folder = root().join("target/linux");
    // Past the test runner, which shows only what failing tests print.
    let skip = |reason: &str| {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {reason}");
        Vec::new()
    };
    if !folder.is_dir() {
        return skip("no Linux image is there; `.ci/linux` fetches three (34 MB)");
    }
    let unreachable = std::fs::read_to_string(folder.join("unreachable"));
    let paths: Vec<PathBuf> = match (list(&folder), unreachable) {
        (Ok(listing), _) => listing.images,
        (Err(_), Ok(reason)) => return skip(reason.trim()),
        (Err(error), Err(_)) => panic!("{error}, and the archive was reached: is the fetch complete?"),
    };
    let opened = paths.iter().map(|path| Arc::new(KernelImage::open(path).expect("it is read")));
    let images: Vec<_> = opened.filter(|image| image.cpu.name == cpu).collect();
    if images.is_empty() { skip(&format!("no image for {cpu} is there")) } else { images }
}

/// The scenario of this name for an image.
pub(crate) fn scenario(image: &Arc<KernelImage>, name: &str) -> Scenario {
    let all = image_scenarios(root(), image).expect("sound scenarios");
    let whole = format!("{}/linux/{name}", image.cpu.name);
    all.into_iter().find(|scenario| scenario.name == whole).unwrap_or_else(|| panic!("no scenario {whole}"))
}

/// The traces of one walk from one point, by pcs; the interrupted one is the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    pub(crate) at: u64,
    pub(crate) visit: u64,
    pub(crate) start: Option<Start>,
    pub(crate) kernel: Vec<u64>,
    pub(crate) model: Vec<u64>,
    pub(crate) truth: Vec<u64>,
}

/// What a run of a workload has shown.
pub(crate) struct Walks {
    pub(crate) program: Program,
    pub(crate) walks: Vec<Walk>,
    /// Why it is void.
    pub(crate) void: Option<String>,
}

impl Walks {
    /// Runs a workload and collects the traces of the kernel's unwinder and of the model with these names.
    pub(crate) fn of(scenario: &Scenario, kernel: &str, model: &str) -> Self {
        let variant = scenario.variants().remove(0);
        let kind = scenario.text.interrupt[0];
        let program = scenario.program(root(), &variant).expect("it is set up");
        let undisturbed = {
            let mut machine = machine(&program, &scenario.text).expect("a machine");
            machine.drive(&mut Unobserved).expect("it runs to its end");
            lasting_words(&program, machine.memory())
        };
        let chosen = subjects(scenario.cpu, &[kernel.to_owned(), model.to_owned()]);
        let chosen: Vec<_> = chosen.iter().map(|subject| &**subject as &dyn unwind_harness::subject::Subject).collect();
        let columns = columns(&chosen, kind);
        let mut seen = Seen { kernel: kernel.to_owned(), walks: Vec::new() };
        let experiment = Experiment {
            program: &program,
            text: &scenario.text,
            kind,
            columns: &columns,
            max_visits: scenario.text.max_visits,
            wanted: None,
        };
        let void = {
            let mut machine = machine(&program, &scenario.text).expect("a machine");
            let found = experiment.drive(&mut machine, &undisturbed, Witnesses::default(), &mut seen);
            found.expect("it runs to its end").testimony.contradiction
        };
        let Seen { walks, .. } = seen;
        Self { program, walks, void }
    }

    /// The names of a trace's addresses.
    pub(crate) fn names(&self, trace: &[u64]) -> Vec<String> {
        trace.iter().map(|pc| self.program.guest.symbols.name(*pc)).collect()
    }

    /// Fails at the first walk in which the model differs from the kernel.
    pub(crate) fn require_agreement(&self, what: &str) {
        assert_eq!(self.void, None, "{what}");
        assert!(!self.walks.is_empty(), "{what}: no point");
        let differ: Vec<_> = self.walks.iter().filter(|walk| walk.kernel != walk.model).collect();
        if let Some(first) = differ.first() {
            panic!(
                "{what}: {} of {} walks differ; the first at {} (arrival {}, {:?}):\nkernel {:?}\nmodel  {:?}\ntruth  {:?}",
                differ.len(),
                self.walks.len(),
                self.program.guest.symbols.name(first.at),
                first.visit,
                first.start,
                self.names(&first.kernel),
                self.names(&first.model),
                self.names(&first.truth),
            );
        }
    }
}

/// Sees the walks, the kernel's before the model's.
struct Seen {
    kernel: String,
    walks: Vec<Walk>,
}

impl Visit for Seen {
    fn walk(&mut self, at: Arrival, _: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let mut trace = Vec::new();
        column.subject.walk(question, &mut |entry| {
            trace.push(entry.pc.value());
            ControlFlow::Continue(())
        });
        let is_it = |walk: &&mut Walk| (walk.at, walk.visit, walk.start) == (at.pc, at.visit, Some(column.start));
        let recent = self.walks.len().saturating_sub(4);
        let walk = match self.walks[recent..].iter_mut().position(|mut walk| is_it(&&mut walk)) {
            Some(index) => &mut self.walks[recent + index],
            None => {
                let resumes = truth.activations().map(|activation| activation.resume);
                let truth = [question.pc].map(CodeAddress::value).into_iter().chain(resumes).collect();
                self.walks.push(Walk {
                    at: at.pc,
                    visit: at.visit,
                    start: Some(column.start),
                    truth,
                    ..Walk::default()
                });
                self.walks.last_mut().expect("it was pushed")
            }
        };
        let which = if column.subject.about().name == self.kernel { &mut walk.kernel } else { &mut walk.model };
        *which = trace;
    }
}
