//! The walk of user stacks by a kernel: each of its rules on a stack drawn word by word.

use std::collections::BTreeMap;

use kunwind::{
    Abi, CfaRule, CodeAddress, End, Entry, Error, Format, Frame, Register, Regs, Rule, Source, StackBounds, Table,
    Target, UnwindRow, UnwindUser, WalkState, abi, walk,
};

use crate::no_kernel::no_kernel;

const SP: u64 = 0x7fff_0000;
const TOP: u64 = SP + 0x1000;
const PC: u64 = 0x40_0000;
/// The pc of the youngest frame's caller, and of that one's.
const CALLER: u64 = PC + 0x100;
const OLDER: u64 = PC + 0x200;
const RBX: Register = Register(3);

/// Rows by pc; other pcs are in no function.
struct Rows(BTreeMap<u64, Result<Entry, Error>>);

impl Table for Rows {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.0.get(&pc).copied().transpose()
    }
}

/// User memory from `SP` up to `TOP`, zero where nothing else is said, and an SFrame section or none.
struct User {
    words: BTreeMap<u64, u64>,
    section: Option<Rows>,
}

impl User {
    fn new(words: &[(u64, u64)], rows: &[(u64, Entry)]) -> Self {
        let rows = rows.iter().map(|(pc, entry)| (*pc, Ok(*entry))).collect();
        Self { words: words.iter().copied().collect(), section: Some(Rows(rows)) }
    }
}

impl Target for User {
    fn read_u64(&self, address: u64) -> Option<u64> {
        (SP..=TOP - 8).contains(&address).then(|| self.words.get(&address).copied().unwrap_or(0))
    }

    fn stacks(&self) -> &[StackBounds] {
        &[]
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        let section = self.section.as_ref().filter(|_| format == Format::SFrame)?;
        Some(section)
    }

    no_kernel!();
}

const fn row(cfa: CfaRule, ra: Rule, fp: Rule) -> Entry {
    Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false })
}

/// CFA = SP + `offset`, the return address below it.
const fn by_sp(offset: i64) -> Entry {
    row(CfaRule::RegOffset(abi::X86_64.sp, offset), Rule::CfaOffsetDeref(-8), Rule::Retain)
}

const fn by_fp(offset: i64) -> Entry {
    row(CfaRule::RegOffset(abi::X86_64.fp, offset), Rule::CfaOffsetDeref(-8), Rule::Retain)
}

/// Walks from `PC` with this SP, FP and one more register: the pcs after the first, and the end.
fn walked_from(
    unwinder: UnwindUser,
    user: &User,
    of: &Abi,
    sp: u64,
    fp: u64,
    more: (Register, u64),
) -> (Vec<u64>, End) {
    let mut regs = Regs::none();
    for (register, value) in [(of.sp, sp), (of.fp, fp), more] {
        regs.set(register, value);
    }
    let start = Frame { pc: CodeAddress::Interrupted(PC), regs, source: Source::Start };
    let mut buffer = [start; 8];
    let walk = walk(&unwinder, start, user, &mut WalkState::new(&[]), &mut buffer);
    (walk.frames[1..].iter().map(|frame| frame.pc.value()).collect(), walk.end)
}

fn walked(user: &User, fp: u64) -> (Vec<u64>, End) {
    walked_from(UnwindUser::new(&abi::X86_64), user, &abi::X86_64, SP, fp, (RBX, SP + 0x40))
}

fn arm64(user: &User) -> (Vec<u64>, End) {
    walked_from(UnwindUser::new(&abi::ARM64), user, &abi::ARM64, SP, 0, (Register(30), CALLER))
}

const fn failed(error: Error) -> End {
    End::Error(error)
}

#[test]
fn a_return_address_stays_in_its_register_in_the_youngest_frame_only() {
    let leaf = row(CfaRule::RegOffset(abi::ARM64.sp, 0), Rule::Retain, Rule::Retain);
    let user = User::new(&[], &[(PC, leaf), (CALLER, Entry::Outermost)]);
    assert_eq!(arm64(&user), (vec![CALLER], End::Outermost));

    let late = row(CfaRule::RegOffset(abi::ARM64.sp, 16), Rule::Retain, Rule::Retain);
    let user = User::new(&[], &[(PC, leaf), (CALLER, late)]);
    assert_eq!(arm64(&user), (vec![CALLER], failed(Error::UnusableRule(CALLER))));

    // Where a call pushes it, there is no such register.
    let user = User::new(&[], &[(PC, row(CfaRule::RegOffset(abi::X86_64.sp, 8), Rule::Retain, Rule::Retain))]);
    assert_eq!(walked(&user, 0), (vec![], failed(Error::NoLinkRegister)));
}

#[test]
fn other_registers_are_for_the_youngest_frame_only() {
    let cfa = CfaRule::RegOffset(abi::X86_64.sp, 16);
    let (by_rbx, at_rbx) = (CfaRule::RegOffset(RBX, 0), CfaRule::RegOffsetDeref(RBX, 8));
    let words = [(SP, OLDER), (SP + 8, CALLER), (SP + 0x38, CALLER), (SP + 0x40, CALLER), (SP + 0x48, SP + 0x40)];
    let on_stack = Rule::CfaOffsetDeref(-8);
    let fp = abi::X86_64.fp;
    let all = [
        ("CFA", row(by_rbx, on_stack, Rule::Retain)),
        ("CFA in memory", row(at_rbx, on_stack, Rule::Retain)),
        ("RA", row(cfa, Rule::RegOffset(RBX, CALLER.wrapping_sub(SP + 0x40).cast_signed()), Rule::Retain)),
        ("RA in memory", row(cfa, Rule::RegOffsetDeref(RBX, 0), Rule::Retain)),
        ("FP", row(cfa, on_stack, Rule::RegOffset(RBX, 0))),
        ("FP in memory", row(cfa, on_stack, Rule::RegOffsetDeref(RBX, 0))),
        // Although a frame pointer is known in every frame.
        ("FP by itself", row(cfa, on_stack, Rule::RegOffsetDeref(fp, 0))),
    ];
    for (what, entry) in all {
        let user = User::new(&words, &[(PC, entry), (CALLER, Entry::Outermost)]);
        assert_eq!(walked(&user, SP + 0x40), (vec![CALLER], End::Outermost), "{what}");
        let user = User::new(&words, &[(PC, by_sp(16)), (CALLER, entry)]);
        let register = if what == "FP by itself" { fp } else { RBX };
        assert_eq!(walked(&user, SP + 0x40), (vec![CALLER], failed(Error::NoRegister(register))), "{what}");
    }
}

#[test]
fn a_cfa_in_memory_is_found_by_sp_and_fp_in_every_frame() {
    let words = [(SP + 8, CALLER), (SP + 0x20, SP + 0x60), (SP + 0x58, OLDER)];
    for (base, offset) in [(abi::X86_64.sp, 0x10), (abi::X86_64.fp, -8)] {
        let at = row(CfaRule::RegOffsetDeref(base, offset), Rule::CfaOffsetDeref(-8), Rule::Retain);
        let user = User::new(&words, &[(PC, by_sp(16)), (CALLER, at), (OLDER, Entry::Outermost)]);
        assert_eq!(walked(&user, SP + 0x28), (vec![CALLER, OLDER], End::Outermost), "{base:?}");
    }
}

#[test]
fn the_cfa_rises_but_the_youngest_frame_may_keep_sp() {
    let in_rbx = |offset| row(CfaRule::RegOffset(abi::X86_64.sp, offset), Rule::RegOffset(RBX, 0), Rule::Retain);
    let youngest = |offset| walked(&User::new(&[], &[(PC, in_rbx(offset))]), 0).1;
    assert_eq!(youngest(-8), failed(Error::CfaNotAbove(SP - 8)));
    // It takes the step: what it found in rbx is in no function, and FP is 0.
    assert_eq!(youngest(0), End::Outermost);

    let older = |offset| {
        let row = row(CfaRule::RegOffset(abi::X86_64.sp, offset), Rule::CfaOffsetDeref(-16), Rule::Retain);
        walked(&User::new(&[(SP + 8, CALLER)], &[(PC, by_sp(16)), (CALLER, row)]), 0)
    };
    assert_eq!(older(-8), (vec![CALLER], failed(Error::CfaNotAbove(SP + 8))));
    assert_eq!(older(0), (vec![CALLER], failed(Error::CfaNotAbove(SP + 16))));
    // It rises: there is a next frame.
    assert_eq!(older(8).0[..2], [CALLER, CALLER]);
}

#[test]
fn the_cfa_is_a_multiple_of_the_word_and_of_no_more() {
    for offset in [1, 2, 4, 12] {
        let user = User::new(&[], &[(PC, by_sp(offset))]);
        assert_eq!(walked(&user, 0), (vec![], failed(Error::MisalignedCfa(SP.wrapping_add_signed(offset)))));
    }
    for offset in [8, 16, 24] {
        let at = SP.wrapping_add_signed(offset);
        let user = User::new(&[(at - 8, CALLER)], &[(PC, by_sp(offset)), (CALLER, Entry::Outermost)]);
        assert_eq!(walked(&user, 0), (vec![CALLER], End::Outermost), "{offset}");
    }
}

#[test]
fn a_frame_pointer_below_sp_is_refused_even_if_the_cfa_is_above() {
    let words = [(SP + 0x18, CALLER)];
    let user = User::new(&words, &[(PC, by_fp(0x28)), (CALLER, Entry::Outermost)]);
    assert_eq!(walked(&user, SP - 8), (vec![], failed(Error::FramePointerBelowSp(SP - 8))));
    let user = User::new(&words, &[(PC, by_fp(0x20)), (CALLER, Entry::Outermost)]);
    assert_eq!(walked(&user, SP), (vec![CALLER], End::Outermost), "at SP it may be");
}

#[test]
fn an_outermost_row_ends_the_walk_whatever_the_frame_pointer_says() {
    let record = [(SP + 0x20, SP + 0x40), (SP + 0x28, CALLER)];
    let user = User::new(&record, &[(PC, Entry::Outermost)]);
    assert_eq!(walked(&user, SP + 0x20), (vec![], End::Outermost));
}

#[test]
fn only_where_nothing_is_known_of_a_pc_the_frame_record_is_tried() {
    let record = [(SP + 0x20, 0), (SP + 0x28, CALLER)];
    let by_record = (vec![CALLER], End::Outermost);
    let without_section = User { section: None, ..User::new(&record, &[]) };
    assert_eq!(walked(&without_section, SP + 0x20), by_record, "no section");
    assert_eq!(walked(&User::new(&record, &[]), SP + 0x20), by_record, "no function");

    let without_row = User::new(&record, &[(PC, Entry::NoRow { signal: false })]);
    assert_eq!(walked(&without_row, SP + 0x20), (vec![], failed(Error::NoRow(PC))));
    let corrupt = Rows(BTreeMap::from([(PC, Err(Error::BadTable { pc: PC, offset: 7 }))]));
    let corrupt = User { section: Some(corrupt), ..User::new(&record, &[]) };
    assert_eq!(walked(&corrupt, SP + 0x20), (vec![], failed(Error::BadTable { pc: PC, offset: 7 })));
    // A row that cannot be followed is none either.
    let misaligned = User::new(&record, &[(PC, by_sp(4))]);
    assert_eq!(walked(&misaligned, SP + 0x20), (vec![], failed(Error::MisalignedCfa(SP + 4))));
}

#[test]
fn mainline_asks_no_section() {
    let words = [(SP + 8, OLDER), (SP + 0x20, 0), (SP + 0x28, CALLER)];
    let user = User::new(&words, &[(PC, by_sp(16))]);
    let mainline = UnwindUser::by_frame_pointer(&abi::X86_64);
    let (trace, _) = walked_from(mainline, &user, &abi::X86_64, SP, SP + 0x20, (RBX, 0));
    assert_eq!(trace, [CALLER]);
}

#[test]
fn a_return_address_is_looked_up_where_it_is() {
    // The byte before it belongs to another function.
    let user = User::new(&[(SP + 8, CALLER)], &[(PC, by_sp(16)), (CALLER - 1, by_sp(32)), (CALLER, Entry::Outermost)]);
    assert_eq!(walked(&user, SP + 0x20), (vec![CALLER], End::Outermost));
}

#[test]
fn memory_that_cannot_be_read_is_an_answer() {
    let user = User::new(&[], &[(PC, by_sp(0x1008))]);
    assert_eq!(walked(&user, 0), (vec![], failed(Error::Unreadable(TOP))));
    let at = row(CfaRule::RegOffsetDeref(abi::X86_64.fp, 0), Rule::CfaOffsetDeref(-8), Rule::Retain);
    assert_eq!(walked(&User::new(&[], &[(PC, at)]), TOP), (vec![], failed(Error::Unreadable(TOP))));
    let saved = row(CfaRule::RegOffset(abi::X86_64.sp, 16), Rule::CfaOffsetDeref(-8), Rule::CfaOffsetDeref(0x1000));
    assert_eq!(walked(&User::new(&[], &[(PC, saved)]), 0), (vec![], failed(Error::Unreadable(SP + 0x1010))));
}

#[test]
fn a_value_of_the_cfa_is_no_return_address_and_no_frame_pointer() {
    let cfa = CfaRule::RegOffset(abi::X86_64.sp, 16);
    for entry in [row(cfa, Rule::CfaOffset(0), Rule::Retain), row(cfa, Rule::CfaOffsetDeref(-8), Rule::CfaOffset(-16))]
    {
        let user = User::new(&[(SP + 8, CALLER)], &[(PC, entry)]);
        assert_eq!(walked(&user, 0), (vec![], failed(Error::UnusableRule(PC))));
    }
}
