//! Where an expected deviation happens: transcribed offsets, or the guest's own names, which survive a change of the code.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Range, parse_place};
use crate::guest::{Guest, Symbol};

/// Some instructions of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Between which ends.
    pub span: Span,
    /// Whether only arrivals count at which a return address is displaced and no rule can find it.
    pub while_lost: bool,
}

/// The ends of an [`Extent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// By offsets, both included.
    Offsets(Range),
    /// From a label or a function's start, included, to another of the same function, not included; without one, to the end of
    /// the function. Each may be followed by a distance, as in `label+0x8`.
    Labels {
        /// The first instruction.
        from: String,
        /// The instruction behind the last one.
        before: Option<String>,
    },
    /// A whole function.
    Function(String),
}

/// The state in which arrivals count.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum While {
    /// A return address is displaced, and no rule can find it.
    AddressLost,
}

/// An extent by names, as in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Named {
    from: Option<String>,
    before: Option<String>,
    all_of: Option<String>,
    #[serde(rename = "while")]
    state: Option<While>,
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Extent;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "offsets, as in \"leaf+0x0..leaf+0xc\", or names, as in { from = \"label\", before = \"label\" } or \
                     { all-of = \"leaf\" }",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Extent, E> {
                let range = Range::deserialize(text.into_deserializer())?;
                Ok(Extent { span: Span::Offsets(range), while_lost: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Extent, A::Error> {
                let Named { from, before, all_of, state } = Named::deserialize(MapAccessDeserializer::new(map))?;
                let span = match (from, before, all_of) {
                    (Some(from), before, None) => Span::Labels { from, before },
                    (None, None, Some(function)) => Span::Function(function),
                    _ => return Err(A::Error::custom("give from, from and before, or all-of")),
                };
                Ok(Extent { span, while_lost: state.is_some() })
            }
        }
        from.deserialize_any(Either)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.span {
            Span::Offsets(Range { function, first, last }) => {
                write!(formatter, "{function}+{first:#x}..{function}+{last:#x}")?;
            }
            Span::Labels { from, before: Some(before) } => write!(formatter, "from {from} before {before}")?,
            Span::Labels { from, before: None } => write!(formatter, "from {from} to the end of its function")?,
            Span::Function(name) => write!(formatter, "all of {name}")?,
        }
        formatter.write_str(if self.while_lost { " while the address is lost" } else { "" })
    }
}

impl Extent {
    /// The range of offsets, both included, in a function whose labels and instructions (by offset) are these; `None` if the
    /// extent is not in that function.
    #[must_use]
    pub fn within(&self, function: &str, labels: &[(&str, u64)], instructions: &[u64]) -> Option<Range> {
        let offset_of = |place: &str| {
            let (name, more) = parse_place(place).ok()?;
            let label = labels.iter().find(|(label, _)| *label == name).map(|(_, offset)| *offset);
            label.or((name == function).then_some(0)).map(|offset| offset.saturating_add(more))
        };
        let range =
            |first: u64, last: u64| (first <= last).then(|| Range { function: function.to_owned(), first, last });
        match &self.span {
            Span::Offsets(range) => (range.function == function).then(|| range.clone()),
            Span::Function(name) => {
                let last = instructions.last().filter(|_| name == function)?;
                range(0, *last)
            }
            Span::Labels { from, before } => {
                let first = offset_of(from)?;
                let until = match before {
                    Some(before) => offset_of(before)?,
                    None => u64::MAX,
                };
                range(first, *instructions.iter().rfind(|offset| **offset < until)?)
            }
        }
    }

    /// Which of its names a guest does not have, or why they do not fit together; offsets are not looked at.
    pub(super) fn unknown(&self, guest: &Guest) -> Option<String> {
        let symbols = &guest.symbols;
        let place = |text: &str| -> Result<(&Symbol, u64), String> {
            let (name, more) = parse_place(text)?;
            let address = symbols.address(&name);
            let found = address.and_then(|at| Some((symbols.function_at(at)?, at.saturating_add(more))));
            found.ok_or_else(|| {
                let near = symbols.near(&name);
                format!("{name:?} is no function and no label in one, in guest {}{near}", guest.name)
            })
        };
        let fits = match &self.span {
            Span::Offsets(_) => Ok(()),
            Span::Function(name) => place(name).and_then(|(function, _)| {
                let is_it = function.name == *name;
                if is_it { Ok(()) } else { Err(format!("{name:?} is no function, but in {}", function.name)) }
            }),
            Span::Labels { from, before } => place(from).and_then(|(function, first)| {
                let Some(before) = before else { return Ok(()) };
                let (same, behind) = place(before)?;
                if function == same && first < behind {
                    return Ok(());
                }
                Err(format!("{from:?} is in {}, and {before:?} must follow it there", function.name))
            }),
        };
        fits.err()
    }
}
