//! The configuration that a kernel was built with, as far as it is known.

use std::collections::HashMap;

use super::bytes::find;
use super::decompress::Format;

/// The longest configuration in bytes: a distribution's has 300,000.
pub(super) const MAX_CONFIG: u64 = 1 << 22;

/// The options of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Where it was found.
    pub source: String,
    /// Without `CONFIG_`; what is not set is not in it.
    values: HashMap<String, String>,
}

impl Config {
    /// Reads the lines of a `.config`.
    #[must_use]
    pub fn parse(source: String, text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
        let values = lines.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect();
        Self { source, values }
    }

    /// Finds a configuration within an image (`CONFIG_IKCONFIG`, kernel/configs.c): gzip between two marks.
    ///
    /// # Errors
    ///
    /// When there is one, and it is damaged.
    pub(super) fn within(image: &[u8]) -> Result<Option<Self>, String> {
        const START: &[u8] = b"IKCFG_ST";
        let mut from = 0;
        while let Some(mark) = find(image, START, from) {
            from = mark + START.len();
            // The words also stand alone, in scripts and in messages.
            if Format::of(&image[from..]) != Some(Format::Gzip) {
                continue;
            }
            let end = find(image, b"IKCFG_ED", from).ok_or("its configuration (IKCONFIG) has no end")?;
            let text = Format::Gzip.decode(&image[from..end], MAX_CONFIG);
            let text = text.map_err(|reason| format!("its configuration (IKCONFIG): {reason}"))?;
            return Ok(Some(Self::parse("IKCONFIG".to_owned(), &String::from_utf8_lossy(&text))));
        }
        Ok(None)
    }

    /// The value of an option, without `CONFIG_`: `y`, `m`, a number or a string; `None` when it is not set.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        self.values.get(option).map(String::as_str)
    }

    /// Whether an option, without `CONFIG_`, is built in.
    #[must_use]
    pub fn is_built_in(&self, option: &str) -> bool {
        self.value(option) == Some("y")
    }

    /// How many options are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it sets nothing, as no real one does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
