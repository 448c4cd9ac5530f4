//! Where walks begin, and what they do without an entry.

use kunwind::kernel::Form;
use kunwind::orc::{OrcBase, OrcEntry, OrcType};
use kunwind::{Claim, Claims, End, Error, Frame, Register, Source, Step, Target, Unwinder, WalkState};

use super::memory::{IRQ, Kernel, TASK, TEXT, interrupted, named, running};

const FORM: Form = Form::Reliable;

fn ends_at_text(words: &[(u64, u64)]) -> Kernel {
    // TEXT..+0x10 ends the stack; +0x10..+0x20 was called; the rest is padding.
    let entries = [
        (TEXT, OrcEntry::END_OF_STACK),
        (TEXT + 0x10, OrcEntry::call(OrcBase::Sp, 8)),
        (TEXT + 0x20, OrcEntry::UNDEFINED),
    ];
    Kernel::new(&entries, words)
}

#[test]
fn a_return_address_is_looked_up_one_byte_back_and_an_interrupted_pc_where_it_is() {
    let kernel = ends_at_text(&[(TASK.low, TEXT + 0x10)]);
    let whole = (vec![TEXT + 0x10], End::Outermost, Claim::Reliable);
    assert_eq!(kernel.walk(FORM, running(TEXT + 0x20, TASK.low, 0)), whole, "after the last call of the function");
    let end = End::Error(Error::NoRow(TEXT + 0x20));
    assert_eq!(kernel.walk(FORM, interrupted(TEXT + 0x20, TASK.low, 0)), (vec![], end, Claim::Unreliable));
    assert_eq!(kernel.walk(FORM, interrupted(TEXT + 0x10, TASK.low, 0)), whole);
    assert_eq!(kernel.walk(FORM, running(TEXT + 0x10, TASK.low, 0)).1, End::Outermost, "looked up in what ends");
}

#[test]
fn only_a_task_that_has_never_run_begins_with_an_instruction() {
    let mut kernel = ends_at_text(&[]);
    let blocked = running(TEXT, TASK.low + 64, 0);
    // What stands before the first instruction is none of the kernel's.
    assert_eq!(kernel.walk(FORM, blocked), (vec![], End::Error(Error::NoRow(TEXT - 1)), Claim::Unreliable));
    kernel.fork_entry = Some(TEXT);
    assert_eq!(kernel.walk(FORM, blocked), (vec![], End::Outermost, Claim::Reliable));
}

#[test]
fn a_jump_to_nowhere_has_an_entry_of_its_own() {
    let kernel = ends_at_text(&[(TASK.low, TEXT + 8)]);
    assert_eq!(kernel.walk(FORM, interrupted(0, TASK.low, 0)), (vec![TEXT + 8], End::Outermost, Claim::Reliable));
}

#[test]
fn without_an_entry_the_frame_pointer_is_believed_but_not_relied_on() {
    let words = [(TASK.low + 0x100, 0x55), (TASK.low + 0x108, TEXT + 8)];
    let kernel = ends_at_text(&words);
    let wild = interrupted(0x1234, TASK.low, TASK.low + 0x100);
    let (frames, end, claim) = kernel.frames(Form::BestEffort, wild);
    assert_eq!((frames.len(), end, claim), (2, End::Outermost, Claim::None));
    assert_eq!(frames[1].regs.get(super::memory::RBP), Some(0x55));
    assert_eq!(kernel.walk(FORM, wild), (vec![], End::Error(Error::NoRow(0x1234)), Claim::Unreliable));
}

#[test]
fn a_stack_that_ran_into_its_guard_page_is_walked_without_a_claim() {
    let kernel = ends_at_text(&[(TASK.low, TEXT + 8)]);
    // The entry is at rsp + 8, and rsp one word below the stack.
    let mut entries = vec![(TEXT, OrcEntry::END_OF_STACK), (TEXT + 0x10, OrcEntry::call(OrcBase::Sp, 16))];
    entries.push((TEXT + 0x20, OrcEntry::UNDEFINED));
    let overflown = Kernel::new(&entries, &[(TASK.low, TEXT + 8)]);
    let start = interrupted(TEXT + 0x10, TASK.low - 8, 0);
    assert_eq!(overflown.walk(Form::BestEffort, start), (vec![TEXT + 8], End::Outermost, Claim::None));
    let end = End::Error(Error::OutsideStacks(TASK.low - 8));
    assert_eq!(overflown.walk(FORM, start), (vec![], end, Claim::Unreliable));
    let nowhere = interrupted(TEXT + 0x10, IRQ.high + 0x5000, 0);
    assert_eq!(kernel.walk(Form::BestEffort, nowhere).1, End::Error(Error::OutsideStacks(IRQ.high + 0x5000)));
}

#[test]
fn a_start_from_pt_regs_has_all_registers() {
    // r10 holds what SP was; at +56 of pt_regs.
    let entries = [
        (TEXT, OrcEntry::END_OF_STACK),
        (TEXT + 0x10, OrcEntry::call(OrcBase::R10, 0)),
        (TEXT + 0x20, OrcEntry::UNDEFINED),
    ];
    let regs = TASK.low + 0x200;
    let kernel = Kernel::new(&entries, &[(regs + 56, TASK.low + 0x400), (TASK.low + 0x3f8, TEXT + 8)]);
    let mut start = interrupted(TEXT + 0x10, TASK.low + 0x300, 0);
    start.source = Source::PtRegs { at: regs };
    assert_eq!(kernel.walk(FORM, start), (vec![TEXT + 8], End::Outermost, Claim::Reliable));
    let without = running(TEXT + 0x11, TASK.low + 0x300, 0);
    let end = End::Error(Error::NoRegister(Register(10)));
    assert_eq!(kernel.walk(FORM, without), (vec![], end, Claim::Unreliable));
}

/// The table's last entry holds up to the end of the text and no further: `orc_find` looks at the ranges of text first.
#[test]
fn a_pc_behind_the_text_has_no_entry() {
    let kernel = Kernel::new(&[(TEXT, OrcEntry::END_OF_STACK)], &[]);
    let behind = TEXT + 0x1_0000;
    assert_eq!(kernel.walk(FORM, interrupted(behind - 1, TASK.low, 0)), (vec![], End::Outermost, Claim::Reliable));
    let end = End::Error(Error::NoRow(behind));
    assert_eq!(kernel.walk(FORM, interrupted(behind, TASK.low, 0)), (vec![], end, Claim::Unreliable));
}

/// `unwind_next_frame` forgets `regs` where something was called.
#[test]
fn the_other_registers_of_a_start_count_until_something_was_called() {
    // What the CPU pushed, for iretq; then a call, whose frame begins where r10 says.
    let iret = OrcEntry { kind: OrcType::RegsPartial, signal: true, ..OrcEntry::call(OrcBase::Sp, 0) };
    let entries = [
        (TEXT, OrcEntry::END_OF_STACK),
        (TEXT + 0x10, iret),
        (TEXT + 0x20, OrcEntry::call(OrcBase::R10, 0)),
        (TEXT + 0x30, OrcEntry::UNDEFINED),
    ];
    let sp = TASK.low + 0x100;
    let pushed = [(sp, TEXT + 0x28), (sp + 8, 0x10), (sp + 24, sp + 0x60)];
    let kernel = Kernel::new(&entries, &[pushed.as_slice(), &[(sp + 0x78, TEXT + 8)]].concat());
    let mut start = interrupted(TEXT + 0x18, sp, 0);
    let (rbx, r10) = (Register(3), Register(10));
    start.regs.set(rbx, 5);
    start.regs.set(r10, sp + 0x80);
    let (frames, end, claim) = kernel.frames(FORM, start);
    assert_eq!((frames.len(), end, claim), (3, End::Outermost, Claim::Reliable));
    assert_eq!((frames[1].regs.get(rbx), frames[1].regs.get(r10)), (Some(5), Some(sp + 0x80)));
    assert_eq!((frames[2].regs.get(rbx), frames[2].regs.get(r10)), (None, None));
}

/// The best-effort walk, if its consumer looked at `unwind_error`.
struct Claiming(&'static dyn Unwinder);

impl Unwinder for Claiming {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn claims(&self) -> Claims {
        Claims::Explicit
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, Error> {
        self.0.step(frame, state, target)
    }
}

/// `unwind_next_frame` and `__unwind_start` set `state->error` there, and go on.
#[test]
fn a_walk_that_goes_on_in_doubt_says_so() {
    let claim = |kernel: &Kernel, start| {
        let (frames, end, claim) = kernel.frames_by(&Claiming(named("x86-orc:best-effort")), start);
        assert_eq!((frames.len(), end), (2, End::Outermost));
        claim
    };
    let called = ends_at_text(&[(TASK.low, TEXT + 8)]);
    assert_eq!(claim(&called, interrupted(TEXT + 0x18, TASK.low, 0)), Claim::Reliable);
    let by_fp = ends_at_text(&[(TASK.low + 0x108, TEXT + 8)]);
    assert_eq!(claim(&by_fp, interrupted(0x1234, TASK.low, TASK.low + 0x100)), Claim::Unreliable);
    let entries = [(TEXT, OrcEntry::END_OF_STACK), (TEXT + 0x10, OrcEntry::call(OrcBase::Sp, 16))];
    let overflown = Kernel::new(&entries, &[(TASK.low, TEXT + 8)]);
    assert_eq!(claim(&overflown, interrupted(TEXT + 0x18, TASK.low - 8, 0)), Claim::Unreliable);
}
