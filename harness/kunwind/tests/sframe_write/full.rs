//! Rows with all that CFI can say, which is more than SFrame can hold.

use kunwind::dwarf::{CfiRow, CfiSection, Storage, Unsupported};
use kunwind::sframe::SFrameAbi;
use kunwind::{CfaRule, Entry, Expression, Register, Rule, UnwindRow};

use super::cfi::{AMD64, Built, Frames};

const START: u64 = 0x1000;
const RBX: Register = Register(3);
const R12: Register = Register(12);
const RSP: Register = Register(7);

/// A function of AMD64 with this program.
fn function(program: &[u8]) -> Built {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let cie = frames.cie(b"", AMD64);
    frames.fde(cie, START, 0x40, program);
    frames.build()
}

/// A row: the offsets that it covers, what it says, and its rules of other registers.
type Row = (std::ops::Range<u64>, Result<Entry, Unsupported>, Vec<(Register, Rule)>);

/// The rows up to where the program cannot be understood, and why it cannot.
fn rows(built: &Built) -> (Vec<Row>, Result<(), Unsupported>) {
    let cfi = built.cfi();
    let function = cfi.functions().next().expect("an FDE").expect("it can be read");
    let mut rows = Vec::new();
    let end = cfi.each_full_row(&function, &mut Storage::new(), &mut |covered, row: &dyn CfiRow| {
        let mut saved = Vec::new();
        row.each_saved(&mut |register, rule| saved.push((register, rule.expect("a rule"))));
        rows.push((covered, row.full_entry(), saved));
    });
    (rows, end)
}

const fn called(offset: i64) -> UnwindRow {
    let cfa = CfaRule::RegOffset(RSP, offset);
    UnwindRow { cfa, ra: Rule::CfaOffsetDeref(-8), fp: Rule::Retain, mangled_ra: false, signal: false }
}

/// DWARF 5, 6.4.2.3: `DW_CFA_expression` gives the address of a word, and `DW_CFA_val_expression` the value itself.
#[test]
fn an_expression_is_kept_as_an_address_or_a_value() {
    // Of rbx and r12, and at 2 of the return address: DW_OP_plus_uconst, which adds to the CFA.
    let built = function(&[
        0x41, 0x10, 3, 2, 0x23, 16, 0x16, 12, 2, 0x23, 24, 0x41, 0x16, 16, 2, 0x23, 32, 0x41, 0x10, 16, 1, 0x13,
    ]);
    let (rows, end) = rows(&built);
    assert_eq!((rows.len(), end), (4, Ok(())));
    let bytes = |at: Expression| &built.cfi().readable[at.offset as usize..][..at.length as usize];
    let [(RBX, Rule::Expression(rbx)), (R12, Rule::ValExpression(r12))] = rows[1].2[..] else { panic!("{rows:?}") };
    assert_eq!((bytes(rbx), bytes(r12)), (&[0x23, 16][..], &[0x23, 24][..]));
    let ra = |row: &Row| match row.1 {
        Ok(Entry::Row(row)) => row.ra,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(ra(&rows[1]), Rule::CfaOffsetDeref(-8));
    let (Rule::ValExpression(value), Rule::Expression(address)) = (ra(&rows[2]), ra(&rows[3])) else {
        panic!("{rows:?}")
    };
    assert_eq!((bytes(value), bytes(address)), (&[0x23, 32][..], &[0x13][..]));
}

/// DWARF 5, 6.4.4: the outermost function says so by a return address that is undefined.
#[test]
fn an_undefined_return_address_is_the_outermost_function() {
    let (rows, end) = rows(&function(&[0x41, 0x07, 16]));
    let entries: Vec<_> = rows.into_iter().map(|(_, entry, _)| entry).collect();
    assert_eq!((entries, end), (vec![Ok(Entry::Row(called(8))), Ok(Entry::Outermost)], Ok(())));
}

/// DWARF 5, 6.4.1: the CIE says in which column the return address is.
#[test]
fn a_return_address_without_a_rule_is_in_the_register_of_its_column() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let cie = frames.cie(b"", AMD64);
    // After the length, the id, the version, an empty augmentation and two factors: rdi in place of the address of return.
    assert_eq!(std::mem::replace(&mut frames.bytes[cie + 12], 5), 16);
    frames.fde(cie, START, 0x40, &[]);
    let in_rdi = UnwindRow { ra: Rule::RegOffset(Register(5), 0), ..called(8) };
    let (rows, end) = rows(&frames.build());
    let entries: Vec<_> = rows.into_iter().map(|(_, entry, _)| entry).collect();
    assert_eq!((entries, end), (vec![Ok(Entry::Row(in_rdi))], Ok(())));
}

#[test]
fn what_follows_an_instruction_that_makes_no_sense_is_no_row() {
    // rsp + 16 from 1 on; at 2, rbp in a slot that is 2^65 bytes away; rsp + 24 from 3 on, which could be read again.
    let huge = [0x86, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let built = function(&[&[0x41, 0x0e, 16, 0x41][..], &huge, &[0x41, 0x0e, 24]].concat());
    let good = |covered, offset| (covered, Ok(Entry::Row(called(offset))), vec![]);
    assert_eq!(rows(&built), (vec![good(0..1, 8), good(1..2, 16)], Err(Unsupported::OffsetOverflow)));
    let lookup = |offset| built.cfi().lookup(START + offset, &mut Storage::new()).map(|found| found.map(|at| at.entry));
    assert_eq!(lookup(1), Ok(Some(Ok(Entry::Row(called(16))))));
    for offset in [2, 3, 0x3f] {
        assert_eq!(lookup(offset), Err(Unsupported::OffsetOverflow), "{offset}");
    }
    assert_eq!(lookup(0x40), Ok(None));
}
