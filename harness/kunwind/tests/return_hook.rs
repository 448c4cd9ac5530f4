//! Walks over hooked return addresses, on stacks drawn word by word: x86-64's along rbp, if no other is named.

use std::collections::BTreeMap;

use kunwind::kernel::KernelUnwinder;
use kunwind::{
    Claim, CodeAddress, End, Error, Format, Frame, Regs, RetStack, ReturnHook, ReturnHookCursor, Source, StackBounds,
    Table, Target, Task, Trampoline, WalkState, abi, walk,
};

use crate::no_exceptions::no_exceptions;

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

/// The same for a task that no tracer follows: it has no ret_stack.
struct Untraced(Stack);

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

    fn walk(&self) -> (Vec<u64>, End, Claim) {
        self.walk_by("x86-unwind-frame")
    }

    fn walk_by(&self, name: &str) -> (Vec<u64>, End, Claim) {
        self.walk_from(TEXT, name)
    }

    /// From this return address.
    fn walk_from(&self, pc: u64, name: &str) -> (Vec<u64>, End, Claim) {
        let unwinder = KernelUnwinder::named(name).expect("it is in the catalogue");
        let mut regs = Regs::none();
        regs.set(abi::X86_64.fp, RECORD);
        regs.set(abi::X86_64.sp, RECORD);
        let start = Frame { pc: CodeAddress::Return(pc), regs, source: Source::Start };
        let mut buffer = [start; 16];
        let walk = walk(unwinder, start, self, &mut WalkState::new(self.stacks()), &mut buffer);
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

    no_exceptions!(TEXT);

    fn task(&self) -> Option<Task> {
        let ret_stack = RetStack { words: RET_STACK, index: self.1, entry_words: 3 };
        Some(Task { stack: STACK, ret_stack: Some(ret_stack), rethooks: Some(LIST), fork_entry: None })
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    fn trampoline(&self, pc: u64) -> Option<Trampoline> {
        [(RETURN_TO_HANDLER, ReturnHook::Fgraph), (RETHOOK, ReturnHook::Rethook)]
            .into_iter()
            .map(|(start, kind)| Trampoline { hook: kind, start, end: start + 0x40 })
            .find(|trampoline| (trampoline.start..trampoline.end).contains(&pc))
    }
}

impl Target for Untraced {
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.0.read_u64(address)
    }

    fn stacks(&self) -> &[StackBounds] {
        self.0.stacks()
    }

    fn entered_from(&self, stack: &StackBounds) -> Option<u64> {
        self.0.entered_from(stack)
    }

    fn is_text(&self, address: u64) -> bool {
        self.0.is_text(address)
    }

    fn is_exception_entry(&self, address: u64) -> bool {
        self.0.is_exception_entry(address)
    }

    fn task(&self) -> Option<Task> {
        self.0.task().map(|task| Task { ret_stack: None, ..task })
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        self.0.table(format)
    }

    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        self.0.trampoline(address)
    }
}

#[test]
fn a_return_to_handler_is_recovered_by_the_address_of_its_slot() {
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT).walk(), good);
    // A function that another one jumped to has an entry of its own for the same slot.
    let tail_called = Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT);
    assert_eq!(tail_called.with_entry(RETURN_TO_HANDLER, SLOT).walk(), good);
}

#[test]
fn a_return_to_handler_without_an_entry_stays_in_the_trace() {
    let kept = (vec![RETURN_TO_HANDLER, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).walk(), kept);
    assert_eq!(Stack::new(RETURN_TO_HANDLER, &[]).with_entry(TEXT + 1, SLOT + 8).walk(), kept);
    // Inside the trampoline the walk looks for nothing.
    let inside = Stack::new(RETURN_TO_HANDLER + 0x2d, &[]).with_entry(TEXT + 1, SLOT).walk();
    assert_eq!(inside, (vec![RETURN_TO_HANDLER + 0x2d, TEXT + 7], End::Outermost, Claim::Reliable));
}

#[test]
fn a_design_asks_the_ret_stack_from_inside_of_the_trampoline() {
    // Where the slot is, above what return_to_handler has saved.
    const BEHIND: u64 = RECORD + 16 + 168;
    let inside = RETURN_TO_HANDLER + 0x2d;
    let found = Stack::new(inside, &[]).with_entry(TEXT + 1, BEHIND).walk_by("x86-unwind-frame-detect");
    assert_eq!(found, (vec![inside, TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable));
    let lost = (vec![inside], End::Error(Error::InsideTrampoline(inside)), Claim::Unreliable);
    assert_eq!(Stack::new(inside, &[]).with_entry(TEXT + 1, BEHIND + 8).walk_by("x86-unwind-frame-detect"), lost);
    // The control word of an entry that is not complete has no type yet.
    let mut half_pushed = Stack::new(inside, &[]).with_entry(TEXT + 1, BEHIND);
    half_pushed.0.insert(RET_STACK + 24, 3);
    assert_eq!(half_pushed.walk_by("x86-unwind-frame-detect"), lost);
}

#[test]
fn at_the_first_instruction_of_the_trampoline_nothing_has_been_saved_yet() {
    // rbp names the record that the trampoline's frame will be above of, and above rsp is no slot.
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    let stack = Stack::new(TEXT + 1, &[]).with_entry(TEXT + 2, RECORD + 168);
    assert_eq!(stack.walk_from(RETURN_TO_HANDLER, "x86-unwind-frame-detect"), good);
    let inside = stack.walk_from(RETURN_TO_HANDLER + 1, "x86-unwind-frame-detect");
    assert_eq!(inside.0[0], TEXT + 2, "but one byte further");
}

#[test]
fn a_design_asks_again_for_what_it_is_given() {
    let node = [(LIST, NODE), (NODE, 0), (NODE + 8, RETURN_TO_HANDLER), (NODE + 16, SLOT)];
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    let hooked = Stack::new(RETHOOK, &node).with_entry(TEXT + 1, SLOT);
    assert_eq!(hooked.walk_by("x86-unwind-frame-detect"), good);
    // Mainline has asked the ret_stack before the nodes, and does not again.
    assert_eq!(hooked.walk(), (vec![RETURN_TO_HANDLER, TEXT + 7], End::Outermost, Claim::Reliable));
    let unknown = Stack::new(RETHOOK, &node).walk_by("x86-unwind-frame-detect");
    assert_eq!(unknown, (vec![], End::Error(Error::Unrecovered(RETURN_TO_HANDLER)), Claim::Unreliable));
}

#[test]
fn a_rethook_without_a_node_ends_the_walk() {
    let node = |frame| [(LIST, NODE), (NODE, 0), (NODE + 8, TEXT + 1), (NODE + 16, frame)];
    let good = (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable);
    assert_eq!(Stack::new(RETHOOK, &node(SLOT)).walk(), good);
    let lost = (vec![], End::Error(Error::Unrecovered(RETHOOK)), Claim::Unreliable);
    assert_eq!(Stack::new(RETHOOK, &node(SLOT + 8)).walk(), lost);
}

#[test]
fn the_tracer_is_asked_before_the_rethooks_and_each_once() {
    let node = |ret| [(LIST, NODE), (NODE, 0), (NODE + 8, ret), (NODE + 16, SLOT)];
    // Hooked first, traced then.
    let hooked = Stack::new(0, &node(TEXT + 1)).with_entry(RETHOOK, SLOT);
    assert_eq!(ReturnHookCursor::default().recover(RETURN_TO_HANDLER, SLOT, &hooked), Ok(TEXT + 1));
    // Traced first, hooked then: the tracer is not asked again.
    let traced = Stack::new(0, &node(RETURN_TO_HANDLER)).with_entry(TEXT + 1, SLOT);
    assert_eq!(ReturnHookCursor::default().recover(RETHOOK, SLOT, &traced), Ok(RETURN_TO_HANDLER));
}

/// `kunwind_recover_return_address` asks the tracer only if the task has a ret_stack (arch/arm64/kernel/stacktrace.c).
#[test]
fn without_a_ret_stack_a_trampolines_address_is_its_own_original() {
    let untraced = Untraced(Stack::new(0, &[]).with_entry(TEXT + 1, SLOT));
    let recovered = ReturnHookCursor::default().recover(RETURN_TO_HANDLER, SLOT, &untraced);
    assert_eq!(recovered, Ok(RETURN_TO_HANDLER));
    let traced = ReturnHookCursor::default().recover(RETURN_TO_HANDLER, SLOT, &untraced.0);
    assert_eq!(traced, Ok(TEXT + 1));
}

#[test]
fn riscv_asks_the_tracer_alone() {
    let walked = |slot: u64, stack: Stack| {
        let (fp, sp) = (RECORD + 16, RECORD);
        let mut regs = Regs::none();
        regs.set(abi::RISCV64.fp, fp);
        regs.set(abi::RISCV64.sp, sp);
        let start = Frame { pc: CodeAddress::Return(TEXT), regs, source: Source::Start };
        let mut buffer = [start; 4];
        assert_eq!(stack.0.get(&SLOT), Some(&slot));
        let unwinder = KernelUnwinder::named("riscv-walk-stackframe").expect("it is in the catalogue");
        let walk = walk(unwinder, start, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
        walk.frames[1].pc.value()
    };
    let node = [(LIST, NODE), (NODE, 0), (NODE + 8, TEXT + 1), (NODE + 16, SLOT)];
    assert_eq!(walked(RETHOOK, Stack::new(RETHOOK, &node)), RETHOOK, "even if a node has this cookie");
    let traced = Stack::new(RETURN_TO_HANDLER, &[]).with_entry(RETHOOK, SLOT);
    assert_eq!(walked(RETURN_TO_HANDLER, traced), RETHOOK, "what the ret_stack holds is not asked for again");
}

#[test]
fn a_search_goes_down_the_ret_stack_and_begins_again_after_its_bottom() {
    let trampoline = Trampoline { hook: ReturnHook::Fgraph, start: RETURN_TO_HANDLER, end: RETURN_TO_HANDLER + 0x40 };
    let stack = Stack::new(0, &[]).with_entry(TEXT + 1, 1).with_entry(TEXT + 2, 2).with_entry(TEXT + 3, 3);
    let mut cursor = ReturnHookCursor::default();
    assert_eq!(cursor.fgraph(&trampoline, 2, &stack), Ok(TEXT + 2));
    let lost = Err(Error::Unrecovered(RETURN_TO_HANDLER));
    assert_eq!(cursor.fgraph(&trampoline, 3, &stack), lost, "a younger entry has been passed");
    assert_eq!(cursor.fgraph(&trampoline, 1, &stack), Ok(TEXT + 1), "a failed search passes nothing");
    // Linux keeps the index of the oldest entry, 0, which is also what a search begins with.
    assert_eq!(cursor.fgraph(&trampoline, 3, &stack), Ok(TEXT + 3));
}

#[test]
fn a_saved_pc_is_asked_for_with_its_own_address() {
    let regs = LOW + 0x200;
    let interrupted = |pc: u64| {
        let words = [(RECORD, regs | 1), (regs + 32, LAST), (regs + 128, pc), (regs + 136, 0x10)];
        let node = [(LIST, NODE), (NODE, 0), (NODE + 8, TEXT + 1), (NODE + 16, SLOT)];
        Stack::new(TEXT + 2, &[words, node].concat()).walk_by("x86-unwind-frame:best-effort")
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
    let good = Stack::new(TEXT + 1, &words(TEXT + 7)).walk();
    assert_eq!(good, (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable));
    // Once the return address is rewritten, its copy does not agree with it, and the end is not known for one.
    let (trace, end, claim) = Stack::new(TEXT + 1, &words(TEXT + 8)).walk();
    assert_eq!((trace, end, claim), (vec![TEXT + 1, TEXT + 8], End::Error(Error::OutsideStacks(0)), Claim::Unreliable));
}

#[test]
fn an_entry_and_a_node_are_used_once_and_not_those_that_hold_the_trampoline() {
    // Older first: another call, at which a search that begins again would end; two with one cookie; and one that was traced
    // and jumped from.
    let traced = Stack::new(0, &[]).with_entry(TEXT + 3, SLOT + 8);
    let traced = traced.with_entry(TEXT + 1, SLOT).with_entry(TEXT + 2, SLOT);
    let traced = traced.with_entry(RETURN_TO_HANDLER, SLOT);
    let mut cursor = ReturnHookCursor::default();
    for found in [Ok(TEXT + 2), Ok(TEXT + 1), Err(Error::Unrecovered(RETURN_TO_HANDLER))] {
        assert_eq!(cursor.recover(RETURN_TO_HANDLER, SLOT, &traced), found);
    }
    // The same of rethooks, from the youngest on.
    let node = |at: u64, next: u64, ret: u64| [(at, next), (at + 8, ret), (at + 16, SLOT)];
    let nodes = [node(NODE, NODE + 24, RETHOOK), node(NODE + 24, NODE + 48, TEXT + 2), node(NODE + 48, 0, TEXT + 1)];
    let hooked = Stack::new(0, &[nodes.as_flattened(), &[(LIST, NODE)]].concat());
    let mut cursor = ReturnHookCursor::default();
    for found in [Ok(TEXT + 2), Ok(TEXT + 1), Err(Error::Unrecovered(RETHOOK))] {
        assert_eq!(cursor.recover(RETHOOK, SLOT, &hooked), found);
    }
}

#[test]
fn a_design_gives_up_where_the_second_answer_is_a_trampoline_too() {
    let node = [(LIST, NODE), (NODE, 0), (NODE + 8, RETURN_TO_HANDLER), (NODE + 16, SLOT)];
    let circle = Stack::new(RETURN_TO_HANDLER, &node).with_entry(RETHOOK, SLOT);
    let lost = (vec![], End::Error(Error::Unrecovered(RETURN_TO_HANDLER)), Claim::Unreliable);
    assert_eq!(circle.walk_by("x86-unwind-frame-detect"), lost);
}
