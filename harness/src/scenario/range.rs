//! Places in a function, as scenarios and reports write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Instructions of one function: `leaf+0x0..leaf+0xc`, both included, or one `leaf+0x8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    /// The function.
    pub function: String,
    /// The first offset.
    pub first: u64,
    /// The last offset.
    pub last: u64,
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, first, last } = self;
        write!(formatter, "{function}+{first:#x}")?;
        if first == last { Ok(()) } else { write!(formatter, "..{function}+{last:#x}") }
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((&text, &text));
        let (first, last) = (parse_place(first)?, parse_place(last)?);
        if first.0 != last.0 || first.1 > last.1 {
            return Err(format!("{text:?} must ascend within one function, as in leaf+0x0..leaf+0xc"));
        }
        Ok(Self { function: first.0, first: first.1, last: last.1 })
    }
}

/// Parses `symbol+0x8` or `symbol`.
pub(crate) fn parse_place(text: &str) -> Result<(String, u64), String> {
    let (symbol, offset) = text.split_once('+').unwrap_or((text, "0"));
    let parsed = match offset.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => offset.parse(),
    };
    match parsed {
        Ok(offset) if !symbol.is_empty() => Ok((symbol.to_owned(), offset)),
        _ => Err(format!("{text:?} is not a place; places look like leaf+0x8")),
    }
}
