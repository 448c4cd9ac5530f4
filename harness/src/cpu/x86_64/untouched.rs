//! Which registers an instruction leaves untouched, by its opcode (Intel SDM volume 2, appendix A: opcode map). Only the usual
//! instructions are known; any other may change everything.

use crate::cpu::{MEMORY, Mask};

/// rax to r15, by DWARF number, and memory.
const ALL: Mask = 0xffff | MEMORY;
/// The DWARF numbers of the registers by their numbers in instructions (x86-64 psABI, figure 3.36).
const DWARF: [u8; 8] = [0, 2, 1, 3, 7, 6, 4, 5];
const RAX: Mask = 1;
const RDX: Mask = 1 << 1;
const RBP: Mask = 1 << 6;
const RSP: Mask = 1 << 7;

/// An instruction without its prefixes.
struct Opcode<'b> {
    rex: u8,
    opcode: u8,
    rest: &'b [u8],
}

impl Opcode<'_> {
    /// The register of this number; and, where that may mean ah to bh, the one whose second byte that is.
    const fn register(&self, number: u8, extended: bool) -> Mask {
        if extended {
            return 1 << (8 + number);
        }
        let byte = if self.rex == 0 && number >= 4 { 1 << DWARF[number as usize & 3] } else { 0 };
        1 << DWARF[number as usize] | byte
    }

    /// The register in the opcode's lowest bits.
    const fn of_opcode(&self) -> Mask {
        self.register(self.opcode & 7, self.rex & 1 != 0)
    }

    /// The operation that the second byte selects, for opcodes that stand for several.
    const fn selected(&self) -> u8 {
        match self.rest {
            [modrm, ..] => *modrm >> 3 & 7,
            [] => u8::MAX,
        }
    }

    /// Both operands.
    const fn operands(&self) -> Mask {
        let [modrm, ..] = self.rest else { return ALL };
        let reg = self.register(*modrm >> 3 & 7, self.rex & 4 != 0);
        reg | if *modrm < 0xc0 { MEMORY } else { self.register(*modrm & 7, self.rex & 1 != 0) }
    }

    /// Both operands, of an instruction that writes no memory.
    const fn registers(&self) -> Mask {
        self.operands() & !MEMORY
    }
}

pub(super) const fn untouched(bytes: &[u8]) -> Mask {
    let mut rest = bytes;
    // Prefixes: operand size, segments, lock, repeat (which the string instructions alone obey, and they are not known here).
    while let [0x66 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3, after @ ..] = rest {
        rest = after;
    }
    let (rex, rest) = match rest {
        [rex @ 0x40..=0x4f, after @ ..] => (*rex, after),
        _ => (0, rest),
    };
    match rest {
        [0x0f, opcode, rest @ ..] => of_two_bytes(&Opcode { rex, opcode: *opcode, rest }),
        [opcode, rest @ ..] => of_one_byte(&Opcode { rex, opcode: *opcode, rest }),
        [] => 0,
    }
}

const fn of_one_byte(instruction: &Opcode<'_>) -> Mask {
    let Opcode { opcode, .. } = *instruction;
    let written = match opcode {
        // Arithmetic: to a register, or a comparison; to any operand; to rax.
        0x00..=0x3f if matches!(opcode & 7, 2 | 3) || matches!(opcode, 0x38 | 0x39) => instruction.registers(),
        0x00..=0x3f if opcode & 7 < 4 => instruction.operands(),
        0x00..=0x3f if opcode & 7 < 6 => RAX,
        0x50..=0x57 | 0x68 | 0x6a | 0xe8 => RSP | MEMORY, // push, call
        0xc2 | 0xc3 => RSP,                               // ret
        0x58..=0x5f => RSP | instruction.of_opcode(),
        // movsxd, imul, test, mov to a register, lea.
        0x63 | 0x69 | 0x6b | 0x84 | 0x85 | 0x8a | 0x8b | 0x8d => instruction.registers(),
        // Arithmetic with an immediate, xchg, mov, shifts.
        0x80 | 0x81 | 0x83..=0x89 | 0xc0 | 0xc1 | 0xd0..=0xd3 => instruction.operands(),
        0x70..=0x7f | 0xe9 | 0xeb => 0, // jumps
        0x90..=0x97 => RAX | instruction.of_opcode(),
        0x98 | 0xa8 | 0xa9 => RAX,
        0x99 => RDX,
        0xb0..=0xbf => instruction.of_opcode(),
        0xc6 | 0xc7 if instruction.selected() == 0 => instruction.operands(),
        0xc9 => RBP | RSP,
        0xf5 | 0xf8..=0xfd => 0, // flags
        0xf6 | 0xf7 => RAX | RDX | instruction.operands(),
        0xfe | 0xff if instruction.selected() < 2 => instruction.operands(),
        0xff if matches!(instruction.selected(), 2 | 6) => RSP | MEMORY, // call, push
        0xff if instruction.selected() == 4 => 0,                        // jmp
        _ => ALL,
    };
    ALL & !written
}

const fn of_two_bytes(instruction: &Opcode<'_>) -> Mask {
    let written = match instruction.opcode {
        0x80..=0x8f => 0, // jumps
        // nop and endbr64, cmov, bt, imul, movzx, movsx, popcnt, bit scans.
        0x1e | 0x1f | 0x40..=0x4f | 0xa3 | 0xaf | 0xb6..=0xb8 | 0xbc..=0xbf => instruction.registers(),
        // Prefetches, setcc, bit tests, double shifts, cmpxchg, xadd.
        0x0d | 0x18..=0x1d | 0x90..=0x9f | 0xa4 | 0xa5 | 0xab..=0xad => instruction.operands(),
        0xb0 | 0xb1 => RAX | instruction.operands(),
        0xb3 | 0xba | 0xbb | 0xc0 | 0xc1 => instruction.operands(),
        0xc8..=0xcf => instruction.of_opcode(),
        // SSE, as far as it has two operands and no other (MASKMOVDQU stores to where rdi says).
        0x10..=0x17 | 0x28..=0x2f | 0x50..=0x76 | 0x7e | 0x7f | 0xd0..=0xf6 | 0xf8..=0xfe => instruction.operands(),
        _ => ALL,
    };
    ALL & !written
}
