//! What a step does follows from its arguments alone, or that is noticed.

use std::cell::Cell;

use kunwind::{
    Claims, CodeAddress, Error, Format, Frame, FrameRecordUnwinder, Regs, Source, StackBounds, Step, Table, Target,
    Unwinder, WalkState, abi, check_steps,
};

use crate::no_kernel::no_kernel;

const LOW: u64 = 0x1000;

/// A stack of frame records, each 16 bytes above the one before, with return addresses that count up.
struct Chain;

impl Target for Chain {
    fn read_u64(&self, address: u64) -> Option<u64> {
        Some(if address.is_multiple_of(16) { address + 16 } else { address })
    }

    fn stacks(&self) -> &[StackBounds] {
        &[StackBounds { low: LOW, high: 0x2000 }]
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    no_kernel!();
}

/// A walk that counts its steps, in itself.
struct Remembering {
    right: FrameRecordUnwinder,
    steps: Cell<u64>,
    /// What of a step depends on how many there were before.
    spoil: fn(u64, &mut Frame, &mut WalkState) -> Result<(), Error>,
}

impl Unwinder for Remembering {
    fn name(&self) -> &'static str {
        "remembering"
    }

    fn claims(&self) -> Claims {
        Claims::ByEnd
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        // A walk begins: it forgets the one before.
        self.steps.set(if frame.source == Source::Start { 0 } else { self.steps.get() + 1 });
        let step = self.right.step(frame, state, target)?;
        (self.spoil)(self.steps.get(), frame, state).map(|()| step)
    }
}

#[test]
fn a_step_that_depends_on_those_before_is_noticed() {
    let mut regs = Regs::none();
    regs.set(abi::X86_64.fp, LOW);
    let start = Frame { pc: CodeAddress::Return(LOW), regs, source: Source::Start };
    let right = FrameRecordUnwinder::new(&abi::X86_64);
    assert_eq!(check_steps(&right, start, &Chain), Ok(()));
    let check = |spoil| check_steps(&Remembering { right, steps: Cell::new(0), spoil }, start, &Chain);
    assert_eq!(check(|_, _, _| Ok(())), Ok(()));
    // What it depends on: the fourth step, in its frame, its state and its result. Asked again, it comes after the sixteenth.
    let fourth = Err(CodeAddress::Return(LOW + 3 * 16 - 8));
    let forget = |steps, frame: &mut Frame, _: &mut WalkState| {
        if steps == 3 {
            frame.regs.forget(abi::X86_64.sp);
        }
        Ok(())
    };
    assert_eq!(check(forget), fourth);
    let mark = |steps, _: &mut Frame, state: &mut WalkState| {
        if steps == 3 {
            state.mark_unreliable();
        }
        Ok(())
    };
    assert_eq!(check(mark), fourth);
    assert_eq!(check(|steps, _, _| if steps == 3 { Err(Error::NoTask) } else { Ok(()) }), fourth);
}
