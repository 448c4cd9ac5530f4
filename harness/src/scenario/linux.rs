//! Scenarios for kernel images. They name what is called, not which image.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::{Scenario, Text};
use crate::linux::KernelImage;
use crate::linux::state::{Argument, Workload};
use crate::verdict::Verdict;
use crate::{Error, file};

/// The table `[linux]`: a function of the kernel, called in a kernel thread.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Keys")]
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
    /// The functions whose points show it; empty: all.
    #[serde(default)]
    pub within: Vec<String>,
}

/// The keys of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    /// The function.
    call: String,
    /// Its arguments ([`Argument`]).
    #[serde(default)]
    arguments: Vec<Argument>,
    /// The functions that the function graph tracer traces.
    #[serde(default)]
    trace: Vec<String>,
    /// Whether the tracer is preempted where it enables preemption.
    #[serde(default)]
    preempts_tracer: bool,
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

impl From<Keys> for LinuxCall {
    fn from(Keys { call, arguments, trace, preempts_tracer, returns, defect }: Keys) -> Self {
        Self { workload: Workload { call, arguments, trace, preempts_tracer }, returns, defects: defect }
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
        image: Some(Arc::clone(image)),
        case: None,
        process: None,
    };
    scenario.check_image().map_err(reject)?;
    Ok(scenario)
}

impl Scenario {
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
