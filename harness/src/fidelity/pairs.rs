//! The data: which function of a guest mimics which of the kernel's (`pairs.toml`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::code::Limits;
use crate::cpu::Cpu;

/// A mimic and what it mimics.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub(super) mimic: String,
    pub(super) image: Vec<String>,
    pub(super) guest: String,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    inner: Vec<String>,
    #[serde(default)]
    pub(super) watched: Vec<String>,
    pub(super) differs: Option<String>,
}

impl Pair {
    pub(super) fn limits(&self) -> Limits<'_> {
        Limits { is_alone: self.alone, inner: &self.inner }
    }
}

/// Functions that stand for one instruction.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thunks {
    /// A jump to one of these is a return.
    #[serde(rename = "return")]
    pub(super) returns: Vec<String>,
    /// A transfer to a function whose name begins so is one through the register that follows.
    pub(super) indirect: Vec<String>,
}

impl Thunks {
    /// Those of the data.
    #[must_use]
    pub fn load() -> Self {
        Pairs::load().thunks
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Pairs {
    pub(super) thunks: Thunks,
    #[serde(flatten)]
    by_cpu: BTreeMap<String, Vec<Pair>>,
}

impl Pairs {
    pub(super) fn load() -> Self {
        toml::from_str(include_str!("pairs.toml")).expect("pairs.toml is part of the program, and a test reads it")
    }

    /// All names of the data that may be in an image.
    pub(super) fn names(&self, cpu: &Cpu) -> BTreeSet<String> {
        let names =
            self.of(cpu).iter().flat_map(|pair| &pair.image).flat_map(|name| name.split(' ').map(str::to_owned));
        names.chain(self.thunks.returns.iter().cloned()).collect()
    }

    pub(super) fn of(&self, cpu: &Cpu) -> &[Pair] {
        self.by_cpu.get(cpu.name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::Pairs;
    use crate::cpu::ALL;

    #[test]
    fn every_cpu_has_its_pairs_and_there_are_no_others() {
        let pairs = Pairs::load();
        assert!(ALL.iter().all(|cpu| pairs.of(cpu).len() >= 10));
        assert_eq!(pairs.by_cpu.len(), ALL.len());
        assert!(pairs.by_cpu.values().flatten().all(|pair| !pair.image.is_empty()));
    }
}
