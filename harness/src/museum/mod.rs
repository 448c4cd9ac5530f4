//! The museum (docs/museum.md): bugs of unwinders, of unwind data and of entry code, each as a pair. The defective half must be
//! caught where the exhibit says, by the verdicts that it says; the fixed half must be clean there.

mod deviation;
mod exhibit;
mod judge;
mod page;
mod run;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, file};

pub use deviation::{Deviation, Seen};
pub use exhibit::{By, Catch, Exhibit, Half, Remains};
pub use judge::{Judged, Result, Status, Totals};
pub use page::{markdown, write_all, write_summary};
pub use run::visit;

/// The folder below the root that holds the exhibits, and the scenarios and guests that no other command runs by itself.
pub const FOLDER: &str = "harness/museum";

/// Bugs of one kind: one file below `harness/museum/exhibits`.
#[derive(Debug, Clone)]
pub struct Group {
    /// The file.
    pub path: PathBuf,
    /// The name, for filters: that of the file without what orders it.
    pub name: String,
    /// What the bugs have in common.
    pub title: String,
    /// They.
    pub exhibits: Vec<Exhibit>,
}

/// The keys of a group's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    title: String,
    exhibit: Vec<Exhibit>,
}

/// All groups below a root, in the order of their files.
///
/// # Errors
///
/// [`Error::Usage`] when there is no museum, [`Error::File`] when a file cannot be read, [`Error::Scenario`] when one is malformed
/// (with line and column) or an exhibit contradicts itself.
pub fn load(root: &Path) -> std::result::Result<Vec<Group>, Error> {
    let folder = root.join(FOLDER).join("exhibits");
    if !folder.is_dir() {
        let advice = "run this in the repository, or name it with --root";
        return Err(Error::Usage(format!("{}: no folder `{FOLDER}/exhibits`; {advice}", root.display())));
    }
    let failed = |source| Error::File { path: folder.clone(), source };
    let entries = std::fs::read_dir(&folder).map_err(failed)?;
    let paths: std::result::Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut groups: Vec<Group> = Vec::new();
    for path in paths {
        file::require_inside(root, &path)?;
        let group = group(root, path)?;
        for exhibit in &group.exhibits {
            let others = groups.iter().chain([&group]).flat_map(|group| &group.exhibits);
            if others.filter(|other| other.name == exhibit.name).count() > 1 {
                let reason = format!("{}: another exhibit has this name", exhibit.name);
                return Err(Error::Scenario { path: group.path, reason });
            }
        }
        groups.push(group);
    }
    if groups.is_empty() {
        return Err(Error::Usage(format!("{}: no exhibits (*.toml)", folder.display())));
    }
    Ok(groups)
}

fn group(root: &Path, path: PathBuf) -> std::result::Result<Group, Error> {
    let source = file::read_text(&path)?;
    let reject = |reason: String| Error::Scenario { path: path.clone(), reason };
    let Text { title, exhibit } =
        toml::from_str(&source).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
    for exhibit in &exhibit {
        exhibit.check(root).map_err(|reason| reject(format!("{}: {reason}", exhibit.name)))?;
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = stem.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-').to_owned();
    Ok(Group { name, title, exhibits: exhibit, path })
}

/// The groups with the exhibits that one of these texts selects: as a part of the exhibit's or its group's name, or of its CPU.
/// Without texts, all of them.
#[must_use]
pub fn select(groups: &[Group], filters: &[String]) -> Vec<Group> {
    let mut selected = groups.to_vec();
    for group in &mut selected {
        let of_group = filters.iter().any(|filter| group.name.contains(filter));
        group.exhibits.retain(|exhibit| {
            filters.is_empty() || of_group || filters.iter().any(|filter| exhibit.is_meant_by(filter))
        });
    }
    selected.retain(|group| !group.exhibits.is_empty());
    selected
}
