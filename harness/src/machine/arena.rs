//! Areas of a process's memory: their pages are mapped, protected and unmapped while it runs.

use std::ops::Range;
use std::ptr::NonNull;

use unicorn_engine::Prot;

use super::memory::{GuestMemory, Region};
use super::permission::Pages;
use crate::guest::PAGE;
use crate::user::process::Permission;

/// An area without any mapped page.
fn region(address: u64, size: usize) -> Region {
    let mut region = Region::zeroed(address, size, Prot::NONE);
    region.pages = Some(Pages::unmapped(size));
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
    /// The memory of a process: areas of pages, of which none is mapped yet.
    pub(super) fn of_arenas(arenas: &[Range<u64>]) -> Self {
        let regions = arenas.iter().map(|arena| region(arena.start, (arena.end - arena.start) as usize));
        Self::of_regions(regions.collect())
    }

    /// Gives whole pages this permission; those that are `fresh` become zeros first. False outside of the areas.
    pub(super) fn set_pages(&self, range: &Range<u64>, permission: Permission, fresh: bool) -> bool {
        let size = (range.end - range.start) as usize;
        let found = self.regions.iter().find_map(|region| Some((region, region.offset(range.start, size)?)));
        let Some((region, offset)) = found else { return false };
        let Some(pages) = &region.pages else { return false };
        let (first, prot) = (offset / PAGE as usize, prot(permission));
        pages.set(first..first + size / PAGE as usize, prot, fresh, |index| {
            // SAFETY: the page is inside the allocation, which Rust code reaches only through raw pointers, and the guest is stopped.
            unsafe { region.bytes.add(index * PAGE as usize).write_bytes(0, PAGE as usize) };
        });
        true
    }

    /// Makes pages zeros that are mapped all the time. False if they are not.
    pub(super) fn clear(&self, range: &Range<u64>) -> bool {
        let size = (range.end - range.start) as usize;
        let found = self.regions.iter().find_map(|region| Some((region, region.offset(range.start, size)?)));
        let Some((region, offset)) = found.filter(|(region, _)| region.permission & Prot::WRITE != Prot::NONE) else {
            return false;
        };
        for page in (offset..offset + size).step_by(PAGE as usize) {
            // SAFETY: the page is inside the allocation, which Rust code reaches only through raw pointers, and the guest is stopped.
            let bytes = unsafe { region.bytes.add(page).cast::<[u8; PAGE as usize]>().read() };
            if bytes.iter().any(|byte| *byte != 0) {
                // SAFETY: as above.
                unsafe { region.bytes.add(page).write_bytes(0, PAGE as usize) };
            }
        }
        true
    }

    /// Writes bytes while the guest is stopped, where all their pages may be written; or, for a loader, wherever they are mapped.
    pub(super) fn write_bytes(&self, address: u64, bytes: &[u8], is_loader: bool) -> bool {
        if bytes.is_empty() {
            return true;
        }
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
