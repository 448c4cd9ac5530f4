//! Which pages a run uses: all that are touched while a case is frozen, and only those that a case holds when it is run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::Machine;
use crate::guest::PAGE;

impl Machine<'_> {
    /// Notes from now on, until the run is over, which pages it uses.
    pub fn note_pages(&self) {
        self.memory.watched_or(Watch::default).note();
    }

    /// The addresses of the pages that were noted.
    #[must_use]
    pub fn used_pages(&self) -> BTreeSet<u64> {
        self.memory.watched().map(Watch::used).unwrap_or_default()
    }
}

/// Watches the pages that a run uses, whether the guest, its own unwinder or an observer does.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The addresses of those that may be used; `None`: of all.
    held: Option<FxHashSet<u64>>,
    /// The first page that was used and is not among them.
    missing: Cell<Option<u64>>,
    /// Whether pages are noted: until the run is over, because what is used afterwards is not its own.
    is_noting: Cell<bool>,
    /// The addresses of those that were noted.
    used: RefCell<FxHashSet<u64>>,
}

impl Watch {
    /// Allows only these pages.
    pub(super) fn require(held: &BTreeSet<u64>) -> Self {
        Self { held: Some(held.iter().copied().collect()), ..Self::default() }
    }

    /// Notes every page from now on.
    pub(super) fn note(&self) {
        self.is_noting.set(true);
    }

    /// Notes the use of mapped bytes. False if one of their pages is missing.
    pub(super) fn uses(&self, address: u64, size: usize) -> bool {
        let last = address.saturating_add((size as u64).saturating_sub(1)) & !(PAGE - 1);
        let mut pages = (address & !(PAGE - 1)..=last).step_by(PAGE as usize);
        if self.is_noting.get() {
            self.used.borrow_mut().extend(pages.clone());
        }
        let first = self.held.as_ref().and_then(|held| pages.find(|page| !held.contains(page)));
        if self.missing.get().is_none() {
            self.missing.set(first);
        }
        first.is_none()
    }

    /// The run is over.
    pub(super) fn end(&self) {
        self.is_noting.set(false);
    }

    /// The pages that were noted.
    pub(super) fn used(&self) -> BTreeSet<u64> {
        self.used.borrow().iter().copied().collect()
    }

    /// The first page that was used and is missing.
    pub(super) const fn missing(&self) -> Option<u64> {
        self.missing.get()
    }
}
