//! The section: its header, its index, and the rows of each function.

use alloc::vec::Vec;

use super::error::{Reason, TooLarge};
use super::row::{self, push};
use crate::row::Entry;
use crate::sframe::format::{
    FDE_ATTRIBUTE_SIZE, FDE_V3_SIZE, FLAG_FDE_FUNC_START_PCREL, FLAG_FDE_SORTED, FdeType, HEADER_SIZE, MAGIC, SFrameAbi,
};

/// The version that is written.
const VERSION: u8 = 3;
/// Bits of the first info byte of a function's attribute (specification, "The SFrame FDE Info Bytes").
const INFO_PAUTH_KEY_B: u8 = 0x20;
const INFO_SIGNAL: u8 = 0x80;
/// The second info byte: the type of the function.
const INFO2_FLEXIBLE: u8 = 1;

/// A function with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRows {
    /// Its first address. In a relocatable file a relocation gives it.
    pub start: u64,
    /// In bytes.
    pub size: u64,
    /// Whether it is the frame of a signal or an exception.
    pub signal: bool,
    /// Whether return addresses are signed with key B rather than A.
    pub b_key: bool,
    /// The entry that holds from each offset on, in bytes from the start. [`Entry::NoRow`] may only come first. No rows
    /// at all are allowed: then the function is known, and nothing is said of it.
    pub rows: Vec<(u64, Entry)>,
}

/// Where the section will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At this address: starts are filled in, and the index is sorted.
    Linked(u64),
    /// In a relocatable file: starts are 0, to be relocated, and functions stay in the order given.
    Relocatable,
}

/// The start of a function that the linker must fill in: 8 bytes, relative to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Its offset in the section, in bytes.
    pub offset: usize,
    /// The function, by its place in what was given.
    pub function: usize,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The section.
    pub bytes: Vec<u8>,
    /// What the linker must fill in; empty if the section is linked.
    pub relocations: Vec<Relocation>,
    /// The functions that were left out, by their place in what was given, and why.
    pub refused: Vec<(usize, Reason)>,
}

/// A function that can be written: its attribute with its rows.
struct Encoded {
    function: usize,
    start: u64,
    size: u32,
    rows: u16,
    bytes: Vec<u8>,
}

/// Writes a section of version 3.
///
/// A row that equals the one before it is left out, and so is a row that starts after the end of its function.
///
/// # Errors
///
/// The functions are too many for one section.
pub fn write(abi: SFrameAbi, placement: Placement, functions: &[FunctionRows]) -> Result<Written, TooLarge> {
    let mut written = Written::default();
    let mut all = Vec::with_capacity(functions.len());
    for (index, function) in functions.iter().enumerate() {
        match encode(abi, index, function) {
            Ok(encoded) => all.push(encoded),
            Err(reason) => written.refused.push((index, reason)),
        }
    }
    if let Placement::Linked(section) = placement {
        drop_unreachable(section, &mut all, &mut written.refused);
        all.sort_by_key(|function| (function.start, core::cmp::Reverse(function.size)));
        drop_overlapping(&mut all, &mut written.refused);
    }
    let flags = FLAG_FDE_FUNC_START_PCREL | if matches!(placement, Placement::Linked(_)) { FLAG_FDE_SORTED } else { 0 };
    let total = |length: usize| u32::try_from(length).map_err(|_| TooLarge);
    let rows = total(all.iter().map(|function| usize::from(function.rows)).sum())?;
    let length = total(all.iter().map(|function| function.bytes.len()).sum())?;
    let index_size = total(all.len() * FDE_V3_SIZE)?;

    let bytes = &mut written.bytes;
    push(bytes, abi, MAGIC.into(), 2);
    // No offset from the CFA to the frame pointer is the same in every row, and there is no auxiliary header.
    bytes.extend_from_slice(&[VERSION, flags, abi.number(), 0, abi.fixed_ra_offset().cast_unsigned(), 0]);
    for field in [total(all.len())?, rows, length, 0, index_size] {
        push(bytes, abi, field.into(), 4);
    }
    debug_assert_eq!(bytes.len(), HEADER_SIZE);
    let mut fre_offset = 0_usize;
    for function in &all {
        let start = match placement {
            Placement::Linked(section) => function.start.wrapping_sub(section.wrapping_add(bytes.len() as u64)),
            Placement::Relocatable => {
                written.relocations.push(Relocation { offset: bytes.len(), function: function.function });
                0
            }
        };
        push(bytes, abi, start, 8);
        push(bytes, abi, function.size.into(), 4);
        push(bytes, abi, fre_offset as u64, 4);
        fre_offset += function.bytes.len();
    }
    for function in all {
        bytes.extend_from_slice(&function.bytes);
    }
    Ok(written)
}

/// The start of a function is a signed distance from its own field, wherever in the index that will be.
fn drop_unreachable(section: u64, all: &mut Vec<Encoded>, refused: &mut Vec<(usize, Reason)>) {
    let last_field = HEADER_SIZE.saturating_add(all.len().saturating_mul(FDE_V3_SIZE)) as u64;
    all.retain(|function| {
        let distance = |field: u64| i128::from(function.start) - i128::from(section) - i128::from(field);
        let is_reached = [0, last_field].into_iter().all(|field| i64::try_from(distance(field)).is_ok());
        let has_end = function.start.checked_add(function.size.into()).is_some();
        if !(is_reached && has_end) {
            refused.push((function.function, Reason::OutOfReach));
        }
        is_reached && has_end
    });
}

/// Readers search the index: no two functions may cover the same address, or start at it.
fn drop_overlapping(all: &mut Vec<Encoded>, refused: &mut Vec<(usize, Reason)>) {
    let mut last: Option<(u64, u64)> = None;
    all.retain(|function| {
        if last.is_some_and(|(start, end)| function.start == start || function.start < end) {
            refused.push((function.function, Reason::Overlap));
            return false;
        }
        last = Some((function.start, function.start.saturating_add(function.size.into())));
        true
    });
}

fn encode(abi: SFrameAbi, index: usize, function: &FunctionRows) -> Result<Encoded, Reason> {
    let size = u32::try_from(function.size).map_err(|_| Reason::TooLarge(function.size))?;
    let rows = distinct_rows(function)?;
    let count = u16::try_from(rows.len()).map_err(|_| Reason::TooManyRows(rows.len()))?;
    let (fde_type, words) = match encode_rows(abi, FdeType::Default, &rows) {
        Err(_) if row::has_flexible(abi) => (FdeType::Flexible, encode_rows(abi, FdeType::Flexible, &rows)?),
        result => (FdeType::Default, result?),
    };
    // GNU as and ld choose by the size of the function and not by the largest offset.
    let offset_code: u8 = if size < 0x100 { 0 } else { u8::from(size >= 0x1_0000) + 1 };
    let key = if function.b_key && abi.has_pauth() { INFO_PAUTH_KEY_B } else { 0 };
    let signal = if function.signal { INFO_SIGNAL } else { 0 };
    let info2 = if fde_type == FdeType::Flexible { INFO2_FLEXIBLE } else { 0 };
    let mut bytes = Vec::new();
    push(&mut bytes, abi, count.into(), 2);
    // No rows repeat: the size of the block is 0.
    bytes.extend_from_slice(&[offset_code | key | signal, info2, 0]);
    debug_assert_eq!(bytes.len(), FDE_ATTRIBUTE_SIZE);
    for ((offset, _), words) in rows.iter().zip(&words) {
        push(&mut bytes, abi, *offset, 1 << offset_code);
        bytes.extend_from_slice(words);
    }
    Ok(Encoded { function: index, start: function.start, size, rows: count, bytes })
}

fn encode_rows(abi: SFrameAbi, fde_type: FdeType, rows: &[(u64, Entry)]) -> Result<Vec<Vec<u8>>, Reason> {
    rows.iter()
        .map(|(offset, entry)| row::encode(abi, fde_type, entry).map_err(|error| Reason::Row(error, *offset)))
        .collect()
}

/// Whether two descriptions of a function come to the same.
pub(super) fn is_alike(one: &FunctionRows, other: &FunctionRows) -> bool {
    let facts = |function: &FunctionRows| (function.start, function.size, function.signal, function.b_key);
    facts(one) == facts(other) && distinct_rows(one) == distinct_rows(other)
}

/// The rows that have to be written.
fn distinct_rows(function: &FunctionRows) -> Result<Vec<(u64, Entry)>, Reason> {
    let mut rows: Vec<(u64, Entry)> = Vec::with_capacity(function.rows.len());
    let mut previous = None;
    for (offset, entry) in &function.rows {
        if previous.is_some_and(|previous| previous >= *offset) {
            return Err(Reason::RowOrder);
        }
        previous = Some(*offset);
        let is_leading_gap = rows.is_empty() && matches!(entry, Entry::NoRow { .. });
        let is_after_end = *offset >= function.size && !(*offset == 0 && function.size == 0);
        if !is_leading_gap && !is_after_end && rows.last().is_none_or(|(_, last)| last != entry) {
            rows.push((*offset, *entry));
        }
    }
    Ok(rows)
}
