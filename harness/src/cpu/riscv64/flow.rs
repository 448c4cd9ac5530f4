//! Decides which RISC-V instructions transfer control. Decoded by hand: capstone 5 calls every jal and jalr a call, `ret`,
//! `j` and `jr` included.
//!
//! A jump is a call when it links to x1 or x5, which the ISA names as link registers (unprivileged ISA 2.5.1, table of
//! return-address prediction hints).

use crate::cpu::{Flow, FlowKind};

const RA: u32 = 1;
const T0: u32 = 5;

const OPCODE_JAL: u32 = 0b110_1111;
const OPCODE_JALR: u32 = 0b110_0111;
const OPCODE_BRANCH: u32 = 0b110_0011;
const OPCODE_SYSTEM: u32 = 0b111_0011;

/// Classifies the instruction at the start of `bytes`. Too few bytes, or no transfer: sequential.
pub(super) fn decode(address: u64, bytes: &[u8]) -> Flow {
    let Some(low) = bytes.get(..2).map(|half| u16::from_le_bytes([half[0], half[1]])) else { return Flow::SEQUENTIAL };
    if low & 3 != 3 {
        return compressed(address, u32::from(low));
    }
    match bytes.get(..4) {
        Some(word) => full(address, u32::from_le_bytes([word[0], word[1], word[2], word[3]])),
        None => Flow::SEQUENTIAL,
    }
}

fn full(address: u64, word: u32) -> Flow {
    let (rd, rs1) = (word >> 7 & 31, word >> 15 & 31);
    match word & 0x7f {
        OPCODE_JAL => {
            // imm[20|10:1|11|19:12]
            let offset =
                (word >> 31 & 1) << 20 | (word >> 21 & 0x3ff) << 1 | (word >> 20 & 1) << 11 | (word >> 12 & 0xff) << 12;
            direct(if is_link(rd) { FlowKind::Call } else { FlowKind::Jump }, address, offset, 21)
        }
        OPCODE_JALR => Flow { kind: indirect(rd, rs1), target: None },
        OPCODE_BRANCH => {
            // imm[12|10:5] ... imm[4:1|11]
            let offset =
                (word >> 31 & 1) << 12 | (word >> 25 & 0x3f) << 5 | (word >> 8 & 0xf) << 1 | (word >> 7 & 1) << 11;
            direct(FlowKind::Jump, address, offset, 13)
        }
        // funct3 = 0: ecall, ebreak, sret, mret. wfi (0x105) and sfence.vma, also funct3 = 0, continue at the next instruction.
        OPCODE_SYSTEM if word >> 12 & 7 == 0 && matches!(word >> 20, 0x000 | 0x001 | 0x102 | 0x302) => {
            Flow { kind: FlowKind::Exception, target: None }
        }
        _ => Flow::SEQUENTIAL,
    }
}

/// RVC (unprivileged ISA, chapter "C"): c.j, c.jr, c.jalr, c.ebreak, c.beqz, c.bnez. RV64 has no c.jal.
fn compressed(address: u64, half: u32) -> Flow {
    let rs1 = half >> 7 & 31;
    match (half & 3, half >> 13) {
        (1, 0b101) => {
            // c.j: imm[11|4|9:8|10|6|7|3:1|5]
            let offset = (half >> 12 & 1) << 11
                | (half >> 11 & 1) << 4
                | (half >> 9 & 3) << 8
                | (half >> 8 & 1) << 10
                | (half >> 7 & 1) << 6
                | (half >> 6 & 1) << 7
                | (half >> 3 & 7) << 1
                | (half >> 2 & 1) << 5;
            direct(FlowKind::Jump, address, offset, 12)
        }
        (1, 0b110 | 0b111) => {
            // c.beqz, c.bnez: imm[8|4:3] ... imm[7:6|2:1|5]
            let offset = (half >> 12 & 1) << 8
                | (half >> 10 & 3) << 3
                | (half >> 5 & 3) << 6
                | (half >> 3 & 3) << 1
                | (half >> 2 & 1) << 5;
            direct(FlowKind::Jump, address, offset, 9)
        }
        (2, 0b100) if half >> 2 & 31 == 0 => match (half >> 12 & 1, rs1) {
            (0, 0) => Flow::SEQUENTIAL, // reserved
            (1, 0) => Flow { kind: FlowKind::Exception, target: None },
            (0, rs1) => Flow { kind: indirect(0, rs1), target: None },
            (_, rs1) => Flow { kind: indirect(RA, rs1), target: None },
        },
        _ => Flow::SEQUENTIAL,
    }
}

const fn is_link(register: u32) -> bool {
    register == RA || register == T0
}

/// The kind of `jalr rd, rs1`.
const fn indirect(rd: u32, rs1: u32) -> FlowKind {
    if is_link(rd) {
        FlowKind::Call
    } else if rd == 0 && is_link(rs1) {
        FlowKind::Return
    } else {
        FlowKind::Jump
    }
}

/// A transfer by an offset of `bits` bits, sign-extended.
fn direct(kind: FlowKind, address: u64, offset: u32, bits: u32) -> Flow {
    let shift = 32 - bits;
    let signed = i64::from((offset << shift).cast_signed() >> shift);
    Flow { kind, target: Some(address.wrapping_add_signed(signed)) }
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::cpu::FlowKind::{self, Call, Exception, Jump, Return, Sequential};

    #[track_caller]
    fn check(bytes: &[u8], kind: FlowKind, target: Option<u64>) {
        let flow = decode(0x1000, bytes);
        assert_eq!((flow.kind, flow.target), (kind, target), "{bytes:02x?}");
    }

    /// Encodings taken from llvm-mc.
    #[test]
    fn full_size_instructions() {
        check(&0x0100_00ef_u32.to_le_bytes(), Call, Some(0x1010)); // jal ra, .+16
        check(&0xff1f_f0ef_u32.to_le_bytes(), Call, Some(0x0ff0)); // jal ra, .-16
        check(&0x0100_02ef_u32.to_le_bytes(), Call, Some(0x1010)); // jal t0, .+16
        check(&0x0100_006f_u32.to_le_bytes(), Jump, Some(0x1010)); // j .+16
        check(&0x0005_80e7_u32.to_le_bytes(), Call, None); // jalr a1
        check(&0x0000_8067_u32.to_le_bytes(), Return, None); // ret
        check(&0x0002_8067_u32.to_le_bytes(), Return, None); // jr t0
        check(&0x0007_8067_u32.to_le_bytes(), Jump, None); // jr a5
        check(&0x00b5_0463_u32.to_le_bytes(), Jump, Some(0x1008)); // beq a0, a1, .+8
        check(&0xfeb5_1ce3_u32.to_le_bytes(), Jump, Some(0x0ff8)); // bne a0, a1, .-8
        check(&0x0000_0073_u32.to_le_bytes(), Exception, None); // ecall
        check(&0x1020_0073_u32.to_le_bytes(), Exception, None); // sret
        check(&0x1050_0073_u32.to_le_bytes(), Sequential, None); // wfi
        check(&0x0000_0013_u32.to_le_bytes(), Sequential, None); // nop
    }

    #[test]
    fn compressed_instructions() {
        check(&0x8082_u16.to_le_bytes(), Return, None); // c.jr ra
        check(&0x8282_u16.to_le_bytes(), Return, None); // c.jr t0
        check(&0x8782_u16.to_le_bytes(), Jump, None); // c.jr a5
        check(&0x9582_u16.to_le_bytes(), Call, None); // c.jalr a1
        check(&0x9002_u16.to_le_bytes(), Exception, None); // c.ebreak
        check(&0xa801_u16.to_le_bytes(), Jump, Some(0x1010)); // c.j .+16
        check(&0xbfc5_u16.to_le_bytes(), Jump, Some(0x0ff0)); // c.j .-16
        check(&0xc501_u16.to_le_bytes(), Jump, Some(0x1008)); // c.beqz a0, .+8
        check(&0xfd65_u16.to_le_bytes(), Jump, Some(0x0ff8)); // c.bnez a0, .-8
        check(&0x85aa_u16.to_le_bytes(), Sequential, None); // c.mv a1, a0
        check(&0x95aa_u16.to_le_bytes(), Sequential, None); // c.add a1, a0
    }

    #[test]
    fn truncated_bytes_are_no_transfer() {
        check(&[], Sequential, None);
        check(&[0xef], Sequential, None);
        check(&[0xef, 0x00, 0x00], Sequential, None);
    }
}
