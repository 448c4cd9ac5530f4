//! System calls of a program that was written down in the middle of its run: the state says what the kernel answered.

use unicorn_engine::Unicorn;

use super::{Context, Stop};

/// Answers a system call, if the emulator has stopped for one that has an answer, and returns the pc at which to continue.
pub(super) fn answer(engine: &mut Unicorn<'_, Context<'_>>) -> Option<u64> {
    let context = engine.get_data_mut();
    let Some(Stop::SystemCall { resume }) = context.stop else { return None };
    let answer = context.answers.as_mut()?.next()?;
    context.stop = None;
    for (address, bytes) in &answer.writes {
        // A state whose memory is not there is refused when it is read.
        context.memory.write_bytes(*address, bytes, true);
        context.observer.stored(*address, bytes.len());
    }
    let (core, cpu) = (context.core, context.cpu);
    let ids = core.register_ids();
    engine.reg_write(ids[usize::from(cpu.result.0)], answer.result).ok()?;
    core.clobber_at_system_call(engine, resume).ok()?;
    Some(resume)
}

/// Why a run ends at a system call without an answer.
pub(super) fn lacks(engine: &Unicorn<'_, Context<'_>>) -> String {
    let call = engine.reg_read(engine.get_data().core.system_call_id()).unwrap_or_default();
    format!("it makes system call {call}, for which the case has no answer left ([[syscall]])")
}
