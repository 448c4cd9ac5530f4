//! Numbers, ranges and pages as they are written in a case: hexadecimal, because TOML's integers have a sign.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::guest::PAGE;

/// An address or another word: `"0xffff800080010000"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(pub u64);

impl fmt::Debug for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

impl From<Hex> for String {
    fn from(Hex(value): Hex) -> Self {
        format!("{value:#x}")
    }
}

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        number(&text).map(Self)
    }
}

/// Reads `0x2a`.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    value.ok_or_else(|| format!("{text:?} is no number of at most 64 bits, like \"0xffff800080010000\""))
}

/// Addresses from one up to another: `"0x1000..0x2000"`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Range<u64>);

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x?}", self.0)
    }
}

impl From<Span> for String {
    fn from(Span(range): Span) -> Self {
        format!("{:#x}..{:#x}", range.start, range.end)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (low, high) =
            text.split_once("..").ok_or_else(|| format!("{text:?} is no range like \"0x1000..0x2000\""))?;
        let range = number(low)?..number(high)?;
        if range.start <= range.end { Ok(Self(range)) } else { Err(format!("{text:?} ends before it begins")) }
    }
}

impl Span {
    /// The same as whole pages, at least one.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub(super) fn pages(&self) -> Result<Range<u64>, String> {
        let Self(Range { start, end }) = self;
        if start % PAGE != 0 || end % PAGE != 0 || start == end {
            return Err(format!("{self:?} are not whole pages of {PAGE:#x} bytes"));
        }
        Ok(*start..*end)
    }
}

/// Adjacent pages as ranges.
pub(super) fn runs(pages: impl IntoIterator<Item = u64>) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for page in pages {
        match runs.last_mut() {
            Some(Span(run)) if run.end == page => run.end += PAGE,
            _ => runs.push(Span(page..page + PAGE)),
        }
    }
    runs
}
