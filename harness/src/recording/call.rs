//! What a function of somebody's file did when it was called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A call, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallOutcome {
    /// The scenario: `<cpu>/<name>`.
    pub scenario: String,
    /// The function.
    pub function: String,
    /// Its arguments, as they were written.
    pub arguments: Vec<String>,
    /// The register of integer results when it had returned: what that means, only the function's declaration says.
    pub result: u64,
    /// The arguments that point to memory which is now different.
    pub changed: Vec<Changed>,
    /// The register of floating-point results, as a number of 64 bits or, where only its lower half is used, of 32; where the call has
    /// changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float_result: Option<String>,
    /// How many constructors of the files have run before it.
    #[serde(default)]
    pub constructors: usize,
    /// Those that could not run without a program around them, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constructors_not_run: Vec<String>,
    /// What it has written to standard output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// What it has written to standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_output: String,
    /// The files that were loaded, by their names; the first one has the function.
    pub files: Vec<String>,
    /// The files that these need, and that were not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
}

/// A register for floating point, as the number that it holds.
#[must_use]
pub fn float(bits: u64) -> String {
    match (bits >> 32, bits as u32) {
        (0 | 0xffff_ffff, low) if low != 0 => format!("{:?}f", f32::from_bits(low)),
        _ => format!("{:?}", f64::from_bits(bits)),
    }
}

impl CallOutcome {
    /// Whether the register of floating-point results holds what may be one: functions use it for other things too.
    #[must_use]
    pub fn is_plausible_float(&self) -> bool {
        let number: Option<f64> = self.float_result.as_ref().and_then(|text| text.trim_end_matches('f').parse().ok());
        let is_asked =
            self.arguments.iter().any(|argument| argument.starts_with("f64:") || argument.starts_with("f32:"));
        is_asked || number.is_some_and(|number| (1e-30..1e30).contains(&number.abs()))
    }
}

/// What an argument points to, when the call has changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The number of the argument, from 1.
    pub argument: usize,
    /// How many bytes it has.
    pub size: usize,
    /// The first of them, as many as [`Changed::SHOWN`], in lower-case hexadecimal digits.
    pub hex: String,
}

impl Changed {
    /// How many bytes are shown.
    pub const SHOWN: usize = 48;

    /// The bytes that an argument points to, if they are not those that were there before.
    #[must_use]
    pub fn of(argument: usize, before: &[u8], after: &[u8]) -> Option<Self> {
        let hex = after.iter().take(Self::SHOWN).map(|byte| format!("{byte:02x}")).collect();
        (before != after).then_some(Self { argument, size: after.len(), hex })
    }

    /// The text at the start of the bytes, if it is one that people can read.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let byte = |at: usize| u8::from_str_radix(self.hex.get(at..at + 2)?, 16).ok();
        let bytes: Vec<u8> = (0..self.hex.len()).step_by(2).map_while(byte).take_while(|byte| *byte != 0).collect();
        let is_text = !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
        is_text.then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}
