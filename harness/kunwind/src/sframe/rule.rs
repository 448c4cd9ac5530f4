//! From the words of a row to rules. How a row was found is not known here.

use crate::regs::Register;
use crate::row::{CfaRule, Entry, Rule, UnwindRow};

use super::bytes::sign_extended;
use super::error::{Error, ErrorKind, Field};
use super::format::{FdeType, Version};
use super::fre::Fre;
use super::header::Header;

/// A control and an offset for each of CFA, RA and FP.
const MAX_FLEX_WORDS: usize = 6;

impl Fre<'_> {
    /// What the row says.
    ///
    /// # Errors
    ///
    /// When its words make no rules.
    pub fn entry(&self) -> Result<Entry, Error> {
        lower(self, &mut |_| ())
    }
}

/// What a row says. `note` gets what is wrong without changing that.
pub(super) fn lower(fre: &Fre<'_>, note: &mut dyn FnMut(Error)) -> Result<Entry, Error> {
    if fre.word_count() == 0 {
        return Ok(mutant!("sframe-end-unknown", Entry::Outermost, Entry::NoRow { signal: fre.rows.info.is_signal() }));
    }
    let header = &fre.rows.header;
    if fre.info & 0x80 != 0 && !header.abi.has_pauth() {
        note(info_error(fre, ErrorKind::ReservedBits));
    }
    let mut words = Words { fre, next: 0, note };
    let (cfa, ra, fp) = match fre.rows.info.fde_type() {
        FdeType::Default => default_rules(&mut words)?,
        FdeType::Flexible => flexible_rules(&mut words)?,
    };
    Ok(Entry::Row(UnwindRow {
        cfa,
        ra: ra.unwrap_or(fixed_rule(mutant!("sframe-fixed-ra-ignored", header.fixed_ra_offset, 0))),
        fp: fp.unwrap_or(fixed_rule(header.fixed_fp_offset)),
        mangled_ra: mutant!("sframe-signed-ra-ignored", fre.is_mangled_ra(), false),
        signal: mutant!("sframe-signal-ignored", fre.rows.info.is_signal(), false),
    }))
}

/// The rules of a row. What it leaves open, the header may say.
type Rules = (CfaRule, Option<Rule>, Option<Rule>);

/// A rule of the header (`sfh_cfa_fixed_ra_offset`, `sfh_cfa_fixed_fp_offset`); 0 is none.
const fn fixed_rule(offset: i8) -> Rule {
    if offset == 0 { Rule::Retain } else { Rule::CfaOffsetDeref(offset as i64) }
}

fn info_error(fre: &Fre<'_>, kind: ErrorKind) -> Error {
    Error::new(kind, Field::FreInfo, fre.info_offset(), fre.info.into())
}

/// Offsets: of the CFA from its base, then from the CFA those that the header does not fix.
///
/// ```text
///  AMD64     CFA, FP?         RA is at the header's fixed offset
///  AArch64   CFA, RA?, FP?    without RA it is still in x30
///  s390x     CFA, RA?, FP?    the CFA word is (offset - 160) / 8; an RA word of 0 says that RA is still in r14
/// ```
fn default_rules(words: &mut Words<'_, '_>) -> Result<Rules, Error> {
    let fre = words.fre;
    let header = &fre.rows.header;
    let (ra_in_rows, fp_in_rows) = (header.fixed_ra_offset == 0, header.fixed_fp_offset == 0);
    if fre.word_count() > 1 + usize::from(ra_in_rows) + usize::from(fp_in_rows) {
        return Err(info_error(fre, ErrorKind::TooManyDatawords));
    }
    let base = if mutant!("sframe-base-bit", fre.is_sp_based(), !fre.is_sp_based()) {
        header.abi.sp()
    } else {
        header.abi.fp()
    };
    let (_, word) = words.offset()?;
    let cfa = CfaRule::RegOffset(base, header.abi.cfa_offset(word));
    let ra = if ra_in_rows && words.left() > 0 { Some(saved_ra(words, header)?) } else { None };
    let fp = if fp_in_rows && words.left() > 0 {
        let (offset, word) = words.offset()?;
        Some(saved(header, offset, word)?)
    } else {
        None
    };
    Ok(mutant!("sframe-fp-before-ra", (cfa, ra, fp), (cfa, fp, ra)))
}

fn saved_ra(words: &mut Words<'_, '_>, header: &Header) -> Result<Rule, Error> {
    match words.offset()? {
        (_, 0) if header.abi.pads_ra() => Ok(Rule::Retain),
        (offset, 0) => Err(Error::new(ErrorKind::BadOffset, Field::DataWords, offset, 0)),
        (offset, word) => saved(header, offset, word),
    }
}

/// Where a default row finds a register: in memory at an offset from the CFA, or in a register, where words can name
/// one.
fn saved(header: &Header, offset: usize, word: i64) -> Result<Rule, Error> {
    if header.version == Version::V2 && header.abi.v2_words_name_registers() && word & 1 == 1 {
        let bad = Error::new(ErrorKind::BadRegister, Field::DataWords, offset, word as u64);
        let number = u8::try_from(word >> 1).map_err(|_| bad)?;
        return Ok(Rule::RegOffset(Register(number), 0));
    }
    Ok(Rule::CfaOffsetDeref(word))
}

/// Pairs of control and offset, for CFA, RA and FP in this order; a control of 0 stands alone, and is no rule.
fn flexible_rules(words: &mut Words<'_, '_>) -> Result<Rules, Error> {
    let fre = words.fre;
    let abi = fre.rows.header.abi;
    if fre.word_count() > MAX_FLEX_WORDS {
        return Err(info_error(fre, ErrorKind::TooManyDatawords));
    }
    if fre.is_sp_based() {
        (words.note)(info_error(fre, ErrorKind::ReservedBits));
    }
    let control = words.control()?;
    let (false, Some(register)) = (control.is_padding(), control.register) else {
        return Err(control.error());
    };
    let offset = abi.cfa_offset(words.offset()?.1);
    let cfa = if mutant!("sframe-flexible-cfa-is-value", control.deref, false) {
        CfaRule::RegOffsetDeref(register, offset)
    } else {
        CfaRule::RegOffset(register, offset)
    };
    let ra = if words.left() > 0 { words.flexible_rule()? } else { None };
    // A control of 0 in the place of RA is padding before a rule for FP.
    let lacking = info_error(fre, ErrorKind::BadFlexWords);
    let expects_fp =
        words.left() > 0 || (mutant!("sframe-flexible-padding", ra.is_none() && fre.word_count() > 2, false));
    let fp = if expects_fp { Some(words.flexible_rule()?.ok_or(lacking)?) } else { None };
    if words.left() > 0 {
        return Err(lacking);
    }
    Ok((cfa, ra, fp))
}

/// A control word.
///
/// ```text
///  bits 3 ..    2          1         0
///  register     reserved   deref_p   reg_p: the base is the register, not the CFA
/// ```
#[derive(Clone, Copy)]
struct Control {
    offset: usize,
    value: u64,
    deref: bool,
    /// The base; without one, the CFA.
    register: Option<Register>,
}

impl Control {
    const fn is_padding(&self) -> bool {
        self.value == 0
    }

    const fn error(&self) -> Error {
        Error::new(ErrorKind::BadControlWord, Field::ControlWord, self.offset, self.value)
    }
}

/// The words of a row, one after the other.
struct Words<'f, 'n> {
    fre: &'f Fre<'f>,
    next: usize,
    note: &'n mut dyn FnMut(Error),
}

impl Words<'_, '_> {
    const fn left(&self) -> usize {
        self.fre.word_count().saturating_sub(self.next)
    }

    /// The next word, and where it is.
    fn word(&mut self) -> Result<(usize, u64), Error> {
        let word = self.fre.word(self.next).ok_or(info_error(self.fre, ErrorKind::BadFlexWords))?;
        let offset = self.fre.word_offset(self.next);
        self.next += 1;
        Ok((offset, word))
    }

    fn offset(&mut self) -> Result<(usize, i64), Error> {
        let (offset, word) = self.word()?;
        Ok((offset, mutant!("sframe-words-unsigned", sign_extended(word, self.fre.word_size()), word as i64)))
    }

    fn control(&mut self) -> Result<Control, Error> {
        let (offset, value) = self.word()?;
        let mut control = Control { offset, value, deref: value & 2 != 0, register: None };
        if value & 4 != 0 {
            return Err(control.error());
        }
        if value & 1 != 0 {
            let bad = Error::new(ErrorKind::BadRegister, Field::ControlWord, offset, value);
            let number = u8::try_from(mutant!("sframe-flexible-register", value >> 3, value >> 2)).map_err(|_| bad)?;
            if number >= self.fre.rows.header.abi.registers() {
                (self.note)(bad);
            }
            control.register = Some(Register(number));
        } else if value >> 3 != 0 {
            (self.note)(control.error());
        }
        Ok(control)
    }

    /// The rule of RA or FP.
    fn flexible_rule(&mut self) -> Result<Option<Rule>, Error> {
        let control = self.control()?;
        if control.is_padding() {
            return Ok(None);
        }
        let (_, offset) = self.offset()?;
        Ok(Some(match (control.register, control.deref) {
            (Some(register), false) => Rule::RegOffset(register, offset),
            (Some(register), true) => Rule::RegOffsetDeref(register, offset),
            (None, false) => Rule::CfaOffset(offset),
            (None, true) => {
                mutant!("sframe-flexible-slot-is-value", Rule::CfaOffsetDeref(offset), Rule::CfaOffset(offset))
            }
        }))
    }
}
