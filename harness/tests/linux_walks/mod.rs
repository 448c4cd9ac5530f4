//! The traces of a kernel's own unwinder in a workload, beside the true ones.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use unwind_harness::experiment::{Arrival, Column, EVERYWHERE, Experiment, Visit, columns, lasting_words};
use unwind_harness::guest::Program;
use unwind_harness::linux::KernelImage;
use unwind_harness::oracle::{Truth, Witnesses};
use unwind_harness::scenario::{Scenario, image_scenarios};
use unwind_harness::subject::{Question, Start};
use unwind_harness::suite::{machine, subjects};
use unwind_harness::trace::{Run as _, Unobserved};

/// The folder of this repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The images of a CPU that were fetched.
pub(crate) fn images(test: &str, cpu: &str) -> Vec<Arc<KernelImage>> {
    crate::linux_packages::images_of(test, cpu).into_iter().map(Arc::new).collect()
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
    pub(crate) start: Option<Start>,
    pub(crate) kernel: Vec<u64>,
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
    /// Runs a workload and collects the traces of the kernel's unwinder of this name.
    pub(crate) fn of(scenario: &Scenario, kernel: &str) -> Self {
        let variant = scenario.variants().remove(0);
        let kind = scenario.text.interrupt[0];
        let program = scenario.program(root(), &variant).expect("it is set up");
        let undisturbed = {
            let mut machine = machine(&program, &scenario.text).expect("a machine");
            machine.drive(&mut Unobserved).expect("it runs to its end");
            lasting_words(&program, machine.memory())
        };
        let chosen = subjects(scenario.cpu, &[kernel.to_owned()]);
        let chosen: Vec<_> = chosen.iter().map(|subject| &**subject as &dyn unwind_harness::subject::Subject).collect();
        let columns = columns(&chosen, kind);
        let mut seen = Seen { walks: Vec::new() };
        let experiment = Experiment {
            program: &program,
            text: &scenario.text,
            kind,
            columns: &columns,
            max_visits: scenario.text.max_visits,
            wanted: &[],
            addresses: EVERYWHERE,
        };
        let void = {
            let mut machine = machine(&program, &scenario.text).expect("a machine");
            let found = experiment.drive(&mut machine, &undisturbed, Witnesses::default(), &mut seen);
            found.expect("it runs to its end").testimony.contradiction
        };
        Self { program, walks: seen.walks, void }
    }

    /// The names of a trace's addresses.
    pub(crate) fn names(&self, trace: &[u64]) -> Vec<String> {
        trace.iter().map(|pc| self.program.guest.symbols.name(*pc)).collect()
    }
}

/// Sees the walks.
struct Seen {
    walks: Vec<Walk>,
}

impl Visit for Seen {
    fn walk(&mut self, at: Arrival, _: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let mut kernel = Vec::new();
        column.subject.walk(question, &mut |entry| {
            kernel.push(entry.pc.value());
            ControlFlow::Continue(())
        });
        let resumes = truth.activations().map(|activation| activation.resume);
        let truth = std::iter::once(question.pc.value()).chain(resumes).collect();
        self.walks.push(Walk { at: at.pc, start: Some(column.start), kernel, truth });
    }
}
