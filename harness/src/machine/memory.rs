//! Guest memory: the harness owns it and lends it to the emulator.

use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;

use unicorn_engine::Prot;

use crate::guest::layout::Stack;
use crate::guest::{Guest, PAGE, Segment};
use crate::trace::Memory;

/// Guest memory. The emulator writes to it while the guest runs; the harness reads it while the guest stands still.
#[derive(Debug)]
pub struct GuestMemory {
    /// Writable regions first: stacks are read most.
    pub(super) regions: Vec<Region>,
    /// The pages between stacks: mapped, but no access is allowed.
    guards: Vec<Range<u64>>,
    /// The addresses of words that the harness has written since somebody asked.
    writes: RefCell<Vec<u64>>,
}

/// A mapped range of guest memory.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) address: u64,
    pub(super) size: usize,
    pub(super) permission: Prot,
    pub(super) bytes: NonNull<u8>,
}

/// The unit of allocation; its alignment makes host pages of guest pages.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; PAGE as usize]);

impl Region {
    fn new(segment: &Segment) -> Self {
        let mut pages = vec![Page([0; PAGE as usize]); segment.data.len() / PAGE as usize];
        for (page, data) in pages.iter_mut().zip(segment.data.chunks_exact(PAGE as usize)) {
            page.0.copy_from_slice(data);
        }
        let pages = Box::leak(pages.into_boxed_slice());
        let permission = Prot::READ
            | if segment.executable { Prot::EXEC } else { Prot::NONE }
            | if segment.writable { Prot::WRITE } else { Prot::NONE };
        Self {
            address: segment.address,
            size: segment.data.len(),
            permission,
            bytes: NonNull::from(&mut *pages).cast(),
        }
    }

    /// The offset of `size` bytes at `address`, if they are all inside.
    fn offset(&self, address: u64, size: usize) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok()?;
        (offset <= self.size.checked_sub(size)?).then_some(offset)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let pages = NonNull::slice_from_raw_parts(self.bytes.cast::<Page>(), self.size / PAGE as usize);
        // SAFETY: `Region::new` leaked exactly this box, and nothing else frees it. The engine that was lent the memory is
        // gone: `Machine` drops it before its memory.
        drop(unsafe { Box::from_raw(pages.as_ptr()) });
    }
}

impl GuestMemory {
    pub(super) fn new(guest: &Guest) -> Self {
        let mut regions: Vec<_> = guest.segments.iter().map(Region::new).collect();
        regions.sort_by_key(|region| region.permission & Prot::WRITE == Prot::NONE);
        Self { regions, guards: Vec::new(), writes: RefCell::default() }
    }

    /// A copy of a guest's memory as somebody else has it.
    pub(super) fn copy(guest: &Guest, from: &dyn Memory) -> Self {
        let mut segments = guest.segments.clone();
        for segment in &mut segments {
            let pages = (segment.address..).step_by(PAGE as usize);
            for (address, page) in pages.zip(segment.data.chunks_exact_mut(PAGE as usize)) {
                let mut bytes = [0; PAGE as usize];
                if from.read(address, &mut bytes) {
                    page.copy_from_slice(&bytes);
                }
            }
        }
        let mut regions: Vec<_> = segments.iter().map(Region::new).collect();
        regions.sort_by_key(|region| region.permission & Prot::WRITE == Prot::NONE);
        Self { regions, guards: Vec::new(), writes: RefCell::default() }
    }

    /// Puts bytes back that were there before.
    pub(super) fn restore(&self, address: u64, bytes: &[u8]) {
        if let Some((region, offset)) =
            self.regions.iter().find_map(|region| Some((region, region.offset(address, bytes.len())?)))
        {
            // SAFETY: the bytes are inside the allocation, which Rust code reaches only through raw pointers, and both engines
            // over it stand still.
            unsafe { region.bytes.add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
    }

    /// Makes guard pages of whatever whole pages lie between the stacks, which are in ascending order. Below the lowest
    /// one there may be data, so it has no guard.
    pub(super) fn guard(&mut self, stacks: &[Stack]) {
        let gaps = stacks.windows(2).map(|pair| (pair[0].bounds.high, pair[1].bounds.low));
        let pages = gaps.map(|(low, high)| low.next_multiple_of(PAGE)..high & !(PAGE - 1));
        self.guards = pages.filter(|range| !range.is_empty()).collect();
    }

    /// Whether nothing may touch this address because it lies in a guard page.
    #[must_use]
    pub fn is_guard(&self, address: u64) -> bool {
        self.guards.iter().any(|range| range.contains(&address))
    }

    /// Writes a word while the guest stands still: before its start, or as hardware does when it takes an exception. False
    /// when it is not mapped, or in a guard page.
    pub fn write_u64(&self, address: u64, value: u64) -> bool {
        !self.is_guard(address)
            && self.regions.iter().any(|region| {
                let Some(offset) = region.offset(address, 8) else { return false };
                // SAFETY: the eight bytes are inside the allocation, which Rust code reaches only through raw pointers, and the
                // guest stands still, as for `read_u64`.
                unsafe { region.bytes.add(offset).cast::<[u8; 8]>().write(value.to_le_bytes()) };
                self.writes.borrow_mut().push(address);
                true
            })
    }

    /// Which words the harness has written since this was called last.
    pub(super) fn take_writes(&self) -> Vec<u64> {
        self.writes.take()
    }

    pub(super) fn region(&self, address: u64) -> Option<&Region> {
        self.regions.iter().find(|region| region.offset(address, 1).is_some())
    }
}

impl Memory for GuestMemory {
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.regions.iter().any(|region| {
            let Some(offset) = region.offset(address, bytes.len()) else { return false };
            // SAFETY: all the bytes are inside the allocation, as for `read_u64`; `bytes` is Rust's own memory.
            unsafe { region.bytes.add(offset).copy_to_nonoverlapping(NonNull::from(&mut *bytes).cast(), bytes.len()) };
            true
        })
    }

    fn read_u64(&self, address: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = region.offset(address, 8)?;
            // SAFETY: the eight bytes are inside the allocation. The guest, which alone writes to it during a run, stands
            // still while this can be called: it runs on this thread, inside `Machine::drive`.
            let bytes = unsafe { region.bytes.add(offset).cast::<[u8; 8]>().read() };
            Some(u64::from_le_bytes(bytes))
        })
    }
}
