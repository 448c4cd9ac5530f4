//! The other task.

use super::super::edit::Edit;
use super::super::{OtherTask, STACK_END_MAGIC};
use super::per_cpu::PreemptCount;
use super::{CALL, CALL_SIZE, JMP, RET, branch};
use crate::Error;

/// `movabs` of a constant to rdi, and to rsi.
const LOAD_RDI: [u8; 2] = [0x48, 0xbf];
const LOAD_RSI: [u8; 2] = [0x48, 0xbe];
const MOVE_BX_TO_DI: [u8; 3] = [0x48, 0x89, 0xdf];
const MOVE_R12_TO_DI: [u8; 3] = [0x4c, 0x89, 0xe7];
const MOVE_BX_TO_SI: [u8; 3] = [0x48, 0x89, 0xde];
/// `struct inactive_task_frame`, which __switch_to_asm leaves on the stack.
pub(super) const FRAME: &str = "inactive_task_frame";

/// Asks to reschedule the task, as a timer's interrupt would (set_tsk_need_resched, set_preempt_need_resched).
pub(super) fn ask(task: u64, count: &PreemptCount) -> Vec<u8> {
    // orb $MASK,(task); andb $0x7f,(highest byte)
    [at(task), vec![0x80, 0x08, count.need_resched], at(count.highest_byte()), vec![0x80, 0x20, 0x7f]].concat()
}

/// Takes that back, as the scheduler does.
fn granted(task: u64, count: &PreemptCount) -> Vec<u8> {
    // andb $~MASK,(task); orb $0x80,(highest byte)
    [at(task), vec![0x80, 0x20, !count.need_resched], at(count.highest_byte()), vec![0x80, 0x08, 0x80]].concat()
}

/// `movabs $address,%rax`.
fn at(address: u64) -> Vec<u8> {
    [&super::LOAD_RAX[..], &address.to_le_bytes()].concat()
}

/// Another task, a copy of the first one, and a `__schedule` of ours that always switches to it by the real `__switch_to_asm`. It
/// calls the marker and switches back. Also returns the words of its stack.
///
/// ```text
///   __schedule: jmp harness_schedule       harness_other:
///   harness_schedule:                      1: mov  %rbx,%rdi   // the first task
///      (no reschedule is wanted any more)     call harness_walk_task
///      mov  $the first task,%rdi              mov  %r12,%rdi   // this one
///      mov  $the other task,%rsi              mov  %rbx,%rsi
///      call __switch_to_asm                   call __switch_to_asm
///      ret                                    jmp  1b
/// ```
///
/// Both have nothing on the stack but their return address, which is what ORC says of the text in which they stand.
pub(super) fn other_task(
    edit: &mut Edit<'_>,
    task: u64,
    walk_task: u64,
    count: &PreemptCount,
) -> Result<(OtherTask, Vec<(u64, u64)>), Error> {
    let new = OtherTask::copy_of(edit, task)?;
    let (other, bounds) = (new.task, new.stack.bounds);
    let switch = edit.address("__switch_to_asm")?;
    let mut code = granted(task, count);
    code.extend([&LOAD_RDI[..], &task.to_le_bytes(), &LOAD_RSI, &other.to_le_bytes()].concat());
    code.extend(to(CALL, edit.next_code() + code.len() as u64, switch));
    code.push(RET);
    let schedule = edit.code("harness_schedule", &code)?;
    let real = edit.address("__schedule")?;
    branch(edit, JMP, real, schedule)?;
    let start = edit.next_code();
    let mut code = MOVE_BX_TO_DI.to_vec();
    code.extend(to(CALL, start + code.len() as u64, walk_task));
    code.extend([MOVE_R12_TO_DI, MOVE_BX_TO_SI].concat());
    code.extend(to(CALL, start + code.len() as u64, switch));
    code.extend(to(JMP, start + code.len() as u64, start));
    let body = edit.code("harness_other", &code)?;
    let frame = bounds.high - edit.size("pt_regs")? - edit.size(FRAME)?.next_multiple_of(16) - 16;
    let sp = other + edit.offset("task_struct", "thread.sp")?;
    edit.set_u64(sp, frame)?;
    let mut words = vec![(bounds.low, STACK_END_MAGIC)];
    for (member, value) in [("bx", task), ("r12", other), ("bp", 0), ("ret_addr", body)] {
        words.push((frame + edit.offset(FRAME, member)?, value));
    }
    Ok((new, words))
}

/// A call or jump from here to there.
pub(super) fn to(opcode: u8, from: u64, to: u64) -> [u8; CALL_SIZE as usize] {
    let [a, b, c, d] = (to.wrapping_sub(from + CALL_SIZE) as u32).to_le_bytes();
    [opcode, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::super::super::listed;
    use super::*;

    #[track_caller]
    fn shows(code: &[u8], lines: &[&str]) {
        assert_eq!(listed("x86_64", 0x1000, code), lines);
    }

    #[test]
    fn the_instructions_of_ours_are_what_their_comments_say() {
        shows(&to(CALL, 0x1000, 0x1005), &["callq 0x1005"]);
        shows(&to(JMP, 0x1000, 0x1000), &["jmp 0x1000"]);
        let count = PreemptCount { word: 0x100, size: 8, need_resched: 0x10 };
        shows(
            &ask(0x200, &count),
            &["movabsq $0x200, %rax", "orb $0x10, (%rax)", "movabsq $0x107, %rax", "andb $0x7f, (%rax)"],
        );
        let count = PreemptCount { size: 4, need_resched: 8, ..count };
        shows(
            &granted(0x200, &count),
            &["movabsq $0x200, %rax", "andb $0xf7, (%rax)", "movabsq $0x103, %rax", "orb $0x80, (%rax)"],
        );
        shows(
            &[&LOAD_RDI[..], &[1; 8], &LOAD_RSI, &[1; 8]].concat(),
            &["movabsq $0x101010101010101, %rdi", "movabsq $0x101010101010101, %rsi"],
        );
        shows(
            &[MOVE_BX_TO_DI, MOVE_R12_TO_DI, MOVE_BX_TO_SI].concat(),
            &["movq %rbx, %rdi", "movq %r12, %rdi", "movq %rbx, %rsi"],
        );
    }
}
