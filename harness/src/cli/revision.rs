//! What `diff` compares: a JSON report, or the snapshots of a folder or of a git revision, with the code that they are of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::cpu::ALL;
use crate::file::{self, CheckedOut};
use crate::guest::Program;
use crate::recording::{Recording, SCHEMA, Section};
use crate::report::snapshot::{page, parse, recorded};
use crate::scenario::Scenario;

/// One of the two.
pub(super) enum Side {
    Report(Box<Recording>),
    Snapshots(Snapshots),
}

/// Snapshots, by the names of their scenarios.
pub(super) struct Snapshots {
    root: PathBuf,
    pages: BTreeMap<String, String>,
    /// The copy of a revision lives as long as this.
    _copy: Option<CheckedOut>,
}

/// What a text names: a report, if there is such a file; a folder, if there is one with snapshots; else a revision.
///
/// # Errors
///
/// [`Error::Usage`] if it is nothing of this.
pub(super) fn side(root: &Path, text: &Path) -> Result<Side, Error> {
    if text.is_dir() {
        return Ok(Side::Snapshots(Snapshots::of(text.to_path_buf(), None)?));
    }
    if text.exists() {
        return report(text).map(|recording| Side::Report(Box::new(recording)));
    }
    let name = text.to_string_lossy();
    let looks_like_a_file = text.extension().is_some_and(|extension| extension == "json");
    if looks_like_a_file {
        // Whoever mistypes a file's name does not want to hear of revisions.
        return report(text).map(|recording| Side::Report(Box::new(recording)));
    }
    let copy = file::check_out(root, &name, &["snapshots", "scenarios", "guests"])?;
    let root = copy.root().to_path_buf();
    Snapshots::of(root, Some(copy)).map(Side::Snapshots).map_err(|error| match error {
        Error::Usage(reason) => Error::Usage(format!("{name}: {}", reason.rsplit(": ").next().unwrap_or(&reason))),
        error => error,
    })
}

/// The recordings of two sides. Of snapshots that are the same on both, the code is not looked up.
///
/// # Errors
///
/// [`Error::Usage`] for a snapshot that does not read back.
pub(super) fn recordings(old: Side, new: Side) -> Result<(Recording, Recording), Error> {
    match (old, new) {
        (Side::Report(old), Side::Report(new)) => Ok((*old, *new)),
        (Side::Report(old), Side::Snapshots(new)) => Ok((*old, new.recording(None)?)),
        (Side::Snapshots(old), Side::Report(new)) => Ok((old.recording(None)?, *new)),
        (Side::Snapshots(old), Side::Snapshots(new)) => Ok((old.recording(Some(&new))?, new.recording(Some(&old))?)),
    }
}

/// Reads a report.
///
/// # Errors
///
/// [`Error::Usage`] if it is none, or has another schema.
pub(super) fn report(path: &Path) -> Result<Recording, Error> {
    let bytes = file::read(path, file::MAX_BINARY)?;
    let no_report = |error: &dyn std::fmt::Display| {
        Error::Usage(format!("{}: it is no report of `--json`: {error}", path.display()))
    };
    let recording: Recording = serde_json::from_slice(&bytes).map_err(|error| no_report(&error))?;
    if recording.schema != SCHEMA {
        return Err(no_report(&format_args!("its schema is {}, and this program reads {SCHEMA}", recording.schema)));
    }
    Ok(recording)
}

impl Snapshots {
    fn of(root: PathBuf, copy: Option<CheckedOut>) -> Result<Self, Error> {
        let mut pages = BTreeMap::new();
        for cpu in ALL {
            let folder = root.join("snapshots").join(cpu.name);
            for path in file::names_in(&folder)? {
                if path.extension().is_some_and(|extension| extension == "snap") {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    pages.insert(format!("{}/{name}", cpu.name), page(&file::read_text(&path)?).trim_end().to_owned());
                }
            }
        }
        if pages.is_empty() {
            return Err(Error::Usage(format!("{}: it has no snapshots (snapshots/<cpu>/NAME.snap)", root.display())));
        }
        Ok(Self { root, pages, _copy: copy })
    }

    fn recording(&self, other: Option<&Self>) -> Result<Recording, Error> {
        let mut sections: Vec<Section> = Vec::new();
        for (name, text) in &self.pages {
            let wrong = |error: String| {
                let path = self.root.join("snapshots").join(format!("{name}.snap"));
                Error::Usage(format!("{}: {error}", path.display()))
            };
            let read = parse(text).map_err(wrong)?;
            let is_alike = other.is_some_and(|other| other.pages.get(name) == Some(text));
            let programs = if is_alike { BTreeMap::new() } else { self.programs(name) };
            sections.extend(recorded(&read, &|variant, function, offset| code(&programs, variant, function, offset))?);
        }
        Ok(Recording::new(sections))
    }

    /// The programs of a scenario, by variant. Those of a revision that this program cannot load any more are compared without
    /// their code.
    fn programs(&self, name: &str) -> BTreeMap<String, Program> {
        let Ok(scenario) = Scenario::load(&self.root.join("scenarios").join(format!("{name}.toml"))) else {
            return BTreeMap::new();
        };
        let program = |variant: crate::scenario::Variant| {
            let program = scenario.program(&self.root, &variant).ok()?;
            Some((variant.name, program))
        };
        scenario.variants().into_iter().filter_map(program).collect()
    }
}

fn code(programs: &BTreeMap<String, Program>, variant: &str, function: &str, offset: u64) -> String {
    let text = programs.get(variant).and_then(|program| {
        let function = program.guest.symbols.function_named(function)?;
        Some(program.listing.line(function.address.checked_add(offset)?)?.text.clone())
    });
    text.unwrap_or_default()
}
