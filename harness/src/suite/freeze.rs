//! Freezing runs as a case, and holding a case's runs against its recorded walks.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{Job, Options, Subjects, Wanted, hold_gates, run_all, subjects};
use crate::Error;
use crate::case::{Case, Frozen, Provenance, Walks};
use crate::guest::Program;
use crate::oracle::Witnesses;
use crate::recording::{Agreement, RECORDED, Recording, Section, Written, compare};
use crate::scenario::{Interruption, Scenario, Variant};
use crate::subject::{About, Subject};
use crate::trace::{Run as _, Watched};

/// What is to be frozen.
#[derive(Debug, Clone, Copy)]
pub struct Freeze<'a> {
    /// The folder with `guests`.
    pub root: &'a Path,
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The variant.
    pub variant: &'a Variant,
    /// The kinds of interruption.
    pub kinds: &'a [Interruption],
    /// The command that does it.
    pub command: &'a str,
}

/// Runs a scenario, and freezes what it used. There is no case of runs that are void, and none that gives other walks than its run.
///
/// # Errors
///
/// As [`Job::run`]; [`Error::Usage`] when the runs cannot be a case.
pub fn freeze(what: Freeze<'_>, options: &Options) -> Result<(Recording, Option<Case>), Error> {
    let Freeze { root, scenario, variant, kinds, .. } = what;
    let all = subjects(scenario.cpu, &options.unwinders);
    let program = scenario.program(root, variant)?;
    if program.conventions.kernel.as_ref().is_some_and(|kernel| kernel.pt_regs != scenario.cpu.abi.pt_regs) {
        return Err(Error::Usage(format!("{}: its pt_regs are not laid out as the CPU's usual ones", scenario.name)));
    }
    let (mut sections, mut walks): (Vec<Section>, Vec<Walks>) = Default::default();
    let (mut pages, mut named) = (BTreeSet::new(), BTreeSet::new());
    for kind in kinds {
        let job = Job { root, scenario, variant, kind: *kind };
        let (section, written) = job.run_noting(&program, &all, options, &mut pages)?;
        let Written { labels, rows, named: of_kind } = written;
        named.extend(of_kind);
        walks.push(Walks::new(kind.name().to_owned(), labels, &rows));
        sections.push(section);
    }
    hold_gates([scenario], &mut sections, false);
    let is_whole = sections.iter().all(Section::is_whole);
    let recording = Recording::new(sections);
    if !is_whole {
        return Ok((recording, None));
    }
    let job = Job { root, scenario, variant, kind: kinds.first().copied().unwrap_or(Interruption::Probe) };
    let machine = job.machine(&program)?;
    let frozen = Frozen {
        scenario: scenario.name.clone(),
        variant: variant.name.clone(),
        text: scenario.source.clone(),
        unwinders: fitting(&all, &recording),
        functions: scenario.functions().collect(),
        named: named.into_iter().chain(addresses(&program)).collect(),
        pages,
        memory: machine.memory(),
        walks,
        provenance: provenance(&what, &program),
    };
    let case = Case::freeze(&program, frozen)?;
    require_same(&case, options)?;
    Ok((recording, Some(case)))
}

impl Job<'_> {
    /// Runs without and with interruptions, and adds the pages that both used.
    pub(super) fn run_noting(
        self,
        program: &Program,
        subjects: &Subjects,
        options: &Options,
        pages: &mut BTreeSet<u64>,
    ) -> Result<(Section, Written), Error> {
        let undisturbed = self.undisturbed_noting(program, &options.interrupt, Some(pages))?;
        let mut machine = self.machine(program)?;
        machine.note_pages();
        let mut watched = Watched::new(&mut machine, &options.interrupt);
        let done =
            self.over(program, &mut watched, &undisturbed, subjects, Witnesses::default(), Some(Wanted::Walks))?;
        if done.section.interrupted {
            return Err(Error::Interrupted);
        }
        pages.extend(machine.used_pages());
        let written = done.walks.ok_or_else(|| Error::Internal("its walks were not kept".to_owned()))?;
        Ok((done.section, written))
    }
}

/// The names of the subjects that walked.
fn fitting(subjects: &Subjects, recording: &Recording) -> Vec<String> {
    let has_column = |about: &About| recording.sections.iter().any(|section| section.column(&about.name).is_some());
    let fitting = subjects.iter().map(|subject| subject.about()).filter(|about| has_column(about));
    fitting.map(|about| about.name.clone()).collect()
}

/// Addresses that conventions know by their functions' names.
fn addresses(program: &Program) -> impl Iterator<Item = u64> + '_ {
    let conventions = &program.conventions;
    let own = conventions.own_unwinder.iter();
    let own = own.flat_map(|own| [own.reliable, own.best_effort, own.save_reliable, Some(own.consume)]).flatten();
    let text = conventions.exception_text.iter().chain(&conventions.user_text).map(|range| range.start);
    let markers = conventions.kernel.iter().map(|kernel| &kernel.symbols);
    let markers = markers.flat_map(|it| [it.subject, it.walk_here, it.walk_task, it.walk_user]).flatten();
    let trampolines = conventions.trampolines.iter().map(|trampoline| trampoline.start);
    own.chain(text).chain(markers).chain(trampolines)
}

fn provenance(what: &Freeze<'_>, program: &Program) -> Provenance {
    let Freeze { scenario, command, .. } = what;
    let own = Provenance {
        command: (*command).to_owned(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        guest: program.guest.name.clone(),
        sha256: program.guest.hash.clone(),
        licence: "GPL-2.0-only".to_owned(),
        ..Provenance::default()
    };
    let Some(image) = scenario.image() else { return own };
    // Debian's names of packages: NAME_VERSION_ARCHITECTURE.deb.
    let file = image.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut parts = file.splitn(3, '_').map(str::to_owned);
    let is_package = image.package_hash.is_some();
    let (package, version) = if is_package { (parts.next(), parts.next()) } else { (None, None) };
    Provenance {
        // All of Debian's kernels are built from this one source package.
        source: version.as_ref().filter(|_| file.starts_with("linux-")).map(|version| format!("linux {version}")),
        package,
        version,
        package_sha256: image.package_hash.clone(),
        banner: Some(image.banner.clone()),
        build_id: image.build_id.clone(),
        ..own
    }
}

/// Runs a case, as a reader of its file would.
fn require_same(case: &Case, options: &Options) -> Result<(), Error> {
    let again = Arc::new(Case::parse(&case.path, &case.to_text()?)?);
    let options = Options { unwinders: case.unwinders.clone(), log: false, keep_going: false, ..options.clone() };
    let (recording, _) = run_all(Path::new(""), &[Scenario::of_case(&again)?], &options)?;
    if recording.partial.is_some() {
        return Err(Error::Interrupted);
    }
    let void = recording.sections.iter().find_map(|section| section.void.clone());
    let differs = |it: &&Agreement| it.model == RECORDED && it.differ > 0;
    let differs = recording.sections.iter().flat_map(|section| &section.agreements).find(differs);
    let differs =
        differs.map(|it| format!("{} differs at {} of {} points: {:?}", it.own, it.differ, it.points, it.first));
    match void.or(differs) {
        None => Ok(()),
        Some(reason) => Err(Error::Internal(format!("the case does not repeat its run: {reason}"))),
    }
}

/// How the walks of a case's run agree with those that it records.
pub(super) fn held_against(
    case: &Case,
    now: &Written,
    kind: Interruption,
    subjects: &[Box<dyn Subject + Send>],
) -> Result<Vec<Agreement>, Error> {
    let ran = |label: &str| {
        let name = label.split('@').next().unwrap_or(label);
        subjects.iter().any(|subject| subject.about().name == name)
    };
    let mut agreements = Vec::new();
    for recorded in case.walks.iter().filter(|walks| walks.interrupt == kind.name()) {
        let compared = compare(recorded, now, &ran).map_err(|reason| case.reject(format!("walks: {reason}")))?;
        agreements.extend(compared);
    }
    Ok(agreements)
}
