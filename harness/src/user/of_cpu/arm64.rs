//! 64-bit Arm (AAELF64: relocations).

use super::super::link::{Code, Link, OfCpu, Site, Variant, signed};
use super::super::module::STUB_SIZE;
use super::unknown;

pub(super) struct Arm64;

/// HWCAP_FP and HWCAP_ASIMD (Linux arch/arm64/include/uapi/asm/hwcap.h): nothing that the emulator lacks is chosen.
const HWCAP: u64 = 0b11;
/// Says that the second argument is there (AAELF64, `_IFUNC_ARG_HWCAP`).
const IFUNC_ARG_HWCAP: u64 = 1 << 62;

impl OfCpu for Arm64 {
    fn relocate(&self, link: &mut Link<'_>, site: Site) -> Result<(), String> {
        let addend = site.relocation.addend;
        match site.relocation.kind {
            0 | 256 | 569 => Ok(()), // NONE, TLSDESC_CALL
            // ABS64, GLOB_DAT, JUMP_SLOT
            257 | 1025 | 1026 => link.word(site),
            1024 => link.copy(site),
            1027 => {
                let value = link.bias(site).wrapping_add_signed(addend);
                link.write(site, &value.to_le_bytes())
            }
            1028 => {
                let (module, _) = link.tls(site)?;
                link.write(site, &(module as u64 + 1).to_le_bytes())
            }
            1029 => {
                let (_, offset) = link.tls(site)?;
                link.write(site, &offset.to_le_bytes())
            }
            1030 => {
                let offset = link.thread_offset(site)?;
                link.write(site, &offset.to_le_bytes())
            }
            1031 => link.tls_descriptor(site),
            1032 => {
                link.indirect(site);
                Ok(())
            }
            _ => in_code(link, site),
        }
    }

    /// `adrp x16, slot; ldr x17, [x16, slot]; br x17`
    fn stub(&self, at: u64, slot: u64) -> [u8; STUB_SIZE as usize] {
        let words =
            [page(0x9000_0010, (slot & !0xfff).wrapping_sub(at & !0xfff)), low(0xf940_0211, slot, 3), 0xd61f_0220];
        let mut code = [0; STUB_SIZE as usize];
        for (place, word) in code.chunks_exact_mut(4).zip(words.into_iter().chain([0xd503_201f])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        code
    }

    /// AAELF64: the first block is 16 bytes above the thread pointer.
    fn variant(&self) -> Variant {
        Variant::One { head: 16 }
    }

    /// glibc's `tcbhead_t`: the vector.
    fn thread_words(&self, _: u64, vector: u64) -> Vec<(i64, u64)> {
        vec![(0, vector)]
    }

    fn resolver_arguments(&self, room: u64) -> Vec<u64> {
        vec![HWCAP | IFUNC_ARG_HWCAP, room]
    }

    /// AAELF64, `__ifunc_arg_t`: its size, AT_HWCAP, AT_HWCAP2.
    fn capabilities(&self) -> Vec<u64> {
        vec![24, HWCAP, 0]
    }

    fn code(&self) -> &'static Code {
        &CODE
    }
}

/// The relocations of objects.
fn in_code(link: &mut Link<'_>, site: Site) -> Result<(), String> {
    let (place, addend) = (site.relocation.place, site.relocation.addend);
    let plus = |address: u64| address.wrapping_add_signed(addend);
    let pages = |address: u64| (address & !0xfff).wrapping_sub(place & !0xfff);
    let kind = site.relocation.kind;
    match kind {
        // ABS32, and relative to the place: 64, 32 and 16 bits; PLT32
        258 => link.address(site).map(plus).and_then(|value| link.write(site, &(value as u32).to_le_bytes())),
        260 => {
            link.address(site).map(plus).and_then(|value| link.write(site, &value.wrapping_sub(place).to_le_bytes()))
        }
        261 | 314 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 32)?;
            link.write(site, &(value as i32).to_le_bytes())
        }
        // MOVW_UABS_G0 to G3
        263..=269 => {
            let value = plus(link.address(site)?) >> (16 * ((kind - 263) / 2));
            link.patch(site, |word| word & !(0xffff << 5) | (value as u32 & 0xffff) << 5)
        }
        // LD_PREL_LO19, CONDBR19
        273 | 280 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 21)? >> 2;
            link.patch(site, |word| word & !(0x7_ffff << 5) | (value as u32 & 0x7_ffff) << 5)
        }
        // ADR_PREL_LO21
        274 => {
            let value = plus(link.address(site)?).wrapping_sub(place);
            link.patch(site, |word| address(word, signed(value, 21).unwrap_or(0) as u32))
        }
        // ADR_PREL_PG_HI21, and the same without a check
        275 | 276 => {
            let value = plus(link.address(site)?);
            link.patch(site, |word| page(word, pages(value)))
        }
        // ADD_ABS_LO12_NC, and loads and stores of 1, 2, 4, 8 and 16 bytes
        277 | 278 | 284 | 285 | 286 | 299 => {
            let value = plus(link.address(site)?);
            let scale = match kind {
                284 => 1,
                285 => 2,
                286 => 3,
                299 => 4,
                _ => 0,
            };
            link.patch(site, |word| low(word, value, scale))
        }
        // TSTBR14
        279 => {
            let value = signed(plus(link.address(site)?).wrapping_sub(place), 16)? >> 2;
            link.patch(site, |word| word & !(0x3fff << 5) | (value as u32 & 0x3fff) << 5)
        }
        // JUMP26, CALL26: what is too far away is reached by a stub
        282 | 283 => {
            let direct = signed(plus(link.address(site)?).wrapping_sub(place), 28);
            let value = match direct {
                Ok(value) => value,
                Err(_) => signed(link.stub(site)?.wrapping_sub(place), 28)?,
            } >> 2;
            link.patch(site, |word| word & !0x3ff_ffff | value as u32 & 0x3ff_ffff)
        }
        _ => by_table(link, site),
    }
}

/// The relocations of objects that go by a table of addresses, or by the offsets of thread-local variables.
fn by_table(link: &mut Link<'_>, site: Site) -> Result<(), String> {
    let place = site.relocation.place;
    let pages = |address: u64| (address & !0xfff).wrapping_sub(place & !0xfff);
    match site.relocation.kind {
        // ADR_GOT_PAGE, LD64_GOT_LO12_NC
        311 => link.slot(site).and_then(|slot| link.patch(site, |word| page(word, pages(slot)))),
        312 => link.slot(site).and_then(|slot| link.patch(site, |word| low(word, slot, 3))),
        // TLSIE_ADR_GOTTPREL_PAGE21, TLSIE_LD64_GOTTPREL_LO12_NC
        541 => link.thread_slot(site).and_then(|slot| link.patch(site, |word| page(word, pages(slot)))),
        542 => link.thread_slot(site).and_then(|slot| link.patch(site, |word| low(word, slot, 3))),
        // TLSLE_ADD_TPREL_HI12, LO12, LO12_NC
        549 => link.thread_offset(site).and_then(|value| link.patch(site, |word| low(word, value >> 12, 0))),
        550 | 551 => link.thread_offset(site).and_then(|value| link.patch(site, |word| low(word, value, 0))),
        // TLSDESC_ADR_PAGE21, LD64_LO12, ADD_LO12
        562 => link.tls_descriptor_slot(site).and_then(|slot| link.patch(site, |word| page(word, pages(slot)))),
        563 => link.tls_descriptor_slot(site).and_then(|slot| link.patch(site, |word| low(word, slot, 3))),
        564 => link.tls_descriptor_slot(site).and_then(|slot| link.patch(site, |word| low(word, slot, 0))),
        other => Err(unknown(other)),
    }
}

/// `adr` or `adrp` with this immediate of 21 bits.
const fn address(word: u32, value: u32) -> u32 {
    word & !(3 << 29 | 0x7_ffff << 5) | (value & 3) << 29 | (value >> 2 & 0x7_ffff) << 5
}

/// `adrp` with this distance between pages, in bytes.
const fn page(word: u32, distance: u64) -> u32 {
    address(word, (distance >> 12) as u32)
}

/// `add`, or a load or store, with the low 12 bits of a value, in units of a power of two.
const fn low(word: u32, value: u64, scale: u32) -> u32 {
    word & !(0xfff << 10) | ((value & 0xfff) as u32 >> scale) << 10
}

/// Functions of ours.
static CODE: Code = Code {
    call: CALL,
    tls_descriptor: TLS_DESCRIPTOR,
    tls_get_addr: TLS_GET_ADDR,
    nop: &[0x1f, 0x20, 0x03, 0xd5],
    enter: ENTER,
    leave: LEAVE,
    callbacks: [COMPARE_INT, COMPARE_LONG, COMPARE_BYTE, COMPARE_STR, ZERO],
    at_entry: &[0x0c, 31, 0], // CFA is sp
    on_entering: &[0x44, 0x0e, 16, 0x9d, 2, 0x9e, 1],
    entered: 4,
    on_leaving: &[0x0e, 0, 0xdd, 0xde],
    last: 4,
    ra: 30,
};

/// Calls what the word 64 KiB after this code points to.
#[rustfmt::skip]
const CALL: &[u8] = &[
    0x10, 0x00, 0x08, 0x58, // ldr x16, 0x10000
    0x00, 0x02, 0x3f, 0xd6, // blr x16
];

/// What a TLS descriptor of a static block calls: the offset is its second word.
#[rustfmt::skip]
const TLS_DESCRIPTOR: &[u8] = &[
    0x00, 0x04, 0x40, 0xf9, // ldr x0, [x0, #8]
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

/// `__tls_get_addr`: x0 points to the number of a module, and an offset.
#[rustfmt::skip]
const TLS_GET_ADDR: &[u8] = &[
    0x41, 0xd0, 0x3b, 0xd5, // mrs x1, TPIDR_EL0
    0x21, 0x00, 0x40, 0xf9, // ldr x1, [x1]
    0x02, 0x0c, 0x40, 0xa9, // ldp x2, x3, [x0]
    0x21, 0x10, 0x02, 0x8b, // add x1, x1, x2, lsl #4
    0x20, 0x00, 0x40, 0xf9, // ldr x0, [x1]
    0x00, 0x00, 0x03, 0x8b, // add x0, x0, x3
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

/// Makes a frame.
#[rustfmt::skip]
const ENTER: &[u8] = &[
    0xfd, 0x7b, 0xbf, 0xa9, // stp x29, x30, [sp, #-16]!
    0xfd, 0x03, 0x00, 0x91, // mov x29, sp
];

/// Takes it down and returns.
#[rustfmt::skip]
const LEAVE: &[u8] = &[
    0xfd, 0x7b, 0xc1, 0xa8, // ldp x29, x30, [sp], #16
    0xc0, 0x03, 0x5f, 0xd6, // ret
];

/// `int` by `int`.
#[rustfmt::skip]
const COMPARE_INT: &[u8] = &[
    0x00, 0x00, 0x40, 0xb9, // ldr w0, [x0]
    0x21, 0x00, 0x40, 0xb9, // ldr w1, [x1]
    0x1f, 0x00, 0x01, 0x6b, // cmp w0, w1
    0xe0, 0xd7, 0x9f, 0x1a, // cset w0, gt
    0x00, 0xa0, 0x9f, 0x5a, // csinv w0, w0, wzr, ge
];

/// `long` by `long`.
#[rustfmt::skip]
const COMPARE_LONG: &[u8] = &[
    0x00, 0x00, 0x40, 0xf9, // ldr x0, [x0]
    0x21, 0x00, 0x40, 0xf9, // ldr x1, [x1]
    0x1f, 0x00, 0x01, 0xeb, // cmp x0, x1
    0xe0, 0xd7, 0x9f, 0x1a, // cset w0, gt
    0x00, 0xa0, 0x9f, 0x5a, // csinv w0, w0, wzr, ge
];

/// Byte by byte.
#[rustfmt::skip]
const COMPARE_BYTE: &[u8] = &[
    0x00, 0x00, 0x40, 0x39, // ldrb w0, [x0]
    0x21, 0x00, 0x40, 0x39, // ldrb w1, [x1]
    0x00, 0x00, 0x01, 0x4b, // sub w0, w0, w1
];

/// As `strcmp`.
#[rustfmt::skip]
const COMPARE_STR: &[u8] = &[
    0x02, 0x14, 0x40, 0x38, // ldrb w2, [x0], #1
    0x23, 0x14, 0x40, 0x38, // ldrb w3, [x1], #1
    0x5f, 0x00, 0x03, 0x6b, // cmp w2, w3
    0x41, 0x00, 0x00, 0x54, // b.ne 0xbc
    0x82, 0xff, 0xff, 0x35, // cbnz w2, 0xa8
    0x40, 0x00, 0x03, 0x4b, // sub w0, w2, w3
];

/// Returns 0.
#[rustfmt::skip]
const ZERO: &[u8] = &[
    0xe0, 0x03, 0x1f, 0x2a, // mov w0, wzr
];
