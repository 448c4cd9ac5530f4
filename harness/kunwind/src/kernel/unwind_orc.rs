//! `unwind_orc`: x86-64 by ORC, Linux v7.3, arch/x86/kernel/unwind_orc.c. It does not know how ORC is encoded: it asks
//! a [`Table`](crate::Table) and follows its rows.

use super::form::Form;
use super::recover::{inside_of_tracer, recover, recover_or_refuse, recover_rethook};
use crate::abi::X86_64;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::regs::{Register, Regs};
use crate::return_hook::Fix;
use crate::row::{CfaRule, Entry, Place, PtRegsRow, Rule, Slot, UnwindRow};
use crate::state::{OrcState, SavedRegs, WalkState};
use crate::target::{Format, Target, Task};
use crate::walk::{Frame, Source, Step};

/// The size of a word.
const WORD: u64 = 8;
/// A start outside all stacks is rounded up to the end of its page, which may be a guard page.
const PAGE: u64 = 0x1000;
/// sizeof(struct pt_regs).
const PT_REGS_SIZE: u64 = 168;
/// offsetof(struct pt_regs, ip): the frame that the CPU pushes begins here.
const IRET_FRAME: u64 = 128;
/// offsetof(struct pt_regs, cs), sp.
const PT_REGS_CS: u64 = 136;
const PT_REGS_SP: u64 = 152;

const RBP: Register = X86_64.fp;
const RSP: Register = X86_64.sp;
/// The registers that a row can name besides rsp and rbp, and rbp, with their offsets in struct pt_regs.
const SAVED: [(Register, u64); 6] =
    [(RBP, 32), (Register(13), 16), (Register(10), 56), (Register(0), 80), (Register(1), 96), (Register(5), 112)];

/// A call without a record: the return address is right below the CFA.
const CALL: UnwindRow = UnwindRow {
    cfa: CfaRule::RegOffset(RSP, 8),
    ra: Rule::CfaOffsetDeref(-8),
    fp: Rule::Retain,
    mangled_ra: false,
    signal: false,
};
/// A jump to address 0: `null_orc_entry`.
const NULL: Entry = Entry::Row(CALL);
/// Where no table speaks, the frame pointer is believed: `orc_fp_entry`.
const FRAME_POINTER: Entry =
    Entry::Row(UnwindRow { cfa: CfaRule::RegOffset(RBP, 16), fp: Rule::CfaOffsetDeref(-16), ..CALL });

/// One step by ORC. Exceptions in the kernel are crossed like calls.
///
/// Nothing is consumed: SP has to rise on a stack, and each stack is entered once. As in the kernel, an SP that lies on
/// no stack escapes the first rule, so a corrupt one in pt_regs can lead the walk in circles until its consumer has
/// enough.
///
/// With [`Fix::RetStack`] no row is believed inside `return_to_handler` that speaks of words below rsp, and its address
/// stands for nothing but what the ret_stack says.
pub(super) fn step(
    form: Form,
    fix: Fix,
    frame: &mut Frame,
    state: &mut WalkState,
    target: &(impl Target + ?Sized),
) -> Result<Step, Error> {
    if !state.orc.has_started {
        start(form, frame, state, target)?;
    }
    let pc = mutant!("orc-lookup-at-return", frame.pc.lookup(), frame.pc.value());
    let entry = entry(form, pc, state, target)?;
    let stepper = Stepper { is_detecting: fix == Fix::RetStack, frame, state, target };
    let caller = match entry {
        Entry::NoRow { .. } => return Err(Error::NoRow(pc)),
        Entry::Outermost => return Ok(Step::Outermost),
        Entry::Row(row) => Some(stepper.by_call(&row)?),
        Entry::PtRegs(row) => stepper.by_pt_regs(&row)?,
    };
    let Some(caller) = caller else { return Ok(Step::Outermost) };
    *frame = caller;
    Ok(Step::Caller)
}

/// What sets the error flag in the kernel: the reliable walk ends there, the other continues.
fn doubt(form: Form, state: &mut WalkState, error: Error) -> Result<(), Error> {
    mutant!("orc-doubt-not-flagged", state.mark_unreliable(), ());
    match form {
        Form::Reliable => mutant!("orc-doubt-as-reliable", Err(error), Ok(())),
        Form::BestEffort => Ok(()),
    }
}

/// `__unwind_start`. The frame may be one of a running task, of a blocked one, or come from pt_regs.
fn start(form: Form, frame: &mut Frame, state: &mut WalkState, target: &(impl Target + ?Sized)) -> Result<(), Error> {
    let orc = &mut state.orc;
    orc.has_started = true;
    match (frame.source, frame.pc) {
        (Source::PtRegs { at }, _) => (orc.regs, orc.is_full) = (Some(SavedRegs::At(at)), true),
        (_, CodeAddress::Interrupted(_)) => (orc.regs, orc.is_full) = (Some(SavedRegs::InFrame), true),
        // A task that has never run will begin there: it was not called.
        (_, CodeAddress::Return(pc))
            if target.task().and_then(|task: Task| task.fork_entry)
                == mutant!("orc-fork-was-called", Some(pc), None) =>
        {
            frame.pc = CodeAddress::Interrupted(pc);
        }
        (_, CodeAddress::Return(_)) => {}
    }
    let sp = frame.regs.get(RSP).ok_or(Error::NoRegister(RSP))?;
    if state.visits.enter(target.stacks(), sp) {
        return Ok(());
    }
    // A stack may have overflowed into its guard page.
    let next_page = sp.checked_next_multiple_of(PAGE);
    let is_on_stack = next_page
        .is_some_and(|page| mutant!("orc-guard-page-is-no-stack", state.visits.enter(target.stacks(), page), false));
    doubt(form, state, Error::OutsideStacks(sp))?;
    if is_on_stack { Ok(()) } else { Err(Error::OutsideStacks(sp)) }
}

/// `orc_find`, and what replaces an entry that it does not find.
fn entry(form: Form, pc: u64, state: &mut WalkState, target: &(impl Target + ?Sized)) -> Result<Entry, Error> {
    if mutant!("orc-null-unknown", pc == 0, false) {
        return Ok(NULL);
    }
    let table = target.table(Format::Orc).ok_or(Error::NoTable)?;
    let entry = if mutant!("orc-any-text", target.is_text(pc), true) { table.entry(pc)? } else { None };
    match entry {
        Some(entry) => Ok(entry),
        None => doubt(form, state, Error::NoRow(pc)).map(|()| FRAME_POINTER),
    }
}

/// One step, while it is made.
struct Stepper<'a, T: ?Sized> {
    is_detecting: bool,
    frame: &'a Frame,
    state: &'a mut WalkState,
    target: &'a T,
}

/// The caller's pc and SP.
struct Caller {
    pc: u64,
    sp: u64,
    source: Source,
}

/// The stack before the step, for the check that SP rises.
struct Before {
    sp: u64,
    stack: Option<usize>,
}

impl<T: Target + ?Sized> Stepper<'_, T> {
    /// A function that was called: the return address is on the stack.
    fn by_call(mut self, row: &UnwindRow) -> Result<Frame, Error> {
        let before = self.before()?;
        let cfa = self.prev_sp(row.cfa)?;
        if self.is_detecting {
            self.refuse_stale_words(row, cfa, before.sp)?;
        }
        let caller = self.return_address(row, cfa)?;
        let bp = self.bp(row.fp, cfa)?;
        self.check_rise(&before, &caller)?;
        self.frame_of(&caller, bp, row.signal)
    }

    /// Code that was interrupted; nothing if that was user mode.
    ///
    /// ```text
    ///  struct pt_regs, 168 bytes
    ///    0  r15 .. r12, bp (at 32), bx, r11 .. r8, ax, cx, dx, si, di, orig_ax
    ///  128  ip      <- without the words above: the frame that iretq takes
    ///  136  cs
    ///  144  flags
    ///  152  sp
    ///  160  ss
    /// ```
    fn by_pt_regs(mut self, row: &PtRegsRow) -> Result<Option<Frame>, Error> {
        let before = self.before()?;
        let place = self.prev_sp(row.at)?;
        let (at, size) = match mutant!("orc-partial-is-whole", row.is_whole, true) {
            true => (place, PT_REGS_SIZE),
            false => (place.wrapping_sub(IRET_FRAME), PT_REGS_SIZE - IRET_FRAME),
        };
        self.access(place, size)?;
        let caller = self.pt_regs(at, row.is_whole)?;
        let bp = self.bp(row.fp, place)?;
        self.check_rise(&before, &caller)?;
        if mutant!("orc-user-mode-crossed", self.read(at.wrapping_add(PT_REGS_CS))? & 3 != 0, false) {
            return Ok(None);
        }
        self.frame_of(&caller, bp, row.signal).map(Some)
    }

    fn before(&self) -> Result<Before, Error> {
        let sp = self.frame.regs.get(RSP).ok_or(Error::NoRegister(RSP))?;
        Ok(Before { sp, stack: self.state.visits.current() })
    }

    /// `deref_stack_reg`.
    fn word(&mut self, at: u64) -> Result<u64, Error> {
        self.access(at, WORD)?;
        self.read(at)
    }

    fn access(&mut self, at: u64, size: u64) -> Result<(), Error> {
        let is_allowed = self.state.visits.access(self.target.stacks(), at, size);
        if is_allowed { Ok(()) } else { Err(Error::OutsideStacks(at)) }
    }

    fn read(&self, at: u64) -> Result<u64, Error> {
        self.target.read_u64(at).ok_or(Error::Unreadable(at))
    }

    /// `get_reg`: the value of a register that was saved in this frame, or since the last call.
    fn saved(&self, register: Register) -> Result<Option<u64>, Error> {
        let OrcState { regs, is_full, prev_regs, .. } = self.state.orc;
        match if is_full { regs } else { mutant!("orc-saved-not-kept", regs.and(prev_regs), None) } {
            None => Ok(None),
            Some(SavedRegs::InFrame) => Ok(self.frame.regs.get(register)),
            Some(SavedRegs::At(at)) => {
                let offset = SAVED.iter().find(|(saved, _)| *saved == register).map(|(_, offset)| *offset);
                offset.map(|offset| self.read(at.wrapping_add(offset))).transpose()
            }
        }
    }

    /// The registers of the frame, with one of them as it was saved, if it was.
    fn regs_with_saved(&self, register: Register) -> Result<Regs, Error> {
        let mut regs = Regs::none();
        for own in [RSP, RBP] {
            if let Some(value) = self.frame.regs.get(own) {
                regs.set(own, value);
            }
        }
        if let Some(value) = self.saved(register)? {
            regs.set(register, value);
        }
        Ok(regs)
    }

    /// The CFA, or where saved registers begin. Of rsp and rbp the present values count, of others the saved ones.
    fn prev_sp(&mut self, rule: CfaRule) -> Result<u64, Error> {
        let frame = self.frame;
        let register = rule.register().ok_or(Error::NoExpression)?;
        let saved;
        let regs = if register == RSP || register == RBP {
            &frame.regs
        } else {
            saved = self.regs_with_saved(register)?;
            &saved
        };
        rule.value(regs, &mut |slot: Slot| self.word(slot.address()))
    }

    /// The caller's rbp. One that is retained may be in saved registers.
    fn bp(&mut self, rule: Rule, cfa: u64) -> Result<Option<u64>, Error> {
        let frame = self.frame;
        let saved;
        let regs = if mutant!("orc-bp-of-callee", rule == Rule::Retain, false) {
            saved = self.regs_with_saved(RBP)?;
            &saved
        } else {
            &frame.regs
        };
        let found = rule.frame_pointer(cfa, regs, &X86_64, &mut |slot: Slot| self.word(slot.address()))?;
        Ok(found.map(|found| found.value))
    }

    fn return_address(&mut self, row: &UnwindRow, cfa: u64) -> Result<Caller, Error> {
        let frame = self.frame;
        let found = row.ra.return_address(cfa, &frame.regs, &X86_64, &mut |slot: Slot| self.word(slot.address()))?;
        let Place::Memory(slot) = found.place else { return Err(Error::UnusableRule(self.frame.pc.lookup())) };
        let recover = if self.is_detecting { recover_or_refuse } else { recover };
        let pc = mutant!("orc-hooks-not-asked", recover(found.value, slot, self.state, self.target)?, found.value);
        if self.is_detecting && found.value == pc {
            mutant!("orc-entry-not-used-up", self.use_up_restored(pc, slot), ());
        }
        let orc = &mut self.state.orc;
        mutant!("orc-saved-not-dropped", (orc.regs, orc.prev_regs) = (None, None), ());
        Ok(Caller { pc, sp: cfa, source: Source::Row { cfa, rule: row.cfa, ra: row.ra } })
    }

    /// For [`Fix::RetStack`]: an address that is back in its slot uses up its entry, if that is still on the ret_stack.
    fn use_up_restored(&mut self, pc: u64, slot: u64) {
        let mut cursor = self.state.return_hooks;
        if let Some(trampoline) = inside_of_tracer(self.frame.pc.value(), self.target)
            && cursor.fgraph_complete(&trampoline, slot, self.target) == Ok(pc)
        {
            self.state.return_hooks = cursor;
        }
    }

    /// For [`Fix::RetStack`]: inside the trampoline, what lies below rsp may have been overwritten.
    fn refuse_stale_words(&self, row: &UnwindRow, cfa: u64, sp: u64) -> Result<(), Error> {
        let pc = self.frame.pc.value();
        let is_stale = |rule: Rule| {
            let place = matches!(rule, Rule::CfaOffsetDeref(_)).then(|| rule.place(None, cfa, &self.frame.regs));
            matches!(place, Some(Ok(Place::Memory(at))) if mutant!("orc-stale-words-believed", at < sp, false))
        };
        if inside_of_tracer(pc, self.target).is_some() && (is_stale(row.ra) || is_stale(row.fp)) {
            return Err(Error::InsideTrampoline(pc));
        }
        Ok(())
    }

    /// pt_regs at this address, or only the frame at its end that the CPU pushed.
    fn pt_regs(&mut self, at: u64, is_full: bool) -> Result<Caller, Error> {
        let sp = self.read(at.wrapping_add(PT_REGS_SP))?;
        let pc = self.read(at.wrapping_add(IRET_FRAME))?;
        // The trampoline may have been interrupted at its first instruction: the return has moved SP over its slot.
        let pc =
            recover_rethook(pc, mutant!("orc-rethook-cookie", sp.wrapping_sub(WORD), sp), self.state, self.target)?;
        let orc = &mut self.state.orc;
        if is_full {
            orc.prev_regs = None;
        } else if orc.is_full {
            orc.prev_regs = orc.regs;
        }
        (orc.regs, orc.is_full) = (Some(SavedRegs::At(at)), is_full);
        Ok(Caller { pc, sp, source: Source::PtRegs { at } })
    }

    /// On the same stack SP has to rise.
    fn check_rise(&self, before: &Before, caller: &Caller) -> Result<(), Error> {
        let stacks = self.state.visits;
        let is_same = stacks.current() == before.stack && stacks.is_on_current(self.target.stacks(), caller.sp);
        if mutant!("orc-sp-need-not-rise", is_same && caller.sp <= before.sp, false) {
            Err(Error::CfaNotAbove(caller.sp))
        } else {
            Ok(())
        }
    }

    fn frame_of(&self, caller: &Caller, bp: Option<u64>, signal: bool) -> Result<Frame, Error> {
        if !mutant!("orc-caller-not-text", self.target.is_text(caller.pc), true) {
            return Err(Error::NotText(caller.pc));
        }
        let pc = if mutant!("orc-signal-ignored", signal, false) {
            CodeAddress::Interrupted(caller.pc)
        } else {
            CodeAddress::Return(caller.pc)
        };
        let mut regs = if mutant!("orc-registers-of-start-kept", self.state.orc.holds_start(), true) {
            self.frame.regs
        } else {
            Regs::none()
        };
        regs.set(RSP, caller.sp);
        match bp {
            Some(bp) => regs.set(RBP, bp),
            None => regs.forget(RBP),
        }
        Ok(Frame { pc, regs, source: caller.source })
    }
}
