//! The walk by rows alone, from the registers of every frame. It knows no format: it asks a [`Table`](crate::Table).

use crate::abi::Abi;
use crate::address::CodeAddress;
use crate::error::Error;
use crate::row::{Entry, Slot, UnwindRow};
use crate::state::WalkState;
use crate::target::{Format, Target};
use crate::walk::{Claims, Frame, Source, Step, Unwinder};

/// The walk by rows alone. It claims by reaching a function that has no caller.
///
/// A register that no row recovers is absent in the caller, so a return address can be in a register only in the first
/// frame, or where a row names SP or FP.
#[derive(Clone, Copy, Debug)]
pub struct TableUnwinder {
    abi: &'static Abi,
    format: Format,
}

impl TableUnwinder {
    /// An unwinder for the CPU of this ABI, by the tables of this format.
    #[must_use]
    pub const fn new(abi: &'static Abi, format: Format) -> Self {
        Self { abi, format }
    }

    fn caller(
        &self,
        row: &UnwindRow,
        frame: &mut Frame,
        state: &mut WalkState,
        target: &dyn Target,
    ) -> Result<(), Error> {
        let windows = &mut state.windows;
        let caller = row.caller(&frame.regs, self.abi, &mut |slot| {
            let at = slot.address();
            match slot {
                // One way only: what lies below the return address is out of reach from now on.
                Slot::Ra(_) => windows.consume(at, 8)?,
                Slot::Cfa(_) | Slot::Fp(_) if windows.can_consume(at, 8) => {}
                Slot::Cfa(_) | Slot::Fp(_) => return Err(Error::OutsideStacks(at)),
            }
            target.read_u64(at).ok_or(Error::Unreadable(at))
        })?;
        let pc = if row.mangled_ra { self.abi.strip(caller.ra.value) } else { caller.ra.value };
        let pc = if row.signal { CodeAddress::Interrupted(pc) } else { CodeAddress::Return(pc) };
        frame.become_frame(pc, Source::Row { cfa: caller.cfa });
        frame.regs.set(self.abi.sp, caller.cfa);
        if let Some(fp) = caller.fp {
            frame.regs.set(self.abi.fp, fp.value);
        }
        Ok(())
    }
}

impl Unwinder for TableUnwinder {
    fn name(&self) -> &'static str {
        self.format.name()
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        let pc = frame.pc.lookup();
        match target.table(self.format).ok_or(Error::NoTable)?.entry(pc)? {
            Some(Entry::Row(row)) => self.caller(&row, frame, state, target).map(|()| Step::Caller),
            Some(Entry::Outermost) => Ok(Step::Outermost),
            // Where in saved registers the pc is, only kernels know.
            Some(Entry::PtRegs(_)) => Err(Error::UnusableRule(pc)),
            Some(Entry::NoRow { .. }) | None => Err(Error::NoRow(pc)),
        }
    }
}
