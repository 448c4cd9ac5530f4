//! riscv64: a kernel thread that `ret_from_fork_kernel_asm` has started (arch/riscv/kernel/entry.S, process.c).
//!
//! ```text
//!   top of the task's stack  ->  +----------------+
//!                                | pt_regs        |
//!   SP                       ->  +----------------+
//!                                | harness_root   |  in place of ret_from_fork_kernel, which `jalr ra` calls
//!                                | harness_middle |  the thread's function: s0 holds its address (copy_thread)
//!                                | the function   |
//! ```

mod thread;

use super::super::{KernelImage, refused};
use super::edit::Edit;
use super::{OfCpu, OtherTask, Running, Special, THREAD_SIZE, irq_and_overflow_stacks};
use crate::Error;
use crate::cpu::Register;
use crate::guest::StartState;
use crate::guest::conventions::{KnownTask, SavedContext, Vector, Vectors};

use thread::{Fork, catch_faults, nesting};

pub(super) struct Riscv64;

const RA: Register = Register(1);
const SP: Register = Register(2);
const GP: Register = Register(3);
const TP: Register = Register(4);
const S0: Register = Register(8);
const A0: Register = Register(10);
const T3: Register = Register(28);
const T4: Register = Register(29);
const T0: Register = Register(5);
const T1: Register = Register(6);
const ZERO: Register = Register(0);
/// `c.nop`.
const NOP: u16 = 0x0001;
/// Without registers and immediate values.
const AUIPC: u32 = 0x17;
const JALR: u32 = 0x67;
/// arch/riscv/include/asm/thread_info.h: OVERFLOW_STACK_SIZE.
const OVERFLOW_STACK_SIZE: u64 = 4096;
/// The members of `struct thread_info` in which `handle_exception` keeps registers before it has a stack to save them on, and the
/// members of later versions, in which it keeps more of them.
const ENTRY_WORDS: [&str; 2] = ["kernel_sp", "user_sp"];
const LATER_ENTRY_WORDS: [&str; 3] = ["a0", "a1", "a2"];

/// `addi sp, sp, -16; sd ra, 8(sp); sd s0, 0(sp); addi s0, sp, 16`.
const PUSH_RECORD: [u8; 8] = [0x41, 0x11, 0x06, 0xe4, 0x22, 0xe0, 0x00, 0x08];
/// `ld ra, 8(sp); ld s0, 0(sp); addi sp, sp, 16; ret`.
const POP_RECORD: [u8; 8] = [0xa2, 0x60, 0x02, 0x64, 0x41, 0x01, 0x82, 0x80];
/// `j .-22`.
const J_BACK_22: [u8; 2] = [0xed, 0xb7];
/// `ret`.
const RET: [u8; 2] = [0x82, 0x80];

/// A function with a frame record that calls the function in this register.
fn caller(register: Register) -> Vec<u8> {
    let jalr = 0x9002 | u16::from(register.0) << 7; // c.jalr
    [&PUSH_RECORD[..], &jalr.to_le_bytes(), &POP_RECORD].concat()
}

/// `auipc through, HIGH; jalr link, LOW(through)` at `from`: a call of `to` that leaves its return address in `link`.
fn jump(through: Register, link: Register, from: u64, to: u64) -> [u8; 8] {
    let (high, low) = relative(from, to);
    let [through, link] = [through, link].map(|register| u32::from(register.0));
    let auipc = AUIPC | through << 7 | high;
    let jalr = JALR | link << 7 | through << 15 | low << 20;
    (u64::from(auipc) | u64::from(jalr) << 32).to_le_bytes()
}

fn call(from: u64, to: u64) -> [u8; 8] {
    jump(RA, RA, from, to)
}

/// The parts of a distance that `auipc` and the instruction behind it add: the second is signed, so that the first is rounded.
fn relative(from: u64, to: u64) -> (u32, u32) {
    let distance = to.wrapping_sub(from) as u32;
    (distance.wrapping_add(0x800) & 0xffff_f000, distance & 0xfff)
}

/// `sd register, offset(tp)`.
fn store_in_task(register: Register, offset: u32) -> [u8; 4] {
    (0x0002_3023 | u32::from(register.0) << 20 | (offset & 0x1f) << 7 | offset >> 5 << 25).to_le_bytes()
}

/// The offset of `thread_info.flags` in a task's structure, and TIF_NEED_RESCHED as a mask: what `preempt_schedule_notrace` tests
/// before it returns, by `ld REGISTER, flags(tp); andi REGISTER, REGISTER, MASK`. No type says it, and it has moved (arch/riscv's own
/// header, include/asm-generic/thread_info_tif.h). The mask is 0 in a kernel that cannot be preempted.
fn need_resched(edit: &Edit<'_>) -> Result<(u32, u32), Error> {
    const FUNCTION: &str = "preempt_schedule_notrace";
    let offset = edit.offset("task_struct", "thread_info.flags")?;
    let offset = u32::try_from(offset).ok().filter(|offset| *offset < 0x800).ok_or_else(|| {
        edit.refuse(format!("task_struct.thread_info.flags is at {offset:#x}, beyond the reach of one instruction"))
    })?;
    if !edit.image().symbols.has(FUNCTION) {
        return Ok((offset, 0));
    }
    let symbol = edit.image().symbol(FUNCTION)?;
    let load = 0x0002_3003 | offset << 20; // ld x0, offset(tp)
    let (mut at, end) = (symbol.address, symbol.address + symbol.size.min(0x200));
    let mut masks = Vec::new();
    while at + 8 <= end {
        let (word, next) = (edit.u32_at(at)?, edit.u32_at(at + 4)?);
        if word & !(0x1f << 7) == load
            && let Some(mask) = and_mask(next, word >> 7 & 0x1f)
        {
            masks.push(mask);
        }
        at += if word & 3 == 3 { 4 } else { 2 };
    }
    match masks.as_slice() {
        [mask] => Ok((offset, *mask)),
        _ => Err(edit.refuse(format!("{FUNCTION} tests thread_info.flags {} times, not once", masks.len()))),
    }
}

/// The mask of `andi REGISTER, REGISTER, MASK` or `c.andi REGISTER, MASK`, if the instruction that this word begins with is one.
fn and_mask(word: u32, register: u32) -> Option<u32> {
    let full = 0x7013 | register << 7 | register << 15;
    if word & 0x000f_ffff == full {
        return Some(word >> 20);
    }
    let short = 0x8801 | register.checked_sub(8)? << 7;
    (word & 0xef83 == short).then_some(word >> 2 & 0x1f | (word >> 12 & 1) << 5)
}

/// Another task, a copy of the first one, and a `__schedule` of ours that always switches to it by the real `__switch_to`. It calls
/// the marker and switches back.
///
/// ```text
///   __schedule: j harness_schedule       harness_other:
///   harness_schedule:                    1: mv   a0, s1   // the first task
///      (make a frame record)                call harness_walk_task
///      mv   a0, tp                          mv   a0, s2   // this one
///      ld   a1, the other task              mv   a1, s1
///      sd   zero, flags(tp)                 call __switch_to
///      call __switch_to                     j    1b
///      (pop it; ret)
/// ```
fn other_task(edit: &mut Edit<'_>, task: u64, walk_task: u64) -> Result<OtherTask, Error> {
    const MV_A0_TP: [u8; 2] = [0x12, 0x85];
    let new = OtherTask::copy_of(edit, task)?;
    let (other, top) = (new.task, new.stack.bounds.high);
    let switch = edit.address("__switch_to")?;
    let (flags, _) = need_resched(edit)?;
    let at = edit.next_code();
    let (high, low) = relative(at + 10, at + 40); // the other task's address is in the eight bytes behind the code
    let load = u64::from(AUIPC | 11 << 7 | high) | u64::from(0x0005_b583 | low << 20) << 32; // ld a1, LOW(a1)
    let schedule = [
        &PUSH_RECORD[..],
        &MV_A0_TP,
        &load.to_le_bytes(),
        &store_in_task(ZERO, flags),
        &call(at + 22, switch),
        &POP_RECORD,
        &NOP.to_le_bytes(),
        &other.to_le_bytes(),
    ];
    let schedule = edit.code("harness_schedule", &schedule.concat())?;
    let real = edit.address("__schedule")?;
    edit.set(real, &jump(T1, ZERO, real, schedule))?;
    let at = edit.next_code();
    let body = [
        &[0x26, 0x85][..], // mv a0, s1
        &call(at + 2, walk_task),
        &[0x4a, 0x85, 0xa6, 0x85], // mv a0, s2; mv a1, s1
        &call(at + 14, switch),
        &J_BACK_22,
    ];
    let body = edit.code("harness_other", &body.concat())?;
    let context = |edit: &Edit<'_>, member: &str| {
        edit.offset("task_struct", &format!("thread.{member}")).map(|offset| other + offset)
    };
    let (ra, sp, saved) = (context(edit, "ra")?, context(edit, "sp")?, context(edit, "s")?);
    let pt_regs = top - edit.size("pt_regs")?.next_multiple_of(16);
    for (at, value) in [(ra, body), (sp, pt_regs), (saved, 0), (saved + 8, task), (saved + 16, other)] {
        edit.set_u64(at, value)?;
    }
    Ok(new)
}

impl OfCpu for Riscv64 {
    fn scratch(&self) -> u64 {
        0xffff_ffd0_0000_0000
    }

    fn set_up(&self, edit: &mut Edit<'_>, function: u64, arguments: &[u64]) -> Result<Running, Error> {
        let task = edit.address("init_task")?;
        let stack = edit.u64_at(task + edit.offset("task_struct", "stack")?)?;
        let pt_regs_size = edit.size("pt_regs")?.next_multiple_of(16); // PT_SIZE_ON_STACK
        let fork = Fork::found(edit)?;
        fork.end_here(edit)?;
        let root = edit.code("harness_root", &caller(T4))?;
        let middle = edit.code("harness_middle", &caller(T3))?;
        let walk_here = edit.code("harness_walk_here", &RET)?;
        let walk_task = edit.code("harness_walk_task", &RET)?;
        edit.set_u64(edit.address("handle_arch_irq")?, walk_here)?;
        catch_faults(edit, walk_here)?;
        let other = other_task(edit, task, walk_task)?;
        let mut stacks = irq_and_overflow_stacks(edit, OVERFLOW_STACK_SIZE)?;
        let other_low = other.stack.bounds.low;
        stacks.push(other.stack);
        edit.set_u32(task + edit.offset("task_struct", "thread_info.preempt_count")?, 0)?;
        let (flags, need_resched) = need_resched(edit)?;
        let registers = arguments.iter().zip(A0.0..).map(|(value, number)| (Register(number), *value));
        // copy_thread leaves the thread's function in s0, through which some kernels call it.
        let through = (fork.through, root.wrapping_add_signed(-fork.offset));
        let in_s0 = (S0, if fork.through == S0 { root } else { middle });
        let callees = [(T4, middle), (T3, function), in_s0].into_iter().chain((fork.through != S0).then_some(through));
        let mut vectors = Vectors::default();
        vectors.set(Vector::Table, "handle_exception", Some(edit.address("handle_exception")?));
        let context = |member: &str| edit.offset("task_struct", &format!("thread.{member}"));
        let in_thread_info = |member: &str| edit.offset("task_struct", &format!("thread_info.{member}"));
        let entry_words = ENTRY_WORDS.iter().map(|member| in_thread_info(member)).collect::<Result<Vec<_>, _>>()?;
        let later_words = LATER_ENTRY_WORDS.iter().filter_map(|member| in_thread_info(member).ok());
        let entry_words = entry_words.into_iter().chain(later_words).map(|offset| task + offset);
        let exception_text = edit.address("handle_exception")?..edit.address("ret_from_exception_end")?;
        Ok(Running {
            start: StartState {
                thread: None,
                pc: fork.call,
                registers: registers.chain(callees).collect(),
                task,
                constant: vec![(GP, edit.address("__global_pointer$")?), (TP, task)],
            },
            sp: stack + THREAD_SIZE - pt_regs_size,
            sentinel: fork.end,
            stacks,
            vectors,
            walk_here,
            walk_task,
            other_task: Some(other.task),
            need_resched: (task + u64::from(flags), u64::from(need_resched)),
            context: SavedContext::InTask {
                pc: context("ra")?,
                registers: vec![(S0, context("s")?), (SP, context("sp")?)],
            },
            saved_pc: Some(edit.offset("pt_regs", "epc")?.wrapping_sub(pt_regs_size).cast_signed()),
            exception_text: std::iter::once(exception_text).collect(),
            moved_returns: Vec::new(),
            nesting: nesting(edit)?,
            unsettled: entry_words.map(|word| word..word + 8).collect(),
            known: KnownTask { register: Some(TP), word: None, at_firmware_event: None },
            special: Special::default(),
            words: vec![(other_low, super::STACK_END_MAGIC)],
        })
    }

    fn instruction_align(&self) -> u64 {
        2
    }

    fn capabilities(&self, image: &KernelImage) -> Result<Vec<(String, u16)>, Error> {
        let reason =
            "alternatives are as linked: all are for extensions that the emulated CPU does not have, or for errata";
        Err(refused(&image.path, reason.to_owned()))
    }

    /// ```text
    ///   harness_enter: call pc
    ///                  jump where the run ends, through t1
    /// ```
    fn begin_at(
        &self,
        edit: &mut Edit<'_>,
        running: &mut Running,
        pc: u64,
        given: &[(Register, u64)],
    ) -> Result<(), Error> {
        let at = edit.next_code();
        let code = [call(at, pc), jump(T1, ZERO, at + 8, running.sentinel)].concat();
        running.start.pc = edit.code("harness_enter", &code)?;
        running.keep_frame_pointer(S0, given);
        Ok(())
    }

    /// The four short nops of a function become `auipc t0, HIGH; jalr t0, LOW(t0)`, a call of `ftrace_caller`. With
    /// CONFIG_DYNAMIC_FTRACE_WITH_CALL_OPS (arch/riscv/kernel/ftrace.c) the literal in front of the function is the ops. Without, the
    /// call in `ftrace_caller` leads to the ops' function.
    fn trace(&self, edit: &mut Edit<'_>, function: u64) -> Result<(), Error> {
        for at in (function..function + 8).step_by(2) {
            if u16::from_le_bytes(edit.bytes(at)?) != NOP {
                let name = edit.image().symbols.name(function);
                return Err(edit.refuse(format!("{name} does not begin with the four short nops of ftrace")));
            }
        }
        if !edit.image().symbols.has("ftrace_call") {
            let ops = edit.address("graph_ops")?;
            edit.set_u64(function - 8, ops)?;
        }
        let caller = edit.address("ftrace_caller")?;
        edit.set(function, &jump(T0, T0, function, caller))
    }

    /// Without CONFIG_DYNAMIC_FTRACE_WITH_CALL_OPS: `ftrace_call` calls nothing until a user is there (kernel/trace/ftrace.c,
    /// update_ftrace_function).
    fn call_tracer(&self, edit: &mut Edit<'_>, _: u64, _: (u64, u64)) -> Result<(), Error> {
        if !edit.image().symbols.has("ftrace_call") {
            return Ok(());
        }
        let at = edit.address("ftrace_call")?;
        if edit.bytes::<8>(at)? != call(at, edit.address("ftrace_stub")?) {
            return Err(edit.refuse("ftrace_call is not a call of ftrace_stub"));
        }
        let (ops, word) = (edit.address("graph_ops")?, edit.address("function_trace_op")?);
        edit.set_u64(word, ops)?;
        let target = edit.address("ftrace_graph_func")?;
        edit.set(at, &call(at, target))
    }

    fn consume(&self) -> Vec<u8> {
        vec![
            0x83, 0x32, 0x05, 0x00, // ld t0, 0(a0)
            0x23, 0xb0, 0xb2, 0x00, // sd a1, 0(t0)
            0xa1, 0x02, // addi t0, t0, 8
            0x23, 0x30, 0x55, 0x00, // sd t0, 0(a0)
            0x05, 0x45, // li a0, 1
            0x82, 0x80, // ret
        ]
    }

    fn graph_callbacks(&self, edit: &Edit<'_>, preempts: bool) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let (flags, mask) = need_resched(edit)?;
        if preempts && mask == 0 {
            return Err(edit.refuse("it cannot be preempted in the kernel"));
        }
        let load = (0x0000_0293 | mask << 20).to_le_bytes(); // li t0, MASK
        let ask = if preempts { [load, store_in_task(T0, flags)].concat() } else { Vec::new() };
        Ok(([&ask[..], &[0x05, 0x45], &RET].concat(), [&ask[..], &RET].concat())) // li a0, 1; ret
    }

    fn compares(&self) -> Vec<u8> {
        vec![
            0x03, 0x66, 0x05, 0x00, // lwu a2, 0(a0)
            0x83, 0xe5, 0x05, 0x00, // lwu a1, 0(a1)
            0x33, 0xb5, 0xc5, 0x00, // sltu a0, a1, a2
            0xb3, 0x35, 0xb6, 0x00, // sltu a1, a2, a1
            0x0d, 0x8d, // sub a0, a0, a1
            0x82, 0x80, // ret
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed;
    use super::*;

    #[track_caller]
    fn shows(code: &[u8], lines: &[&str]) {
        assert_eq!(listed("riscv64", 0x1000, code), lines);
    }

    #[test]
    fn the_functions_of_ours_are_what_their_comments_say() {
        let record = ["c.addi sp, -0x10", "c.sdsp ra, 8(sp)", "c.sdsp s0, 0(sp)", "c.addi4spn s0, sp, 0x10"];
        let pop = ["c.ldsp ra, 8(sp)", "c.ldsp s0, 0(sp)", "c.addi sp, 0x10", "c.jr ra"];
        shows(&caller(T3), &[&record[..], &["c.jalr t3"], &pop].concat());
        shows(&caller(T4), &[&record[..], &["c.jalr t4"], &pop].concat());
        shows(
            &Riscv64.consume(),
            &["ld t0, 0(a0)", "sd a1, 0(t0)", "c.addi t0, 8", "sd t0, 0(a0)", "c.li a0, 1", "c.jr ra"],
        );
        shows(
            &Riscv64.compares(),
            &["lwu a2, 0(a0)", "lwu a1, 0(a1)", "sltu a0, a1, a2", "sltu a1, a2, a1", "c.sub a0, a1", "c.jr ra"],
        );
        shows(&[&NOP.to_le_bytes()[..], &RET].concat(), &["c.nop", "c.jr ra"]);
        shows(&J_BACK_22, &["c.j -0x16"]);
    }

    #[test]
    fn jumps_reach_their_targets() {
        shows(&call(0x1000, 0x1000), &["auipc ra, 0", "jalr ra"]);
        shows(&call(0x1000, 0x17fe), &["auipc ra, 0", "jalr ra, ra, 0x7fe"]);
        shows(&call(0x1000, 0x1800), &["auipc ra, 1", "jalr ra, ra, -0x800"]);
        shows(&call(0x1000, 0x0ffe), &["auipc ra, 0", "jalr ra, ra, -2"]);
        shows(&call(0x1_0000_1000, 0x1000_0ffe), &["auipc ra, 0x10000", "jalr ra, ra, -2"]);
        shows(&jump(T0, T0, 0x1000, 0x3004), &["auipc t0, 2", "jalr t0, t0, 4"]);
        shows(&jump(T1, ZERO, 0x1000, 0x3004), &["auipc t1, 2", "jalr zero, t1, 4"]);
        shows(&[store_in_task(ZERO, 0), store_in_task(T0, 0x7e8)].concat(), &["sd zero, 0(tp)", "sd t0, 0x7e8(tp)"]);
    }

    #[test]
    fn masks_are_read_from_both_forms() {
        let a5 = 15;
        assert_eq!(and_mask(0x0000_8bc1, a5), Some(16), "c.andi a5, 16");
        assert_eq!(and_mask(0xffff_8bc1, a5), Some(16), "whatever follows");
        assert_eq!(and_mask(0x0000_8bc1, 14), None, "of another register");
        assert_eq!(and_mask(0x0407_f793, a5), Some(64), "andi a5, a5, 64");
        assert_eq!(and_mask(0x0407_7793, a5), None, "andi a5, a4, 64");
        assert_eq!(and_mask(0x0000_8fd1, a5), None, "another operation");
        assert_eq!(and_mask(0x0000_8bc1, 5), None, "no register of a short form");
    }
}
