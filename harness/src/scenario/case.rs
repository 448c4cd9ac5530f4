//! The scenario of a frozen case.

use std::sync::Arc;

use super::{Scenario, Text, Variant};
use crate::Error;
use crate::case::Case;

impl Scenario {
    /// The scenario that a case holds.
    ///
    /// # Errors
    ///
    /// [`Error::Case`] when its text is malformed, or does not know the case's kinds of interruption or its variant.
    pub fn of_case(case: &Arc<Case>) -> Result<Self, Error> {
        let reject = |key: &str, reason: &str| case.reject(format!("{key}: {}", reason.trim_end()));
        let mut text: Text = toml::from_str(&case.text).map_err(|error| reject("text", &error.to_string()))?;
        let kinds = case.interrupt.iter().map(|name| {
            let kind = text.interrupt.iter().copied().find(|kind| kind.name() == name);
            kind.ok_or_else(|| reject("interrupt", &format!("its scenario has no kind {name:?}")))
        });
        text.interrupt = kinds.collect::<Result<_, _>>()?;
        let scenario = Self {
            name: case.scenario.clone(),
            path: case.path.clone(),
            cpu: case.cpu()?,
            source: case.text.clone(),
            text,
            image: None,
            case: Some(Arc::clone(case)),
            process: None,
        };
        scenario.check().map_err(|reason| reject("text", &reason))?;
        if scenario.frozen_variant().is_none() {
            return Err(reject("variant", &format!("its scenario has no variant {:?}", case.variant)));
        }
        Ok(scenario)
    }

    /// The names of functions that the scenario uses.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        let Text { entry, within, outer, omissible, never_resumes, convention, .. } = &self.text;
        let lists = [within, outer, omissible, never_resumes].into_iter().flatten();
        let declared = convention.iter().flat_map(|convention| &convention.functions);
        lists.chain(declared).chain([entry]).map(String::as_str)
    }

    /// The variant that a case holds: of an image its release, else one of the text.
    pub(super) fn frozen_variant(&self) -> Option<Variant> {
        let case = self.case.as_ref()?;
        match self.text.variant.iter().find(|variant| variant.name == case.variant) {
            Some(variant) => Some(variant.clone()),
            None if self.text.variant.is_empty() => Some(Variant { name: case.variant.clone(), ..Variant::default() }),
            None => None,
        }
    }
}
