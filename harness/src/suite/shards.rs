//! The runs that are to be made: all of them, and those of a shard.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Job, Planned, Undisturbed};
use crate::Error;
use crate::experiment::EVERYWHERE;
use crate::guest::Listings;
use crate::interrupt::Interrupt;
use crate::recording::{Shard, ShardOf, SplitScenario};
use crate::scenario::{Origin, Part, Scenario};
use crate::trace::{Action, Observer, Point, Run as _, Watched};

/// Runs, in order.
pub(super) struct Plan {
    /// Those of all shards.
    pub(super) all: Vec<Planned>,
    /// The places among them of those that are made here.
    pub(super) here: Vec<usize>,
    /// Whether runs are split, so that no shard has a whole one, and `merge` holds the gates.
    pub(super) is_split: bool,
}

impl Plan {
    /// Each variant of each scenario with each of its kinds; those that are wanted; here only those of a shard, if there is one.
    ///
    /// Whole scenarios are dealt out, because then each shard can hold their gates, and no guest runs twice. Where there are fewer
    /// scenarios than shards, probes are split by their points, and other runs are dealt out whole.
    pub(super) fn of(scenarios: &[Scenario], shard: Option<ShardOf>, part: &Part) -> Self {
        let is_split = shard.is_some_and(|shard| is_split(scenarios, shard));
        let (mut all, mut here) = (Vec::new(), Vec::new());
        let listings = Listings::default();
        for (position, scenario) in scenarios.iter().enumerate() {
            let mut shared = scenario.clone();
            shared.learned.listings.clone_from(&listings);
            let shared = Arc::new(shared);
            for variant in scenario.variants() {
                let name = (!variant.name.is_empty()).then_some(variant.name.as_str());
                for kind in scenario.text.interrupt.iter().filter(|kind| part.has_run(name, **kind)) {
                    let by_points = shard.filter(|_| is_split && kind.is_split());
                    let dealt = if is_split { all.len() } else { position };
                    if by_points.is_some() || shard.is_none_or(|shard| shard.has(dealt)) {
                        here.push(all.len());
                    }
                    let (scenario, variant) = (Arc::clone(&shared), variant.clone());
                    all.push(Planned { scenario, variant, kind: *kind, part: by_points });
                }
            }
        }
        Self { all, here, is_split }
    }

    /// Runs that are all made here.
    pub(super) fn whole(all: Vec<Planned>) -> Self {
        let here = (0..all.len()).collect();
        Self { all, here, is_split: false }
    }

    /// The runs that are made here, those of one variant with one undisturbed run: it is forgotten with the last of them.
    pub(super) fn jobs(&self) -> Vec<(Planned, Arc<Undisturbed>)> {
        let mut jobs: Vec<(Planned, Arc<Undisturbed>)> = Vec::new();
        for place in &self.here {
            let next = &self.all[*place];
            let is_same =
                |one: &Planned| Arc::ptr_eq(&one.scenario, &next.scenario) && one.variant.name == next.variant.name;
            let beside = jobs.last().filter(|(last, _)| is_same(last)).map(|(_, undisturbed)| Arc::clone(undisturbed));
            jobs.push((next.clone(), beside.unwrap_or_default()));
        }
        jobs
    }

    /// What is recorded of a shard whose sections stand at these places.
    pub(super) fn shard(&self, shard: ShardOf, places: &[usize], all_unwinders: bool) -> Shard {
        let mut hash = Sha256::new();
        let mut split: Vec<SplitScenario> = Vec::new();
        for Planned { scenario, variant, kind, .. } in &self.all {
            hash.update(format!("{} [{}] {}\n", scenario.name, variant.name, kind.name()));
            if self.is_split && split.last().is_none_or(|last| last.name != scenario.name) {
                hash.update(&scenario.source);
                split.push(SplitScenario { name: scenario.name.clone(), source: scenario.source.clone() });
            }
        }
        let plan = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let positions = places.iter().map(|place| *place as u64).collect();
        Shard {
            shard,
            plan,
            runs: self.all.len() as u64,
            positions,
            all_unwinders: self.is_split && all_unwinders,
            split,
        }
    }
}

/// Whether the shards of these scenarios are parts of runs, because there are more shards than scenarios.
#[must_use]
pub fn is_split(scenarios: &[Scenario], shard: ShardOf) -> bool {
    scenarios.len() < shard.of as usize && scenarios.iter().all(can_split)
}

/// Whether the gates of a scenario can be held without what it runs.
fn can_split(scenario: &Scenario) -> bool {
    matches!(scenario.origin, Origin::Text) && !scenario.text.is_of_others()
}

/// Notes which instructions run.
#[derive(Debug, Default)]
struct Executed(BTreeSet<u64>);

impl Observer for Executed {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.0.insert(at.pc);
        Action::Continue
    }
}

impl Job<'_> {
    /// The first and the last address of the instructions that are judged in a shard. Of those that run undisturbed and may be judged,
    /// each shard has as many.
    pub(super) fn addresses(self, shard: ShardOf, interrupt: &Interrupt) -> Result<(u64, u64), Error> {
        let program = self.scenario.program(self.root, self.variant)?;
        let mut executed = Executed::default();
        let mut run = self.scenario.live(&program).map_err(|error| self.scenario.blame(self.variant, error))?;
        let ended = Watched::new(&mut *run, interrupt).drive(&mut executed);
        ended.map_err(|error| self.scenario.blame(self.variant, error))?;
        let within = &self.scenario.text.within;
        let is_judged = |address: &u64| {
            let function = program.guest.symbols.function_at(*address);
            within.is_empty() || function.is_some_and(|function| within.contains(&function.name))
        };
        let ran: Vec<u64> = executed.0.into_iter().filter(is_judged).collect();
        let start = |part: u32| ran.get(ran.len() * part as usize / shard.of as usize).copied();
        let first = if shard.index == 1 { EVERYWHERE.0 } else { start(shard.index - 1).unwrap_or(u64::MAX) };
        let last =
            if shard.index == shard.of { EVERYWHERE.1 } else { start(shard.index).map_or(u64::MAX, |next| next - 1) };
        Ok((first, last))
    }
}
