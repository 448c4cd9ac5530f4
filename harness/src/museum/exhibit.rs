//! One bug: where it was reported, the two halves of the pair, and what must be seen in each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::FOLDER;
use crate::recording::rows;
use crate::rows::FORMATS;
use crate::scenario::{Range, Scenario};
use crate::subject::{self, is_name_or_label};
use crate::verdict::Verdict;

/// A pair, as in the file of its group.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exhibit {
    /// The name, in the museum alone.
    pub name: String,
    /// The project, and the number or commit of the report or of the fix.
    pub reference: String,
    /// Where that can be read; absent where it is not public by an address.
    #[serde(default)]
    pub url: Option<String>,
    /// The year of the report or of the fix.
    pub year: u16,
    /// What was wrong, in one line.
    pub cause: String,
    /// `<cpu>/<name>`, below `harness/museum/scenarios` or below `scenarios`.
    pub scenario: String,
    /// Replaces parts of the half that has the bug: by default the scenario's variant `defective`.
    #[serde(default)]
    pub defective: Half,
    /// Replaces parts of the half that has not: by default the scenario's variant `fixed`.
    #[serde(default)]
    pub fixed: Half,
    /// What must be seen in the defective half, all of it.
    pub caught_by: Vec<Catch>,
    /// Functions in which the bug shows besides those that `caught-by` names.
    #[serde(default)]
    pub shows_in: Vec<String>,
    /// What is seen in the fixed half as well, for another reason.
    #[serde(default)]
    pub remains: Vec<Remains>,
}

/// One half of a pair.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Half {
    /// Another scenario than the exhibit's.
    #[serde(default)]
    pub scenario: Option<String>,
    /// The variant; empty: the only one, which has no name.
    #[serde(default)]
    pub variant: Option<String>,
    /// Of the fixed half: the unwinder that stands for every one in `caught-by`, where the bug was the unwinder's.
    #[serde(default)]
    pub walk: Option<String>,
    /// Of the fixed half: the functions that are looked at, where they are not those of the defective half.
    #[serde(default)]
    pub functions: Vec<String>,
}

/// What sees a deviation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Catch {
    /// The unwinder whose walks have the verdict, with `@start` if that is not `live`.
    #[serde(default)]
    pub walk: Option<String>,
    /// The verdict.
    #[serde(default)]
    pub verdict: Option<String>,
    /// The table whose rows are wrong.
    #[serde(default)]
    pub rows: Option<String>,
    /// What is wrong with them: `cfa`, `ra`, `fp`, `saved`, `unjudged`, or `no data`.
    #[serde(default)]
    pub wrong: Option<String>,
    /// A text in the reason for which the run is void.
    #[serde(default)]
    pub void: Option<String>,
    /// The instructions: both ends of each range, and none outside of them.
    #[serde(default)]
    pub at: Vec<Range>,
}

/// What is seen in both halves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Remains {
    /// What sees it, and where.
    pub seen: Catch,
    /// Why it is not the bug.
    pub because: String,
}

/// A [`Catch`], understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By<'c> {
    /// An unwinder's verdict.
    Walk(&'c str, Verdict),
    /// A table's rows, and what is wrong with them.
    Rows(&'c str, &'c str),
    /// A run without verdicts.
    Void(&'c str),
}

/// What can be wrong with rows, besides their parts.
pub(super) const UNJUDGED: &str = "unjudged";
/// A table says nothing of a function that ran.
pub(super) const NO_DATA: &str = "no data";

impl Catch {
    /// What it means.
    ///
    /// # Errors
    ///
    /// Which keys are missing or too many, or hold what does not exist.
    pub fn by(&self) -> Result<By<'_>, String> {
        match self {
            Self { walk: Some(walk), verdict: Some(verdict), rows: None, wrong: None, void: None, .. } => {
                let verdict: Verdict = verdict.parse()?;
                if verdict == Verdict::Exact {
                    return Err("verdict = \"=\" is no deviation".to_owned());
                }
                Ok(By::Walk(walk, verdict))
            }
            Self { walk: None, verdict: None, rows: Some(table), wrong: Some(wrong), void: None, .. } => {
                if !FORMATS.iter().any(|format| format.name() == table) {
                    return Err(format!("rows = {table:?}: no such table; there are {}", tables().join(", ")));
                }
                let mut known: Vec<&str> = rows::Part::ALL.iter().map(|part| part.name()).collect();
                known.extend([UNJUDGED, NO_DATA]);
                if !known.contains(&&**wrong) {
                    return Err(format!("wrong = {wrong:?} must be one of {}", known.join(", ")));
                }
                Ok(By::Rows(table, wrong))
            }
            Self { walk: None, verdict: None, rows: None, wrong: None, void: Some(reason), at } if at.is_empty() => {
                Ok(By::Void(reason))
            }
            _ => Err("what is seen has walk, verdict and at; or rows, wrong and at; or void alone".to_owned()),
        }
    }

    /// The column: an unwinder, `rows` of a table, or `void`.
    #[must_use]
    pub fn column(&self) -> String {
        match (&self.walk, &self.rows) {
            (Some(walk), _) => walk.clone(),
            (None, Some(table)) => rows_of(table),
            (None, None) => VOID.to_owned(),
        }
    }

    fn check(&self, cpu: &'static crate::cpu::Cpu) -> Result<(), String> {
        let by = self.by()?;
        if let By::Walk(walk, _) = by {
            require_walk(cpu, walk)?;
        }
        if !matches!(by, By::Void(_)) && self.at.is_empty() {
            return Err(format!("{self}: `at` names no instruction"));
        }
        Ok(())
    }
}

impl std::fmt::Display for Catch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.walk, &self.rows) {
            (Some(walk), _) => write!(formatter, "{walk} {}", self.verdict.as_deref().unwrap_or_default())?,
            (None, Some(table)) => {
                write!(formatter, "{} {}", rows_of(table), self.wrong.as_deref().unwrap_or_default())?
            }
            (None, None) => write!(formatter, "{VOID}: {}", self.void.as_deref().unwrap_or_default())?,
        }
        for (number, place) in self.at.iter().enumerate() {
            write!(formatter, "{}{place}", if number == 0 { " at " } else { ", " })?;
        }
        Ok(())
    }
}

/// The column of a run without verdicts.
pub(super) const VOID: &str = "void";

/// The column of a table's rows.
#[must_use]
pub(super) fn rows_of(table: &str) -> String {
    format!("{table} rows")
}

fn tables() -> Vec<&'static str> {
    FORMATS.iter().map(|format| format.name()).collect()
}

fn require_walk(cpu: &'static crate::cpu::Cpu, walk: &str) -> Result<(), String> {
    let all = subject::all(cpu);
    let is_it = |name: &str| subject::Start::ALL.iter().any(|start| is_name_or_label(walk, name, *start));
    if all.iter().any(|subject| is_it(&subject.about().name)) {
        return Ok(());
    }
    let names: Vec<String> = all.iter().map(|subject| subject.about().name.clone()).collect();
    Err(format!("walk = {walk:?}: {} has no such unwinder; it has {}", cpu.name, names.join(", ")))
}

/// One run of a guest: a variant of a scenario, which lies below a root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunName {
    /// Whether it lies in the museum, where nothing but exhibits says what is right.
    pub is_ours: bool,
    /// The scenario.
    pub scenario: String,
    /// The variant.
    pub variant: String,
}

impl Exhibit {
    /// The CPU's name.
    #[must_use]
    pub fn cpu(&self) -> &str {
        self.scenario.split('/').next().unwrap_or_default()
    }

    /// Whether a filter means it: a part of its name, or its CPU.
    pub(super) fn is_meant_by(&self, filter: &str) -> bool {
        self.name.contains(filter) || self.cpu() == filter || self.scenario == filter
    }

    /// The run with the bug.
    #[must_use]
    pub fn with_bug(&self, root: &Path) -> RunName {
        self.run_of(root, &self.defective, "defective")
    }

    /// The run without it.
    #[must_use]
    pub fn without_bug(&self, root: &Path) -> RunName {
        self.run_of(root, &self.fixed, "fixed")
    }

    fn run_of(&self, root: &Path, half: &Half, by_default: &str) -> RunName {
        let scenario = half.scenario.as_ref().unwrap_or(&self.scenario).clone();
        let variant = half.variant.as_deref().unwrap_or(by_default).to_owned();
        RunName { is_ours: path_of(&root.join(FOLDER), &scenario).is_file(), scenario, variant }
    }

    /// The functions in which the bug shows.
    #[must_use]
    pub fn functions(&self) -> BTreeSet<&str> {
        let caught = self.caught_by.iter().flat_map(|catch| &catch.at).map(|place| &*place.function);
        caught.chain(self.shows_in.iter().map(String::as_str)).collect()
    }

    /// Checks what can be checked without a run.
    pub(super) fn check(&self, root: &Path) -> Result<(), String> {
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if self.name.is_empty() || !self.name.chars().all(is_name) {
            return Err("a name has lower-case letters, digits and hyphens".to_owned());
        }
        for (key, text) in [("reference", &self.reference), ("cause", &self.cause)] {
            if text.trim().is_empty() || text.contains(['\n', '|']) {
                return Err(format!("`{key}` is one line of text, without `|`"));
            }
        }
        if self.url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err("`url` begins with https://".to_owned());
        }
        if self.caught_by.is_empty() {
            return Err("`caught-by` says nothing, so nothing could show that it is caught".to_owned());
        }
        let halves = [self.with_bug(root), self.without_bug(root)];
        if halves[0] == halves[1] && self.fixed.walk.is_none() {
            return Err("both halves are the same run of the same unwinder".to_owned());
        }
        let mut cpus = Vec::new();
        for half in halves {
            let scenario = half.load(root).map_err(|error| error.to_string())?;
            if !scenario.variants().iter().any(|variant| variant.name == half.variant) {
                let known: Vec<String> = scenario.variants().into_iter().map(|variant| variant.name).collect();
                return Err(format!(
                    "{} has no variant {:?}; it has {}",
                    scenario.name,
                    half.variant,
                    known.join(", ")
                ));
            }
            cpus.push(scenario.cpu);
        }
        let remains = self.remains.iter().map(|remains| &remains.seen);
        self.caught_by.iter().chain(remains).try_for_each(|catch| catch.check(cpus[0]))?;
        self.fixed.walk.iter().try_for_each(|walk| require_walk(cpus[1], walk))
    }
}

fn path_of(root: &Path, scenario: &str) -> PathBuf {
    root.join("scenarios").join(format!("{scenario}.toml"))
}

impl RunName {
    /// The folder with its scenario and its guest.
    #[must_use]
    pub fn root(&self, root: &Path) -> PathBuf {
        if self.is_ours { root.join(FOLDER) } else { root.to_path_buf() }
    }

    /// The scenario.
    ///
    /// # Errors
    ///
    /// As [`Scenario::load`].
    pub fn load(&self, root: &Path) -> Result<Scenario, crate::Error> {
        Scenario::load(&path_of(&self.root(root), &self.scenario))
    }
}

impl std::fmt::Display for RunName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.scenario)?;
        if self.variant.is_empty() { Ok(()) } else { write!(formatter, " [{}]", self.variant) }
    }
}
