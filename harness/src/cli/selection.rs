//! Which scenarios, and which unwinders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::names::{known, one_of};
use super::narrow::{self, Known, Narrow};
use super::process::OfProcess;
use super::words;
use crate::Error;
use crate::case::CaseFile;
use crate::cpu;
use crate::linux::state::require_capabilities;
use crate::linux::{self, KernelImage, Listing};
use crate::recording::{Skip, word};
use crate::scenario::{Part, Scenario, elf_call, image_call, image_entry, image_scenarios, load_all};

/// Which scenarios.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Only scenarios whose name contains one of these; a whole name (`arm64/leaf` or `leaf`) selects exactly that. Also what
    /// reports print of a run: `arm64/leaf probe`, `fgraph F0`, `arm64-sframe@regs`, `leaf+0x8#1`
    #[arg(value_name = "FILTER")]
    pub(super) filters: Vec<String>,
    /// Only this CPU: arm64, riscv64 or x86_64
    #[arg(long, value_name = "CPU")]
    pub(super) arch: Option<String>,
    /// Run the scenarios of scenarios/linux in this kernel: a Debian package, an Image, bzImage or vmlinux; of a folder, in each
    #[arg(long, value_name = "IMAGE")]
    pub(super) linux: Option<PathBuf>,
    #[command(flatten)]
    pub(super) elf: Elf,
    #[command(flatten)]
    pub(super) process: OfProcess,
    #[command(flatten)]
    pub(super) call: ImageCall,
    /// Run a frozen case (`run --freeze`) without the guest that it comes from, or a written state (docs/case.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filters", "linux", "elf"])]
    pub(super) case: Option<PathBuf>,
}

/// Somebody's file, without a scenario.
#[derive(Debug, Default, Clone, Args)]
pub(super) struct Elf {
    /// Call a function of this shared object, executable or object file (--call), or run this program (--process)
    #[arg(long = "elf", value_name = "FILE", conflicts_with = "linux")]
    pub(super) elf: Option<PathBuf>,
    /// A library that it needs (may be repeated); those that it names are looked for in its folder
    #[arg(long = "lib", value_name = "FILE", requires = "elf")]
    pub(super) libraries: Vec<PathBuf>,
}

/// A function that no scenario names.
#[derive(Debug, Default, Clone, Args)]
pub(super) struct ImageCall {
    /// Instead of the scenarios: call this function of the file (--elf) or kernel (--linux)
    #[arg(long = "call", value_name = "FUNCTION")]
    pub(super) function: Option<String>,
    /// An argument of it, in order: a number, str:TEXT, buf:N, hex:BYTES, u32:A,B,.., sym:NAME; of a file also f64:1.5, file:PATH and
    /// fn:compare-int|long|byte|str, of a kernel param:NAME and fn:compare-u32
    #[arg(long = "arg", value_name = "ARGUMENT", requires = "function", allow_hyphen_values = true)]
    pub(super) arguments: Vec<String>,
    /// Instead of the scenarios: begin in the state that this file gives (docs/linux-runs.md)
    #[arg(long, value_name = "FILE", requires = "linux", conflicts_with = "function")]
    pub(super) entry_state: Option<PathBuf>,
    /// Apply the alternatives for a CPU with this capability, by the kernel's own name for it (may be repeated; arm64)
    #[arg(long, value_name = "CAPABILITY", requires = "linux")]
    pub(super) alternatives: Vec<String>,
}

impl Selection {
    /// How a command names what is run, if it is somebody's file and no scenario says so.
    pub(super) fn target(&self) -> Option<String> {
        let file = self.elf.elf.as_ref()?;
        let path = |option: &str, path: &Path| format!("{option} {}", word(&path.to_string_lossy()));
        let mut words = vec![path("--elf", file)];
        words.extend(self.elf.libraries.iter().map(|library| path("--lib", library)));
        words.extend(self.call.function.iter().map(|function| format!("--call {}", word(function))));
        words.extend(self.call.arguments.iter().map(|argument| format!("--arg {}", word(argument))));
        Some(words.join(" ") + &self.process.words())
    }

    /// Refuses a case, for a command that cannot take one, and says why.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub(super) fn refuse_case(&self, why: &str) -> Result<(), Error> {
        match &self.case {
            None => Ok(()),
            Some(path) => Err(Error::Usage(format!("--case {}: {why}", path.display()))),
        }
    }
}

/// The selected scenarios, and what of a folder of images has none. An empty selection is an error, because it is a typing mistake.
///
/// # Errors
///
/// [`Error::Usage`] for names that nothing has, else whatever keeps a scenario from being read.
pub(super) fn select_part(
    root: &Path,
    selection: &Selection,
    narrow: &Narrow,
) -> Result<(Vec<Scenario>, Vec<Skip>, Part), Error> {
    let (scenarios, skipped, part) = choose_part(root, selection, narrow)?;
    let is_alone = scenarios.len() == 1;
    // Processes have run once. Of several, one that cannot run is not judged, and the others are.
    let traced = scenarios.into_iter().map(|scenario| match scenario.clone().traced(root) {
        Err(error) if is_alone => Err(error),
        traced => Ok(traced.unwrap_or(scenario)),
    });
    Ok((traced.collect::<Result<_, Error>>()?, skipped, part))
}

/// The same without a part.
pub(super) fn select(root: &Path, selection: &Selection) -> Result<(Vec<Scenario>, Vec<Skip>), Error> {
    let (scenarios, skipped, _) = select_part(root, selection, &Narrow::default())?;
    Ok((scenarios, skipped))
}

/// The same; nothing runs.
pub(super) fn choose(root: &Path, selection: &Selection) -> Result<(Vec<Scenario>, Vec<Skip>), Error> {
    let (scenarios, skipped, _) = choose_part(root, selection, &Narrow::default())?;
    Ok((scenarios, skipped))
}

fn choose_part(root: &Path, selection: &Selection, narrow: &Narrow) -> Result<(Vec<Scenario>, Vec<Skip>, Part), Error> {
    let (mut scenarios, skipped) = all(root, selection)?;
    if scenarios.is_empty() && selection.linux.is_none() {
        let folder = root.join("scenarios");
        let of = selection.arch.as_ref().map_or(String::new(), |arch| format!(" of {arch}"));
        let reason = format!("no scenario{of} there: one is a file <cpu>/NAME.toml, where <cpu> is {}", cpu::names());
        return Err(Error::Usage(format!("{}: {reason}", folder.display())));
    }
    let mut part = Part::default();
    words::select(&mut scenarios, &selection.filters, &mut part)?;
    narrow.add_to(&mut part, &Known::of(&scenarios))?;
    if !part.variants.is_empty() || !part.kinds.is_empty() {
        scenarios.retain(|scenario| words::has_run(scenario, &part));
    }
    if scenarios.is_empty() {
        return Err(Error::Usage("no scenario matches".to_owned()));
    }
    Ok((scenarios, skipped, part))
}

/// The scenarios before words select among them.
fn all(root: &Path, selection: &Selection) -> Result<(Vec<Scenario>, Vec<Skip>), Error> {
    let Selection { filters, arch, linux, elf, process, call, case } = selection;
    let arch = match arch {
        None => None,
        Some(arch) => Some(cpu_named(arch)?),
    };
    if call.function.is_some() && linux.is_none() && elf.elf.is_none() {
        return Err(Error::Usage("--call needs a file (--elf) or a kernel (--linux) that has the function".to_owned()));
    }
    if linux.is_none() && (!call.alternatives.is_empty() || call.entry_state.is_some()) {
        let option = if call.entry_state.is_some() { "--entry-state" } else { "--alternatives" };
        return Err(Error::Usage(format!("{option}: it needs a kernel (--linux)")));
    }
    if elf.elf.is_none() && !elf.libraries.is_empty() {
        return Err(Error::Usage("--lib: it needs a file (--elf)".to_owned()));
    }
    if call.function.is_some() && !filters.is_empty() {
        return Err(Error::Usage("--call runs instead of scenarios: take the filters away".to_owned()));
    }
    if call.entry_state.is_some() && !filters.is_empty() {
        return Err(Error::Usage("--entry-state runs instead of scenarios: take the filters away".to_owned()));
    }
    if let Some(scenario) = process.scenario(elf.elf.as_deref())? {
        if !filters.is_empty() || linux.is_some() || case.is_some() {
            return Err(Error::Usage(
                "--process runs instead of scenarios: take the filters, --linux and --case away".to_owned(),
            ));
        }
        return Ok((vec![scenario], Vec::new()));
    }
    let (mut scenarios, skipped) = match (case, linux) {
        _ if elf.elf.is_some() => (vec![of_elf(elf, call)?], Vec::new()),
        (Some(path), _) => (vec![of_case(path)?], Vec::new()),
        (None, Some(path)) => of_images(root, path, call)?,
        (None, None) => (load_all(root)?, Vec::new()),
    };
    scenarios.retain(|scenario| arch.is_none_or(|arch| scenario.cpu.name == arch));
    Ok((scenarios, skipped))
}

/// The CPU of this name.
fn cpu_named(text: &str) -> Result<&'static str, Error> {
    let unknown = || Error::Usage(format!("--arch {text}: no such CPU; there are {}", cpu::names()));
    known(text, cpu::ALL.iter().map(|cpu| cpu.name)).ok_or_else(unknown)
}

/// The scenario of a frozen case.
pub(super) fn of_case(path: &Path) -> Result<Scenario, Error> {
    match CaseFile::load(path)? {
        CaseFile::Frozen(case) => Scenario::of_case(&Arc::new(*case)),
        CaseFile::State(state) => Scenario::of_state(&Arc::new(*state)),
    }
}

/// The scenario of a call of a function in somebody's file.
pub(super) fn of_elf(elf: &Elf, call: &ImageCall) -> Result<Scenario, Error> {
    let (Some(file), Some(function)) = (&elf.elf, &call.function) else {
        return Err(Error::Usage("--elf needs a function (--call), or --process".to_owned()));
    };
    elf_call(file, function, &call.arguments, &elf.libraries)
}

/// The scenarios of every image at a path. Of a folder, an image that cannot be read is skipped, if another one can.
pub(super) fn of_images(root: &Path, path: &Path, call: &ImageCall) -> Result<(Vec<Scenario>, Vec<Skip>), Error> {
    let (mut scenarios, mut skipped) = (Vec::new(), Vec::new());
    let mut first = None;
    let Listing { images, others } = linux::list(path)?;
    for path in images {
        let image = match KernelImage::open(&path) {
            Ok(image) => Arc::new(image),
            Err(error) => {
                skipped.push(Skip::failed(path.display().to_string(), error.to_string()));
                first.get_or_insert(error);
                continue;
            }
        };
        require_capabilities(&image, &call.alternatives)
            .map_err(|error| Error::Usage(format!("--alternatives: {error}")))?;
        match (&call.function, &call.entry_state) {
            (None, None) => scenarios.extend(image_scenarios(root, &image)?),
            (Some(function), _) => scenarios.push(image_call(&image, function, &call.arguments)?),
            (None, Some(path)) => scenarios.push(image_entry(&image, path)?),
        }
    }
    for linux in scenarios.iter_mut().filter_map(|scenario| scenario.text.linux.as_mut()) {
        linux.workload.alternatives.extend(call.alternatives.iter().cloned());
    }
    if let Some(error) = first.filter(|_| scenarios.is_empty()) {
        return Err(error);
    }
    skipped.extend(others.iter().map(|path| Skip::absent(path.display().to_string(), "not a kernel image")));
    Ok((scenarios, skipped))
}

/// Checks that every name belongs to a subject of some CPU.
pub(super) fn require_subjects(names: &[String]) -> Result<(), Error> {
    let known = narrow::unwinders();
    names.iter().try_for_each(|name| one_of("--unwinder", name, "unwinder", &known).map(drop))
}

/// The unwinders that run: those that a case was frozen with, if it is one and none are named.
pub(super) fn unwinders(named: &[String], scenarios: &[Scenario]) -> Result<Vec<String>, Error> {
    if let Some(state) = scenarios.iter().find_map(|scenario| scenario.state()) {
        return Ok(if named.is_empty() { state.unwinders.clone() } else { named.to_vec() });
    }
    let Some(case) = scenarios.iter().find_map(|scenario| scenario.case()) else { return Ok(named.to_vec()) };
    match named.iter().find(|name| !case.unwinders.contains(name)) {
        None if named.is_empty() => Ok(case.unwinders.clone()),
        None => Ok(named.to_vec()),
        Some(other) => {
            let known = case.unwinders.join(", ");
            Err(Error::Usage(format!(
                "--unwinder {other}: the case was frozen with {known}, and holds no pages for others"
            )))
        }
    }
}
