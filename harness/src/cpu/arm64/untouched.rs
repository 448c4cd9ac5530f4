//! Which registers an instruction leaves untouched, by its fields (Arm ARM DDI 0487, C4.1: A64 instruction set encoding).
//!
//! An instruction names each general register that it writes in one of four fields, wherever its class uses that field so; the few
//! that are implied are listed. A field of another meaning costs a register that could have been kept, and nothing else.

use crate::cpu::{MEMORY, Mask, field};

/// X0 to X30, SP, and memory.
const ALL: Mask = 0xffff_ffff | MEMORY;
const SP: Mask = 1 << 31;
/// X16, X17 and X30: what the hints of pointer authentication change.
const SIGNED: Mask = 1 << 16 | 1 << 17 | 1 << 30;

pub(super) const fn untouched(bytes: &[u8]) -> Mask {
    let [first, second, third, fourth, ..] = bytes else { return 0 };
    let word = u32::from_le_bytes([*first, *second, *third, *fourth]);
    let rd = field(word, 0);
    match word >> 25 & 15 {
        0b1000 | 0b1001 if word >> 23 & 0xff == 0b1110_0111 => 0, // AUTIASPPC and what else may come there
        // What sets the flags cannot write SP: CMP.
        0b1000 if word >> 29 & 1 == 1 && word >> 24 & 1 == 1 => ALL & !(rd & !SP),
        0b1000 | 0b1001 | 0b0111 | 0b1111 => ALL & !rd,
        0b0101 if word >> 29 & 1 == 1 && word >> 24 & 0x11 == 0x01 => ALL & !(rd & !SP),
        // Of those with one source: forms that sign X17 or X30.
        0b0101 | 0b1101 => ALL & !rd & !(if word >> 21 & 0x3ff == 0b10_1101_0110 { SIGNED } else { 0 }),
        0b0100 | 0b0110 | 0b1100 | 0b1110 => ALL & !of_memory(word),
        0b1010 | 0b1011 => branch_or_system(word),
        _ => 0, // reserved, SME, SVE
    }
}

/// What loads and stores may write: what is transferred, the base, and the status of an exclusive store.
const fn of_memory(word: u32) -> Mask {
    if word >> 27 & 7 == 0b111 && word >> 24 & 3 == 0 && word >> 21 & 1 == 1 && word >> 10 & 3 == 0 {
        return ALL; // atomic operations: LD64B writes eight registers
    }
    // Pairs of an even register and the next one (CASP).
    let pairs = field(word | 1 << 16, 16) | field(word | 1, 0);
    let registers = field(word, 0) | field(word, 5) | field(word, 10) | field(word, 16) | pairs;
    // Of those with one register or two, half are certainly loads.
    let is_load = word >> 27 & 5 == 5 && word >> 22 & 1 == 1;
    if is_load { registers } else { registers | MEMORY }
}

/// Branches, exceptions and system instructions.
const fn branch_or_system(word: u32) -> Mask {
    let link = 1 << 30;
    match word >> 24 {
        0x14..=0x17 | 0x34..=0x37 | 0xb4..=0xb7 | 0x54 => ALL, // b, cbz, tbz, b.cond
        0x94..=0x97 => ALL & !link,                            // bl
        // Branches to registers, of which ERET and DRPS also change the SP.
        0xd6 | 0xd7 if word >> 21 & 0b0100 == 0 => ALL & !link,
        0xd5 => match word >> 12 & 0xfff {
            0x032 => ALL & !SIGNED,                             // hints
            0x033 => ALL,                                       // barriers
            _ if word >> 20 & 15 == 3 => ALL & !field(word, 0), // mrs
            // msr daifset and daifclr: a change of SPSel would be one of SP.
            _ if word >> 12 & 0xfff == 0x034 && word >> 5 & 7 >= 6 => ALL,
            _ => 0,
        },
        _ => 0,
    }
}
