//! The files of scenarios below a root.

use std::path::{Path, PathBuf};

use super::Scenario;
use crate::{Error, cpu, file};

/// All scenarios below `root`, by CPU in the order of [`cpu::ALL`] and then by name.
///
/// # Errors
///
/// [`Error::Usage`] when there is no folder `scenarios`, else as [`Scenario::load`].
pub fn load_all(root: &Path) -> Result<Vec<Scenario>, Error> {
    let folder = root.join("scenarios");
    if !folder.is_dir() {
        let advice = "run this in the repository, or name it with --root";
        return Err(Error::Usage(format!("{}: no folder `scenarios`; {advice}", root.display())));
    }
    let mut scenarios = Vec::new();
    for cpu in cpu::ALL {
        let folder = folder.join(cpu.name);
        if folder.exists() {
            for path in files_in(root, &folder)? {
                scenarios.push(Scenario::load(&path)?);
            }
        }
    }
    Ok(scenarios)
}

/// The scenarios' files in a folder, by name; all must lie inside of `root`.
pub(super) fn files_in(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: folder.to_path_buf(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.iter().try_for_each(|path| file::require_inside(root, path))?;
    Ok(paths)
}
