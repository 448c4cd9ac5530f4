//! Walks by tables of unwind rows: SFrame and DWARF CFI, from the registers of every frame.

use crate::{Abi, CfaRule, Claims, CodeAddress, Entry, Error, Frame, Regs, Rule, Source, Step, Target, UnwindRow};
use crate::{Unwinder, WalkState};

/// A format of unwind data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `.sframe`.
    SFrame,
    /// `.eh_frame` or `.debug_frame`.
    Dwarf,
    /// `.orc_unwind_ip` and `.orc_unwind`. They hold no rows: [`Target::orc`] gives them, and no [`Table`].
    Orc,
}

impl Format {
    /// The name in reports and scenarios.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SFrame => "sframe",
            Self::Dwarf => "dwarf",
            Self::Orc => "orc",
        }
    }
}

/// Unwind data of one format, as an unwinder asks it.
pub trait Table {
    /// What there is for a pc; nothing if it lies in no function of the table.
    ///
    /// # Errors
    ///
    /// [`Error::BadTable`] when the data cannot be read at this pc, [`Error::Unrepresentable`] when they say something that no
    /// row can.
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error>;
}

impl UnwindRow {
    /// The CFA of a frame with these registers.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register is not known, or what `read` says.
    pub fn cfa_of(&self, regs: &Regs, read: impl FnOnce(u64) -> Result<u64, Error>) -> Result<u64, Error> {
        let register = self.cfa.register();
        let base = regs.get(register).ok_or(Error::NoRegister(register))?;
        match self.cfa {
            CfaRule::RegOffset(_, offset) => Ok(base.wrapping_add_signed(offset)),
            CfaRule::RegOffsetDeref(_, offset) => read(base.wrapping_add_signed(offset)),
        }
    }
}

impl Rule {
    /// Where the value is, or what it is; nothing if it still is in its register.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register is not known.
    pub fn place(self, cfa: u64, regs: &Regs) -> Result<Option<Place>, Error> {
        let register = |register| regs.get(register).ok_or(Error::NoRegister(register));
        Ok(match self {
            Self::Retain => None,
            Self::CfaOffset(offset) => Some(Place::Value(cfa.wrapping_add_signed(offset))),
            Self::CfaOffsetDeref(offset) => Some(Place::Memory(cfa.wrapping_add_signed(offset))),
            Self::RegOffset(base, offset) => Some(Place::Value(register(base)?.wrapping_add_signed(offset))),
            Self::RegOffsetDeref(base, offset) => Some(Place::Memory(register(base)?.wrapping_add_signed(offset))),
        })
    }
}

/// What a rule comes to in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The value itself.
    Value(u64),
    /// The address of the word that holds it.
    Memory(u64),
}

/// The walk by rows alone. It claims by reaching a function that has no caller.
///
/// A register that no row recovers is absent in the caller, so a return address can be in a register in the first frame only,
/// or where a row names SP or FP.
#[derive(Clone, Copy, Debug)]
pub struct TableUnwinder {
    abi: &'static Abi,
    format: Format,
}

impl TableUnwinder {
    /// An unwinder for the CPU of this ABI, by the tables of this format.
    #[must_use]
    pub const fn new(abi: &'static Abi, format: Format) -> Self {
        Self { abi, format }
    }

    fn caller(
        &self,
        row: &UnwindRow,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<(), Error> {
        let read = |at: u64| {
            if !state.windows.can_consume(at, 8) {
                return Err(Error::OutsideStacks(at));
            }
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let cfa = row.cfa_of(&frame.regs, read)?;
        let fp = match row.fp.place(cfa, &frame.regs)? {
            None => frame.regs.get(self.abi.fp),
            Some(Place::Value(value)) => Some(value),
            Some(Place::Memory(at)) => Some(read(at)?),
        };
        let return_address = match row.ra.place(cfa, &frame.regs)? {
            None => {
                let link = self.abi.ra.ok_or(Error::UnusableRule(frame.pc.value()))?;
                frame.regs.get(link).ok_or(Error::NoRegister(link))?
            }
            Some(Place::Value(value)) => value,
            Some(Place::Memory(at)) => {
                // One way only: what lies below the return address is out of reach from now on.
                state.windows.consume(at, 8)?;
                target.read_u64(at).ok_or(Error::Unreadable(at))?
            }
        };
        let pc = if row.mangled_ra { self.abi.strip(return_address) } else { return_address };
        frame.pc = if row.signal { CodeAddress::Interrupted(pc) } else { CodeAddress::Return(pc) };
        frame.source = Source::Row { cfa };
        frame.regs.clear();
        frame.regs.set(self.abi.sp, cfa);
        if let Some(fp) = fp {
            frame.regs.set(self.abi.fp, fp);
        }
        Ok(())
    }
}

impl Unwinder for TableUnwinder {
    fn name(&self) -> &'static str {
        self.format.name()
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let pc = frame.pc.lookup();
        match target.table(self.format).ok_or(Error::NoTable)?.entry(pc)? {
            Some(Entry::Row(row)) => self.caller(&row, frame, state, target).map(|()| Step::Caller),
            Some(Entry::Outermost) => Ok(Step::Outermost),
            Some(Entry::NoRow { .. }) | None => Err(Error::NoRow(pc)),
        }
    }
}
