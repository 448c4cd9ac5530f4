//! `[must]`: what each subject must achieve.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::verdict::Verdict;

/// What a subject must achieve. Accepting a snapshot cannot relax it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Every verdict is `=`.
    Exact,
    /// No verdict is `!`, `#` or `%`. The default for subjects that a scenario does not name, but for those that are new.
    Sound,
    /// No demand.
    Any,
    /// The subject does not exist on this CPU.
    Absent,
}

impl Level {
    /// Whether a verdict meets the demand.
    #[must_use]
    pub const fn allows(self, verdict: Verdict) -> bool {
        match self {
            Self::Exact => matches!(verdict, Verdict::Exact),
            Self::Sound => !verdict.is_unsound(),
            Self::Any | Self::Absent => true,
        }
    }
}

/// A level, and how many walks must be right. The level alone asks nothing of a walker that always stops: it meets `sound`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// What every verdict must be.
    pub level: Level,
    /// How many walks must be `=`; `None`: no demand.
    pub exact: Option<Floor>,
}

/// How many percent of a subject's walks must be `=`, 1 to 100, in each section and from each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Floor {
    /// In every section.
    Everywhere(u64),
    /// In the sections of these variants.
    ByVariant(BTreeMap<String, u64>),
}

impl Floor {
    /// The floor in the sections of a variant, in percent, if there is one.
    #[must_use]
    pub fn of(&self, variant: Option<&str>) -> Option<u64> {
        match self {
            Self::Everywhere(percent) => Some(*percent),
            Self::ByVariant(floors) => floors.get(variant?).copied(),
        }
    }

    /// The variants that it names.
    pub fn variants(&self) -> impl Iterator<Item = &String> {
        let floors = match self {
            Self::Everywhere(_) => None,
            Self::ByVariant(floors) => Some(floors.keys()),
        };
        floors.into_iter().flatten()
    }
}

/// Whether so many exact walks out of so many are at least so many percent. Nothing is rounded.
#[must_use]
pub fn is_share(percent: u64, exact: u64, walks: u64) -> bool {
    u128::from(exact) * 100 >= u128::from(percent) * u128::from(walks)
}

/// A demand with a floor, as in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithFloor {
    level: Level,
    exact: Floor,
}

/// One percentage.
struct Percent(u64);

const PERCENT: &str = "a whole percentage from 1 to 100";

fn percent<E: serde::de::Error>(value: i64) -> Result<u64, E> {
    match u64::try_from(value) {
        Ok(0) => Err(E::custom(format!("a floor of 0 demands nothing: give {PERCENT}, or no floor"))),
        Ok(value @ 1..=100) => Ok(value),
        _ => Err(E::custom(format!("{value} is not {PERCENT}"))),
    }
}

// Visitors rather than untagged enums of serde, which would lose the reason why a value is refused.

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Percent;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(PERCENT)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Percent, E> {
                percent(value).map(Percent)
            }
        }
        from.deserialize_any(One)
    }
}

impl<'de> Deserialize<'de> for Floor {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Floor;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{PERCENT}, or one for each variant, as in {{ F0 = 10, F3 = 29 }}")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Floor, E> {
                percent(value).map(Floor::Everywhere)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Floor, A::Error> {
                let mut floors = BTreeMap::new();
                while let Some((variant, Percent(percent))) = map.next_entry()? {
                    floors.insert(variant, percent);
                }
                if floors.is_empty() {
                    return Err(A::Error::custom("exact names no variant, so it demands nothing"));
                }
                Ok(Floor::ByVariant(floors))
            }
        }
        from.deserialize_any(OneOrMany)
    }
}

impl<'de> Deserialize<'de> for Demand {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Demand;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a level, or one with a floor, as in { level = \"sound\", exact = 87 }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Demand, E> {
                Ok(Demand { level: Level::deserialize(text.into_deserializer())?, exact: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Demand, A::Error> {
                let WithFloor { level, exact } = WithFloor::deserialize(MapAccessDeserializer::new(map))?;
                if level == Level::Absent {
                    return Err(A::Error::custom(
                        "a subject that must be absent makes no walks, so it can have no floor",
                    ));
                }
                Ok(Demand { level, exact: Some(exact) })
            }
        }
        from.deserialize_any(Either)
    }
}
