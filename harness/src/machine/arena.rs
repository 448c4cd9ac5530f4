//! Areas of a process's memory: their pages are mapped, protected and unmapped while it runs.

use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;

use unicorn_engine::Prot;

use super::memory::{GuestMemory, Region};
use crate::guest::PAGE;
use crate::user::process::Permission;

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

/// An area without any mapped page.
pub(super) fn region(address: u64, size: usize) -> Region {
    let page = Page { permission: Prot::NONE, was_used: false };
    let pages = Pages(RefCell::new(vec![page; size / PAGE as usize]));
    let mut region = Region::zeroed(address, size, Prot::NONE);
    region.pages = Some(pages);
    region
}

fn prot(permission: Permission) -> Prot {
    // Whatever can be written or executed can be read: no CPU's page tables here can say otherwise for user mode.
    let is_any = permission.read || permission.write || permission.execute;
    (if is_any { Prot::READ } else { Prot::NONE })
        | (if permission.write { Prot::WRITE } else { Prot::NONE })
        | (if permission.execute { Prot::EXEC } else { Prot::NONE })
}

impl GuestMemory {
    /// Gives whole pages this permission; those that are `fresh` become zeros first. False outside of the areas.
    pub(super) fn set_pages(&self, range: &Range<u64>, permission: Permission, fresh: bool) -> bool {
        let size = (range.end - range.start) as usize;
        let found = self.regions.iter().find_map(|region| Some((region, region.offset(range.start, size)?)));
        let Some((region, offset)) = found else { return false };
        let Some(pages) = &region.pages else { return false };
        let (first, prot) = (offset / PAGE as usize, prot(permission));
        for (index, page) in pages.0.borrow_mut().iter_mut().enumerate().skip(first).take(size / PAGE as usize) {
            if fresh && page.was_used {
                // SAFETY: the page is inside the allocation, which Rust code reaches only through raw pointers, and the guest is
                // stopped.
                unsafe { region.bytes.add(index * PAGE as usize).write_bytes(0, PAGE as usize) };
                page.was_used = false;
            }
            page.permission = prot;
            page.was_used |= prot != Prot::NONE;
        }
        true
    }

    /// Writes bytes while the guest is stopped, where all their pages may be written; or, for a loader, wherever they are mapped.
    pub(super) fn write_bytes(&self, address: u64, bytes: &[u8], is_loader: bool) -> bool {
        let found = self.regions.iter().find_map(|region| Some((region, region.offset(address, bytes.len())?)));
        let Some((region, offset)) = found else { return false };
        let last = address + (bytes.len() as u64).saturating_sub(1);
        let needs = if is_loader { Prot::READ } else { Prot::WRITE };
        let mut pages = (address & !(PAGE - 1)..=last).step_by(PAGE as usize);
        if pages.any(|page| region.permission_at(page) & needs == Prot::NONE) {
            return false;
        }
        // SAFETY: the bytes are inside the allocation, which Rust code reaches only through raw pointers, and the guest is stopped.
        unsafe { region.bytes.add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        self.writes.borrow_mut().extend((address & !7..address + bytes.len() as u64).step_by(8));
        true
    }
}
