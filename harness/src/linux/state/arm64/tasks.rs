//! The other task, and firmware events.

use super::super::edit::Edit;
use super::super::{OtherTask, STACK_END_MAGIC, THREAD_SIZE};
use super::{B, BL, META_TYPE_FINAL, NOP, POP_RECORD, PUSH_RECORD, TIF_NEED_RESCHED, bytes, load};
use crate::Error;
use crate::guest::conventions::StackRole;
use crate::guest::layout::Stack;

/// The offset of the half of preempt_count that says whether a reschedule is wanted, in 4-byte units.
pub(super) fn need_resched(edit: &Edit<'_>) -> Result<u32, Error> {
    let offset = edit.offset("task_struct", "thread_info.preempt_count")? + 4;
    u32::try_from(offset / 4).ok().filter(|units| *units < 1 << 12).ok_or_else(|| {
        edit.refuse(format!("task_struct.thread_info.preempt_count is at {offset:#x}, beyond the reach of one store"))
    })
}

/// Whether an interrupt's exit looks at a flag, as the entry code that all CPUs share does (kernel/entry/common.c, since 6.18); before,
/// `el1_interrupt` looks at preempt_count alone, whose upper half is 0 if a reschedule is wanted.
pub(super) fn has_flag(edit: &Edit<'_>) -> bool {
    edit.image().symbols.has("raw_irqentry_exit_cond_resched")
}

/// What makes an interrupt's exit schedule: the address of a word, and its value.
pub(super) fn wanted(edit: &Edit<'_>, task: u64) -> Result<(u64, u64), Error> {
    if has_flag(edit) {
        return Ok((task + edit.offset("task_struct", "thread_info.flags")?, TIF_NEED_RESCHED));
    }
    let half = task + edit.offset("task_struct", "thread_info.preempt_count")? + 4;
    // Eight bytes are written.
    match edit.u32_at(half + 4)? {
        0 => Ok((half, 0)),
        other => Err(edit.refuse(format!("{other:#x}, not 0, is behind init_task.thread_info.preempt_count"))),
    }
}

/// `bl` or `b` from one place to another.
pub(super) fn branch(opcode: u32, from: u64, to: u64) -> u32 {
    opcode | (to.wrapping_sub(from) >> 2) as u32 & 0x03ff_ffff
}

/// Another task, a copy of the first one, and a `__schedule` of ours that always switches to it by the real `cpu_switch_to`. It
/// calls the marker and switches back. Also returns the words of its stack.
///
/// ```text
///   __schedule: b harness_schedule           harness_other:
///   harness_schedule:                        1: mov x0, x20   // the first task
///      stp x29, x30, [sp, #-16]!                bl  harness_walk_task
///      mov x29, sp                              mov x0, x21   // this one
///      mrs x0, sp_el0                           mov x1, x20
///      mov x1, the other task                   bl  cpu_switch_to
///      str xzr, [x0, #flags]                    b   1b
///      mov w2, #1
///      str w2, [x0, #need_resched]
///      bl  cpu_switch_to
///      ldp x29, x30, [sp], #16
///      ret
/// ```
pub(super) fn other_task(
    edit: &mut Edit<'_>,
    task: u64,
    walk_task: u64,
) -> Result<(OtherTask, Vec<(u64, u64)>), Error> {
    let new = OtherTask::copy_of(edit, task)?;
    let (other, bounds) = (new.task, new.stack.bounds);
    let switch = edit.address("cpu_switch_to")?;
    let flags = edit.offset("task_struct", "thread_info.flags")? as u32 / 8;
    // str xzr, [x0, #flags]; mov w2, #1; str w2, [x0, #offset]
    // Where no flag asks, all flags stay as they are.
    let cleared = if has_flag(edit) { 0xf900_001f | flags << 10 } else { NOP };
    let granted = [cleared, 0x5280_0022, 0xb900_0002 | need_resched(edit)? << 10];
    let at = edit.next_code();
    let head = [PUSH_RECORD[0], PUSH_RECORD[1], 0xd538_4100]; // mrs x0, sp_el0
    let call = branch(BL, at + 4 * (3 + 4 + 3), switch);
    let schedule = [&head[..], &load(1, other), &granted, &[call], &POP_RECORD].concat();
    let schedule = edit.code("harness_schedule", &bytes(&schedule))?;
    if edit.has_real_scheduler {
        run_queue(edit, task, other)?;
    } else {
        let real = edit.address("__schedule")?;
        edit.set_u32(real, branch(B, real, schedule))?;
    }
    let at = edit.next_code();
    let body = [
        0xaa14_03e0, // mov x0, x20
        branch(BL, at + 4, walk_task),
        0xaa15_03e0, // mov x0, x21
        0xaa14_03e1, // mov x1, x20
        branch(BL, at + 16, switch),
        branch(B, at + 20, at),
    ];
    let body = edit.code("harness_other", &bytes(&body))?;
    let pt_regs = bounds.high - edit.size("pt_regs")?;
    let record = pt_regs + edit.offset("pt_regs", "stackframe")?;
    let context = |edit: &Edit<'_>, member: &str| {
        edit.offset("task_struct", &format!("thread.cpu_context.{member}")).map(|offset| other + offset)
    };
    let registers = [("pc", body), ("sp", pt_regs), ("fp", record), ("x20", task), ("x21", other)];
    for (member, value) in registers {
        let at = context(edit, member)?;
        edit.set_u64(at, value)?;
    }
    Ok((new, vec![(record, 0), (record + 8, 0), (record + 16, META_TYPE_FINAL), (bounds.low, STACK_END_MAGIC)]))
}

/// Puts the scheduler into the state in which the first task runs and no other is runnable, so that it switches to the idle task: the
/// other one (kernel/sched/sched.h: `struct rq`). Members that a release does not have are left out.
fn run_queue(edit: &mut Edit<'_>, task: u64, other: u64) -> Result<(), Error> {
    /// include/linux/sched/prio.h: DEFAULT_PRIO.
    const DEFAULT_PRIO: u32 = 120;
    /// include/asm-generic/preempt.h: what `__schedule` leaves of a task's count, and that it need not be rescheduled.
    const SWITCHED_OUT: u64 = 1 << 32 | 2;
    let queue = edit.address("runqueues")?;
    let entity = task + edit.offset("task_struct", "se")?;
    for (member, value) in [("curr", task), ("idle", other), ("cfs.curr", entity)] {
        edit.set_u64(queue + edit.offset("rq", member)?, value)?;
    }
    for (member, value) in [("donor", task), ("cfs.h_curr", entity), ("cfs.rq", queue)] {
        if let Ok(offset) = edit.offset("rq", member) {
            edit.set_u64(queue + offset, value)?;
        }
    }
    let fair = queue + edit.offset("rq", "cfs")?;
    let class = edit.offset("task_struct", "sched_class")?;
    for (which, name) in [(task, "fair_sched_class"), (other, "idle_sched_class")] {
        let address = edit.address(name)?;
        edit.set_u64(which + class, address)?;
        if let Ok(offset) = edit.offset("task_struct", "se.cfs_rq") {
            edit.set_u64(which + offset, fair)?;
        }
    }
    edit.set_u32(other + edit.offset("task_struct", "prio")?, DEFAULT_PRIO)?;
    edit.set_u64(other + edit.offset("task_struct", "thread_info.preempt_count")?, SWITCHED_OUT)
}

/// Registers an SDEI event of normal priority with a callback of ours, and gives the CPU a stack for such events. Returns the event;
/// `None` in an image without SDEI.
pub(super) fn sdei(edit: &mut Edit<'_>, walk_here: u64, stacks: &mut Vec<Stack>) -> Result<Option<u64>, Error> {
    /// arch/arm64/include/asm/sdei.h.
    const SDEI_EXIT_SMC: u64 = 1;
    if !edit.image().symbols.has("__sdei_asm_handler") {
        return Ok(None);
    }
    // int callback(u32 event, struct pt_regs *regs, void *arg): mov x0, x1; b harness_walk_here
    let at = edit.next_code();
    let callback =
        edit.code("harness_sdei_callback", &bytes(&[0xaa01_03e0, branch(0x1400_0000, at + 4, walk_here)]))?;
    let event = edit.allocate(edit.size("sdei_registered_event")?, 64)?;
    edit.set_u64(event + edit.offset("sdei_registered_event", "callback")?, callback)?;
    let low = edit.allocate(THREAD_SIZE, 2 * THREAD_SIZE)?;
    edit.set_u64(edit.address("sdei_stack_normal_ptr")?, low)?;
    edit.set_u64(edit.address("sdei_exit_mode")?, SDEI_EXIT_SMC)?;
    let firmware = edit.address("sdei_smccc_smc")?;
    edit.set_u64(edit.address("sdei_firmware_call")?, firmware)?;
    let bounds = kunwind::StackBounds { low, high: low + THREAD_SIZE };
    stacks.push(Stack { name: "sdei".to_owned(), bounds, role: StackRole::Kernel });
    Ok(Some(event))
}
