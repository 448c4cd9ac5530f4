//! The kernels' unwinders on stacks drawn word by word: ends, exception boundaries, and what must be refused.

use std::collections::BTreeMap;

use kunwind::kernel::KernelUnwinder;
use kunwind::{
    Abi, Claim, CodeAddress, End, Error, Format, Frame, Regs, Source, StackBounds, Table, Target, Task, Unwinder,
    WalkState, abi, walk,
};

const LOW: u64 = 0xffff_8000_1000_0000;
const HIGH: u64 = LOW + 0x4000;
const STACK: StackBounds = StackBounds { low: LOW, high: HIGH };
/// Everything from here on is text; the entry code is the last page of it.
const TEXT: u64 = 0xffff_8000_8000_0000;
const ENTRY: u64 = TEXT + 0x1000;

/// A task stack with these words; all others are 0x77.
struct Stack(BTreeMap<u64, u64>);

impl Stack {
    fn new(words: &[(u64, u64)]) -> Self {
        Self(words.iter().copied().collect())
    }
}

impl Target for Stack {
    fn read_u64(&self, address: u64) -> Option<u64> {
        STACK.contains(address, 8).then(|| self.0.get(&address).copied().unwrap_or(0x77))
    }

    fn stacks(&self) -> &[StackBounds] {
        std::slice::from_ref(&STACK)
    }

    fn entered_from(&self, _: &StackBounds) -> Option<u64> {
        None
    }

    fn is_text(&self, address: u64) -> bool {
        address >= TEXT
    }

    fn is_exception_entry(&self, address: u64) -> bool {
        address >= ENTRY
    }

    fn task(&self) -> Option<Task> {
        Some(Task { stack: STACK, ret_stack: None, rethooks: None, fork_entry: None })
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        None
    }

    fn trampoline(&self, _: u64) -> Option<kunwind::Trampoline> {
        None
    }
}

fn named(name: &str) -> &'static KernelUnwinder {
    KernelUnwinder::named(name).expect("it is in the catalogue")
}

fn traced(
    unwinder: &dyn Unwinder,
    abi: &Abi,
    stack: &Stack,
    pc: CodeAddress,
    fp: u64,
    sp: u64,
) -> (Vec<u64>, End, Claim) {
    let mut regs = Regs::none();
    regs.set(abi.fp, fp);
    regs.set(abi.sp, sp);
    let start = Frame { pc, regs, source: Source::Start };
    let mut buffer = [start; 16];
    let walk = walk(unwinder, start, stack, &mut WalkState::new(stack.stacks()), &mut buffer);
    (walk.frames[1..].iter().map(|frame| frame.pc.value()).collect(), walk.end, walk.claim)
}

/// From a return address, so that nothing has been interrupted yet.
fn from(unwinder: &dyn Unwinder, abi: &Abi, stack: &Stack, fp: u64) -> (Vec<u64>, End, Claim) {
    traced(unwinder, abi, stack, CodeAddress::Return(TEXT), fp, fp)
}

const FINAL: u64 = HIGH - 24; // task_pt_regs is 320 bytes, its record at 296

/// A record at `LOW + 0x100` called from `TEXT + 1`, and one at `LOW + 0x200` called from `TEXT + 2`.
fn arm64_chain(end: u64, more: &[(u64, u64)]) -> Stack {
    let mut words = vec![
        (LOW + 0x100, LOW + 0x200),
        (LOW + 0x108, TEXT + 1),
        (LOW + 0x200, end),
        (LOW + 0x208, TEXT + 2),
        (FINAL, 0),
        (FINAL + 8, 0),
        (FINAL + 16, 1),
    ];
    words.extend_from_slice(more);
    Stack::new(&words)
}

#[test]
fn arm64_ends_at_the_final_record_of_the_task_and_nowhere_else() {
    let reliable = named("arm64-kunwind");
    let good = from(reliable, &abi::ARM64, &arm64_chain(FINAL, &[]), LOW + 0x100);
    assert_eq!(good, (vec![TEXT + 1, TEXT + 2], End::Outermost, Claim::Reliable));

    let stray = [(LOW + 0x300, 0), (LOW + 0x308, 0), (LOW + 0x310, 1)];
    let (trace, end, claim) = from(reliable, &abi::ARM64, &arm64_chain(LOW + 0x300, &stray), LOW + 0x100);
    assert_eq!((trace.len(), end, claim), (2, End::Error(Error::StrayFinal(LOW + 0x300)), Claim::Unreliable));

    for unknown in [0, 3, 0x77] {
        let odd = [(LOW + 0x300, 0), (LOW + 0x308, 0), (LOW + 0x310, unknown)];
        let (_, end, _) = from(reliable, &abi::ARM64, &arm64_chain(LOW + 0x300, &odd), LOW + 0x100);
        assert_eq!(end, End::Error(Error::UnknownMetadata(LOW + 0x300)), "type {unknown}");
    }

    // A frame pointer of zero is no end here, as it is for a plain chain.
    let (_, end, claim) = from(reliable, &abi::ARM64, &arm64_chain(0, &[]), LOW + 0x100);
    assert_eq!((end, claim), (End::Error(Error::OutsideStacks(0)), Claim::Unreliable));
}

/// 48-bit addresses: a code is in the other bits but bit 55 (Arm ARM D8.10; `ptrauth_strip_kernel_insn_pac` of the return address).
#[test]
fn arm64_takes_the_code_off_a_return_address() {
    let signed = [(LOW + 0x108, 0x5abd_8000_8000_0001)];
    let walked = from(named("arm64-kunwind"), &abi::ARM64, &arm64_chain(FINAL, &signed), LOW + 0x100);
    assert_eq!(walked, (vec![TEXT + 1, TEXT + 2], End::Outermost, Claim::Reliable));
}

#[test]
fn arm64_reads_no_type_of_a_metadata_record_beyond_its_stack() {
    let last = HIGH - 16;
    let stack = arm64_chain(last, &[(last, 0), (last + 8, 0)]);
    let (trace, end, _) = from(named("arm64-kunwind"), &abi::ARM64, &stack, LOW + 0x100);
    assert_eq!((trace, end), (vec![TEXT + 1, TEXT + 2], End::Error(Error::OutsideStacks(last))));
}

#[test]
fn arm64_stops_at_an_exception_when_it_must_be_reliable_and_crosses_it_when_not() {
    // pt_regs at LOW + 0x400: x29 at 232, pc at 256, the record at 296.
    let regs = LOW + 0x400;
    let words = [(regs + 232, FINAL), (regs + 256, TEXT + 0x99), (regs + 296, 0), (regs + 304, 0), (regs + 312, 2)];
    let stack = arm64_chain(regs + 296, &words);
    let (trace, end, claim) = from(named("arm64-kunwind"), &abi::ARM64, &stack, LOW + 0x100);
    assert_eq!((trace, end), (vec![TEXT + 1, TEXT + 2], End::Error(Error::ExceptionBoundary(TEXT + 0x99))));
    assert_eq!(claim, Claim::Unreliable);
    let crossed = from(named("arm64-kunwind:best-effort"), &abi::ARM64, &stack, LOW + 0x100);
    assert_eq!(crossed, (vec![TEXT + 1, TEXT + 2, TEXT + 0x99], End::Outermost, Claim::None));
    // A walk that starts with interrupted registers has already crossed one.
    let start = CodeAddress::Interrupted(TEXT + 5);
    let (_, end, _) = traced(named("arm64-kunwind"), &abi::ARM64, &arm64_chain(FINAL, &[]), start, LOW + 0x100, LOW);
    assert_eq!(end, End::Error(Error::ExceptionBoundary(TEXT + 5)));
}

#[test]
fn riscv_metadata_is_found_below_the_frame_pointer() {
    // FINAL at task_pt_regs + 288, where task_pt_regs = top - 320; s0 points after its 16 bytes, at the type.
    let record = HIGH - 320 + 288;
    let stack = Stack::new(&[
        (LOW + 0x100, record + 16),
        (LOW + 0x108, TEXT + 1),
        (record, 0),
        (record + 8, 0),
        (record + 16, 1),
    ]);
    let walked = from(named("riscv-metadata"), &abi::RISCV64, &stack, LOW + 0x110);
    assert_eq!(walked, (vec![TEXT + 1], End::Outermost, Claim::Reliable));
    // arm64's place of the pointer is 16 bytes off.
    let (trace, end, _) = from(named("riscv-metadata"), &abi::RISCV64, &stack, LOW + 0x100);
    assert_eq!((trace, end), (vec![0x77], End::Error(Error::Misaligned(0x77))));
}

#[test]
fn riscv_mainline_stops_where_a_frame_pointer_cannot_be_one_and_never_says_why() {
    let chain = [(LOW + 0x100, LOW + 0x210), (LOW + 0x108, TEXT + 1), (LOW + 0x200, 0), (LOW + 0x208, TEXT + 2)];
    let misaligned = [(LOW + 0x101, LOW + 0x210), (LOW + 0x109, TEXT + 3)];
    // Records that reach below SP.
    let low = [(LOW + 0x70, 0), (LOW + 0x78, TEXT + 4), (LOW + 0x80, TEXT + 5)];
    let stack = Stack::new(&[chain.as_slice(), &misaligned, &low].concat());
    let start = CodeAddress::Return(TEXT);
    let walked = traced(named("riscv-walk-stackframe"), &abi::RISCV64, &stack, start, LOW + 0x110, LOW + 0x80);
    assert_eq!(walked, (vec![TEXT + 1, TEXT + 2], End::Outermost, Claim::None));
    // Not above SP, misaligned (although there is a record), or beyond what would be the same stack.
    for fp in [LOW + 0x80, LOW + 0x88, LOW + 0x111, HIGH + 8] {
        let walked = traced(named("riscv-walk-stackframe"), &abi::RISCV64, &stack, start, fp, LOW + 0x80);
        assert_eq!(walked, (vec![], End::Outermost, Claim::None), "{fp:#x}");
    }
}

#[test]
fn riscv_mainline_takes_a_lone_s0_in_the_slot_of_ra_for_a_leaf_only_at_the_start_from_pt_regs() {
    // The leaf stored its caller's s0 at s0 - 8; s0 - 16 is a local.
    let stack = Stack::new(&[(LOW + 0x100, 5), (LOW + 0x108, LOW + 0x210), (LOW + 0x200, 0), (LOW + 0x208, TEXT + 2)]);
    let mut regs = Regs::none();
    regs.set(abi::RISCV64.fp, LOW + 0x110);
    regs.set(abi::RISCV64.sp, LOW + 0x100);
    regs.set(abi::RISCV64.ra.expect("riscv64 has a link register"), TEXT + 1);
    let start = Frame { pc: CodeAddress::Interrupted(TEXT), regs, source: Source::Start };
    let mut buffer = [start; 8];
    let found = walk(named("riscv-walk-stackframe"), start, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
    let trace: Vec<u64> = found.frames[1..].iter().map(|frame| frame.pc.value()).collect();
    assert_eq!(trace, [TEXT + 1, TEXT + 2]);
    // A return address is never such a start, even with ra: the slot is believed, and it is not text.
    let called = Frame { pc: CodeAddress::Return(TEXT), ..start };
    let mut buffer = [called; 8];
    let walk = walk(named("riscv-walk-stackframe"), called, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
    assert_eq!(walk.frames.len(), 1);
    let (trace, _, _) = traced(
        named("riscv-walk-stackframe"),
        &abi::RISCV64,
        &stack,
        CodeAddress::Return(TEXT),
        LOW + 0x110,
        LOW + 0x100,
    );
    assert_eq!(trace, []);
}

/// struct pt_regs begins with epc, and has s0 at 64 (arch/riscv/include/asm/ptrace.h).
#[test]
fn riscv_mainline_crosses_an_exception_at_a_return_address_in_the_entry_code_and_only_there() {
    // The handler's record returns to the entry code, with SP at the pt_regs. That is interrupted itself, in the entry code: its pc is
    // no return address, and the walk goes on along its s0.
    let regs = LOW + 0x110;
    let stack = Stack::new(&[
        (LOW + 0x100, 0x5000),
        (LOW + 0x108, ENTRY + 8),
        (regs, ENTRY + 4),
        (regs + 56, 0x5008),
        (regs + 64, LOW + 0x310),
        (LOW + 0x300, 0),
        (LOW + 0x308, TEXT + 2),
    ]);
    let unwinder = named("riscv-walk-stackframe");
    let mut registers = Regs::none();
    registers.set(abi::RISCV64.fp, LOW + 0x110);
    registers.set(abi::RISCV64.sp, LOW + 0x80);
    let start = Frame { pc: CodeAddress::Return(TEXT), regs: registers, source: Source::Start };
    let mut buffer = [start; 8];
    let walk = walk(unwinder, start, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
    let trace: Vec<CodeAddress> = walk.frames[1..].iter().map(|frame| frame.pc).collect();
    let expected = [CodeAddress::Return(ENTRY + 8), CodeAddress::Interrupted(ENTRY + 4), CodeAddress::Return(TEXT + 2)];
    assert_eq!((trace.as_slice(), walk.end), (&expected[..], End::Outermost));
    assert_eq!(walk.frames[2].source, Source::PtRegs { at: regs });
}

#[test]
fn x86_shows_where_an_exception_interrupted_as_an_instruction_and_not_as_a_return_address() {
    let (last, regs) = (HIGH - 168 - 16, LOW + 0x400);
    let saved = [(regs + 32, last), (regs + 128, TEXT + 0x99), (regs + 136, 0x10), (last, 0), (last + 8, TEXT + 7)];
    let stack = Stack::new(&saved);
    let mut registers = Regs::none();
    registers.set(abi::X86_64.fp, regs | 1);
    let start = Frame { pc: CodeAddress::Return(TEXT), regs: registers, source: Source::Start };
    let mut buffer = [start; 8];
    let unwinder = named("x86-unwind-frame:best-effort");
    let walk = walk(unwinder, start, &stack, &mut WalkState::new(stack.stacks()), &mut buffer);
    let trace: Vec<CodeAddress> = walk.frames[1..].iter().map(|frame| frame.pc).collect();
    assert_eq!(trace, [CodeAddress::Interrupted(TEXT + 0x99), CodeAddress::Return(TEXT + 7)]);
}

#[test]
fn x86_ends_below_the_tasks_pt_regs_and_decodes_odd_frame_pointers() {
    let last = HIGH - 168 - 16;
    let regs = LOW + 0x400;
    let words = |end: u64| {
        Stack::new(&[
            (LOW + 0x100, end),
            (LOW + 0x108, TEXT + 1),
            (last, 0),
            (last + 8, TEXT + 7),
            (regs + 32, last),
            (regs + 128, TEXT + 0x99),
            (regs + 136, 0x10),
        ])
    };
    let reliable = named("x86-unwind-frame");
    let best_effort = named("x86-unwind-frame:best-effort");
    let good = from(reliable, &abi::X86_64, &words(last), LOW + 0x100);
    assert_eq!(good, (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable));
    let (trace, end, _) = from(reliable, &abi::X86_64, &words(regs | 1), LOW + 0x100);
    assert_eq!((trace, end), (vec![TEXT + 1], End::Error(Error::ExceptionBoundary(TEXT + 0x99))));
    let crossed = from(best_effort, &abi::X86_64, &words(regs | 1), LOW + 0x100);
    assert_eq!(crossed, (vec![TEXT + 1, TEXT + 0x99, TEXT + 7], End::Outermost, Claim::None));
    // pt_regs of user mode (`user_mode()`: cs has a privilege level) are an end wherever they are.
    let mut of_user = words(regs | 1);
    of_user.0.insert(regs + 136, 0x33);
    for unwinder in [reliable, best_effort] {
        let (trace, end, _) = from(unwinder, &abi::X86_64, &of_user, LOW + 0x100);
        assert_eq!((trace, end), (vec![TEXT + 1], End::Outermost));
    }
    // Zero is no end of a task's stack.
    let (_, end, claim) = from(reliable, &abi::X86_64, &words(0), LOW + 0x100);
    assert_eq!((end, claim), (End::Error(Error::OutsideStacks(0)), Claim::Unreliable));
    // A return address that is not text is refused, not reported.
    let stack = Stack::new(&[(LOW + 0x100, last), (LOW + 0x108, 0x1234)]);
    let (trace, end, _) = from(reliable, &abi::X86_64, &stack, LOW + 0x100);
    assert_eq!((trace, end), (vec![], End::Error(Error::NotText(0x1234))));
}

#[test]
fn x86_follows_no_misaligned_frame_pointer() {
    let fp = LOW + 0x102;
    let stack = Stack::new(&[(fp, HIGH - 168 - 16), (fp + 8, TEXT + 1)]);
    let (trace, end, claim) = from(named("x86-unwind-frame"), &abi::X86_64, &stack, fp);
    assert_eq!((trace, end, claim), (vec![], End::Error(Error::Misaligned(fp)), Claim::Unreliable));
}

#[test]
fn x86_knows_the_last_record_where_gcc_realigned_the_stack() {
    // The return address is copied below the realigned stack pointer, one word lower than where it was.
    let last = HIGH - 168 - 16;
    let walked = |copied: u64| {
        let end = [(last - 8, 0), (last, copied), (last + 8, TEXT + 7)];
        let stack = Stack::new(&[[(LOW + 0x100, last - 8), (LOW + 0x108, TEXT + 1)].as_slice(), &end].concat());
        from(named("x86-unwind-frame"), &abi::X86_64, &stack, LOW + 0x100)
    };
    assert_eq!(walked(TEXT + 7), (vec![TEXT + 1, TEXT + 7], End::Outermost, Claim::Reliable));
    let lost = (vec![TEXT + 1, TEXT + 8], End::Error(Error::OutsideStacks(0)), Claim::Unreliable);
    assert_eq!(walked(TEXT + 8), lost, "another address is no copy");
}

#[test]
fn a_record_of_a_trampoline_is_consumed_like_any_other() {
    // It names itself as the caller's.
    let record = LOW + 0x100;
    let words = |fp: u64| [(record, 0), (record + 8, 0), (record + 16, 3), (record + 24, fp), (record + 32, TEXT + 1)];
    for (name, abi, fp) in
        [("arm64-sframe-pending", &abi::ARM64, record), ("riscv-metadata-pending", &abi::RISCV64, record + 16)]
    {
        let (trace, end, claim) = from(named(name), abi, &Stack::new(&words(fp)), fp);
        assert_eq!((trace, claim), (vec![TEXT + 1], Claim::Unreliable), "{name}: {end}");
    }
}

#[test]
fn the_next_record_must_not_overlap_the_last() {
    let record = LOW + 0x100;
    let stack = Stack::new(&[(record, record + 8), (record + 8, TEXT + 1), (record + 16, TEXT + 2)]);
    let walked = from(named("arm64-kunwind"), &abi::ARM64, &stack, record);
    assert_eq!(walked, (vec![TEXT + 1], End::Error(Error::OutsideStacks(record + 8)), Claim::Unreliable));
}
