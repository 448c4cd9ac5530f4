//! arm64: a kernel thread that `ret_from_fork` has started (arch/arm64/kernel/entry.S, process.c).
//!
//! ```text
//!   top of the task's stack  ->  +------------------------+
//!                                | pt_regs                |
//!                                |   .stackframe: {0, 0}, | <- x29: the final record (copy_thread in process.c)
//!                                |   FRAME_META_TYPE_FINAL|
//!   SP                       ->  +------------------------+
//!                                | harness_root           |  called by `blr x19` of ret_from_fork
//!                                | harness_middle         |
//!                                | the function           |
//! ```

mod alternatives;
mod tasks;

use super::super::KernelImage;
use super::edit::Edit;
use super::{OfCpu, Running, Special, THREAD_SIZE, irq_and_overflow_stacks};
use crate::Error;
use crate::cpu::Register;
use crate::guest::StartState;
use crate::guest::conventions::{KnownTask, SavedContext, Vector, Vectors};

use tasks::{branch, has_flag, need_resched, other_task, sdei, wanted};

pub(super) struct Arm64;

/// `blr x19`.
const BLR_X19: u32 = 0xd63f_0260;
const NOP: u32 = 0xd503_201f;
const RET: u32 = 0xd65f_03c0;
/// `mov x9, x30`.
const MOV_X9_LR: u32 = 0xaa1e_03e9;
/// `bl` and `b` to themselves.
const BL: u32 = 0x9400_0000;
const B: u32 = 0x1400_0000;
const FP: Register = Register(29);
/// `stp x29, x30, [sp, #-16]!; mov x29, sp`.
const PUSH_RECORD: [u32; 2] = [0xa9bf_7bfd, 0x9100_03fd];
/// `ldp x29, x30, [sp], #16; ret`.
const POP_RECORD: [u32; 2] = [0xa8c1_7bfd, RET];
/// arch/arm64/include/asm/stacktrace/frame.h: FRAME_META_TYPE_FINAL.
const META_TYPE_FINAL: u64 = 1;
/// arch/arm64/include/asm/memory.h: OVERFLOW_STACK_SIZE.
const OVERFLOW_STACK_SIZE: u64 = 4096;
/// What an interrupt's exit looks at: bit 1 (arch/arm64/include/asm/thread_info.h), or 4 should arm64 come to share
/// include/asm-generic/thread_info_tif.h. The other one means a probe or a signal, at which only returns to user mode look.
const TIF_NEED_RESCHED: u64 = 1 << 1 | 1 << 4;
/// include/linux/preempt.h and arch/arm64/include/asm/preempt.h: the upper half of preempt_count is 0 if a reschedule is wanted.
const NO_RESCHEDULE: u64 = 1 << 32;

/// A function with a frame record that calls the function in this register.
fn caller(register: u32) -> [u32; 5] {
    let blr = 0xd63f_0000 | register << 5;
    [PUSH_RECORD[0], PUSH_RECORD[1], blr, POP_RECORD[0], POP_RECORD[1]]
}

/// `movz xN, #value; movk xN, #value >> 16, lsl #16; ..`.
fn load(register: u8, value: u64) -> [u32; 4] {
    let [low, mid, high, top] = [0, 16, 32, 48].map(|shift| (value >> shift & 0xffff) as u32);
    [0xd280_0000 | low << 5, 0xf2a0_0000 | mid << 5, 0xf2c0_0000 | high << 5, 0xf2e0_0000 | top << 5]
        .map(|word| word | u32::from(register))
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Finds the only instruction of a function that equals this one.
fn find(edit: &Edit<'_>, function: &str, instruction: u32) -> Result<u64, Error> {
    let symbol = edit.image().symbol(function)?;
    let mut found = Vec::new();
    for at in (symbol.address..symbol.address + symbol.size.min(0x1000)).step_by(4) {
        if edit.u32_at(at)? == instruction {
            found.push(at);
        }
    }
    match found.as_slice() {
        [at] => Ok(*at),
        _ => Err(edit.refuse(format!("{function} has {} instructions {instruction:#x}, not one", found.len()))),
    }
}

impl OfCpu for Arm64 {
    fn scratch(&self) -> u64 {
        0xffff_7f00_0000_0000
    }

    fn capabilities(&self, image: &KernelImage) -> Result<Vec<(String, u16)>, Error> {
        alternatives::capabilities(image)
    }

    fn set_up(&self, edit: &mut Edit<'_>, function: u64, arguments: &[u64]) -> Result<Running, Error> {
        let task = edit.address("init_task")?;
        let stack = edit.u64_at(task + edit.offset("task_struct", "stack")?)?;
        let pt_regs = stack + THREAD_SIZE - edit.size("pt_regs")?;
        let record = pt_regs + edit.offset("pt_regs", "stackframe")?;
        let call = find(edit, "ret_from_fork", BLR_X19)?;
        alternatives::finalize(edit, &edit.alternatives.clone())?;
        let preempt_count = task + edit.offset("task_struct", "thread_info.preempt_count")?;
        edit.set_u64(preempt_count, NO_RESCHEDULE)?;
        if let Ok(word) = edit.address("__entry_task") {
            edit.set_u64(word, task)?;
        }
        let root = edit.code("harness_root", &bytes(&caller(20)))?;
        let middle = edit.code("harness_middle", &bytes(&caller(21)))?;
        let walk_here = edit.code("harness_walk_here", &bytes(&[0xd280_0000, RET]))?; // mov x0, #0; ret
        let walk_task = edit.code("harness_walk_task", &bytes(&[RET]))?;
        let (other, words_of_other) = other_task(edit, task, walk_task)?;
        edit.set_u64(edit.address("handle_arch_irq")?, walk_here)?;
        let mut stacks = irq_and_overflow_stacks(edit, OVERFLOW_STACK_SIZE)?;
        stacks.push(other.stack);
        let event = sdei(edit, walk_here, &mut stacks)?;
        let registers = arguments.iter().zip(0..).map(|(value, number)| (Register(number), *value));
        let callees = [(Register(19), root), (Register(20), middle), (Register(21), function), (FP, record)];
        let mut vectors = Vectors::default();
        vectors.set(Vector::Table, "vectors", Some(edit.address("vectors")?));
        vectors.set(Vector::SdeiHandler, "__sdei_asm_handler", event.and(edit.address("__sdei_asm_handler").ok()));
        vectors.set(Vector::SdeiArgument, "sdei_event_handler", event);
        let context = |member: &str| edit.offset("task_struct", &format!("thread.cpu_context.{member}"));
        Ok(Running {
            start: StartState {
                pc: call,
                registers: registers.chain(callees).collect(),
                task,
                constant: Vec::new(),
                thread: None,
            },
            sp: pt_regs,
            sentinel: call + 8,
            stacks,
            vectors,
            walk_here,
            walk_task,
            other_task: Some(other.task),
            need_resched: wanted(edit, task)?,
            context: SavedContext::InTask {
                pc: context("pc")?,
                registers: vec![(FP, context("fp")?), (Register(31), context("sp")?)],
            },
            saved_pc: Some(edit.offset("pt_regs", "pc")?.wrapping_sub(edit.size("pt_regs")?).cast_signed()),
            exception_text: Vec::new(),
            moved_returns: Vec::new(),
            nesting: Vec::new(),
            unsettled: (!has_flag(edit)).then_some(preempt_count..preempt_count + 8).into_iter().collect(),
            known: KnownTask { register: None, word: None, at_firmware_event: edit.address("__entry_task").ok() },
            words: [(record, 0), (record + 8, 0), (record + 16, META_TYPE_FINAL)]
                .into_iter()
                .chain(words_of_other)
                .collect(),
            special: Special::default(),
        })
    }

    fn can_schedule(&self) -> bool {
        true
    }

    fn instruction_align(&self) -> u64 {
        4
    }

    /// ```text
    ///   harness_enter: bl pc
    ///                  b  where the run ends
    /// ```
    fn begin_at(
        &self,
        edit: &mut Edit<'_>,
        running: &mut Running,
        pc: u64,
        given: &[(Register, u64)],
    ) -> Result<(), Error> {
        let at = edit.next_code();
        let code = [branch(BL, at, pc), branch(B, at + 4, running.sentinel)];
        running.start.pc = edit.code("harness_enter", &bytes(&code))?;
        running.keep_frame_pointer(FP, given);
        Ok(())
    }

    /// With CONFIG_DYNAMIC_FTRACE_WITH_CALL_OPS (arch/arm64/kernel/ftrace.c): the literal in front of the function is the ops, and
    /// its two nops, which may follow a `bti c`, become `mov x9, x30; bl ftrace_caller`.
    fn trace(&self, edit: &mut Edit<'_>, function: u64) -> Result<(), Error> {
        let first = if edit.u32_at(function)? == NOP { function } else { function + 4 };
        if (edit.u32_at(first)?, edit.u32_at(first + 4)?) != (NOP, NOP) {
            let name = edit.image().symbols.name(function);
            return Err(edit.refuse(format!("{name} does not begin with the two nops of ftrace")));
        }
        let call = first + 4;
        let ops = edit.address("graph_ops")?;
        edit.set_u64((call - 12) & !7, ops)?;
        let distance = edit.address("ftrace_caller")?.wrapping_sub(call) >> 2;
        edit.set_u32(first, MOV_X9_LR)?;
        edit.set_u32(call, BL | distance as u32 & 0x03ff_ffff)
    }

    fn consume(&self) -> Vec<u8> {
        // ldr x9, [x0]; str x1, [x9], #8; str x9, [x0]; mov w0, #1; ret
        bytes(&[0xf940_0009, 0xf800_8521, 0xf900_0009, 0x5280_0020, RET])
    }

    fn graph_callbacks(&self, edit: &Edit<'_>, preempts: bool) -> Result<(Vec<u8>, Vec<u8>), Error> {
        // mrs x1, sp_el0; str wzr, [x1, #offset]
        let ask = [0xd538_4101, 0xb900_003f | need_resched(edit)? << 10];
        let ask: &[u32] = if preempts { &ask } else { &[] };
        let (entry, exit) = ([ask, &[0x5280_0020, RET]].concat(), [ask, &[RET]].concat()); // mov w0, #1; ret
        Ok((bytes(&entry), bytes(&exit)))
    }

    fn compares(&self) -> Vec<u8> {
        // ldr w0, [x0]; ldr w1, [x1]; cmp w0, w1; cset w0, hi; csinv w0, w0, wzr, hs; ret
        bytes(&[0xb940_0000, 0xb940_0021, 0x6b01_001f, 0x1a9f_97e0, 0x5a9f_2000, RET])
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed;
    use super::*;

    #[track_caller]
    fn shows(code: &[u32], lines: &[&str]) {
        assert_eq!(listed("arm64", 0x1000, &bytes(code)), lines);
    }

    #[test]
    fn the_functions_of_ours_are_what_their_comments_say() {
        let push = ["stp x29, x30, [sp, #-0x10]!", "mov x29, sp"];
        let pop = ["ldp x29, x30, [sp], #0x10", "ret"];
        shows(&caller(20), &[&push[..], &["blr x20"], &pop].concat());
        shows(&caller(21), &[&push[..], &["blr x21"], &pop].concat());
        shows(&[BLR_X19, NOP, MOV_X9_LR], &["blr x19", "nop", "mov x9, x30"]);
        assert_eq!(
            listed("arm64", 0x1000, &Arm64.consume()),
            ["ldr x9, [x0]", "str x1, [x9], #8", "str x9, [x0]", "mov w0, #1", "ret"]
        );
        assert_eq!(
            listed("arm64", 0x1000, &Arm64.compares()),
            ["ldr w0, [x0]", "ldr w1, [x1]", "cmp w0, w1", "cset w0, hi", "csinv w0, w0, wzr, hs", "ret"]
        );
    }

    #[test]
    fn branches_reach_their_targets() {
        shows(&[branch(BL, 0x1000, 0x3000)], &["bl #0x3000"]);
        shows(&[branch(BL, 0x1000, 0x0800)], &["bl #0x800"]);
        shows(&[branch(0x1400_0000, 0x1000, 0x1000)], &["b #0x1000"]);
    }
}
