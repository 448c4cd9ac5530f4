//! The walk by rows alone, from the registers of every frame. It knows no format: it asks a [`Table`].

use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::plain::{Said, SavedWord, SavedWords};
use crate::regs::{Register, RegisterSet, Regs};
use crate::row::{Ask, CfaRule, Entry, Rule, Slot, UnwindRow};
use crate::stack::StackWindows;
use crate::state::WalkState;
use crate::target::{AskTable, Format, Table, Target};
use crate::walk::{Claims, Frame, Source, Step, Unwinder};

/// The walk by rows alone. It claims by reaching a function that has no caller.
///
/// Where the format has rules for all registers (CFI), every rule is kept, so that a row may name any of them in the next
/// frame. Otherwise a register that no row recovers is absent in the caller, and a return address can be in a register
/// only in the first frame, or where a row names SP or FP.
#[derive(Clone, Copy, Debug)]
pub struct TableUnwinder {
    abi: &'static Abi,
    format: Format,
    callee_saved: RegisterSet,
}

impl TableUnwinder {
    /// An unwinder for the CPU of this ABI, by the tables of this format.
    #[must_use]
    pub const fn new(abi: &'static Abi, format: Format) -> Self {
        Self { abi, format, callee_saved: RegisterSet::of(abi.callee_saved) }
    }

    /// The step by whatever the table says of the pc by which the frame is looked up.
    #[inline(always)]
    fn by_entry(
        &self,
        pc: u64,
        frame: &mut Frame,
        state: &mut WalkState,
        (table, target): (&dyn Table, &dyn Target),
    ) -> Result<Step, Error> {
        match table.entry(pc)? {
            Some(Entry::Row(row)) => self.caller((&row, pc), frame, state, (table, target)).map(|()| Step::Caller),
            Some(Entry::Outermost) => Ok(Step::Outermost),
            // Where in saved registers the pc is, only kernels know.
            Some(Entry::PtRegs(_)) => Err(Error::UnusableRule(pc)),
            Some(Entry::NoRow { .. }) | None => {
                mutant!("table-no-row-is-end", Err(Error::NoRow(pc)), Ok(Step::Outermost))
            }
        }
    }

    /// As [`TableUnwinder::caller`], in the same order and with the same checks, for a plain row.
    #[inline(always)]
    fn plain_caller(
        &self,
        (said, saved): (Said, SavedWords),
        frame: &mut Frame,
        windows: &mut StackWindows,
        (table, target): (&dyn Table, &dyn Target),
    ) -> Result<(), Error> {
        let stacks = target.stacks();
        let base = frame.regs.get(said.base).ok_or(Error::NoRegister(said.base))?;
        let cfa = base.wrapping_add_signed(said.cfa);
        let read = |at: u64| target.read_u64(at).ok_or(Error::Unreadable(at));
        let read_checked = |windows: &StackWindows, at: u64| {
            if windows.can_consume(stacks, at, 8) { read(at) } else { Err(Error::OutsideStacks(at)) }
        };
        let at = cfa.wrapping_add_signed(said.ra);
        // Both words are on the stack, where the walk is; and one check says so.
        let has_both = said.has_record && windows.is_in_current(at.wrapping_sub(8), 16);
        let fp = match said.fp {
            Some(_) if has_both => Some(read(at.wrapping_sub(8))?),
            Some(offset) => Some(read_checked(windows, cfa.wrapping_add_signed(offset))?),
            None => frame.regs.get(self.abi.fp),
        };
        match saved {
            SavedWords::Unknown => frame.regs.clear(),
            SavedWords::List(list) => {
                frame.regs.keep_set(self.callee_saved);
                let saved = if list == 0 { &[] } else { table.saved_words(list) };
                for &SavedWord { register, offset } in saved {
                    match read_checked(windows, cfa.wrapping_add_signed(offset.into())) {
                        Ok(value) => frame.regs.set(register, value),
                        Err(_) => frame.regs.forget(register),
                    }
                }
            }
        }
        if has_both {
            windows.consume_in_current(at, 8);
        } else {
            windows.consume(stacks, at, 8)?;
        }
        let ra = read(at)?;
        let pc = if said.mangled_ra { self.abi.strip(ra) } else { ra };
        frame.pc = if said.signal { CodeAddress::Interrupted(pc) } else { CodeAddress::Return(pc) };
        let (rule, ra) = (CfaRule::RegOffset(said.base, said.cfa), Rule::CfaOffsetDeref(said.ra));
        frame.source = Source::Row { cfa, rule, ra };
        frame.regs.set(self.abi.sp, cfa);
        match fp {
            Some(fp) => frame.regs.set(self.abi.fp, fp),
            None => frame.regs.forget(self.abi.fp),
        }
        Ok(())
    }

    /// `asked` is the pc by which the row was found.
    #[inline]
    fn caller(
        &self,
        (row, asked): (&UnwindRow, u64),
        frame: &mut Frame,
        state: &mut WalkState,
        (table, target): (&dyn Table, &dyn Target),
    ) -> Result<(), Error> {
        let (windows, stacks) = (&mut state.windows, target.stacks());
        let read = |slot: Slot| {
            let at = slot.address();
            match slot {
                // One way only: what lies below the return address is out of reach from now on.
                Slot::Ra(_) => windows.consume(stacks, mutant!("table-ra-consumed-low", at, at - 8), 8)?,
                _ if mutant!("table-slot-unchecked", windows.can_consume(stacks, at, 8), true) => {}
                _ => return Err(Error::OutsideStacks(at)),
            }
            target.read_u64(at).ok_or(Error::Unreadable(at))
        };
        let mut ask = AskTable { table, read };
        let cfa = row.cfa.value(&frame.regs, &mut ask)?;
        let fp = row.fp.frame_pointer(cfa, &frame.regs, self.abi, &mut ask)?;
        // The others come before the return address, which closes the stack below it.
        let saved = table.saved(asked).map(|rules| self.saved(rules, cfa, &frame.regs, &mut ask));
        let ra = row.ra.return_address(cfa, &frame.regs, self.abi, &mut ask)?;
        let pc =
            if mutant!("table-ra-not-stripped", row.mangled_ra, false) { self.abi.strip(ra.value) } else { ra.value };
        let pc = if mutant!("table-signal-ignored", row.signal, false) {
            CodeAddress::Interrupted(pc)
        } else {
            CodeAddress::Return(pc)
        };
        let fp = fp.map(|fp| mutant!("table-fp-of-callee", fp.value, frame.regs.get(self.abi.fp).unwrap_or(0)));
        frame.become_frame(pc, Source::Row { cfa, rule: row.cfa, ra: row.ra });
        match saved {
            Some(saved) => frame.regs = saved,
            None => frame.regs.set(self.abi.sp, cfa),
        }
        match fp {
            Some(fp) => frame.regs.set(self.abi.fp, fp),
            None => frame.regs.forget(self.abi.fp),
        }
        Ok(())
    }

    /// The caller's registers, apart from the frame pointer. One whose rule cannot be followed is absent: it may not be
    /// needed.
    fn saved(&self, rules: &[(Register, Rule)], cfa: u64, regs: &Regs, ask: &mut impl Ask) -> Regs {
        let mut caller = *regs;
        caller.keep(mutant!("table-callee-saved-lost", self.abi.callee_saved, &[]));
        let mut has_rule = false;
        for (register, rule) in rules {
            has_rule |= *register == self.abi.sp;
            match rule.saved(*register, cfa, regs, ask) {
                Ok(Some(found)) => caller.set(*register, found.value),
                Ok(None) | Err(_) => caller.forget(*register),
            }
        }
        if !mutant!("table-sp-rule-ignored", has_rule, false) {
            caller.set(self.abi.sp, cfa);
        }
        caller
    }
}

impl Unwinder for TableUnwinder {
    fn name(&self) -> &'static str {
        self.format.name()
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd
    }

    // A caller that knows the target's type gets a loop without a call: the compiler has to see through `dyn` here.
    #[inline(always)]
    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let pc = mutant!("table-lookup-at-return", frame.pc.lookup(), frame.pc.value());
        let table = target.table(self.format).ok_or(Error::NoTable)?;
        // The mutants are planted in the general code.
        if !cfg!(feature = "mutants")
            && let Some(row) = table.plain(pc)
        {
            let (windows, saved) = (&mut state.windows, row.saved());
            // Where a row is the commonest one, what it says need not be waited for: the CPU guesses it.
            let found = if row.is_of_record(self.abi.fp) {
                self.plain_caller((Said::of_record(self.abi.fp), saved), frame, windows, (table, target))
            } else {
                self.plain_caller((row.said(), saved), frame, windows, (table, target))
            };
            return found.map(|()| Step::Caller);
        }
        self.by_entry(pc, frame, state, (table, target))
    }
}
