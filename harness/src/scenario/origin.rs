//! What a scenario's runs come from, and what is known of it once it was loaded.

use std::sync::Arc;

use super::convention::PrivateConventions;
use super::process::Traced;
use crate::case::{Case, State};
use crate::guest::Listings;
use crate::linux::KernelImage;

/// What a scenario runs, where its text alone does not say it.
#[derive(Debug, Clone, Default)]
pub enum Origin {
    /// What the text names: a guest, or a file of others.
    #[default]
    Text,
    /// A function of this image; the release is then the name of the only variant.
    Image(Arc<KernelImage>),
    /// A frozen case.
    Case(Arc<Case>),
    /// A written state.
    State(Arc<State>),
    /// A process.
    Process(Arc<Traced>),
}

/// What is the same whenever a scenario is loaded, and takes time to find out.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// Where guests that were disassembled are kept; scenarios that are run together share it.
    pub listings: Listings,
    /// The conventions that its code was seen to have, once somebody has looked.
    pub(super) private: Arc<PrivateConventions>,
}

impl super::Scenario {
    /// The image whose function it calls.
    #[must_use]
    pub const fn image(&self) -> Option<&Arc<KernelImage>> {
        if let Origin::Image(image) = &self.origin { Some(image) } else { None }
    }

    /// The frozen case that it is run from.
    #[must_use]
    pub const fn case(&self) -> Option<&Arc<Case>> {
        if let Origin::Case(case) = &self.origin { Some(case) } else { None }
    }

    /// The written state that it is run from.
    #[must_use]
    pub const fn state(&self) -> Option<&Arc<State>> {
        if let Origin::State(state) = &self.origin { Some(state) } else { None }
    }

    /// The process that it runs.
    #[must_use]
    pub const fn process(&self) -> Option<&Arc<Traced>> {
        if let Origin::Process(process) = &self.origin { Some(process) } else { None }
    }
}
