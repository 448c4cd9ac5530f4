//! `explain`: one point in full.

use std::path::{Path, PathBuf};

use clap::Args;

use super::HOLDS;
use super::selection::{of_images, require_subjects};
use crate::Error;
use crate::error::printed;
use crate::explain::PointName;
use crate::file::Console;
use crate::scenario::load_all;
use crate::suite::{Job, subjects};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The scenario, as in `arm64/leaf`
    scenario: String,
    /// The point: `symbol+0x8#2` is the second arrival at that instruction
    point: PointName,
    /// The kind of interruption [default: the scenario's first]
    #[arg(long, value_name = "KIND")]
    interrupt: Option<String>,
    /// The variant [default: the first]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The scenario is one of scenarios/linux, in this kernel: a Debian package, an Image, bzImage or vmlinux
    #[arg(long, value_name = "IMAGE")]
    linux: Option<PathBuf>,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let scenarios = match &arguments.linux {
        None => load_all(root)?,
        Some(image) => of_images(root, image)?,
    };
    let scenario = scenarios.iter().find(|scenario| scenario.name == arguments.scenario).ok_or_else(|| {
        let list = if arguments.linux.is_some() { "list --linux IMAGE" } else { "list" };
        Error::Usage(format!("no scenario {:?}; `unwind-harness {list}` shows them", arguments.scenario))
    })?;
    let variants = scenario.variants();
    let variant = match &arguments.variant {
        None => variants.first(),
        Some(name) => variants.iter().find(|variant| variant.name == *name),
    };
    let variant = variant.ok_or_else(|| {
        let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
        Error::Usage(format!("{} has no such variant; it has {names:?}", scenario.name))
    })?;
    let subjects = subjects(scenario.cpu, &arguments.unwinder);
    let kind = match &arguments.interrupt {
        None => scenario.text.interrupt.first().copied(),
        Some(name) => scenario.text.interrupt.iter().copied().find(|kind| kind.name() == name),
    };
    let kind = kind.ok_or_else(|| {
        let names: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        Error::Usage(format!("{} has no such kind of interruption; it has {names:?}", scenario.name))
    })?;
    let text = Job { root, scenario, variant, kind }.explain(&subjects, &arguments.point)?;
    printed(write!(console.out, "{text}"))?;
    Ok(HOLDS)
}
