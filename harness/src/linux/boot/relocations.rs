//! Relocations at the link address. Where the linker left the words empty, the table says what belongs there; an image without symbols
//! does not say where the table is, so it is found by its shape.

use super::super::bytes::u64_at;
use super::Load;

/// The size of an entry (System V gABI, `Elf64_Rela`): offset, info, addend.
const ENTRY: usize = 24;

/// Writes the addend of every relative relocation to its place, and says how many. RELR words are final already.
pub(super) fn apply(loads: &mut [Load], relative: u64) -> String {
    let inside = |loads: &[Load], address: u64| loads.iter().any(|load| (load.address..load.end()).contains(&address));
    let entry = |data: &[u8], at: usize| Some((u64_at(data, at)?, u64_at(data, at + 8)?, u64_at(data, at + 16)?));
    let is_relative = |loads: &[Load], (offset, info, addend): (u64, u64, u64)| {
        // `_end`, too, is an address.
        let is_address = inside(loads, addend) || inside(loads, addend.wrapping_sub(1));
        info == relative && inside(loads, offset) && is_address
    };
    let mut found: Vec<(u64, u64)> = Vec::new();
    for load in &*loads {
        let mut at = 0;
        while let Some(here) = entry(&load.data, at) {
            if !is_relative(loads, here) {
                at += 8;
                continue;
            }
            // A table: entries that are relative or empty, without a gap.
            while let Some(here @ (_, info, _)) = entry(&load.data, at) {
                if is_relative(loads, here) {
                    found.push((here.0, here.2));
                } else if info != 0 {
                    break;
                }
                at += ENTRY;
            }
        }
    }
    let mut applied = 0;
    for (offset, addend) in &found {
        let load = loads.iter_mut().find(|load| (load.address..load.end()).contains(offset));
        let place = load.and_then(|load| load.data.get_mut((offset - load.address) as usize..)?.first_chunk_mut::<8>());
        if let Some(word) = place {
            applied += usize::from(*word != addend.to_le_bytes());
            *word = addend.to_le_bytes();
        }
    }
    format!("{} relative, {applied} of them not yet in place", found.len())
}
