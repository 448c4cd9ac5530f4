//! The frame-record walk on stacks drawn word by word, without any emulator.

use kunwind::{
    Abi, Claim, CodeAddress, End, Error, Format, Frame, FrameRecordUnwinder, Regs, Source, StackBounds, Table, Target,
    Unwinder as _, WalkState, abi, walk,
};

use crate::no_kernel::no_kernel;

const LOW: u64 = 0xffff_8000_1000_0000;

/// A stack of words that starts at `LOW`.
struct Stack {
    words: Vec<u64>,
    bounds: Vec<StackBounds>,
}

impl Stack {
    fn new(words: &[u64]) -> Self {
        Self { words: words.to_vec(), bounds: vec![StackBounds { low: LOW, high: LOW + 8 * words.len() as u64 }] }
    }
}

impl Target for Stack {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let index = address.checked_sub(LOW)? / 8;
        self.words.get(usize::try_from(index).ok()?).copied()
    }

    fn stacks(&self) -> &[StackBounds] {
        &self.bounds
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    no_kernel!();
}

const fn slot(index: u64) -> u64 {
    LOW + 8 * index
}

fn traced(abi: &'static Abi, stack: &Stack, fp: u64) -> (Vec<u64>, End, Claim) {
    let mut regs = Regs::none();
    regs.set(abi.fp, fp);
    let start = Frame { pc: CodeAddress::Interrupted(0x10), regs, source: Source::Start };
    let mut buffer = [start; 8];
    let mut state = WalkState::new(stack.stacks());
    let walk = walk(&FrameRecordUnwinder::new(abi), start, stack, &mut state, &mut buffer);
    (walk.frames.iter().map(|frame| frame.pc.value()).collect(), walk.end, walk.claim)
}

#[test]
fn arm64_records_start_at_the_frame_pointer() {
    //                     0  1     2        3     4  5
    let stack = Stack::new(&[7, 7, slot(4), 0x20, 0, 0x30]);
    assert_eq!(traced(&abi::ARM64, &stack, slot(2)), (vec![0x10, 0x20, 0x30], End::Outermost, Claim::Reliable));
}

#[test]
fn riscv64_records_end_at_the_frame_pointer() {
    let stack = Stack::new(&[7, 7, slot(6), 0x20, 0, 0x30]);
    assert_eq!(traced(&abi::RISCV64, &stack, slot(4)), (vec![0x10, 0x20, 0x30], End::Outermost, Claim::Reliable));
}

#[test]
fn the_cfa_is_reported_where_the_convention_fixes_it() {
    for (abi, fp, cfa) in
        [(&abi::ARM64, slot(0), None), (&abi::RISCV64, slot(2), Some(slot(2))), (&abi::X86_64, slot(0), Some(slot(2)))]
    {
        let stack = Stack::new(&[0, 0x20]);
        let mut regs = Regs::none();
        regs.set(abi.fp, fp);
        let start = Frame { pc: CodeAddress::Interrupted(0x10), regs, source: Source::Start };
        let mut buffer = [start; 4];
        let walk =
            walk(&FrameRecordUnwinder::new(abi), start, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
        assert_eq!(walk.frames[1].regs.get(abi.sp), cfa);
        assert_eq!(walk.frames[1].regs.get(abi.fp), Some(0));
    }
}

/// A judge does not walk again from another instruction of the same frame (`ignores_pc` of the harness's subject).
#[test]
fn where_a_walk_goes_does_not_depend_on_its_pc() {
    let stack = Stack::new(&[slot(4), 0x20, slot(4), 0x20]);
    for abi in [&abi::ARM64, &abi::RISCV64, &abi::X86_64] {
        let step = |pc, fp| {
            let mut regs = Regs::none();
            regs.set(abi.fp, fp);
            let mut frame = Frame { pc, regs, source: Source::Start };
            let mut state = WalkState::new(stack.stacks());
            let step = FrameRecordUnwinder::new(abi).step(&mut frame, &mut state, &stack);
            (step, step.is_ok_and(|step| step == kunwind::Step::Caller).then_some(frame), state)
        };
        let pcs = [CodeAddress::Interrupted(0), CodeAddress::Interrupted(0x10), CodeAddress::Return(0x10)];
        for fp in [0, slot(2), slot(2) + 4, slot(9)] {
            let [first, second, third] = pcs.map(|pc| step(pc, fp));
            assert!(first == second && second == third, "{fp:#x}");
        }
        assert!(step(pcs[0], slot(2)).1.is_some(), "a record is followed");
    }
}

#[test]
fn a_chain_that_does_not_rise_is_an_error_and_not_a_loop() {
    let stack = Stack::new(&[slot(0), 0x20, slot(0), 0x30]);
    let (trace, end, claim) = traced(&abi::ARM64, &stack, slot(2));
    assert_eq!(trace, [0x10, 0x30]);
    assert_eq!(end, End::Error(Error::OutsideStacks(slot(0))));
    assert_eq!(claim, Claim::Unreliable);
}

#[test]
fn a_misaligned_or_foreign_frame_pointer_is_refused() {
    let stack = Stack::new(&[0, 0]);
    assert_eq!(traced(&abi::ARM64, &stack, slot(0) + 4).1, End::Error(Error::Misaligned(slot(0) + 4)));
    assert_eq!(traced(&abi::ARM64, &stack, 0x1000).1, End::Error(Error::OutsideStacks(0x1000)));
    assert_eq!(traced(&abi::RISCV64, &stack, 8).1, End::Error(Error::OutsideStacks(8u64.wrapping_sub(16))));
}

#[test]
fn a_zero_frame_pointer_or_return_address_ends_the_chain() {
    let stack = Stack::new(&[0x99, 0]);
    assert_eq!(traced(&abi::X86_64, &stack, 0), (vec![0x10], End::Outermost, Claim::Reliable));
    assert_eq!(traced(&abi::X86_64, &stack, slot(0)), (vec![0x10], End::Outermost, Claim::Reliable));
}

#[test]
fn a_full_buffer_is_never_a_claim() {
    let words: Vec<u64> = (0..20).flat_map(|record| [slot(2 * (record + 1)), 0x100 + record]).collect();
    let (trace, end, claim) = traced(&abi::ARM64, &Stack::new(&words), slot(0));
    assert_eq!((trace.len(), end, claim), (8, End::Full, Claim::Unreliable));
}

#[test]
fn memory_that_cannot_be_read_is_an_error() {
    let mut stack = Stack::new(&[0, 0]);
    stack.bounds[0].high += 16;
    assert_eq!(traced(&abi::ARM64, &stack, slot(2)).1, End::Error(Error::Unreadable(slot(2))));
}
