//! The walk by rows alone: each of its rules, on a stack drawn word by word.

use std::collections::BTreeMap;

use kunwind::{
    Abi, CfaRule, Claim, CodeAddress, End, Entry, Error, Expression, Format, Frame, PtRegsRow, Register, Regs, Rule,
    Slot, Source, StackBounds, Table, TableUnwinder, Target, UnwindRow, WalkState, abi, walk,
};

use crate::no_kernel::no_kernel;

const LOW: u64 = 0xffff_8000_1000_0000;
const STACK: StackBounds = StackBounds { low: LOW, high: LOW + 0x1000 };
const SP: u64 = LOW + 0x100;
/// Memory that can be read, and is no stack.
const DATA: u64 = 0xffff_8000_2000_0000;
/// The pc of the youngest frame, of its caller, and of that one's.
const PC: u64 = 0xffff_8000_8000_0000;
const CALLER: u64 = PC + 0x100;
const OLDER: u64 = PC + 0x200;
/// Of x86-64: rbx, which a function preserves; rcx, which it does not; and its frame and stack pointers.
const RBX: Register = Register(3);
const RCX: Register = Register(2);
const RBP: Register = abi::X86_64.fp;
const RSP: Register = abi::X86_64.sp;

/// Rows by the pc that is looked up; other pcs are in no function.
#[derive(Default)]
struct Rows {
    entries: BTreeMap<u64, Entry>,
    /// The rules of other registers, by pc, where the format has any.
    saved: Option<BTreeMap<u64, Vec<(Register, Rule)>>>,
}

impl Table for Rows {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        Ok(self.entries.get(&pc).copied())
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        Some(self.saved.as_ref()?.get(&pc).map_or(&[], Vec::as_slice))
    }

    /// The word at the CFA plus its place.
    fn expression(
        &self,
        expression: Expression,
        cfa: Option<u64>,
        _: &Regs,
        read: &mut dyn FnMut(Slot) -> Result<u64, Error>,
    ) -> Result<u64, Error> {
        read(Slot::Operand(cfa.ok_or(Error::BadExpression)? + u64::from(expression.offset)))
    }
}

/// One stack and some data with these words, all others 0x77.
struct Memory {
    words: BTreeMap<u64, u64>,
    rows: Option<Rows>,
}

impl Memory {
    fn new(words: &[(u64, u64)], rows: &[(u64, Entry)]) -> Self {
        let entries = rows.iter().copied().collect();
        Self { words: words.iter().copied().collect(), rows: Some(Rows { entries, saved: None }) }
    }

    /// With a format that has rules for other registers, at `PC` these.
    fn saving(mut self, rules: &[(Register, Rule)]) -> Self {
        if let Some(rows) = &mut self.rows {
            rows.saved = Some(BTreeMap::from([(PC, rules.to_vec())]));
        }
        self
    }

    fn frames_from(&self, of: &'static Abi, start: Frame) -> (Vec<Frame>, End, Claim) {
        let mut buffer = [start; 8];
        let mut state = WalkState::new(self.stacks());
        let walk = walk(&TableUnwinder::new(of, Format::Dwarf), start, self, &mut state, &mut buffer);
        (walk.frames[1..].to_vec(), walk.end, walk.claim)
    }

    /// Walks x86-64's stack from an instruction.
    fn frames(&self) -> (Vec<Frame>, End, Claim) {
        self.frames_from(&abi::X86_64, start(CodeAddress::Interrupted(PC)))
    }

    fn walk(&self) -> (Vec<u64>, End) {
        let (frames, end, _) = self.frames();
        (frames.iter().map(|frame| frame.pc.value()).collect(), end)
    }

    /// The only caller, at which the walk ends well.
    fn caller(&self) -> Frame {
        let (frames, end, claim) = self.frames();
        assert_eq!((frames.len(), end, claim), (1, End::Outermost, Claim::Reliable));
        frames[0]
    }
}

impl Target for Memory {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let known = [STACK, StackBounds { low: DATA, high: DATA + 0x100 }];
        known.iter().any(|range| range.contains(address, 8)).then(|| self.words.get(&address).copied().unwrap_or(0x77))
    }

    fn stacks(&self) -> &[StackBounds] {
        std::slice::from_ref(&STACK)
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        let rows = self.rows.as_ref().filter(|_| format == Format::Dwarf)?;
        Some(rows)
    }

    no_kernel!();
}

/// rsp at `SP`, rbp in the data, rbx and rcx.
fn start(pc: CodeAddress) -> Frame {
    let mut regs = Regs::none();
    for (register, value) in [(RSP, SP), (RBP, DATA), (RBX, SP + 0x40), (RCX, SP + 0x40)] {
        regs.set(register, value);
    }
    Frame { pc, regs, source: Source::Start }
}

const fn row(cfa: CfaRule, ra: Rule, fp: Rule) -> UnwindRow {
    UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false }
}

/// CFA = SP + `offset`, the return address below it.
const fn called(offset: i64) -> UnwindRow {
    row(CfaRule::RegOffset(RSP, offset), Rule::CfaOffsetDeref(-8), Rule::Retain)
}

#[test]
fn a_return_address_is_looked_up_one_byte_back_and_an_interrupted_pc_where_it_is() {
    // What follows the call, and what precedes the interrupted instruction, belongs to other functions.
    let other = Entry::Row(called(32));
    let rows = [(PC - 1, other), (PC, Entry::Row(called(16))), (CALLER - 1, Entry::Outermost), (CALLER, other)];
    let memory = Memory::new(&[(SP + 8, CALLER)], &rows);
    assert_eq!(memory.walk(), (vec![CALLER], End::Outermost));
    let (frames, end, _) = memory.frames_from(&abi::X86_64, start(CodeAddress::Return(CALLER)));
    assert_eq!((frames.len(), end), (0, End::Outermost));
}

#[test]
fn the_caller_of_a_signal_frame_was_interrupted() {
    // Its pc can be the first instruction of a function: the byte before it belongs to another.
    let signal = UnwindRow { signal: true, ..called(16) };
    let rows = [(PC, Entry::Row(signal)), (CALLER - 1, Entry::Row(called(32))), (CALLER, Entry::Outermost)];
    assert_eq!(Memory::new(&[(SP + 8, CALLER)], &rows).caller().pc, CodeAddress::Interrupted(CALLER));
}

#[test]
fn what_was_a_return_address_is_out_of_reach_with_all_below_it() {
    // The caller's frame is said to be empty, and its return address the word that is used up.
    let rows = [(PC, Entry::Row(called(16))), (CALLER - 1, Entry::Row(called(0)))];
    let twice = Memory::new(&[(SP + 8, CALLER)], &rows);
    assert_eq!(twice.walk(), (vec![CALLER], End::Error(Error::OutsideStacks(SP + 8))));
    // The next word is in reach, and so is the first of a stack.
    let rows = [(PC, Entry::Row(called(16))), (CALLER - 1, Entry::Row(called(8))), (OLDER - 1, Entry::Outermost)];
    assert_eq!(Memory::new(&[(SP + 8, CALLER), (SP + 16, OLDER)], &rows).walk(), (vec![CALLER, OLDER], End::Outermost));
    let lowest = called((LOW + 8).wrapping_sub(SP).cast_signed());
    let rows = [(PC, Entry::Row(lowest)), (CALLER - 1, Entry::Outermost)];
    assert_eq!(Memory::new(&[(LOW, CALLER)], &rows).walk(), (vec![CALLER], End::Outermost));
}

#[test]
fn words_outside_of_the_stacks_are_not_read() {
    let (at_rbp, cfa) = (CfaRule::RegOffsetDeref(RBP, 0), CfaRule::RegOffset(RSP, 16));
    let by = |cfa, ra, fp| {
        let rows = [(PC, Entry::Row(row(cfa, ra, fp))), (CALLER - 1, Entry::Outermost)];
        Memory::new(&[(DATA, SP + 16), (SP + 8, CALLER)], &rows).walk()
    };
    let (on_stack, at_data) = (Rule::CfaOffsetDeref(-8), Rule::RegOffsetDeref(RBP, 0));
    let refused = (vec![], End::Error(Error::OutsideStacks(DATA)));
    assert_eq!(by(at_rbp, on_stack, Rule::Retain), refused, "the CFA");
    assert_eq!(by(cfa, at_data, Rule::Retain), refused, "the return address");
    assert_eq!(by(cfa, on_stack, at_data), refused, "the frame pointer");
    assert_eq!(by(cfa, on_stack, Rule::RegOffset(RBP, 0)), (vec![CALLER], End::Outermost), "nothing is read");
    // Other registers may not be needed: such a one is lost.
    let memory = Memory::new(&[(SP + 8, CALLER)], &[(PC, Entry::Row(called(16))), (CALLER - 1, Entry::Outermost)]);
    assert_eq!(memory.saving(&[(RBX, at_data)]).caller().regs.get(RBX), None);
}

/// 48-bit addresses of arm64's kernel: the code is in the other bits but one (Arm ARM D8.10).
#[test]
fn a_signed_return_address_loses_its_code_where_the_row_says_that_it_has_one() {
    const SIGNED: u64 = 0x5abd_8000_8000_0100;
    let by = |mangled_ra| {
        let cfa = CfaRule::RegOffset(abi::ARM64.sp, 16);
        let signed = UnwindRow { mangled_ra, ..row(cfa, Rule::CfaOffsetDeref(-8), Rule::Retain) };
        let memory = Memory::new(&[(SP + 8, SIGNED)], &[(PC, Entry::Row(signed)), (CALLER - 1, Entry::Outermost)]);
        let mut start = start(CodeAddress::Interrupted(PC));
        start.regs.set(abi::ARM64.sp, SP);
        let (frames, end, _) = memory.frames_from(&abi::ARM64, start);
        (frames[0].pc, end)
    };
    assert_eq!(by(true), (CodeAddress::Return(CALLER), End::Outermost));
    assert_eq!(by(false), (CodeAddress::Return(SIGNED), End::Error(Error::NoRow(SIGNED - 1))));
}

/// DWARF 5, 6.4.1, and x86-64's psABI, 3.2.1: what has no rule is unchanged if a function preserves it.
#[test]
fn the_callers_registers_are_those_that_rules_or_the_abi_give() {
    let rows = [(PC, Entry::Row(called(16))), (CALLER - 1, Entry::Outermost)];
    let words = [(SP, 0xb3), (SP + 8, CALLER), (SP + 0x20, 0xb4)];
    let saving = |rules: &[(Register, Rule)]| Memory::new(&words, &rows).saving(rules).caller().regs;
    let found = |regs: Regs| (regs.get(RBX), regs.get(RCX), regs.get(RSP), regs.get(RBP));
    let (kept, cfa, fp) = (Some(SP + 0x40), Some(SP + 16), Some(DATA));
    assert_eq!(found(saving(&[])), (kept, None, cfa, fp));
    assert_eq!(found(saving(&[(RBX, Rule::CfaOffsetDeref(-16))])), (Some(0xb3), None, cfa, fp));
    assert_eq!(found(saving(&[(RBX, Rule::Undefined), (RCX, Rule::Retain)])), (None, kept, cfa, fp));
    let at = Expression { offset: 16, length: 1 };
    assert_eq!(found(saving(&[(RCX, Rule::ValExpression(at))])), (kept, Some(0xb4), cfa, fp));
    // A format that knows no other registers recovers none.
    assert_eq!(found(Memory::new(&words, &rows).caller().regs), (None, None, cfa, fp));
}

#[test]
fn sp_is_the_cfa_unless_it_has_a_rule() {
    let rows = [(PC, Entry::Row(called(16))), (CALLER - 1, Entry::Row(called(8))), (OLDER - 1, Entry::Outermost)];
    let words = [(SP + 8, CALLER), (SP + 0x10, 0x1234), (SP + 0x30, OLDER)];
    let saving = |rule: Rule| Memory::new(&words, &rows).saving(&[(RSP, rule)]);
    // The caller's own frame is found by its SP.
    let (frames, end, _) = saving(Rule::CfaOffset(0x20)).frames();
    assert_eq!(frames[0].regs.get(RSP), Some(SP + 0x30));
    assert!(matches!(frames[0].source, Source::Row { cfa, .. } if cfa == SP + 16), "{}", frames[0].source);
    assert_eq!((frames[1].pc, end), (CodeAddress::Return(OLDER), End::Outermost));
    assert_eq!(saving(Rule::Undefined).walk(), (vec![CALLER], End::Error(Error::NoRegister(RSP))));
}

#[test]
fn the_callers_frame_pointer_is_what_its_rule_gives() {
    let by = |fp| {
        let called = UnwindRow { fp, ..called(16) };
        let rows = [(PC, Entry::Row(called)), (CALLER - 1, Entry::Outermost)];
        Memory::new(&[(SP, 0xb6), (SP + 8, CALLER)], &rows).caller().regs.get(RBP)
    };
    assert_eq!(by(Rule::Retain), Some(DATA));
    assert_eq!(by(Rule::CfaOffsetDeref(-16)), Some(0xb6));
    assert_eq!(by(Rule::CfaOffset(-16)), Some(SP));
    assert_eq!(by(Rule::Undefined), None);
}

#[test]
fn only_a_function_without_a_caller_ends_the_walk_well() {
    let called_from = |entry: Option<Entry>| {
        let caller = entry.map(|entry| (CALLER - 1, entry));
        let rows: Vec<_> = [(PC, Entry::Row(called(16)))].into_iter().chain(caller).collect();
        let (frames, end, claim) = Memory::new(&[(SP + 8, CALLER)], &rows).frames();
        (frames.len(), end, claim)
    };
    let failed = |error| (1, End::Error(error), Claim::Unreliable);
    assert_eq!(called_from(Some(Entry::Outermost)), (1, End::Outermost, Claim::Reliable));
    assert_eq!(called_from(None), failed(Error::NoRow(CALLER - 1)));
    assert_eq!(called_from(Some(Entry::NoRow { signal: false })), failed(Error::NoRow(CALLER - 1)));
    let pt_regs = PtRegsRow { at: CfaRule::RegOffset(RSP, 0), is_whole: true, fp: Rule::Retain, signal: true };
    assert_eq!(called_from(Some(Entry::PtRegs(pt_regs))), failed(Error::UnusableRule(CALLER - 1)));
    let without = Memory { rows: None, ..Memory::new(&[], &[]) };
    assert_eq!(without.walk(), (vec![], End::Error(Error::NoTable)));
}
