//! x86-64: the `bzImage` (Documentation/arch/x86/boot.rst), in which a compressed ELF file lies.

use super::super::bytes::{slice, u8_at, u16_at, u32_at};
use super::super::decompress::Format;
use super::{BootFormat, Feature, MAX_IMAGE, Opened};

pub(super) static FORMAT: BootFormat = BootFormat {
    machine: 62,
    open,
    // Never raw.
    bases: &[],
    relative: None,
    features: &[
        Feature {
            name: "reliable walk",
            needs: &["arch_stack_walk_reliable"],
            lost: "the reliable walk is not judged",
        },
        Feature { name: "ORC", needs: &["orc_lookup"], lost: "walks follow frame pointers" },
    ],
};

/// `HdrS` at 0x202.
fn open(data: &[u8]) -> Option<Result<Opened, String>> {
    (slice(data, 0x202, 4)? == b"HdrS")
        .then(|| payload(data).ok_or_else(|| "its setup header is truncated".to_owned())?)
}

fn payload(data: &[u8]) -> Option<Result<Opened, String>> {
    let version = u16_at(data, 0x206)?;
    if version < 0x208 {
        return Some(Err(format!("its boot protocol {version:#x} does not say where the payload is")));
    }
    let setup_sectors = match u8_at(data, 0x1f1)? {
        0 => 4, // as boot.rst says
        sectors => usize::from(sectors),
    };
    let (offset, length) = (u32_at(data, 0x248)? as usize, u32_at(data, 0x24c)? as usize);
    let start = (setup_sectors + 1) * 512 + offset;
    let Some(payload) = slice(data, start, length) else {
        return Some(Err(format!(
            "the payload of its bzImage, {length:#x} bytes at {start:#x}, ends after the file: truncated?"
        )));
    };
    Some(match Format::of(payload) {
        None => Err("the payload of its bzImage is compressed in an unknown way".to_owned()),
        Some(format) => {
            let inside =
                format.decode(payload, MAX_IMAGE).map_err(|reason| format!("the payload of its bzImage: {reason}"));
            inside.map(|inside| Opened::Inside(format!("bzImage ({})", format.name()), inside))
        }
    })
}
