//! DWARF call frame information (`.eh_frame`, `.debug_frame`) as unwind rows.
//!
//! gimli parses and runs the programs; this module says what a row of its table means in the vocabulary of [`crate::UnwindRow`],
//! and why where it cannot be said. Nothing is allocated: the one large thing, [`Storage`], is the caller's to place.

mod columns;
mod entry;
mod lower;

use gimli::{BaseAddresses, CallFrameInstruction, RunTimeEndian, UnwindSection};

pub use columns::Columns;
pub use entry::{CfiSection, hide_letters};

use crate::{Entry, Register, Regs, Rule};
use entry::RawEntries;
use lower::{Lowering, Slice};

/// Why CFI cannot be an unwind row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsupported {
    /// The CFA is an expression other than a register plus an offset, or the word there.
    CfaExpression,
    /// The return address is such an expression.
    ReturnAddressExpression,
    /// The frame pointer is such an expression.
    FramePointerExpression,
    /// Another register is such an expression.
    Expression,
    /// The caller's frame pointer is lost.
    FramePointerUndefined,
    /// The caller's value of another register is lost.
    Undefined,
    /// The caller's stack pointer is something else than the CFA.
    StackPointer,
    /// A register of this number, which no rule can name.
    Register(u16),
    /// The CIE's return address is in this column, and not where the ABI has it.
    ReturnColumn(u16),
    /// The state of the return address' signature is not a constant.
    SignState,
    /// An instruction of this number, which is not known, or not for this machine.
    UnknownInstruction(u8),
    /// The CIE has an augmentation that is not known.
    Augmentation,
    /// More registers or remembered states than [`Storage`] has room for.
    TooComplex,
    /// The entry cannot be parsed.
    Malformed,
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::CfaExpression => f.write_str("the CFA is an expression that is no register plus an offset"),
            Self::ReturnAddressExpression => f.write_str("the return address is given by an expression"),
            Self::FramePointerExpression => f.write_str("the frame pointer is given by an expression"),
            Self::Expression => f.write_str("a register is given by an expression"),
            Self::FramePointerUndefined => f.write_str("the caller's frame pointer is lost"),
            Self::Undefined => f.write_str("the caller's value of a register is lost"),
            Self::StackPointer => f.write_str("the caller's stack pointer is not the CFA"),
            Self::Register(number) => write!(f, "register {number} cannot be named"),
            Self::ReturnColumn(number) => write!(f, "the return address is in column {number}"),
            Self::SignState => f.write_str("whether the return address is signed is not constant"),
            Self::UnknownInstruction(number) => {
                write!(f, "CFI instruction {number:#04x} is not known for this machine")
            }
            Self::Augmentation => f.write_str("the CIE has an unknown augmentation"),
            Self::TooComplex => f.write_str("too many registers or remembered states"),
            Self::Malformed => f.write_str("the entry is malformed"),
        }
    }
}

impl core::error::Error for Unsupported {}

impl From<gimli::Error> for Unsupported {
    fn from(error: gimli::Error) -> Self {
        match error {
            gimli::Error::UnknownCallFrameInstruction(number) => Self::UnknownInstruction(number.0),
            gimli::Error::UnknownAugmentation => Self::Augmentation,
            gimli::Error::TooManyRegisterRules | gimli::Error::StackFull => Self::TooComplex,
            _ => Self::Malformed,
        }
    }
}

/// How many register rules a row may have: the general and the vector registers of a machine, and some.
const MAX_RULES: usize = 96;
/// How deep states may be remembered, with the initial one.
const MAX_STATES: usize = 8;

/// Fixed arrays for gimli's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed;

impl gimli::UnwindContextStorage<usize> for Fixed {
    type Rules = [(gimli::Register, gimli::RegisterRule<usize>); MAX_RULES];
    type Stack = [gimli::UnwindTableRow<usize, Self>; MAX_STATES];
}

/// Room for running a CFI program, some 30 KiB. It keeps nothing between uses.
#[derive(Debug, Default)]
pub struct Storage(gimli::UnwindContext<usize, Fixed>);

impl Storage {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A function that CFI describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
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
    /// Whether the program says that arguments lie on the stack (`DW_CFA_GNU_args_size`). It changes no row.
    pub has_args_size: bool,
    /// Where the first rule for a CFA stands; before it, and without it everywhere, there is no row.
    cfa_from: Option<u64>,
}

impl Function {
    /// Whether it covers an address.
    #[must_use]
    pub const fn contains(&self, address: u64) -> bool {
        address >= self.start && address - self.start < self.size
    }
}

/// An FDE from which no [`Function`] can be made.
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
    pub function: Function,
    /// The CFA, the return address and the frame pointer.
    pub entry: Result<Entry, Unsupported>,
    saved: Saved,
}

impl Lookup {
    /// Where the caller's value of a register is; none where CFI says nothing, which means that the callee leaves alone what
    /// the ABI makes it preserve.
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
    /// The same bytes as [`hide_letters`] leaves them; `bytes` itself where that changes nothing.
    pub readable: &'a [u8],
    /// Its address, to which pointers may be relative.
    pub address: u64,
    /// The machine's registers.
    pub columns: Columns,
}

/// Does the same with either of gimli's two types of section.
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
    pub fn functions(&self) -> impl Iterator<Item = Result<Function, Unreadable>> + use<'a> {
        let cfi = *self;
        let mut entries = RawEntries::new(self.section, self.bytes, self.columns.is_big_endian);
        let mut is_over = false;
        core::iter::from_fn(move || {
            while !is_over {
                match entries.next() {
                    Some(entry) if entry.cie.is_none() => {}
                    Some(entry) => return Some(cfi.function(entry.offset)),
                    None => {
                        is_over = true;
                        let rest = Unreadable { fde: entries.position(), range: None, reason: Unsupported::Malformed };
                        return entries.is_truncated.then_some(Err(rest));
                    }
                }
            }
            None
        })
    }

    /// Gives each row of a function to `see`: its offset from the function's start in bytes, and what it says. Offsets grow;
    /// rows that cover nothing are left out, but a function of size 0 keeps its last.
    ///
    /// # Errors
    ///
    /// The program cannot be run to its end. Rows that were seen before stand.
    pub fn each_row(
        &self,
        function: &Function,
        storage: &mut Storage,
        see: &mut dyn FnMut(u64, Result<Entry, Unsupported>),
    ) -> Result<(), Unsupported> {
        self.run(function, storage, &mut |offset, entry, _| see(offset, entry), None)
    }

    /// What CFI says of a pc; none where no function covers it. The section is searched from its start.
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

    fn function(&self, offset: usize) -> Result<Function, Unreadable> {
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

    fn describe<S: UnwindSection<Slice<'a>>>(&self, section: &S, fde: &Fde<'a>) -> Result<Function, Unsupported> {
        let (start, size) = (fde.initial_address(), fde.len());
        start.checked_add(size).ok_or(Unsupported::Malformed)?;
        let column = fde.cie().return_address_register().0;
        if column != u16::from(self.columns.ra.0) {
            return Err(Unsupported::ReturnColumn(column));
        }
        let raw = RawEntries::new(self.section, self.bytes, self.columns.is_big_endian);
        let cie = fde.cie().offset();
        let (cfa_from, has_args_size) = self.scan(section, fde)?;
        Ok(Function {
            fde: fde.offset(),
            start,
            size,
            signal: raw.has_letter(cie, b'S'),
            b_key: raw.has_letter(cie, b'B'),
            has_args_size,
            cfa_from,
        })
    }

    /// Where the first rule for a CFA stands, and whether there is a size of arguments. gimli's table has a CFA from the
    /// start, register 0 plus 0, which a program could mean as well.
    fn scan<S: UnwindSection<Slice<'a>>>(
        &self,
        section: &S,
        fde: &Fde<'a>,
    ) -> Result<(Option<u64>, bool), Unsupported> {
        let bases = self.bases();
        let (mut cfa_from, mut has_args_size, mut at) = (None, false, fde.initial_address());
        for mut program in [fde.cie().instructions(section, &bases), fde.instructions(section, &bases)] {
            while let Some(instruction) = program.next()? {
                match instruction {
                    CallFrameInstruction::DefCfa { .. }
                    | CallFrameInstruction::DefCfaSf { .. }
                    | CallFrameInstruction::DefCfaExpression { .. } => cfa_from = cfa_from.or(Some(at)),
                    CallFrameInstruction::AdvanceLoc { delta } => {
                        let delta = u64::from(delta).checked_mul(fde.cie().code_alignment_factor());
                        at = delta.and_then(|delta| at.checked_add(delta)).ok_or(Unsupported::Malformed)?;
                    }
                    CallFrameInstruction::SetLoc { address } => at = address,
                    CallFrameInstruction::ArgsSize { size } => has_args_size |= size != 0,
                    _ => {}
                }
            }
        }
        Ok((cfa_from, has_args_size))
    }

    /// Runs the program of a function, and gives the rows to `see`: all, or only the one that covers a pc.
    fn run(
        &self,
        function: &Function,
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
