//! Which subjects a run has.

use std::path::Path;

use crate::Error;
use crate::cpu::Cpu;
use crate::scenario::Scenario;
use crate::subject::remote::{Greeted, Remote};
use crate::subject::{self, Scope, Subject};

/// The selected subjects of a CPU.
pub type Subjects = Vec<Box<dyn Subject + Send>>;

/// The subjects of a CPU with these names; all of them but the new ones if there are no names.
#[must_use]
pub fn subjects(cpu: &'static Cpu, names: &[String]) -> Subjects {
    let mut subjects = subject::all(cpu);
    subjects.retain(|subject| match names {
        [] => subject.about().gate.is_sound(),
        names => names.contains(&subject.about().name),
    });
    subjects
}

/// The same, with unwinders that are processes of their own; these alone if there are no names.
///
/// # Errors
///
/// [`Error::Unwinder`], when one cannot be started.
pub fn chosen(cpu: &'static Cpu, names: &[String], remote: &[Remote]) -> Result<Subjects, Error> {
    let mut chosen = if names.is_empty() && !remote.is_empty() { Vec::new() } else { subjects(cpu, names) };
    for remote in remote {
        if let Greeted::Walks(subject) = remote.start(cpu)? {
            chosen.push(subject);
        }
    }
    Ok(chosen)
}

/// The names of the unwinders that walk in some run of a scenario, without those that are new.
///
/// # Errors
///
/// Whatever keeps a guest from being loaded.
pub fn walking(root: &Path, scenario: &Scenario) -> Result<Vec<String>, Error> {
    let mut all = subjects(scenario.cpu, &[]);
    if scenario.text.process.is_some() {
        // It would have to run to be known; it has no kernel.
        all.retain(|subject| matches!(subject.about().scope, Scope::Any | Scope::Program | Scope::User));
        return Ok(names(&all));
    }
    let mut walks = vec![false; all.len()];
    for variant in scenario.variants() {
        let program = scenario.program(root, &variant)?;
        let hook = scenario.return_hook(&variant);
        for (subject, walks) in all.iter().zip(&mut walks) {
            let mut kinds = scenario.text.interrupt.iter();
            *walks |= kinds.any(|kind| subject.about().fits(&program, hook.as_ref(), kind.walks_user()));
        }
    }
    let mut walks = walks.into_iter();
    all.retain(|_| walks.next().unwrap_or(false));
    Ok(names(&all))
}

fn names(subjects: &Subjects) -> Vec<String> {
    subjects.iter().map(|subject| subject.about().name.clone()).collect()
}
