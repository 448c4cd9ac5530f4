//! Recovery of return addresses from return hooks where the cookie is the address of the slot on the stack: x86-64
//! (arch/x86/include/asm/unwind.h of Linux v7.3), riscv64's mainline walk, which asks the graph tracer alone
//! (arch/riscv/kernel/stacktrace.c), and what our own remedies do instead. Where the slot is, the unwinders know.

use crate::error::Error;
use crate::state::WalkState;
use crate::target::{ReturnHook, Target, Trampoline};

/// `ftrace_graph_ret_addr`: the original of the address in this slot. One that the ret_stack does not hold stays as it
/// is.
pub(super) fn recover_fgraph(pc: u64, slot: u64, state: &mut WalkState, target: &(impl Target + ?Sized)) -> u64 {
    match Trampoline::starting_at(pc, target) {
        Some(trampoline) if trampoline.hook == ReturnHook::Fgraph => {
            state.return_hooks.fgraph(&trampoline, mutant!("slot-cookie-high", slot, slot + 8), target).unwrap_or(pc)
        }
        _ => pc,
    }
}

/// `unwind_recover_rethook`: the same for rethooks, but an address that no node holds ends the walk.
pub(super) fn recover_rethook(
    pc: u64,
    slot: u64,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<u64, Error> {
    match Trampoline::starting_at(pc, target) {
        Some(trampoline) if trampoline.hook == ReturnHook::Rethook => {
            mutant!(
                "rethook-lost-goes-on",
                state.return_hooks.rethook(&trampoline, slot, target),
                state.return_hooks.rethook(&trampoline, slot, target).or(Ok(pc))
            )
        }
        _ => Ok(pc),
    }
}

/// `unwind_recover_ret_addr`.
pub(super) fn recover(
    pc: u64,
    slot: u64,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<u64, Error> {
    let pc = recover_fgraph(pc, slot, state, target);
    recover_rethook(pc, slot, state, target)
}

/// For [`Fix::RetStack`](crate::Fix::RetStack): the same, repeated for its result, because one return hook may hold the
/// trampoline of the other; a result that is still a trampoline ends the walk.
pub(super) fn recover_or_refuse(
    pc: u64,
    slot: u64,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<u64, Error> {
    let mut pc = pc;
    for _ in 0..mutant!("hooks-asked-once", 2, 1) {
        pc = match Trampoline::starting_at(pc, target) {
            None => return Ok(pc),
            Some(trampoline) if trampoline.hook == ReturnHook::Fgraph => {
                state.return_hooks.fgraph_complete(&trampoline, slot, target)?
            }
            Some(trampoline) => state.return_hooks.rethook(&trampoline, slot, target)?,
        };
    }
    if mutant!("circle-of-hooks-accepted", Trampoline::starting_at(pc, target).is_some(), false) {
        Err(Error::Unrecovered(pc))
    } else {
        Ok(pc)
    }
}

/// `return_to_handler`, if this pc is strictly inside it.
pub(super) fn inside_of_tracer(pc: u64, target: &(impl Target + ?Sized)) -> Option<Trampoline> {
    target.trampoline(pc).filter(|trampoline| {
        trampoline.hook == ReturnHook::Fgraph && mutant!("start-counts-as-inside", trampoline.start != pc, true)
    })
}
