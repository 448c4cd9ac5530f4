//! What a run over kernel images left out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that was asked for, and was not run or not judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skip {
    /// What: a file, a run, or a subject in an image.
    pub what: String,
    /// Why.
    pub reason: String,
    /// Whether it should have been there, so that the exit status is 2. Without, the image has nothing of the kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

impl Skip {
    /// Something that is not there to be judged.
    #[must_use]
    pub fn absent(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into(), failed: false }
    }

    /// Something that should have been judged.
    #[must_use]
    pub fn failed(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { failed: true, ..Self::absent(what, reason) }
    }
}

impl super::Recording {
    /// The images of a folder that could not be read.
    pub fn unread_images(&self) -> impl Iterator<Item = &Skip> {
        let is_run = |skip: &Skip| self.not_judged().any(|(title, _)| title == skip.what);
        self.skipped.iter().filter(move |skip| skip.failed && !is_run(skip))
    }
}
