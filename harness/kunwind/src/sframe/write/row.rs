//! One row as data words.

use alloc::vec::Vec;

use super::error::RowError;
use crate::regs::Register;
use crate::row::{CfaRule, Entry, Rule, UnwindRow};
use crate::sframe::format::{FdeType, SFrameAbi};

/// Bits of the info byte of a row (specification, "The SFrame FRE Info Word").
const INFO_CFA_BASE_SP: u8 = 0x01;
const INFO_COUNT_SHIFT: u32 = 1;
const INFO_SIZE_SHIFT: u32 = 5;
const INFO_MANGLED_RA: u8 = 0x80;
/// Bits of a control word of a flexible row.
const CONTROL_REG: u64 = 0x1;
const CONTROL_DEREF: u64 = 0x2;
const CONTROL_REGISTER_SHIFT: u32 = 3;
/// s390x: the CFA word counts units of 8 bytes from 160 (`SFRAME_S390X_CFA_*` in `include/sframe.h`).
const S390X_CFA_BIAS: i64 = 160;
const S390X_CFA_UNIT: i64 = 8;

/// A data word. The sign decides how many bytes it needs.
#[derive(Clone, Copy)]
enum Word {
    Control(u64),
    Offset(i64),
}

impl Word {
    /// 0, 1 or 2 for 1, 2 or 4 bytes: the code of the info byte.
    fn size_code(self) -> Result<u8, RowError> {
        match self {
            Self::Control(value) => Ok(if value <= 0xff { 0 } else { u8::from(value > 0xffff) + 1 }),
            Self::Offset(value) if i8::try_from(value).is_ok() => Ok(0),
            Self::Offset(value) if i16::try_from(value).is_ok() => Ok(1),
            Self::Offset(value) if i32::try_from(value).is_ok() => Ok(2),
            Self::Offset(value) => Err(RowError::OffsetTooLarge(value)),
        }
    }

    const fn bits(self) -> u64 {
        match self {
            Self::Control(value) => value,
            Self::Offset(value) => value.cast_unsigned(),
        }
    }
}

/// The words of a row: at most three rules of two.
#[derive(Default)]
struct Words {
    words: Vec<Word>,
    is_sp_based: bool,
}

/// Whether the ABI has flexible rows: GNU as writes none for AArch64, and the kernel reads none there.
pub(super) const fn has_flexible(abi: SFrameAbi) -> bool {
    matches!(abi, SFrameAbi::Amd64 | SFrameAbi::S390x)
}

/// Appends the low bytes of a value in the byte order of the ABI.
pub(super) fn push(bytes: &mut Vec<u8>, abi: SFrameAbi, value: u64, size: usize) {
    let size = size.min(8);
    if abi.is_big_endian() {
        bytes.extend_from_slice(&value.to_be_bytes()[8 - size..]);
    } else {
        bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    }
}

/// The info byte and the data words of a row; only the info byte of an outermost function.
pub(super) fn encode(abi: SFrameAbi, fde_type: FdeType, entry: &Entry) -> Result<Vec<u8>, RowError> {
    let row = match entry {
        Entry::Outermost => return Ok(alloc::vec![0]),
        Entry::NoRow { .. } => return Err(RowError::Gap),
        Entry::PtRegs(_) => return Err(RowError::PtRegs),
        Entry::Row(row) => row,
    };
    let Words { words, is_sp_based } = match fde_type {
        FdeType::Default => default_words(abi, row)?,
        FdeType::Flexible => flexible_words(abi, row)?,
    };
    if row.mangled_ra && !abi.has_pauth() {
        return Err(RowError::Mangled);
    }
    let mut size_code = 0;
    for word in &words {
        size_code = size_code.max(word.size_code()?);
    }
    let count = u8::try_from(words.len()).unwrap_or(u8::MAX);
    let base = if is_sp_based { INFO_CFA_BASE_SP } else { 0 };
    let mangled = if row.mangled_ra { INFO_MANGLED_RA } else { 0 };
    let mut bytes = alloc::vec![base | count << INFO_COUNT_SHIFT | size_code << INFO_SIZE_SHIFT | mangled];
    for word in words {
        push(&mut bytes, abi, word.bits(), 1 << size_code);
    }
    Ok(bytes)
}

fn cfa_word(abi: SFrameAbi, offset: i64) -> Result<Word, RowError> {
    if abi != SFrameAbi::S390x {
        return Ok(Word::Offset(offset));
    }
    let scaled = offset.checked_sub(S390X_CFA_BIAS).ok_or(RowError::OffsetTooLarge(offset))?;
    if scaled % S390X_CFA_UNIT != 0 {
        return Err(RowError::OffsetUnaligned(offset));
    }
    Ok(Word::Offset(scaled / S390X_CFA_UNIT))
}

/// Where the ABI has the return address of every row, if it says so.
fn fixed_ra(abi: SFrameAbi) -> Option<Rule> {
    (abi.fixed_ra_offset() != 0).then(|| Rule::CfaOffsetDeref(abi.fixed_ra_offset().into()))
}

fn default_words(abi: SFrameAbi, row: &UnwindRow) -> Result<Words, RowError> {
    let (register, offset) = match row.cfa {
        CfaRule::RegOffset(register, offset) => (register, offset),
        CfaRule::RegOffsetDeref(..) | CfaRule::RegDerefOffset(..) | CfaRule::Expression(_) => {
            return Err(RowError::CfaDeref);
        }
    };
    if register != abi.sp() && register != abi.fp() {
        return Err(RowError::CfaRegister(register));
    }
    let mut words = alloc::vec![cfa_word(abi, offset)?];
    let fp = match row.fp {
        Rule::Retain => None,
        Rule::CfaOffsetDeref(offset) => Some(Word::Offset(offset)),
        Rule::CfaOffset(_)
        | Rule::RegOffset(..)
        | Rule::RegOffsetDeref(..)
        | Rule::Expression(_)
        | Rule::ValExpression(_)
        | Rule::Undefined => return Err(RowError::FramePointer),
    };
    match (row.ra, fixed_ra(abi)) {
        (ra, Some(fixed)) if ra == fixed => {}
        (Rule::Retain, Some(_)) => return Err(RowError::NoReturnAddress),
        (_, Some(_)) => return Err(RowError::ReturnAddress),
        (Rule::Retain, None) => match fp {
            None => {}
            // The offset 0 stands for a return address in its register.
            Some(_) if abi == SFrameAbi::S390x => words.push(Word::Offset(0)),
            Some(_) => return Err(RowError::FramePointerAlone),
        },
        (Rule::CfaOffsetDeref(0), None) => return Err(RowError::ReturnAddressAtCfa),
        (Rule::CfaOffsetDeref(offset), None) => words.push(Word::Offset(offset)),
        (_, None) => return Err(RowError::ReturnAddress),
    }
    words.extend(fp);
    Ok(Words { words, is_sp_based: register == abi.sp() })
}

fn control(abi: SFrameAbi, register: Register, is_deref: bool) -> Result<Word, RowError> {
    if register.0 >= abi.registers() {
        return Err(RowError::Register(register));
    }
    let deref = if is_deref { CONTROL_DEREF } else { 0 };
    Ok(Word::Control(u64::from(register.0) << CONTROL_REGISTER_SHIFT | deref | CONTROL_REG))
}

/// The words of a rule for the return address or the frame pointer; none where nothing has to be said.
fn rule_words(abi: SFrameAbi, rule: Rule) -> Result<Option<[Word; 2]>, RowError> {
    Ok(match rule {
        Rule::Retain => None,
        // The control word of the CFA's own value would be 0, which says that there is no rule.
        Rule::CfaOffset(_) | Rule::Expression(_) | Rule::ValExpression(_) | Rule::Undefined => {
            return Err(RowError::ValueOfCfa);
        }
        Rule::CfaOffsetDeref(offset) => Some([Word::Control(CONTROL_DEREF), Word::Offset(offset)]),
        Rule::RegOffset(register, offset) => Some([control(abi, register, false)?, Word::Offset(offset)]),
        Rule::RegOffsetDeref(register, offset) => Some([control(abi, register, true)?, Word::Offset(offset)]),
    })
}

fn flexible_words(abi: SFrameAbi, row: &UnwindRow) -> Result<Words, RowError> {
    let (register, offset, is_deref) = match row.cfa {
        CfaRule::RegOffset(register, offset) => (register, offset, false),
        // The specification does not say whether the bias is added before or after the word is read.
        CfaRule::RegOffsetDeref(..) if abi == SFrameAbi::S390x => return Err(RowError::CfaDeref),
        CfaRule::RegOffsetDeref(register, offset) => (register, offset, true),
        CfaRule::RegDerefOffset(..) | CfaRule::Expression(_) => return Err(RowError::CfaDeref),
    };
    let mut words = alloc::vec![control(abi, register, is_deref)?, cfa_word(abi, offset)?];
    let fixed = fixed_ra(abi);
    if row.ra == Rule::Retain && fixed.is_some() {
        return Err(RowError::NoReturnAddress);
    }
    let ra = if Some(row.ra) == fixed { None } else { rule_words(abi, row.ra)? };
    let fp = rule_words(abi, row.fp)?;
    match (ra, fp) {
        (None, None) => {}
        (None, Some(fp)) => {
            words.push(Word::Control(0));
            words.extend(fp);
        }
        (Some(ra), fp) => {
            words.extend(ra);
            words.extend(fp.into_iter().flatten());
        }
    }
    Ok(Words { words, is_sp_based: false })
}
