//! The function graph tracer, switched on as the kernel does it (kernel/trace/fgraph.c, register_ftrace_graph).

use super::edit::Edit;
use super::{OfCpu, Workload};
use crate::Error;

/// SHADOW_STACK_SIZE (kernel/trace/fgraph.c).
const SHADOW_STACK_SIZE: u64 = 4096;
/// FGRAPH_ARRAY_SIZE (kernel/trace/fgraph.c).
const ARRAY_SIZE: u64 = 16;

/// Gives the task a ret_stack, registers one user of the tracer, and patches the call of the tracer into these functions.
pub(super) fn switch_on(edit: &mut Edit<'_>, of_cpu: &dyn OfCpu, task: u64, workload: &Workload) -> Result<(), Error> {
    if !edit.image().symbols.has("fgraph_array") {
        let reason =
            "its function graph tracer has no fgraph_array: tracers of before Linux 6.11 are not switched on yet";
        return Err(edit.refuse(reason));
    }
    let of_task = |edit: &Edit<'_>, member| edit.offset("task_struct", member).map(|offset| task + offset);
    let ret_stack = edit.allocate(SHADOW_STACK_SIZE, SHADOW_STACK_SIZE)?;
    let (words, index) = (of_task(edit, "ret_stack")?, of_task(edit, "curr_ret_stack")?);
    let depth = of_task(edit, "curr_ret_depth")?;
    edit.set_u64(words, ret_stack)?;
    edit.set_u32(index, 0)?;
    edit.set_u32(depth, u32::MAX)?; // -1: nothing is traced
    let (entry, exit) = of_cpu.graph_callbacks(edit, workload.preempts_tracer)?;
    let entry = edit.code("harness_graph_entry", &entry)?;
    let exit = edit.code("harness_graph_return", &exit)?;
    let user = edit.allocate(edit.size("fgraph_ops")?, 64)?;
    edit.set_u64(user + edit.offset("fgraph_ops", "entryfunc")?, entry)?;
    edit.set_u64(user + edit.offset("fgraph_ops", "retfunc")?, exit)?;
    // It traces everything: both hashes of its ftrace_ops are empty.
    let ops = user + edit.offset("fgraph_ops", "ops")?;
    let hashes = ops + edit.offset("ftrace_ops", "local_hash")?;
    edit.set_u64(ops + edit.offset("ftrace_ops", "func_hash")?, hashes)?;
    let empty = edit.address("empty_hash")?;
    for member in ["notrace_hash", "filter_hash"] {
        edit.set_u64(hashes + edit.offset("ftrace_ops_hash", member)?, empty)?;
    }
    let (array, stub) = (edit.address("fgraph_array")?, edit.address("fgraph_stub")?);
    for slot in 0..ARRAY_SIZE {
        edit.set_u64(array + 8 * slot, if slot == 0 { user } else { stub })?;
    }
    let bitmask = edit.address("fgraph_array_bitmask")?;
    edit.set_u64(bitmask, 1)?;
    of_cpu.call_tracer(edit, user, (entry, exit))?;
    for function in &workload.trace {
        let function = edit.function(function)?;
        of_cpu.trace(edit, function)?;
    }
    Ok(())
}
