//! x86-64 by ORC: Linux v7.3, arch/x86/kernel/unwind_orc.c.

use super::{Form, x86_64};
use crate::abi::X86_64;
use crate::orc::{OrcBase, OrcEntry, OrcType};
use crate::stack::StackVisits;
use crate::{Claims, CodeAddress, Error, Format, Frame, Inside, Register, Regs, Source, Step, Target, Unwinder};
use crate::{WalkState, walk::Task};

/// The size of a word.
const WORD: u64 = 8;
/// What a start outside of all stacks is rounded up to: the page of a guard.
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
/// The registers that an entry can name besides rsp and rbp, and rbp, with their offsets in struct pt_regs.
const SAVED: [(Register, u64); 6] =
    [(RBP, 32), (Register(13), 16), (Register(10), 56), (Register(0), 80), (Register(1), 96), (Register(5), 112)];

/// A jump to address 0: `null_orc_entry`.
const NULL_ENTRY: OrcEntry = OrcEntry::call(OrcBase::Sp, 8);
/// Where no table speaks, the frame pointer is believed: `orc_fp_entry`.
const FRAME_POINTER_ENTRY: OrcEntry =
    OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Bp, 16) };

/// What such a walk keeps from step to step, beside the frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OrcState {
    has_started: bool,
    stacks: StackVisits,
    /// The registers that were saved in the present frame.
    regs: Option<Saved>,
    /// Whether all of them were, and not only what the CPU pushed.
    is_full: bool,
    /// If not: the last full ones, when nothing was called since.
    prev_regs: Option<Saved>,
}

/// Where saved registers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saved {
    /// The walk was started with them.
    InFrame,
    /// In pt_regs at this address.
    At(u64),
}

/// The walk by ORC entries. Exceptions in the kernel are crossed like calls.
///
/// Nothing is consumed: SP has to rise on a stack, and each stack is entered once. As in the kernel, an SP that lies on no stack
/// escapes the first rule, so a corrupt one in pt_regs can lead the walk round until its consumer has enough.
#[derive(Clone, Copy, Debug)]
pub struct UnwindOrc {
    form: Form,
    inside: Inside,
}

/// One step, while it is made.
struct Stepper<'a> {
    pc: u64,
    inside: Inside,
    frame: &'a Frame,
    state: &'a mut WalkState,
    target: &'a dyn Target,
}

/// The caller as far as its kind tells it, before rbp.
struct Caller {
    pc: u64,
    sp: u64,
    source: Source,
}

impl UnwindOrc {
    /// An unwinder of this form.
    #[must_use]
    pub const fn new(form: Form) -> Self {
        Self { form, inside: Inside::Ignore }
    }

    /// The reliable one, with a design that closes the windows of `return_to_handler`: inside of it no row is believed that
    /// speaks of words below rsp, and its address stands for nothing but what the ret_stack says.
    #[must_use]
    pub const fn detect() -> Self {
        Self { form: Form::Reliable, inside: Inside::Detect }
    }

    /// What sets the error flag in the kernel: the reliable walk ends there, the other goes on.
    fn doubt(self, state: &mut WalkState, error: Error) -> Result<(), Error> {
        state.mark_unreliable();
        match self.form {
            Form::Reliable => Err(error),
            Form::BestEffort => Ok(()),
        }
    }

    /// `__unwind_start`. The frame may be one of a running task, of a blocked one, or come from pt_regs.
    fn start(self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<(), Error> {
        let orc = &mut state.orc;
        orc.has_started = true;
        match (frame.source, frame.pc) {
            (Source::PtRegs { at }, _) => (orc.regs, orc.is_full) = (Some(Saved::At(at)), true),
            (_, CodeAddress::Interrupted(_)) => (orc.regs, orc.is_full) = (Some(Saved::InFrame), true),
            // A task that has never run will begin there: nobody has called.
            (_, CodeAddress::Return(pc)) if target.task().and_then(|task: Task| task.fork_entry) == Some(pc) => {
                frame.pc = CodeAddress::Interrupted(pc);
            }
            (_, CodeAddress::Return(_)) => {}
        }
        let sp = frame.regs.get(RSP).ok_or(Error::NoRegister(RSP))?;
        if orc.stacks.enter(target.stacks(), sp) {
            return Ok(());
        }
        // A stack may have overflowed into its guard page.
        let next_page = sp.checked_next_multiple_of(PAGE);
        let is_on_stack = next_page.is_some_and(|page| orc.stacks.enter(target.stacks(), page));
        self.doubt(state, Error::OutsideStacks(sp))?;
        if is_on_stack { Ok(()) } else { Err(Error::OutsideStacks(sp)) }
    }

    fn entry(self, pc: u64, state: &mut WalkState, target: &dyn Target) -> Result<OrcEntry, Error> {
        if pc == 0 {
            return Ok(NULL_ENTRY);
        }
        let table = target.orc().ok_or(Error::NoTable)?;
        let entry = if target.is_text(pc) { table.lookup(pc).map_err(|_| Error::BadTable(pc))? } else { None };
        match entry {
            Some(entry) => Ok(entry),
            None => self.doubt(state, Error::NoRow(pc)).map(|()| FRAME_POINTER_ENTRY),
        }
    }
}

impl Stepper<'_> {
    /// `deref_stack_reg`.
    fn word(&mut self, at: u64) -> Result<u64, Error> {
        self.access(at, WORD)?;
        self.read(at)
    }

    fn access(&mut self, at: u64, size: u64) -> Result<(), Error> {
        let is_allowed = self.state.orc.stacks.access(self.target.stacks(), at, size);
        if is_allowed { Ok(()) } else { Err(Error::OutsideStacks(at)) }
    }

    fn read(&self, at: u64) -> Result<u64, Error> {
        self.target.read_u64(at).ok_or(Error::Unreadable(at))
    }

    fn register(&self, register: Register) -> Result<u64, Error> {
        self.frame.regs.get(register).ok_or(Error::NoRegister(register))
    }

    /// `get_reg`: the value of a register that was saved in this frame, or since the last call.
    fn saved(&self, register: Register) -> Result<Option<u64>, Error> {
        let OrcState { regs, is_full, prev_regs, .. } = self.state.orc;
        match if is_full { regs } else { regs.and(prev_regs) } {
            None => Ok(None),
            Some(Saved::InFrame) => Ok(self.frame.regs.get(register)),
            Some(Saved::At(at)) => {
                let offset = SAVED.iter().find(|(saved, _)| *saved == register).map(|(_, offset)| *offset);
                offset.map(|offset| self.read(at.wrapping_add(offset))).transpose()
            }
        }
    }

    fn prev_sp(&mut self, entry: &OrcEntry) -> Result<u64, Error> {
        let offset = i64::from(entry.sp_offset);
        let saved = |number| self.saved(Register(number))?.ok_or(Error::NoRegister(Register(number)));
        match entry.sp {
            OrcBase::Sp => Ok(self.register(RSP)?.wrapping_add_signed(offset)),
            OrcBase::Bp => Ok(self.register(RBP)?.wrapping_add_signed(offset)),
            OrcBase::SpIndirect => {
                let at = self.register(RSP)?;
                Ok(self.word(at)?.wrapping_add_signed(offset))
            }
            OrcBase::BpIndirect => {
                let at = self.register(RBP)?.wrapping_add_signed(offset);
                self.word(at)
            }
            // Of these the value itself, whatever the offset.
            OrcBase::R10 => saved(10),
            OrcBase::R13 => saved(13),
            OrcBase::Di => saved(5),
            OrcBase::Dx => saved(1),
            OrcBase::Ax => saved(0),
            OrcBase::Undefined | OrcBase::PrevSp => Err(Error::UnusableRule(self.pc)),
        }
    }

    fn call(&mut self, prev_sp: u64) -> Result<Caller, Error> {
        let slot = prev_sp.wrapping_sub(WORD);
        let word = self.word(slot)?;
        let is_detecting = self.inside == Inside::Detect;
        let recover = if is_detecting { x86_64::recover_or_refuse } else { x86_64::recover };
        let pc = recover(word, slot, self.state, self.target)?;
        if is_detecting && word == pc {
            self.use_up_restored(pc, slot);
        }
        let orc = &mut self.state.orc;
        (orc.regs, orc.prev_regs) = (None, None);
        Ok(Caller { pc, sp: prev_sp, source: Source::Row { cfa: prev_sp } })
    }

    /// Of the design that notices `return_to_handler`: an address that is back in its slot uses its entry up, if that has not been
    /// taken off yet.
    fn use_up_restored(&mut self, pc: u64, slot: u64) {
        let mut cursor = self.state.rewritten;
        if let Some(trampoline) = x86_64::inside_of_tracer(self.frame.pc.value(), self.target)
            && cursor.fgraph_complete(&trampoline, slot, self.target) == Ok(pc)
        {
            self.state.rewritten = cursor;
        }
    }

    /// The same design: inside of the trampoline, what lies below rsp may have been overwritten.
    fn notice_stale_words(&self, entry: &OrcEntry, prev_sp: u64, sp: u64) -> Result<(), Error> {
        let pc = self.frame.pc.value();
        let is_stale = |at: u64| at < sp;
        let bp_is_stale =
            entry.bp == OrcBase::PrevSp && is_stale(prev_sp.wrapping_add_signed(i64::from(entry.bp_offset)));
        if x86_64::inside_of_tracer(pc, self.target).is_some() && (is_stale(prev_sp.wrapping_sub(WORD)) || bp_is_stale)
        {
            return Err(Error::InsideTrampoline(pc));
        }
        Ok(())
    }

    /// pt_regs, of which `from` on is there. The frame that the CPU pushed always is.
    fn pt_regs(&mut self, at: u64, is_full: bool) -> Result<Caller, Error> {
        let sp = self.read(at.wrapping_add(PT_REGS_SP))?;
        let pc = self.read(at.wrapping_add(IRET_FRAME))?;
        // The trampoline may have been interrupted at its first instruction: the return has moved SP over its slot.
        let pc = x86_64::recover_rethook(pc, sp.wrapping_sub(WORD), self.state, self.target)?;
        let orc = &mut self.state.orc;
        if is_full {
            orc.prev_regs = None;
        } else if orc.is_full {
            orc.prev_regs = orc.regs;
        }
        (orc.regs, orc.is_full) = (Some(Saved::At(at)), is_full);
        Ok(Caller { pc, sp, source: Source::PtRegs { at } })
    }

    fn bp(&mut self, entry: &OrcEntry, prev_sp: u64) -> Result<Option<u64>, Error> {
        let offset = i64::from(entry.bp_offset);
        match entry.bp {
            OrcBase::Undefined => Ok(self.saved(RBP)?.or_else(|| self.frame.regs.get(RBP))),
            OrcBase::PrevSp => self.word(prev_sp.wrapping_add_signed(offset)).map(Some),
            OrcBase::Bp => {
                let bp = self.register(RBP)?;
                self.word(bp.wrapping_add_signed(offset)).map(Some)
            }
            _ => Err(Error::UnusableRule(self.pc)),
        }
    }

    /// Nothing if the caller is user mode.
    fn caller(mut self, entry: &OrcEntry) -> Result<Option<Frame>, Error> {
        let (before, stack) = (self.register(RSP)?, self.state.orc.stacks.current());
        let prev_sp = self.prev_sp(entry)?;
        if self.inside == Inside::Detect {
            self.notice_stale_words(entry, prev_sp, before)?;
        }
        let caller = match entry.kind {
            OrcType::Call => self.call(prev_sp)?,
            OrcType::Regs => {
                self.access(prev_sp, PT_REGS_SIZE)?;
                self.pt_regs(prev_sp, true)?
            }
            OrcType::RegsPartial => {
                self.access(prev_sp, PT_REGS_SIZE - IRET_FRAME)?;
                self.pt_regs(prev_sp.wrapping_sub(IRET_FRAME), false)?
            }
            OrcType::Undefined | OrcType::EndOfStack => return Err(Error::NoRow(self.pc)),
        };
        let bp = self.bp(entry, prev_sp)?;
        let stacks = self.state.orc.stacks;
        if stacks.current() == stack && stacks.is_on_current(self.target.stacks(), caller.sp) && caller.sp <= before {
            return Err(Error::CfaNotAbove(caller.sp));
        }
        if let Source::PtRegs { at } = caller.source
            && self.read(at.wrapping_add(PT_REGS_CS))? & 3 != 0
        {
            return Ok(None);
        }
        if !self.target.is_text(caller.pc) {
            return Err(Error::NotText(caller.pc));
        }
        let pc = if entry.signal { CodeAddress::Interrupted(caller.pc) } else { CodeAddress::Return(caller.pc) };
        let mut regs = if self.state.orc.holds_start() { self.frame.regs } else { Regs::none() };
        regs.set(RSP, caller.sp);
        match bp {
            Some(bp) => regs.set(RBP, bp),
            None => regs.forget(RBP),
        }
        Ok(Some(Frame { pc, regs, source: caller.source }))
    }
}

impl OrcState {
    /// Whether registers of the start may still be asked for: they travel with the frame.
    fn holds_start(&self) -> bool {
        [self.regs, self.prev_regs].contains(&Some(Saved::InFrame))
    }
}

impl Unwinder for UnwindOrc {
    fn name(&self) -> &'static str {
        match (self.form, self.inside) {
            (_, Inside::Detect) => "x86-orc-detect",
            (Form::Reliable, _) => "x86-orc",
            (Form::BestEffort, _) => "x86-orc:best-effort",
        }
    }

    fn claims(&self) -> Claims {
        self.form.claims()
    }

    fn inside(&self) -> Inside {
        self.inside
    }

    fn needs(&self) -> Option<Format> {
        Some(Format::Orc)
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        if !state.orc.has_started {
            self.start(frame, state, target)?;
        }
        let pc = frame.pc.lookup();
        let entry = self.entry(pc, state, target)?;
        match entry.kind {
            OrcType::Undefined => return Err(Error::NoRow(pc)),
            OrcType::EndOfStack => return Ok(Step::Outermost),
            OrcType::Call | OrcType::Regs | OrcType::RegsPartial => {}
        }
        let stepper = Stepper { pc, inside: self.inside, frame, state, target };
        match stepper.caller(&entry)? {
            None => Ok(Step::Outermost),
            Some(caller) => {
                *frame = caller;
                Ok(Step::Caller)
            }
        }
    }
}
