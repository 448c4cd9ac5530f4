//! Which pages a run uses: all that are touched while a case is frozen, and only those that a case holds when it is run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::Machine;
use crate::guest::PAGE;

impl Machine<'_> {
    /// Notes from now on, until the run is over, which pages it uses.
    pub fn note_pages(&self) {
        self.memory.watch(Watch::note());
    }

    /// The addresses of the pages that were noted.
    #[must_use]
    pub fn used_pages(&self) -> BTreeSet<u64> {
        self.memory.watched().map(Watch::used).unwrap_or_default()
    }
}

/// Watches the pages that a run uses, whether the guest, its own unwinder or an observer does.
#[derive(Debug)]
pub(super) enum Watch {
    /// Notes them.
    Note {
        /// Their addresses.
        used: RefCell<FxHashSet<u64>>,
        /// Whether the run is over: what is used afterwards is not its own.
        is_over: Cell<bool>,
    },
    /// Allows only those that are held.
    Require {
        /// Their addresses.
        held: FxHashSet<u64>,
        /// The first page that was used and is not among them.
        missing: Cell<Option<u64>>,
    },
}

impl Watch {
    /// Notes every page.
    pub(super) fn note() -> Self {
        Self::Note { used: RefCell::default(), is_over: Cell::new(false) }
    }

    /// Allows only these pages.
    pub(super) fn require(held: &BTreeSet<u64>) -> Self {
        Self::Require { held: held.iter().copied().collect(), missing: Cell::new(None) }
    }

    /// Notes the use of mapped bytes. False if one of their pages is missing.
    pub(super) fn uses(&self, address: u64, size: usize) -> bool {
        let last = address.saturating_add((size as u64).saturating_sub(1)) & !(PAGE - 1);
        let pages = (address & !(PAGE - 1)..=last).step_by(PAGE as usize);
        match self {
            Self::Note { is_over, .. } if is_over.get() => true,
            Self::Note { used, .. } => {
                used.borrow_mut().extend(pages);
                true
            }
            Self::Require { held, missing } => {
                let first = { pages }.find(|page| !held.contains(page));
                if missing.get().is_none() {
                    missing.set(first);
                }
                first.is_none()
            }
        }
    }

    /// The run is over.
    pub(super) fn end(&self) {
        if let Self::Note { is_over, .. } = self {
            is_over.set(true);
        }
    }

    /// The pages that were noted.
    pub(super) fn used(&self) -> BTreeSet<u64> {
        match self {
            Self::Note { used, .. } => used.borrow().iter().copied().collect(),
            Self::Require { .. } => BTreeSet::new(),
        }
    }

    /// The first page that was used and is missing.
    pub(super) fn missing(&self) -> Option<u64> {
        match self {
            Self::Note { .. } => None,
            Self::Require { missing, .. } => missing.get(),
        }
    }
}
