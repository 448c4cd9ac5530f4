//! A copy of a section that gimli can read. Two things in a CIE make gimli refuse all that use it, although they are sound.
//!
//! It does not know the augmentation letters `B` (AADWARF64: return addresses are signed with key B) and `G` (tagged
//! memory), which carry no data. And it takes no `DW_CFA_restore` among the initial instructions: GNU as moves the first
//! directives of a function into its CIE, and in the cold part of a function, restores stand among them (PR gas/33170).
//! The rule that a register has there is its initial one, so such an instruction changes nothing.

use super::entry::{CfiSection, EntryKind, RawEntries, RawEntry};

/// The upper two bits of `DW_CFA_advance_loc`, `DW_CFA_offset` and `DW_CFA_restore` (DWARF 5, 7.24).
const HIGH_BITS: u8 = 0xc0;
const ADVANCE_LOC: u8 = 0x40;
const OFFSET: u8 = 0x80;
const RESTORE: u8 = 0xc0;
const RESTORE_EXTENDED: u8 = 0x06;

/// Makes the CIEs of a copy of a section readable for gimli: the letters `B` and `G` become `S`, which carries no data
/// either, and a `DW_CFA_restore` becomes `DW_CFA_nop`. What the letters mean is read from the original. Returns how many
/// letters and instructions were changed.
pub fn make_readable(section: CfiSection, copy: &mut [u8], is_big_endian: bool) -> usize {
    let mut changed = 0;
    let mut at = 0;
    loop {
        let mut entries = RawEntries::new(section, copy, is_big_endian);
        entries.go_to(at);
        let Some(entry) = entries.next() else { return changed };
        at = entries.position();
        if entry.kind != EntryKind::Cie {
            continue;
        }
        let Some(letters) = entries.augmentation(entry.offset) else { continue };
        let program = initial_instructions(copy, &entry, letters.clone());
        for letter in copy.get_mut(letters).unwrap_or_default() {
            if matches!(*letter, b'B' | b'G') {
                *letter = b'S';
                changed += 1;
            }
        }
        if let Some(program) = program.and_then(|start| copy.get_mut(start..entry.end)) {
            changed += hide_restores(program);
        }
    }
}

/// Where the initial instructions of a CIE begin (DWARF 5, 6.4.1; Linux Standard Base Core, 10.6.1.1.1).
fn initial_instructions(bytes: &[u8], cie: &RawEntry, letters: core::ops::Range<usize>) -> Option<usize> {
    let version = *bytes.get(cie.body)?;
    let string = bytes.get(letters.clone())?;
    let entry = bytes.get(..cie.end)?;
    let mut at = letters.end.checked_add(1)?;
    if string == b"eh" {
        // The address that old versions of GCC left there.
        at = at.checked_add(8)?;
    }
    if version >= 4 {
        // The sizes of addresses and of segment selectors.
        at = at.checked_add(2)?;
    }
    // Both alignment factors.
    at = after_leb(entry, after_leb(entry, at)?)?;
    at = if version == 1 { at.checked_add(1)? } else { after_leb(entry, at)? };
    if string.first() == Some(&b'z') {
        at = after_block(entry, at)?;
    }
    Some(at)
}

/// Replaces restores with nops, up to the first instruction that is not known.
fn hide_restores(program: &mut [u8]) -> usize {
    let mut changed = 0;
    let mut at = 0;
    while let Some(next) = after_instruction(program, at) {
        let opcode = program.get(at).copied().unwrap_or_default();
        if (opcode & HIGH_BITS == RESTORE || opcode == RESTORE_EXTENDED)
            && let Some(instruction) = program.get_mut(at..next)
        {
            instruction.fill(0);
            changed += 1;
        }
        at = next;
    }
    changed
}

/// Where the instruction after the one at `at` begins (DWARF 5, 7.24; AADWARF64, 4.1). None at the end, and at an
/// instruction that is not known or makes no sense before the first address.
fn after_instruction(program: &[u8], at: usize) -> Option<usize> {
    let opcode = *program.get(at)?;
    let operands = at.checked_add(1)?;
    match opcode & HIGH_BITS {
        ADVANCE_LOC | RESTORE => return Some(operands),
        OFFSET => return after_leb(program, operands),
        _ => {}
    }
    let leb = |at| after_leb(program, at);
    match opcode {
        // nop, remember_state, restore_state, AArch64's negate_ra_state
        0x00 | 0x0a | 0x0b | 0x2d => Some(operands),
        // restore_extended, undefined, same_value, def_cfa_register, def_cfa_offset, def_cfa_offset_sf, GNU_args_size
        0x06..=0x08 | 0x0d | 0x0e | 0x13 | 0x2e => leb(operands),
        // offset_extended, register, def_cfa, offset_extended_sf, def_cfa_sf, val_offset, val_offset_sf,
        // GNU_negative_offset_extended
        0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 | 0x2f => leb(leb(operands)?),
        // def_cfa_expression
        0x0f => after_block(program, operands),
        // expression, val_expression
        0x10 | 0x16 => after_block(program, leb(operands)?),
        _ => None,
    }
}

/// Where what follows a number of variable length begins (DWARF 5, 7.6).
fn after_leb(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.iter().position(|byte| byte & 0x80 == 0)?;
    at.checked_add(length)?.checked_add(1)
}

/// The same for a number without a sign, and as many bytes as it says.
fn after_block(bytes: &[u8], at: usize) -> Option<usize> {
    let start = after_leb(bytes, at)?;
    let mut length = 0_usize;
    for byte in bytes.get(at..start)?.iter().rev() {
        length = length.checked_mul(0x80)?.checked_add(usize::from(byte & 0x7f))?;
    }
    start.checked_add(length).filter(|end| *end <= bytes.len())
}
