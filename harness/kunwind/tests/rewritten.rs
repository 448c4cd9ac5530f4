//! x86-64's walk along rbp over return addresses that a tracer has rewritten, on stacks drawn word by word.

use std::collections::BTreeMap;

use kunwind::kernel::{Form, UnwindFrame};
use kunwind::{
    Claim, CodeAddress, End, Error, Format, Frame, OrcTable, Regs, RetStack, RewriteCursor, RewriteKind, Source,
    StackBounds, Table, Target, Task, Trampoline, WalkState, abi, walk,
};

const LOW: u64 = 0xffff_8000_1000_0000;
const HIGH: u64 = LOW + 0x4000;
const STACK: StackBounds = StackBounds { low: LOW, high: HIGH };
const TEXT: u64 = 0xffff_8000_8000_0000;
const RETURN_TO_HANDLER: u64 = TEXT + 0x1000;
const RETHOOK: u64 = TEXT + 0x2000;
/// The task's ret_stack, its list of nodes, and the only node.
const RET_STACK: u64 = 0xffff_8000_2000_0000;
const LIST: u64 = RET_STACK + 0x2000;
const NODE: u64 = LIST + 8;

/// task_pt_regs: 168 bytes; the last record is right below.
const REGS: u64 = HIGH - 168;
const LAST: u64 = REGS - 16;
/// A record somewhere on the stack, and the slot of its return address.
const RECORD: u64 = LOW + 0x100;
const SLOT: u64 = RECORD + 8;

/// These words, and how many words of the ret_stack are used.
struct Stack(BTreeMap<u64, u64>, u64);

impl Stack {
    /// A chain of one record, which returns there, and the last one.
    fn new(returns_to: u64, more: &[(u64, u64)]) -> Self {
        let chain = [(RECORD, LAST), (SLOT, returns_to), (LAST, 0), (LAST + 8, TEXT + 7), (LIST, 0)];
        Self(chain.iter().chain(more).copied().collect(), 0)
    }

    /// With an entry on the ret_stack: the address, the function, the cookie, the control word.
    fn with_entry(mut self, ret: u64, retp: u64) -> Self {
        let at = RET_STACK + self.1 * 8;
        self.0.extend([(at, ret), (at + 8, TEXT), (at + 16, retp), (at + 24, 3 | 1 << 10)]);
        self.1 += 4;
        self
    }

    fn walk(&self, form: Form) -> (Vec<u64>, End, Claim) {
        let mut regs = Regs::none();
        regs.set(abi::X86_64.fp, RECORD);
        regs.set(abi::X86_64.sp, RECORD);
        let start = Frame { pc: CodeAddress::Return(TEXT), regs, source: Source::Start };
        let mut buffer = [start; 16];
        let walk = walk(&UnwindFrame::new(form), start, self, &mut WalkState::new(self.stacks()), &mut buffer);
        (walk.frames[1..].iter().map(|frame| frame.pc.value()).collect(), walk.end, walk.claim)
    }
}

impl Target for Stack {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }

    fn stacks(&self) -> &[StackBounds] {
        std::slice::from_ref(&STACK)
    }

    fn is_text(&self, address: u64) -> bool {
        address >= TEXT
    }

    fn is_exception_entry(&self, _: u64) -> bool {
        false
    }

    fn task(&self) -> Option<Task> {
        let ret_stack = RetStack { words: RET_STACK, index: self.1, entry_words: 3 };
        Some(Task { stack: STACK, ret_stack: Some(ret_stack), rethooks: Some(LIST), fork_entry: None })
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    fn orc(&self) -> Option<OrcTable<'_>> {
        None
    }

    fn trampoline(&self, pc: u64) -> Option<Trampoline> {
        [(RETURN_TO_HANDLER, RewriteKind::Fgraph), (RETHOOK, RewriteKind::Rethook)]
            .into_iter()
            .map(|(start, kind)| Trampoline { kind, start, end: start + 0x40 })
            .find(|trampoline| (trampoline.start..trampoline.end).contains(&pc))
    }
}

#[test]
fn a_return_to_handler_is_recovered_by_the_address_of_its_slot() {
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT).walk(Form::Reliable), good);
    // A function that another one jumped to has an entry of its own for the same slot.
    let tail_called = Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT);
    assert_eq!(tail_called.with_entry(RETURN_TO_HANDLER, SLOT).walk(Form::Reliable), good);
}

#[test]
fn a_return_to_handler_that_nobody_remembers_stays_in_the_trace() {
    let kept = (vec![RETURN_TO_HANDLER, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).walk(Form::Reliable), kept);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT + 8).walk(Form::Reliable), kept);
    // Inside of the trampoline nobody looks.
    let inside = Stack::new(RETURN_TO_HANDLER + 0x2d, &[]).with_entry(TEXT + 1, SLOT).walk(Form::Reliable);
    assert_eq!(inside, (vec![RETURN_TO_HANDLER + 0x2d, TEXT + 7], End::Outermost, Claim::Reliable));
}

#[test]
fn a_rethook_that_nobody_remembers_ends_the_walk() {
    let node = |frame| [(LIST, NODE), (NODE, 0), (NODE + 8, TEXT + 1), (NODE + 16, frame)];
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETHOOK, &node(SLOT)).walk(Form::Reliable), good);
    let lost = (vec![], End::Error(Error::Unrecovered(RETHOOK)), Claim::Unreliable);
    assert_eq!(Stack::new(RETHOOK, &node(SLOT + 8)).walk(Form::Reliable), lost);
}

#[test]
fn the_tracer_is_asked_before_the_rethooks_and_each_once() {
    let node = |ret| [(LIST, NODE), (NODE, 0), (NODE + 8, ret), (NODE + 16, SLOT)];
    // Hooked first, traced then.
    let hooked = Stack::new(0, &node(TEXT + 1)).with_entry(RETHOOK, SLOT);
    assert_eq!(RewriteCursor::default().recover(RETURN_TO_HANDLER, SLOT, &hooked), Ok(TEXT + 1));
    // Traced first, hooked then: the tracer is not asked again.
    let traced = Stack::new(0, &node(RETURN_TO_HANDLER)).with_entry(TEXT + 1, SLOT);
    assert_eq!(RewriteCursor::default().recover(RETHOOK, SLOT, &traced), Ok(RETURN_TO_HANDLER));
}

#[test]
fn a_saved_pc_is_asked_for_with_its_own_address() {
    let regs = LOW + 0x200;
    let interrupted = |pc: u64| {
        let words = [(RECORD, regs | 1), (regs + 32, LAST), (regs + 128, pc), (regs + 136, 0x10)];
        let node = [(LIST, NODE), (NODE, 0), (NODE + 8, TEXT + 1), (NODE + 16, SLOT)];
        Stack::new(TEXT + 2, &[words, node].concat()).walk(Form::BestEffort)
    };
    let (trace, end, _) = interrupted(TEXT + 0x99);
    assert_eq!((trace, end), (vec![TEXT + 2, TEXT + 0x99, TEXT + 7], End::Outermost));
    let (trace, end, _) = interrupted(RETHOOK);
    assert_eq!((trace, end), (vec![TEXT + 2], End::Error(Error::Unrecovered(RETHOOK))));
    let (trace, end, _) = interrupted(0x1234);
    assert_eq!((trace, end), (vec![TEXT + 2], End::Error(Error::NotText(0x1234))));
}

#[test]
fn the_records_of_a_tracer_may_be_the_last_ones() {
    // rbp and the return address of a function that entry code called, and above them what the call left.
    let last = LAST - 24;
    let words = |copied: u64| {
        [(RECORD, last), (last, 0), (last + 8, copied), (last + 16, 0), (last + 24, TEXT + 5), (last + 32, TEXT + 7)]
    };
    let good = Stack::new(TEXT + 1, &words(TEXT + 7)).walk(Form::Reliable);
    assert_eq!(good, (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable));
    // Once the return address is rewritten, its copy does not agree with it, and the end is not known for one.
    let (trace, end, claim) = Stack::new(TEXT + 1, &words(TEXT + 8)).walk(Form::Reliable);
    assert_eq!((trace, end, claim), (vec![TEXT + 1, TEXT + 8], End::Error(Error::OutsideStacks(0)), Claim::Unreliable));
}
