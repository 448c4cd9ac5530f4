//! A section with CFI: its functions, and the rows of each.

use gimli::{BaseAddresses, CallFrameInstruction, RunTimeEndian, UnwindSection};

use super::columns::Columns;
use super::entry::{CfiSection, EntryKind, RawEntries};
use super::lower::{Lowering, Slice};
use super::storage::Storage;
use super::unsupported::Unsupported;
use crate::regs::{Register, Regs};
use crate::row::{Entry, Rule};

/// A function that CFI describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CfiFunction {
    /// Where its FDE begins in the section.
    pub fde: usize,
    /// The first address.
    pub start: u64,
    /// In bytes; `start + size` does not overflow.
    pub size: u64,
    /// Whether its caller was interrupted rather than left by a call (augmentation `S`).
    pub signal: bool,
    /// Whether return addresses are signed with key B (augmentation `B`).
    pub b_key: bool,
    /// The address from which there is a rule for the CFA. Before it there is no row; without it there is none at all.
    cfa_from: Option<u64>,
}

impl CfiFunction {
    /// Whether it covers an address.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.start && address - self.start < self.size
    }
}

/// An FDE that cannot be read as a [`CfiFunction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it begins in the section.
    pub fde: usize,
    /// The first address and the size in bytes of its function, if these at least can be read.
    pub range: Option<(u64, u64)>,
    /// Why.
    pub reason: Unsupported,
}

/// The rules of the registers of a row, by DWARF number.
type Saved = [Option<Result<Rule, Unsupported>>; Regs::LEN];

/// What CFI says of one pc.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// The function.
    pub function: CfiFunction,
    /// The CFA, the return address and the frame pointer.
    pub entry: Result<Entry, Unsupported>,
    saved: Saved,
}

impl Lookup {
    /// Where the caller's value of a register is; none if CFI says nothing of it, which means that the callee leaves
    /// the register alone if the ABI makes it preserve it.
    #[must_use]
    pub fn saved(&self, register: Register) -> Option<Result<Rule, Unsupported>> {
        *self.saved.get(usize::from(register.0))?
    }
}

/// A section with CFI.
#[derive(Clone, Copy, Debug)]
pub struct Cfi<'a> {
    /// Which section.
    pub section: CfiSection,
    /// Its bytes, relocated if the file is relocatable.
    pub bytes: &'a [u8],
    /// The same bytes as [`make_readable`](super::make_readable) leaves them; `bytes` itself where that changes nothing.
    pub readable: &'a [u8],
    /// Its address, to which pointers may be relative.
    pub address: u64,
    /// The machine's registers.
    pub columns: Columns,
}

/// Evaluates the same expression with either of gimli's two types of section.
macro_rules! with_section {
    ($cfi:expr, |$section:ident| $body:expr) => {{
        let endian = if $cfi.columns.is_big_endian { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let vendor = if $cfi.columns.has_sign_state { gimli::Vendor::AArch64 } else { gimli::Vendor::Default };
        match $cfi.section {
            CfiSection::EhFrame => {
                let mut $section = gimli::EhFrame::new($cfi.readable, endian);
                $section.set_vendor(vendor);
                $section.set_address_size(8);
                $body
            }
            CfiSection::DebugFrame => {
                let mut $section = gimli::DebugFrame::new($cfi.readable, endian);
                $section.set_vendor(vendor);
                $section.set_address_size(8);
                $body
            }
        }
    }};
}

type Fde<'a> = gimli::FrameDescriptionEntry<Slice<'a>>;

impl<'a> Cfi<'a> {
    /// The functions in the order of the section.
    pub fn functions(&self) -> impl Iterator<Item = Result<CfiFunction, Unreadable>> + use<'a> {
        let cfi = *self;
        let mut entries = RawEntries::new(self.section, self.bytes, self.columns.is_big_endian);
        let mut is_over = false;
        core::iter::from_fn(move || {
            while !is_over {
                let Some(entry) = entries.next() else {
                    is_over = true;
                    let rest = entries.rest()?;
                    let reason = Unsupported::LostRest(rest as u64);
                    return Some(Err(Unreadable { fde: entries.position(), range: None, reason }));
                };
                if let EntryKind::Fde(cie) = entry.kind {
                    let unreadable = |reason| Unreadable { fde: entry.offset, range: None, reason };
                    let checked = entries.check_cie(cie).map_err(unreadable);
                    return Some(checked.and_then(|()| cfi.function(entry.offset)));
                }
            }
            None
        })
    }

    /// Gives each row of a function to `see`: its offset from the function's start in bytes, and what it says. Offsets
    /// grow; rows that cover nothing are left out, but a function of size 0 keeps its last.
    ///
    /// # Errors
    ///
    /// The program cannot be run to its end. Rows that were seen before stand.
    pub fn each_row(
        &self,
        function: &CfiFunction,
        storage: &mut Storage,
        see: &mut dyn FnMut(u64, Result<Entry, Unsupported>),
    ) -> Result<(), Unsupported> {
        self.run(function, storage, &mut |offset, entry, _| see(offset, entry), None)
    }

    /// What CFI says of a pc; none if no function covers it. The section is searched from its start.
    ///
    /// # Errors
    ///
    /// The program of the function that covers the pc cannot be run to there.
    pub fn lookup(&self, pc: u64, storage: &mut Storage) -> Result<Option<Lookup>, Unsupported> {
        let Some(function) = self.functions().flatten().find(|function| function.contains(pc)) else { return Ok(None) };
        let mut found = None;
        let mut see = |_, entry, saved| found = Some(Lookup { function, entry, saved });
        self.run(&function, storage, &mut see, Some(pc))?;
        Ok(found)
    }

    fn function(&self, offset: usize) -> Result<CfiFunction, Unreadable> {
        let unreadable = |range, reason| Unreadable { fde: offset, range, reason };
        with_section!(self, |section| {
            let fde = self.fde(&section, offset).map_err(|reason| unreadable(None, reason))?;
            let range = (fde.initial_address(), fde.len());
            self.describe(&section, &fde).map_err(|reason| unreadable(Some(range), reason))
        })
    }

    fn bases(&self) -> BaseAddresses {
        BaseAddresses::default().set_eh_frame(self.address)
    }

    fn fde<S: UnwindSection<Slice<'a>>>(&self, section: &S, offset: usize) -> Result<Fde<'a>, Unsupported> {
        Ok(section.fde_from_offset(&self.bases(), S::Offset::from(offset), S::cie_from_offset)?)
    }

    fn describe<S: UnwindSection<Slice<'a>>>(&self, section: &S, fde: &Fde<'a>) -> Result<CfiFunction, Unsupported> {
        let (start, size) = (fde.initial_address(), fde.len());
        start.checked_add(size).ok_or(Unsupported::Malformed)?;
        let column = fde.cie().return_address_register().0;
        if column != u16::from(self.columns.ra.0) {
            return Err(Unsupported::ReturnColumn(column));
        }
        let raw = RawEntries::new(self.section, self.bytes, self.columns.is_big_endian);
        let cie = fde.cie().offset();
        let cfa_from = self.scan(section, fde)?;
        Ok(CfiFunction {
            fde: fde.offset(),
            start,
            size,
            signal: raw.has_letter(cie, b'S'),
            b_key: raw.has_letter(cie, b'B'),
            cfa_from,
        })
    }

    /// From where there is a rule for the CFA. gimli's table has one from the start, register 0 plus 0, which a program
    /// could mean as well; and it lets offsets wrap around.
    fn scan<S: UnwindSection<Slice<'a>>>(&self, section: &S, fde: &Fde<'a>) -> Result<Option<u64>, Unsupported> {
        let bases = self.bases();
        let (mut cfa_from, mut at) = (None, fde.initial_address());
        // Whether there is a rule for the CFA, and whether there was in each remembered state: a bit for each, the last
        // state's the lowest. More states than bits do not fit into gimli's table, and without a state, gimli says so.
        let (mut has_cfa, mut states) = (false, 1_u64);
        for mut program in [fde.cie().instructions(section, &bases), fde.instructions(section, &bases)] {
            while let Some(instruction) = program.next()? {
                if overflows(&instruction, fde.cie().data_alignment_factor()) {
                    return Err(Unsupported::OffsetOverflow);
                }
                match instruction {
                    CallFrameInstruction::DefCfa { .. }
                    | CallFrameInstruction::DefCfaSf { .. }
                    | CallFrameInstruction::DefCfaExpression { .. } => {
                        has_cfa = true;
                        cfa_from = cfa_from.or(Some(at));
                    }
                    CallFrameInstruction::DefCfaRegister { .. }
                    | CallFrameInstruction::DefCfaOffset { .. }
                    | CallFrameInstruction::DefCfaOffsetSf { .. }
                        if !has_cfa =>
                    {
                        return Err(Unsupported::NoCfa);
                    }
                    CallFrameInstruction::RememberState if states >> 63 != 0 => return Err(Unsupported::TooComplex),
                    CallFrameInstruction::RememberState => states = states << 1 | u64::from(has_cfa),
                    CallFrameInstruction::RestoreState if has_cfa && states & 1 == 0 => return Err(Unsupported::NoCfa),
                    CallFrameInstruction::RestoreState => states = (states >> 1).max(1),
                    CallFrameInstruction::AdvanceLoc { delta } => {
                        let delta = u64::from(delta).checked_mul(fde.cie().code_alignment_factor());
                        at = delta.and_then(|delta| at.checked_add(delta)).ok_or(Unsupported::Malformed)?;
                    }
                    CallFrameInstruction::SetLoc { address } => at = address,
                    _ => {}
                }
            }
        }
        Ok(cfa_from)
    }

    /// Runs the program of a function, and gives its rows to `see`: all of them, or only the one that covers a pc.
    fn run(
        &self,
        function: &CfiFunction,
        storage: &mut Storage,
        see: &mut dyn FnMut(u64, Result<Entry, Unsupported>, Saved),
        only: Option<u64>,
    ) -> Result<(), Unsupported> {
        with_section!(self, |section| {
            let fde = self.fde(&section, function.fde)?;
            let encoding = fde.cie().encoding();
            let lowering = Lowering { section: &section, encoding, columns: self.columns, signal: function.signal };
            let bases = self.bases();
            let mut table = fde.rows(&section, &bases, &mut storage.0)?;
            while let Some(row) = table.next_row()? {
                let (start, end) = (row.start_address(), row.end_address());
                let is_empty = start >= end && function.size != 0;
                if is_empty || only.is_some_and(|pc| !(start..end).contains(&pc)) {
                    continue;
                }
                let entry = if function.cfa_from.is_some_and(|from| from <= start) {
                    lowering.entry(row)
                } else {
                    Ok(Entry::NoRow { signal: function.signal })
                };
                let mut saved = [None; Regs::LEN];
                if only.is_some() {
                    for (register, rule) in row.registers() {
                        let Ok(number) = u8::try_from(register.0) else { continue };
                        let Some(slot) = saved.get_mut(usize::from(number)) else { continue };
                        *slot = Some(lowering.rule(Register(number), Some(rule.clone())));
                    }
                }
                see(start.wrapping_sub(function.start), entry, saved);
            }
            Ok(())
        })
    }
}

/// Whether an offset of an instruction does not fit into 64 bits with a sign, after it was multiplied with the data
/// alignment factor where the instruction asks for that (DWARF 5, 6.4.2: `factored`).
fn overflows(instruction: &CallFrameInstruction<usize>, factor: i64) -> bool {
    match *instruction {
        CallFrameInstruction::DefCfa { offset, .. } | CallFrameInstruction::DefCfaOffset { offset } => {
            i64::try_from(offset).is_err()
        }
        CallFrameInstruction::Offset { factored_offset, .. }
        | CallFrameInstruction::ValOffset { factored_offset, .. } => {
            i64::try_from(factored_offset).ok().and_then(|offset| offset.checked_mul(factor)).is_none()
        }
        CallFrameInstruction::DefCfaSf { factored_offset, .. }
        | CallFrameInstruction::DefCfaOffsetSf { factored_offset }
        | CallFrameInstruction::OffsetExtendedSf { factored_offset, .. }
        | CallFrameInstruction::ValOffsetSf { factored_offset, .. } => factored_offset.checked_mul(factor).is_none(),
        _ => false,
    }
}
