//! A part of what scenarios run: some variants, kinds of interruption, unwinders, starts, functions.

use super::{Interruption, Range};
use crate::subject::Start;

/// A part of a run. An empty list stands for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// The variants, by name.
    pub variants: Vec<String>,
    /// The kinds of interruption.
    pub kinds: Vec<Interruption>,
    /// The unwinders, by name, each from one start or from all.
    pub unwinders: Vec<(String, Option<Start>)>,
    /// Where walks start.
    pub starts: Vec<Start>,
    /// Whole functions, by name.
    pub functions: Vec<String>,
    /// Instructions.
    pub places: Vec<Range>,
}

impl Part {
    /// Whether a run belongs to it.
    #[must_use]
    pub fn has_run(&self, variant: Option<&str>, kind: Interruption) -> bool {
        self.has_variant(variant) && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }

    /// Whether a variant belongs to it; a scenario without variants has a single one without a name.
    #[must_use]
    pub fn has_variant(&self, variant: Option<&str>) -> bool {
        self.variants.is_empty() || variant.is_some_and(|variant| self.variants.iter().any(|name| name == variant))
    }

    /// Whether the walks of an unwinder from a start belong to it.
    #[must_use]
    pub fn has_walk(&self, unwinder: &str, start: Start) -> bool {
        let is_it = |(name, of): &(String, Option<Start>)| name == unwinder && of.is_none_or(|of| of == start);
        (self.unwinders.is_empty() || self.unwinders.iter().any(is_it))
            && (self.starts.is_empty() || self.starts.contains(&start))
    }

    /// Whether it leaves out instructions.
    #[must_use]
    pub const fn is_of_places(&self) -> bool {
        !self.functions.is_empty() || !self.places.is_empty()
    }

    /// Whether an instruction belongs to it.
    #[must_use]
    pub fn has_place(&self, function: &str, offset: u64) -> bool {
        let is_in = |place: &Range| place.function == function && (place.first..=place.last).contains(&offset);
        !self.is_of_places() || self.functions.iter().any(|name| name == function) || self.places.iter().any(is_in)
    }

    /// The unwinders, each once.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &self.unwinders {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}
