//! `explain`: one point in full.

use std::path::{Path, PathBuf};

use clap::Args;

use super::HOLDS;
use super::foreign::Foreign;
use super::names::known;
use super::narrow::{Known, Narrow};
use super::process::OfProcess;
use super::selection::{Elf, ImageCall, of_case, of_elf, of_images, unwinders};
use super::words;
use crate::Error;
use crate::error::printed;
use crate::explain::{PointName, two_points};
use crate::file::Console;
use crate::scenario::{Interruption, Part, Scenario, Variant, load_all};
use crate::subject::remote::Remote;
use crate::suite::{Job, chosen};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The scenario, as in `arm64/leaf`, or of every CPU that has it, as in `leaf`; also what reports print of a run, as in
    /// `fgraph F0`. Left out with --case and --elf
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,
    /// The point: `symbol+0x8#2` is the second arrival at that instruction; `leaf+0x0..leaf+0x8`: what changes between two
    #[arg(conflicts_with_all = ["case", "elf"])]
    point: Option<String>,
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
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    foreign: Foreign,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (scenarios, mut part, text) = wanted(root, arguments)?;
    let points = match two_points(&text).map_err(Error::Usage)? {
        Some((first, second)) => (first, Some(second)),
        None => (text.parse().map_err(Error::Usage)?, None),
    };
    words::add_point(&text, &Known::of(&scenarios), &mut part);
    let names = part.names();
    let remote = arguments.foreign.meet(scenarios.iter().map(|scenario| scenario.cpu), &mut part)?.remote;
    let (mut told, mut failed) = (0, Vec::new());
    for scenario in &scenarios {
        for (variant, kind) in runs(scenario, &part) {
            let job = Job { root, scenario, variant: &variant, kind };
            match explained(job, &part, (&names, &remote), &points) {
                Ok(text) => {
                    let gap = if told > 0 { "\n" } else { "" };
                    printed(write!(console.out, "{gap}{text}"))?;
                    told += 1;
                }
                Err(error) => failed.push((scenario.name.clone(), error)),
            }
        }
    }
    if told == 0 {
        return Err(failed.into_iter().next().map_or_else(|| nothing(&part), |(_, error)| error));
    }
    for (scenario, error) in failed {
        // There is nowhere to say that standard error is closed.
        let _ = writeln!(console.err, "note: not in {scenario}: {error}");
    }
    Ok(HOLDS)
}

fn nothing(part: &Part) -> Error {
    let reason = format!("nothing here has all of this at once: {part:?}");
    Error::Usage(reason)
}

/// The runs of a scenario that are explained: those that are named, else the first.
fn runs(scenario: &Scenario, part: &Part) -> Vec<(Variant, Interruption)> {
    let mut variants = scenario.variants();
    if part.variants.is_empty() {
        variants.truncate(1);
    }
    variants.retain(|variant| part.variants.is_empty() || part.has_variant(Some(&variant.name)));
    let all = &scenario.text.interrupt;
    let is_wanted = |kind: &&Interruption| part.kinds.is_empty() || part.kinds.contains(kind);
    let most = if part.kinds.is_empty() { 1 } else { all.len() };
    let kinds: Vec<Interruption> = all.iter().filter(is_wanted).take(most).copied().collect();
    variants.into_iter().flat_map(|variant| kinds.iter().map(move |kind| (variant.clone(), *kind))).collect()
}

/// One point, or two.
type Points = (PointName, Option<PointName>);

/// Explains the points; a function's name need not have the right case.
fn explained(
    job: Job<'_>,
    part: &Part,
    (names, remote): (&[String], &[Remote]),
    points: &Points,
) -> Result<String, Error> {
    let Job { root, scenario, variant, .. } = job;
    let are_alone = names.is_empty() && !remote.is_empty();
    let names = if are_alone { Vec::new() } else { unwinders(names, std::slice::from_ref(scenario))? };
    let subjects = chosen(scenario.cpu, &names, remote)?;
    if subjects.is_empty() {
        return Err(Error::Usage(format!("none of these unwinders is of {}", scenario.cpu.name)));
    }
    let tell = |(first, second): &Points| match second {
        None => job.explain(&subjects, first, part),
        Some(second) => job.explain_between(&subjects, (first, second), part),
    };
    let (first, second) = points;
    match tell(points) {
        Err(Error::MissingSymbol { .. }) => {
            let program = scenario.program(root, variant)?;
            let right = |point: &PointName| -> Result<PointName, Error> {
                let functions = || program.guest.symbols.functions().iter().map(|function| function.name.as_str());
                if let Some(function) = known(&point.function, functions()) {
                    return Ok(PointName { function: function.to_owned(), ..point.clone() });
                }
                let missing = program.guest.function(&point.function).err();
                Err(Error::Usage(missing.map_or_else(String::new, |error| error.to_string())))
            };
            tell(&(right(first)?, second.as_ref().map(right).transpose()?))
        }
        explained => explained,
    }
}

/// The scenarios, the part of them, and the point that are asked for.
fn wanted(root: &Path, arguments: &Arguments) -> Result<(Vec<Scenario>, Part, String), Error> {
    let Arguments { narrow, .. } = arguments;
    let is_alone = arguments.case.is_some() || arguments.elf.elf.is_some();
    let missing = || match is_alone {
        true => "explain needs a point, as in `leaf+0x8#1`",
        false => "explain needs a scenario and a point, as in `leaf leaf+0x8#1`",
    };
    let first = arguments.scenario.as_ref().ok_or_else(|| Error::Usage(missing().to_owned()))?;
    let mut part = Part::default();
    let single = if let Some(case) = &arguments.case {
        Some(of_case(case)?)
    } else if let Some(scenario) = arguments.process.scenario(arguments.elf.elf.as_deref())? {
        Some(scenario)
    } else if arguments.elf.elf.is_some() {
        Some(of_elf(&arguments.elf, &arguments.call)?)
    } else {
        None
    };
    if let Some(scenario) = single {
        // The only scenario of a case needs no name, so the point comes first.
        narrow.add_to(&mut part, &Known::of([&scenario]))?;
        return Ok((vec![scenario], part, first.clone()));
    }
    let mut scenarios = match &arguments.linux {
        None => load_all(root)?,
        Some(image) => of_images(root, image, &arguments.call)?.0,
    };
    let name = first.split_whitespace().next().unwrap_or_default();
    if !scenarios.iter().any(|scenario| words::is_whole(scenario, name)) {
        return Err(words::unknown(name, &scenarios));
    }
    words::select(&mut scenarios, std::slice::from_ref(first), &mut part)?;
    narrow.add_to(&mut part, &Known::of(&scenarios))?;
    scenarios.retain(|scenario| words::has_run(scenario, &part));
    let point = arguments.point.clone();
    let point =
        point.ok_or_else(|| Error::Usage(format!("{first}: explain needs a point of it, as in `leaf+0x8#1`")))?;
    let scenarios = scenarios.into_iter().map(|scenario| scenario.traced(root)).collect::<Result<_, _>>()?;
    Ok((scenarios, part, point))
}
