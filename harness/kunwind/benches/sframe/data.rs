//! What is measured: functions with the same rows each, as SFrame and as CFI, and the order in which they are asked for.

use kunwind::abi::X86_64;
use kunwind::dwarf::{Cfi, CfiSection, Columns};
use kunwind::sframe::SFrameAbi;
use kunwind::sframe::write::{FunctionRows, Placement, write};
use kunwind::{CfaRule, Entry, Rule, UnwindRow};

/// Where the functions are, and how large each is, in bytes.
pub(super) const TEXT: u64 = 0x1000_0000;
pub(super) const SIZE: u64 = 64;
/// Where the section is.
pub(super) const SECTION: u64 = 0x4000_0000;
/// Where the stack is, how many frames lie on it, and how large each is, in bytes.
pub(super) const STACK: u64 = 0x7000_0000;
pub(super) const DEPTH: u64 = 64;
pub(super) const FRAME: u64 = 32;
/// Offsets of the rows in each function: at the entry, after `push %rbp`, after `mov %rsp, %rbp`, at the `ret`.
pub(super) const ROWS: [u64; 4] = [0, 1, 4, 63];
/// Where each frame stands in its function.
pub(super) const AT: u64 = 40;

pub(super) fn rows() -> Vec<(u64, Entry)> {
    let row =
        |cfa, fp| Entry::Row(UnwindRow { cfa, ra: Rule::CfaOffsetDeref(-8), fp, mangled_ra: false, signal: false });
    let saved = Rule::CfaOffsetDeref(-16);
    let [entry, pushed, linked, last] = ROWS;
    vec![
        (entry, row(CfaRule::RegOffset(X86_64.sp, 8), Rule::Retain)),
        (pushed, row(CfaRule::RegOffset(X86_64.sp, 16), saved)),
        (linked, row(CfaRule::RegOffset(X86_64.fp, 16), saved)),
        (last, row(CfaRule::RegOffset(X86_64.sp, 8), Rule::Retain)),
    ]
}

pub(super) fn sframe(functions: u64) -> Vec<u8> {
    let functions: Vec<FunctionRows> = (0..functions)
        .map(|index| FunctionRows { start: TEXT + index * SIZE, size: SIZE, signal: false, b_key: false, rows: rows() })
        .collect();
    write(SFrameAbi::Amd64, Placement::Linked(SECTION), &functions).expect("it fits").bytes
}

/// The same rows as `.eh_frame` (DWARF 5 section 6.4; Linux Standard Base Core, 10.6), at the same address.
pub(super) fn eh_frame(functions: u64) -> Vec<u8> {
    let entry = |id: u32, body: &[u8]| {
        let mut bytes = Vec::new();
        let padding = (8 - (4 + body.len()) % 8) % 8;
        bytes.extend((4 + body.len() as u32 + padding as u32).to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.extend(body);
        bytes.extend(std::iter::repeat_n(0_u8, padding)); // DW_CFA_nop
        bytes
    };
    // Version 1, "zR", code factor 1, data factor -8, return address 16, pointers are pcrel sdata4; CFA=rsp+8, RA at cfa-8.
    let mut bytes = entry(0, &[1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1]);
    for index in 0..functions {
        let here = SECTION + bytes.len() as u64;
        let pc = (TEXT + index * SIZE).wrapping_sub(here + 8) as u32;
        let mut body = Vec::new();
        body.extend(pc.to_le_bytes());
        body.extend((SIZE as u32).to_le_bytes());
        // No augmentation; advance 1, CFA offset 16, rbp at cfa-16; advance 3, CFA register rbp; advance 59, CFA=rsp+8, rbp restored.
        body.extend([0, 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x40 | 59, 0x0c, 7, 8, 0xc6]);
        bytes.extend(entry(bytes.len() as u32 + 4, &body));
    }
    bytes.extend([0; 4]);
    bytes
}

/// How many lookups and walks one call of the work does.
pub(super) const LOOKUPS: u64 = 20_000;
pub(super) const WALKS: u64 = 200;
pub(super) const FRAMES: u64 = WALKS * DEPTH;

/// Functions in an order that jumps about.
pub(super) fn order(functions: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |step| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % functions)
}

/// A section that [`eh_frame`] made. Nothing in it has to be made readable.
pub(super) fn cfi(bytes: &[u8]) -> Cfi<'_> {
    let columns = Columns::from(SFrameAbi::Amd64);
    Cfi { section: CfiSection::EhFrame, bytes, readable: bytes, address: SECTION, columns }
}
