//! From CFI to a section.

use alloc::vec::Vec;

use super::error::{Reason, TooLarge};
use super::section::{FunctionRows, Placement, Written, write};
use crate::dwarf::{Cfi, CfiFunction, Storage, Unreadable, Unsupported};
use crate::sframe::format::SFrameAbi;

/// A function that CFI describes and the section does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its FDE, by its offset in the section with CFI, in bytes.
    pub fde: usize,
    /// Its first address and its size in bytes, if the FDE could be read.
    pub range: Option<(u64, u64)>,
    /// Why.
    pub reason: Reason,
}

/// What was made of CFI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromCfi {
    /// The section. Its [`Written::refused`] is empty: all refusals are below.
    pub written: Written,
    /// The functions that [`super::Relocation::function`] counts.
    pub functions: Vec<CfiFunction>,
    /// What is not in the section, in the order of the CFI.
    pub refusals: Vec<Refusal>,
}

/// Writes the rows of all functions that a section with CFI describes, and says why the others are left out.
///
/// A signal frame whose rows cannot be written is still listed, without rows, as GNU as does: so that it is known as
/// one.
///
/// # Errors
///
/// The functions are too many for one section.
pub fn from_cfi(cfi: &Cfi<'_>, abi: SFrameAbi, placement: Placement) -> Result<FromCfi, TooLarge> {
    let mut result = FromCfi::default();
    let mut all = Vec::new();
    let mut storage = Storage::new();
    for function in cfi.functions() {
        match function {
            Err(Unreadable { fde, range, reason }) => {
                result.refusals.push(Refusal { fde, range, reason: Reason::Cfi(reason, 0) });
            }
            Ok(function) => {
                match rows(cfi, &function, &mut storage) {
                    Ok(rows) => all.push(rows),
                    Err(reason) => {
                        result.refusals.push(refusal(&function, reason));
                        if !function.signal {
                            continue;
                        }
                        all.push(without_rows(&function));
                    }
                }
                result.functions.push(function);
            }
        }
    }
    // A signal frame may also turn out to have a row that cannot be encoded: then it is written again without rows.
    let mut written = write(abi, placement, &all)?;
    let unwritten = |index: usize, reason| all[index].signal && matches!(reason, Reason::Row(..));
    let again: Vec<_> = written.refused.iter().copied().filter(|(index, reason)| unwritten(*index, *reason)).collect();
    if !again.is_empty() {
        for (index, reason) in &again {
            result.refusals.push(refusal(&result.functions[*index], *reason));
            all[*index].rows.clear();
        }
        written = write(abi, placement, &all)?;
    }
    for (index, reason) in core::mem::take(&mut written.refused) {
        result.refusals.push(refusal(&result.functions[index], reason));
    }
    result.refusals.sort_by_key(|refusal| refusal.fde);
    result.written = written;
    Ok(result)
}

const fn refusal(function: &CfiFunction, reason: Reason) -> Refusal {
    Refusal { fde: function.fde, range: Some((function.start, function.size)), reason }
}

const fn without_rows(function: &CfiFunction) -> FunctionRows {
    let CfiFunction { start, size, signal, b_key, .. } = *function;
    FunctionRows { start, size, signal, b_key, rows: Vec::new() }
}

fn rows(cfi: &Cfi<'_>, function: &CfiFunction, storage: &mut Storage) -> Result<FunctionRows, Reason> {
    if function.has_args_size {
        return Err(Reason::ArgsSize);
    }
    let mut rows = without_rows(function);
    let mut refused: Option<(Unsupported, u64)> = None;
    let result = cfi.each_row(function, storage, &mut |offset, entry| match entry {
        Ok(entry) => rows.rows.push((offset, entry)),
        Err(reason) => refused = refused.or(Some((reason, offset))),
    });
    let last = rows.rows.last().map_or(0, |(offset, _)| *offset);
    if let Some((reason, offset)) = refused.or(result.err().map(|reason| (reason, last))) {
        return Err(Reason::Cfi(reason, offset));
    }
    Ok(rows)
}
