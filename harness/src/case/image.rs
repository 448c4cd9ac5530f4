//! Memory that is put together page by page.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX_MAPPED;
use crate::guest::{PAGE, Segment};

/// A page.
struct Mapped {
    bytes: Box<[u8; PAGE as usize]>,
    executable: bool,
    writable: bool,
}

/// The pages, by address.
#[derive(Default)]
pub(super) struct Image {
    pages: BTreeMap<u64, Mapped>,
}

impl Image {
    fn page(&mut self, address: u64, executable: bool, writable: bool) -> Result<&mut Mapped, String> {
        let most = (MAX_MAPPED / PAGE) as usize;
        if self.pages.len() >= most && !self.pages.contains_key(&address) {
            return Err(format!("more than {MAX_MAPPED:#x} bytes are mapped"));
        }
        let new = || Mapped { bytes: Box::new([0; PAGE as usize]), executable, writable };
        Ok(self.pages.entry(address).or_insert_with(new))
    }

    /// Loads a segment.
    pub(super) fn load(&mut self, segment: Segment) -> Result<(), String> {
        let Segment { address, data, executable, writable } = segment;
        for (page, bytes) in (address..).step_by(PAGE as usize).zip(data.chunks(PAGE as usize)) {
            let mapped = self.page(page, executable, writable)?;
            mapped.bytes[..bytes.len()].copy_from_slice(bytes);
            mapped.executable |= executable;
            mapped.writable |= writable;
        }
        Ok(())
    }

    /// Makes room for a stack where nothing is mapped, filled with words that are neither addresses nor small.
    pub(super) fn stack(&mut self, low: u64, high: u64) -> Result<(), String> {
        for page in (low & !(PAGE - 1)..high).step_by(PAGE as usize) {
            if let Some(mapped) = self.pages.get_mut(&page) {
                mapped.writable = true;
                continue;
            }
            let mapped = self.page(page, false, true)?;
            for (address, word) in (page..).step_by(8).zip(mapped.bytes.chunks_exact_mut(8)) {
                word.copy_from_slice(&(address.rotate_left(17) ^ 0x5a5a_5a5a_5a5a_5a5b).to_le_bytes());
            }
        }
        Ok(())
    }

    /// Maps a page for code of which nothing will run, if nothing is mapped there.
    pub(super) fn fill(&mut self, page: u64) -> Result<(), String> {
        self.page(page, true, false).map(drop)
    }

    /// Puts bytes from the start of a page on. Pages that are not mapped may then be read, and written and executed as well, unless
    /// `permission` (executable, writable) says otherwise.
    pub(super) fn put(&mut self, address: u64, data: &[u8], permission: Option<(bool, bool)>) -> Result<(), String> {
        if address.checked_add(data.len() as u64).is_none() {
            return Err(format!("{address:#x}: it wraps around the address space"));
        }
        for (page, bytes) in (address..).step_by(PAGE as usize).zip(data.chunks(PAGE as usize)) {
            let mapped = self.page(page, true, true)?;
            mapped.bytes[..bytes.len()].copy_from_slice(bytes);
            if let Some((executable, writable)) = permission {
                (mapped.executable, mapped.writable) = (executable, writable);
            }
        }
        Ok(())
    }

    /// Whether all these bytes are mapped.
    pub(super) fn holds(&self, address: u64, size: u64) -> bool {
        let Some(end) = address.checked_add(size) else { return false };
        (address & !(PAGE - 1)..end).step_by(PAGE as usize).all(|page| self.pages.contains_key(&page))
    }

    /// The memory as segments, and the addresses of all pages.
    pub(super) fn finish(self) -> (Vec<Segment>, BTreeSet<u64>) {
        let mut segments: Vec<Segment> = Vec::new();
        let held = self.pages.keys().copied().collect();
        for (address, Mapped { bytes, executable, writable }) in self.pages {
            match segments.last_mut() {
                Some(last) if last.end() == address && (last.executable, last.writable) == (executable, writable) => {
                    last.data.extend_from_slice(&*bytes);
                }
                _ => segments.push(Segment { address, data: bytes.to_vec(), executable, writable }),
            }
        }
        (segments, held)
    }
}
