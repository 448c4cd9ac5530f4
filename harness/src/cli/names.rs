//! Names as people type them: in any case, and with mistakes.

use crate::Error;

/// The name of this list that is meant: the same one, or the only one that differs by its case.
pub(super) fn known<'n>(text: &str, names: impl IntoIterator<Item = &'n str> + Clone) -> Option<&'n str> {
    if let Some(name) = names.clone().into_iter().find(|name| *name == text) {
        return Some(name);
    }
    let mut alike = names.into_iter().filter(|name| name.eq_ignore_ascii_case(text));
    let first = alike.next();
    first.filter(|first| alike.all(|other| other == *first))
}

/// How many near names are told.
const TOLD: usize = 3;

/// The names that are most like a text, nearest first; none that are unlike it.
pub(super) fn near<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
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
pub(super) fn did_you_mean<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    match near(text, names).as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// The known name of an option's value.
///
/// # Errors
///
/// [`Error::Usage`] with the near names, and with all of them if they are few.
pub(super) fn one_of(option: &str, text: &str, what: &str, names: &[String]) -> Result<String, Error> {
    let all = || names.iter().map(String::as_str);
    if let Some(name) = known(text, all()) {
        return Ok(name.to_owned());
    }
    let there_are = match names.len() {
        0 => "there is none".to_owned(),
        1..40 => format!("there are {}", names.join(", ")),
        many => format!("there are {many}"),
    };
    let near = did_you_mean(text, all());
    Err(Error::Usage(format!("{option} {text}: no such {what}{near}; {there_are}").replace("?;", "?")))
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, known, near};

    const NAMES: [&str; 5] = ["cpu/leaf", "cpu/loop", "cpu-sframe@regs", "F0", "f0"];

    #[test]
    fn the_case_does_not_matter_unless_it_tells_names_apart() {
        assert_eq!(known("CPU/Leaf", NAMES), Some("cpu/leaf"));
        assert_eq!(known("F0", NAMES), Some("F0"));
        assert_eq!(known("f0", NAMES), Some("f0"));
        assert_eq!(known("nothing", NAMES), None);
    }

    #[test]
    fn near_names_are_near() {
        assert_eq!(near("lefa", NAMES), ["cpu/leaf"]);
        assert_eq!(near("cpu-sframee", NAMES), ["cpu-sframe@regs"]);
        assert_eq!(did_you_mean("no_such_thing", NAMES), "");
    }
}
