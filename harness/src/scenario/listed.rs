//! `[[wrong-rows]]` and `[[unjudged]]`: what `check` may find, with the reason.

use serde::Deserialize;

/// Functions whose unwind rows are wrong in some build of the scenario's guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongRows {
    /// Their names.
    pub functions: Vec<String>,
    /// The reason.
    pub because: String,
}

/// Functions whose unwind rows, or some of them, cannot be judged in some build of the scenario's guest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnjudgedRows {
    /// The table; all if none is named.
    #[serde(default)]
    pub table: Option<String>,
    /// Their names; empty: what belongs to no function (data that cannot be read, code without a symbol).
    #[serde(default)]
    pub functions: Vec<String>,
    /// The reason.
    pub because: String,
}

impl UnjudgedRows {
    /// Whether it speaks of this table.
    #[must_use]
    pub fn is_of(&self, table: &str) -> bool {
        self.table.as_ref().is_none_or(|name| name == table)
    }
}
