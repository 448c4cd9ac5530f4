//! riscv64: the raw `Image` (Documentation/arch/riscv/boot-image-header.rst).

use super::super::bytes::{slice, u64_at};
use super::{BootFormat, Feature, Opened, pe};

pub(super) static FORMAT: BootFormat = BootFormat {
    machine: 243,
    open,
    // KERNEL_LINK_ADDR (arch/riscv/include/asm/pgtable.h): the last 2 GiB.
    bases: &[0xffff_ffff_8000_0000],
    relative: None,
    features: &[Feature {
        name: "reliable walk",
        needs: &["arch_stack_walk_reliable"],
        lost: "best-effort walks are judged alone",
    }],
};

/// `RISCV` at 48 and `RSC\x05` at 56.
fn open(data: &[u8]) -> Option<Result<Opened, String>> {
    let is_it = slice(data, 0x30, 8)? == b"RISCV\0\0\0" || slice(data, 0x38, 4)? == b"RSC\x05";
    is_it.then(|| {
        let image_size = u64_at(data, 0x10).ok_or("its riscv64 header is truncated")?;
        let end = pe::end_of_sections(data).unwrap_or(data.len());
        Ok(Opened::Raw("riscv64 Image", data[..end].to_vec(), image_size))
    })
}
