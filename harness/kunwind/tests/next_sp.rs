//! x86-64's walk along rbp from stack to stack, on stacks drawn word by word: each says from where it was entered.

use std::collections::BTreeMap;

use kunwind::kernel::KernelUnwinder;
use kunwind::{
    CodeAddress, End, Error, Format, Frame, Regs, Source, StackBounds, Table, Target, Task, Trampoline, WalkState, abi,
    walk,
};

const TASK: StackBounds = StackBounds { low: 0xffff_8000_1000_0000, high: 0xffff_8000_1000_4000 };
const IRQ: StackBounds = StackBounds { low: 0xffff_8000_2000_0000, high: 0xffff_8000_2000_4000 };
const NMI: StackBounds = StackBounds { low: 0xffff_8000_3000_0000, high: 0xffff_8000_3000_1000 };
const TEXT: u64 = 0xffff_8000_8000_0000;
/// The last record of the task, right below its pt_regs of 168 bytes.
const LAST: u64 = TASK.high - 168 - 16;
/// A record on each of the other stacks.
const ON_IRQ: u64 = IRQ.low + 0x100;
const ON_NMI: u64 = NMI.low + 0x100;

struct Kernel(BTreeMap<u64, u64>);

impl Target for Kernel {
    fn read_u64(&self, address: u64) -> Option<u64> {
        Some(self.0.get(&address).copied().unwrap_or_default())
    }

    fn stacks(&self) -> &[StackBounds] {
        &[TASK, IRQ, NMI]
    }

    fn entered_from(&self, stack: &StackBounds) -> Option<u64> {
        let at = [(IRQ, 8), (NMI, 16)].into_iter().find(|(of, _)| of == stack);
        at.and_then(|(of, below)| self.read_u64(of.high - below))
    }

    fn is_text(&self, address: u64) -> bool {
        address >= TEXT
    }

    fn is_exception_entry(&self, _: u64) -> bool {
        false
    }

    fn task(&self) -> Option<Task> {
        Some(Task { stack: TASK, ret_stack: None, rethooks: None, fork_entry: None })
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    fn trampoline(&self, _: u64) -> Option<Trampoline> {
        None
    }
}

/// The walk from this rbp, where records lead like this, and stacks were entered from there.
fn traced(fp: u64, records: &[(u64, u64)], entered_from: &[(u64, u64)]) -> (usize, End) {
    let words = records.iter().flat_map(|(at, next)| [(*at, *next), (*at + 8, TEXT + 7)]);
    let target = Kernel(words.chain(entered_from.iter().copied()).collect());
    let mut regs = Regs::none();
    regs.set(abi::X86_64.fp, fp);
    regs.set(abi::X86_64.sp, fp);
    let start = Frame { pc: CodeAddress::Return(TEXT), regs, source: Source::Start };
    let unwinder = KernelUnwinder::named("x86-unwind-frame").expect("it is in the catalogue");
    let mut buffer = [start; 16];
    let walk = walk(unwinder, start, &target, &mut WalkState::new(target.stacks()), &mut buffer);
    (walk.frames.len(), walk.end)
}

const OF_IRQ: u64 = IRQ.high - 8;
const OF_NMI: u64 = NMI.high - 16;

#[test]
fn a_stack_leads_to_the_one_from_which_it_was_entered() {
    let records = [(ON_IRQ, LAST), (LAST, 0)];
    assert_eq!(traced(ON_IRQ, &records, &[(OF_IRQ, LAST - 8)]), (3, End::Outermost));
    let lost = (2, End::Error(Error::OutsideStacks(LAST)));
    assert_eq!(traced(ON_IRQ, &records, &[]), lost, "nothing says that the task was interrupted");
    assert_eq!(traced(ON_IRQ, &records, &[(OF_IRQ, NMI.low)]), lost, "but the NMI's stack was");
}

#[test]
fn a_stack_without_a_frame_is_passed_through() {
    let records = [(ON_NMI, LAST), (LAST, 0)];
    assert_eq!(traced(ON_NMI, &records, &[(OF_NMI, IRQ.high - 8), (OF_IRQ, LAST)]), (3, End::Outermost));
    let all = [(ON_NMI, LAST), (LAST, ON_IRQ), (ON_IRQ, 0)];
    let (_, end) = traced(ON_NMI, &all, &[(OF_NMI, LAST)]);
    assert_eq!(end, End::Outermost, "the last record is below the task's pt_regs, wherever it leads");
}

#[test]
fn no_stack_is_entered_twice() {
    let records = [(ON_NMI, ON_IRQ), (ON_IRQ, LAST), (LAST, 0)];
    let circle = [(OF_NMI, ON_IRQ), (OF_IRQ, ON_NMI)];
    assert_eq!(traced(ON_NMI, &records, &circle), (3, End::Error(Error::OutsideStacks(LAST))));
}

/// A task's stack says nothing: from it, no other is reached.
#[test]
fn nothing_leads_away_from_a_task() {
    let low = TASK.low + 0x100;
    let records = [(low, ON_IRQ), (ON_IRQ, LAST), (LAST, 0)];
    assert_eq!(traced(low, &records, &[(OF_IRQ, LAST)]), (2, End::Error(Error::OutsideStacks(ON_IRQ))));
}
