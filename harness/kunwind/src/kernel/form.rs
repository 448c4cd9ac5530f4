//! What a kernel uses a walk for.

use crate::walk::Claims;

/// What a kernel uses a walk for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// For live patching: the walk must be right as a whole, or say that it is not.
    Reliable,
    /// For people: it shows as much as it can, and claims nothing.
    BestEffort,
}

impl Form {
    /// How walks of this form claim to be reliable.
    #[must_use]
    pub const fn claims(self) -> Claims {
        match self {
            Self::Reliable => Claims::Explicit,
            Self::BestEffort => Claims::Never,
        }
    }
}
