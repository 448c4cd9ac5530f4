//! `[[known]]`: expected deviations.

use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, SeqAccess, Visitor};

use toml::Spanned;

use super::{Extent, Interruption, Scenario, Variant};
use crate::Error;
use crate::guest::Program;
use crate::verdict::Verdict;

/// An expected deviation, where and why. One that no longer happens is an error.
#[derive(Debug, Clone)]
pub struct Known {
    /// The subject.
    pub unwinder: String,
    /// The instructions.
    pub at: Extent,
    /// Where the file says so: the key `at`, in bytes from the start of the file.
    pub(super) written: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// The variant; `None`: all.
    pub variant: Option<String>,
    /// The kind of interruption; `None`: all.
    pub interrupt: Option<Interruption>,
    /// The reason.
    pub because: String,
}

/// The most deviations that a scenario may list: the product of four lists grows fast.
const MAX_KNOWN: usize = 100_000;

/// `[[known]]` as in the file: several subjects, ranges, verdicts and variants may share a reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KnownText {
    unwinder: OneOrMany<String>,
    at: Spanned<OneOrMany<Extent>>,
    verdict: OneOrMany<String>,
    variant: Option<OneOrMany<String>>,
    interrupt: Option<Interruption>,
    because: String,
}

/// One value, or a list of them.
struct OneOrMany<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// An untagged enum of serde would lose the reason why a value is refused.
        struct Values<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("one value or a list of them")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| OneOrMany(vec![value]))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(|value| OneOrMany(vec![value]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                if values.is_empty() {
                    return Err(serde::de::Error::custom("the list is empty"));
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(Values(PhantomData))
    }
}

/// Expands each combination of subject, range, verdict and variant into a deviation of its own; each must happen.
pub(super) fn each<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Known>, D::Error> {
    let mut all = Vec::new();
    for text in Vec::<KnownText>::deserialize(deserializer)? {
        let written = text.at.span().start;
        let at = text.at.into_inner();
        let variants = text.variant.as_ref().map_or(1, |names| names.0.len());
        let lists = [text.unwinder.0.len(), at.0.len(), text.verdict.0.len(), variants];
        let count = lists.into_iter().fold(1, usize::saturating_mul);
        if count.saturating_add(all.len()) > MAX_KNOWN {
            return Err(serde::de::Error::custom(format!("[[known]] lists more than {MAX_KNOWN} deviations")));
        }
        let variants = text.variant.map_or_else(|| vec![None], |names| names.0.into_iter().map(Some).collect());
        for verdict in &text.verdict.0 {
            let verdict = verdict.parse().map_err(serde::de::Error::custom)?;
            for unwinder in &text.unwinder.0 {
                for variant in &variants {
                    all.extend(at.0.iter().map(|at| Known {
                        unwinder: unwinder.clone(),
                        at: at.clone(),
                        written,
                        verdict,
                        variant: variant.clone(),
                        interrupt: text.interrupt,
                        because: text.because.clone(),
                    }));
                }
            }
        }
    }
    Ok(all)
}

impl Scenario {
    /// Requires that the guest of a variant has the functions and labels that its `[[known]]` name.
    ///
    /// # Errors
    ///
    /// [`Error::Scenario`], with the line in the file.
    pub(super) fn require_known(&self, program: &Program, variant: &Variant) -> Result<(), Error> {
        let here = |known: &&Known| known.variant.as_ref().is_none_or(|name| *name == variant.name);
        let unknown = |known: &Known| Some((known.written, known.at.unknown(&program.guest)?));
        let Some((written, reason)) = self.text.known.iter().filter(here).find_map(unknown) else { return Ok(()) };
        let line = 1 + self.source.bytes().take(written).filter(|byte| *byte == b'\n').count();
        let path = format!("{}:{line}", self.path.display()).into();
        Err(Error::Scenario { path, reason: format!("[[known]]: at: {reason}") })
    }
}
