//! Names that are like one that there is not: errors tell them.

/// How many near names are told.
const TOLD: usize = 3;

/// The names that are most like a text, nearest first; none that are unlike it.
#[must_use]
pub fn near<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let text = text.to_lowercase();
    let most = (text.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        let lower = name.to_lowercase();
        // A name without its folder, or without its start, is as good.
        let short = lower.rsplit('/').next().unwrap_or(&lower);
        let short = short.split('@').next().unwrap_or(short);
        let distance = strsim::damerau_levenshtein(&text, &lower).min(strsim::damerau_levenshtein(&text, short));
        if distance <= most && !found.iter().any(|(_, other)| *other == name) {
            found.push((distance, name));
        }
    }
    found.sort();
    found.into_iter().take(TOLD).map(|(_, name)| name).collect()
}

/// `; did you mean leaf or loop?`, or nothing.
#[must_use]
pub fn did_you_mean<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    match near(text, names).as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, near};

    const NAMES: [&str; 5] = ["cpu/leaf", "cpu/loop", "cpu-sframe@regs", "F0", "f0"];

    #[test]
    fn near_names_are_near() {
        assert_eq!(near("lefa", NAMES), ["cpu/leaf"]);
        assert_eq!(near("cpu-sframee", NAMES), ["cpu-sframe@regs"]);
        assert_eq!(did_you_mean("no_such_thing", NAMES), "");
    }
}
