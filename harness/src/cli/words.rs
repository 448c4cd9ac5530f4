//! The words that select scenarios: whatever reports print of a run is taken back, be it one word or several.

use super::narrow::{Known, add_place, unwinder, unwinders};
use crate::Error;
use crate::near::did_you_mean;
use crate::scenario::{Part, Scenario};
use crate::subject::Start;

/// Whether a text is the name of a scenario, with its folder or without.
pub(super) fn is_whole(scenario: &Scenario, text: &str) -> bool {
    let stem = scenario.name.rsplit_once('/').map_or(scenario.name.as_str(), |(_, stem)| stem);
    scenario.name.eq_ignore_ascii_case(text) || stem.eq_ignore_ascii_case(text)
}

fn contains(scenario: &Scenario, text: &str) -> bool {
    scenario.name.to_lowercase().contains(&text.to_lowercase())
}

/// The scenarios of a pattern: those of this name, else those whose name contains it.
fn matching<'s>(scenarios: &'s [Scenario], pattern: &str) -> Vec<&'s Scenario> {
    let whole: Vec<&Scenario> = scenarios.iter().filter(|scenario| is_whole(scenario, pattern)).collect();
    if whole.is_empty() { scenarios.iter().filter(|scenario| contains(scenario, pattern)).collect() } else { whole }
}

/// Keeps the scenarios that words select, and adds to the part what else they name: `arm64/leaf probe`, `fgraph F0`,
/// `arm64/call_chain [O0] probe`, `arm64-sframe@regs`, `leaf+0x8#1`.
///
/// # Errors
///
/// [`Error::Usage`] for a word that names nothing, with the near names.
pub(super) fn select(scenarios: &mut Vec<Scenario>, filters: &[String], part: &mut Part) -> Result<(), Error> {
    if filters.iter().any(|filter| filter.trim().is_empty()) {
        return Err(Error::Usage("a filter is empty; without a filter, all scenarios are meant".to_owned()));
    }
    let mut chosen: Vec<String> = Vec::new();
    for word in filters.iter().flat_map(|filter| filter.split_whitespace()) {
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        let is_scenario = scenarios.iter().any(|scenario| is_whole(scenario, bare));
        // A kind or variant of the scenarios so far: `fgraph irq` are no scenarios whose name contains `irq`.
        let of_chosen: Vec<&Scenario> = chosen.iter().flat_map(|pattern| matching(scenarios, pattern)).collect();
        if !is_scenario && add(bare, &Known::of(of_chosen), part) {
            continue;
        }
        if !is_scenario && let Some(found) = unwinder(bare) {
            part.unwinders.push(found);
        } else if !matching(scenarios, bare).is_empty() {
            chosen.push(bare.to_owned());
        } else if bare.contains('+') {
            add_place(bare, part).map_err(Error::Usage)?;
        } else if !add(bare, &Known::of(&*scenarios), part) {
            return Err(unknown(word, scenarios));
        }
    }
    if !chosen.is_empty() {
        let keep: Vec<String> = chosen
            .iter()
            .flat_map(|pattern| matching(scenarios, pattern))
            .map(|scenario| scenario.name.clone())
            .collect();
        scenarios.retain(|scenario| keep.contains(&scenario.name));
    }
    // Of several scenarios, those that have the variant or kind are meant.
    if !part.variants.is_empty() || !part.kinds.is_empty() {
        scenarios.retain(|scenario| has_run(scenario, part));
    }
    Ok(())
}

/// Whether a scenario has a run of the part.
pub(super) fn has_run(scenario: &Scenario, part: &Part) -> bool {
    scenario.variants().iter().any(|variant| {
        let name = (!variant.name.is_empty()).then_some(variant.name.as_str());
        scenario.text.interrupt.iter().any(|kind| part.has_run(name, *kind))
    })
}

/// Adds a kind or variant, if the word names one.
fn add(word: &str, known: &Known, part: &mut Part) -> bool {
    if let Some(kind) = known.kind(word) {
        part.kinds.push(kind);
    } else if let Some(variant) = known.variant(word) {
        part.variants.push(variant.to_owned());
    } else {
        return false;
    }
    true
}

/// Nothing has this name.
pub(super) fn unknown(word: &str, scenarios: &[Scenario]) -> Error {
    let unwinders = unwinders();
    let names = scenarios.iter().map(|scenario| scenario.name.as_str()).chain(unwinders.iter().map(String::as_str));
    let near = did_you_mean(word, names);
    Error::Usage(format!("no scenario matches {word:?}{near}; `unwind-harness list` shows them").replace("?;", "?"))
}

/// Adds what a point's name tells of its run: `leaf+0x8#1:irq@regs` is of irq, from the pt_regs, and one with a slash is nested.
pub(super) fn add_point(text: &str, known: &Known, part: &mut Part) {
    let last = text.rsplit('/').next().unwrap_or(text);
    if let Some((_, start)) = last.split_once('@') {
        part.starts.extend(Start::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(start)));
    }
    let kind = if text.contains('/') { Some("nested") } else { last.split_once(':').map(|(_, kind)| kind) };
    if let Some(kind) = kind.and_then(|kind| known.kind(kind.split('@').next().unwrap_or(kind)))
        && part.kinds.is_empty()
    {
        part.kinds.push(kind);
    }
}
