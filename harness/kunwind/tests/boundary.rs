//! The step across exception boundaries by SFrame, rule by rule: versions 5 and 6 of arm64's series, defects included,
//! and what their review agreed on.

use std::collections::BTreeMap;

use kunwind::kernel::KernelUnwinder;
use kunwind::{
    Abi, CfaRule, Claim, CodeAddress, End, Entry, Error, Format, Frame, Register, Regs, ReturnHook, Rule, Source,
    StackBounds, Table, Target, Task, Trampoline, UnwindRow, WalkState, abi, walk,
};

use crate::by_pc::Rows;
use crate::no_exceptions::no_exceptions;

const ARM64: &Abi = &abi::ARM64;
const LOW: u64 = 0xffff_8000_1000_0000;
const HIGH: u64 = LOW + 0x4000;
const STACK: StackBounds = StackBounds { low: LOW, high: HIGH };
/// The record at the end of `task_pt_regs`.
const FINAL: u64 = HIGH - 24;
const TEXT: u64 = 0xffff_8000_8000_0000;
/// The pc of an interrupted frame, of its caller, and of that one's.
const PC: u64 = TEXT + 0x100;
const CALLER: u64 = TEXT + 0x200;
const OLDER: u64 = TEXT + 0x300;
/// Where every hooked return goes. No node of a hook holds an original.
const TRAMPOLINE: u64 = TEXT + 0xf00;
/// Where pt_regs lie, and SP and FP of the code that was interrupted there.
const PT_REGS: u64 = LOW + 0x400;
const META: u64 = PT_REGS + 296;
const SP: u64 = LOW + 0x800;
const FP: u64 = LOW + 0x900;

const V5: &str = "arm64-sframe-v5";
const V6: &str = "arm64-sframe-v6";
const AGREED: &str = "arm64-sframe";

/// A task stack with these words, all others 0x77, and rows.
struct Kernel {
    words: BTreeMap<u64, u64>,
    rows: Rows,
}

impl Target for Kernel {
    fn read_u64(&self, address: u64) -> Option<u64> {
        STACK.contains(address, 8).then(|| self.words.get(&address).copied().unwrap_or(0x77))
    }

    fn stacks(&self) -> &[StackBounds] {
        std::slice::from_ref(&STACK)
    }

    no_exceptions!(TEXT);

    fn task(&self) -> Option<Task> {
        Some(Task { stack: STACK, ret_stack: None, rethooks: None, fork_entry: None })
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        (format == Format::SFrame).then_some(&self.rows as &dyn Table)
    }

    fn trampoline(&self, pc: u64) -> Option<Trampoline> {
        (pc == TRAMPOLINE).then_some(Trampoline { hook: ReturnHook::Rethook, start: TRAMPOLINE, end: TRAMPOLINE + 4 })
    }
}

/// The interrupted code's frame record at `FP`, with `CALLER`; that of its caller, with `OLDER`; FINAL.
fn kernel(words: &[(u64, u64)], rows: &[(u64, Entry)]) -> Kernel {
    let chain = [
        (FP, FP + 0x100),
        (FP + 8, CALLER),
        (FP + 0x100, FINAL),
        (FP + 0x108, OLDER),
        (FINAL, 0),
        (FINAL + 8, 0),
        (FINAL + 16, 1),
    ];
    Kernel { words: chain.iter().chain(words).copied().collect(), rows: Rows(rows.iter().copied().collect()) }
}

/// pt_regs that an exception left at `pc`.
fn pt_regs(pc: u64, fp: u64, sp: u64, lr: u64) -> [(u64, u64); 7] {
    [
        (PT_REGS + 232, fp),
        (PT_REGS + 240, lr),
        (PT_REGS + 248, sp),
        (PT_REGS + 256, pc),
        (META, 0),
        (META + 8, 0),
        (META + 16, 2),
    ]
}

/// The row CFA = SP + `offset`, with the rules of the return address and the frame pointer.
const fn by_sp(offset: i64, ra: Rule, fp: Rule) -> Entry {
    let cfa = CfaRule::RegOffset(abi::ARM64.sp, offset);
    Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false })
}

/// Nothing has been saved yet.
const LEAF: Entry = by_sp(0, Rule::Retain, Rule::Retain);

/// The row of a function whose frame record is all of its frame.
const BY_FP: Entry = Entry::Row(UnwindRow {
    cfa: CfaRule::RegOffset(abi::ARM64.fp, 16),
    ra: Rule::CfaOffsetDeref(-8),
    fp: Rule::CfaOffsetDeref(-16),
    mangled_ra: false,
    signal: false,
});

/// The pcs of a walk after its first, how it ended, and what it claims.
type Walked = (Vec<u64>, End, Claim);

fn walked(name: &str, kernel: &Kernel, pc: CodeAddress, fp: u64, sp: u64, entries: usize) -> Walked {
    let mut regs = Regs::none();
    regs.set(ARM64.fp, fp);
    regs.set(ARM64.sp, sp);
    regs.set(Register(9), sp);
    regs.set(ARM64.ra.expect("arm64 has a link register"), CALLER);
    let source = match pc {
        CodeAddress::Interrupted(_) => Source::PtRegs { at: PT_REGS },
        CodeAddress::Return(_) => Source::Start,
    };
    let start = Frame { pc, regs, source };
    let mut buffer = vec![start; entries];
    let unwinder = KernelUnwinder::named(name).expect("it is in the catalogue");
    let walk = walk(unwinder, start, kernel, &mut WalkState::new(kernel.stacks()), &mut buffer);
    (walk.frames[1..].iter().map(|frame| frame.pc.value()).collect(), walk.end, walk.claim)
}

/// From pt_regs at `PC`.
fn from_regs(name: &str, kernel: &Kernel, fp: u64, sp: u64) -> Walked {
    walked(name, kernel, CodeAddress::Interrupted(PC), fp, sp, 16)
}

/// From the handler of the exception: a frame record below pt_regs leads to them.
fn from_handler(name: &str, kernel: &mut Kernel) -> Walked {
    kernel.words.extend([(LOW + 0x100, META), (LOW + 0x108, TEXT + 8)]);
    walked(name, kernel, CodeAddress::Return(TEXT), LOW + 0x100, LOW + 0x100, 16)
}

fn good(trace: &[u64]) -> Walked {
    (trace.to_vec(), End::Outermost, Claim::Reliable)
}

#[test]
fn v5_and_v6_drop_the_return_code_of_the_step_that_fails_and_of_a_full_buffer() {
    let broken = kernel(&[(FP + 0x100, 0x88)], &[]);
    let full = kernel(&[], &[]);
    for (name, claim) in [(V5, Claim::Reliable), (V6, Claim::Reliable), (AGREED, Claim::Unreliable)] {
        let ended = walked(name, &broken, CodeAddress::Return(TEXT), FP, SP, 16);
        let (trace, End::Error(_), claimed) = ended else { panic!("{name}: {ended:?}") };
        assert_eq!((trace, claimed), (vec![CALLER, OLDER], claim), "{name}");
        let ended = walked(name, &full, CodeAddress::Return(TEXT), FP, SP, 2);
        assert_eq!(ended, (vec![CALLER], End::Full, claim), "{name}");
    }
}

#[test]
fn an_outermost_row_ends_the_walk_well_in_v5_alone() {
    let kernel = kernel(&[], &[(PC, Entry::Outermost)]);
    assert_eq!(from_regs(V5, &kernel, FP, SP), good(&[]));
    for name in [V6, AGREED] {
        let fallen_back = (vec![CALLER, OLDER], End::Outermost, Claim::Unreliable);
        assert_eq!(from_regs(name, &kernel, FP, SP), fallen_back, "{name}");
    }
}

#[test]
fn v5_does_not_flag_metadata_in_place_of_a_row() {
    // Entry code, where FP names the record in pt_regs already. What these interrupted has a row.
    let kernel = kernel(&pt_regs(TEXT + 0x500, FP, SP, 0), &[(TEXT + 0x500, BY_FP)]);
    let trace = [TEXT + 0x500, CALLER, OLDER];
    assert_eq!(from_regs(V5, &kernel, META, SP), good(&trace));
    for name in [V6, AGREED] {
        assert_eq!(from_regs(name, &kernel, META, SP), (trace.to_vec(), End::Outermost, Claim::Unreliable), "{name}");
    }
}

#[test]
fn v5_falls_back_to_the_frame_record_where_metadata_fails_and_flags_that() {
    let kernel = kernel(&[], &[]);
    for name in [V5, V6, AGREED] {
        let fallen_back = (vec![CALLER, OLDER], End::Outermost, Claim::Unreliable);
        assert_eq!(from_regs(name, &kernel, FP, SP), fallen_back, "{name}");
    }
    // The word after an ordinary record may look like the type of metadata: the 320 bytes around it are believed.
    let mut kernel = kernel;
    kernel.words.extend([(FP + 16, 2), (FP - 296 + 256, TEXT + 0x600), (FP - 296 + 232, FINAL)]);
    assert_eq!(from_regs(V5, &kernel, FP, SP), good(&[TEXT + 0x600]));
}

#[test]
fn v5_and_v6_lose_the_registers_of_pt_regs_that_the_step_from_pt_regs_finds() {
    // As above, but the return address of what was interrupted is in its link register.
    let kernel = kernel(&pt_regs(TEXT + 0x500, FP, SP, TEXT + 0x508), &[(TEXT + 0x500, LEAF)]);
    for name in [V5, V6] {
        let lost = (vec![TEXT + 0x500, CALLER, OLDER], End::Outermost, Claim::Unreliable);
        assert_eq!(from_regs(name, &kernel, META, SP), lost, "{name}");
    }
    let (trace, ..) = from_regs(AGREED, &kernel, META, SP);
    assert_eq!(trace, [TEXT + 0x500, TEXT + 0x508, CALLER, OLDER]);
}

#[test]
fn a_row_uses_up_the_stack_to_the_return_address_and_reads_nothing_that_is_used_up() {
    // The caller's frame pointer is said to be the slot of the return address.
    let row = by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16));
    let overlaps = kernel(&[(SP + 16, SP + 24), (SP + 24, TEXT + 0x508), (SP + 32, OLDER)], &[(PC, row)]);
    let (trace, end, _) = from_regs(AGREED, &overlaps, FP, SP);
    assert_eq!((trace, end), (vec![TEXT + 0x508], End::Error(Error::OutsideStacks(SP + 24))));
    // The slot of the frame pointer is below pt_regs, which are used up: the row is of no use.
    let below =
        by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref((LOW + 0x200).wrapping_sub(SP + 32).cast_signed()));
    let mut kernel = kernel(&[(LOW + 0x200, FP + 0x100), (SP + 24, TEXT + 0x508)], &[(PC, below)]);
    kernel.words.extend(pt_regs(PC, FP, SP, 0));
    let by_record = (vec![TEXT + 8, PC, CALLER, OLDER], End::Outermost, Claim::Unreliable);
    assert_eq!(from_handler(AGREED, &mut kernel), by_record);
}

/// 48-bit addresses: a code is in the other bits but bit 55 (Arm ARM D8.10).
#[test]
fn a_row_gives_the_return_address_without_its_code() {
    let row = by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16));
    let signed = kernel(&[(SP + 16, FP), (SP + 24, 0x5abd_8000_8000_0508)], &[(PC, row)]);
    for name in [V5, AGREED] {
        assert_eq!(from_regs(name, &signed, FP, SP), good(&[TEXT + 0x508, CALLER, OLDER]), "{name}");
    }
}

#[test]
fn v5_takes_sp_from_the_handlers_frame_record_and_not_from_pt_regs() {
    let row = by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16));
    let words = [(SP + 16, FP), (SP + 24, TEXT + 0x508)];
    let mut kernel = kernel(&words, &[(PC, row)]);
    kernel.words.extend(pt_regs(PC, FP, SP, 0));
    let trace = [TEXT + 8, PC, TEXT + 0x508, CALLER, OLDER];
    for name in [V6, AGREED] {
        assert_eq!(from_handler(name, &mut kernel), good(&trace), "{name}");
    }
    // Its CFA is below pt_regs, which have been consumed: the frame record is taken.
    let skips = [TEXT + 8, PC, CALLER, OLDER].to_vec();
    assert_eq!(from_handler(V5, &mut kernel), (skips, End::Outermost, Claim::Unreliable));
    // A walk that starts with pt_regs has their SP.
    for name in [V5, V6, AGREED] {
        assert_eq!(from_regs(name, &kernel, FP, SP), good(&trace[2..]), "{name}");
    }
}

#[test]
fn v5_tries_a_row_where_a_frame_record_fails_and_does_not_flag_that() {
    let row = by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16));
    let words = [(SP + 16, FP), (SP + 24, TEXT + 0x508)];
    // The frame pointer is on no stack.
    let by_row = |name, row| walked(name, &kernel(&words, &[(TEXT, row)]), CodeAddress::Return(TEXT), 0x88, SP, 16);
    assert_eq!(by_row(V5, row), good(&[TEXT + 0x508, CALLER, OLDER]));
    assert_eq!(by_row(V6, row), (vec![], End::Error(Error::OutsideStacks(0x88)), Claim::Reliable));
    assert_eq!(by_row(AGREED, row), (vec![], End::Error(Error::OutsideStacks(0x88)), Claim::Unreliable));
    // There are no pt_regs, so there is no link register.
    let (trace, end, _) = by_row(V5, LEAF);
    assert_eq!((trace, end), (vec![], End::Error(Error::NoRegister(ARM64.ra.expect("arm64 has one")))));
    // After a row SP is the CFA, after a frame record the record's address.
    let at_cfa = [(TEXT, row), (TEXT + 0x508, row)];
    let mut chain =
        kernel(&[(SP + 16, 0x88), (SP + 24, TEXT + 0x508), (SP + 48, FP), (SP + 56, TEXT + 0x510)], &at_cfa);
    let walk = |kernel: &Kernel, fp| walked(V5, kernel, CodeAddress::Return(TEXT), fp, SP, 16);
    assert_eq!(walk(&chain, 0x88), good(&[TEXT + 0x508, TEXT + 0x510, CALLER, OLDER]));
    chain.rows.0.insert(CALLER, by_sp(0x40, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16)));
    chain.words.extend([(FP, 0x88), (FP + 0x30, FP + 0x100), (FP + 0x38, TEXT + 0x518)]);
    assert_eq!(walk(&chain, FP), good(&[CALLER, TEXT + 0x518, OLDER]));
}

#[test]
fn no_row_is_followed_with_a_misaligned_frame_pointer() {
    let kernel = kernel(&[], &[(PC, LEAF)]);
    for (name, claim) in [(V5, Claim::Reliable), (V6, Claim::Reliable), (AGREED, Claim::Unreliable)] {
        let refused = (vec![], End::Error(Error::Misaligned(FP + 4)), claim);
        assert_eq!(from_regs(name, &kernel, FP + 4, SP), refused, "{name}");
    }
}

#[test]
fn v5_follows_no_row_with_a_misaligned_sp() {
    let kernel = kernel(&[], &[(PC, by_sp(28, Rule::Retain, Rule::Retain))]);
    for (name, claim) in [(V5, Claim::Unreliable), (V6, Claim::Reliable), (AGREED, Claim::Reliable)] {
        let (trace, _, claimed) = from_regs(name, &kernel, FP, SP + 4);
        // With the row, the link register comes before the record's caller.
        let expected = if name == V5 { vec![CALLER, OLDER] } else { vec![CALLER, CALLER, OLDER] };
        assert_eq!((trace, claimed), (expected, claim), "{name}");
    }
}

#[test]
fn each_version_checks_the_cfa_with_its_own_mask_and_the_order_of_fp_and_sp_as_it_does() {
    // CFA modulo 32, and who follows the row.
    for (offset, followers) in [(0, &[V5, V6, AGREED][..]), (16, &[V5, AGREED]), (8, &[V5, V6]), (2, &[V6]), (4, &[])] {
        let kernel = kernel(&[], &[(PC, by_sp(offset, Rule::Retain, Rule::Retain))]);
        for name in [V5, V6, AGREED] {
            let (trace, ..) = from_regs(name, &kernel, FP, SP);
            assert_eq!(trace.len() == 3, followers.contains(&name), "{name}, CFA {offset}");
        }
    }
    let kernel = kernel(&[], &[(PC, BY_FP)]);
    for name in [V5, V6, AGREED] {
        for (sp, is_refused) in [(FP, false), (FP + 32, name != AGREED)] {
            // The row's CFA has bit 4 set, which v6 refuses in any case.
            let claim = if is_refused || name == V6 { Claim::Unreliable } else { Claim::Reliable };
            let ended = (vec![CALLER, OLDER], End::Outermost, claim);
            assert_eq!(from_regs(name, &kernel, FP, sp), ended, "{name}, SP {sp:#x}");
        }
    }
}

#[test]
fn a_return_hook_that_does_not_know_the_address_is_no_reason_for_a_fallback() {
    let lost = End::Error(Error::Unrecovered(TRAMPOLINE));
    // By a row, by metadata, and by a frame record whose pc has a row.
    let row = by_sp(32, Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(-16));
    let by_row = kernel(&[(SP + 16, FP), (SP + 24, TRAMPOLINE)], &[(PC, row)]);
    for name in [V5, V6, AGREED] {
        let (trace, end, _) = from_regs(name, &by_row, FP, SP);
        assert_eq!((trace, end), (vec![], lost), "{name}");
    }
    let by_metadata = kernel(&pt_regs(TRAMPOLINE, FP, SP, 0), &[]);
    assert_eq!(from_regs(V5, &by_metadata, META, SP), (vec![], lost, Claim::Reliable));
    let by_record = kernel(&[(FP + 8, TRAMPOLINE), (SP + 16, FP), (SP + 24, CALLER)], &[(TEXT, row)]);
    let ended = walked(V5, &by_record, CodeAddress::Return(TEXT), FP, SP, 16);
    assert_eq!(ended, (vec![], lost, Claim::Reliable));
}

#[test]
fn no_rule_of_a_flexible_fde_is_followed() {
    let (sp, fp) = (abi::ARM64.sp, abi::ARM64.fp);
    let saved = Rule::CfaOffsetDeref(-8);
    let rows = [
        (CfaRule::RegOffset(Register(9), 0), Rule::Retain, Rule::Retain),
        (CfaRule::RegOffsetDeref(sp, 0), Rule::Retain, Rule::Retain),
        (CfaRule::RegOffset(sp, 0), Rule::RegOffset(fp, 0), Rule::Retain),
        (CfaRule::RegOffset(sp, 0), Rule::RegOffsetDeref(fp, 8), Rule::Retain),
        (CfaRule::RegOffset(sp, 0), Rule::CfaOffset(-8), Rule::Retain),
        (CfaRule::RegOffset(sp, 32), saved, Rule::RegOffset(fp, 0)),
        (CfaRule::RegOffset(sp, 32), saved, Rule::RegOffsetDeref(fp, 0)),
        (CfaRule::RegOffset(sp, 32), saved, Rule::CfaOffset(-16)),
    ];
    for (cfa, ra, fp) in rows {
        let row = UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false };
        let kernel = kernel(&[(SP, SP), (SP + 24, TEXT + 0x508)], &[(PC, Entry::Row(row))]);
        for name in [V5, V6, AGREED] {
            let fallen_back = (vec![CALLER, OLDER], End::Outermost, Claim::Unreliable);
            assert_eq!(from_regs(name, &kernel, FP, SP), fallen_back, "{name}: {row:?}");
        }
    }
}
