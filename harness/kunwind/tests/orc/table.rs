//! The two arrays, on bytes written by hand.

use kunwind::orc::{OrcBase, OrcEntry, OrcError, OrcNumbers, OrcTable, OrcType, OrcWriteError, write};
use kunwind::{CfaRule, Entry, Error, PtRegsRow, Register, Rule, Table as _, UnwindRow, abi};

#[test]
fn an_entry_is_read_bit_by_bit() {
    // sp+16, bp at prev_sp-16, CALL.
    let call = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Sp, 16) };
    assert_eq!(OrcEntry::decode([16, 0, 0xf0, 0xff, 0x15, 0x02]), Ok(call));
    // (sp)-0x100, bp+3, PARTIAL, signal; the four highest bits mean nothing.
    let partial = OrcEntry {
        kind: OrcType::RegsPartial,
        sp: OrcBase::SpIndirect,
        sp_offset: -0x100,
        bp: OrcBase::Bp,
        bp_offset: 3,
        signal: true,
    };
    assert_eq!(OrcEntry::decode([0x00, 0xff, 3, 0, 0x49, 0x0c]), Ok(partial));
    assert_eq!(OrcEntry::decode([0x00, 0xff, 3, 0, 0x49, 0xfc]), Ok(partial));
    assert_eq!(partial.encode(), [0x00, 0xff, 3, 0, 0x49, 0x0c]);
    assert_eq!(OrcEntry::decode([0; 6]), Ok(OrcEntry::UNDEFINED));
    assert_eq!(OrcEntry::decode([0, 0, 0, 0, 0, 1]), Ok(OrcEntry::END_OF_STACK));
}

#[test]
fn a_number_without_a_meaning_is_an_error() {
    assert_eq!(OrcEntry::decode([0, 0, 0, 0, 0x0b, 2]), Err(OrcError::UnknownBase(11)));
    assert_eq!(OrcEntry::decode([0, 0, 0, 0, 0xf5, 2]), Err(OrcError::UnknownBase(15)));
    assert_eq!(OrcEntry::decode([0, 0, 0, 0, 0x05, 5]), Err(OrcError::UnknownType(5)));
}

/// Entries at 0x1000, 0x1010 (twice) and 0x1020, with the offsets at 0x2000.
const OFFSETS: &[u8] = &[
    0x00, 0xf0, 0xff, 0xff, // 0x2000 - 0x1000
    0x0c, 0xf0, 0xff, 0xff, // 0x2004 - 0xff4
    0x08, 0xf0, 0xff, 0xff, // 0x2008 - 0xff8
    0x14, 0xf0, 0xff, 0xff, // 0x200c - 0xfec
];
const ENTRIES: &[u8] = &[
    8, 0, 0, 0, 5, 2, //
    16, 0, 0, 0, 5, 2, //
    24, 0, 0, 0, 5, 2, //
    0, 0, 0, 0, 0, 0, //
];

#[test]
fn the_last_entry_that_is_not_above_counts() {
    let table = OrcTable::parse(OFFSETS, 0x2000, ENTRIES).expect("the lengths fit");
    assert_eq!(table.validate(), Ok(()));
    assert_eq!(
        (0..5).map(|index| table.address_of(index)).collect::<Vec<_>>(),
        [Some(0x1000), Some(0x1010), Some(0x1010), Some(0x1020), None]
    );
    let offset = |pc| table.lookup(pc).map(|entry| entry.map(|entry| entry.sp_offset));
    assert_eq!(offset(0xfff), Ok(None), "below the first");
    assert_eq!(offset(0), Ok(None));
    assert_eq!(offset(0x1000), Ok(Some(8)));
    assert_eq!(offset(0x100f), Ok(Some(8)));
    assert_eq!(offset(0x1010), Ok(Some(24)), "of two with one address, the last");
    assert_eq!(offset(0x101f), Ok(Some(24)));
    assert_eq!(table.lookup(0x1020), Ok(Some(OrcEntry::UNDEFINED)), "the terminator");
    assert_eq!(table.lookup(u64::MAX), Ok(Some(OrcEntry::UNDEFINED)));
    let generated = table.with_generated(0x1018);
    assert_eq!(generated.lookup(0x1018).map(|entry| entry.is_some()), Ok(true), "what a generator knows");
    assert_eq!(generated.lookup(0x1020), Ok(None), "after that there are no entries");
    let empty = OrcTable::parse([], 0, []).expect("nothing fits nothing");
    assert_eq!((empty.len(), empty.is_empty(), empty.lookup(0x1000)), (0, true, Ok(None)));
}

#[test]
fn lengths_and_order_are_checked() {
    let parse = |offsets, entries| OrcTable::parse(offsets, 0, entries).map(|_| ());
    assert_eq!(parse(&OFFSETS[..15], ENTRIES), Err(OrcError::AddressBytes(15)));
    assert_eq!(parse(OFFSETS, &ENTRIES[..23]), Err(OrcError::EntryBytes(23)));
    assert_eq!(parse(OFFSETS, &ENTRIES[..18]), Err(OrcError::Counts(4, 3)));
    let swapped = [&OFFSETS[4..8], &OFFSETS[..4]].concat();
    let table = OrcTable::parse(swapped.as_slice(), 0x2000, &ENTRIES[..12]).expect("the lengths fit");
    assert_eq!(table.validate(), Err(OrcError::Unsorted(1)));
    let table = OrcTable::parse(&OFFSETS[..4], 0x2000, &[0, 0, 0, 0, 5, 7]).expect("the lengths fit");
    assert_eq!(
        (table.validate(), table.lookup(0x1000)),
        (Err(OrcError::UnknownType(7)), Err(OrcError::UnknownType(7)))
    );
}

#[test]
fn a_written_table_is_sorted_and_without_repetitions() {
    let call = OrcEntry::call(OrcBase::Sp, 8);
    let entries = [(0x1020, OrcEntry::UNDEFINED), (0x1000, call), (0x1008, call)];
    let written = write(&entries, 0x4000_0000).expect("all is near");
    let table = OrcTable::parse(&written.offsets, 0x4000_0000, &written.entries).expect("the lengths fit");
    assert_eq!((table.len(), table.validate()), (2, Ok(())));
    assert_eq!(table.lookup(0x1010), Ok(Some(call)));
    assert_eq!(table.lookup(0x1020), Ok(Some(OrcEntry::UNDEFINED)));
    assert_eq!(write(&[(0x1000, call), (0x1000, call)], 0), Err(OrcWriteError::Twice(0x1000)));
    assert_eq!(write(&[(0x8000_0000, call)], 0), Err(OrcWriteError::OutOfReach(0x8000_0000)));
    assert_eq!(write(&[(0x7fff_ffff, call)], 0).map(|written| written.offsets.len()), Ok(4));
}

#[test]
fn a_row_becomes_an_entry_if_it_can_be_said() {
    let (sp, fp) = (abi::X86_64.sp, abi::X86_64.fp);
    let row = UnwindRow {
        cfa: CfaRule::RegOffset(sp, 24),
        ra: Rule::CfaOffsetDeref(-8),
        fp: Rule::CfaOffsetDeref(-16),
        mangled_ra: false,
        signal: false,
    };
    let entry = |row| OrcEntry::from_row(&row, &abi::X86_64);
    let saved = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Sp, 24) };
    assert_eq!(entry(row), Some(saved));
    assert_eq!(entry(UnwindRow { fp: Rule::Retain, ..row }), Some(OrcEntry::call(OrcBase::Sp, 24)));
    let by_fp = UnwindRow { cfa: CfaRule::RegOffset(fp, 16), ..row };
    assert_eq!(entry(by_fp), Some(OrcEntry { sp: OrcBase::Bp, sp_offset: 16, ..saved }));
    let aligned = UnwindRow { cfa: CfaRule::RegOffsetDeref(fp, -8), fp: Rule::RegOffsetDeref(fp, 0), ..row };
    let expected = OrcEntry { bp: OrcBase::Bp, ..OrcEntry::call(OrcBase::BpIndirect, -8) };
    assert_eq!(entry(aligned), Some(expected));
    for unsayable in [
        UnwindRow { ra: Rule::CfaOffsetDeref(-16), ..row },
        UnwindRow { ra: Rule::Retain, ..row },
        UnwindRow { signal: true, ..row },
        UnwindRow { fp: Rule::RegOffset(Register(8), 0), ..row },
        UnwindRow { cfa: CfaRule::RegOffset(Register(8), 16), ..row },
        UnwindRow { cfa: CfaRule::RegOffset(sp, 0x8000), ..row },
        UnwindRow { cfa: CfaRule::RegOffsetDeref(sp, 8), ..row },
    ] {
        assert_eq!(entry(unsayable), None, "{unsayable:?}");
    }
}

#[test]
fn an_entry_means_a_row_where_its_bases_have_a_meaning() {
    let (sp, fp) = (abi::X86_64.sp, abi::X86_64.fp);
    let cfa = |base, offset| match OrcEntry::call(base, offset).lower() {
        Some(Entry::Row(row)) => row.cfa,
        other => panic!("{base:?}: {other:?}"),
    };
    assert_eq!(cfa(OrcBase::Sp, 8), CfaRule::RegOffset(sp, 8));
    assert_eq!(cfa(OrcBase::Bp, 16), CfaRule::RegOffset(fp, 16));
    assert_eq!(cfa(OrcBase::SpIndirect, 24), CfaRule::RegDerefOffset(sp, 24));
    assert_eq!(cfa(OrcBase::BpIndirect, -8), CfaRule::RegOffsetDeref(fp, -8));
    // Of other registers the kernel takes the value and not the offset.
    let registers = [(OrcBase::Ax, 0), (OrcBase::Dx, 1), (OrcBase::Di, 5), (OrcBase::R10, 10), (OrcBase::R13, 13)];
    for (base, number) in registers {
        assert_eq!(cfa(base, 40), CfaRule::RegOffset(Register(number), 0));
    }
    for base in [OrcBase::Undefined, OrcBase::PrevSp] {
        assert_eq!(OrcEntry::call(base, 8).lower(), None, "{base:?}");
    }
    let fp_rule = |bp| OrcEntry { bp, bp_offset: -16, ..OrcEntry::call(OrcBase::Sp, 8) }.lower();
    let row = |fp| UnwindRow {
        cfa: CfaRule::RegOffset(sp, 8),
        ra: Rule::CfaOffsetDeref(-8),
        fp,
        mangled_ra: false,
        signal: false,
    };
    assert_eq!(fp_rule(OrcBase::Undefined), Some(Entry::Row(row(Rule::Retain))));
    assert_eq!(fp_rule(OrcBase::PrevSp), Some(Entry::Row(row(Rule::CfaOffsetDeref(-16)))));
    assert_eq!(fp_rule(OrcBase::Bp), Some(Entry::Row(row(Rule::RegOffsetDeref(fp, -16)))));
    assert_eq!([OrcBase::Sp, OrcBase::Dx, OrcBase::Ax].map(fp_rule), [None; 3]);
}

#[test]
fn pt_regs_gaps_and_ends_have_entries_of_their_own() {
    let lowered = |kind, signal| OrcEntry { kind, signal, ..OrcEntry::call(OrcBase::Sp, 8) }.lower();
    let regs = |is_whole, signal| {
        let at = CfaRule::RegOffset(abi::X86_64.sp, 8);
        Some(Entry::PtRegs(PtRegsRow { at, is_whole, fp: Rule::Retain, signal }))
    };
    assert_eq!(lowered(OrcType::Regs, true), regs(true, true));
    assert_eq!(lowered(OrcType::Regs, false), regs(true, false));
    assert_eq!(lowered(OrcType::RegsPartial, true), regs(false, true));
    assert_eq!(OrcEntry::UNDEFINED.lower(), Some(Entry::NoRow { signal: false }));
    assert_eq!(lowered(OrcType::Undefined, true), Some(Entry::NoRow { signal: true }));
    assert_eq!(OrcEntry::END_OF_STACK.lower(), Some(Entry::Outermost));
}

#[test]
fn a_table_says_which_entry_is_malformed() {
    let entries = [&ENTRIES[..6], &[0, 0, 0, 0, 5, 7], &[0, 0, 0, 0, 5, 2], &[8, 0, 0, 0, 0, 2]].concat();
    let table = OrcTable::parse(OFFSETS, 0x2000, entries.as_slice()).expect("the lengths fit");
    assert!(matches!(table.entry(0x1000), Ok(Some(Entry::Row(_)))));
    assert_eq!(table.entry(0xfff), Ok(None));
    assert_eq!(table.entry(0x1020), Err(Error::UnusableRule(0x1020)), "SP is computed from nothing");
    let only = OrcTable::parse(&OFFSETS[..8], 0x2000, &entries[..12]).expect("the lengths fit");
    assert_eq!(only.entry(0x1010), Err(Error::BadTable { pc: 0x1010, offset: 6 }));
}

#[test]
fn the_numbers_of_bases_are_those_of_the_kernel_that_wrote_them() {
    // arch/x86/include/asm/orc_types.h of v7.3, by number.
    let bases = [
        OrcBase::Undefined,
        OrcBase::Ax,
        OrcBase::Dx,
        OrcBase::Sp,
        OrcBase::Bp,
        OrcBase::Di,
        OrcBase::R10,
        OrcBase::R13,
        OrcBase::PrevSp,
        OrcBase::SpIndirect,
        OrcBase::BpIndirect,
    ];
    for (number, base) in (0_u8..).zip(bases) {
        let entry = OrcEntry { bp: base, ..OrcEntry::call(base, 8) };
        assert_eq!(OrcEntry::decode_as(OrcNumbers::Linux7, [8, 0, 0, 0, number * 0x11, 2]), Ok(entry), "{number}");
    }
    assert_eq!(OrcEntry::decode_as(OrcNumbers::Linux7, [8, 0, 0, 0, 11, 2]), Err(OrcError::UnknownBase(11)));
    // Of v6.12.
    let bare = OrcEntry::call(OrcBase::Sp, 8);
    assert_eq!(OrcEntry::decode_as(OrcNumbers::Linux6, [8, 0, 0, 0, 5, 2]), Ok(bare));
    assert_eq!(OrcEntry::decode_as(OrcNumbers::Linux6, [8, 0, 0, 0, 10, 2]), Err(OrcError::UnknownBase(10)));
    let hash = "fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24";
    let hash: Vec<u8> =
        (0..20).map(|byte| u8::from_str_radix(&hash[2 * byte..2 * byte + 2], 16).expect("hex")).collect();
    assert_eq!(OrcNumbers::of_header(&hash), Some(OrcNumbers::Linux6));
    // sp+8; one more entry is saved rbp at CFA-16.
    let entries = [8, 0, 0, 0, 0x03, 2, 16, 0, 0xf0, 0xff, 0x83, 2];
    let table = OrcTable::parse(&OFFSETS[..8], 0x2000, &entries[..]).expect("the lengths fit");
    let table = table.with_numbers(OrcNumbers::Linux7);
    assert_eq!(table.lookup(0x1000), Ok(Some(OrcEntry::call(OrcBase::Sp, 8))));
    let saved = OrcEntry { bp: OrcBase::PrevSp, bp_offset: -16, ..OrcEntry::call(OrcBase::Sp, 16) };
    assert_eq!(table.lookup(0x1010), Ok(Some(saved)));
    assert_eq!(OrcNumbers::of_header(&[0; 20]), None);
    assert_eq!(OrcNumbers::of_header(&[]), None);
}
