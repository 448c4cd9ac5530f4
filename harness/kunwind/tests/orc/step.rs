//! Each rule of a step.

use kunwind::kernel::Form;
use kunwind::orc::{OrcBase, OrcEntry, OrcType};
use kunwind::{Claim, End, Error, Frame, Register, ReturnHook, Rule, Source};

use super::memory::{DATA, IRQ, Kernel, RBP, RSP, TASK, TEXT, interrupted, running};

const FORM: Form = Form::Reliable;
/// In code that ends the stack.
const LAST: u64 = TEXT + 8;
/// In code with the entry under test, and in code with a second one.
const HERE: u64 = TEXT + 0x18;
const THERE: u64 = TEXT + 0x28;
const SP: u64 = TASK.low + 0x100;

/// `here` for [`HERE`], `there` for [`THERE`], padding after them.
fn kernel(here: OrcEntry, there: OrcEntry, words: &[(u64, u64)]) -> Kernel {
    let entries = [(TEXT, OrcEntry::END_OF_STACK), (TEXT + 0x10, here), (TEXT + 0x20, there)];
    Kernel::new(&[entries.as_slice(), &[(TEXT + 0x30, OrcEntry::UNDEFINED)]].concat(), words)
}

fn one(here: OrcEntry, words: &[(u64, u64)]) -> Kernel {
    kernel(here, OrcEntry::UNDEFINED, words)
}

fn refused(kernel: &Kernel, start: Frame) -> Error {
    let (trace, end, claim) = kernel.walk(FORM, start);
    assert_eq!((trace.len(), claim), (0, Claim::Unreliable));
    match end {
        End::Error(error) => error,
        other => panic!("it ended with {other}"),
    }
}

/// The only caller, which must be the last frame of a reliable walk.
fn caller(kernel: &Kernel, start: Frame) -> Frame {
    let (frames, end, claim) = kernel.frames(FORM, start);
    assert_eq!((frames.len(), end, claim), (2, End::Outermost, Claim::Reliable));
    frames[1]
}

const fn regs(sp_offset: i16, kind: OrcType) -> OrcEntry {
    OrcEntry { kind, signal: true, ..OrcEntry::call(OrcBase::Sp, sp_offset) }
}

#[test]
fn a_call_by_sp_and_by_the_frame_pointer() {
    let words = [(SP + 0x10, 0xb9), (SP + 0x18, LAST)];
    for (base, offset, bp) in [(OrcBase::Sp, 0x20, 1), (OrcBase::Bp, 0x10, SP + 0x10)] {
        let entry = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(base, offset) };
        let frame = caller(&one(entry, &words), running(HERE, SP, bp));
        assert_eq!((frame.regs.get(RSP), frame.regs.get(RBP)), (Some(SP + 0x20), Some(0xb9)));
        let Source::Row { cfa, ra, .. } = frame.source else { panic!("{}", frame.source) };
        assert_eq!((cfa, ra), (SP + 0x20, Rule::CfaOffsetDeref(-8)));
    }
    // A base is UNDEFINED: rbp is what it was. It is BP: the word there.
    let frame = caller(&one(OrcEntry::call(OrcBase::Sp, 0x20), &words), running(HERE, SP, 7));
    assert_eq!(frame.regs.get(RBP), Some(7));
    let by_bp = OrcEntry { bp: OrcBase::Bp, bp_offset: 8, ..OrcEntry::call(OrcBase::Sp, 0x20) };
    assert_eq!(caller(&one(by_bp, &words), running(HERE, SP, SP + 8)).regs.get(RBP), Some(0xb9));
}

#[test]
fn indirection_by_sp_adds_last_and_by_the_frame_pointer_first() {
    let top = IRQ.high - 8;
    let words = [(top, SP), (SP + 0x10, LAST), (SP + 0x30, SP + 0x18), (SP + 0x50, 3)];
    let by_sp = one(OrcEntry::call(OrcBase::SpIndirect, 0x18), &words);
    assert_eq!(caller(&by_sp, running(HERE, top, 0)).regs.get(RSP), Some(SP + 0x18), "from one stack to the other");
    let by_bp = one(OrcEntry::call(OrcBase::BpIndirect, -0x20), &words);
    assert_eq!(caller(&by_bp, running(HERE, SP, SP + 0x50)).regs.get(RSP), Some(SP + 0x18));
}

#[test]
fn a_stack_is_entered_once_and_sp_rises_on_it() {
    // From the task stack to the irq stack and back: the way back is closed.
    let jump = OrcEntry::call(OrcBase::SpIndirect, 0);
    let words = [(SP, IRQ.low + 0x80), (IRQ.low + 0x78, HERE), (IRQ.low + 0x80, SP + 0x40), (SP + 0x38, LAST)];
    let (trace, end, _) = one(jump, &words).walk(FORM, running(HERE, SP, 0));
    assert_eq!((trace, end), (vec![HERE], End::Error(Error::OutsideStacks(SP + 0x38))));
    // Equal is not above.
    let words = [(SP - 8, LAST)];
    let still = one(OrcEntry::call(OrcBase::Sp, 0), &words);
    assert_eq!(refused(&still, running(HERE, SP, 0)), Error::CfaNotAbove(SP));
    // A frame below rsp: the other stacks may lie wherever they want.
    let down = one(OrcEntry::call(OrcBase::Bp, 0), &[(SP - 0x28, LAST)]);
    assert_eq!(refused(&down, running(HERE, SP, SP - 0x20)), Error::CfaNotAbove(SP - 0x20));
    let outside = one(OrcEntry::call(OrcBase::Bp, 0), &[]);
    assert_eq!(refused(&outside, running(HERE, SP, DATA + 0x20)), Error::OutsideStacks(DATA + 0x18));
}

/// A hole in the kernel's own rule: an SP that is on no stack is compared with nothing, and is itself nothing to compare with.
#[test]
fn a_corrupt_sp_lets_a_walk_go_round_for_ever() {
    let words = [saved(THERE, 0x10, 8, SP + 0x300), vec![(SP - 8, HERE)]].concat();
    let back = OrcEntry::call(OrcBase::Bp, -0x300);
    let interrupted_here = regs(0x40, OrcType::Regs);
    let (trace, end, claim) = kernel(interrupted_here, back, &words).walk(FORM, running(HERE, SP, 0));
    assert_eq!((&trace[..3], end, claim), ([THERE, HERE, THERE].as_slice(), End::Full, Claim::Unreliable));
}

#[test]
fn what_is_undefined_or_no_text_is_refused() {
    assert_eq!(refused(&one(OrcEntry::UNDEFINED, &[]), running(HERE, SP, 0)), Error::NoRow(HERE - 1));
    let base = |sp, bp| OrcEntry { bp, ..OrcEntry::call(sp, 8) };
    for entry in [
        base(OrcBase::Undefined, OrcBase::Undefined),
        base(OrcBase::PrevSp, OrcBase::Undefined),
        base(OrcBase::Sp, OrcBase::Sp),
        base(OrcBase::Sp, OrcBase::R10),
    ] {
        assert_eq!(refused(&one(entry, &[(SP, LAST)]), running(HERE, SP, 0)), Error::UnusableRule(HERE - 1));
    }
    let stray = one(OrcEntry::call(OrcBase::Sp, 8), &[(SP, 0)]);
    assert_eq!(refused(&stray, running(HERE, SP, 0)), Error::NotText(0));
}

/// pt_regs at SP + 0x40: ip, cs, sp, bp.
fn saved(ip: u64, cs: u64, sp: u64, bp: u64) -> Vec<(u64, u64)> {
    let at = SP + 0x40;
    vec![(at + 128, ip), (at + 136, cs), (at + 152, sp), (at + 32, bp)]
}

#[test]
fn an_exception_in_the_kernel_is_crossed_and_one_in_user_mode_is_the_end() {
    let at = SP + 0x40;
    for (kind, offset, bp) in [(OrcType::Regs, 0x40, 0xb9), (OrcType::RegsPartial, 0x40 + 128, 5)] {
        let words = saved(TEXT, 0x10, SP + 0x200, 0xb9);
        let frame = caller(&one(regs(offset, kind), &words), running(HERE, SP, 5));
        assert_eq!((frame.pc, frame.source), (kunwind::CodeAddress::Interrupted(TEXT), Source::PtRegs { at }));
        assert_eq!((frame.regs.get(RSP), frame.regs.get(RBP)), (Some(SP + 0x200), Some(bp)), "{kind:?}");
        let user = saved(0x40_0000, 0x33, 0x7fff_0000, 0);
        let (trace, end, claim) = one(regs(offset, kind), &user).walk(FORM, running(HERE, SP, 5));
        assert_eq!((trace, end, claim), (vec![], End::Outermost, Claim::Reliable));
    }
    // A breakpoint's entry has no signal bit: its ip is looked up one byte back.
    let breakpoint = OrcEntry { signal: false, ..regs(0x40, OrcType::Regs) };
    let frame = caller(&one(breakpoint, &saved(TEXT + 0x10, 0x10, SP + 0x200, 0)), running(HERE, SP, 0));
    assert_eq!(frame.pc, kunwind::CodeAddress::Return(TEXT + 0x10));
    // Only whole ones count: the last word lies above the stack.
    let high = TASK.high - 160;
    assert_eq!(refused(&one(regs(0, OrcType::Regs), &[]), running(HERE, high, 0)), Error::OutsideStacks(high));
}

#[test]
fn other_registers_come_from_the_last_full_pt_regs_until_something_was_called() {
    // HERE has pt_regs; THERE, which they interrupted, the words for iretq; then HERE again, by a register.
    let (first, second) = (SP + 0x40, SP + 0x200);
    let mut words = saved(THERE, 0x10, second, 0);
    words.extend([(second, TEXT + 0x38), (second + 8, 0x10), (second + 24, second + 0x60)]);
    words.extend([(first + 112, second + 0x80), (second + 0x78, LAST)]);
    let by_di = |second_kind| {
        let entries = [
            (TEXT, OrcEntry::END_OF_STACK),
            (TEXT + 0x10, regs(0x40, OrcType::Regs)),
            (TEXT + 0x20, second_kind),
            (TEXT + 0x30, OrcEntry::call(OrcBase::Di, 0x1000)),
        ];
        Kernel::new(&entries, &words).walk(FORM, running(HERE, SP, 0))
    };
    let (trace, end, _) = by_di(regs(0, OrcType::RegsPartial));
    assert_eq!((trace, end), (vec![THERE, TEXT + 0x38, LAST], End::Outermost), "the value itself, without the offset");
    let (trace, end, _) = by_di(OrcEntry::call(OrcBase::Sp, 8));
    assert_eq!((trace, end), (vec![THERE, TEXT + 0x38], End::Error(Error::NoRegister(Register(5)))));
}

#[test]
fn a_traced_return_address_is_recovered_by_its_slot() {
    let trampoline = TEXT + 0x1000;
    let words = [(SP, trampoline), (DATA, LAST), (DATA + 8, 0), (DATA + 16, SP), (DATA + 24, 3 | 1 << 10)];
    let mut traced = one(OrcEntry::call(OrcBase::Sp, 8), &words).with_trampoline(ReturnHook::Fgraph, trampoline);
    traced.ret_stack = Some(4);
    assert_eq!(caller(&traced, running(HERE, SP, 0)).pc.value(), LAST);
    // Without an entry for the slot the trampoline's address is reported, and the padding before it ends the walk.
    traced.words.insert(DATA + 16, SP + 8);
    let (trace, end, claim) = traced.walk(FORM, running(HERE, SP, 0));
    assert_eq!((trace, end), (vec![trampoline], End::Error(Error::NoRow(trampoline - 1))));
    assert_eq!(claim, Claim::Unreliable);
}

#[test]
fn a_probed_return_address_is_recovered_by_its_slot_and_at_the_first_instruction_of_the_trampoline() {
    let trampoline = TEXT + 0x1000;
    let node = DATA + 0x900;
    let list = |frame| [(DATA + 0x800, node), (node, 0), (node + 8, LAST), (node + 16, frame)];
    let called = |frame| {
        let words = [&[(SP, trampoline)], list(frame).as_slice()].concat();
        one(OrcEntry::call(OrcBase::Sp, 8), &words).with_trampoline(ReturnHook::Rethook, trampoline)
    };
    assert_eq!(caller(&called(SP), running(HERE, SP, 0)).pc.value(), LAST);
    assert_eq!(refused(&called(SP + 8), running(HERE, SP, 0)), Error::Unrecovered(trampoline));
    let words = [saved(trampoline, 0x10, SP + 0x200, 0), list(SP + 0x1f8).to_vec()].concat();
    let interrupted_there = one(regs(0x40, OrcType::Regs), &words).with_trampoline(ReturnHook::Rethook, trampoline);
    assert_eq!(caller(&interrupted_there, running(HERE, SP, 0)).pc.value(), LAST);
    // A walk that starts there is not helped: the entry of the instruction is all there is.
    let (trace, _, claim) = called(SP).walk(FORM, interrupted(trampoline, SP + 8, 0));
    assert_eq!((trace, claim), (vec![], Claim::Unreliable));
}
