//! Scenarios that call a function of somebody's file.

use std::path::{Path, PathBuf};

use super::{Learned, Origin, Scenario, Text};
use crate::guest::Program;
use crate::user::{self, Argument, CALLBACK, ElfCall, Module};
use crate::{Error, machine};

/// How many instructions such a call may run.
const BUDGET: u64 = 100_000_000;

/// A scenario that is written nowhere: a function of a file, called with these arguments ([`Argument`]).
///
/// # Errors
///
/// [`Error::Usage`] for an argument that is malformed, else as [`Module::load`].
pub fn elf_call(file: &Path, function: &str, arguments: &[String], libraries: &[PathBuf]) -> Result<Scenario, Error> {
    for argument in arguments {
        argument.parse::<Argument>().map_err(Error::Usage)?;
    }
    let cpu = Module::load(file)?.cpu;
    let absolute = |path: &Path| std::path::absolute(path).map_err(|source| Error::File { path: path.into(), source });
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let mut source = format!("budget = {BUDGET}\n\n[elf]\nfile = {}\n", quoted(&absolute(file)?.to_string_lossy()));
    source += &format!("call = {}\narguments = [{}]\n", quoted(function), list(arguments.to_vec()));
    if !libraries.is_empty() {
        let libraries = libraries.iter().map(|path| Ok(absolute(path)?.to_string_lossy().into_owned()));
        source += &format!("lib = [{}]\n", list(libraries.collect::<Result<_, Error>>()?));
    }
    let reject = |reason: String| Error::Scenario { path: file.to_path_buf(), reason };
    let text: Text = toml::from_str(&source).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
    let name = match function.strip_prefix(CALLBACK) {
        Some(_) => format!("{}/all-functions", cpu.name), // nothing of the file is called
        None => format!("{}/call-{function}", cpu.name),
    };
    Ok(Scenario {
        name,
        path: file.to_path_buf(),
        cpu,
        source,
        text,
        origin: Origin::Text,
        learned: Learned::default(),
    })
}

impl Scenario {
    /// The program of a call, ready to run.
    pub(super) fn elf_program(&self, root: &Path, call: &ElfCall) -> Result<Program, Error> {
        let mut program = user::prepare(root, call)?.program;
        if program.guest.cpu.name != self.cpu.name {
            let reason = format!("it is for {}, and the scenario for {}", program.guest.cpu.name, self.cpu.name);
            return Err(Error::Elf { path: program.guest.path.clone(), reason });
        }
        machine::boot(&mut program)?;
        Ok(program)
    }
}
