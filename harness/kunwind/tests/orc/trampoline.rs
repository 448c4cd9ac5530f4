//! The remedy for the windows of return_to_handler where a walk is by ORC.

use kunwind::orc::{OrcBase, OrcEntry};
use kunwind::{Claim, End, Error, Frame, ReturnHook};

use super::memory::{DATA, Kernel, TASK, TEXT, interrupted, named};

/// In code that ends the stack.
const LAST: u64 = TEXT + 8;
/// return_to_handler, which is 16 bytes long, and code that a call returns to.
const HANDLER: u64 = TEXT + 0x10;
const INSIDE: u64 = HANDLER + 4;
const CALLER: u64 = TEXT + 0x28;
const SP: u64 = TASK.low + 0x100;

/// With this entry for return_to_handler; `CALLER` has pushed nothing. `hooked`: what the ret_stack holds, youngest last: the return
/// addresses, and the slots that they belong to.
fn kernel(handler: OrcEntry, hooked: &[(u64, u64)], words: &[(u64, u64)]) -> Kernel {
    let entries = [
        (TEXT, OrcEntry::END_OF_STACK),
        (HANDLER, handler),
        (TEXT + 0x20, OrcEntry::call(OrcBase::Sp, 8)),
        (TEXT + 0x30, OrcEntry::UNDEFINED),
    ];
    let mut kernel = Kernel::new(&entries, words).with_trampoline(ReturnHook::Fgraph, HANDLER);
    for (at, (ret, slot)) in (DATA..).step_by(32).zip(hooked) {
        // ret, func, retp, and the control word of a complete entry of three words.
        kernel.words.extend([(at, *ret), (at + 8, 0), (at + 16, *slot), (at + 24, 3 | 1 << 10)]);
    }
    kernel.ret_stack = Some(4 * hooked.len() as u64);
    kernel
}

fn walked(kernel: &Kernel, start: Frame) -> (Vec<u64>, End, Claim) {
    let (frames, end, claim) = kernel.frames_by(named("x86-orc-detect"), start);
    (frames[1..].iter().map(|frame| frame.pc.value()).collect(), end, claim)
}

#[test]
fn words_below_rsp_are_believed_at_the_first_instruction_and_not_inside() {
    // rbp was popped: it is still in the word below rsp, unless something else has come there since.
    let popped = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Sp, 8) };
    let kernel = kernel(popped, &[], &[(SP, LAST)]);
    assert_eq!(walked(&kernel, interrupted(HANDLER, SP, 0)), (vec![LAST], End::Outermost, Claim::Reliable));
    let refused = (vec![], End::Error(Error::InsideTrampoline(INSIDE)), Claim::Unreliable);
    assert_eq!(walked(&kernel, interrupted(INSIDE, SP, 0)), refused);
    // Mainline knows nothing of that.
    let mainline = kernel.frames_by(named("x86-orc"), interrupted(INSIDE, SP, 0));
    assert_eq!((mainline.0.len(), mainline.1), (2, End::Outermost));
}

/// The ret_stack is used from its young end to its old: `graph_idx` of `ftrace_graph_ret_addr` (kernel/trace/fgraph.c).
#[test]
fn an_address_that_is_back_in_its_slot_uses_up_its_entry_and_the_younger_ones() {
    // The youngest entry has the slot of the oldest. What it holds would be found if the entry between were not used up.
    let hooked = [(LAST, SP + 8), (CALLER, SP), (LAST - 4, SP + 8)];
    let called = OrcEntry::call(OrcBase::Sp, 8);
    let restored = kernel(called, &hooked, &[(SP, CALLER), (SP + 8, HANDLER)]);
    let good = (vec![CALLER, LAST], End::Outermost, Claim::Reliable);
    assert_eq!(walked(&restored, interrupted(INSIDE, SP, 0)), good);
    // An address that is not the entry's uses up nothing.
    let another = kernel(called, &hooked, &[(SP, CALLER + 4), (SP + 8, HANDLER)]);
    let found = (vec![CALLER + 4, LAST - 4], End::Outermost, Claim::Reliable);
    assert_eq!(walked(&another, interrupted(INSIDE, SP, 0)), found);
}
