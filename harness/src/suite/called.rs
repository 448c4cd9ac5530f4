//! A call of a function in somebody's file, once more without an observer: for what it returns and changes.

use std::path::Path;

use super::machine;
use crate::experiment::LastResult;
use crate::interrupt::Interrupt;
use crate::recording::{CallOutcome, Changed, float};
use crate::scenario::Scenario;
use crate::trace::{Run as _, Watched};
use crate::{Error, machine as emulator, user};

/// What the call of a scenario does; nothing for one that calls no function of a file.
///
/// # Errors
///
/// Whatever prevents the call from being made or from returning.
pub fn called(root: &Path, scenario: &Scenario, interrupt: &Interrupt) -> Result<Option<CallOutcome>, Error> {
    let Some(call) = &scenario.text.elf else { return Ok(None) };
    let user::Prepared { program, buffers, modules, absent } = match scenario.case() {
        // It holds the memory of the call, but not which of it the arguments are.
        Some(case) => {
            user::Prepared { program: case.program()?, buffers: Vec::new(), modules: Vec::new(), absent: Vec::new() }
        }
        None => {
            let mut prepared = user::prepare(root, call)?;
            emulator::boot(&mut prepared.program)?;
            prepared
        }
    };
    let mut machine = machine(&program, &scenario.text)?;
    let mut result = LastResult::new(program.guest.cpu);
    if Watched::new(&mut machine, interrupt).drive(&mut result)?.interrupted {
        return Err(Error::Interrupted);
    }
    let changed = buffers.iter().filter_map(|buffer| {
        let mut after = vec![0; buffer.before.len()];
        machine.memory().read(buffer.address, &mut after);
        Changed::of(buffer.argument, &buffer.before, &after)
    });
    let left = machine.left();
    let [output, error_output] = left.output.map(|written| String::from_utf8_lossy(&written.bytes).into_owned());
    let before = program.float_arguments.first().copied().unwrap_or_default();
    Ok(Some(CallOutcome {
        scenario: scenario.name.clone(),
        function: call.call.clone(),
        arguments: call.arguments.iter().map(ToString::to_string).collect(),
        result: result.value,
        changed: changed.collect(),
        float_result: (left.float != before).then(|| float(left.float)),
        constructors: program.constructors.ran,
        constructors_not_run: program.constructors.failed.clone(),
        output,
        error_output,
        files: modules,
        absent,
    }))
}
