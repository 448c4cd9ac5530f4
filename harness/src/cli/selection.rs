//! Which scenarios, and which unwinders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::case::Case;
use crate::cpu::{self, ALL};
use crate::linux::state::require_capabilities;
use crate::linux::{self, KernelImage};
use crate::scenario::{Scenario, image_call, image_entry, image_scenarios, load_all};
use crate::{Error, subject};

/// Which scenarios.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Only scenarios whose name contains one of these; a whole name (`arm64/leaf` or `leaf`) selects exactly that
    #[arg(value_name = "FILTER")]
    pub(super) filters: Vec<String>,
    /// Only this CPU: arm64, riscv64 or x86_64
    #[arg(long, value_name = "CPU")]
    pub(super) arch: Option<String>,
    /// Run the scenarios of scenarios/linux in this kernel: a Debian package, an Image, bzImage or vmlinux; of a folder, in each
    #[arg(long, value_name = "IMAGE")]
    pub(super) linux: Option<PathBuf>,
    #[command(flatten)]
    pub(super) call: ImageCall,
    /// Run a frozen case (`run --freeze`), without the guest that it comes from
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filters", "linux"])]
    pub(super) case: Option<PathBuf>,
}

/// A function of a kernel that no scenario names.
#[derive(Debug, Default, Args)]
pub(super) struct ImageCall {
    /// Instead of the scenarios: call this function of the kernel, interrupted at every instruction
    #[arg(long = "call", value_name = "FUNCTION", requires = "linux")]
    pub(super) function: Option<String>,
    /// An argument of it: a number, str:TEXT, buf:N, hex:BYTES, u32:A,B,.., sym:NAME, param:NAME, fn:compare-u32; in order
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

/// The selected scenarios. An empty selection is an error, because it is a typing mistake.
pub(super) fn select(root: &Path, selection: &Selection) -> Result<Vec<Scenario>, Error> {
    let Selection { filters, arch, linux, call, case } = selection;
    if let Some(arch) = arch
        && cpu::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
    }
    if call.function.is_some() && !filters.is_empty() {
        return Err(Error::Usage("--call runs instead of scenarios: take the filters away".to_owned()));
    }
    if call.entry_state.is_some() && !filters.is_empty() {
        return Err(Error::Usage("--entry-state runs instead of scenarios: take the filters away".to_owned()));
    }
    let mut scenarios = match (case, linux) {
        (Some(path), _) => vec![of_case(path)?],
        (None, Some(path)) => of_images(root, path, call)?,
        (None, None) => load_all(root)?,
    };
    scenarios.retain(|scenario| arch.as_ref().is_none_or(|arch| scenario.cpu.name == arch));
    let is_whole = |scenario: &Scenario, filter: &str| {
        scenario.name == filter || scenario.name.rsplit_once('/').is_some_and(|(_, stem)| stem == filter)
    };
    for filter in filters {
        if !scenarios.iter().any(|scenario| scenario.name.contains(filter.as_str())) {
            return Err(Error::Usage(format!("no scenario matches {filter:?}; `unwind-harness list` shows them")));
        }
    }
    let wanted = |scenario: &Scenario| {
        filters.iter().any(|filter| {
            is_whole(scenario, filter)
                || (scenario.name.contains(filter.as_str()) && !scenarios.iter().any(|other| is_whole(other, filter)))
        })
    };
    let keep: Vec<bool> = scenarios.iter().map(|scenario| filters.is_empty() || wanted(scenario)).collect();
    let mut keep = keep.into_iter();
    scenarios.retain(|_| keep.next().unwrap_or(false));
    if scenarios.is_empty() {
        return Err(Error::Usage("no scenario matches".to_owned()));
    }
    Ok(scenarios)
}

/// The scenario of a frozen case.
pub(super) fn of_case(path: &Path) -> Result<Scenario, Error> {
    Scenario::of_case(&Arc::new(Case::load(path)?))
}

/// The scenarios of every image at a path.
pub(super) fn of_images(root: &Path, path: &Path, call: &ImageCall) -> Result<Vec<Scenario>, Error> {
    let mut scenarios = Vec::new();
    for path in linux::list(path)?.images {
        let image = Arc::new(KernelImage::open(&path)?);
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
    Ok(scenarios)
}

/// Checks that every name belongs to a subject of some CPU.
pub(super) fn require_subjects(names: &[String]) -> Result<(), Error> {
    let subjects = ALL.iter().flat_map(|cpu| subject::all(cpu));
    let mut known: Vec<String> = subjects.map(|subject| subject.about().name.clone()).collect();
    match names.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(unknown) => {
            known.sort();
            known.dedup();
            Err(Error::Usage(format!("--unwinder {unknown}: no such unwinder; there are {}", known.join(", "))))
        }
    }
}

/// The unwinders that run: those that a case was frozen with, if it is one and none are named.
pub(super) fn unwinders(named: &[String], scenarios: &[Scenario]) -> Result<Vec<String>, Error> {
    let Some(case) = scenarios.iter().find_map(|scenario| scenario.case.as_ref()) else { return Ok(named.to_vec()) };
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
