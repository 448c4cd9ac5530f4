//! Which subjects a run has.

use crate::Error;
use crate::cpu::Cpu;
use crate::subject::remote::{Greeted, Remote};
use crate::subject::{self, Subject};

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
