//! The unwind data that a guest's file has beside its memory. A kernel image has none: its own unwinder reads what is in memory.

use serde::{Deserialize, Serialize};

use super::bytes;
use super::hex::Hex;
use crate::guest::{LoadedSection, UnwindSections};

/// The largest section, in bytes.
const MAX_SECTION: usize = 1 << 24;

/// A section with unwind data.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    kind: Kind,
    address: Hex,
    size: usize,
    /// Base64 of zstd.
    data: String,
}

/// The kinds of [`UnwindSections`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Sframe,
    EhFrame,
    DebugFrame,
    OrcHints,
}

/// All sections, but for what could not be read, and for a kernel's own ORC table: it has megabytes, and the kernel's unwinder reads
/// it in memory.
pub(super) fn pack(sections: &UnwindSections) -> Vec<Section> {
    let UnwindSections { sframe, eh_frame, debug_frame, orc_hints, orc: _, unread: _ } = sections;
    let hints: Vec<_> = orc_hints.iter().cloned().collect();
    let all =
        [(Kind::Sframe, sframe), (Kind::EhFrame, eh_frame), (Kind::DebugFrame, debug_frame), (Kind::OrcHints, &hints)];
    let packed = all.into_iter().flat_map(|(kind, sections)| {
        sections.iter().map(move |LoadedSection { address, data }| Section {
            kind,
            address: Hex(*address),
            size: data.len(),
            data: bytes::pack(data),
        })
    });
    packed.collect()
}

/// The sections.
///
/// # Errors
///
/// What is wrong with one.
pub(super) fn unpack(sections: &[Section]) -> Result<UnwindSections, String> {
    let mut unpacked = UnwindSections::default();
    let mut total = 0_usize;
    for Section { kind, address, size, data } in sections {
        total = total.saturating_add(*size);
        if total > MAX_SECTION {
            return Err(format!("there are more than {MAX_SECTION:#x} bytes"));
        }
        let section = LoadedSection { address: address.0, data: bytes::unpack(data, *size)? };
        match kind {
            Kind::Sframe => unpacked.sframe.push(section),
            Kind::EhFrame => unpacked.eh_frame.push(section),
            Kind::DebugFrame => unpacked.debug_frame.push(section),
            Kind::OrcHints => unpacked.orc_hints = Some(section),
        }
    }
    Ok(unpacked)
}
