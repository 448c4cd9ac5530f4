//! What a walk is told of the task whose stack it walks.

use kunwind::{Register, RetStack, StackBounds, Task};

use super::record::Recorder;
use crate::machine::Memory;
use crate::oracle::{LiveWords, Sight, Truth, displaced};
use crate::prepared::Prepared;

/// Where a new task begins (guests/KERNEL.md).
const FORK_ENTRY: &str = "ret_from_fork_asm";

/// The stacks that a walk of this task may be offered: its own, and the CPU's, but none of another task or of user mode.
pub(super) fn offered(prepared: &Prepared, memory: &Memory, task: Task, with_cpu: bool) -> Vec<StackBounds> {
    let of_others: Vec<Option<u64>> = ["task_boot", "task_other"]
        .iter()
        .filter_map(|symbol| prepared.guest.symbols.address(symbol))
        .map(|address| memory.read_u64(address))
        .collect();
    let is_cpus = |name: &str, bounds: StackBounds| name != "user" && !of_others.contains(&Some(bounds.low));
    let stacks = prepared.layout.stacks.iter();
    let cpus = stacks.filter(|stack| with_cpu && is_cpus(&stack.name, stack.bounds)).map(|stack| stack.bounds);
    [task.stack].into_iter().chain(cpus).collect()
}

/// What an unwinder knows of the task whose structure is at this address.
pub(super) fn task(prepared: &Prepared, memory: &Memory, address: u64) -> Option<Task> {
    let guest = &prepared.guest;
    let stack = StackBounds { low: memory.read_u64(address)?, high: memory.read_u64(address + 8)? };
    let of_task = |list: &str| {
        let names = [("task_boot", "boot"), ("task_other", "other")];
        let (_, name) = names.iter().find(|(task, _)| guest.symbols.address(task) == Some(address))?;
        guest.symbols.address(&format!("{list}_{name}"))
    };
    let ret_stack = of_task("ret_stack").and_then(|at| {
        let entry_words = guest.arch.abi().ret_stack_entry_words;
        Some(RetStack { words: at + 8, index: memory.read_u64(at)?, entry_words })
    });
    let fork_entry = guest.symbols.address(FORK_ENTRY);
    Some(Task { stack, ret_stack, rethooks: of_task("rethooks"), fork_entry })
}

/// The registers of a task, as far as they are known.
pub(super) type Registers<'a> = &'a dyn Fn(Register) -> Option<u64>;

/// What is to be known of stack words in a guest that rewrites return addresses; nothing in others.
pub(super) fn live_words(prepared: &Prepared) -> Option<LiveWords> {
    let has_list = |list: &&str| prepared.guest.symbols.address(list).is_some();
    ["ret_stack_boot", "rethooks_boot"].iter().any(has_list).then(|| LiveWords::new(&prepared.layout))
}

/// Notes at a site's last arrival where the youngest return address of a task is that is neither in its frame nor in a link
/// register, in guests that rewrite some.
pub(super) fn locate(
    recorder: &mut Recorder<'_>,
    live: Option<&LiveWords>,
    site: usize,
    memory: &Memory,
    address: u64,
    truth: &Truth,
    register: Registers<'_>,
) {
    let prepared = recorder.prepared;
    let Some((live, task)) = live.zip(task(prepared, memory, address)) else { return };
    let abi = prepared.guest.arch.abi();
    let sight = Sight {
        arch: prepared.guest.arch,
        layout: &prepared.layout,
        memory,
        live,
        register,
        fp: abi.fp,
        record: abi.frame_record.offset_from_fp,
        ret_stack: task.ret_stack.map(|stack| (stack.words, stack.index)),
        rethooks: task.rethooks,
        is_gone: &|activation| recorder.is_gone(activation),
    };
    if let Some(found) = displaced(truth, &sight) {
        recorder.locates(site, &found, truth);
    }
}
