//! `explain`: one point in full.

use std::path::{Path, PathBuf};

use clap::Args;

use super::HOLDS;
use super::process::OfProcess;
use super::selection::{Elf, ImageCall, of_case, of_elf, of_images, require_subjects, unwinders};
use crate::Error;
use crate::error::printed;
use crate::explain::PointName;
use crate::file::Console;
use crate::scenario::{Scenario, load_all};
use crate::suite::{Job, subjects};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The scenario, as in `arm64/leaf`; left out with --case and --elf
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// The point: `symbol+0x8#2` is the second arrival at that instruction
    #[arg(required_unless_present_any = ["case", "elf"], conflicts_with_all = ["case", "elf"])]
    point: Option<PointName>,
    /// The kind of interruption [default: the scenario's first]
    #[arg(long, value_name = "KIND")]
    interrupt: Option<String>,
    /// The variant [default: the first]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The scenario is one of scenarios/linux, in this kernel: a Debian package, an Image, bzImage or vmlinux
    #[arg(long, value_name = "IMAGE")]
    linux: Option<PathBuf>,
    #[command(flatten)]
    elf: Elf,
    #[command(flatten)]
    call: ImageCall,
    #[command(flatten)]
    process: OfProcess,
    /// Explain a point of this frozen case (`run --freeze`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["linux", "variant", "elf"])]
    case: Option<PathBuf>,
    /// Only this unwinder (may be repeated)
    #[arg(long, value_name = "NAME")]
    unwinder: Vec<String>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    require_subjects(&arguments.unwinder)?;
    let (scenario, point) = wanted(root, arguments)?;
    let variants = scenario.variants();
    let variant = match &arguments.variant {
        None => variants.first(),
        Some(name) => variants.iter().find(|variant| variant.name == *name),
    };
    let variant = variant.ok_or_else(|| {
        let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
        Error::Usage(format!("{} has no such variant; it has {names:?}", scenario.name))
    })?;
    let subjects = subjects(scenario.cpu, &unwinders(&arguments.unwinder, std::slice::from_ref(&scenario))?);
    let kind = match &arguments.interrupt {
        None => scenario.text.interrupt.first().copied(),
        Some(name) => scenario.text.interrupt.iter().copied().find(|kind| kind.name() == name),
    };
    let kind = kind.ok_or_else(|| {
        let names: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        Error::Usage(format!("{} has no such kind of interruption; it has {names:?}", scenario.name))
    })?;
    let text = Job { root, scenario: &scenario, variant, kind }.explain(&subjects, &point)?;
    printed(write!(console.out, "{text}"))?;
    Ok(HOLDS)
}

/// The scenario and the point that are asked for.
fn wanted(root: &Path, arguments: &Arguments) -> Result<(Scenario, PointName), Error> {
    if let Some(case) = &arguments.case {
        // The only scenario of a case needs no name, so the point comes first.
        let point = arguments.scenario.parse().map_err(Error::Usage)?;
        return Ok((of_case(case)?, point));
    }
    if let Some(scenario) = arguments.process.scenario(arguments.elf.elf.as_deref())? {
        return Ok((scenario, arguments.scenario.parse().map_err(Error::Usage)?));
    }
    if arguments.elf.elf.is_some() {
        let point = arguments.scenario.parse().map_err(Error::Usage)?;
        return Ok((of_elf(&arguments.elf, &arguments.call)?, point));
    }
    let scenarios = match &arguments.linux {
        None => load_all(root)?,
        Some(image) => of_images(root, image, &arguments.call)?.0,
    };
    let list = if arguments.linux.is_some() { "list --linux IMAGE" } else { "list" };
    let name = &arguments.scenario;
    let scenario = scenarios.into_iter().find(|scenario| scenario.name == *name);
    let scenario =
        scenario.ok_or_else(|| Error::Usage(format!("no scenario {name:?}; `unwind-harness {list}` shows them")))?;
    let point = arguments.point.clone();
    Ok((scenario.traced(root)?, point.ok_or_else(|| Error::Usage("explain needs a point".to_owned()))?))
}
