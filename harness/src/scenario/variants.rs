//! The variants of a scenario, and what each of them changes.

use std::path::{Path, PathBuf};

use super::{Scenario, Variant};
use crate::guest::return_hook::{PLAIN, ReturnHook};

impl Scenario {
    /// The variants; a single one without a name if the file lists none.
    #[must_use]
    pub fn variants(&self) -> Vec<Variant> {
        match self.image() {
            _ if self.case().is_some() => self.frozen_variant().into_iter().collect(),
            Some(image) => vec![Variant { name: image.release.clone(), ..Variant::default() }],
            None if self.text.variant.is_empty() => vec![Variant::default()],
            None => self.text.variant.clone(),
        }
    }

    /// The return hook of a variant, if it has one.
    #[must_use]
    pub fn return_hook(&self, variant: &Variant) -> Option<ReturnHook> {
        let name = variant.return_hook.as_ref().or(self.text.return_hook.as_ref())?.clone();
        Some(ReturnHook { name, build: variant.fix.as_deref().unwrap_or(PLAIN).to_owned() })
    }

    /// If set, the run of a variant must be void, for a reason that contains this text.
    #[must_use]
    pub fn expected_void<'s>(&'s self, variant: &'s Variant) -> Option<&'s str> {
        variant.void.as_deref().or(self.text.void.as_deref())
    }

    /// Whether the run of a variant must be void for this reason; without a variant, the run of one of them.
    #[must_use]
    pub fn means_void(&self, variant: Option<&Variant>, reason: &str) -> bool {
        let is_it = |variant: &Variant| self.expected_void(variant).is_some_and(|expected| reason.contains(expected));
        variant.map_or_else(|| self.variants().iter().any(is_it), is_it)
    }

    /// The file of a variant's guest.
    #[must_use]
    pub fn guest_path(&self, root: &Path, variant: &Variant) -> PathBuf {
        let name = variant.guest.as_ref().unwrap_or(&self.text.guest);
        root.join("guests").join(self.cpu.name).join(format!("{name}.elf"))
    }
}
