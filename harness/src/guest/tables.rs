//! The unwind data of a guest as tables: CFI from its sections, SFrame from its own section or made from its CFI, and ORC
//! made from CFI and hints, or the kernel's own.

mod dwarf;
mod kept;
mod orc;
mod sframe;

use kunwind::dwarf::{Cfi, CfiSection, Columns, make_readable};
use kunwind::sframe::write::{Choice, Placement, from_sections};
use kunwind::sframe::{SFrameAbi, SFrameTable};
use kunwind::{Abi, Format, OrcTable, Table};

use super::{Conventions, Guest, LoadedSection};
use crate::Error;

use kept::Kept;
use sframe::SFrameTables;

pub use dwarf::DwarfTable;

/// The unwind data of one guest.
#[derive(Debug, Default)]
pub struct Tables {
    sframe: Option<Kept<SFrameTables>>,
    dwarf: Option<DwarfTable>,
    orc: Option<Kept<OrcTable<Vec<u8>>>>,
    unread: Vec<Unread>,
    /// What CFI describes and a section made from it does not, by (address, size), with the reason.
    refused: Vec<((u64, u64), String)>,
    /// The size in bytes of a section made from all CFI.
    made_size: usize,
}

/// Unwind data that is in a guest's file and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The format of the data.
    pub format: Format,
    /// The first address and the size in bytes of the code that it describes, if that at least can be read.
    pub range: Option<(u64, u64)>,
    /// Why.
    pub reason: String,
}

/// A section with CFI, as gimli can read it.
struct Readable<'g> {
    kind: CfiSection,
    section: &'g LoadedSection,
    readable: Vec<u8>,
}

impl<'g> Readable<'g> {
    fn new(kind: CfiSection, section: &'g LoadedSection) -> Self {
        let mut readable = section.data.clone();
        make_readable(kind, &mut readable, false);
        Self { kind, section, readable }
    }

    fn cfi(&self, columns: Columns) -> Cfi<'_> {
        let (bytes, readable, address) = (&*self.section.data, &*self.readable, self.section.address);
        Cfi { section: self.kind, bytes, readable, address, columns }
    }
}

impl Tables {
    /// Reads what a guest has.
    ///
    /// # Errors
    ///
    /// [`Error::Elf`] when a section cannot be read at all. A function that cannot be read, or that SFrame cannot represent,
    /// is a hole in its table; [`Tables::unread`] names the former.
    pub fn new(guest: &Guest, conventions: &Conventions) -> Result<Self, Error> {
        let reject = |reason: String| Error::Elf { path: guest.path.clone(), reason };
        let abi = guest.cpu.abi;
        let mut tables = Self::default();
        let mut made_sframe = None;
        for section in &guest.unwind.unread {
            let reason = section.reason.clone();
            tables.unread.push(Unread { format: section.format, range: None, reason });
        }
        let eh = guest.unwind.eh_frame.iter().map(|section| Readable::new(CfiSection::EhFrame, section));
        let debug = guest.unwind.debug_frame.iter();
        let debug = debug.map(|section| Readable::new(CfiSection::DebugFrame, section));
        let sections: Vec<Readable<'_>> = eh.chain(debug).collect();
        if let (false, Some(columns)) = (sections.is_empty(), cfi_columns(abi)) {
            let all: Vec<Cfi<'_>> = sections.iter().map(|section| section.cfi(columns)).collect();
            let (dwarf, unread) = DwarfTable::new(&all);
            tables.dwarf = Some(dwarf);
            tables.unread.extend(unread);
            if let Some(abi) = SFrameAbi::of(abi) {
                // Any address from which 64 bits reach the code will do.
                let address = guest.segments.first().map_or(0, |segment| segment.address);
                let made = from_sections(&all, abi, Placement::Linked(address), &mut |_, _| Choice::Take)
                    .map_err(|error| reject(error.to_string()))?;
                let refused = made.refusals.iter().filter_map(|it| Some((it.range?, it.reason.to_string())));
                tables.refused = refused.collect();
                tables.made_size = made.written.bytes.len();
                made_sframe = Some(parsed(made.written.bytes, address).map_err(reject)?);
            }
        }
        tables.sframe =
            tables.with_own_sframe(guest, made_sframe.map(SFrameTables::made)).map_err(reject)?.map(Kept::new);
        if let (Some(hints), Some(dwarf)) = (&guest.unwind.orc_hints, &tables.dwarf) {
            let orc = orc::table(guest, conventions, dwarf, hints);
            tables.orc = Some(Kept::new(orc.map_err(|reason| reject(format!(".orc_hints: {reason}")))?));
        }
        if let Some(sections) = &guest.unwind.orc {
            match sections.table() {
                Ok(table) => tables.orc = Some(Kept::new(table)),
                Err(reason) => {
                    let reason = format!(".orc_unwind: {reason}");
                    tables.unread.push(Unread { format: Format::Orc, range: None, reason });
                }
            }
        }
        Ok(tables)
    }

    /// What was made from CFI, with the sections `.sframe` of the files: it is for files without one.
    fn with_own_sframe(
        &mut self,
        guest: &Guest,
        mut made: Option<SFrameTables>,
    ) -> Result<Option<SFrameTables>, String> {
        let mut found: Vec<std::ops::Range<u64>> = Vec::new();
        for section in &guest.unwind.sframe {
            let of = guest.unwind.files.iter().find(|file| file.contains(&section.address)).cloned();
            let is_alone = of.is_none();
            let of = of.unwrap_or(0..u64::MAX);
            if found.contains(&of) {
                let reason = format!(
                    "a second section .sframe, at {:#x}: a kernel or a loader finds one alone",
                    section.address
                );
                self.unread.push(Unread { format: Format::SFrame, range: None, reason });
                continue;
            }
            found.push(of.clone());
            self.refused.retain(|((start, _), _)| !of.contains(start));
            let table = match parsed(section.data.clone(), section.address) {
                Ok(table) => Some(table),
                Err(reason) if is_alone => return Err(reason),
                Err(reason) => {
                    self.unread.push(Unread { format: Format::SFrame, range: None, reason });
                    None
                }
            };
            made.get_or_insert_default().add(of, table);
        }
        Ok(made)
    }

    /// The size in bytes of the section that is made from all CFI; 0 where there is none.
    #[must_use]
    pub const fn made_size(&self) -> usize {
        self.made_size
    }

    /// What is in the file and could not be read.
    #[must_use]
    pub fn unread(&self) -> &[Unread] {
        &self.unread
    }

    /// Why a table has no row for a pc that one of its functions covers, or why its row cannot be followed.
    #[must_use]
    pub fn reason(&self, format: Format, pc: u64) -> Option<String> {
        match format {
            Format::Dwarf => self.dwarf.as_ref()?.reason(pc),
            Format::SFrame => {
                if let Some(Err(error)) = self.sframe.as_ref()?.table().at(pc).map(|table| table.section().lookup(pc)) {
                    return Some(error.to_string());
                }
                let covers = |(start, size): (u64, u64)| pc >= start && pc - start < size;
                let refused = self.refused.iter().find(|(range, _)| covers(*range));
                refused.map(|(_, reason)| format!("SFrame cannot say it: {reason}"))
            }
            Format::Orc => None,
        }
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
    pub fn orc(&self) -> Option<&OrcTable<Vec<u8>>> {
        self.orc.as_ref().map(Kept::table)
    }

    /// Whether there is unwind data in a format.
    #[must_use]
    pub fn has(&self, format: Format) -> bool {
        self.get(format).is_some()
    }
}

/// The CFI columns of this CPU. Where SFrame has no ABI for the CPU, the return address is in the link register's column.
pub(crate) fn cfi_columns(abi: &Abi) -> Option<Columns> {
    let plain =
        |ra| Columns { sp: abi.sp, fp: abi.fp, ra, sp_from_cfa: 0, has_sign_state: false, is_big_endian: false };
    SFrameAbi::of(abi).map(Columns::from).or_else(|| abi.ra.map(plain))
}

/// An SFrame section as a table. Lookups read its bytes, as in a kernel.
fn parsed(data: Vec<u8>, address: u64) -> Result<SFrameTable<Vec<u8>>, String> {
    SFrameTable::parse(data, address).map_err(|error| format!(".sframe: {error}"))
}
