//! The executor of rows: each rule, and in which order a row reads.

use kunwind::abi::{ARM64, X86_64};
use kunwind::{CfaRule, Error, Found, Place, Register, Regs, Rule, Slot, UnwindRow};

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
