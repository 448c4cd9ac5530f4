//! Compact JSON spellings for what would be bulky as nested objects.

/// Verdicts by arrival, as `=@1-4 !skipped@5 ~@6-7m`: a verdict, the arrivals at which it was given, and `m` if the interruption
/// is masked there. One string for each column.
pub(super) mod runs {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::recording::{Run, Shared};

    pub(in crate::recording) fn serialize<S: Serializer>(
        runs: &Shared<Vec<Vec<Run>>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(runs.iter().map(|runs| {
            let mut text = String::new();
            for Run { verdict, reachable, first, last } in runs {
                use std::fmt::Write as _;
                let gap = if text.is_empty() { "" } else { " " };
                let _ = write!(text, "{gap}{verdict}@{first}");
                if last != first {
                    let _ = write!(text, "-{last}");
                }
                text.push_str(if *reachable { "" } else { "m" });
            }
            text
        }))
    }

    pub(in crate::recording) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Shared<Vec<Vec<Run>>>, D::Error> {
        let columns = Vec::<String>::deserialize(from)?;
        let runs = columns.iter().map(|column| column.split_whitespace().map(parse).collect());
        let runs: Vec<Vec<Run>> = runs.collect::<Result<_, String>>().map_err(D::Error::custom)?;
        Ok(Shared::from(runs))
    }

    /// One run.
    fn parse(text: &str) -> Result<Run, String> {
        let malformed = || format!("{text:?} is not a run of verdicts; runs look like =@1-4 or !skipped@5m");
        let (verdict, arrivals) = text.split_once('@').ok_or_else(malformed)?;
        let (arrivals, reachable) = match arrivals.strip_suffix('m') {
            Some(arrivals) => (arrivals, false),
            None => (arrivals, true),
        };
        let (first, last) = arrivals.split_once('-').unwrap_or((arrivals, arrivals));
        let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
        let (first, last) = (number(first)?, number(last)?);
        if first > last { Err(malformed()) } else { Ok(Run { verdict: verdict.parse()?, reachable, first, last }) }
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn malformed_runs_are_refused() {
            for text in ["", "=", "=@", "=@x", "=@2-1", "@1", "&@1", "=@1-2-3"] {
                assert!(parse(text).is_err(), "{text:?}");
            }
            assert_eq!(parse("?skipped@2-3m").map(|run| (run.first, run.last, run.reachable)), Ok((2, 3, false)));
        }
    }
}

/// A map in the order of columns.
pub(super) mod ordered {
    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use crate::recording::Counters;

    pub(in crate::recording) fn serialize<S: Serializer>(map: &[(String, Counters)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(name, counters)| (name, counters)))
    }

    pub(in crate::recording) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, Counters)>, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, Counters)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of counters by subject")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// The fix of an unwinder, by name.
pub(super) mod fix {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::guest::return_hook::Fix;

    const NAMES: [(Fix, &str); 5] = [
        (Fix::None, "none"),
        (Fix::Refuse, "refuse"),
        (Fix::RetStack, "ret-stack"),
        (Fix::Record, "record"),
        (Fix::Pending, "pending"),
    ];

    pub(in crate::recording) fn serialize<S: Serializer>(fix: &Fix, to: S) -> Result<S::Ok, S::Error> {
        let name = NAMES.iter().find(|(known, _)| known == fix).map_or("", |(_, name)| name);
        to.serialize_str(name)
    }

    pub(in crate::recording) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fix, D::Error> {
        let name = String::deserialize(from)?;
        let known = NAMES.iter().find(|(_, known)| *known == name).map(|(fix, _)| *fix);
        known.ok_or_else(|| D::Error::custom(format!("there is no fix {name:?}")))
    }
}
