//! From CFI to a section.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::error::{Reason, TooLarge};
use super::section::{FunctionRows, Placement, Written, is_alike, write};
use crate::dwarf::{Cfi, CfiFunction, Storage, Unreadable, Unsupported};
use crate::row::Entry;
use crate::sframe::format::SFrameAbi;

/// How many rows of a function are kept: those that it may have, and leading gaps.
const MAX_ROWS: usize = u16::MAX as usize + 1;

/// A function that CFI describes and the section does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which section with CFI, by its place in what was given.
    pub section: usize,
    /// Its FDE, by its offset in the section with CFI, in bytes.
    pub fde: usize,
    /// Its first address and its size in bytes, if the FDE could be read.
    pub range: Option<(u64, u64)>,
    /// Why.
    pub reason: Reason,
}

/// An FDE that is left out, and whose rows nobody will miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which section with CFI, by its place in what was given.
    pub section: usize,
    /// What the FDE says.
    pub function: CfiFunction,
    /// Why.
    pub why: Unneeded,
}

/// Why an FDE is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unneeded {
    /// It covers no address. GNU as writes a row for such a function all the same, and the kernel refuses a section with
    /// more rows than bytes of code.
    Empty,
    /// Its code was discarded by the linker.
    Discarded,
    /// Another entry, which was read before, says the same.
    Repeated,
}

/// What becomes of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice {
    /// It is written.
    Take,
    /// It is not needed.
    Skip(Unneeded),
    /// It cannot be written.
    Refuse(Reason),
}

/// What was made of CFI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromCfi {
    /// The section. Its [`Written::refused`] is empty: all refusals are below.
    pub written: Written,
    /// The functions that [`super::Relocation::function`] counts.
    pub functions: Vec<CfiFunction>,
    /// The section that each of the functions is from, by its place in what was given.
    pub origins: Vec<usize>,
    /// What is not in the section, in the order of the CFI.
    pub refusals: Vec<Refusal>,
    /// What is not in the section because nobody needs it, in the order of the CFI.
    pub skipped: Vec<Skipped>,
    /// Functions in the section that have no rows because their CFI has none, by their place in `functions`.
    pub without_rows: Vec<usize>,
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
    from_sections(&[*cfi], abi, placement, &mut |_, _| Choice::Take)
}

/// The same for several sections of one file. `choose` gets each function that covers an address, and the place of its
/// section in `sections`. Of entries for the same function the first one that can be read is used; another that says the
/// same is not needed, and one that says something else is refused, as is one that overlaps a function of an earlier
/// section.
///
/// # Errors
///
/// The functions are too many for one section.
pub fn from_sections(
    sections: &[Cfi<'_>],
    abi: SFrameAbi,
    placement: Placement,
    choose: &mut dyn FnMut(usize, &CfiFunction) -> Choice,
) -> Result<FromCfi, TooLarge> {
    let mut merging = Merging::default();
    for (section, cfi) in sections.iter().enumerate() {
        for function in cfi.functions() {
            match function {
                Err(Unreadable { fde, range, reason }) => {
                    let reason = Reason::Cfi(reason, 0);
                    merging.result.refusals.push(Refusal { section, fde, range, reason });
                }
                Ok(function) => {
                    let is_empty = function.size == 0;
                    let choice = if is_empty { Choice::Skip(Unneeded::Empty) } else { choose(section, &function) };
                    merging.add(section, cfi, function, choice);
                }
            }
        }
        merging.earlier.append(&mut merging.current);
    }
    merging.finish(abi, placement)
}

/// The functions of several sections while they are read.
#[derive(Default)]
struct Merging {
    result: FromCfi,
    /// The rows of `result.functions`.
    all: Vec<FunctionRows>,
    /// By first address: the place of each function, or why its rows could not be had.
    taken: BTreeMap<u64, Result<usize, Reason>>,
    /// The ends of the functions of the sections before this one, and of this one, by first address.
    earlier: BTreeMap<u64, u64>,
    current: BTreeMap<u64, u64>,
    storage: Storage,
}

impl Merging {
    fn add(&mut self, section: usize, cfi: &Cfi<'_>, function: CfiFunction, choice: Choice) {
        match choice {
            Choice::Take => {}
            Choice::Skip(why) => return self.result.skipped.push(Skipped { section, function, why }),
            Choice::Refuse(reason) => return self.refuse(section, &function, reason),
        }
        let rows = rows(cfi, &function, &mut self.storage);
        if let Some(taken) = self.taken.get(&function.start) {
            let is_same = match (&rows, taken) {
                (Ok(rows), Ok(index)) => is_alike(rows, &self.all[*index]),
                (Err(reason), Err(other)) => reason == other,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if is_same {
                self.result.skipped.push(Skipped { section, function, why: Unneeded::Repeated });
            } else {
                self.refuse(section, &function, Reason::Contradiction);
            }
            return;
        }
        if self.overlaps_earlier(&function) {
            return self.refuse(section, &function, Reason::Overlap);
        }
        let end = function.start.saturating_add(function.size);
        let place = rows.as_ref().map(|_| self.all.len()).map_err(|reason| *reason);
        self.taken.insert(function.start, place);
        self.current.insert(function.start, end);
        let rows = rows.unwrap_or_else(|reason| {
            self.refuse(section, &function, reason);
            without_rows(&function)
        });
        if place.is_err() && !function.signal {
            return;
        }
        if place.is_ok() && rows.rows.iter().all(|(_, entry)| matches!(entry, Entry::NoRow { .. })) {
            self.result.without_rows.push(self.all.len());
        }
        self.all.push(rows);
        self.result.functions.push(function);
        self.result.origins.push(section);
    }

    fn refuse(&mut self, section: usize, function: &CfiFunction, reason: Reason) {
        self.result.refusals.push(refusal(section, function, reason));
    }

    /// Whether it overlaps a function of another section, which was read before and begins at another address.
    fn overlaps_earlier(&self, function: &CfiFunction) -> bool {
        let end = function.start.saturating_add(function.size);
        let before = self.earlier.range(..function.start).next_back();
        before.is_some_and(|(_, end)| *end > function.start) || self.earlier.range(function.start..end).next().is_some()
    }

    fn finish(self, abi: SFrameAbi, placement: Placement) -> Result<FromCfi, TooLarge> {
        let Self { mut result, mut all, .. } = self;
        // A signal frame may also turn out to have a row that cannot be encoded: then it is written again without rows.
        let mut written = write(abi, placement, &all)?;
        let unwritten = |index: usize, reason| all[index].signal && matches!(reason, Reason::Row(..));
        let again: Vec<_> =
            written.refused.iter().copied().filter(|(index, reason)| unwritten(*index, *reason)).collect();
        if !again.is_empty() {
            for (index, reason) in &again {
                let (function, section) = (result.functions[*index], result.origins[*index]);
                result.refusals.push(refusal(section, &function, *reason));
                all[*index].rows.clear();
            }
            written = write(abi, placement, &all)?;
        }
        let refused: BTreeMap<usize, Reason> = core::mem::take(&mut written.refused).into_iter().collect();
        for (index, reason) in &refused {
            let (function, section) = (result.functions[*index], result.origins[*index]);
            result.refusals.push(refusal(section, &function, *reason));
        }
        result.without_rows.retain(|index| !refused.contains_key(index));
        result.refusals.sort_by_key(|refusal| (refusal.section, refusal.fde));
        result.written = written;
        Ok(result)
    }
}

const fn refusal(section: usize, function: &CfiFunction, reason: Reason) -> Refusal {
    Refusal { section, fde: function.fde, range: Some((function.start, function.size)), reason }
}

const fn without_rows(function: &CfiFunction) -> FunctionRows {
    let CfiFunction { start, size, signal, b_key, .. } = *function;
    FunctionRows { start, size, signal, b_key, rows: Vec::new() }
}

fn rows(cfi: &Cfi<'_>, function: &CfiFunction, storage: &mut Storage) -> Result<FunctionRows, Reason> {
    let mut rows = without_rows(function);
    let mut refused: Option<(Unsupported, u64)> = None;
    // More than that are refused when they are written; there is no need to keep them all.
    let (mut count, mut before, mut end) = (0_usize, None, 0);
    let result = cfi.each_full_row(function, storage, &mut |covered, row| {
        end = covered.end;
        match row.entry() {
            Ok(entry) if before == Some(entry) => {}
            Ok(entry) => {
                before = Some(entry);
                count += 1;
                if count <= MAX_ROWS {
                    rows.rows.push((covered.start, entry));
                }
            }
            Err(reason) => refused = refused.or(Some((reason, covered.start))),
        }
    });
    // A program that cannot be run on is wrong where its last row ends.
    if let Some((reason, offset)) = refused.or(result.err().map(|reason| (reason, end))) {
        return Err(Reason::Cfi(reason, offset));
    }
    if count > MAX_ROWS {
        return Err(Reason::TooManyRows(count));
    }
    Ok(rows)
}
