//! Unwind rows: what a table of unwind data says of one pc, whatever its format, and the only code that evaluates them.
//!
//! A row says where the caller's values are. It knows no stack bounds, no windows and no order between stacks: whoever follows
//! a row decides in its `read` which [`Slot`] may be read, and looks at the CFA and at each [`Place`] before it believes them.

use crate::abi::Abi;
use crate::error::Error;
use crate::regs::{Register, Regs};

/// How the CFA is found: "typically, the CFA is defined to be the value of the stack pointer at the call site in the previous
/// frame" (DWARF 5, 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CfaRule {
    /// The register plus an offset in bytes.
    RegOffset(Register, i64),
    /// The word at the register plus an offset.
    RegOffsetDeref(Register, i64),
    /// The word at the register, plus an offset.
    RegDerefOffset(Register, i64),
}

impl CfaRule {
    /// The register from which the CFA is computed.
    #[must_use]
    pub const fn register(self) -> Register {
        match self {
            Self::RegOffset(register, _) | Self::RegOffsetDeref(register, _) | Self::RegDerefOffset(register, _) => {
                register
            }
        }
    }

    /// The CFA of a frame with these registers.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register is not known, or the error of `read`.
    #[inline]
    pub fn value(self, regs: &Regs, read: &mut impl FnMut(Slot) -> Result<u64, Error>) -> Result<u64, Error> {
        let register = self.register();
        let base = regs.get(register).ok_or(Error::NoRegister(register))?;
        match self {
            Self::RegOffset(_, offset) => Ok(base.wrapping_add_signed(offset)),
            Self::RegOffsetDeref(_, offset) => read(Slot::Cfa(base.wrapping_add_signed(offset))),
            Self::RegDerefOffset(_, offset) => Ok(read(Slot::Cfa(base))?.wrapping_add_signed(offset)),
        }
    }
}

/// How the caller's value of a register, or its pc, is found. The names are those of the rules in the kernel's user unwinder
/// as it is in review (thread S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It is still in its register (DWARF 5, 6.4.1: "same value"). For the return address that is the link register.
    Retain,
    /// The CFA plus an offset in bytes is the value itself (DWARF: val_offset(N)).
    CfaOffset(i64),
    /// The word at the CFA plus an offset (DWARF: offset(N)).
    CfaOffsetDeref(i64),
    /// The register plus an offset is the value itself (DWARF: register(R) and some expressions).
    RegOffset(Register, i64),
    /// The word at the register plus an offset.
    RegOffsetDeref(Register, i64),
}

/// A word of memory that a row asks for: its address, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The CFA is computed from this word.
    Cfa(u64),
    /// This word is the return address.
    Ra(u64),
    /// This word is the caller's frame pointer.
    Fp(u64),
}

impl Slot {
    /// The address of the word.
    #[must_use]
    pub const fn address(self) -> u64 {
        match self {
            Self::Cfa(at) | Self::Ra(at) | Self::Fp(at) => at,
        }
    }
}

/// Where a rule finds the value in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this register, which the callee has left alone.
    Register(Register),
    /// Nowhere: the rule computes it.
    Computed(u64),
    /// In the word at this address.
    Memory(u64),
}

/// A value, and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: u64,
    /// Where it was.
    pub place: Place,
}

/// A frame's caller, as a row finds it. The caller's SP is the CFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The CFA of the frame.
    pub cfa: u64,
    /// The return address as it is stored, with an authentication code if it has one.
    pub ra: Found,
    /// The caller's frame pointer; none if the row retains it and it is not known.
    pub fp: Option<Found>,
}

impl Rule {
    /// Where the caller's value is. `own` is the register that holds it if the rule retains it.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register that the rule names is not known, [`Error::NoLinkRegister`] when the rule
    /// retains the value and there is no such register.
    #[inline]
    pub fn place(self, own: Option<Register>, cfa: u64, regs: &Regs) -> Result<Place, Error> {
        let known = |register| regs.get(register).ok_or(Error::NoRegister(register));
        Ok(match self {
            Self::Retain => Place::Register(own.ok_or(Error::NoLinkRegister)?),
            Self::CfaOffset(offset) => Place::Computed(cfa.wrapping_add_signed(offset)),
            Self::CfaOffsetDeref(offset) => Place::Memory(cfa.wrapping_add_signed(offset)),
            Self::RegOffset(base, offset) => Place::Computed(known(base)?.wrapping_add_signed(offset)),
            Self::RegOffsetDeref(base, offset) => Place::Memory(known(base)?.wrapping_add_signed(offset)),
        })
    }

    #[inline]
    fn found(
        self,
        own: Option<Register>,
        cfa: u64,
        regs: &Regs,
        read: impl FnOnce(u64) -> Result<u64, Error>,
    ) -> Result<Found, Error> {
        let place = self.place(own, cfa, regs)?;
        let value = match place {
            Place::Register(register) => regs.get(register).ok_or(Error::NoRegister(register))?,
            Place::Computed(value) => value,
            Place::Memory(at) => read(at)?,
        };
        Ok(Found { value, place })
    }

    /// The return address, if this is its rule.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when a register is not known, [`Error::NoLinkRegister`] when the rule retains it and the CPU has
    /// no link register, or the error of `read`.
    #[inline]
    pub fn return_address(
        self,
        cfa: u64,
        regs: &Regs,
        abi: &Abi,
        read: &mut impl FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<Found, Error> {
        self.found(abi.ra, cfa, regs, |at| read(Slot::Ra(at)))
    }

    /// The caller's frame pointer, if this is its rule; none if it is retained and not known.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register that the rule names is not known, or the error of `read`.
    #[inline]
    pub fn frame_pointer(
        self,
        cfa: u64,
        regs: &Regs,
        abi: &Abi,
        read: &mut impl FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<Option<Found>, Error> {
        if self == Self::Retain && regs.get(abi.fp).is_none() {
            return Ok(None);
        }
        self.found(Some(abi.fp), cfa, regs, |at| read(Slot::Fp(at))).map(Some)
    }
}

/// How to get from a frame to its caller's, at one pc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnwindRow {
    /// Where the frame begins.
    pub cfa: CfaRule,
    /// Where the return address is.
    pub ra: Rule,
    /// Where the caller's frame pointer is.
    pub fp: Rule,
    /// Whether the return address carries a pointer authentication code.
    pub mangled_ra: bool,
    /// Whether this is the frame of a signal or an exception: its caller's pc was interrupted, and is no return address.
    pub signal: bool,
}

impl UnwindRow {
    /// The caller of a frame with these registers: the CFA first, then the frame pointer, and the return address last, so that
    /// a `read` that consumes the stack up to the return address does so once nothing below it is needed.
    ///
    /// A policy that looks at the CFA before it reads on evaluates the rules one by one: [`CfaRule::value`],
    /// [`Rule::frame_pointer`] and [`Rule::return_address`].
    ///
    /// # Errors
    ///
    /// Those of the three rules.
    #[inline]
    pub fn caller(
        &self,
        regs: &Regs,
        abi: &Abi,
        read: &mut impl FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<Caller, Error> {
        let cfa = self.cfa.value(regs, read)?;
        let fp = self.fp.frame_pointer(cfa, regs, abi, read)?;
        let ra = self.ra.return_address(cfa, regs, abi, read)?;
        Ok(Caller { cfa, ra, fp })
    }
}

/// Where an exception saved the registers of the caller, which it interrupted. Only ORC speaks of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PtRegsRow {
    /// Where what was saved begins.
    pub at: CfaRule,
    /// Whether a whole pt_regs is there, and not only the words at its end that the CPU itself saves.
    pub is_whole: bool,
    /// Where the caller's frame pointer is. A retained one is in the saved registers.
    pub fp: Rule,
    /// Whether the caller's pc is looked up as it is, and not one byte back.
    pub signal: bool,
}

/// What a table has for a pc that lies in one of its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The way to the caller.
    Row(UnwindRow),
    /// The way to what an exception interrupted.
    PtRegs(PtRegsRow),
    /// The function has no caller: the proven end of the stack.
    Outermost,
    /// The function is known, but nothing is said of this pc. That is not the end of the stack.
    NoRow {
        /// Whether it is the frame of a signal or an exception.
        signal: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::{CfaRule, Found, Place, Rule, Slot, UnwindRow};
    use crate::abi::{ARM64, X86_64};
    use crate::error::Error;
    use crate::regs::{Register, Regs};

    const SP: u64 = 0x1000;
    const FP: u64 = 0x2000;

    fn regs() -> Regs {
        let mut regs = Regs::none();
        regs.set(X86_64.sp, SP);
        regs.set(X86_64.fp, FP);
        regs
    }

    /// Each word holds its own address plus one.
    fn read(slot: Slot) -> Result<u64, Error> {
        Ok(slot.address() + 1)
    }

    #[test]
    fn a_cfa_adds_its_offset_before_or_after_the_read() {
        let value = |rule: CfaRule| rule.value(&regs(), &mut read);
        assert_eq!(value(CfaRule::RegOffset(X86_64.sp, -8)), Ok(SP - 8));
        assert_eq!(value(CfaRule::RegOffsetDeref(X86_64.fp, 8)), Ok(FP + 8 + 1));
        assert_eq!(value(CfaRule::RegDerefOffset(X86_64.fp, 0x10)), Ok(FP + 1 + 0x10));
        assert_eq!(value(CfaRule::RegOffset(Register(3), 0)), Err(Error::NoRegister(Register(3))));
    }

    #[test]
    fn each_value_says_where_it_was_found() {
        let fp = |rule: Rule| rule.frame_pointer(0x3000, &regs(), &X86_64, &mut read);
        let found = |value, place| Ok(Some(Found { value, place }));
        assert_eq!(fp(Rule::Retain), found(FP, Place::Register(X86_64.fp)));
        assert_eq!(fp(Rule::CfaOffset(-8)), found(0x2ff8, Place::Computed(0x2ff8)));
        assert_eq!(fp(Rule::CfaOffsetDeref(-8)), found(0x2ff9, Place::Memory(0x2ff8)));
        assert_eq!(fp(Rule::RegOffset(X86_64.sp, 4)), found(SP + 4, Place::Computed(SP + 4)));
        assert_eq!(fp(Rule::RegOffsetDeref(X86_64.sp, 4)), found(SP + 5, Place::Memory(SP + 4)));
        assert_eq!(Rule::Retain.frame_pointer(0, &Regs::none(), &X86_64, &mut read), Ok(None));
    }

    #[test]
    fn a_retained_return_address_needs_a_link_register_that_is_known() {
        let ra = |abi, regs: &Regs| Rule::Retain.return_address(0, regs, abi, &mut read);
        assert_eq!(ra(&X86_64, &regs()), Err(Error::NoLinkRegister));
        assert_eq!(ra(&ARM64, &Regs::none()), Err(Error::NoRegister(Register(30))));
        let mut linked = Regs::none();
        linked.set(Register(30), 7);
        assert_eq!(ra(&ARM64, &linked), Ok(Found { value: 7, place: Place::Register(Register(30)) }));
    }

    #[test]
    fn the_return_address_is_read_last() {
        let row = UnwindRow {
            cfa: CfaRule::RegOffsetDeref(X86_64.sp, 0),
            ra: Rule::CfaOffsetDeref(-8),
            fp: Rule::CfaOffsetDeref(-16),
            mangled_ra: false,
            signal: false,
        };
        let mut order = [None; 3];
        let mut count = 0;
        let caller = row.caller(&regs(), &X86_64, &mut |slot| {
            order[count] = Some(slot);
            count += 1;
            Ok(0x5000)
        });
        assert_eq!(caller.map(|caller| caller.cfa), Ok(0x5000));
        assert_eq!(order, [Some(Slot::Cfa(SP)), Some(Slot::Fp(0x4ff0)), Some(Slot::Ra(0x4ff8))]);
    }
}
