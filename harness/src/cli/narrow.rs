//! Which part of a run is wanted: options that mean the same for every command.

use clap::Args;

use super::names::{known, one_of};
use crate::Error;
use crate::analysis::part::{self, Unknown};
use crate::cpu::ALL;
use crate::explain::PointName;
use crate::near::did_you_mean;
use crate::recording::Recording;
use crate::scenario::{Interruption, Part, Range, Scenario};
use crate::subject::{self, Start};
use crate::trace::log::Log;

/// Which part. Gates are held over whole runs: what is left out is not shown, and not written.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Narrow {
    /// Only this unwinder, or this unwinder from one start: `arm64-sframe@regs` (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(super) unwinder: Vec<String>,
    /// Only walks from this start: live, current, regs, task or user (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(super) start: Vec<String>,
    /// Only this kind of interruption: probe, irq, ... (may be repeated)
    #[arg(long, value_name = "KIND")]
    pub(super) interrupt: Vec<String>,
    #[command(flatten)]
    pub(super) within: Within,
}

/// Which part of programs.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Within {
    /// Only this variant (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub(super) variant: Vec<String>,
    /// Only points in this function, or at these instructions of it: `leaf+0x8`, `leaf+0x8..leaf+0x10` (may be repeated)
    #[arg(id = "in_function", long = "function", value_name = "NAME")]
    pub(super) function: Vec<String>,
}

/// What names there are.
pub(super) struct Known {
    variants: Vec<String>,
    kinds: Vec<Interruption>,
}

impl Known {
    /// Those of these scenarios.
    pub(super) fn of<'s>(scenarios: impl IntoIterator<Item = &'s Scenario>) -> Self {
        let mut known = Self { variants: Vec::new(), kinds: Vec::new() };
        for scenario in scenarios {
            known.kinds.extend(&scenario.text.interrupt);
            known.variants.extend(scenario.variants().into_iter().map(|variant| variant.name));
        }
        known.in_order()
    }

    /// Those of these recordings.
    pub(super) fn of_recordings<'r>(recordings: impl IntoIterator<Item = &'r Recording>) -> Self {
        let mut known = Self { variants: Vec::new(), kinds: Vec::new() };
        for section in recordings.into_iter().flat_map(|recording| &recording.sections) {
            known.kinds.push(section.interrupt);
            known.variants.extend(section.variant.clone());
        }
        known.in_order()
    }

    /// Those of these logs.
    pub(super) fn of_logs(logs: &[Log]) -> Self {
        let kind = |log: &Log| Interruption::ALL.into_iter().find(|kind| kind.name() == log.head.interrupt);
        let kinds = logs.iter().filter_map(kind).collect();
        Self { variants: logs.iter().map(|log| log.head.variant.clone()).collect(), kinds }.in_order()
    }

    fn in_order(mut self) -> Self {
        self.variants.retain(|name| !name.is_empty());
        self.variants.sort();
        self.variants.dedup();
        self.kinds.sort();
        self.kinds.dedup();
        self
    }

    /// The variant of this name.
    pub(super) fn variant(&self, text: &str) -> Option<&str> {
        known(text, self.variants.iter().map(String::as_str))
    }

    /// The kind of this name.
    pub(super) fn kind(&self, text: &str) -> Option<Interruption> {
        self.kinds.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

/// Every unwinder of every CPU, each once, by name.
pub(super) fn unwinders() -> Vec<String> {
    let subjects = ALL.iter().flat_map(|cpu| subject::all(cpu));
    let mut names: Vec<String> = subjects.map(|subject| subject.about().name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// An unwinder, with its start if the text names one; `None`: the text names none.
pub(super) fn unwinder(text: &str) -> Option<(String, Option<Start>)> {
    let all = unwinders();
    let name = |text: &str| known(text, all.iter().map(String::as_str)).map(str::to_owned);
    match text.split_once('@') {
        None => Some((name(text)?, None)),
        Some((text, of)) => Some((name(text)?, Some(start(of)?))),
    }
}

fn start(text: &str) -> Option<Start> {
    Start::ALL.into_iter().find(|start| start.name().eq_ignore_ascii_case(text))
}

impl Narrow {
    /// Adds what the options name to a part.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a name that nothing here has, with the near ones.
    pub(super) fn add_to(&self, part: &mut Part, has: &Known) -> Result<(), Error> {
        for text in &self.unwinder {
            part.unwinders.push(match unwinder(text) {
                Some(found) => found,
                None => (
                    one_of("--unwinder", text, "unwinder", &unwinders()).map_err(|error| with_hint(error, text))?,
                    None,
                ),
            });
        }
        for text in &self.start {
            let all = Start::ALL.map(|start| start.name().to_owned());
            let name = one_of("--start", text, "start", &all)?;
            part.starts.extend(start(&name));
        }
        for text in &self.interrupt {
            let all: Vec<String> = has.kinds.iter().map(|kind| kind.name().to_owned()).collect();
            let name = one_of("--interrupt", text, "kind of interruption here", &all)?;
            part.kinds.extend(has.kind(&name));
        }
        self.within.add_to(part, has)
    }
}

impl Within {
    /// As [`Narrow::add_to`].
    pub(super) fn add_to(&self, part: &mut Part, has: &Known) -> Result<(), Error> {
        for text in &self.variant {
            part.variants.push(one_of("--variant", text, "variant here", &has.variants)?);
        }
        self.function.iter().try_for_each(|text| add_place(text, part).map_err(Error::Usage))
    }
}

/// Adds a function, an instruction of one (`leaf+0x8#1`: the arrival does not matter), or several.
pub(super) fn add_place(text: &str, part: &mut Part) -> Result<(), String> {
    if !text.contains('+') {
        part.functions.push(text.to_owned());
    } else if text.contains("..") {
        part.places.push(Range::try_from(text.to_owned())?);
    } else {
        let PointName { function, offset, .. } = text.parse()?;
        part.places.push(Range { function, first: offset, last: offset });
    }
    Ok(())
}

/// Narrows what was found to a part.
///
/// # Errors
///
/// [`Error::Usage`] for a function that is nowhere in it, with the near ones, and for an offset at which it has no instruction.
pub(super) fn narrow(recording: &mut Recording, part: &Part) -> Result<(), Error> {
    let mut part = part.clone();
    loop {
        match part::narrow(recording, &part) {
            Ok(()) => return Ok(()),
            Err(Unknown::Place(place, offsets)) => return Err(Error::Usage(no_place(&place, &offsets))),
            Err(Unknown::Function(unknown, all)) => {
                let names = || all.iter().map(String::as_str);
                let Some(name) = known(&unknown, names()) else {
                    let near = did_you_mean(&unknown, names());
                    return Err(Error::Usage(format!("no function `{unknown}` has a point here{near}")));
                };
                let functions =
                    part.functions.iter_mut().chain(part.places.iter_mut().map(|place| &mut place.function));
                functions.filter(|function| **function == unknown).for_each(|function| name.clone_into(function));
            }
        }
    }
}

/// A function has no instruction there.
fn no_place(place: &Range, offsets: &[u64]) -> String {
    let Range { function, first, last } = place;
    let there = if first == last { format!("at {function}+{first:#x}") } else { format!("in {place}") };
    let before = offsets.iter().rfind(|offset| *offset < first).map(|offset| format!("+{offset:#x}"));
    let after = offsets.iter().find(|offset| *offset > last).map(|offset| format!("+{offset:#x}"));
    let near: Vec<String> = before.into_iter().chain(after).collect();
    format!("no instruction begins {there}; the nearest are at {}", near.join(" and "))
}

/// An error that a name is unknown, with where else unwinders come from.
fn with_hint(error: Error, text: &str) -> Error {
    let name = text.split(['@', ':']).next().unwrap_or(text);
    let hint = match ["framehop", "gimli"].into_iter().find(|feature| name.eq_ignore_ascii_case(feature)) {
        Some(feature) => format!("it is in builds with `--features {feature}`"),
        None => "those of --unwinder-cmd run without being named".to_owned(),
    };
    Error::Usage(format!("{error}; {hint}"))
}
