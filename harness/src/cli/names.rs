//! Names as people type them: in any case, and with mistakes.

use crate::Error;
use crate::near::did_you_mean;

/// The name of this list that is meant: the same one, or the only one that differs by its case.
pub(super) fn known<'n>(text: &str, names: impl IntoIterator<Item = &'n str> + Clone) -> Option<&'n str> {
    if let Some(name) = names.clone().into_iter().find(|name| *name == text) {
        return Some(name);
    }
    let mut alike = names.into_iter().filter(|name| name.eq_ignore_ascii_case(text));
    let first = alike.next();
    first.filter(|first| alike.all(|other| other == *first))
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
    use super::known;

    const NAMES: [&str; 4] = ["cpu/leaf", "cpu/loop", "F0", "f0"];

    #[test]
    fn the_case_does_not_matter_unless_it_tells_names_apart() {
        assert_eq!(known("CPU/Leaf", NAMES), Some("cpu/leaf"));
        assert_eq!(known("F0", NAMES), Some("F0"));
        assert_eq!(known("f0", NAMES), Some("f0"));
        assert_eq!(known("nothing", NAMES), None);
    }
}
