//! The unwind data of a guest as tables: CFI from its sections, SFrame from its own section or made from its CFI, and ORC
//! made from CFI and hints.

mod orc;

use kunwind::OrcTable;
use kunwind::dwarf::{Cfi, CfiSection, Columns, Storage, Unsupported, make_readable};
use kunwind::sframe::write::{Placement, from_cfi};
use kunwind::sframe::{SFrameAbi, SFrameTable};
use kunwind::{Abi, Entry, Error as WalkError, Format, Table};

use super::{Conventions, Guest};
use crate::Error;

/// The unwind data of one guest.
#[derive(Debug, Default)]
pub struct Tables {
    sframe: Option<SFrameTable<Vec<u8>>>,
    dwarf: Option<DwarfTable>,
    orc: Option<OrcTable<Vec<u8>>>,
}

impl Tables {
    /// Reads what a guest has.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when a section cannot be read at all. A function that cannot be read, or that SFrame cannot represent,
    /// is a hole in its table.
    pub fn new(guest: &Guest, conventions: &Conventions) -> Result<Self, Error> {
        let reject = |reason: String| Error::Elf { path: guest.path.clone(), reason };
        let abi = guest.cpu.abi;
        let debug = guest.unwind.debug_frame.as_ref().map(|section| (CfiSection::DebugFrame, section));
        let eh = guest.unwind.eh_frame.as_ref().map(|section| (CfiSection::EhFrame, section));
        let mut tables = Self::default();
        if let (Some((kind, section)), Some(columns)) = (debug.or(eh), columns(abi)) {
            let mut readable = section.data.clone();
            make_readable(kind, &mut readable, false);
            let (bytes, readable, address) = (&*section.data, &*readable, section.address);
            let cfi = Cfi { section: kind, bytes, readable, address, columns };
            tables.dwarf = Some(DwarfTable::new(&cfi));
            if let Some(abi) = SFrameAbi::of(abi) {
                // Any address from which 64 bits reach the code will do.
                let address = guest.segments.first().map_or(0, |segment| segment.address);
                let made =
                    from_cfi(&cfi, abi, Placement::Linked(address)).map_err(|error| reject(error.to_string()))?;
                tables.sframe = Some(sframe(made.written.bytes, address).map_err(reject)?);
            }
        }
        if let Some(section) = &guest.unwind.sframe {
            tables.sframe = Some(sframe(section.data.clone(), section.address).map_err(reject)?);
        }
        if let (Some(hints), Some(dwarf)) = (&guest.unwind.orc_hints, &tables.dwarf) {
            let orc = orc::table(guest, conventions, dwarf, hints);
            tables.orc = Some(orc.map_err(|reason| reject(format!(".orc_hints: {reason}")))?);
        }
        Ok(tables)
    }

    /// The table of a format.
    #[must_use]
    pub fn get(&self, format: Format) -> Option<&dyn Table> {
        match format {
            Format::SFrame => self.sframe.as_ref().map(|table| table as &dyn Table),
            Format::Dwarf => self.dwarf.as_ref().map(|table| table as &dyn Table),
            Format::Orc => self.orc.as_ref().map(|table| table as &dyn Table),
        }
    }

    /// The ORC table, which only guests with hints have.
    #[must_use]
    pub const fn orc(&self) -> Option<&OrcTable<Vec<u8>>> {
        self.orc.as_ref()
    }

    /// Whether there is unwind data in a format.
    #[must_use]
    pub fn has(&self, format: Format) -> bool {
        self.get(format).is_some()
    }
}

/// The CFI columns of this CPU. Where SFrame has no ABI for the CPU, the return address is in the link register's column.
fn columns(abi: &Abi) -> Option<Columns> {
    let plain =
        |ra| Columns { sp: abi.sp, fp: abi.fp, ra, sp_from_cfa: 0, has_sign_state: false, is_big_endian: false };
    SFrameAbi::of(abi).map(Columns::from).or_else(|| abi.ra.map(plain))
}

/// An SFrame section as a table. Lookups read its bytes, as in a kernel.
fn sframe(data: Vec<u8>, address: u64) -> Result<SFrameTable<Vec<u8>>, String> {
    SFrameTable::parse(data, address).map_err(|error| format!(".sframe: {error}"))
}

/// The rows of every function that CFI describes, by address.
#[derive(Debug)]
struct DwarfTable {
    functions: Vec<Rows>,
}

#[derive(Debug)]
struct Rows {
    start: u64,
    size: u64,
    /// By offset from the start. No row follows one that cannot be read.
    rows: Vec<(u64, Result<Entry, Unsupported>)>,
}

impl DwarfTable {
    fn new(cfi: &Cfi<'_>) -> Self {
        let mut storage = Storage::new();
        let read = |function: kunwind::dwarf::CfiFunction| {
            let mut rows = Vec::new();
            let end = cfi.each_row(&function, &mut storage, &mut |offset, entry| rows.push((offset, entry)));
            if let Err(reason) = end {
                rows.push((rows.last().map_or(0, |(offset, _)| offset + 1), Err(reason)));
            }
            Rows { start: function.start, size: function.size, rows }
        };
        let mut functions: Vec<Rows> = cfi.functions().flatten().map(read).collect();
        functions.sort_by_key(|function| function.start);
        Self { functions }
    }
}

impl Table for DwarfTable {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, WalkError> {
        let after = self.functions.partition_point(|function| function.start <= pc);
        let Some(function) = self.functions[..after].last() else { return Ok(None) };
        let offset = pc - function.start;
        if offset >= function.size {
            return Ok(None);
        }
        let after = function.rows.partition_point(|(start, _)| *start <= offset);
        match function.rows[..after].last() {
            Some((_, entry)) => entry.map(Some).map_err(|_| WalkError::Unrepresentable(pc)),
            None => Ok(Some(Entry::NoRow { signal: false })),
        }
    }
}
