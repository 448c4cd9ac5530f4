//! arm64: the raw `Image` (Documentation/arch/arm64/booting.rst).

use super::super::bytes::{slice, u64_at};
use super::{BootFormat, Feature, Opened, pe};

pub(super) static FORMAT: BootFormat = BootFormat {
    machine: 183,
    open,
    // KIMAGE_VADDR (arch/arm64/include/asm/memory.h): the end of the modules' area. 2 GiB of modules since 6.5, 128 MiB before; 48 bits
    // of virtual address, or 39.
    bases: &[0xffff_8000_8000_0000, 0xffff_8000_0800_0000, 0xffff_ffc0_8000_0000, 0xffff_ffc0_0800_0000],
    // R_AARCH64_RELATIVE (AAELF64).
    relative: Some(0x403),
    features: &[
        Feature {
            name: "reliable walk",
            needs: &["arch_stack_walk_reliable"],
            lost: "the reliable walk is not judged",
        },
        Feature { name: "SDEI", needs: &["__sdei_asm_handler"], lost: "no SDEI events" },
        Feature { name: "pseudo-NMI", needs: &["enable_pseudo_nmi"], lost: "no NMIs" },
    ],
};

/// `ARM\x64` at 56.
fn open(data: &[u8]) -> Option<Result<Opened, String>> {
    (slice(data, 0x38, 4)? == b"ARMd").then(|| read(data).ok_or_else(|| "its arm64 header is truncated".to_owned())?)
}

fn read(data: &[u8]) -> Option<Result<Opened, String>> {
    let (text_offset, image_size) = (u64_at(data, 0x08)?, u64_at(data, 0x10)?);
    let flags = u64_at(data, 0x18)?;
    if flags & 1 != 0 {
        return Some(Err("it is a big-endian arm64 Image".to_owned()));
    }
    if text_offset != 0 {
        // Until 5.10 the image began 512 KiB into the kernel's mapping.
        return Some(Err(format!("its text_offset is {text_offset:#x}: an arm64 Image of before 5.10")));
    }
    // What is signed for secure boot has its signature behind the image, where .bss will be.
    let end = pe::end_of_sections(data).unwrap_or(data.len());
    Some(Ok(Opened::Raw("arm64 Image", data[..end].to_vec(), image_size)))
}
