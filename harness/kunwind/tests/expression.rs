//! DWARF expressions: what compilers write, and what must be refused.

use kunwind::dwarf::evaluate;
use kunwind::{Error, Register, Regs, Slot};

fn regs() -> Regs {
    let mut regs = Regs::none();
    regs.set(Register(7), 0x1000);
    regs.set(Register(16), 0x4007);
    regs
}

/// Memory in which each word holds its address plus 1.
fn run(bytes: &[u8], cfa: Option<u64>) -> Result<u64, Error> {
    evaluate(bytes, false, cfa, &regs(), &mut |slot| match slot {
        Slot::Operand(at) if at >= 0x8000 => Err(Error::Unreadable(at)),
        Slot::Operand(at) => Ok(at + 1),
        other => panic!("an expression reads operands alone, not {other:?}"),
    })
}

#[test]
fn a_saved_cfa_plus_a_constant_is_computed() {
    // DW_OP_breg7 16, DW_OP_deref, DW_OP_plus_uconst 8
    assert_eq!(run(&[0x77, 16, 0x06, 0x23, 8], None), Ok(0x1010 + 1 + 8));
}

#[test]
fn the_cfa_of_a_procedure_linkage_table_is_computed() {
    // breg7 8, breg16 0, lit15, and, lit11, ge, lit3, shl, plus: as linkers write it for .plt
    let plt = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    assert_eq!(run(&plt, None), Ok(0x1008), "7 is less than 11");
}

#[test]
fn the_cfa_is_on_the_stack_of_a_registers_expression() {
    assert_eq!(run(&[0x23, 24], Some(0x2000)), Ok(0x2018), "DW_OP_plus_uconst 24");
    assert_eq!(run(&[0x23, 24], None), Err(Error::BadExpression), "but not of the CFA's own");
}

#[test]
fn a_part_of_a_word_is_taken_from_its_low_end() {
    // lit0, const2u 0x1fff..., deref_size 1: the word at 0x1fff is 0x2000, its first byte 0
    assert_eq!(run(&[0x0a, 0xff, 0x1f, 0x94, 1], None), Ok(0));
    let big = evaluate(&[0x30, 0x94, 1], true, None, &regs(), &mut |_| Ok(0x1122_3344_5566_7788));
    assert_eq!(big, Ok(0x11), "in a big-endian word the first byte is the highest");
}

#[test]
fn what_has_no_meaning_is_refused() {
    assert_eq!(run(&[], None), Err(Error::BadExpression), "it leaves nothing");
    assert_eq!(run(&[0x2f, 0xfd, 0xff], None), Err(Error::BadExpression), "DW_OP_skip to itself");
    assert_eq!(run(&[0x30; 40], None), Err(Error::BadExpression), "40 times DW_OP_lit0");
    assert_eq!(run(&[0x57], None), Err(Error::BadExpression), "DW_OP_reg7 is no address");
    assert_eq!(run(&[0x91, 0], None), Err(Error::BadExpression), "DW_OP_fbreg: there is no frame base");
    assert_eq!(run(&[0x06], None), Err(Error::BadExpression), "DW_OP_deref of nothing");
    assert_eq!(run(&[0xff, 0xff], None), Err(Error::BadExpression), "no operation");
}

#[test]
fn the_reason_of_a_failed_read_is_kept() {
    assert_eq!(run(&[0x0a, 0x00, 0x90, 0x06], None), Err(Error::Unreadable(0x9000)));
    assert_eq!(run(&[0x70, 0], None), Err(Error::NoRegister(Register(0))), "DW_OP_breg0");
}
