//! The memory map of a process: which pages are mapped, and where the next ones go. Addresses are the same in every run.
//!
//! ```text
//!   PROGRAM        a program that can be anywhere; behind it the heap (`brk`)
//!   MAPPINGS       the dynamic loader, libraries, and what `mmap` gives, from low to high
//!   STACK          the first thread's stack: the highest addresses
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::answer::{Answer, EACCES, EBADF, EEXIST, EFAULT, EINVAL, ENOMEM};
use super::hardware::{Hardware, Permission};
use super::{FileMapping, Process};
use crate::guest::PAGE;

/// Where programs go that can be anywhere. All areas are below 2^38, which every CPU here can address in user mode.
pub(super) const PROGRAM: u64 = 0x10_0000_0000;
/// How much memory a program and its heap may have.
const PROGRAM_SIZE: u64 = 1 << 28;
const MAPPINGS: Range<u64> = 0x20_0000_0000..0x20_4000_0000;
/// The address behind the first thread's stack, and its size, which is that of Linux's limit.
pub(super) const STACK_TOP: u64 = 0x3f_ffff_f000;
const STACK_SIZE: u64 = 8 << 20;

const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_SHARED: u64 = 1;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const MREMAP_MAYMOVE: u64 = 1;
const MADV_DONTNEED: u64 = 4;

/// The stack of the first thread.
pub(super) const fn stack() -> Range<u64> {
    STACK_TOP - STACK_SIZE..STACK_TOP
}

/// The areas in which a process can have memory, by the first address of its program.
pub(super) fn arenas(program: u64) -> [Range<u64>; 3] {
    let low = program & !(PAGE - 1);
    [low..low + PROGRAM_SIZE, MAPPINGS, stack()]
}

/// Which pages are mapped. What each may be used for, the hardware knows.
#[derive(Debug, Clone)]
pub(super) struct MemoryMap {
    /// By the first address: the address behind the last byte, and the permission. Areas do not touch if they are equal.
    areas: BTreeMap<u64, (u64, Permission)>,
    /// Code that was once mapped: nothing else ever goes there, so that an address means one thing in the whole run.
    code: Vec<Range<u64>>,
    /// The heap: where it begins, and ends now.
    heap: Range<u64>,
    /// The area that holds the program and its heap.
    program: Range<u64>,
    /// Where `mmap` finds free pages.
    mappings: Range<u64>,
}

impl MemoryMap {
    pub(super) fn new(program: u64) -> Self {
        let [program, ..] = arenas(program);
        let heap = program.start..program.start;
        Self { areas: BTreeMap::new(), code: Vec::new(), heap, program, mappings: MAPPINGS }
    }

    /// The memory of a function that is called alone, besides what is loaded: for its heap, and for `mmap`.
    pub(super) const fn of_call([heap, mappings]: [Range<u64>; 2]) -> Self {
        Self { areas: BTreeMap::new(), code: Vec::new(), heap: heap.start..heap.start, program: heap, mappings }
    }

    /// The heap begins here.
    pub(super) const fn set_heap(&mut self, start: u64) {
        self.heap = start..start;
    }

    /// Notes that pages are mapped so, or not at all.
    fn note(&mut self, range: &Range<u64>, permission: Option<Permission>) {
        let overlapping: Vec<(u64, (u64, Permission))> = {
            let before = self.areas.range(..range.end).rev().take_while(|(_, (end, _))| *end > range.start);
            before.map(|(start, area)| (*start, *area)).collect()
        };
        for (start, (end, had)) in overlapping {
            self.areas.remove(&start);
            if start < range.start {
                self.areas.insert(start, (range.start, had));
            }
            if end > range.end {
                self.areas.insert(range.end, (end, had));
            }
        }
        if let Some(permission) = permission {
            self.areas.insert(range.start, (range.end, permission));
            if permission.execute {
                self.code.push(range.clone());
            }
        }
    }

    /// The mapped pages around an address that are mapped alike.
    pub(super) fn area_of(&self, address: u64) -> Option<Range<u64>> {
        let (start, (end, _)) = self.areas.range(..=address).next_back()?;
        (address < *end).then_some(*start..*end)
    }

    /// Whether all of a range is mapped.
    fn is_mapped(&self, range: &Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.area_of(at) {
                Some(area) => at = area.end,
                None => return false,
            }
        }
        true
    }

    fn is_free(&self, range: &Range<u64>) -> bool {
        let area = self.areas.range(..range.end).next_back();
        area.is_none_or(|(_, (end, _))| *end <= range.start)
            && !self.code.iter().any(|code| code.start < range.end && range.start < code.end)
    }

    /// The lowest free pages for so many bytes.
    pub(super) fn place(&self, size: u64) -> Option<u64> {
        let mut at = self.mappings.start;
        while at.checked_add(size)? <= self.mappings.end {
            let range = at..at + size;
            let area = self.areas.range(..range.end).next_back().map(|(_, (end, _))| *end);
            let code = self.code.iter().filter(|code| code.start < range.end && range.start < code.end);
            let blocked = area.into_iter().chain(code.map(|code| code.end)).filter(|end| *end > at).max();
            match blocked {
                None => return Some(at),
                Some(end) => at = end,
            }
        }
        None
    }
}

/// Whole pages.
fn pages(address: u64, size: u64) -> Option<Range<u64>> {
    let end = address.checked_add(size)?.checked_next_multiple_of(PAGE)?;
    (address.is_multiple_of(PAGE) && size > 0).then_some(address..end)
}

impl Process {
    /// Maps fresh pages here.
    pub(super) fn map(&mut self, hardware: &mut dyn Hardware, range: &Range<u64>, permission: Permission) -> bool {
        let is_mapped = hardware.map(range, permission);
        if is_mapped {
            self.memory.note(range, Some(permission));
        }
        is_mapped
    }

    pub(super) fn mmap(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [address, size, protection, flags, fd, offset] = arguments;
        let permission = Permission::of_mmap(protection);
        if size == 0 || !offset.is_multiple_of(PAGE) {
            return Answer::error(EINVAL);
        }
        let file = if flags & MAP_ANONYMOUS == 0 {
            let Some(file) = self.files.content(fd) else { return Answer::error(EBADF) };
            if flags & MAP_SHARED != 0 && permission.write {
                return Answer::error(EACCES); // nothing writes files
            }
            Some(file)
        } else {
            None
        };
        let is_fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0;
        let wanted = pages(address, size).filter(|range| is_fixed || (address != 0 && self.memory.is_free(range)));
        let range = match wanted {
            Some(range) if flags & MAP_FIXED_NOREPLACE != 0 && !self.memory.is_free(&range) => {
                return Answer::error(EEXIST);
            }
            Some(range) => range,
            None if is_fixed => return Answer::error(EINVAL),
            None => {
                let Some(size) = size.checked_next_multiple_of(PAGE) else { return Answer::error(ENOMEM) };
                let Some(at) = self.memory.place(size) else { return Answer::error(ENOMEM) };
                at..at + size
            }
        };
        if !self.map(hardware, &range, permission) {
            return Answer::error(ENOMEM);
        }
        if let Some((path, bytes)) = file {
            self.map_file(hardware, (&path, &bytes), &range, offset, permission);
        }
        Answer::value(range.start)
    }

    /// Fills mapped pages from a file, and notes what is there.
    pub(super) fn map_file(
        &mut self,
        hardware: &mut dyn Hardware,
        (path, bytes): (&str, &Arc<Vec<u8>>),
        range: &Range<u64>,
        offset: u64,
        permission: Permission,
    ) {
        let start = (offset as usize).min(bytes.len());
        let end = start + ((range.end - range.start) as usize).min(bytes.len() - start);
        if permission != Permission::default() {
            hardware.load(range.start, &bytes[start..end]);
        } else {
            // What may not be read now may be read later.
            hardware.protect(range, Permission::DATA);
            hardware.load(range.start, &bytes[start..end]);
            hardware.protect(range, permission);
        }
        let mapping = FileMapping {
            path: path.to_owned(),
            bytes: Arc::clone(bytes),
            range: range.clone(),
            offset,
            executable: permission.execute,
        };
        self.mappings.push(mapping);
    }

    pub(super) fn munmap(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let Some(range) = pages(arguments[0], arguments[1]) else { return Answer::error(EINVAL) };
        hardware.protect(&range, Permission::default());
        self.memory.note(&range, None);
        Answer::value(0)
    }

    pub(super) fn mprotect(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [address, size, protection, ..] = arguments;
        if size == 0 {
            return Answer::value(0);
        }
        let Some(range) = pages(address, size) else { return Answer::error(EINVAL) };
        let permission = Permission::of_mmap(protection);
        if !self.memory.is_mapped(&range) || !hardware.protect(&range, permission) {
            return Answer::error(ENOMEM);
        }
        self.memory.note(&range, Some(permission));
        Answer::value(0)
    }

    pub(super) fn madvise(&self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [address, size, advice, ..] = arguments;
        let Some(range) = pages(address, size.max(1)) else { return Answer::error(EINVAL) };
        if advice == MADV_DONTNEED {
            // Those pages read as zeros from now on. (What is a file's should read as the file again: nothing here asks for that.)
            let mut at = range.start;
            while let Some(area) = self.memory.area_of(at).filter(|_| at < range.end) {
                let permission = self.memory.areas.get(&area.start).map_or(Permission::default(), |(_, it)| *it);
                hardware.map(&(at..area.end.min(range.end)), permission);
                at = area.end;
            }
        }
        Answer::value(0)
    }

    pub(super) fn brk(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let wanted = arguments[0];
        let heap = self.memory.heap.clone();
        let (old, new) = (heap.end.next_multiple_of(PAGE), wanted.saturating_add(PAGE - 1) & !(PAGE - 1));
        if wanted < heap.start || new > self.memory.program.end {
            return Answer::value(heap.end); // unchanged: it has failed
        }
        if new > old && !self.map(hardware, &(old..new), Permission::DATA) {
            return Answer::value(heap.end);
        }
        if new < old {
            hardware.protect(&(new..old), Permission::default());
            self.memory.note(&(new..old), None);
        }
        self.memory.heap.end = wanted;
        Answer::value(wanted)
    }

    pub(super) fn mremap(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [address, old_size, new_size, flags, ..] = arguments;
        let (Some(old), Some(new)) = (pages(address, old_size), pages(address, new_size)) else {
            return Answer::error(EINVAL);
        };
        let Some(area) = self.memory.area_of(address).filter(|area| area.end >= old.end) else {
            return Answer::error(EFAULT);
        };
        let permission = self.memory.areas.get(&area.start).map_or(Permission::DATA, |(_, it)| *it);
        if new.end <= old.end {
            if new.end < old.end {
                hardware.protect(&(new.end..old.end), Permission::default());
                self.memory.note(&(new.end..old.end), None);
            }
            return Answer::value(address);
        }
        let more = old.end..new.end;
        if self.memory.is_free(&more) && self.map(hardware, &more, permission) {
            return Answer::value(address);
        }
        let size = new.end - new.start;
        let Some(at) = self.memory.place(size).filter(|_| flags & MREMAP_MAYMOVE != 0) else {
            return Answer::error(ENOMEM);
        };
        let mut bytes = vec![0; (old.end - old.start) as usize];
        if !hardware.read(old.start, &mut bytes) || !self.map(hardware, &(at..at + size), permission) {
            return Answer::error(ENOMEM);
        }
        hardware.load(at, &bytes);
        hardware.protect(&old, Permission::default());
        self.memory.note(&old, None);
        Answer::value(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAPPINGS, MemoryMap, PROGRAM, Permission};
    use crate::guest::PAGE;

    fn map_with(ranges: &[(u64, u64)]) -> MemoryMap {
        let mut map = MemoryMap::new(PROGRAM);
        for (from, to) in ranges {
            map.note(&(MAPPINGS.start + from * PAGE..MAPPINGS.start + to * PAGE), Some(Permission::DATA));
        }
        map
    }

    #[test]
    fn the_lowest_free_pages_are_taken() {
        let map = map_with(&[(0, 2), (3, 5)]);
        assert_eq!(map.place(PAGE), Some(MAPPINGS.start + 2 * PAGE));
        assert_eq!(map.place(2 * PAGE), Some(MAPPINGS.start + 5 * PAGE));
        assert_eq!(map.place(1 << 40), None);
    }

    #[test]
    fn what_was_code_is_never_something_else() {
        let mut map = map_with(&[]);
        let range = MAPPINGS.start..MAPPINGS.start + PAGE;
        map.note(&range, Some(Permission::CODE));
        map.note(&range, None);
        assert_eq!(map.place(PAGE), Some(MAPPINGS.start + PAGE));
        assert!(!map.is_free(&range));
    }

    #[test]
    fn a_hole_in_an_area_leaves_two() {
        let mut map = map_with(&[(0, 4)]);
        let page = |number: u64| MAPPINGS.start + number * PAGE;
        map.note(&(page(1)..page(2)), None);
        assert_eq!(map.area_of(page(0)), Some(page(0)..page(1)));
        assert_eq!(map.area_of(page(1)), None);
        assert_eq!(map.area_of(page(3)), Some(page(2)..page(4)));
        assert!(!map.is_mapped(&(page(0)..page(4))));
        assert!(map.is_mapped(&(page(2)..page(4))));
    }
}
