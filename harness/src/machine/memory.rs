//! Guest memory: the harness owns it and lends it to the emulator.

use std::alloc::Layout;
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Range;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

use unicorn_engine::Prot;

use super::pages::Watch;
use crate::guest::layout::Stack;
use crate::guest::{Guest, PAGE, Segment};
use crate::trace::Memory;

/// Guest memory. The emulator writes to it while the guest runs; the harness reads it while the guest is stopped.
#[derive(Debug)]
pub struct GuestMemory {
    /// Writable regions first: stacks are read most.
    pub(super) regions: Vec<Region>,
    /// The guard pages between stacks: mapped, but not accessible.
    guards: Vec<Range<u64>>,
    /// The addresses of the words that the harness has written since the last [`GuestMemory::take_writes`].
    pub(super) writes: RefCell<Vec<u64>>,
    /// This memory, for engines that share it.
    this: Weak<Self>,
    /// Set where it matters which pages are used.
    watch: OnceCell<Watch>,
    /// The index of the region that was read last: most likely the next word is there too.
    latest: Cell<usize>,
}

/// A mapped page, and what it may be used for; it may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedPage {
    /// Its address.
    pub address: u64,
    /// It may be executed.
    pub executable: bool,
    /// It may be written.
    pub writable: bool,
}

/// A page that nobody has written.
const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// A mapped range of guest memory.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) address: u64,
    pub(super) size: usize,
    pub(super) permission: Prot,
    pub(super) bytes: NonNull<u8>,
    /// The permission of each page, where a process maps and unmaps them; elsewhere all pages have that of the region.
    pub(super) pages: Option<super::permission::Pages>,
    /// The allocation that holds the bytes, until the region is dropped.
    _block: Block,
}

/// Zeroed memory straight from the allocator: pages that nobody touches need no memory of the host. (The allocator clears what must
/// be aligned by itself, and touches it all; so the block is a page larger, and its use begins at the first page in it.)
#[derive(Debug)]
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// A block for so many bytes of whole pages.
    fn new(size: usize) -> Self {
        let layout = Layout::array::<u8>(size + PAGE as usize).unwrap_or(Layout::new::<u64>());
        // SAFETY: the layout has a size: at least that of a page, or of a word.
        let start = unsafe { std::alloc::alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Self { start, layout },
            None => std::alloc::handle_alloc_error(layout),
        }
    }

    /// The first page in it.
    fn pages(&self) -> NonNull<u8> {
        let lead = self.start.as_ptr().align_offset(PAGE as usize);
        // SAFETY: less than a page, which the block has beyond its size.
        unsafe { self.start.add(lead.min(PAGE as usize)) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `Block::new` made exactly this allocation, and nothing else frees it. The engine that was lent the memory is
        // gone: `Machine` drops it before its memory.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Region {
    fn new(segment: &Segment) -> Self {
        let permission = Prot::READ
            | if segment.executable { Prot::EXEC } else { Prot::NONE }
            | if segment.writable { Prot::WRITE } else { Prot::NONE };
        let region = Self::zeroed(segment.address, segment.data.len(), permission);
        for (number, data) in segment.data.chunks_exact(PAGE as usize).enumerate() {
            // A page of zeros that nobody touches needs no memory of the host: a guest may have a .bss of a gigabyte.
            if data != ZEROS {
                // SAFETY: the page is inside the allocation, and no engine knows it yet.
                unsafe {
                    region
                        .bytes
                        .add(number * PAGE as usize)
                        .copy_from_nonoverlapping(NonNull::from(data).cast(), data.len());
                }
            }
        }
        region
    }

    /// Whole pages of zeros.
    pub(super) fn zeroed(address: u64, size: usize, permission: Prot) -> Self {
        let block = Block::new(size);
        Self { address, size, permission, bytes: block.pages(), pages: None, _block: block }
    }

    /// The permission of the page that holds an address of this region.
    pub(super) fn permission_at(&self, address: u64) -> Prot {
        match &self.pages {
            None => self.permission,
            Some(pages) => pages.at(address.wrapping_sub(self.address)),
        }
    }

    /// Whether bytes at an offset, which are inside, are mapped and may be read.
    fn is_readable(&self, offset: usize, size: usize) -> bool {
        self.pages.as_ref().is_none_or(|pages| pages.are_readable(offset, size))
    }

    /// The offset of `size` bytes at `address`, if they are all inside.
    pub(super) fn offset(&self, address: u64, size: usize) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok()?;
        (offset <= self.size.checked_sub(size)?).then_some(offset)
    }
}

impl GuestMemory {
    pub(super) fn new(guest: &Guest) -> Self {
        let mut regions: Vec<_> = guest.segments.iter().map(Region::new).collect();
        regions.sort_by_key(|region| region.permission & Prot::WRITE == Prot::NONE);
        Self::of_regions(regions)
    }

    /// Memory of these regions.
    pub(super) fn of_regions(regions: Vec<Region>) -> Self {
        let (writes, watch, latest) = (RefCell::default(), OnceCell::new(), Cell::new(0));
        Self { regions, guards: Vec::new(), writes, this: Weak::new(), watch, latest }
    }

    /// The same memory, to be shared by engines.
    pub(super) fn share(self) -> Rc<Self> {
        Rc::new_cyclic(|this| Self { this: Weak::clone(this), ..self })
    }

    /// This memory, if it is shared.
    pub(super) fn shared(&self) -> Option<Rc<Self>> {
        self.this.upgrade()
    }

    /// A copy of a guest's memory, whatever holds it.
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
        Self::of_regions(regions)
    }

    /// Watches from now on which pages are used. A second call changes nothing.
    pub(super) fn watch(&self, watch: Watch) {
        let _ = self.watch.set(watch);
    }

    /// Watches from now on which pages are used, if nobody does yet.
    pub(super) fn watched_or(&self, watch: impl FnOnce() -> Watch) -> &Watch {
        self.watch.get_or_init(watch)
    }

    /// What is known of the used pages, if they are watched.
    pub(super) fn watched(&self) -> Option<&Watch> {
        self.watch.get()
    }

    /// Notes the use of mapped bytes. False if a frozen case does not hold them.
    pub(super) fn may_use(&self, address: u64, size: usize) -> bool {
        self.watch.get().is_none_or(|watch| watch.uses(address, size))
    }

    /// Restores bytes that were overwritten.
    pub(super) fn restore(&self, address: u64, bytes: &[u8]) {
        if let Some((region, offset)) =
            self.regions.iter().find_map(|region| Some((region, region.offset(address, bytes.len())?)))
        {
            // SAFETY: the bytes are inside the allocation, which Rust code reaches only through raw pointers, and both engines
            // over it are stopped.
            unsafe { region.bytes.add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        }
    }

    /// Turns the whole pages between the stacks, which are in ascending order, into guard pages. There may be data below the
    /// lowest stack, so it has none.
    pub(super) fn guard(&mut self, stacks: &[Stack]) {
        let gaps = stacks.windows(2).map(|pair| (pair[0].bounds.high, pair[1].bounds.low));
        let pages = gaps.map(|(low, high)| low.next_multiple_of(PAGE)..high & !(PAGE - 1));
        self.guards = pages.filter(|range| !range.is_empty()).collect();
    }

    /// Whether this address lies in a guard page.
    #[must_use]
    pub fn is_guard(&self, address: u64) -> bool {
        self.guards.iter().any(|range| range.contains(&address))
    }

    /// Writes a word while the guest is stopped: before its start, or as the hardware does when it takes an exception. False
    /// if the word is not mapped, or in a guard page.
    pub fn write_u64(&self, address: u64, value: u64) -> bool {
        !self.is_guard(address)
            && self.regions.iter().any(|region| {
                let Some(offset) = region.offset(address, 8).filter(|_| self.may_use(address, 8)) else { return false };
                // SAFETY: the eight bytes are inside the allocation, which Rust code reaches only through raw pointers, and the
                // guest is stopped, as for `read_u64`.
                unsafe { region.bytes.add(offset).cast::<[u8; 8]>().write(value.to_le_bytes()) };
                self.writes.borrow_mut().push(address);
                true
            })
    }

    /// The words that the harness has written since the last call.
    pub(super) fn take_writes(&self) -> Vec<u64> {
        self.writes.take()
    }

    /// The mapped pages, by address.
    #[must_use]
    pub fn mapped(&self) -> Vec<MappedPage> {
        let of_region = |region: &Region| -> Vec<MappedPage> {
            let pages = (region.address..region.address + region.size as u64).step_by(PAGE as usize);
            let mapped = pages.map(|address| (address, region.permission_at(address)));
            let mapped = mapped.filter(|(_, permission)| *permission != Prot::NONE);
            mapped
                .map(|(address, permission)| MappedPage {
                    address,
                    executable: permission & Prot::EXEC != Prot::NONE,
                    writable: permission & Prot::WRITE != Prot::NONE,
                })
                .collect()
        };
        let mut pages: Vec<_> = self.regions.iter().flat_map(of_region).collect();
        pages.sort_by_key(|page| page.address);
        pages
    }

    /// Where these bytes are, if they are mapped and may be read; notes that they are used.
    #[inline]
    fn readable(&self, address: u64, size: usize) -> Option<NonNull<u8>> {
        let latest = self.regions.get(self.latest.get())?;
        match latest.offset(address, size) {
            // SAFETY: the offset is inside the allocation.
            Some(offset) if latest.pages.is_none() && self.watch.get().is_none() => unsafe {
                Some(latest.bytes.add(offset))
            },
            _ => self.find_readable(address, size),
        }
    }

    #[cold]
    fn find_readable(&self, address: u64, size: usize) -> Option<NonNull<u8>> {
        let holds = |region: &Region| region.offset(address, size).is_some();
        let index = self.regions.iter().position(holds)?;
        let region = &self.regions[index];
        let offset = region.offset(address, size).filter(|_| self.may_use(address, size))?;
        if !region.is_readable(offset, size) {
            return None;
        }
        self.latest.set(index);
        // SAFETY: the offset is inside the allocation.
        Some(unsafe { region.bytes.add(offset) })
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
        let Some(start) = self.readable(address, bytes.len()) else { return false };
        // SAFETY: all the bytes are inside the allocation, as for `read_u64`; `bytes` is Rust's own memory.
        unsafe { start.copy_to_nonoverlapping(NonNull::from(&mut *bytes).cast(), bytes.len()) };
        true
    }

    fn holds(&self, address: u64, bytes: &[u8]) -> bool {
        let Some(start) = self.readable(address, bytes.len()) else { return false };
        // SAFETY: all the bytes are inside the allocation, and nobody writes to it while the slice lives: the guest is stopped, as for
        // `read_u64`.
        let found = unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes.len()) };
        found == bytes
    }

    fn read_u64(&self, address: u64) -> Option<u64> {
        let start = self.readable(address, 8)?;
        // SAFETY: the eight bytes are inside the allocation. Only the guest writes to it during a run, and the guest is stopped
        // whenever this can be called: it runs on this thread, inside `Machine::drive`.
        let bytes = unsafe { start.cast::<[u8; 8]>().read() };
        Some(u64::from_le_bytes(bytes))
    }
}
