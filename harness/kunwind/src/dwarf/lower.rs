//! From gimli's rows to rows of this crate. Where the rows come from is not known here.

use gimli::{
    CfaRule as GimliCfa, EndianSlice, Operation, RegisterRule, RunTimeEndian, UnwindExpression, UnwindSection,
};

use super::columns::Columns;
use super::storage::Fixed;
use super::unsupported::Unsupported;
use crate::regs::Register;
use crate::row::{self, CfaRule, Entry, Rule, UnwindRow};

pub(super) type Slice<'a> = EndianSlice<'a, RunTimeEndian>;
pub(super) type GimliRow = gimli::UnwindTableRow<usize, Fixed>;

/// What is needed to read a row: among others the section, because expressions lie in it.
pub(super) struct Lowering<'s, S> {
    pub(super) section: &'s S,
    pub(super) encoding: gimli::Encoding,
    pub(super) columns: Columns,
    pub(super) signal: bool,
    /// The column of the return address, which the CIE may choose.
    pub(super) ra: Register,
}

/// The two forms of expression that a row can hold.
enum Expression {
    RegOffset(Register, i64),
    RegOffsetDeref(Register, i64),
}

/// Where an expression lies in the section.
fn place(expression: &UnwindExpression<usize>) -> Result<row::Expression, Unsupported> {
    let narrow = |value: usize| u32::try_from(value).map_err(|_| Unsupported::TooComplex);
    Ok(row::Expression { offset: narrow(expression.offset)?, length: narrow(expression.length)? })
}

fn narrow(register: gimli::Register) -> Result<Register, Unsupported> {
    u8::try_from(register.0).map(Register).map_err(|_| Unsupported::Register(register.0))
}

impl<'a, S: UnwindSection<Slice<'a>>> Lowering<'_, S> {
    /// The row as an entry with everything that it says, expressions included. [`Lowering::each_saved`] has the rest.
    pub(super) fn full_entry(&self, row: &GimliRow) -> Result<Entry, Unsupported> {
        let register = |number: Register| row.register(gimli::Register(number.0.into()));
        let cfa = self.full_cfa(row.cfa())?;
        let ra = match self.full_rule(self.ra, register(self.ra))? {
            Rule::Undefined if mutant!("dwarf-undefined-ra-is-no-end", true, false) => return Ok(Entry::Outermost),
            // The executor takes a retained address from the link register, and this is another.
            Rule::Retain if mutant!("dwarf-return-column-ignored", self.ra != self.columns.ra, false) => {
                Rule::RegOffset(self.ra, 0)
            }
            ra => ra,
        };
        let fp = self.full_rule(self.columns.fp, register(self.columns.fp))?;
        Ok(Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: self.sign_state(row)?, signal: self.signal }))
    }

    /// The rules of the registers that an entry has no room for.
    pub(super) fn each_saved(&self, row: &GimliRow, see: &mut dyn FnMut(Register, Result<Rule, Unsupported>)) {
        for (register, rule) in row.registers() {
            let Ok(number) = narrow(*register) else { continue };
            let is_state = self.columns.has_sign_state && *register == gimli::AArch64::RA_SIGN_STATE;
            if !is_state && number != self.ra && number != self.columns.fp {
                see(number, self.full_rule(number, Some(rule.clone())));
            }
        }
    }

    /// The row as an entry that every format can hold: without expressions, and with the CFA as the caller's SP.
    pub(super) fn entry(&self, row: &GimliRow) -> Result<Entry, Unsupported> {
        if self.ra != self.columns.ra {
            return Err(Unsupported::ReturnColumn(self.ra.0.into()));
        }
        let register = |number: Register| row.register(gimli::Register(number.0.into()));
        if matches!(register(self.columns.ra), Some(RegisterRule::Undefined)) {
            return Ok(Entry::Outermost);
        }
        let cfa = self.cfa(row.cfa())?;
        self.check_sp(register(self.columns.sp), cfa)?;
        let ra = self.rule(self.columns.ra, register(self.columns.ra)).map_err(|error| match error {
            Unsupported::Expression => Unsupported::ReturnAddressExpression,
            other => other,
        })?;
        let fp = self.rule(self.columns.fp, register(self.columns.fp)).map_err(|error| match error {
            Unsupported::Expression => Unsupported::FramePointerExpression,
            Unsupported::Undefined => Unsupported::FramePointerUndefined,
            other => other,
        })?;
        Ok(Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: self.sign_state(row)?, signal: self.signal }))
    }

    fn cfa(&self, cfa: &GimliCfa<usize>) -> Result<CfaRule, Unsupported> {
        match self.full_cfa(cfa)? {
            CfaRule::Expression(_) => Err(Unsupported::CfaExpression),
            simple => Ok(simple),
        }
    }

    fn full_cfa(&self, cfa: &GimliCfa<usize>) -> Result<CfaRule, Unsupported> {
        match cfa {
            GimliCfa::RegisterAndOffset { register, offset } => Ok(CfaRule::RegOffset(narrow(*register)?, *offset)),
            GimliCfa::Expression(expression) => match self.expression(expression) {
                Some(Expression::RegOffset(register, offset)) => Ok(CfaRule::RegOffset(register, offset)),
                Some(Expression::RegOffsetDeref(register, offset)) => Ok(mutant!(
                    "dwarf-cfa-word-is-address",
                    CfaRule::RegOffsetDeref(register, offset),
                    CfaRule::RegOffset(register, offset)
                )),
                None => Ok(CfaRule::Expression(place(expression)?)),
            },
        }
    }

    /// A row means that the caller's SP is the CFA, less a constant; CFI may say something else.
    fn check_sp(&self, rule: Option<RegisterRule<usize>>, cfa: CfaRule) -> Result<(), Unsupported> {
        let own = self.columns.sp_from_cfa;
        let agrees = match rule {
            None => true,
            Some(RegisterRule::ValOffset(offset)) => offset == own,
            // Where SP is not the CFA, functions save SP with the other registers, in a slot or in a floating-point
            // register, and what is there has the same value.
            Some(RegisterRule::Offset(_) | RegisterRule::Register(_)) => own != 0,
            // A signal frame: SP, and with it the CFA, is what the frame holds.
            Some(RegisterRule::Expression(expression)) => match (self.expression(&expression), cfa) {
                (Some(Expression::RegOffset(register, offset)), CfaRule::RegOffsetDeref(base, from_base)) => {
                    own == 0 && (register, offset) == (base, from_base)
                }
                _ => false,
            },
            Some(_) => false,
        };
        if agrees { Ok(()) } else { Err(Unsupported::StackPointer) }
    }

    /// The rule of a register, without expressions.
    pub(super) fn rule(&self, own: Register, rule: Option<RegisterRule<usize>>) -> Result<Rule, Unsupported> {
        match self.full_rule(own, rule)? {
            Rule::Expression(_) | Rule::ValExpression(_) => Err(Unsupported::Expression),
            Rule::Undefined => Err(Unsupported::Undefined),
            simple => Ok(simple),
        }
    }

    /// The rule of a register.
    fn full_rule(&self, own: Register, rule: Option<RegisterRule<usize>>) -> Result<Rule, Unsupported> {
        match rule {
            None | Some(RegisterRule::SameValue) => Ok(Rule::Retain),
            Some(RegisterRule::Register(register)) if register.0 == u16::from(own.0) => Ok(Rule::Retain),
            Some(RegisterRule::Register(register)) => {
                Ok(mutant!("dwarf-register-is-same-value", Rule::RegOffset(narrow(register)?, 0), Rule::Retain))
            }
            Some(RegisterRule::Offset(offset)) => Ok(Rule::CfaOffsetDeref(offset)),
            Some(RegisterRule::ValOffset(offset)) => {
                Ok(mutant!("dwarf-offset-is-value", Rule::CfaOffset(offset), Rule::CfaOffsetDeref(offset)))
            }
            Some(RegisterRule::Expression(expression)) => match self.expression(&expression) {
                Some(Expression::RegOffset(register, offset)) => Ok(Rule::RegOffsetDeref(register, offset)),
                _ => Ok(Rule::Expression(place(&expression)?)),
            },
            Some(RegisterRule::ValExpression(expression)) => match self.expression(&expression) {
                Some(Expression::RegOffset(register, offset)) => Ok(Rule::RegOffset(register, offset)),
                Some(Expression::RegOffsetDeref(register, offset)) => Ok(Rule::RegOffsetDeref(register, offset)),
                None => Ok(mutant!(
                    "dwarf-val-expression-is-slot",
                    Rule::ValExpression(place(&expression)?),
                    Rule::Expression(place(&expression)?)
                )),
            },
            Some(RegisterRule::Undefined) => Ok(Rule::Undefined),
            Some(_) => Err(Unsupported::Malformed),
        }
    }

    fn sign_state(&self, row: &GimliRow) -> Result<bool, Unsupported> {
        if !self.columns.has_sign_state {
            return Ok(false);
        }
        match row.register(gimli::AArch64::RA_SIGN_STATE) {
            None => Ok(false),
            Some(RegisterRule::Constant(value)) => Ok(mutant!("dwarf-sign-state-ignored", value & 1 == 1, false)),
            Some(_) => Err(Unsupported::SignState),
        }
    }

    /// `DW_OP_breg<n> offset`, with or without `DW_OP_plus_uconst`, and then alone or with `DW_OP_deref` (DWARF 5, 2.5.1.2
    /// to 2.5.1.4); none for everything else.
    fn expression(&self, expression: &UnwindExpression<usize>) -> Option<Expression> {
        let mut operations = expression.get(self.section).ok()?.operations(self.encoding);
        let (register, mut offset) = match operations.next().ok()?? {
            Operation::RegisterOffset { register, offset, base_type } if base_type.0 == 0 => (register, offset),
            _ => return None,
        };
        let register = narrow(register).ok()?;
        let mut next = operations.next().ok()?;
        if let Some(Operation::PlusConstant { value }) = next {
            offset = mutant!("dwarf-plus-constant-ignored", offset.checked_add_unsigned(value)?, offset);
            next = operations.next().ok()?;
        }
        match next {
            None => Some(Expression::RegOffset(register, offset)),
            Some(Operation::Deref { base_type, size, space: false })
                if base_type.0 == 0 && size == self.encoding.address_size =>
            {
                operations.next().ok()?.is_none().then_some(Expression::RegOffsetDeref(register, offset))
            }
            Some(_) => None,
        }
    }
}
