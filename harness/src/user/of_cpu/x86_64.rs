//! x86-64 (psABI 4.4: relocations).

use super::super::link::{Code, Link, OfCpu, Site, Variant, signed};
use super::super::module::STUB_SIZE;
use super::super::tls::CANARY;
use super::unknown;

pub(super) struct X86_64;

impl OfCpu for X86_64 {
    fn relocate(&self, link: &mut Link<'_>, site: Site) -> Result<(), String> {
        let (place, addend) = (site.relocation.place, site.relocation.addend);
        let relative = |address: u64| signed(address.wrapping_add_signed(addend).wrapping_sub(place), 32);
        let value = match site.relocation.kind {
            0 => return Ok(()),
            // 64, GLOB_DAT, JUMP_SLOT
            1 | 6 | 7 => return link.word(site),
            5 => return link.copy(site),
            // RELATIVE, RELATIVE64
            8 | 38 => {
                let value = link.bias(site).wrapping_add_signed(addend);
                return link.write(site, &value.to_le_bytes());
            }
            16 => {
                let (module, _) = link.tls(site)?;
                return link.write(site, &(module as u64 + 1).to_le_bytes());
            }
            // DTPOFF64
            17 => {
                let (_, offset) = link.tls(site)?;
                return link.write(site, &offset.to_le_bytes());
            }
            // TPOFF64
            18 => {
                let offset = link.thread_offset(site)?;
                return link.write(site, &offset.to_le_bytes());
            }
            // PC64
            24 => {
                let value = link.address(site)?.wrapping_add_signed(addend).wrapping_sub(place);
                return link.write(site, &value.to_le_bytes());
            }
            36 => return link.tls_descriptor(site),
            37 => {
                link.indirect(site);
                return Ok(());
            }
            // PC32, PLT32
            2 | 4 => relative(link.address(site)?)?,
            // GOTPCREL, GOTPCRELX, REX_GOTPCRELX
            9 | 41 | 42 => relative(link.slot(site)?)?,
            // 32: zero-extended
            10 => {
                let value = link.address(site)?.wrapping_add_signed(addend);
                let value = u32::try_from(value).map_err(|_| format!("{value:#x} does not fit into 32 bits"))?;
                return link.write(site, &value.to_le_bytes());
            }
            // 32S
            11 => signed(link.address(site)?.wrapping_add_signed(addend), 32)?,
            // TLSGD, TLSLD: the own block will do where the symbol is the module's own
            19 | 20 => relative(link.tls_pair(site, 0)?)?,
            // DTPOFF32
            21 => signed(link.tls(site)?.1, 32)?,
            // GOTTPOFF
            22 => relative(link.thread_slot(site)?)?,
            // TPOFF32
            23 => signed(link.thread_offset(site)?, 32)?,
            other => return Err(unknown(other)),
        };
        link.write(site, &(value as i32).to_le_bytes())
    }

    /// `jmp *slot(%rip)`
    fn stub(&self, at: u64, slot: u64) -> [u8; STUB_SIZE as usize] {
        let mut code = [0x90; STUB_SIZE as usize];
        let distance = slot.wrapping_sub(at).wrapping_sub(6) as u32;
        code[..2].copy_from_slice(&[0xff, 0x25]);
        code[2..6].copy_from_slice(&distance.to_le_bytes());
        code
    }

    fn variant(&self) -> Variant {
        Variant::Two
    }

    /// glibc's `tcbhead_t`: the block itself, the vector, the thread, the canary, and what hides pointers.
    fn thread_words(&self, pointer: u64, vector: u64) -> Vec<(i64, u64)> {
        vec![(0, pointer), (8, vector), (0x10, pointer), (0x28, CANARY), (0x30, CANARY.rotate_left(32))]
    }

    fn resolver_arguments(&self, _: u64) -> Vec<u64> {
        Vec::new()
    }

    fn code(&self) -> &'static Code {
        &CODE
    }
}

/// Functions of ours.
static CODE: Code = Code {
    call: CALL,
    tls_descriptor: TLS_DESCRIPTOR,
    tls_get_addr: TLS_GET_ADDR,
    nop: &[0x90],
    enter: ENTER,
    leave: LEAVE,
    callbacks: [COMPARE_INT, COMPARE_LONG, COMPARE_BYTE, COMPARE_STR, ZERO],
    at_entry: &[0x0c, 7, 8, 0x90, 1],        // CFA is rsp + 8; rip at CFA - 8
    on_entering: &[0x41, 0x0e, 16, 0x86, 2], // push %rbp
    entered: 1,
    on_leaving: &[0x0c, 7, 8, 0xc6],
    last: 1,
    ra: 16,
};

/// Calls what the word 64 KiB after this code points to.
#[rustfmt::skip]
const CALL: &[u8] = &[
    0xff, 0x15, 0xfa, 0xff, 0x00, 0x00, // callq *65530(%rip)
];

/// What a TLS descriptor of a static block calls: the offset is its second word.
#[rustfmt::skip]
const TLS_DESCRIPTOR: &[u8] = &[
    0x48, 0x8b, 0x40, 0x08, // movq 8(%rax), %rax
    0xc3, // retq
];

/// `__tls_get_addr`: rdi points to the number of a module, and an offset.
#[rustfmt::skip]
const TLS_GET_ADDR: &[u8] = &[
    0x64, 0x48, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x00, 0x00, // movq %fs:8, %rax
    0x48, 0x8b, 0x0f, // movq (%rdi), %rcx
    0x48, 0xc1, 0xe1, 0x04, // shlq $4, %rcx
    0x48, 0x8b, 0x04, 0x08, // movq (%rax,%rcx), %rax
    0x48, 0x03, 0x47, 0x08, // addq 8(%rdi), %rax
    0xc3, // retq
];

/// Makes a frame.
#[rustfmt::skip]
const ENTER: &[u8] = &[
    0x55, // pushq %rbp
    0x48, 0x89, 0xe5, // movq %rsp, %rbp
];

/// Takes it down and returns.
#[rustfmt::skip]
const LEAVE: &[u8] = &[
    0x5d, // popq %rbp
    0xc3, // retq
];

/// `int` by `int`.
#[rustfmt::skip]
const COMPARE_INT: &[u8] = &[
    0x8b, 0x0f, // movl (%rdi), %ecx
    0x31, 0xc0, // xorl %eax, %eax
    0x3b, 0x0e, // cmpl (%rsi), %ecx
    0x0f, 0x9f, 0xc0, // setg %al
    0x0f, 0x9c, 0xc1, // setl %cl
    0x0f, 0xb6, 0xc9, // movzbl %cl, %ecx
    0x29, 0xc8, // subl %ecx, %eax
];

/// `long` by `long`.
#[rustfmt::skip]
const COMPARE_LONG: &[u8] = &[
    0x48, 0x8b, 0x0f, // movq (%rdi), %rcx
    0x31, 0xc0, // xorl %eax, %eax
    0x48, 0x3b, 0x0e, // cmpq (%rsi), %rcx
    0x0f, 0x9f, 0xc0, // setg %al
    0x0f, 0x9c, 0xc1, // setl %cl
    0x0f, 0xb6, 0xc9, // movzbl %cl, %ecx
    0x29, 0xc8, // subl %ecx, %eax
];

/// Byte by byte.
#[rustfmt::skip]
const COMPARE_BYTE: &[u8] = &[
    0x0f, 0xb6, 0x07, // movzbl (%rdi), %eax
    0x0f, 0xb6, 0x0e, // movzbl (%rsi), %ecx
    0x29, 0xc8, // subl %ecx, %eax
];

/// As `strcmp`.
#[rustfmt::skip]
const COMPARE_STR: &[u8] = &[
    0x0f, 0xb6, 0x07, // movzbl (%rdi), %eax
    0x0f, 0xb6, 0x0e, // movzbl (%rsi), %ecx
    0x48, 0xff, 0xc7, // incq %rdi
    0x48, 0xff, 0xc6, // incq %rsi
    0x39, 0xc8, // cmpl %ecx, %eax
    0x75, 0x04, // jne 0x88
    0x85, 0xc0, // testl %eax, %eax
    0x75, 0xec, // jne 0x74
    0x29, 0xc8, // subl %ecx, %eax
];

/// Returns 0.
#[rustfmt::skip]
const ZERO: &[u8] = &[
    0x31, 0xc0, // xorl %eax, %eax
];
