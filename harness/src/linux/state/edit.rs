//! A copy of an image, into which the state of a running kernel is written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use super::super::{KernelImage, KernelSymbols, refused};
use super::OfCpu;
use crate::Error;
use crate::guest::{PAGE, Segment, Symbol, Symbols};

/// How much memory of ours there is, in bytes.
const SCRATCH: u64 = 2 << 20;

/// An image that is being edited.
pub(super) struct Edit<'i> {
    image: &'i KernelImage,
    segments: Vec<Segment>,
    /// Memory of ours, and the first free byte of it.
    scratch: Range<u64>,
    free: u64,
    /// Text of ours, in place of functions that run only at boot, and its first free byte. Unwinders ask whether an address is in
    /// the kernel's text.
    text: Range<u64>,
    free_text: u64,
    /// The functions that were placed there.
    stubs: Vec<Symbol>,
    /// The offsets and sizes that were asked for.
    offsets: RefCell<BTreeMap<String, u64>>,
    /// The capabilities of the CPU whose alternatives are applied, by the kernel's names for them.
    pub(super) alternatives: Vec<String>,
    /// Whether the kernel's own scheduler switches tasks.
    pub(super) has_real_scheduler: bool,
}

impl<'i> Edit<'i> {
    pub(super) fn new(image: &'i KernelImage, of_cpu: &dyn OfCpu) -> Result<Self, Error> {
        let (scratch, text) = (of_cpu.scratch(), of_cpu.spare_text(image)?);
        let mut segments = segments(image, &of_cpu.text(image)?)?;
        let zeros = vec![0; SCRATCH as usize];
        segments.push(Segment { address: scratch, data: zeros, executable: false, writable: true });
        Ok(Self {
            image,
            segments,
            scratch: scratch..scratch + SCRATCH,
            free: scratch + PAGE,
            free_text: text.start.next_multiple_of(16),
            text,
            stubs: Vec::new(),
            offsets: RefCell::default(),
            alternatives: Vec::new(),
            has_real_scheduler: false,
        })
    }

    pub(super) const fn image(&self) -> &'i KernelImage {
        self.image
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        refused(&self.image.path, reason.into())
    }

    pub(super) fn address(&self, name: &str) -> Result<u64, Error> {
        self.image.address(name)
    }

    /// The address of a function: of one alone.
    pub(super) fn function(&self, name: &str) -> Result<u64, Error> {
        let symbol = self.image.symbol(name)?;
        if symbol.is_function { Ok(symbol.address) } else { Err(self.refuse(format!("{name} is no function"))) }
    }

    pub(super) fn offset(&self, type_name: &str, path: &str) -> Result<u64, Error> {
        let offset = self.image.offset(type_name, path)?;
        self.offsets.borrow_mut().insert(format!("{type_name}.{path}"), offset);
        Ok(offset)
    }

    pub(super) fn size(&self, type_name: &str) -> Result<u64, Error> {
        let size = self.image.size(type_name)?;
        self.offsets.borrow_mut().insert(format!("sizeof({type_name})"), size);
        Ok(size)
    }

    /// The offsets and sizes in bytes that were asked for, by their names.
    pub(super) fn offsets(&self) -> BTreeMap<String, u64> {
        self.offsets.borrow().clone()
    }

    /// Memory of ours.
    pub(super) fn scratch(&self) -> Range<u64> {
        self.scratch.clone()
    }

    /// Whether the kernel's text is there.
    pub(super) fn is_text(&self, at: u64) -> bool {
        self.segments.iter().any(|segment| segment.executable && (segment.address..segment.end()).contains(&at))
    }

    /// Zeroed memory of ours.
    pub(super) fn allocate(&mut self, size: u64, align: u64) -> Result<u64, Error> {
        let at = self.free.next_multiple_of(align);
        let end = at.checked_add(size).filter(|end| *end <= self.scratch.end);
        self.free =
            end.ok_or_else(|| self.refuse(format!("its workload needs more than {SCRATCH:#x} bytes of memory")))?;
        Ok(at)
    }

    /// Zeroed memory of ours with these bytes in it.
    pub(super) fn place(&mut self, bytes: &[u8], align: u64) -> Result<u64, Error> {
        let at = self.allocate(bytes.len() as u64, align)?;
        self.set(at, bytes)?;
        Ok(at)
    }

    /// Where the next function of ours will stand.
    pub(super) const fn next_code(&self) -> u64 {
        self.free_text
    }

    /// The bytes of a range.
    pub(super) fn read(&self, range: Range<u64>) -> Result<&[u8], Error> {
        let inside = |segment: &&Segment| segment.address <= range.start && range.end <= segment.end();
        let segment = self.segments.iter().find(inside);
        let found = segment.and_then(|segment| {
            segment.data.get((range.start - segment.address) as usize..(range.end - segment.address) as usize)
        });
        found.ok_or_else(|| self.refuse(format!("{:#x} lies outside of the image", range.start)))
    }

    /// A function of ours.
    pub(super) fn code(&mut self, name: &str, bytes: &[u8]) -> Result<u64, Error> {
        let at = self.free_text;
        self.free_text = (at + bytes.len() as u64 + 4).next_multiple_of(16);
        if self.free_text > self.text.end {
            return Err(self.refuse("its spare text is too small for the functions of ours that go there"));
        }
        self.set(at, bytes)?;
        self.stubs.push(Symbol {
            name: name.to_owned(),
            address: at,
            size: bytes.len() as u64,
            is_function: true,
            is_global: true,
            is_size_inferred: false,
        });
        Ok(at)
    }

    fn slice(&mut self, at: u64, size: usize) -> Result<&mut [u8], Error> {
        let is_it = |segment: &&mut Segment| segment.address <= at && at + size as u64 <= segment.end();
        let outside = refused(&self.image.path, format!("{at:#x} lies outside of the image"));
        let segment = self.segments.iter_mut().find(is_it).ok_or(outside)?;
        let start = (at - segment.address) as usize;
        Ok(&mut segment.data[start..start + size])
    }

    pub(super) fn set(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.slice(at, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn set_u64(&mut self, at: u64, value: u64) -> Result<(), Error> {
        self.set(at, &value.to_le_bytes())
    }

    pub(super) fn set_u32(&mut self, at: u64, value: u32) -> Result<(), Error> {
        self.set(at, &value.to_le_bytes())
    }

    pub(super) fn u64_at(&self, at: u64) -> Result<u64, Error> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    pub(super) fn u32_at(&self, at: u64) -> Result<u32, Error> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    pub(super) fn bytes<const N: usize>(&self, at: u64) -> Result<[u8; N], Error> {
        let found = self.read(at..at.saturating_add(N as u64))?;
        found.try_into().map_err(|_| self.refuse(format!("{at:#x} lies outside of the image")))
    }

    /// The edited memory, and the symbols: functions of ours stand in place of the one that they have overwritten.
    pub(super) fn finish(self) -> (Vec<Segment>, Symbols) {
        let symbols = self.image.symbols.to_guest();
        let kept = symbols.all().iter().filter(|symbol| !self.text.contains(&symbol.address)).cloned();
        let symbols = KernelSymbols::as_guest(kept.chain(self.stubs).collect());
        (self.segments, symbols)
    }
}

/// The image's memory in whole pages: its text, which may be executed and not written, and all else the other way round.
fn segments(image: &KernelImage, text: &[Range<u64>]) -> Result<Vec<Segment>, Error> {
    let whole_pages = |range: &Range<u64>| range.start & !(PAGE - 1)..range.end.next_multiple_of(PAGE);
    let text: Vec<_> = text.iter().map(whole_pages).collect();
    let mut segments = Vec::new();
    for load in &image.loads {
        let (low, high) = (load.address & !(PAGE - 1), (load.address + load.memory_size).next_multiple_of(PAGE));
        let mut data = vec![0; (high - low) as usize];
        let start = (load.address - low) as usize;
        data[start..start + load.data.len()].copy_from_slice(&load.data);
        let mut cuts: Vec<u64> = text.iter().flat_map(|range| [range.start, range.end]).collect();
        cuts.retain(|cut| (low..high).contains(cut));
        cuts.extend([low, high]);
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts.windows(2) {
            let executable = text.iter().any(|range| range.contains(&cut[0]));
            let bytes = data[(cut[0] - low) as usize..(cut[1] - low) as usize].to_vec();
            segments.push(Segment { address: cut[0], data: bytes, executable, writable: !executable });
        }
    }
    segments.sort_by_key(|segment| segment.address);
    match segments.windows(2).find(|pair| pair[0].end() > pair[1].address) {
        Some(pair) => Err(refused(&image.path, format!("two loads share the page at {:#x}", pair[1].address))),
        None => Ok(segments),
    }
}
