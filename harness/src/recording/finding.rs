//! Verdicts that are not exact, with the evidence.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Novelty, Shared, is_zero, shared};
use crate::scenario::Range;
use crate::subject::{Start, label};
use crate::verdict::Verdict;

/// Neighbouring instructions at which walks of one column have the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The subject.
    pub subject: String,
    /// Where its walks started.
    pub start: Start,
    /// The verdict.
    pub verdict: Verdict,
    /// The instructions.
    pub range: Range,
    /// How many walks.
    pub count: u64,
    /// Whether the interruption can really arrive there; if not, it is masked.
    pub reachable: bool,
    /// How it stands to what the scenario demands, at the instruction where that is worst; `None`: no gate was held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<Novelty>,
    /// How many of its walks break a gate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub new: u64,
    /// Of a known one: the place of its reason in the section's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<usize>,
    /// The first such walk at the first instruction.
    pub first: FirstWalk,
}

/// A walk that is not exact, beside the truth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirstWalk {
    /// The name of the point.
    pub point: String,
    /// The arrival at the instruction.
    pub visit: u64,
    /// The true trace, without the interrupted instruction.
    pub expected: Shared<Vec<String>>,
    /// The walk's trace, without its start.
    pub got: Shared<Vec<String>>,
    /// How each entry of the walk was found: by which rule.
    #[serde(default, skip_serializing_if = "shared::is_empty")]
    pub rules: Shared<Vec<String>>,
    /// What is wrong with the state of entries whose pc is right: which value, and by how much.
    #[serde(default, skip_serializing_if = "shared::is_empty")]
    pub state: Shared<Vec<String>>,
    /// Why there is no walk, of one that did not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The words that the walk read, in order.
    pub words: Shared<Vec<WordRead>>,
}

/// A word that a walk read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WordRead {
    /// How many entries the walk had produced before it read the word.
    pub entries: u64,
    /// The address, with its distance from the top of its stack where it is on one.
    pub at: Shared<String>,
    /// The value; `None` if the word could not be read.
    pub value: Option<Shared<String>>,
}

impl Finding {
    /// The subject, with its start unless that is `live`.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.subject, self.start)
    }
}
