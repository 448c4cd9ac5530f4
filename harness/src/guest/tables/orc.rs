//! The ORC table of a guest, made as objtool makes a kernel's: from the CFI of its functions, which stands in for objtool's
//! stack validation, and from unwind hints where there is no CFI. Whatever neither describes is UNDEFINED.

use std::collections::BTreeSet;

use kunwind::orc::{OrcBase, OrcEntry, OrcNumbers, OrcType, write};
use kunwind::{Entry, OrcTable, Table as _};

use super::DwarfTable;
use crate::guest::{Conventions, Guest, LoadedSection, OrcSections};

/// The size in bytes of a hint, as guests/x86_64/include/orc.S writes it.
const HINT_SIZE: usize = 16;
/// The hint type after which the CFI counts again.
const TYPE_CFI: u8 = 7;

/// A hint, which holds from an address on.
struct Hint {
    address: u64,
    /// `None`: what the CFI says.
    entry: Option<OrcEntry>,
}

impl Hint {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some((address, rest)) = bytes.split_first_chunk::<8>() else { return Err("it is cut off".to_owned()) };
        let &[sp_low, sp_high, bp_low, bp_high, sp, bp, kind, signal] = rest else {
            return Err("it is cut off".to_owned());
        };
        let address = u64::from_le_bytes(*address);
        if kind == TYPE_CFI {
            return Ok(Self { address, entry: None });
        }
        let malformed = |error: kunwind::orc::OrcError| format!("the hint for {address:#x}: {error}");
        let entry = OrcEntry {
            kind: OrcType::try_from(kind).map_err(malformed)?,
            sp: OrcBase::try_from(sp).map_err(malformed)?,
            sp_offset: i16::from_le_bytes([sp_low, sp_high]),
            bp: OrcBase::try_from(bp).map_err(malformed)?,
            bp_offset: i16::from_le_bytes([bp_low, bp_high]),
            signal: signal != 0,
        };
        let entry = match entry.kind {
            OrcType::Undefined => OrcEntry::UNDEFINED,
            OrcType::EndOfStack => OrcEntry::END_OF_STACK,
            OrcType::Call | OrcType::Regs | OrcType::RegsPartial => entry,
        };
        Ok(Self { address, entry: Some(entry) })
    }
}

/// The table of a guest.
pub(super) fn table(
    guest: &Guest,
    conventions: &Conventions,
    dwarf: &DwarfTable,
    hints: &LoadedSection,
) -> Result<OrcTable<Vec<u8>>, String> {
    let mut hints: Vec<Hint> = hints.data.chunks(HINT_SIZE).map(Hint::parse).collect::<Result<_, _>>()?;
    // The sort is stable: the last hint written for an address counts.
    hints.sort_by_key(|hint| hint.address);
    let mut changes = BTreeSet::new();
    for text in guest.text() {
        changes.extend([text.start, text.end]); // the end: a terminator after the last function
    }
    for function in dwarf.functions() {
        changes.extend([function.start, function.start + function.size]);
        changes.extend(function.rows.iter().map(|row| function.start + row.offset));
    }
    changes.extend(guest.symbols.functions().iter().flat_map(|it| [it.address, it.address + it.size]));
    changes.extend(hints.iter().map(|hint| hint.address));
    let abi = guest.cpu.abi;
    let entry_at = |address: u64| {
        let after = hints.partition_point(|hint| hint.address <= address);
        let function = guest.symbols.function_at(address);
        let hint = hints[..after].last().filter(|hint| function.is_some_and(|it| it.address <= hint.address));
        if let Some(Hint { entry: Some(entry), .. }) = hint {
            return *entry;
        }
        match dwarf.entry(address) {
            Ok(Some(Entry::Row(row))) => OrcEntry::from_row(&row, abi).unwrap_or(OrcEntry::UNDEFINED),
            Ok(Some(Entry::Outermost)) => OrcEntry::END_OF_STACK,
            Ok(Some(Entry::PtRegs(_) | Entry::NoRow { .. }) | None) | Err(_) => OrcEntry::UNDEFINED,
        }
    };
    let entries: Vec<(u64, OrcEntry)> = changes.into_iter().map(|address| (address, entry_at(address))).collect();
    // Any address from which 32 bits reach the code will do.
    let address = guest.segments.first().map_or(0, |segment| segment.address);
    let written = write(&entries, address).map_err(|error| error.to_string())?;
    let table = OrcTable::parse(written.offsets, address, written.entries).map_err(|error| error.to_string())?;
    table.validate().map_err(|error| error.to_string())?;
    Ok(match conventions.generated_text {
        Some(generated) => table.with_generated(generated),
        None => table,
    })
}

impl OrcSections {
    /// From where on each entry holds, in order: the words are relative to themselves.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let words = self.offsets.data.chunks_exact(4).zip((self.offsets.address..).step_by(4));
        words.map(|(word, at)| at.wrapping_add_signed(word.try_into().map_or(0, i32::from_le_bytes).into()))
    }

    /// Which definitions its entries follow.
    ///
    /// # Errors
    ///
    /// That its `.orc_header` is that of no known ones.
    pub fn numbers(&self) -> Result<OrcNumbers, String> {
        OrcNumbers::of_header(&self.header).ok_or_else(|| {
            let hash: String = self.header.iter().map(|byte| format!("{byte:02x}")).collect();
            let has =
                if hash.is_empty() { "it has no .orc_header".to_owned() } else { format!(".orc_header is {hash}") };
            format!("the definitions of its entries are not known ({has})")
        })
    }

    /// The sections as a table. If the numbers in it were taken for others, every verdict would be wrong.
    ///
    /// # Errors
    ///
    /// What is wrong with it; also if its `.orc_header` is that of no known definitions.
    pub fn table(&self) -> Result<OrcTable<Vec<u8>>, String> {
        let Self { offsets, entries, .. } = self;
        let numbers = self.numbers()?;
        let table = OrcTable::parse(offsets.data.clone(), offsets.address, entries.clone());
        let table = table.map_err(|error| error.to_string())?.with_numbers(numbers);
        table.validate().map_err(|error| error.to_string())?;
        Ok(table)
    }
}
