//! How kunwind found a frame, with the registers' names.

use std::fmt;

use kunwind::{Abi, CfaRule, Register, Rule, Source};

use super::Entry;

/// How an entry of a walk was found, to be told later: most of what is kept so is never told.
#[derive(Debug, Clone)]
pub enum KeptSource {
    /// As kunwind says it.
    Source(Source),
    /// In the subject's own words.
    Told(String),
}

impl KeptSource {
    /// That of this entry, as `{:#}` tells it.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Self {
        // Who shows a frame has found the entry as the frame says.
        entry.progress.map_or_else(|| Self::Told(format!("{:#}", entry.source)), |it| Self::Source(it.frame.source))
    }

    /// In words.
    #[must_use]
    pub fn tell(&self, abi: &Abi) -> String {
        match self {
            Self::Source(source) => format!("{:#}", How { source, abi }),
            Self::Told(text) => text.clone(),
        }
    }
}

/// A source, with the ABI that names its registers; as `{:#}` without the CFA's value, which the words that were read tell.
pub(super) struct How<'a> {
    pub(super) source: &'a Source,
    pub(super) abi: &'a Abi,
}

impl fmt::Display for How<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source::Row { cfa, rule, ra } = self.source else { return self.source.fmt(formatter) };
        write!(formatter, "unwind row: CFA {}", self.cfa(*rule))?;
        if !formatter.alternate() {
            write!(formatter, " = {cfa:#x}")?;
        }
        write!(formatter, ", return address {}", self.place(*ra))
    }
}

impl How<'_> {
    fn sum(&self, register: Register, offset: i64) -> String {
        format!("{}{}", self.abi.register_name(register), signed(offset))
    }

    fn cfa(&self, rule: CfaRule) -> String {
        match rule {
            CfaRule::RegOffset(register, offset) => self.sum(register, offset),
            CfaRule::RegOffsetDeref(register, offset) => format!("[{}]", self.sum(register, offset)),
            CfaRule::RegDerefOffset(register, offset) => format!("[{}]{}", self.sum(register, 0), signed(offset)),
            CfaRule::Expression(_) => "by an expression".to_owned(),
        }
    }

    fn place(&self, rule: Rule) -> String {
        match rule {
            Rule::Retain => "in its register".to_owned(),
            Rule::CfaOffset(offset) => format!("CFA{}", signed(offset)),
            Rule::CfaOffsetDeref(offset) => format!("at CFA{}", signed(offset)),
            Rule::RegOffset(register, offset) => self.sum(register, offset),
            Rule::RegOffsetDeref(register, offset) => format!("at {}", self.sum(register, offset)),
            Rule::Expression(_) => "at an expression".to_owned(),
            Rule::ValExpression(_) => "by an expression".to_owned(),
            Rule::Undefined => "lost".to_owned(),
        }
    }
}

/// `+0x10`, `-0x8`, or nothing.
fn signed(offset: i64) -> String {
    match offset {
        0 => String::new(),
        1.. => format!("+{offset:#x}"),
        _ => format!("-{:#x}", offset.unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use kunwind::{CfaRule, Rule, Source};

    use super::How;
    use crate::cpu::ALL;

    #[test]
    fn a_row_is_told_by_its_rules() {
        let abi = ALL[0].abi;
        let (rule, fp) = (CfaRule::RegOffset(abi.fp, 16), abi.register_name(abi.fp));
        let told = |ra| {
            let source = Source::Row { cfa: 0x1010, rule, ra };
            let how = How { source: &source, abi };
            (format!("{how}"), format!("{how:#}"))
        };
        let (long, short) = told(Rule::CfaOffsetDeref(-8));
        assert_eq!(long, format!("unwind row: CFA {fp}+0x10 = 0x1010, return address at CFA-0x8"));
        assert_eq!(short, format!("unwind row: CFA {fp}+0x10, return address at CFA-0x8"));
        assert!(told(Rule::Retain).1.ends_with("return address in its register"));
    }
}
