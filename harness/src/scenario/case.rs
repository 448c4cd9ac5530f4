//! The scenario of a frozen case.

use std::sync::Arc;

use super::{Learned, Origin, Scenario, Text, Variant};
use crate::Error;
use crate::case::{Case, State};
use crate::subject;

/// How many instructions a written state may run: as many as a second of emulation with walks holds.
const STATE_BUDGET: u64 = 10_000_000;

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
            origin: Origin::Case(Arc::clone(case)),
            learned: Learned::default(),
        };
        scenario.check().map_err(|reason| reject("text", &reason))?;
        if scenario.frozen_variant().is_none() {
            return Err(reject("variant", &format!("its scenario has no variant {:?}", case.variant)));
        }
        Ok(scenario)
    }

    /// The scenario that runs a written state: every instruction is a point, and what is found breaks no gate, because nobody has
    /// said what to expect.
    ///
    /// # Errors
    ///
    /// As [`State::program`]; [`Error::Case`] for an unwinder that cannot walk there.
    pub fn of_state(state: &Arc<State>) -> Result<Self, Error> {
        let cpu = state.cpu()?;
        let program = state.program()?;
        let subjects = subject::all(cpu);
        let fitting = subjects.iter().map(|subject| subject.about()).filter(|about| about.fits(&program, None, false));
        let names: Vec<&str> = fitting.map(|about| about.name.as_str()).collect();
        if let Some(other) = state.unwinders.iter().find(|name| !names.contains(&name.as_str())) {
            let reason = format!("unwinders: {other:?} does not walk here; {} can", names.join(", "));
            return Err(state.reject(reason));
        }
        let mut source = format!("guest = \"state\"\nmax-visits = {}\nbudget = {STATE_BUDGET}\n", u32::MAX);
        if let Some(model) = &state.cpu {
            source += &format!("cpu = {}\n", toml::Value::String(model.clone()));
        }
        if state.is_kernel() {
            source += "red-zone = 0\n";
        }
        source += "\n[must]\n";
        source.extend(names.iter().map(|name| format!("\"{name}\" = \"any\"\n")));
        let text: Text =
            toml::from_str(&source).map_err(|error| state.reject(error.to_string().trim_end().to_owned()))?;
        let scenario = Self {
            name: format!("{}/{}", cpu.name, state.name()),
            path: state.path.clone(),
            cpu,
            source,
            text,
            origin: Origin::State(Arc::clone(state)),
            learned: Learned::default(),
        };
        scenario.check().map_err(|reason| state.reject(reason))?;
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
        let case = self.case()?;
        match self.text.variant.iter().find(|variant| variant.name == case.variant) {
            Some(variant) => Some(variant.clone()),
            None if self.text.variant.is_empty() => Some(Variant { name: case.variant.clone(), ..Variant::default() }),
            None => None,
        }
    }
}
