//! Conventions that nobody declares. Functions that only their own file can call need not keep to the ABI: assembly, above all, returns
//! from its helpers with callee-saved registers changed. In somebody's file nobody knows them, so a run is made to see them.

use std::collections::BTreeMap;

use super::alone::Alone;
use super::{Activation, Cause, Oracle, Witnesses};
use crate::Error;
use crate::guest::Program;
use crate::guest::conventions::{CallConvention, Preserved};
use crate::trace::Run;

/// What functions were seen to preserve, by where they are entered.
pub(super) type Seen = BTreeMap<u64, Preserved>;

impl Oracle<'_> {
    /// Notes that a call has changed the callee-saved register of this index, if this run is made to see that and the called function
    /// may do so. What other files can call must keep to the ABI.
    pub(super) fn may_be_private(&mut self, call: &Activation, index: usize) -> bool {
        let function = self.guest.symbols.function_at(call.entry);
        // Of what waits since before the run nobody has seen the call: whoever says what its registers are must be right.
        let was_seen = call.cause == Cause::Call && call.entry != 0;
        let is_private = was_seen && function.is_none_or(|function| !function.is_global);
        let Some(seen) = self.private.as_mut().filter(|_| is_private) else { return false };
        let preserved = seen.entry(call.entry).or_default();
        *preserved = preserved.without(index);
        true
    }
}

/// Makes a run, and returns the conventions of the functions that only their own file can call and that changed what the ABI makes them
/// preserve; each with the addresses of its function. What has a declared convention is left out.
///
/// # Errors
///
/// As [`Run::drive`].
pub fn private_conventions(
    program: &Program,
    run: &mut dyn Run,
) -> Result<Vec<(std::ops::Range<u64>, CallConvention)>, Error> {
    let witnesses = Witnesses { notes_private: true, ..Witnesses::default() };
    let mut alone = Alone(Oracle::new(program, witnesses));
    run.drive(&mut alone)?;
    let seen = alone.0.private.take().unwrap_or_default();
    let undeclared = seen.into_iter().filter(|(entry, _)| program.conventions.calls.of(*entry).is_none());
    let mut found: BTreeMap<u64, (u64, Preserved)> = BTreeMap::new();
    for (entry, preserved) in undeclared {
        let function = program.guest.symbols.function_at(entry);
        let (start, end) = function.map_or((entry, entry + 1), |it| (it.address, it.address + it.size.max(1)));
        // A function may have several entries.
        let known = found.entry(start).or_insert((end, preserved));
        known.1 = known.1.and(preserved);
    }
    let convention = |preserves| CallConvention { preserves, is_supposed: true, ..CallConvention::default() };
    Ok(found.into_iter().map(|(start, (end, preserved))| (start..end, convention(preserved))).collect())
}
