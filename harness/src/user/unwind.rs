//! The unwind data of a module: from sections with a name, or from what program headers point to.

use kunwind::Abi;
use kunwind::dwarf::{Cfi, CfiSection, make_readable};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

use super::memory::{Header, bytes_at};
use crate::guest::{LoadedSection, Segment, UnwindSections, cfi_columns, unwind_sections};

/// `PT_GNU_EH_FRAME` (Linux Standard Base Core, 10.7).
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// `PT_GNU_SFRAME` (binutils include/elf/common.h).
const PT_GNU_SFRAME: u32 = 0x6474_e554;

/// Finds the unwind data of a linked file, whose memory this is; and `.eh_frame_hdr`.
pub(super) fn read(
    segments: &[Segment],
    header: &Header,
    data: &[u8],
) -> Result<(UnwindSections, Option<LoadedSection>), String> {
    let endian = LittleEndian;
    let mut unwind = unwind_sections(header, data)?;
    let sections = header.sections(endian, data).map_err(|error| error.to_string())?;
    let named =
        sections.iter().find(|section| sections.section_name(endian, section).is_ok_and(|it| it == b".eh_frame_hdr"));
    let mut index = named.map(|section| (section.sh_addr(endian), section.sh_size(endian)));
    let headers = header.program_headers(endian, data).map_err(|error| error.to_string())?;
    for part in headers {
        let (address, size) = (part.p_vaddr(endian), part.p_filesz(endian));
        match part.p_type(endian).0 {
            PT_GNU_EH_FRAME => index = Some((address, size)),
            PT_GNU_SFRAME if unwind.sframe.is_empty() => {
                unwind.sframe.extend(loaded(segments, address, size));
            }
            _ => {}
        }
    }
    let index = index.and_then(|(address, size)| loaded(segments, address, size));
    if let (true, Some(index)) = (unwind.eh_frame.is_empty(), &index)
        && let Some(start) = frames(index)
    {
        let bytes = bytes_at(segments, start);
        unwind.eh_frame.extend(loaded(segments, start, extent(bytes)));
    }
    Ok((unwind, index))
}

fn loaded(segments: &[Segment], address: u64, size: u64) -> Option<LoadedSection> {
    let bytes = bytes_at(segments, address);
    let data = bytes.get(..usize::try_from(size).ok()?)?.to_vec();
    Some(LoadedSection { address, data })
}

/// Where `.eh_frame` is, as its header says in the encoding that all linkers write: 32 bits, relative to themselves (Linux Standard
/// Base Core, 10.6.2).
fn frames(index: &LoadedSection) -> Option<u64> {
    const PCREL_SDATA4: u8 = 0x1b;
    let [1, PCREL_SDATA4] = index.data.get(..2)? else { return None };
    let offset = i32::from_le_bytes(*index.data.get(4..)?.first_chunk()?);
    Some(index.address.wrapping_add(4).wrapping_add_signed(i64::from(offset)))
}

/// The size of a section of frames that begins here: to its terminator, or to the last entry that fits.
fn extent(bytes: &[u8]) -> u64 {
    let mut at = 0_usize;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|it| u32::from_le_bytes(*it)) {
        if length == 0 {
            return at as u64 + 4;
        }
        let (head, length) = if length == u32::MAX {
            let long = bytes.get(at + 4..).and_then(|rest| rest.first_chunk()).map(|it| u64::from_le_bytes(*it));
            (12, long.unwrap_or(u64::MAX))
        } else {
            (4, u64::from(length))
        };
        let next = usize::try_from(length).ok().and_then(|length| at.checked_add(head)?.checked_add(length));
        let Some(next) = next.filter(|next| *next <= bytes.len()) else { break };
        at = next;
    }
    at as u64
}

/// Moves the unwind data with its module.
pub(super) fn shift(unwind: &mut UnwindSections, index: &mut Option<LoadedSection>, is_object: bool, by: u64) {
    for section in unwind.eh_frame.iter_mut().chain(&mut unwind.sframe).chain(index) {
        section.address = section.address.wrapping_add(by);
    }
    for section in &mut unwind.debug_frame {
        if is_object {
            section.address = section.address.wrapping_add(by); // it is relocated like everything else
        } else {
            // This one is not loaded: its addresses are those that the linker has assigned.
            shift_addresses(&mut section.data, by);
        }
    }
}

/// Adds to the first address of each FDE of a `.debug_frame` (DWARF 5, 6.4.1). Addresses within programs and expressions are left.
fn shift_addresses(data: &mut [u8], by: u64) {
    let mut at = 0_usize;
    while let Some(length) = data.get(at..).and_then(|rest| rest.first_chunk()).map(|it| u32::from_le_bytes(*it)) {
        let long = data.get(at + 4..).and_then(|rest| rest.first_chunk()).map(|it| u64::from_le_bytes(*it));
        let (id, word, length) = match (length, long) {
            (u32::MAX, Some(length)) => (at + 12, 8, length),
            (length, _) => (at + 4, 4, u64::from(length)),
        };
        let Some(end) = usize::try_from(length).ok().and_then(|length| id.checked_add(length)) else { return };
        let Some(entry) = data.get_mut(id..end) else { return };
        let is_cie = entry.get(..word).is_some_and(|id| id.iter().all(|byte| *byte == 0xff));
        if let (false, Some(start)) = (is_cie, entry.get_mut(word..).and_then(|rest| rest.first_chunk_mut::<8>())) {
            *start = u64::from_le_bytes(*start).wrapping_add(by).to_le_bytes();
        }
        at = end;
    }
}

/// The code that CFI describes, by address: start and size in bytes.
pub(super) fn functions(unwind: &UnwindSections, abi: &Abi) -> Vec<(u64, u64)> {
    let Some(columns) = cfi_columns(abi) else { return Vec::new() };
    let eh = unwind.eh_frame.iter().map(|section| (CfiSection::EhFrame, section));
    let debug = unwind.debug_frame.iter().map(|section| (CfiSection::DebugFrame, section));
    let mut functions = Vec::new();
    for (kind, section) in eh.chain(debug) {
        let mut readable = section.data.clone();
        make_readable(kind, &mut readable, false);
        let cfi = Cfi { section: kind, bytes: &section.data, readable: &readable, address: section.address, columns };
        functions.extend(cfi.functions().flatten().map(|function| (function.start, function.size)));
    }
    functions.sort_unstable();
    functions.dedup();
    functions
}

/// Reads the loaded sections again, which relocations may have changed.
pub(super) fn refresh(
    unwind: &mut UnwindSections,
    index: &mut Option<LoadedSection>,
    segments: &[Segment],
    is_object: bool,
) {
    let loaded = unwind.eh_frame.iter_mut().chain(&mut unwind.sframe).chain(index);
    // That of a linked file is not loaded.
    for section in loaded.chain(unwind.debug_frame.iter_mut().filter(|_| is_object)) {
        let bytes = bytes_at(segments, section.address);
        if let Some(bytes) = bytes.get(..section.data.len()) {
            section.data.copy_from_slice(bytes);
        }
    }
}
