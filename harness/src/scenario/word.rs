//! Values of keys that are one word out of several, or a name with rules.

use std::path::{Component, Path};

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

use crate::guest::return_hook::{BUILDS, HOOKS};

/// The stem of a guest's file: a path that does not leave its folder.
pub(super) fn stem<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    let stays = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.ends_with('/') || !stays {
        return Err(D::Error::custom(format!("{name:?} is not the stem of a file in the folder of guests")));
    }
    Ok(name)
}

/// The same, where it may be absent.
pub(super) fn another_stem<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    stem(from).map(Some)
}

/// A return hook, which a special case may follow after a comma.
pub(super) fn return_hook<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    let (hook, case) = name.split_once(',').unwrap_or((&name, "none"));
    if case.trim().is_empty() {
        return Err(D::Error::custom(format!("{name:?}: a special case must follow the comma")));
    }
    one_of("return hook", hook, &HOOKS).map_err(D::Error::custom)?;
    Ok(Some(name))
}

/// The fix of a guest's build.
pub(super) fn fix<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    one_of("fix of a guest", &name, &BUILDS).map_err(D::Error::custom)?;
    Ok(Some(name))
}

/// A condition: words that continue a name of a return hook after a comma.
pub(super) fn condition<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let words = String::deserialize(from)?;
    if !words.starts_with("if ") || words.contains(['\n', ',', '|']) {
        return Err(D::Error::custom(format!(
            "condition = {words:?}: it begins with \"if \", and has no comma, bar or line end"
        )));
    }
    Ok(Some(words))
}

fn one_of(what: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) { Ok(()) } else { Err(format!("{name:?} is no {what}; there are {}", known.join(", "))) }
}
