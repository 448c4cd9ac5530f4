//! Values as people write them in arguments of calls.

use std::fmt;

/// How large a buffer or a file may be, in bytes.
pub const MAX_BUFFER: u64 = 1 << 24;

/// What the literals are, for messages.
pub const FORMS: &str = "numbers, str:TEXT, buf:N, hex:BYTES, u32:A,B,..";

/// A value that means the same in every program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A number: `42`, `-1`, `0x2a`.
    Number(u64),
    /// The address of a text, which ends with a NUL: `str:TEXT`.
    Text(String),
    /// The address of so many zeroed bytes: `buf:N`.
    Buffer(u64),
    /// The address of these bytes: `hex:00ff..`.
    Bytes(Vec<u8>),
    /// The address of 32-bit numbers, with a sign or without: `u32:3,-1,2`.
    Words(Vec<u32>),
}

impl Literal {
    /// Reads one; `None` if the text is something else.
    ///
    /// # Errors
    ///
    /// Why it is malformed.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((kind, rest)) = text.split_once(':') else {
            return number(text).map(|number| Some(Self::Number(number))).ok_or_else(|| malformed(text));
        };
        let literal = match kind {
            "str" => Some(Self::Text(rest.to_owned())),
            "buf" => number(rest).filter(|size| *size <= MAX_BUFFER).map(Self::Buffer),
            "hex" => bytes(rest).map(Self::Bytes),
            "u32" => rest.split(',').map(word).collect::<Option<_>>().map(Self::Words),
            _ => return Ok(None),
        };
        literal.map(Some).ok_or_else(|| malformed(text))
    }

    /// The bytes whose address it is; `None` of a number.
    #[must_use]
    pub fn pointed_to(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Number(_) => return None,
            Self::Text(text) => [text.as_bytes(), b"\0"].concat(),
            Self::Buffer(size) => vec![0; *size as usize],
            Self::Bytes(bytes) => bytes.clone(),
            Self::Words(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) if *value > u64::MAX / 2 => write!(formatter, "{}", value.cast_signed()),
            Self::Number(value) => write!(formatter, "{value}"),
            Self::Text(text) => write!(formatter, "str:{text}"),
            Self::Buffer(size) => write!(formatter, "buf:{size}"),
            Self::Bytes(bytes) => {
                formatter.write_str("hex:")?;
                bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
            Self::Words(words) => {
                let words: Vec<String> = words.iter().map(ToString::to_string).collect();
                write!(formatter, "u32:{}", words.join(","))
            }
        }
    }
}

/// What is said of an argument that is none.
#[must_use]
pub fn malformed(text: &str) -> String {
    if text.contains(':') {
        format!("argument {text:?} is malformed")
    } else {
        format!("argument {text:?} is no number")
    }
}

/// A number of 32 bits, with a sign or without.
fn word(text: &str) -> Option<u32> {
    let word = number(text.trim())?.cast_signed();
    (i32::try_from(word).is_ok() || u32::try_from(word).is_ok()).then_some(word as u32)
}

/// A number: `42`, `-1`, `0x2a`.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let (digits, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Bytes: `00ff2a`.
#[must_use]
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    (0..text.len().div_ceil(2)).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::Literal;

    #[test]
    fn literals_are_read_or_refused() {
        let good = [
            ("42", Literal::Number(42)),
            ("-1", Literal::Number(u64::MAX)),
            ("0x10", Literal::Number(16)),
            ("str:a:b", Literal::Text("a:b".to_owned())),
            ("buf:8", Literal::Buffer(8)),
            ("hex:00ff", Literal::Bytes(vec![0, 255])),
            ("u32:1, -2", Literal::Words(vec![1, u32::MAX - 1])),
        ];
        for (text, literal) in good {
            assert_eq!(Literal::parse(text), Ok(Some(literal.clone())), "{text}");
            assert_eq!(Literal::parse(&literal.to_string()), Ok(Some(literal)), "{text}");
        }
        for text in
            ["", "x", "buf:-1", "buf:16777217", "hex:f", "hex:é", "u32:1,,2", "u32:4294967296", "u32:-2147483649"]
        {
            assert!(Literal::parse(text).is_err(), "{text}");
        }
        assert_eq!(Literal::parse("sym:sort"), Ok(None));
    }
}
