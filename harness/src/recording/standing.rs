//! How what deviates stands with what its scenario demands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of a gate about a finding, or about the rows of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It breaks a gate: nothing expects it.
    New,
    /// The scenario lists it with its reason (`[[known]]`, `[[wrong-rows]]`, `[[unjudged]]`).
    Known,
    /// No gate forbids it: `[must]` allows such a verdict, or nothing is demanded of somebody's file.
    Allowed,
}

impl Standing {
    /// The worse of two.
    #[must_use]
    pub const fn or_worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::New, _) | (_, Self::New) => Self::New,
            (Self::Known, _) | (_, Self::Known) => Self::Known,
            (Self::Allowed, Self::Allowed) => Self::Allowed,
        }
    }
}
