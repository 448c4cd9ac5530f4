//! The unwinders of kernels, each by the rules of its source, defects included. Where a kernel has a reliable and a
//! best-effort walk, they are two forms of one unwinder.

mod arm64;
mod boundary;
mod metadata;
mod orc;
mod riscv64;
mod trampoline;
mod x86_64;

pub use arm64::{
    arm64_kunwind, arm64_sframe, arm64_sframe_detect, arm64_sframe_pending, arm64_sframe_record, arm64_sframe_refuse,
    arm64_sframe_v5, arm64_sframe_v6,
};
pub use metadata::MetadataUnwinder;
pub(crate) use orc::OrcState;
pub use orc::UnwindOrc;
pub use riscv64::{
    WalkStackframe, riscv_metadata, riscv_metadata_detect, riscv_metadata_pending, riscv_metadata_record,
    riscv_metadata_refuse,
};
pub use x86_64::UnwindFrame;

use crate::Claims;

/// What a kernel uses a walk for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// For live patching: the walk must be right as a whole, or say that it is not.
    Reliable,
    /// For people: as far as it goes, without a claim.
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
