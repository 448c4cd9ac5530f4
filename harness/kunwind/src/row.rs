//! Unwind rows: what a table of unwind data says of one pc, whatever its format, and the only code that evaluates them.
//!
//! A row says where the caller's values are. It knows no stack bounds, no windows and no order between stacks: the
//! unwinder that follows a row decides in its [`Ask`] which [`Slot`] may be read, and checks the CFA and each [`Place`]
//! before it believes them.

use crate::abi::Abi;
use crate::error::Error;
use crate::regs::{Register, Regs};

/// A DWARF expression that a table keeps among its bytes. Only the table can evaluate it ([`Ask::expression`]), so that
/// a row stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    /// Where it begins, in bytes from the start of the table's bytes.
    pub offset: u32,
    /// In bytes.
    pub length: u32,
}

/// How the CFA is found: "typically, the CFA is defined to be the value of the stack pointer at the call site in the
/// previous frame" (DWARF 5, 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CfaRule {
    /// The register plus an offset in bytes.
    RegOffset(Register, i64),
    /// The word at the register plus an offset.
    RegOffsetDeref(Register, i64),
    /// The word at the register, plus an offset.
    RegDerefOffset(Register, i64),
    /// Whatever the expression gives (DWARF 5, 6.4.2.2: `DW_CFA_def_cfa_expression`).
    Expression(Expression),
}

impl CfaRule {
    /// The register from which the CFA is computed; an expression may name several, or none.
    #[must_use]
    pub const fn register(self) -> Option<Register> {
        match self {
            Self::RegOffset(register, _) | Self::RegOffsetDeref(register, _) | Self::RegDerefOffset(register, _) => {
                Some(register)
            }
            Self::Expression(_) => None,
        }
    }

    /// The CFA of a frame with these registers.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register is not known, or the error of `ask`.
    #[inline]
    pub fn value(self, regs: &Regs, ask: &mut impl Ask) -> Result<u64, Error> {
        let base = |register| regs.get(register).ok_or(Error::NoRegister(register));
        match self {
            Self::RegOffset(register, offset) => Ok(base(register)?.wrapping_add_signed(offset)),
            Self::RegOffsetDeref(register, offset) => mutant!(
                "cfa-offset-before-word",
                ask.word(Slot::Cfa(base(register)?.wrapping_add_signed(offset))),
                Ok(ask.word(Slot::Cfa(base(register)?))?.wrapping_add_signed(offset))
            ),
            Self::RegDerefOffset(register, offset) => {
                mutant!(
                    "cfa-offset-after-word",
                    Ok(ask.word(Slot::Cfa(base(register)?))?.wrapping_add_signed(offset)),
                    ask.word(Slot::Cfa(base(register)?.wrapping_add_signed(offset)))
                )
            }
            Self::Expression(expression) => ask.expression(expression, None, regs),
        }
    }
}

/// How the caller's value of a register, or its pc, is found. The names are those of the rules in the kernel's user
/// unwinder as it is in review (thread S3).
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
    /// The word at the address that the expression gives (DWARF: expression(E)).
    Expression(Expression),
    /// What the expression gives is the value itself (DWARF: val_expression(E)).
    ValExpression(Expression),
    /// It is lost (DWARF: undefined).
    Undefined,
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
    /// This word is the caller's value of another register.
    Saved(u64),
    /// An expression computes with this word.
    Operand(u64),
}

impl Slot {
    /// The address of the word.
    #[must_use]
    pub const fn address(self) -> u64 {
        match self {
            Self::Cfa(at) | Self::Ra(at) | Self::Fp(at) | Self::Saved(at) | Self::Operand(at) => at,
        }
    }
}

/// What a row asks for while it is evaluated. A closure that reads words will do where a table has no expressions.
pub trait Ask {
    /// The word at an address.
    ///
    /// # Errors
    ///
    /// Whatever the unwinder has against reading it.
    fn word(&mut self, slot: Slot) -> Result<u64, Error>;

    /// What an expression of the row's table gives for a frame with these registers. `cfa` is on its stack first, for
    /// the expressions of registers (DWARF 5, 6.4.2.3); for that of the CFA itself there is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::NoExpression`] where a row cannot have any, or why it cannot be evaluated.
    fn expression(&mut self, expression: Expression, cfa: Option<u64>, regs: &Regs) -> Result<u64, Error> {
        let _ = (expression, cfa, regs);
        Err(Error::NoExpression)
    }
}

impl<F: FnMut(Slot) -> Result<u64, Error>> Ask for F {
    #[inline]
    fn word(&mut self, slot: Slot) -> Result<u64, Error> {
        self(slot)
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
    /// The caller's frame pointer; none if the row says that it is lost, or retains it and it is not known.
    pub fp: Option<Found>,
}

impl Rule {
    /// Where the caller's value is. `own` is the register that holds it if the rule retains it.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register that the rule names is not known, [`Error::NoLinkRegister`] when the
    /// rule retains the value and there is no such register, [`Error::Undefined`] when it is lost, and
    /// [`Error::NoExpression`] for an expression.
    #[inline]
    pub fn place(self, own: Option<Register>, cfa: u64, regs: &Regs) -> Result<Place, Error> {
        let known = |register| regs.get(register).ok_or(Error::NoRegister(register));
        Ok(match self {
            Self::Retain => Place::Register(own.ok_or(Error::NoLinkRegister)?),
            Self::CfaOffset(offset) => mutant!(
                "rule-val-offset-is-slot",
                Place::Computed(cfa.wrapping_add_signed(offset)),
                Place::Memory(cfa.wrapping_add_signed(offset))
            ),
            Self::CfaOffsetDeref(offset) => Place::Memory(cfa.wrapping_add_signed(offset)),
            Self::RegOffset(base, offset) => mutant!(
                "rule-register-is-slot",
                Place::Computed(known(base)?.wrapping_add_signed(offset)),
                Place::Memory(known(base)?.wrapping_add_signed(offset))
            ),
            Self::RegOffsetDeref(base, offset) => mutant!(
                "rule-register-slot-is-value",
                Place::Memory(known(base)?.wrapping_add_signed(offset)),
                Place::Computed(known(base)?.wrapping_add_signed(offset))
            ),
            Self::Undefined => return Err(Error::Undefined),
            Self::Expression(_) | Self::ValExpression(_) => return Err(Error::NoExpression),
        })
    }

    #[inline]
    fn found(
        self,
        own: Option<Register>,
        cfa: u64,
        regs: &Regs,
        ask: &mut impl Ask,
        slot: impl FnOnce(u64) -> Slot,
    ) -> Result<Found, Error> {
        let place = match self {
            Self::Expression(expression) => Place::Memory(ask.expression(
                expression,
                mutant!("rule-expression-without-cfa", Some(cfa), None),
                regs,
            )?),
            Self::ValExpression(expression) => mutant!(
                "rule-val-expression-is-slot",
                Place::Computed(ask.expression(expression, Some(cfa), regs)?),
                Place::Memory(ask.expression(expression, Some(cfa), regs)?)
            ),
            _ => self.place(own, cfa, regs)?,
        };
        let value = match place {
            Place::Register(register) => regs.get(register).ok_or(Error::NoRegister(register))?,
            Place::Computed(value) => value,
            Place::Memory(at) => ask.word(slot(at))?,
        };
        Ok(Found { value, place })
    }

    /// The return address, if this is its rule.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when a register is not known, [`Error::NoLinkRegister`] when the rule retains it and the
    /// CPU has no link register, or the error of `ask`.
    #[inline]
    pub fn return_address(self, cfa: u64, regs: &Regs, abi: &Abi, ask: &mut impl Ask) -> Result<Found, Error> {
        self.found(abi.ra, cfa, regs, ask, Slot::Ra)
    }

    /// The caller's frame pointer, if this is its rule; none if it is lost, or retained and not known.
    ///
    /// # Errors
    ///
    /// [`Error::NoRegister`] when the register that the rule names is not known, or the error of `ask`.
    #[inline]
    pub fn frame_pointer(self, cfa: u64, regs: &Regs, abi: &Abi, ask: &mut impl Ask) -> Result<Option<Found>, Error> {
        if self == Self::Undefined
            || (self == Self::Retain && mutant!("rule-fp-retained-is-lost", regs.get(abi.fp).is_none(), true))
        {
            return Ok(None);
        }
        self.found(Some(abi.fp), cfa, regs, ask, Slot::Fp).map(Some)
    }

    /// The caller's value of a register other than the return address and the frame pointer, if this is its rule; none
    /// if it is lost, or retained and not known.
    ///
    /// # Errors
    ///
    /// As [`Rule::frame_pointer`].
    pub fn saved(self, own: Register, cfa: u64, regs: &Regs, ask: &mut impl Ask) -> Result<Option<Found>, Error> {
        if self == Self::Undefined || (self == Self::Retain && regs.get(own).is_none()) {
            return Ok(None);
        }
        self.found(Some(own), cfa, regs, ask, Slot::Saved).map(Some)
    }

    /// Whether it is an expression that only its table can evaluate.
    #[must_use]
    pub const fn is_expression(self) -> bool {
        matches!(self, Self::Expression(_) | Self::ValExpression(_))
    }
}

/// The key with which a return address is signed (AADWARF64, augmentation `B`; the SFrame specification, `pauth_key`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PauthKey {
    /// Key A for instructions.
    #[default]
    A,
    /// Key B for instructions.
    B,
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
    /// Whether this is the frame of a signal or an exception: its caller's pc was interrupted, and is no return
    /// address.
    pub signal: bool,
}

impl UnwindRow {
    /// The caller of a frame with these registers: the CFA first, then the frame pointer, and the return address last,
    /// so that an `ask` that consumes the stack up to the return address does so once nothing below it is needed.
    ///
    /// A policy that looks at the CFA before it reads on evaluates the rules one by one: [`CfaRule::value`],
    /// [`Rule::frame_pointer`] and [`Rule::return_address`].
    ///
    /// # Errors
    ///
    /// Those of the three rules.
    #[inline]
    pub fn caller(&self, regs: &Regs, abi: &Abi, ask: &mut impl Ask) -> Result<Caller, Error> {
        let cfa = self.cfa.value(regs, ask)?;
        let fp = self.fp.frame_pointer(cfa, regs, abi, ask)?;
        let ra = self.ra.return_address(cfa, regs, abi, ask)?;
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
