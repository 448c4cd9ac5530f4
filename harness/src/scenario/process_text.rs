//! The table `[process]` of a scenario: which program runs, and what it sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::Error;
use crate::file::{self, MAX_BINARY};
use crate::user::Module;
use crate::user::process::{Launch, Process};

/// A program, and what it sees.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProcessText {
    /// The program; like all paths here, relative to the root.
    pub file: PathBuf,
    /// The folder that it sees as `/`; without one it sees no file.
    #[serde(default)]
    pub sysroot: Option<PathBuf>,
    /// The vDSO; without one it has none.
    #[serde(default)]
    pub vdso: Option<PathBuf>,
    /// Its arguments, without its name.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Its environment, as `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Signals at places ([`Asked::signals`]).
    #[serde(default)]
    pub signals: Vec<String>,
    /// Functions before each of whose instructions a signal arrives ([`Asked::signal_everywhere`]).
    #[serde(default)]
    pub signal_everywhere: Vec<String>,
    /// Whether `check` looks at the functions that did not run, too. Of them it can say only whether there are rows.
    #[serde(default)]
    pub all_functions: bool,
}

/// What is asked of a process besides its launch.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Functions and files: only their instructions are points. Empty: all.
    pub within: Vec<String>,
    /// How many arrivals at each instruction are points; `None`: 2, because those of a process are many.
    pub max_visits: Option<u64>,
    /// Signals at places: `10@qsort+0x8#2`; without a number, the first arrival.
    pub signals: Vec<String>,
    /// Functions before each of whose instructions a signal arrives: `qsort`, or `12@qsort` for another than `SIGUSR1`.
    pub signal_everywhere: Vec<String>,
}

impl Asked {
    /// How many arrivals at each instruction are points.
    #[must_use]
    pub fn visits(&self) -> u64 {
        self.max_visits.unwrap_or(2)
    }
}

impl ProcessText {
    /// How the program is launched; relative paths are below `root`. Signals are not in it yet: their places need its symbols.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a folder that is none or a variable without a value, else as [`Launch::open`] and [`Module::parse`].
    pub fn launch(&self, root: &Path, budget: u64) -> Result<Launch, Error> {
        let sysroot = self.sysroot.as_ref().map(|sysroot| root.join(sysroot));
        let mut launch = Launch::open(&root.join(&self.file), sysroot)?;
        if let Some(sysroot) = launch.sysroot.as_ref().filter(|sysroot| !sysroot.is_dir()) {
            return Err(Error::Usage(format!("sysroot {}: it is no folder", sysroot.display())));
        }
        if let Some(wrong) = self.env.iter().find(|variable| !variable.contains('=')) {
            return Err(Error::Usage(format!("env {wrong}: write NAME=VALUE")));
        }
        launch.arguments.clone_from(&self.arguments);
        launch.environment.clone_from(&self.env);
        launch.budget = budget;
        if let Some(vdso) = self.vdso.as_ref().map(|vdso| root.join(vdso)) {
            let bytes = file::read(&vdso, MAX_BINARY)?;
            let module = Module::parse(&vdso, &bytes)?;
            let symbol = Process::trampoline_symbol(launch.cpu);
            let trampoline = module.symbols.iter().find(|it| it.name == symbol);
            launch.trampoline = trampoline.map(|symbol| symbol.address);
            launch.vdso = Some((vdso.display().to_string(), Arc::new(bytes)));
        }
        Ok(launch)
    }
}

/// A scenario's text, from which the same process can be launched again.
pub(super) fn source(launch: &Launch, asked: &Asked, max_visits: u64) -> Result<String, Error> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|source| Error::File { path: path.into(), source });
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: &Path| absolute(path).map(|path| quoted(&path.to_string_lossy()));
    let list = |texts: &[String]| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let mut text = format!("max-visits = {max_visits}\nbudget = {}\n", launch.budget);
    if !asked.within.is_empty() {
        text += &format!("within = [{}]\n", list(&asked.within));
    }
    text += &format!("\n[process]\nfile = {}\n", path(&launch.file)?);
    if let Some(sysroot) = &launch.sysroot {
        text += &format!("sysroot = {}\n", path(sysroot)?);
    }
    if let Some((vdso, _)) = &launch.vdso {
        text += &format!("vdso = {}\n", path(Path::new(vdso))?);
    }
    let lists = [
        ("arguments", &launch.arguments),
        ("env", &launch.environment),
        ("signals", &asked.signals),
        ("signal-everywhere", &asked.signal_everywhere),
    ];
    for (key, texts) in lists.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        text += &format!("{key} = [{}]\n", list(texts));
    }
    Ok(text)
}
