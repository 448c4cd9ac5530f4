//! What each page of a process may be used for.

use std::cell::RefCell;
use std::ops::Range;

use unicorn_engine::Prot;

use crate::guest::PAGE;

/// The permission of each page of an area.
#[derive(Debug)]
pub(super) struct Pages(RefCell<Vec<Page>>);

/// A page of an area.
#[derive(Debug, Clone, Copy)]
struct Page {
    permission: Prot,
    /// Whether it may hold something else than zeros.
    was_used: bool,
}

impl Pages {
    /// Pages for so many bytes, none of them mapped.
    pub(super) fn unmapped(size: usize) -> Self {
        let page = Page { permission: Prot::NONE, was_used: false };
        Self(RefCell::new(vec![page; size / PAGE as usize]))
    }

    /// Gives pages, by their numbers, a permission. Of those that must be `fresh`, `clear` is asked to clear what may hold something.
    pub(super) fn set(&self, numbers: Range<usize>, permission: Prot, fresh: bool, clear: impl Fn(usize)) {
        let mut pages = self.0.borrow_mut();
        for (number, page) in pages.iter_mut().enumerate().skip(numbers.start).take(numbers.len()) {
            if fresh && page.was_used {
                clear(number);
                page.was_used = false;
            }
            page.permission = permission;
            page.was_used |= permission != Prot::NONE;
        }
    }

    /// The permission of the page at an offset in bytes; none outside of the area.
    pub(super) fn at(&self, offset: u64) -> Prot {
        self.0.borrow().get((offset / PAGE) as usize).map_or(Prot::NONE, |page| page.permission)
    }

    /// Whether all pages that hold these bytes are mapped and may be read.
    pub(super) fn are_readable(&self, offset: usize, size: usize) -> bool {
        let last = offset + size.saturating_sub(1);
        let pages = self.0.borrow();
        let pages = pages.get(offset / PAGE as usize..=last / PAGE as usize).unwrap_or_default();
        !pages.is_empty() && pages.iter().all(|page| page.permission != Prot::NONE)
    }
}
