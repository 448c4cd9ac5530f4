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

use super::edit::Edit;
use super::{OfCpu, Running, THREAD_SIZE};
use crate::Error;
use crate::cpu::{FlowKind, Register};
use crate::guest::StartState;
use crate::guest::conventions::{KnownTask, SavedContext, StackRole, Vector, Vectors};
use crate::guest::layout::Stack;

pub(super) struct Riscv64;

const RA: Register = Register(1);
const SP: Register = Register(2);
const GP: Register = Register(3);
const TP: Register = Register(4);
const S0: Register = Register(8);
const A0: Register = Register(10);
const T3: Register = Register(28);
const T4: Register = Register(29);
/// `c.nop`.
const NOP: u16 = 0x0001;
/// `jalr ra, 0(ra)` without its offset, and which of its bits are the opcode and the registers.
const JALR_RA_RA: u32 = 0x0000_80e7;
const JALR_FIXED: u32 = 0x000f_ffff;
/// `auipc t0, 0` and `jalr t0, 0(t0)`.
const AUIPC_T0: u32 = 0x0000_0297;
const JALR_T0_T0: u32 = 0x0002_82e7;
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
/// `ret`.
const RET: [u8; 2] = [0x82, 0x80];

/// A function with a frame record that calls the function in this register.
fn caller(register: Register) -> Vec<u8> {
    let jalr = 0x9002 | u16::from(register.0) << 7; // c.jalr
    [&PUSH_RECORD[..], &jalr.to_le_bytes(), &POP_RECORD].concat()
}

/// The call of the thread's C code in `ret_from_fork_kernel_asm`: its last. Returns the address of its `jalr ra, OFFSET(ra)`, and the
/// offset.
fn call_of_fork(edit: &Edit<'_>) -> Result<(u64, i64), Error> {
    const FUNCTION: &str = "ret_from_fork_kernel_asm";
    let symbol = edit.image().symbol(FUNCTION)?;
    let cpu = edit.image().cpu;
    let (mut at, end) = (symbol.address, symbol.address + symbol.size.min(0x100));
    let mut call = None;
    while at + 2 <= end {
        let bytes = edit.bytes::<2>(at)?;
        let size = if bytes[0] & 3 == 3 { 4 } else { 2 };
        if size == 4 && at + 4 <= end && cpu.flow(at, &edit.bytes::<4>(at)?).kind == FlowKind::Call {
            call = Some(at);
        }
        at += size;
    }
    let refuse = || edit.refuse(format!("{FUNCTION} does not call the thread's function by `jalr ra, OFFSET(ra)`"));
    let call = call.ok_or_else(refuse)?;
    let word = edit.u32_at(call)?;
    if word & JALR_FIXED != JALR_RA_RA {
        return Err(refuse());
    }
    Ok((call, i64::from(word.cast_signed() >> 20)))
}

/// Behind the call is a jump to `ret_from_exception`, through which every exception leaves, so that a run cannot end there. It ends
/// behind that jump, which goes nowhere. Returns the address.
fn end_behind(edit: &mut Edit<'_>, jump: u64) -> Result<u64, Error> {
    let bytes = edit.bytes::<4>(jump)?;
    let flow = edit.image().cpu.flow(jump, &bytes);
    if (flow.kind, flow.target) != (FlowKind::Jump, Some(edit.address("ret_from_exception")?)) {
        let name = edit.image().symbols.name(jump);
        return Err(edit.refuse(format!("{name} is not the jump to ret_from_exception")));
    }
    let end = jump + if bytes[0] & 3 == 3 { 4 } else { 2 };
    for at in (jump..end).step_by(2) {
        edit.set(at, &NOP.to_le_bytes())?;
    }
    Ok(end)
}

impl OfCpu for Riscv64 {
    fn scratch(&self) -> u64 {
        0xffff_ffd0_0000_0000
    }

    fn set_up(&self, edit: &mut Edit<'_>, function: u64, arguments: &[u64]) -> Result<Running, Error> {
        let task = edit.address("init_task")?;
        let stack = edit.u64_at(task + edit.offset("task_struct", "stack")?)?;
        let pt_regs_size = edit.size("pt_regs")?.next_multiple_of(16); // PT_SIZE_ON_STACK
        let (call, offset) = call_of_fork(edit)?;
        let sentinel = end_behind(edit, call + 4)?;
        let root = edit.code("harness_root", &caller(T4))?;
        let middle = edit.code("harness_middle", &caller(T3))?;
        let walk_here = edit.code("harness_walk_here", &RET)?;
        let walk_task = edit.code("harness_walk_task", &RET)?;
        edit.set_u64(edit.address("handle_arch_irq")?, walk_here)?;
        let stacks = stacks(edit)?;
        let registers = arguments.iter().zip(A0.0..).map(|(value, number)| (Register(number), *value));
        let callees = [(RA, root.wrapping_add_signed(-offset)), (S0, middle), (T4, middle), (T3, function)];
        let mut vectors = Vectors::default();
        vectors.set(Vector::Table, "handle_exception", Some(edit.address("handle_exception")?));
        let context = |member: &str| edit.offset("task_struct", &format!("thread.{member}"));
        let in_thread_info = |member: &str| edit.offset("task_struct", &format!("thread_info.{member}")).map(|it| task + it);
        let entry_words = ENTRY_WORDS.iter().map(|member| in_thread_info(member)).collect::<Result<Vec<_>, _>>()?;
        let later_words = LATER_ENTRY_WORDS.iter().filter_map(|member| in_thread_info(member).ok());
        Ok(Running {
            start: StartState {
                pc: call,
                registers: registers.chain(callees).collect(),
                task,
                constant: vec![(GP, edit.address("__global_pointer$")?), (TP, task)],
            },
            sp: stack + THREAD_SIZE - pt_regs_size,
            sentinel,
            stacks,
            vectors,
            walk_here,
            walk_task,
            context: SavedContext::InTask {
                pc: context("ra")?,
                registers: vec![(S0, context("s")?), (SP, context("sp")?)],
            },
            saved_pc: Some(edit.offset("pt_regs", "epc")?.wrapping_sub(pt_regs_size).cast_signed()),
            exception_text: vec![edit.address("handle_exception")?..edit.address("ret_from_exception_end")?],
            moved_returns: Vec::new(),
            nesting: Vec::new(),
            entry_words: entry_words.into_iter().chain(later_words).collect(),
            known: KnownTask { register: Some(TP), at_firmware_event: None },
            words: Vec::new(),
        })
    }

    /// With CONFIG_DYNAMIC_FTRACE_WITH_CALL_OPS (arch/riscv/kernel/ftrace.c): the literal in front of the function is the ops, and
    /// its four short nops become `auipc t0, HIGH; jalr t0, LOW(t0)`, a call of `ftrace_caller`.
    fn trace(&self, edit: &mut Edit<'_>, function: u64) -> Result<(), Error> {
        for at in (function..function + 8).step_by(2) {
            if u16::from_le_bytes(edit.bytes(at)?) != NOP {
                let name = edit.image().symbols.name(function);
                return Err(edit.refuse(format!("{name} does not begin with the four short nops of ftrace")));
            }
        }
        let ops = edit.address("graph_ops")?;
        edit.set_u64(function - 8, ops)?;
        let distance = edit.address("ftrace_caller")?.wrapping_sub(function) as u32;
        // jalr adds its offset as a signed number, so that the other part is rounded.
        let high = distance.wrapping_add(0x800) & 0xffff_f000;
        edit.set_u32(function, AUIPC_T0 | high)?;
        edit.set_u32(function + 4, JALR_T0_T0 | distance << 20)
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

    fn returns_one(&self) -> Vec<u8> {
        vec![0x05, 0x45, 0x82, 0x80] // li a0, 1; ret
    }

    fn returns(&self) -> Vec<u8> {
        RET.to_vec()
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

/// The CPU's stacks. The IRQ's is aligned to twice its size, as VMAP_STACK has it: `handle_exception` tests one bit of SP for an
/// overflow.
fn stacks(edit: &mut Edit<'_>) -> Result<Vec<Stack>, Error> {
    let bounds = |low, size| kunwind::StackBounds { low, high: low + size };
    let irq = edit.allocate(2 * THREAD_SIZE, 2 * THREAD_SIZE)?;
    edit.set_u64(edit.address("irq_stack_ptr")?, irq)?;
    let overflow = edit.address("overflow_stack")?;
    let stack = |name: &str, bounds| Stack { name: name.to_owned(), bounds, role: StackRole::Kernel };
    Ok(vec![
        stack("irq", bounds(irq, THREAD_SIZE)),
        stack("overflow", bounds(overflow, OVERFLOW_STACK_SIZE)),
    ])
}
