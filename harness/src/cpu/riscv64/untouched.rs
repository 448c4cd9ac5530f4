//! Which registers an instruction leaves untouched, by its fields (The RISC-V Instruction Set Manual, volume I: "RV32/64G instruction
//! set listings", "RVC instruction set listings").

use crate::cpu::{MEMORY, Mask, field};

/// x0 to x31, and memory.
const ALL: Mask = 0xffff_ffff | MEMORY;

/// The register that these three bits of a compressed instruction are: x8 to x15.
const fn compressed(word: u32, low: u32) -> Mask {
    1 << (8 + (word >> low & 7))
}

pub(super) const fn untouched(bytes: &[u8]) -> Mask {
    let [first, second, rest @ ..] = bytes else { return 0 };
    let half = u32::from_le_bytes([*first, *second, 0, 0]);
    if half & 3 != 3 {
        return of_compressed(half);
    }
    let [third, fourth, ..] = rest else { return 0 };
    let word = half | u32::from_le_bytes([0, 0, *third, *fourth]);
    let rd = field(word, 7);
    match word & 0x7f {
        // What has rd, or a part of an offset in its place: load, op-imm, auipc, op-imm-32, op, lui, op-32, branch, jalr, jal.
        0x03 | 0x13 | 0x17 | 0x1b | 0x33 | 0x37 | 0x3b | 0x63 | 0x67 | 0x6f => ALL & !rd,
        0x0f | 0x23 => ALL & !rd & !MEMORY, // fence and operations on cache blocks; stores
        0x2f => ALL & !rd & !field(word | 1 << 7, 7) & !MEMORY, // atomics; amocas.q has a pair
        0x73 if word >> 12 & 3 != 0 => ALL & !rd, // csrrw and its kin; the others may trap or return
        _ => 0,                             // floating point, vectors, custom
    }
}

const fn of_compressed(half: u32) -> Mask {
    let upper = half >> 13 & 7;
    match (half & 3, upper) {
        (0, 0b100) => 0,                                      // Zcb
        (0, 0b101..) => ALL & !compressed(half, 2) & !MEMORY, // stores
        (0, _) => ALL & !compressed(half, 2),
        (1, _) => ALL & !field(half, 7) & !compressed(half, 7) & !(1 << 1),
        (2, 0b101) => 0,                                             // c.fsdsp, or Zcmp's push and pop
        (2, 0b110..) => ALL & !field(half, 7) & !(1 << 1) & !MEMORY, // stores
        (2, _) => ALL & !field(half, 7) & !(1 << 1),
        _ => 0,
    }
}
