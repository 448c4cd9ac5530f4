//! The index of `.eh_frame` that unwinders search, `.eh_frame_hdr` (Linux Standard Base Core, 10.6.2), held against what it indexes.

use std::collections::BTreeMap;

use kunwind::Format;
use kunwind::dwarf::{Cfi, CfiSection, make_readable};

use super::module::Module;
use crate::guest::{UnreadSection, cfi_columns};

/// The encodings that all linkers write: `.eh_frame` relative to the field, a count, and entries relative to the section.
const ENCODINGS: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Notes what is wrong with a module's index: an unwinder that searches it finds other rows than one that reads all of them.
pub(super) fn check(module: &mut Module) {
    let Some(reason) = problem(module) else { return };
    let reason = format!("{}: .eh_frame_hdr {reason}", module.name);
    module.unwind.unread.push(UnreadSection { format: Format::Dwarf, reason });
}

fn problem(module: &Module) -> Option<String> {
    let index = module.eh_frame_hdr.as_ref()?;
    let columns = cfi_columns(module.cpu.abi)?;
    let head = index.data.first_chunk::<4>()?;
    if *head != ENCODINGS {
        return Some(format!("has the encodings {head:02x?}, which cannot be searched"));
    }
    let section = module.unwind.eh_frame.first()?;
    let word = |at: usize| index.data.get(at..)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let count = word(8)?.cast_unsigned() as usize;
    let mut readable = section.data.clone();
    make_readable(CfiSection::EhFrame, &mut readable, false);
    let (bytes, address) = (&*section.data, section.address);
    let cfi = Cfi { section: CfiSection::EhFrame, bytes, readable: &readable, address, columns };
    // By the address of the FDE.
    let functions: BTreeMap<u64, u64> = { cfi.functions().flatten() }
        .filter(|function| function.size > 0)
        .map(|function| (address.wrapping_add(function.fde as u64), function.start))
        .collect();
    let mut last = None;
    let mut seen = 0;
    for entry in 0..count {
        let at = 12 + 8 * entry;
        let (Some(start), Some(fde)) = (word(at), word(at + 4)) else {
            return Some(format!("says that it has {count} entries, and ends after {entry}"));
        };
        let [start, fde] = [start, fde].map(|offset| index.address.wrapping_add_signed(i64::from(offset)));
        if last.is_some_and(|last| start < last) {
            return Some(format!("is not sorted: {:#x} comes too late", start.wrapping_sub(module.bias)));
        }
        last = Some(start);
        match functions.get(&fde) {
            Some(found) if *found == start => seen += 1,
            Some(found) => {
                let [says, is] = [start, *found].map(|address| address.wrapping_sub(module.bias));
                return Some(format!("says {says:#x} of the entry for the code at {is:#x}"));
            }
            // An entry that could not be read is noted elsewhere; one for no code at all is of no use.
            None => {}
        }
    }
    let lost = functions.len().saturating_sub(seen);
    (lost > 0).then(|| format!("lacks {lost} of {} functions", functions.len()))
}
