//! The unwind data that a guest's file has beside its memory. A kernel image has none: its own unwinder reads what is in memory.

use serde::{Deserialize, Serialize};

use super::bytes;
use super::hex::{Hex, Span};
use crate::guest::{LoadedSection, UnwindSections};

/// The largest section, in bytes.
const MAX_SECTION: usize = 1 << 24;

/// A section with unwind data.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    kind: Kind,
    address: Hex,
    /// Of `.sframe`: the addresses of its file, where a guest has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Span>,
    size: usize,
    /// Base64 of zstd.
    data: String,
}

/// The kinds of [`UnwindSections`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    let UnwindSections { sframe, eh_frame, debug_frame, orc_hints, .. } = sections;
    let file_of = |kind: Kind, address: u64| {
        let file = sections.files.iter().find(|file| kind == Kind::Sframe && file.contains(&address));
        file.cloned().map(Span)
    };
    let file_of = &file_of;
    let hints: Vec<_> = orc_hints.iter().cloned().collect();
    let all =
        [(Kind::Sframe, sframe), (Kind::EhFrame, eh_frame), (Kind::DebugFrame, debug_frame), (Kind::OrcHints, &hints)];
    let packed = all.into_iter().flat_map(|(kind, sections)| {
        sections.iter().map(move |LoadedSection { address, data }| Section {
            kind,
            address: Hex(*address),
            file: file_of(kind, *address),
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
    for Section { kind, address, file, size, data } in sections {
        total = total.saturating_add(*size);
        if total > MAX_SECTION {
            return Err(format!("there are more than {MAX_SECTION:#x} bytes"));
        }
        let section = LoadedSection { address: address.0, data: bytes::unpack(data, *size)? };
        unpacked.files.extend(file.iter().map(|file| file.0.clone()));
        match kind {
            Kind::Sframe => unpacked.sframe.push(section),
            Kind::EhFrame => unpacked.eh_frame.push(section),
            Kind::DebugFrame => unpacked.debug_frame.push(section),
            Kind::OrcHints => unpacked.orc_hints = Some(section),
        }
    }
    Ok(unpacked)
}
