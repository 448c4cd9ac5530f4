//! CFI programs that gimli alone does not read, or reads as something else than they say.

use kunwind::dwarf::{CfiSection, Storage, Unsupported};
use kunwind::sframe::SFrameAbi;
use kunwind::sframe::write::{Placement, Reason, from_cfi};
use kunwind::{CfaRule, Entry, Register, Rule, UnwindRow};

use super::cfi::{AMD64, Frames, S390X};

/// The rows of one function, or why there are none.
fn rows(abi: SFrameAbi, augmentation: &[u8], initial: &[u8], program: &[u8]) -> Result<Vec<(u64, Entry)>, Unsupported> {
    let mut frames = Frames::new(CfiSection::EhFrame, abi);
    let cie = frames.cie(augmentation, initial);
    let data: &[u8] = if augmentation.starts_with(b"z") { &[0] } else { &[] };
    frames.augmented(cie, 0x1000, 0x40, data, program);
    let built = frames.build();
    let cfi = built.cfi();
    let function = cfi.functions().next().expect("an FDE").map_err(|unreadable| unreadable.reason)?;
    let mut rows = Vec::new();
    let mut first = None;
    cfi.each_row(&function, &mut Storage::new(), &mut |offset, entry| match entry {
        Ok(entry) => rows.push((offset, entry)),
        Err(reason) => first = first.or(Some(reason)),
    })?;
    first.map_or(Ok(rows), Err)
}

fn amd64(program: &[u8]) -> Result<Vec<(u64, Entry)>, Unsupported> {
    rows(SFrameAbi::Amd64, b"", AMD64, program)
}

fn row(cfa: CfaRule, fp: Rule) -> Entry {
    Entry::Row(UnwindRow { cfa, ra: Rule::CfaOffsetDeref(-8), fp, mangled_ra: false, signal: false })
}

const SP: Register = Register(7);
const FP: Register = Register(6);

#[test]
fn arguments_on_the_stack_change_no_row() {
    // Pushed at 1, and forgotten at 2.
    let found = amd64(&[0x41, 0x0e, 16, 0x2e, 8, 0x41, 0x2e, 0, 0x41, 0x0e, 8]).expect("rows");
    let sp = |offset| row(CfaRule::RegOffset(SP, offset), Rule::Retain);
    assert_eq!(found, [(0, sp(8)), (1, sp(16)), (2, sp(16)), (3, sp(8))]);
}

#[test]
fn a_restore_among_the_initial_instructions_changes_nothing() {
    // What GNU as makes of the cold part of a function: CFA = fp + 16, fp at CFA - 16, then restores, one of them of a
    // register with a rule, one of a number that needs more than a byte.
    let cold = [0x0c, 6, 16, 0x86, 2, 0xc3, 0xd0, 0x06, 0x81, 0x01];
    for (augmentation, before) in [(&b""[..], &[][..]), (b"zRS", &[]), (b"", &[0x10, 3, 2, 0xc3, 0xd0, 0x16, 12, 1, 6])]
    {
        let initial = [AMD64, before, &cold].concat();
        let program = [0x41, 0xcc, 0x41, 0x86, 4, 0x41, 0xc6];
        let found = rows(SFrameAbi::Amd64, augmentation, &initial, &program).expect("rows");
        let fp = |offset| Rule::CfaOffsetDeref(offset);
        let signal = augmentation == b"zRS";
        let row = |rule| match row(CfaRule::RegOffset(FP, 16), rule) {
            Entry::Row(row) => Entry::Row(UnwindRow { signal, ..row }),
            other => other,
        };
        assert_eq!(found, [(0, row(fp(-16))), (1, row(fp(-16))), (2, row(fp(-32))), (3, row(fp(-16)))]);
    }
}

#[test]
fn offsets_do_not_wrap_around() {
    /// 2^62 and -2^63 as numbers of variable length, and 2^63.
    const HUGE: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    const LEAST: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
    const TOO_LARGE: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let programs: [&[&[u8]]; 9] = [
        &[&[0x86], &HUGE],
        &[&[0x05, 6], &HUGE],
        &[&[0x14, 6], &HUGE],
        &[&[0x11, 6], &LEAST],
        &[&[0x15, 6], &LEAST],
        &[&[0x12, 7], &LEAST],
        &[&[0x13], &LEAST],
        &[&[0x0c, 7], &TOO_LARGE],
        &[&[0x0e], &TOO_LARGE],
    ];
    for program in programs {
        let program = [&[&[0x41][..]], program].concat().concat();
        assert_eq!(amd64(&program), Err(Unsupported::OffsetOverflow), "{program:02x?}");
        // In the CIE too.
        let initial = [AMD64, &program[1..]].concat();
        assert_eq!(rows(SFrameAbi::Amd64, b"", &initial, &[]), Err(Unsupported::OffsetOverflow), "{program:02x?}");
    }
    assert_eq!(amd64(&[0x41, 0x86, 2]).map(|rows| rows.len()), Ok(2));
}

#[test]
fn a_part_of_the_cfa_needs_a_whole_one() {
    let ra = &[0x80 | 16, 1];
    for program in [&[0x41, 0x0d, 7][..], &[0x41, 0x0e, 8], &[0x41, 0x13, 0x7f], &[0x0a, 0x0c, 7, 8, 0x41, 0x0b]] {
        assert_eq!(rows(SFrameAbi::Amd64, b"", ra, program), Err(Unsupported::NoCfa), "{program:02x?}");
    }
    // But in a CIE, where GNU as for RISC-V gives a register alone, its offset is 0.
    let initial = [&[0x0d, 7][..], ra].concat();
    assert_eq!(rows(SFrameAbi::Amd64, b"", &initial, &[0x41, 0x0e, 8]).map(|rows| rows.len()), Ok(2));
    // The rule is whole from 1 on, and remembered as such.
    let found = rows(SFrameAbi::Amd64, b"", ra, &[0x41, 0x0c, 7, 8, 0x0a, 0x41, 0x0e, 16, 0x41, 0x0b]).expect("rows");
    let sp = |offset| row(CfaRule::RegOffset(SP, offset), Rule::Retain);
    assert_eq!(found, [(0, Entry::NoRow { signal: false }), (1, sp(8)), (2, sp(16)), (3, sp(8))]);
    // Binutils' assembler begins each CIE of riscv64 with the register alone: the offset is 0.
    let found = rows(SFrameAbi::Amd64, b"", &[&[0x0d, 7][..], ra].concat(), &[0x41, 0x0e, 16]).expect("rows");
    assert_eq!(found, [(0, sp(0)), (1, sp(16))]);
    for program in [&[0x41, 0x0b][..], &[0x41, 0x0b, 0x0b], &[0x0f, 2, 0x76, 0, 0x0e, 16]] {
        assert_eq!(amd64(program), Err(Unsupported::OutOfPlace), "{program:02x?}");
    }
}

#[test]
fn a_register_plus_constants_is_a_register_plus_an_offset() {
    let cfa = |expression: &[u8]| {
        let rows = amd64(&[&[0x41, 0x0f, expression.len() as u8], expression].concat())?;
        let Entry::Row(row) = rows[1].1 else { panic!("{rows:?}") };
        Ok(row.cfa)
    };
    // DW_OP_breg6 0, DW_OP_plus_uconst 16, and with DW_OP_deref.
    assert_eq!(cfa(&[0x76, 0, 0x23, 16]), Ok(CfaRule::RegOffset(FP, 16)));
    assert_eq!(cfa(&[0x76, 0x78, 0x23, 0x90, 1]), Ok(CfaRule::RegOffset(FP, 136)));
    assert_eq!(cfa(&[0x76, 0, 0x23, 16, 0x06]), Ok(CfaRule::RegOffsetDeref(FP, 16)));
    // A sum that does not fit, a sum after the word was read, and something else.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(cfa(&[&[0x76, 1, 0x23][..], &huge].concat()), Err(Unsupported::CfaExpression));
    assert_eq!(cfa(&[0x76, 0, 0x06, 0x23, 16]), Err(Unsupported::CfaExpression));
    assert_eq!(cfa(&[0x76, 0, 0x23, 16, 0x1f]), Err(Unsupported::CfaExpression));
}

#[test]
fn s390x_saves_its_stack_pointer_in_a_floating_point_register() {
    // What gcc makes of a leaf: %r15 in %f4 at 4, %r11 in %f2 at 8, the frame at 14, %r11 as its base at 18, all back
    // at 22. GNU as 2.47.50 writes five rows.
    let program = [
        0x44, 0x09, 15, 18, 0x44, 0x09, 11, 17, 0x46, 0x0e, 0xc0, 0x02, 0x44, 0x0d, 11, 0x44, 0xcf, 0x0c, 15, 0xa0,
        0x01,
    ];
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::S390x);
    let cie = frames.cie(b"", S390X);
    frames.fde(cie, 0x1000, 0x20, &program);
    let built = frames.build();
    let made = from_cfi(&built.cfi(), SFrameAbi::S390x, Placement::Relocatable).expect("one function");
    assert_eq!(made.refusals, []);
    let rows: &[&[u8]] = &[
        // 5 rows, one byte for each start, flexible
        &[0, 5, 0, 1, 0],
        &[0, 0x04, 0x79, 0],
        &[8, 0x0a, 0x79, 0, 0, 0x89, 0],
        &[14, 0x0a, 0x79, 20, 0, 0x89, 0],
        &[18, 0x0a, 0x59, 20, 0, 0x89, 0],
        &[22, 0x0a, 0x79, 0, 0, 0x89, 0],
    ];
    assert_eq!(made.written.bytes[28 + 16..], rows.concat());
    // Elsewhere SP is the CFA, and a copy of it in a register is another claim.
    assert_eq!(amd64(&[0x41, 0x09, 7, 0]), Err(Unsupported::StackPointer));
}

#[test]
fn reasons_say_what_is_wrong() {
    for (reason, says) in [
        (Unsupported::CiePointer, "at +0x0: malformed: its CIE pointer leads to no CIE"),
        (Unsupported::LostRest(0x20), "at +0x0: malformed: its length is wrong, and what is in the 32 bytes"),
        (Unsupported::OffsetOverflow, "at +0x0: malformed: an offset does not fit into 64 bits"),
        (Unsupported::LargeCie(600_000), "at +0x0: its CIE has 600000 bytes"),
    ] {
        let text = Reason::Cfi(reason, 0).to_string();
        assert!(text.starts_with(says), "{text}");
    }
}
