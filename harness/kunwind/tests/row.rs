//! The executor of rows: each rule, and in which order a row reads.

use kunwind::abi::{ARM64, X86_64};
use kunwind::{Ask, CfaRule, Error, Expression, Found, Place, Register, Regs, Rule, Slot, UnwindRow};

const SP: u64 = 0x1000;
const FP: u64 = 0x2000;

fn regs() -> Regs {
    let mut regs = Regs::none();
    regs.set(X86_64.sp, SP);
    regs.set(X86_64.fp, FP);
    regs
}

/// Each word holds its own address plus one.
fn read(slot: Slot) -> Result<u64, Error> {
    Ok(slot.address() + 1)
}

#[test]
fn a_cfa_adds_its_offset_before_or_after_the_read() {
    let value = |rule: CfaRule| rule.value(&regs(), &mut read);
    assert_eq!(value(CfaRule::RegOffset(X86_64.sp, -8)), Ok(SP - 8));
    assert_eq!(value(CfaRule::RegOffsetDeref(X86_64.fp, 8)), Ok(FP + 8 + 1));
    assert_eq!(value(CfaRule::RegDerefOffset(X86_64.fp, 0x10)), Ok(FP + 1 + 0x10));
    assert_eq!(value(CfaRule::RegOffset(Register(3), 0)), Err(Error::NoRegister(Register(3))));
}

#[test]
fn each_value_says_where_it_was_found() {
    let fp = |rule: Rule| rule.frame_pointer(0x3000, &regs(), &X86_64, &mut read);
    let found = |value, place| Ok(Some(Found { value, place }));
    assert_eq!(fp(Rule::Retain), found(FP, Place::Register(X86_64.fp)));
    assert_eq!(fp(Rule::CfaOffset(-8)), found(0x2ff8, Place::Computed(0x2ff8)));
    assert_eq!(fp(Rule::CfaOffsetDeref(-8)), found(0x2ff9, Place::Memory(0x2ff8)));
    assert_eq!(fp(Rule::RegOffset(X86_64.sp, 4)), found(SP + 4, Place::Computed(SP + 4)));
    assert_eq!(fp(Rule::RegOffsetDeref(X86_64.sp, 4)), found(SP + 5, Place::Memory(SP + 4)));
    assert_eq!(Rule::Retain.frame_pointer(0, &Regs::none(), &X86_64, &mut read), Ok(None));
}

#[test]
fn a_retained_return_address_needs_a_link_register_that_is_known() {
    let ra = |abi, regs: &Regs| Rule::Retain.return_address(0, regs, abi, &mut read);
    assert_eq!(ra(&X86_64, &regs()), Err(Error::NoLinkRegister));
    assert_eq!(ra(&ARM64, &Regs::none()), Err(Error::NoRegister(Register(30))));
    let mut linked = Regs::none();
    linked.set(Register(30), 7);
    assert_eq!(ra(&ARM64, &linked), Ok(Found { value: 7, place: Place::Register(Register(30)) }));
}

#[test]
fn the_return_address_is_read_last() {
    let row = UnwindRow {
        cfa: CfaRule::RegOffsetDeref(X86_64.sp, 0),
        ra: Rule::CfaOffsetDeref(-8),
        fp: Rule::CfaOffsetDeref(-16),
        mangled_ra: false,
        signal: false,
    };
    let mut order = [None; 3];
    let mut count = 0;
    let caller = row.caller(&regs(), &X86_64, &mut |slot| {
        order[count] = Some(slot);
        count += 1;
        Ok(0x5000)
    });
    assert_eq!(caller.map(|caller| caller.cfa), Ok(0x5000));
    assert_eq!(order, [Some(Slot::Cfa(SP)), Some(Slot::Fp(0x4ff0)), Some(Slot::Ra(0x4ff8))]);
}

/// The same memory, and expressions that add their place to the CFA; without one, to rsp.
struct Adding;

impl Ask for Adding {
    fn word(&mut self, slot: Slot) -> Result<u64, Error> {
        read(slot)
    }

    fn expression(&mut self, expression: Expression, cfa: Option<u64>, regs: &Regs) -> Result<u64, Error> {
        let base = cfa.or_else(|| regs.get(X86_64.sp)).ok_or(Error::BadExpression)?;
        Ok(base + u64::from(expression.offset))
    }
}

/// DWARF 5, 6.4.1: expression(E) is an address, val_expression(E) a value; 6.4.2.3: the CFA is on the stack of both, but not of the
/// CFA's own.
#[test]
fn an_expression_gives_an_address_or_a_value_and_has_the_cfa_on_its_stack() {
    let at = Expression { offset: 0x20, length: 1 };
    let in_memory = Found { value: 0x3021, place: Place::Memory(0x3020) };
    let computed = Found { value: 0x3020, place: Place::Computed(0x3020) };
    for (rule, found) in [(Rule::Expression(at), in_memory), (Rule::ValExpression(at), computed)] {
        assert_eq!(rule.return_address(0x3000, &regs(), &X86_64, &mut Adding), Ok(found));
        assert_eq!(rule.frame_pointer(0x3000, &regs(), &X86_64, &mut Adding), Ok(Some(found)));
        assert_eq!(rule.saved(Register(3), 0x3000, &regs(), &mut Adding), Ok(Some(found)));
    }
    assert_eq!(CfaRule::Expression(at).value(&regs(), &mut Adding), Ok(SP + 0x20));
}
