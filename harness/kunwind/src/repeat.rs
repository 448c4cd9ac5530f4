//! Whether an unwinder keeps to the contract of [`Unwinder::step`]: what a step does follows from its arguments alone. It does not
//! know what the steps are.

use crate::address::CodeAddress;
use crate::error::Error;
use crate::state::WalkState;
use crate::target::Target;
use crate::walk::{Frame, Step, Unwinder};

/// How many steps of a walk are looked at.
const MOST: usize = 16;

/// Makes the first steps of a walk, and then each of them again, the last one first, as callers do that have seen where a walk goes
/// from there. For tests and builds with checks: it takes twice as long as the walk.
///
/// # Errors
///
/// Where the frame stands from which a step went another way when it was made again.
pub fn check_steps(unwinder: &dyn Unwinder, start: Frame, target: &dyn Target) -> Result<(), CodeAddress> {
    /// A frame, the state there, and what the step was that led to them.
    type Made = (Frame, WalkState, Result<Step, Error>);
    let from = |&(mut frame, mut state, _): &Made| {
        let step = unwinder.step(&mut frame, &mut state, target);
        (frame, state, step)
    };
    let mut made: [Made; MOST + 1] = [(start, WalkState::new(target.stacks()), Ok(Step::Caller)); MOST + 1];
    let mut steps = 0;
    while steps < MOST && made[steps].2 == Ok(Step::Caller) {
        made[steps + 1] = from(&made[steps]);
        steps += 1;
    }
    for step in (0..steps).rev() {
        let (frame, state, result) = from(&made[step]);
        let first = made[step + 1];
        // After an error the frame is meaningless.
        if (state, result) != (first.1, first.2) || (result.is_ok() && frame != first.0) {
            return Err(made[step].0.pc);
        }
    }
    Ok(())
}
