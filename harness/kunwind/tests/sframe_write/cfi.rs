//! Sections with CFI, byte by byte.

use kunwind::dwarf::{Cfi, CfiSection, Columns, make_readable};
use kunwind::sframe::SFrameAbi;

/// `DW_CFA_def_cfa` of SP plus 8, and the return address below the CFA: where a function of AMD64 begins.
pub(crate) const AMD64: &[u8] = &[0x0c, 7, 8, 0x80 | 16, 1];
/// The same for s390x: SP plus 160.
pub(crate) const S390X: &[u8] = &[0x0c, 15, 0xa0, 0x01];

/// A section while it is built. Addresses are absolute, and take 8 bytes.
pub(crate) struct Frames {
    section: CfiSection,
    abi: SFrameAbi,
    pub(crate) bytes: Vec<u8>,
}

/// The section with the copy for gimli.
pub(crate) struct Built {
    section: CfiSection,
    abi: SFrameAbi,
    bytes: Vec<u8>,
    readable: Vec<u8>,
}

impl Built {
    pub(crate) fn cfi(&self) -> Cfi<'_> {
        let (section, bytes, readable) = (self.section, &*self.bytes, &*self.readable);
        Cfi { section, bytes, readable, address: 0, columns: Columns::from(self.abi) }
    }
}

impl Frames {
    pub(crate) fn new(section: CfiSection, abi: SFrameAbi) -> Self {
        Self { section, abi, bytes: Vec::new() }
    }

    fn push(&mut self, value: u64, size: usize) {
        if self.abi.is_big_endian() {
            self.bytes.extend_from_slice(&value.to_be_bytes()[8 - size..]);
        } else {
            self.bytes.extend_from_slice(&value.to_le_bytes()[..size]);
        }
    }

    fn patch(&mut self, at: usize, value: usize) {
        let end = self.bytes.len();
        self.push(value as u64, 4);
        self.bytes.copy_within(end.., at);
        self.bytes.truncate(end);
    }

    /// Ends an entry: pads it with nops to a multiple of 8 bytes, and fills in its length.
    fn end(&mut self, entry: usize) {
        self.bytes.resize(entry + (self.bytes.len() - entry).next_multiple_of(8), 0);
        self.patch(entry, self.bytes.len() - entry - 4);
    }

    /// Adds a CIE with code alignment 1 and data alignment -8, and gives its place.
    pub(crate) fn cie(&mut self, augmentation: &[u8], program: &[u8]) -> usize {
        let entry = self.bytes.len();
        self.push(0, 4);
        self.push(if self.section == CfiSection::EhFrame { 0 } else { 0xffff_ffff }, 4);
        self.bytes.push(1);
        self.bytes.extend_from_slice(augmentation);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&[1, 0x78, self.abi.ra().0]);
        if augmentation.starts_with(b"z") {
            // `R`: addresses are absolute.
            let data = if augmentation.contains(&b'R') { &[1, 0][..] } else { &[0] };
            self.bytes.extend_from_slice(data);
        }
        self.bytes.extend_from_slice(program);
        self.end(entry);
        entry
    }

    /// Adds the FDE of a function, whose CIE has no augmentation, and gives its place.
    pub(crate) fn fde(&mut self, cie: usize, start: u64, size: u64, program: &[u8]) -> usize {
        self.augmented(cie, start, size, &[], program)
    }

    /// The same with augmentation data, whose length stands before it.
    pub(crate) fn augmented(&mut self, cie: usize, start: u64, size: u64, data: &[u8], program: &[u8]) -> usize {
        let entry = self.bytes.len();
        self.push(0, 4);
        self.point(entry, cie, true);
        self.push(start, 8);
        self.push(size, 8);
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(program);
        self.end(entry);
        entry
    }

    /// Makes an FDE point to a CIE, which may be none.
    pub(crate) fn point(&mut self, entry: usize, cie: usize, is_new: bool) {
        let id = if self.section == CfiSection::EhFrame { (entry + 4).wrapping_sub(cie) } else { cie };
        if is_new {
            self.push(id as u64, 4);
        } else {
            self.patch(entry + 4, id);
        }
    }

    /// Gives an entry another length.
    pub(crate) fn set_length(&mut self, entry: usize, length: usize) {
        self.patch(entry, length);
    }

    pub(crate) fn build(&self) -> Built {
        let mut readable = self.bytes.clone();
        make_readable(self.section, &mut readable, self.abi.is_big_endian());
        Built { section: self.section, abi: self.abi, bytes: self.bytes.clone(), readable }
    }
}
