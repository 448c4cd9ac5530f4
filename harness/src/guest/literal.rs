//! Values as people write them in arguments of calls.

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
