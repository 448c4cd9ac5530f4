//! A section with CFI: its functions, and the rows of each.

use core::ops::Range;

use gimli::{BaseAddresses, CallFrameInstruction, RunTimeEndian, UnwindSection};

use super::columns::Columns;
use super::entry::{CfiSection, EntryKind, RawEntries};
use super::lower::{GimliRow, Lowering, Slice};
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
    /// The column of the return address.
    ra: Register,
    /// From where on the program cannot be understood, and why.
    broken: Option<Broken>,
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

/// Where a program stops to make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken {
    /// The first address for which there is no row any more.
    from: u64,
    reason: Unsupported,
}

/// What is known of a program that is read but not run.
struct Scan {
    at: u64,
    cfa_from: Option<u64>,
    has_cfa: bool,
    /// Whether there was a rule for the CFA in each remembered state: a bit for each, the last state's the lowest, below a
    /// bit that marks the end. More states than bits do not fit into gimli's table.
    states: u64,
    /// Whether the program is the CIE's.
    is_cie: bool,
}

impl Scan {
    fn program<'a>(
        &mut self,
        mut program: gimli::CallFrameInstructionIter<'_, Slice<'a>>,
        cie: &gimli::CommonInformationEntry<Slice<'a>>,
    ) -> Result<(), Unsupported> {
        while let Some(instruction) = program.next()? {
            if overflows(&instruction, cie.data_alignment_factor()) {
                return Err(Unsupported::OffsetOverflow);
            }
            match instruction {
                CallFrameInstruction::DefCfa { .. }
                | CallFrameInstruction::DefCfaSf { .. }
                | CallFrameInstruction::DefCfaExpression { .. } => {
                    self.has_cfa = true;
                    self.cfa_from = self.cfa_from.or(Some(self.at));
                }
                // DWARF has no meaning for this (5, 6.4.2.2), but binutils' assembler begins every CIE of riscv64 with it, and all
                // readers take the offset to be 0.
                CallFrameInstruction::DefCfaRegister { .. } if !self.has_cfa && self.is_cie => {
                    self.has_cfa = true;
                    self.cfa_from = self.cfa_from.or(Some(self.at));
                }
                CallFrameInstruction::DefCfaRegister { .. }
                | CallFrameInstruction::DefCfaOffset { .. }
                | CallFrameInstruction::DefCfaOffsetSf { .. }
                    if !self.has_cfa =>
                {
                    return Err(Unsupported::NoCfa);
                }
                CallFrameInstruction::RememberState if self.states >> 63 != 0 => return Err(Unsupported::TooComplex),
                CallFrameInstruction::RememberState => self.states = self.states << 1 | u64::from(self.has_cfa),
                CallFrameInstruction::RestoreState if self.has_cfa && self.states & 1 == 0 => {
                    return Err(Unsupported::NoCfa);
                }
                // Without a state to restore, gimli says so.
                CallFrameInstruction::RestoreState => self.states = (self.states >> 1).max(1),
                CallFrameInstruction::AdvanceLoc { delta } => {
                    let delta = u64::from(delta).checked_mul(mutant!(
                        "dwarf-code-factor-ignored",
                        cie.code_alignment_factor(),
                        1
                    ));
                    self.at = delta.and_then(|delta| self.at.checked_add(delta)).ok_or(Unsupported::Malformed)?;
                }
                CallFrameInstruction::SetLoc { address } => self.at = address,
                _ => {}
            }
        }
        Ok(())
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

/// A row of a function's program.
pub trait CfiRow {
    /// Everything that it says of the CFA, the return address and the frame pointer.
    ///
    /// # Errors
    ///
    /// It says something that has no meaning.
    fn full_entry(&self) -> Result<Entry, Unsupported>;

    /// The same, if it has neither an expression nor a caller's SP that is not the CFA, so that every format can hold it.
    ///
    /// # Errors
    ///
    /// What stands against that.
    fn entry(&self) -> Result<Entry, Unsupported>;

    /// The rules of the registers that an entry has no room for, SP included.
    fn each_saved(&self, see: &mut dyn FnMut(Register, Result<Rule, Unsupported>));
}

/// A row in gimli's table, and how to read it; no row, where the program has no rule for the CFA yet.
struct LoweredRow<'r, 's, S> {
    lowering: &'r Lowering<'s, S>,
    row: &'r GimliRow,
    has_cfa: bool,
}

impl<'a, S: UnwindSection<Slice<'a>>> CfiRow for LoweredRow<'_, '_, S> {
    fn full_entry(&self) -> Result<Entry, Unsupported> {
        if !self.has_cfa {
            return Ok(Entry::NoRow { signal: self.lowering.signal });
        }
        self.lowering.full_entry(self.row)
    }

    fn entry(&self) -> Result<Entry, Unsupported> {
        if !self.has_cfa {
            return Ok(Entry::NoRow { signal: self.lowering.signal });
        }
        self.lowering.entry(self.row)
    }

    fn each_saved(&self, see: &mut dyn FnMut(Register, Result<Rule, Unsupported>)) {
        if self.has_cfa {
            self.lowering.each_saved(self.row, see);
        }
    }
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
        self.run(function, storage, None, &mut |rows, row| see(rows.start, row.entry()))
    }

    /// Gives each row of a function to `see`, with the offsets that it covers, from the function's start in bytes. Otherwise
    /// as [`Cfi::each_row`].
    ///
    /// # Errors
    ///
    /// The program cannot be run to its end. Rows that were seen before stand, and nothing is known after the last.
    pub fn each_full_row(
        &self,
        function: &CfiFunction,
        storage: &mut Storage,
        see: &mut dyn FnMut(Range<u64>, &dyn CfiRow),
    ) -> Result<(), Unsupported> {
        self.run(function, storage, None, see)
    }

    /// What CFI says of a pc; none if no function covers it. The section is searched from its start.
    ///
    /// # Errors
    ///
    /// The program of the function that covers the pc cannot be run to there.
    pub fn lookup(&self, pc: u64, storage: &mut Storage) -> Result<Option<Lookup>, Unsupported> {
        let Some(function) = self.functions().flatten().find(|function| function.contains(pc)) else { return Ok(None) };
        let mut found = None;
        let mut see = |_, row: &dyn CfiRow| {
            let mut saved = [None; Regs::LEN];
            row.each_saved(&mut |register, rule| {
                if let Some(slot) = saved.get_mut(usize::from(register.0)) {
                    *slot = Some(rule);
                }
            });
            found = Some(Lookup { function, entry: row.entry(), saved });
        };
        self.run(&function, storage, Some(pc), &mut see)?;
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
        let ra = u8::try_from(column).map(Register).map_err(|_| Unsupported::ReturnColumn(column))?;
        let raw = RawEntries::new(self.section, self.bytes, self.columns.is_big_endian);
        let cie = fde.cie().offset();
        let (cfa_from, broken) = self.scan(section, fde);
        Ok(CfiFunction {
            fde: fde.offset(),
            start,
            size,
            signal: mutant!("dwarf-signal-ignored", raw.has_letter(cie, b'S'), false),
            b_key: mutant!("dwarf-key-a-always", raw.has_letter(cie, b'B'), false),
            ra,
            broken,
            cfa_from,
        })
    }

    /// From where there is a rule for the CFA, and from where on the program cannot be understood. gimli's table has a CFA
    /// from the start, register 0 plus 0, which a program could mean as well; and it lets offsets wrap around.
    fn scan<S: UnwindSection<Slice<'a>>>(&self, section: &S, fde: &Fde<'a>) -> (Option<u64>, Option<Broken>) {
        let bases = self.bases();
        let mut scan = Scan { at: fde.initial_address(), cfa_from: None, has_cfa: false, states: 1, is_cie: true };
        let programs = [fde.cie().instructions(section, &bases), fde.instructions(section, &bases)];
        let reason = programs.into_iter().find_map(|program| {
            let failed = scan.program(program, fde.cie()).err();
            scan.is_cie = false;
            failed
        });
        (scan.cfa_from, reason.map(|reason| Broken { from: scan.at, reason }))
    }

    /// Runs the program of a function, and gives its rows to `see`: all of them, or only the one that covers a pc.
    fn run(
        &self,
        function: &CfiFunction,
        storage: &mut Storage,
        only: Option<u64>,
        see: &mut dyn FnMut(Range<u64>, &dyn CfiRow),
    ) -> Result<(), Unsupported> {
        with_section!(self, |section| {
            let fde = self.fde(&section, function.fde)?;
            let (encoding, signal, ra) = (fde.cie().encoding(), function.signal, function.ra);
            let lowering = Lowering { section: &section, encoding, columns: self.columns, signal, ra };
            let bases = self.bases();
            let broken = function.broken.map(|broken| broken.reason);
            let because = |error: gimli::Error| broken.unwrap_or(error.into());
            let limit =
                function.broken.map_or(u64::MAX, |broken| mutant!("dwarf-broken-program-used", broken.from, u64::MAX));
            let mut table = fde.rows(&section, &bases, &mut storage.0).map_err(because)?;
            while let Some(row) = table.next_row().map_err(because)? {
                let (start, end) = (row.start_address(), row.end_address().min(limit));
                if let Some(reason) = broken.filter(|_| start >= limit) {
                    return Err(reason);
                }
                let is_empty = start >= end && function.size != 0;
                if is_empty
                    || only.is_some_and(|pc| {
                        !mutant!(
                            "dwarf-row-of-byte-after",
                            (start..end).contains(&pc),
                            (start + 1..end + 1).contains(&pc)
                        )
                    })
                {
                    continue;
                }
                let has_cfa =
                    mutant!("dwarf-row-from-start-on", function.cfa_from.is_some_and(|from| from <= start), true);
                // A function of size 0 keeps its last row, which covers nothing.
                let covered = start.wrapping_sub(function.start)..end.max(start).wrapping_sub(function.start);
                see(covered, &LoweredRow { lowering: &lowering, row, has_cfa });
                if only.is_some() {
                    return Ok(());
                }
            }
            if let Some(reason) = broken.filter(|_| only.is_none_or(|pc| pc >= limit)) {
                return Err(reason);
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
