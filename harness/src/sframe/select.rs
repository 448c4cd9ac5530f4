//! Which of the functions that CFI describes belong into the section: those whose code is in the file.

use std::ops::Range;

use kunwind::dwarf::{CfiFunction, CfiSection};
use kunwind::sframe::write::{Choice, Reason, Unneeded};
use object::elf;
use object::read::elf::{ProgramHeader as _, SectionHeader as _, Sym as _};

use super::cfi_file::{AllCfi, Elf, OwnedCfi};

/// Where code is.
pub(super) struct Selection<'a> {
    elf: &'a Elf<'a>,
    sections: &'a [OwnedCfi],
    /// Sections with code, by address; none where no section is marked so.
    code: Vec<Range<u64>>,
    /// Executable segments.
    segments: Vec<Range<u64>>,
    /// The size of the one function at address 0 that is not discarded, if several entries claim that address.
    at_zero: Option<u64>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(elf: &'a Elf<'a>, cfi: &'a AllCfi) -> Self {
        let endian = elf.endian;
        let range = |address: u64, size: u64| address..address.saturating_add(size);
        let is_code = |flags: elf::SectionFlags| flags.contains(elf::SHF_EXECINSTR) && flags.contains(elf::SHF_ALLOC);
        let sections = elf.sections.iter().filter(|section| is_code(section.sh_flags(endian)));
        let mut code: Vec<_> =
            sections.map(|section| range(section.sh_addr(endian), section.sh_size(endian))).collect();
        code.retain(|range| !range.is_empty());
        code.sort_by_key(|range| range.start);
        let is_load = |segment: &&elf::ProgramHeader64<object::Endianness>| {
            segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian).contains(elf::PF_X)
        };
        let segments = elf.segments.iter().filter(is_load);
        let segments = segments.map(|segment| range(segment.p_vaddr(endian), segment.p_memsz(endian))).collect();
        let mut selection = Self { elf, sections: &cfi.sections, code, segments, at_zero: None };
        selection.at_zero = selection.function_at_zero();
        selection
    }

    /// What becomes of a function of a section.
    pub(super) fn choose(&self, section: usize, function: &CfiFunction) -> Choice {
        let cfi = &self.sections[section];
        if self.elf.is_relocatable() {
            return match cfi.start_of(function.fde) {
                None => Choice::Refuse(Reason::NoStart),
                Some(target) if target.section.is_none() => Choice::Refuse(Reason::Undefined),
                Some(_) => Choice::Take,
            };
        }
        let is_other = function.start == 0 && self.at_zero.is_some_and(|size| size != function.size);
        if self.is_code(function) && !(is_other && cfi.section == CfiSection::DebugFrame) {
            Choice::Take
        } else if cfi.section == CfiSection::DebugFrame && is_tombstone(function.start) {
            Choice::Skip(Unneeded::Discarded)
        } else {
            Choice::Refuse(Reason::OutsideText)
        }
    }

    fn is_code(&self, function: &CfiFunction) -> bool {
        let end = function.start.saturating_add(function.size);
        let after = self.code.partition_point(|code| code.start <= function.start);
        let starts_in_code =
            self.code.is_empty() || self.code[..after].last().is_some_and(|code| code.contains(&function.start));
        let is_loaded = |segment: &Range<u64>| segment.start <= function.start && end <= segment.end;
        starts_in_code && (self.segments.is_empty() || self.segments.iter().any(is_loaded))
    }

    /// Where the code begins at address 0, discarded functions seem to lie in it. A symbol tells which one does.
    fn function_at_zero(&self) -> Option<u64> {
        let debug = self.sections.iter().filter(|cfi| cfi.section == CfiSection::DebugFrame);
        let functions = debug.flat_map(|cfi| cfi.cfi().functions().flatten().collect::<Vec<_>>());
        let sizes: Vec<u64> = functions.filter(|function| function.start == 0).map(|function| function.size).collect();
        if sizes.len() < 2 {
            return None;
        }
        let symbols = self.elf.functions_at(0).iter();
        symbols.map(|(_, symbol)| symbol.st_size(self.elf.endian)).find(|size| sizes.contains(size))
    }
}

/// Whether a linker writes this in the place of an address whose code it has discarded. GNU ld, gold, lld and mold write 0
/// into `.debug_frame`, or 1 where 0 ends a list; lld can be told to write -1 or -2 (`-z dead-reloc-in-nonalloc`).
const fn is_tombstone(start: u64) -> bool {
    start <= 1 || start >= u64::MAX - 1
}
