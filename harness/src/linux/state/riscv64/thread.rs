//! Where a new kernel thread begins, and where second exceptions can be taken in the entry and exit code.

use super::super::edit::Edit;
use super::{NOP, RA, S0};
use crate::Error;
use crate::cpu::{FlowKind, Register};

/// `jalr ra, 0(ra)` without its offset, and which of its bits are the opcode and the registers.
const JALR_RA_RA: u32 = 0x0000_80e7;
const JALR_FIXED: u32 = 0x000f_ffff;
/// `c.mv a0, s1; c.jalr s0; c.mv a0, sp`.
const CALL_S0: [u16; 3] = [0x8526, 0x9402, 0x850a];
/// `csrw sscratch, zero`; `csrw sstatus, a0`.
const CLEAR_SSCRATCH: u32 = 0x1400_1073;
const SET_SSTATUS: u32 = 0x1005_1073;
/// More bytes than the entry or the exit code has.
const MAX_CODE: u64 = 0x400;

/// Where a kernel thread begins.
pub(super) struct Fork {
    /// The call of the thread's function, or of the C code that calls it.
    pub(super) call: u64,
    /// The register that the call goes through, and what is added to it.
    pub(super) through: Register,
    pub(super) offset: i64,
    /// Where the run ends.
    pub(super) end: u64,
}

impl Fork {
    /// What the instructions of this image show: since 6.17 `ret_from_fork_kernel_asm` calls C code, before that `ret_from_fork`
    /// calls the function in s0. Nothing is changed.
    pub(super) fn found(edit: &Edit<'_>) -> Result<Self, Error> {
        if edit.image().symbols.has("ret_from_fork_kernel_asm") {
            let (call, offset) = call_of_fork(edit)?;
            let end = call + 4 + if edit.bytes::<1>(call + 4)?[0] & 3 == 3 { 4 } else { 2 };
            return Ok(Self { call, through: RA, offset, end });
        }
        let symbol = edit.image().symbol("ret_from_fork")?;
        let end = symbol.address + symbol.size.min(MAX_CODE);
        let mut calls = Vec::new();
        for at in (symbol.address..end.saturating_sub(6)).step_by(2) {
            if half_words(edit, at)? == CALL_S0 {
                calls.push(at + 2);
            }
        }
        match calls[..] {
            [call] => Ok(Self { call, through: S0, offset: 0, end: call + 4 }),
            _ => Err(edit.refuse(
                "ret_from_fork does not call the thread's function once, by `c.mv a0, s1; c.jalr s0; c.mv a0, sp`",
            )),
        }
    }

    /// Makes the instruction behind the call a nop, so that the run can end behind it. It is a jump to `ret_from_exception`, through
    /// which every exception leaves, or it overwrites the result of the call.
    pub(super) fn end_here(&self, edit: &mut Edit<'_>) -> Result<(), Error> {
        if self.through == RA {
            let jump = self.call + 4;
            let flow = edit.image().cpu.flow(jump, &edit.bytes::<4>(jump)?);
            if (flow.kind, flow.target) != (FlowKind::Jump, Some(edit.address("ret_from_exception")?)) {
                let name = edit.image().symbols.name(jump);
                return Err(edit.refuse(format!("{name} is not the jump to ret_from_exception")));
            }
        }
        let behind = self.call + if self.through == RA { 4 } else { 2 };
        for at in (behind..self.end).step_by(2) {
            edit.set(at, &NOP.to_le_bytes())?;
        }
        Ok(())
    }
}

fn half_words(edit: &Edit<'_>, at: u64) -> Result<[u16; 3], Error> {
    let bytes = edit.bytes::<6>(at)?;
    Ok([0, 2, 4].map(|index| u16::from_le_bytes([bytes[index], bytes[index + 1]])))
}

/// The call of the thread's C code in `ret_from_fork_kernel_asm`: its last. Returns the address of its `jalr ra, OFFSET(ra)`, and the
/// offset.
fn call_of_fork(edit: &Edit<'_>) -> Result<(u64, i64), Error> {
    const FUNCTION: &str = "ret_from_fork_kernel_asm";
    let cpu = edit.image().cpu;
    let mut call = None;
    for (at, word) in instructions(edit, FUNCTION)? {
        if word & 3 == 3 && cpu.flow(at, &word.to_le_bytes()).kind == FlowKind::Call {
            call = Some((at, word));
        }
    }
    let refuse = || edit.refuse(format!("{FUNCTION} does not call the thread's function by `jalr ra, OFFSET(ra)`"));
    let (call, word) = call.filter(|(_, word)| word & JALR_FIXED == JALR_RA_RA).ok_or_else(refuse)?;
    Ok((call, i64::from(word.cast_signed() >> 20)))
}

/// The instructions of a function, each with the four bytes from its address on.
fn instructions(edit: &Edit<'_>, function: &str) -> Result<Vec<(u64, u32)>, Error> {
    let symbol = edit.image().symbol(function)?;
    let (mut at, end) = (symbol.address, symbol.address + symbol.size.min(MAX_CODE));
    let mut all = Vec::new();
    while at + 2 <= end {
        let word = edit.u32_at(at)?;
        all.push((at, word));
        at += if word & 3 == 3 { 4 } else { 2 };
    }
    Ok(all)
}

/// Where a second exception leaves the first one's state intact, as [`crate::guest::conventions::Conventions::nesting`] says it.
///
/// From the trap to `sret` the CPU has interrupts masked (sstatus.SIE), and Linux unmasks none in between but in softirqs and in
/// handlers of exceptions, so that only another exception can be second. sscratch says whether the kernel was interrupted: until it
/// is zero again, another exception would take itself for one from user mode. And from the write of sstatus on, sstatus.SPP and sepc
/// are what `sret` needs.
pub(super) fn nesting(edit: &Edit<'_>) -> Result<Vec<(u64, bool)>, Error> {
    let (entry, exit) = ("handle_exception", "ret_from_exception");
    let cleared = instructions(edit, entry)?.into_iter().rfind(|(_, word)| *word == CLEAR_SSCRATCH);
    let (cleared, _) = cleared.ok_or_else(|| edit.refuse(format!("{entry} does not clear sscratch")))?;
    let is_set = |(_, word): &(u64, u32)| *word == SET_SSTATUS;
    let set: Vec<_> = instructions(edit, exit)?.into_iter().filter(is_set).collect();
    let [(set, _)] = set[..] else {
        return Err(edit.refuse(format!("{exit} writes sstatus from a0 {} times, not once", set.len())));
    };
    let mut marks = vec![(cleared + 4, true), (set + 4, false)];
    marks.sort_unstable();
    Ok(marks)
}

/// Puts a function of ours in the place of the handler of page faults, in the table through which `handle_exception` calls handlers.
pub(super) fn catch_faults(edit: &mut Edit<'_>, handler: u64) -> Result<(), Error> {
    /// Causes 12, 13 and 15: instruction, load and store page faults (privileged ISA, table of scause).
    const PAGE_FAULTS: [u64; 3] = [12, 13, 15];
    let (table, expected) = (edit.address("excp_vect_table")?, edit.address("do_page_fault")?);
    for cause in PAGE_FAULTS {
        let word = table + 8 * cause;
        if edit.u64_at(word)? != expected {
            let reason = format!("excp_vect_table does not hold do_page_fault for cause {cause}");
            return Err(edit.refuse(reason));
        }
        edit.set_u64(word, handler)?;
    }
    Ok(())
}
