//! Scenarios for kernel images. They name what is called, not which image.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{Learned, Origin, Scenario, Text};
use crate::guest::Program;
use crate::linux::KernelImage;
use crate::linux::state::{self, Argument, EntryState, Place, Word, Workload};
use crate::machine;
use crate::verdict::Verdict;
use crate::{Error, file};

/// The table `[linux]`: a function of the kernel, called in a kernel thread.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Keys")]
pub struct LinuxCall {
    /// What is called.
    pub workload: Workload,
    /// What the call must return, where that is known. A workload that went wrong shows nothing.
    pub returns: Option<i64>,
    /// Defects of released kernels that it can show.
    pub defects: Vec<Defect>,
}

/// A defect of released kernels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Defect {
    /// Its name: short, and the same in every release.
    pub id: String,
    /// What is wrong, in a sentence that can be mailed.
    pub says: String,
    /// Why.
    pub why: String,
    /// The walks that show it: the label of a column, `linux@task`.
    pub unwinder: String,
    /// The verdicts that show it.
    pub verdict: Vec<Verdict>,
    /// The CPUs whose kernels can have it; empty: all.
    #[serde(default)]
    pub only: Vec<String>,
    /// The functions whose points show it, or what their names begin with (`name*`); empty: all.
    #[serde(default)]
    pub within: Vec<String>,
}

impl Defect {
    /// Whether points of this function can show it.
    #[must_use]
    pub fn is_within(&self, function: &str) -> bool {
        let names = |name: &String| match name.strip_suffix('*') {
            Some(prefix) => function.starts_with(prefix),
            None => name == function,
        };
        self.within.is_empty() || self.within.iter().any(names)
    }
}

/// The keys of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    /// The function.
    call: Option<String>,
    /// Where the run begins instead ([`EntryState`]).
    pc: Option<Place>,
    /// Where it ends.
    stop: Option<Place>,
    #[serde(default)]
    registers: BTreeMap<String, Argument>,
    #[serde(default)]
    memory: Vec<Word>,
    /// Its arguments ([`Argument`]).
    #[serde(default)]
    arguments: Vec<Argument>,
    /// The functions that the function graph tracer traces.
    #[serde(default)]
    trace: Vec<String>,
    /// Whether the tracer is preempted where it enables preemption.
    #[serde(default)]
    preempts_tracer: bool,
    /// The capabilities whose alternatives are applied.
    #[serde(default)]
    alternatives: Vec<String>,
    /// Whether the kernel's own scheduler switches tasks.
    #[serde(default)]
    real_scheduler: bool,
    returns: Option<i64>,
    #[serde(default)]
    defect: Vec<Defect>,
}

impl LinuxCall {
    /// Whether a call that left this in the result's register has returned what it must. The upper half of the register counts only
    /// where the expected number does not fit into the lower one: nothing says what a function that returns an `int` leaves there.
    #[must_use]
    pub fn has_returned(&self, register: u64) -> bool {
        let Some(expected) = self.returns else { return true };
        if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&expected) {
            register as u32 == expected as u32
        } else {
            register == expected.cast_unsigned()
        }
    }
}

impl TryFrom<Keys> for LinuxCall {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Keys {
            call,
            pc,
            stop,
            registers,
            memory,
            arguments,
            trace,
            preempts_tracer,
            alternatives,
            real_scheduler,
            returns,
            defect,
        } = keys;
        let entry = EntryState { pc, stop, registers, memory };
        entry.check(call.is_some(), returns.is_some())?;
        if entry.pc.is_some() && !arguments.is_empty() {
            return Err("arguments go with call; with pc they are in registers".to_owned());
        }
        let call = call.unwrap_or_default();
        let workload = Workload { call, arguments, trace, preempts_tracer, entry, alternatives, real_scheduler };
        Ok(Self { workload, returns, defects: defect })
    }
}

/// The scenarios in `scenarios/linux` that an image's CPU can have, by name.
///
/// # Errors
///
/// As [`Scenario::load`], and [`Error::Usage`] without that folder.
pub fn image_scenarios(root: &Path, image: &Arc<KernelImage>) -> Result<Vec<Scenario>, Error> {
    let folder = root.join("scenarios").join("linux");
    let mut scenarios = Vec::new();
    for path in super::files::files_in(root, &folder)? {
        let source = file::read_text(&path)?;
        let scenario = of_image(&path, source, image)?;
        if scenario.text.only.is_empty() || scenario.text.only.iter().any(|name| name == image.cpu.name) {
            scenarios.push(scenario);
        }
    }
    Ok(scenarios)
}

/// A scenario that is written nowhere: a function of an image, called with these arguments ([`Argument`]) under interrupts.
///
/// # Errors
///
/// [`Error::Usage`] for an argument that is malformed.
pub fn image_call(image: &Arc<KernelImage>, function: &str, arguments: &[String]) -> Result<Scenario, Error> {
    for argument in arguments {
        argument.parse::<Argument>().map_err(Error::Usage)?;
    }
    // As a file would say it, so that a log or a frozen case of the run holds it.
    let quoted = |text: &String| toml::Value::String(text.clone()).to_string();
    let (name, arguments) = (quoted(&function.to_owned()), arguments.iter().map(quoted).collect::<Vec<_>>().join(", "));
    let source =
        format!("interrupt = [\"irq\"]\nmax-visits = 2\n\n[linux]\ncall = {name}\narguments = [{arguments}]\n");
    of_image(Path::new(&format!("scenarios/linux/call-{function}.toml")), source, image)
}

/// A scenario that is written nowhere: a state of one's own, from a file with the keys of a scenario's table `[linux]`, under
/// interrupts.
///
/// # Errors
///
/// [`Error::Scenario`] with the file's name when a key is wrong; [`Error::File`] when it cannot be read.
pub fn image_entry(image: &Arc<KernelImage>, path: &Path) -> Result<Scenario, Error> {
    let reject = |reason: String| Error::Scenario { path: path.to_path_buf(), reason };
    let source = file::read_text(path)?;
    let shown = |error: toml::de::Error| reject(error.to_string().trim_end().to_owned());
    toml::from_str::<LinuxCall>(&source).map_err(shown)?;
    let table: toml::Table = toml::from_str(&source).map_err(shown)?;
    let table = toml::Table::from_iter([("linux".to_owned(), toml::Value::Table(table))]);
    // As a scenario would say it, so that a log or a frozen case of the run holds it.
    let source = format!("interrupt = [\"irq\"]\nmax-visits = 2\n\n{table}");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    of_image(Path::new(&format!("scenarios/linux/entry-{stem}.toml")), source, image)
}

fn of_image(path: &Path, source: String, image: &Arc<KernelImage>) -> Result<Scenario, Error> {
    let reject = |reason: String| Error::Scenario { path: path.to_path_buf(), reason };
    let text: Text = toml::from_str(&source).map_err(|error| reject(error.to_string().trim_end().to_owned()))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let scenario = Scenario {
        name: format!("{}/linux/{stem}", image.cpu.name),
        path: path.to_path_buf(),
        cpu: image.cpu,
        source,
        text,
        origin: Origin::Image(Arc::clone(image)),
        learned: Learned::default(),
    };
    scenario.check_image().map_err(reject)?;
    Ok(scenario)
}

impl Scenario {
    /// An image in the state in which this scenario's workload begins.
    pub(super) fn image_program(&self, image: &KernelImage, call: &LinuxCall) -> Result<Program, Error> {
        if self.text.interrupt.iter().any(|kind| kind.preempts()) {
            state::require_preemption(image)?;
        }
        let mut program = state::program(image, &call.workload)?;
        machine::boot(&mut program)?;
        Ok(program)
    }

    fn check_image(&self) -> Result<(), String> {
        if self.text.linux.is_none() {
            return Err("a scenario for images needs a table [linux]".to_owned());
        }
        if !self.text.variant.is_empty() {
            return Err("a scenario for images has no variants: its variant is the image".to_owned());
        }
        let only = self.text.only.is_empty() || self.text.only.iter().any(|name| name == self.cpu.name);
        if only { self.check() } else { Ok(()) }
    }
}
