//! 64-bit RISC-V (RISC-V ELF psABI: relocations).

use super::super::link::{Code, Link, OfCpu, Site, Variant, signed};
use super::super::module::STUB_SIZE;
use crate::cpu::Register;

use super::unknown;

pub(super) struct Riscv64;

/// glibc's `__tls_get_addr` adds so much to the offsets that it is given (psABI: TLS_DTV_OFFSET).
const DTV_OFFSET: u64 = 0x800;
/// The high halves of addresses that are relative to the place: PCREL_HI20, GOT_HI20, TLS_GOT_HI20, TLS_GD_HI20.
const HIGH: [u32; 4] = [20, 21, 22, 23];

impl OfCpu for Riscv64 {
    fn relocate(&self, link: &mut Link<'_>, site: Site) -> Result<(), String> {
        let addend = site.relocation.addend;
        match site.relocation.kind {
            // NONE, TPREL_ADD, ALIGN, RELAX: nothing is relaxed, so that what aligns stays
            0 | 32 | 43 | 51 => Ok(()),
            // 64, JUMP_SLOT
            2 | 5 => link.word(site),
            3 => {
                let value = link.bias(site).wrapping_add_signed(addend);
                link.write(site, &value.to_le_bytes())
            }
            4 => link.copy(site),
            7 => {
                let (module, _) = link.tls(site)?;
                link.write(site, &(module as u64 + 1).to_le_bytes())
            }
            9 => {
                let (_, offset) = link.tls(site)?;
                link.write(site, &offset.wrapping_sub(DTV_OFFSET).to_le_bytes())
            }
            11 => {
                let offset = link.thread_offset(site)?;
                link.write(site, &offset.to_le_bytes())
            }
            12 => link.tls_descriptor(site),
            58 => {
                link.indirect(site);
                Ok(())
            }
            1 | 33..=40 | 52..=57 | 59..=61 => in_data(link, site),
            _ => in_code(link, site),
        }
    }

    /// `auipc t3, slot; ld t3, slot(t3); jr t3`
    fn stub(&self, at: u64, slot: u64) -> [u8; STUB_SIZE as usize] {
        let distance = slot.wrapping_sub(at);
        let words = [upper(0x0000_0e17, distance), lower_load(0x000e_3e03, distance), 0x000e_0067, 0x0000_0013];
        let mut code = [0; STUB_SIZE as usize];
        for (place, word) in code.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        code
    }

    /// psABI: the first block is at the thread pointer.
    fn variant(&self) -> Variant {
        Variant::One { head: 0 }
    }

    /// psABI, integer register convention: x4 is tp, x3 is gp.
    fn thread_register(&self) -> Option<Register> {
        Some(Register(4))
    }

    fn global_pointer(&self) -> Option<(Register, &'static str)> {
        Some((Register(3), "__global_pointer$"))
    }

    /// glibc's `tcbhead_t` ends at the thread pointer: the vector and a word that is its own.
    fn thread_words(&self, _: u64, vector: u64) -> Vec<(i64, u64)> {
        vec![(-16, vector)]
    }

    /// No capability, and no function that asks for more.
    fn resolver_arguments(&self, _: u64) -> Vec<u64> {
        vec![0, 0]
    }

    fn code(&self) -> &'static Code {
        &CODE
    }
}

/// Numbers, which may be the sums and differences of several relocations at one place.
fn in_data(link: &mut Link<'_>, site: Site) -> Result<(), String> {
    let (place, kind) = (site.relocation.place, site.relocation.kind);
    let value = link.address(site)?.wrapping_add_signed(site.relocation.addend);
    let (size, mask) = match kind {
        33 | 37 | 54 => (1, 0xff),
        52 | 53 => (1, 0x3f),
        34 | 38 | 55 => (2, 0xffff),
        36 | 40 => (8, u64::MAX),
        60 | 61 => return uleb(link, site, value),
        _ => (4, 0xffff_ffff),
    };
    let mut bytes = [0; 8];
    let old: &[u8] = &match size {
        1 => link.read::<1>(site)?.to_vec(),
        2 => link.read::<2>(site)?.to_vec(),
        4 => link.read::<4>(site)?.to_vec(),
        _ => link.read::<8>(site)?.to_vec(),
    };
    bytes[..size].copy_from_slice(old);
    let old = u64::from_le_bytes(bytes);
    let new = match kind {
        33..=36 => old.wrapping_add(value),      // ADD8 to ADD64
        37..=40 | 52 => old.wrapping_sub(value), // SUB8 to SUB64, SUB6
        57 | 59 => value.wrapping_sub(place),    // 32_PCREL, PLT32
        _ => value,                              // 32, SET6 to SET32
    };
    let new = old & !mask | new & mask;
    link.write(site, &new.to_le_bytes()[..size])
}

/// SET_ULEB128 and SUB_ULEB128, which keep the length.
fn uleb(link: &mut Link<'_>, site: Site, value: u64) -> Result<(), String> {
    let mut bytes = link.read::<10>(site).map_or_else(|_| Vec::new(), |bytes| bytes.to_vec());
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).ok_or("the number has no end")? + 1;
    bytes.truncate(length);
    let old = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    let mut new = if site.relocation.kind == 61 { old.wrapping_sub(value) } else { value };
    for byte in &mut bytes {
        *byte = *byte & 0x80 | (new & 0x7f) as u8;
        new >>= 7;
    }
    link.write(site, &bytes)
}

/// The relocations of instructions.
fn in_code(link: &mut Link<'_>, site: Site) -> Result<(), String> {
    let (place, addend) = (site.relocation.place, site.relocation.addend);
    let plus = |address: u64| address.wrapping_add_signed(addend);
    match site.relocation.kind {
        // BRANCH, JAL
        16 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 13)? as u32;
            link.patch(site, |word| {
                let fields = (value >> 12 & 1) << 31
                    | (value >> 5 & 0x3f) << 25
                    | (value >> 1 & 15) << 8
                    | (value >> 11 & 1) << 7;
                word & 0x01ff_f07f | fields
            })
        }
        17 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 21)? as u32;
            link.patch(site, |word| {
                let fields = (value >> 20 & 1) << 31
                    | (value >> 1 & 0x3ff) << 21
                    | (value >> 11 & 1) << 20
                    | (value >> 12 & 0xff) << 12;
                word & 0xfff | fields
            })
        }
        // CALL, CALL_PLT: two instructions
        18 | 19 => {
            let value = plus(link.address(site)?).wrapping_sub(place);
            signed(value.wrapping_add(0x800), 32)?;
            link.patch(site, |word| upper(word, value))?;
            let second =
                Site { relocation: super::super::dynamic::Relocation { place: place + 4, ..site.relocation }, ..site };
            link.patch(second, |word| lower_load(word, value))
        }
        20..=23 => {
            let value = high(link, site)?;
            link.patch(site, |word| upper(word, value))
        }
        // PCREL_LO12_I, PCREL_LO12_S: the symbol is where the high half is
        24 | 25 => {
            let at = link.address(site)?;
            let other = link.at_place(site, at, &HIGH).ok_or_else(|| format!("there is no high half at {at:#x}"))?;
            let value = high(link, other)?;
            let is_store = site.relocation.kind == 25;
            link.patch(site, |word| if is_store { lower_store(word, value) } else { lower_load(word, value) })
        }
        // HI20, LO12_I, LO12_S
        26 => {
            let value = plus(link.address(site)?);
            signed(value.wrapping_add(0x800), 32)?;
            link.patch(site, |word| upper(word, value))
        }
        27 => link.address(site).map(plus).and_then(|value| link.patch(site, |word| lower_load(word, value))),
        28 => link.address(site).map(plus).and_then(|value| link.patch(site, |word| lower_store(word, value))),
        // TPREL_HI20, TPREL_LO12_I, TPREL_LO12_S
        29 => link.thread_offset(site).and_then(|value| link.patch(site, |word| upper(word, value))),
        30 => link.thread_offset(site).and_then(|value| link.patch(site, |word| lower_load(word, value))),
        31 => link.thread_offset(site).and_then(|value| link.patch(site, |word| lower_store(word, value))),
        _ => in_short_code(link, site),
    }
}

/// The relocations of instructions of two bytes.
fn in_short_code(link: &mut Link<'_>, site: Site) -> Result<(), String> {
    let (place, addend) = (site.relocation.place, site.relocation.addend);
    let plus = |address: u64| address.wrapping_add_signed(addend);
    match site.relocation.kind {
        44 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 9)? as u16;
            compressed(link, site, |word| {
                let fields =
                    (value >> 8 & 1) << 12 | (value >> 3 & 3) << 10 | (value >> 6 & 3) << 5 | (value >> 1 & 3) << 3;
                word & 0xe383 | fields | (value >> 5 & 1) << 2
            })
        }
        45 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 12)? as u16;
            compressed(link, site, |word| {
                let high =
                    (value >> 11 & 1) << 12 | (value >> 4 & 1) << 11 | (value >> 8 & 3) << 9 | (value >> 10 & 1) << 8;
                let low = (value >> 6 & 1) << 7 | (value >> 7 & 1) << 6 | (value >> 1 & 7) << 3 | (value >> 5 & 1) << 2;
                word & 0xe003 | high | low
            })
        }
        other => Err(unknown(other)),
    }
}

fn compressed(link: &mut Link<'_>, site: Site, change: impl FnOnce(u16) -> u16) -> Result<(), String> {
    let word = u16::from_le_bytes(link.read(site)?);
    link.write(site, &change(word).to_le_bytes())
}

/// The distance that the high half at a place says.
fn high(link: &mut Link<'_>, site: Site) -> Result<u64, String> {
    let (place, addend) = (site.relocation.place, site.relocation.addend);
    let address = match site.relocation.kind {
        20 => link.slot(site)?,
        21 => link.thread_slot(site)?,
        22 => link.tls_pair(site, DTV_OFFSET)?,
        _ => link.address(site)?.wrapping_add_signed(addend),
    };
    let value = address.wrapping_sub(place);
    signed(value.wrapping_add(0x800), 32)?;
    Ok(value)
}

/// `lui` or `auipc` with the high 20 bits, rounded for the signed low half.
const fn upper(word: u32, value: u64) -> u32 {
    word & 0xfff | (value as u32).wrapping_add(0x800) & 0xffff_f000
}

/// `addi`, `jalr` or a load with the low 12 bits.
const fn lower_load(word: u32, value: u64) -> u32 {
    word & 0x000f_ffff | (value as u32) << 20
}

/// A store with the low 12 bits.
const fn lower_store(word: u32, value: u64) -> u32 {
    let value = value as u32;
    word & 0x01ff_f07f | (value >> 5 & 0x7f) << 25 | (value & 0x1f) << 7
}

/// Functions of ours.
static CODE: Code = Code {
    call: CALL,
    tls_descriptor: TLS_DESCRIPTOR,
    tls_get_addr: TLS_GET_ADDR,
    nop: &[0x13, 0x00, 0x00, 0x00],
    enter: ENTER,
    leave: LEAVE,
    callbacks: [COMPARE_INT, COMPARE_LONG, COMPARE_BYTE, COMPARE_STR, ZERO],
    at_entry: &[0x0c, 2, 0], // CFA is sp
    on_entering: &[0x44, 0x0e, 16, 0x48, 0x81, 1, 0x88, 2],
    entered: 12,
    on_leaving: &[0x0e, 0, 0xc1, 0xc8],
    last: 4,
    ra: 1,
};

/// Calls what the word 64 KiB after this code points to.
#[rustfmt::skip]
const CALL: &[u8] = &[
    0x17, 0x03, 0x01, 0x00, // auipc t1, 16
    0x03, 0x33, 0x03, 0x00, // ld t1, 0(t1)
    0xe7, 0x00, 0x03, 0x00, // jalr t1
];

/// What a TLS descriptor of a static block calls: the offset is its second word.
#[rustfmt::skip]
const TLS_DESCRIPTOR: &[u8] = &[
    0x03, 0x35, 0x85, 0x00, // ld a0, 8(a0)
    0x67, 0x80, 0x02, 0x00, // jr t0
];

/// `__tls_get_addr`: a0 points to the number of a module, and an offset less [`DTV_OFFSET`].
#[rustfmt::skip]
const TLS_GET_ADDR: &[u8] = &[
    0x83, 0x35, 0x02, 0xff, // ld a1, -16(tp)
    0x03, 0x36, 0x05, 0x00, // ld a2, 0(a0)
    0x13, 0x16, 0x46, 0x00, // slli a2, a2, 4
    0xb3, 0x85, 0xc5, 0x00, // add a1, a1, a2
    0x83, 0xb5, 0x05, 0x00, // ld a1, 0(a1)
    0x03, 0x35, 0x85, 0x00, // ld a0, 8(a0)
    0x33, 0x05, 0xb5, 0x00, // add a0, a0, a1
    0xb7, 0x15, 0x00, 0x00, // lui a1, 1
    0x9b, 0x85, 0x05, 0x80, // addiw a1, a1, -2048
    0x33, 0x05, 0xb5, 0x00, // add a0, a0, a1
    0x67, 0x80, 0x00, 0x00, // ret
];

/// Makes a frame.
#[rustfmt::skip]
const ENTER: &[u8] = &[
    0x13, 0x01, 0x01, 0xff, // addi sp, sp, -16
    0x23, 0x34, 0x11, 0x00, // sd ra, 8(sp)
    0x23, 0x30, 0x81, 0x00, // sd s0, 0(sp)
    0x13, 0x04, 0x01, 0x01, // addi s0, sp, 16
];

/// Takes it down and returns.
#[rustfmt::skip]
const LEAVE: &[u8] = &[
    0x83, 0x30, 0x81, 0x00, // ld ra, 8(sp)
    0x03, 0x34, 0x01, 0x00, // ld s0, 0(sp)
    0x13, 0x01, 0x01, 0x01, // addi sp, sp, 16
    0x67, 0x80, 0x00, 0x00, // ret
];

/// `int` by `int`.
#[rustfmt::skip]
const COMPARE_INT: &[u8] = &[
    0x03, 0x25, 0x05, 0x00, // lw a0, 0(a0)
    0x83, 0xa5, 0x05, 0x00, // lw a1, 0(a1)
    0x33, 0x26, 0xb5, 0x00, // slt a2, a0, a1
    0xb3, 0xa6, 0xa5, 0x00, // slt a3, a1, a0
    0x33, 0x85, 0xc6, 0x40, // sub a0, a3, a2
];

/// `long` by `long`.
#[rustfmt::skip]
const COMPARE_LONG: &[u8] = &[
    0x03, 0x35, 0x05, 0x00, // ld a0, 0(a0)
    0x83, 0xb5, 0x05, 0x00, // ld a1, 0(a1)
    0x33, 0x26, 0xb5, 0x00, // slt a2, a0, a1
    0xb3, 0xa6, 0xa5, 0x00, // slt a3, a1, a0
    0x33, 0x85, 0xc6, 0x40, // sub a0, a3, a2
];

/// Byte by byte.
#[rustfmt::skip]
const COMPARE_BYTE: &[u8] = &[
    0x03, 0x45, 0x05, 0x00, // lbu a0, 0(a0)
    0x83, 0xc5, 0x05, 0x00, // lbu a1, 0(a1)
    0x33, 0x05, 0xb5, 0x40, // sub a0, a0, a1
];

/// As `strcmp`.
#[rustfmt::skip]
const COMPARE_STR: &[u8] = &[
    0x03, 0x46, 0x05, 0x00, // lbu a2, 0(a0)
    0x83, 0xc6, 0x05, 0x00, // lbu a3, 0(a1)
    0x13, 0x05, 0x15, 0x00, // addi a0, a0, 1
    0x93, 0x85, 0x15, 0x00, // addi a1, a1, 1
    0x63, 0x14, 0xd6, 0x00, // bne a2, a3, 0xf8
    0xe3, 0x16, 0x06, 0xfe, // bnez a2, 0xe0
    0x33, 0x05, 0xd6, 0x40, // sub a0, a2, a3
];

/// Returns 0.
#[rustfmt::skip]
const ZERO: &[u8] = &[
    0x13, 0x05, 0x00, 0x00, // li a0, 0
];
