//! Which scenarios, and which unwinders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cpu::{self, ALL};
use crate::linux::{self, KernelImage};
use crate::scenario::{Scenario, image_scenarios, load_all};
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
}

/// The selected scenarios. An empty selection is an error, because it is a typing mistake.
pub(super) fn select(root: &Path, selection: &Selection) -> Result<Vec<Scenario>, Error> {
    let Selection { filters, arch, linux } = selection;
    if let Some(arch) = arch
        && cpu::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
    }
    let mut scenarios = match linux {
        None => load_all(root)?,
        Some(path) => of_images(root, path)?,
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

/// The scenarios of every image at a path.
pub(super) fn of_images(root: &Path, path: &Path) -> Result<Vec<Scenario>, Error> {
    let mut scenarios = Vec::new();
    for path in linux::list(path)?.images {
        let image = Arc::new(KernelImage::open(&path)?);
        scenarios.extend(image_scenarios(root, &image)?);
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
