//! How a verdict that is not exact stands to what its scenario demands. `analysis/novelty.rs` decides it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a finding stands to its scenario's `[must]` and `[[known]]`. Ordered from what needs no attention to what needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Novelty {
    /// The demand allows the verdict: of `sound`, whatever omits nothing without saying so.
    Allowed,
    /// Nothing is demanded of the subject (`any`).
    Exempt,
    /// A `[[known]]` lists it, with a reason.
    Known,
    /// The demand forbids it, and no `[[known]]` lists it: it breaks the gate.
    New,
}

impl Novelty {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Exempt, Self::Known, Self::New];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Exempt => "exempt",
            Self::Known => "known",
            Self::New => "new",
        }
    }
}
