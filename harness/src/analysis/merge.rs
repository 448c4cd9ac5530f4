//! The shards of a run, put together to the recording of the whole.

use std::collections::BTreeMap;
use std::path::Path;

use super::gate::hold_gates;
use super::join::join;
use crate::recording::{Partial, Recording, SCHEMA, Section, Shard, Skip, SplitScenario};
use crate::scenario::Scenario;

/// Puts shards together, in any order; a single recording that is no shard is what it is. If shards are missing, or hold less than
/// they should, the result is partial. Names are those of the files, for messages.
///
/// # Errors
///
/// Why they do not belong together.
pub fn merge(mut parts: Vec<(String, Recording)>) -> Result<Recording, String> {
    if let Some((name, part)) = parts.iter().find(|(_, part)| part.schema != SCHEMA) {
        return Err(format!("{name}: it is schema {}, and this program reads {SCHEMA}", part.schema));
    }
    if parts.len() == 1 && parts[0].1.shard.is_none() {
        return Ok(parts.remove(0).1);
    }
    let first = require_one_run(&parts)?;
    let mut by_position: BTreeMap<u64, Vec<(u32, Section)>> = BTreeMap::new();
    let mut skipped: Vec<Skip> = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let count = parts.len() as u64;
    for (_, part) in parts {
        reasons.extend(part.partial.map(|partial| partial.because));
        let Some(Shard { shard, positions, .. }) = part.shard else { continue };
        for (position, section) in positions.into_iter().zip(part.sections) {
            by_position.entry(position).or_default().push((shard.index, section));
        }
        skipped.extend(part.skipped);
    }
    let missing = u64::from(first.shard.of) - count;
    if missing > 0 {
        reasons.insert(0, format!("{missing} of {} shards are missing", first.shard.of));
    }
    reasons.dedup();
    let sections = if first.split.is_empty() { whole_runs(by_position) } else { split_runs(by_position, &first)? };
    let whole = sections.iter().filter(|section| section.not_judged.is_none() && !section.interrupted).count();
    let merged = Recording::new(sections);
    let skipped = in_order(skipped, &merged.sections);
    let partial =
        (!reasons.is_empty()).then(|| Partial { because: reasons.join(", "), whole: whole as u64, of: first.runs });
    Ok(Recording { partial, skipped, ..merged })
}

/// The sections of shards that have whole runs.
fn whole_runs(by_position: BTreeMap<u64, Vec<(u32, Section)>>) -> Vec<Section> {
    by_position.into_values().flatten().map(|(_, section)| section).collect()
}

/// Those of shards that have parts of runs, with the gates held against them. A run of which a part is missing is one that was cut
/// short.
fn split_runs(by_position: BTreeMap<u64, Vec<(u32, Section)>>, first: &Shard) -> Result<Vec<Section>, String> {
    let mut sections = Vec::new();
    for mut parts in by_position.into_values() {
        parts.sort_by_key(|(index, _)| *index);
        let count = parts.len();
        let mut section = join(parts.into_iter().map(|(_, section)| section).collect())?;
        let expected = if section.interrupt.is_split() { first.shard.of as usize } else { 1 };
        section.interrupted |= count < expected;
        sections.push(section);
    }
    let scenario = |SplitScenario { name, source }: &SplitScenario| {
        let path = Path::new("scenarios").join(format!("{name}.toml"));
        Scenario::parse(&path, source).map_err(|error| error.to_string())
    };
    let scenarios: Vec<Scenario> = first.split.iter().map(scenario).collect::<Result<_, _>>()?;
    hold_gates(&scenarios, &mut sections, first.all_unwinders);
    Ok(sections)
}

/// Requires that these are different shards of the same run, and gives the first one's place in it.
fn require_one_run(parts: &[(String, Recording)]) -> Result<Shard, String> {
    let mut first: Option<(&str, &Shard, &str)> = None;
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, part) in parts {
        let Some(shard) = &part.shard else {
            return Err(format!("{name}: it is no shard (`run --shard`), so that nothing can be put to it"));
        };
        if shard.positions.len() != part.sections.len() || shard.positions.iter().any(|at| *at >= shard.runs) {
            return Err(format!("{name}: its shard has {} positions that do not fit its runs", shard.positions.len()));
        }
        let (other, whole, tool) = *first.get_or_insert((name, shard, &part.tool));
        if (&shard.plan, shard.runs, shard.shard.of) != (&whole.plan, whole.runs, whole.shard.of) {
            let reason = "another selection of scenarios or kinds, or another number of shards";
            return Err(format!("{name}: it is not of the same run as {other}: {reason}"));
        }
        if part.tool != tool {
            return Err(format!("{name}: version {} of the program made it, and {tool} made {other}", part.tool));
        }
        if let Some(twin) = seen.insert(shard.shard.index, name) {
            return Err(format!("{name}: it is shard {}, as {twin} is", shard.shard));
        }
    }
    let (_, first, _) = first.ok_or("there is nothing to merge")?;
    Ok(first.clone())
}

/// What was left out, once, in the order of a whole run: what belongs to no section is in every shard, and comes first.
fn in_order(skipped: Vec<Skip>, sections: &[Section]) -> Vec<Skip> {
    let is_run =
        |skip: &Skip| sections.iter().any(|section| section.not_judged.is_some() && section.title() == skip.what);
    let (of_runs, others): (Vec<Skip>, Vec<Skip>) = skipped.into_iter().partition(is_run);
    let mut ordered: Vec<Skip> = Vec::new();
    for skip in others {
        if !ordered.contains(&skip) {
            ordered.push(skip);
        }
    }
    for section in sections {
        ordered.extend(of_runs.iter().find(|skip| skip.what == section.title()).cloned());
    }
    ordered
}
