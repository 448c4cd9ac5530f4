//! Runs in which nothing is asked but the oracle.

use super::{Oracle, Testimony, Witnesses};
use crate::Error;
use crate::guest::Program;
use crate::trace::{Action, Observer, Point, Run};

/// Follows a run with the oracle alone.
pub(super) struct Alone<'p>(pub(super) Oracle<'p>);

impl Observer for Alone<'_> {
    fn wants_stores(&self) -> bool {
        self.0.wants_stores()
    }

    fn stored(&mut self, address: u64, size: usize) {
        self.0.stored(address, size);
    }

    fn hardware_stored(&mut self, address: u64, size: usize) {
        self.0.stored(address, size);
    }

    fn point(&mut self, at: &Point<'_>) -> Action {
        self.0.observe(at);
        if self.0.is_void() { Action::Stop } else { Action::Continue }
    }
}

/// The testimony of an undisturbed run, in which a callee-saved register came back changed: with the store that changed it. The run is
/// made again for that. The first testimony is kept where the second run shows something else.
///
/// # Errors
///
/// As [`Run::drive`].
pub fn with_store(
    program: &Program,
    again: &mut dyn Run,
    never_resumes: &[String],
    first: Testimony,
) -> Result<Testimony, Error> {
    let clobbered = first.clobbered;
    let mut alone = Alone(Oracle::new(program, Witnesses { clobbered, ..Witnesses::default() }));
    let ended = again.drive(&mut alone)?;
    let seen = alone.0.testimony(never_resumes, ended);
    let is_same = seen.clobbered == clobbered;
    Ok(if is_same { Testimony { contradiction: seen.contradiction, ..first } } else { first })
}
