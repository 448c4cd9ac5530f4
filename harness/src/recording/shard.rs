//! Which part of a run a recording is.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of several parts of the same runs, made on one machine each: `2/3` is the second of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ShardOf {
    /// Which, from 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl ShardOf {
    /// Whether what stands at this position of all that are selected belongs to it.
    #[must_use]
    pub const fn has(self, position: usize) -> bool {
        position % self.of as usize == self.index as usize - 1
    }
}

impl fmt::Display for ShardOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.of)
    }
}

impl From<ShardOf> for String {
    fn from(shard: ShardOf) -> Self {
        shard.to_string()
    }
}

impl FromStr for ShardOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text:?} is no shard; shards look like 1/3, 2/3 and 3/3");
        let (index, of) = text.split_once('/').ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| malformed());
        let (index, of) = (number(index)?, number(of)?);
        if (1..=of).contains(&index) { Ok(Self { index, of }) } else { Err(malformed()) }
    }
}

impl TryFrom<String> for ShardOf {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What `merge` needs to put a shard back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which it is.
    pub shard: ShardOf,
    /// SHA-256 over the names of all runs of all shards: those of other selections do not fit.
    pub plan: String,
    /// How many runs all shards have.
    pub runs: u64,
    /// Where each section of this shard is among them, from 0.
    pub positions: Vec<u64>,
    /// Where there are fewer scenarios than shards, so that runs are split by points: the scenarios, with which `merge` holds their
    /// gates. Otherwise nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<SplitScenario>,
    /// Whether all unwinders ran, as gates ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_unwinders: bool,
}

impl Shard {
    /// What a report says instead of an answer: of parts of runs no gate holds, and none is broken.
    pub const HOLDS_NO_GATES: &str =
        "gates are not held in this shard, which has a part of each run's points: `merge` holds them";

    /// Whether it has parts of runs.
    #[must_use]
    pub const fn has_parts(&self) -> bool {
        !self.split.is_empty()
    }
}

/// A scenario whose runs are split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitScenario {
    /// Its name.
    pub name: String,
    /// Its file's text.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::ShardOf;

    #[test]
    fn every_scenario_is_in_one_shard() {
        for of in 1..5 {
            let shards: Vec<ShardOf> = (1..=of).map(|index| ShardOf { index, of }).collect();
            for position in 0..20 {
                assert_eq!(shards.iter().filter(|shard| shard.has(position)).count(), 1, "{position} of {of}");
            }
        }
    }

    #[test]
    fn malformed_shards_are_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "a/3", "1/3/5", "-1/3", "1/99999999999"] {
            assert!(text.parse::<ShardOf>().is_err(), "{text:?}");
        }
        assert_eq!("2/3".parse::<ShardOf>(), Ok(ShardOf { index: 2, of: 3 }));
    }
}
