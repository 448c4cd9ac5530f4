//! The runs that are to be made: all of them, and those of a shard.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Planned;
use crate::recording::{Shard, ShardOf};
use crate::scenario::{Part, Scenario};

/// Runs, in order.
pub(super) struct Plan {
    /// Those of all shards.
    pub(super) all: Vec<Planned>,
    /// The places among them of those that are made here.
    pub(super) here: Vec<usize>,
}

impl Plan {
    /// Each variant of each scenario with each of its kinds; those that are wanted; here only those of a shard, if there is one.
    pub(super) fn of(scenarios: &[Scenario], shard: Option<ShardOf>, part: &Part) -> Self {
        let (mut all, mut here) = (Vec::new(), Vec::new());
        for (position, scenario) in scenarios.iter().enumerate() {
            let shared = Arc::new(scenario.clone());
            let before = all.len();
            for variant in scenario.variants() {
                let name = (!variant.name.is_empty()).then_some(variant.name.as_str());
                let kinds = scenario.text.interrupt.iter().filter(|kind| part.has_run(name, **kind));
                all.extend(kinds.map(|kind| Planned {
                    scenario: Arc::clone(&shared),
                    variant: variant.clone(),
                    kind: *kind,
                }));
            }
            if shard.is_none_or(|shard| shard.has(position)) {
                here.extend(before..all.len());
            }
        }
        Self { all, here }
    }

    /// Runs that are all made here.
    pub(super) fn whole(all: Vec<Planned>) -> Self {
        let here = (0..all.len()).collect();
        Self { all, here }
    }

    /// The runs that are made here.
    pub(super) fn jobs(&self) -> Vec<Planned> {
        self.here.iter().map(|place| self.all[*place].clone()).collect()
    }

    /// What is recorded of a shard whose sections stand at these places.
    pub(super) fn shard(&self, shard: ShardOf, places: &[usize]) -> Shard {
        let mut hash = Sha256::new();
        for Planned { scenario, variant, kind } in &self.all {
            hash.update(format!("{} [{}] {}\n", scenario.name, variant.name, kind.name()));
        }
        let plan = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let positions = places.iter().map(|place| *place as u64).collect();
        Shard { shard, plan, runs: self.all.len() as u64, positions }
    }
}
