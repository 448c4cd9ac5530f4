//! The memory of a case: what is mapped, and the pages that are held.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::hex::{Span, runs};
use super::{MAX_MAPPED, MAX_PAGES, bytes};
use crate::guest::{PAGE, Segment};

/// A range of pages with one permission. It may be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Mapped {
    range: Span,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    execute: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    write: bool,
}

/// Pages, as they are before the run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Pages {
    /// Where, in the order of the data.
    address: Vec<Span>,
    /// Base64 of zstd.
    data: String,
}

impl Pages {
    /// Packs these pages, whose bytes follow one another.
    pub(super) fn new(pages: &BTreeSet<u64>, data: &[u8]) -> Self {
        Self { address: runs(pages.iter().copied()), data: bytes::pack(data) }
    }
}

impl Mapped {
    pub(super) fn new(segment: &Segment) -> Self {
        let Segment { address, data: _, executable, writable } = segment;
        Self { range: Span(*address..segment.end()), execute: *executable, write: *writable }
    }
}

/// The memory, and the addresses of the pages that are held; all others are zeros that nobody may use.
pub(super) fn load(mapped: &[Mapped], pages: &[Pages]) -> Result<(Vec<Segment>, BTreeSet<u64>), String> {
    let mut ranges = Vec::new();
    for map in mapped {
        ranges.push((map.range.pages().map_err(|reason| format!("mapped: {reason}"))?, map));
    }
    ranges.sort_by_key(|(range, _)| range.start);
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(format!("mapped: {:?} and {:?} overlap", pair[0].1.range, pair[1].1.range));
    }
    let total = ranges.iter().fold(0_u64, |total, (range, _)| total.saturating_add(range.end - range.start));
    if total > MAX_MAPPED {
        return Err(format!("mapped: {total:#x} bytes; at most {MAX_MAPPED:#x} are mapped"));
    }
    let segment = |(range, map): (std::ops::Range<u64>, &Mapped)| Segment {
        address: range.start,
        data: vec![0; (range.end - range.start) as usize],
        executable: map.execute,
        writable: map.write,
    };
    let mut segments: Vec<Segment> = ranges.into_iter().map(segment).collect();
    let mut held = BTreeSet::new();
    for group in pages {
        fill(group, &mut segments, &mut held).map_err(|reason| format!("page: {reason}"))?;
    }
    Ok((segments, held))
}

/// Puts pages into memory.
fn fill(group: &Pages, segments: &mut [Segment], held: &mut BTreeSet<u64>) -> Result<(), String> {
    let mut size = 0_u64;
    for span in &group.address {
        let range = span.pages()?;
        size = size.saturating_add(range.end - range.start);
        if held.len() as u64 * PAGE + size > MAX_PAGES * PAGE {
            return Err(format!("there are more than {MAX_PAGES} pages"));
        }
    }
    let data = bytes::unpack(&group.data, size as usize)?;
    let addresses = group.address.iter().flat_map(|span| span.0.clone().step_by(PAGE as usize));
    for (address, page) in addresses.zip(data.chunks_exact(PAGE as usize)) {
        let segment = segments.iter_mut().find(|segment| (segment.address..segment.end()).contains(&address));
        let segment = segment.ok_or_else(|| format!("{address:#x} is not mapped"))?;
        if !held.insert(address) {
            return Err(format!("{address:#x} is there twice"));
        }
        let at = (address - segment.address) as usize;
        segment.data[at..at + page.len()].copy_from_slice(page);
    }
    Ok(())
}
