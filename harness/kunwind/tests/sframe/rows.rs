//! Rows whose raw bytes say what objdump does not show, and encodings that no assembler here writes.

use kunwind::sframe::{Error, ErrorKind, SFrameSection, SFrameTable};
use kunwind::{CfaRule, Entry, PauthKey, Register, Rule, Table as _, UnwindRow};

use super::fixture;

const SP: Register = Register(7);
const FP: Register = Register(6);

/// The rows of a function: where each starts, and what it says.
fn rows(data: &[u8], index: u32) -> Vec<(u32, Entry)> {
    let section = SFrameSection::parse(data, 0).expect("a sound section");
    let function = section.function(index).expect("a sound function");
    let row = |fre: Result<kunwind::sframe::Fre<'_>, Error>| {
        let fre = fre.expect("a row");
        (fre.start(), fre.entry().expect("rules"))
    };
    function.fres().map(row).collect()
}

fn row(cfa: CfaRule, ra: Rule, fp: Rule) -> Entry {
    Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: false, signal: false })
}

#[test]
fn flexible_rows_read_memory_where_their_bytes_say_so() {
    use {CfaRule as Cfa, Rule::*};
    let ra = CfaOffsetDeref(-8);
    // DRAP: the CFA in r10, later in the stack slot at rbp-8, the caller's rbp at *rbp.
    assert_eq!(
        rows(&fixture::gold_named("x16_drap.v3"), 0)[1..4],
        [
            (0x5, row(Cfa::RegOffset(Register(10), 0), ra, Retain)),
            (0x11, row(Cfa::RegOffset(Register(10), 0), ra, RegOffsetDeref(FP, 0))),
            (0x13, row(Cfa::RegOffsetDeref(FP, -8), ra, RegOffsetDeref(FP, 0))),
        ]
    );
    // Return address in rdx; FP in r11 and the return address in r9.
    let data = fixture::gold_named("x17_ra_reg.v3");
    assert_eq!(rows(&data, 0)[1], (1, row(Cfa::RegOffset(SP, 0), RegOffset(Register(2), 0), Retain)));
    assert_eq!(
        rows(&data, 2)[2],
        (5, row(Cfa::RegOffset(SP, 0), RegOffset(Register(9), 0), RegOffset(Register(11), 0)))
    );
    // Control words have no sign: register 31 is 0xf9 in one byte.
    let data = fixture::gold_named("x20_flex_bigreg.v3");
    assert_eq!(rows(&data, 0)[2].1, row(Cfa::RegOffset(SP, 8), RegOffset(Register(31), 0), Retain));
}

#[test]
fn a_rule_based_on_the_cfa_reads_memory() {
    // Two words 02 e8 after the CFA's: RA at *(CFA-24).
    let data = fixture::gold_named("x18_flex_stack.v3");
    let (_, entry) = rows(&data, 0).remove(1);
    assert_eq!(entry, row(CfaRule::RegOffset(SP, 8), Rule::CfaOffsetDeref(-24), Rule::Retain));
    assert!(data.windows(2).any(|words| words == [0x02, 0xe8]));
}

/// A version 2 section of one function of 0x40 bytes at address 0 with these rows.
fn v2_s390x(count: u8, rows: &[u8]) -> Vec<u8> {
    let mut data = vec![0xde, 0xe2, 2, 5, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, count, 0, 0, 0, rows.len() as u8];
    data.extend([0, 0, 0, 0, 0, 0, 0, 20]);
    data.extend([0xff, 0xff, 0xff, 0xe4, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, count, 0, 0, 0, 0]);
    data.extend(rows);
    data
}

#[test]
fn s390x_rows_of_version_2_name_registers_by_odd_words() {
    // CFA = r15+0*8+160; RA in f1 (DWARF 17): 35; FP at CFA-72, then in f0 (16): 33; RA still in r14: 0.
    let data = v2_s390x(2, &[0, 0x07, 0, 35, 0xb8, 4, 0x07, 20, 0, 33]);
    let (sp, number) = (Register(15), Register);
    assert_eq!(
        rows(&data, 0),
        [
            (0, row(CfaRule::RegOffset(sp, 160), Rule::RegOffset(number(17), 0), Rule::CfaOffsetDeref(-72))),
            (4, row(CfaRule::RegOffset(sp, 320), Rule::Retain, Rule::RegOffset(number(16), 0))),
        ]
    );
    // -1 is odd, and no register.
    let data = v2_s390x(1, &[0, 0x05, 0, 0xff]);
    let error = SFrameSection::parse(&data, 0).expect("a header").lookup(0).expect_err("no register");
    assert_eq!((error.kind, error.offset, error.value), (ErrorKind::BadRegister, 51, u64::MAX));
}

#[test]
fn the_same_words_are_offsets_in_version_3() {
    let mut data = vec![0xde, 0xe2, 3, 5, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 16];
    data.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe4, 0, 0, 0, 0x40, 0, 0, 0, 0]);
    data.extend([0, 1, 0, 0, 0, 0, 0x05, 0, 35]);
    assert_eq!(
        rows(&data, 0),
        [(0, row(CfaRule::RegOffset(Register(15), 160), Rule::CfaOffsetDeref(35), Rule::Retain))]
    );
}

#[test]
fn gaps_functions_without_rows_and_outermost_rows_are_three_things() {
    let gap = fixture::gold_named("x24_simple_empty.v3");
    let section = SFrameSection::parse(&gap, 0).expect("a sound section");
    let first = section.function(0).expect("a sound function");
    assert_eq!(section.lookup(first.start()), Ok(Some(Entry::NoRow { signal: false })));
    assert_eq!(section.lookup(first.start() - 1), Ok(None));

    let late = fixture::malformed("062_good_first_fre_nonzero");
    let section = SFrameSection::parse(&late, 0x2000).expect("a sound section");
    assert_eq!(section.lookup(0x1000), Ok(Some(Entry::NoRow { signal: false })));
    assert!(matches!(section.lookup(0x1001), Ok(Some(Entry::Row(_)))));

    let outermost = fixture::gold_named("x13_ra_undef.v3");
    assert_eq!(rows(&outermost, 0), [(0, Entry::Outermost)]);

    let signal = fixture::gold_named("x11_signal.v3");
    assert!(matches!(rows(&signal, 0)[0].1, Entry::Row(UnwindRow { signal: true, .. })));
}

#[test]
fn a_function_without_a_size_does_not_hide_the_one_at_its_address() {
    // Both are at 0x1000 here, the one with a size second.
    let mut data = fixture::malformed("001_good");
    data[0x24..0x28].fill(0);
    data[0x2c..0x34].copy_from_slice(&(0x1000_i64 - 0x202c).to_le_bytes());
    for flags in [5, 4] {
        data[3] = flags;
        let section = SFrameSection::parse(&data, 0x2000).expect("a sound header");
        let function = section.function_at(0x1000).expect("no error").expect("a function");
        assert_eq!(function.index(), 1, "flags {flags}");
    }
}

#[test]
fn a_function_without_a_size_does_not_hide_the_one_around_it() {
    // It is at 0x1020, inside of the one from 0x1000 to 0x1040.
    let mut data = fixture::malformed("001_good");
    data[0x2c..0x34].copy_from_slice(&(0x1020_i64 - 0x202c).to_le_bytes());
    data[0x34..0x38].fill(0);
    for flags in [5, 4] {
        data[3] = flags;
        let section = SFrameSection::parse(&data, 0x2000).expect("a sound header");
        let function = section.function_at(0x1030).expect("no error").expect("a function");
        assert_eq!(function.index(), 0, "flags {flags}");
    }
}

#[test]
fn a_section_without_a_place_counts_from_its_own_start() {
    // Its code begins 0x1000 bytes before it.
    let data = fixture::malformed("001_good");
    let placed = SFrameSection::parse(&data, 0x2000).expect("a sound header");
    let unplaced = SFrameSection::parse_unplaced(&data).expect("a sound header");
    for pc in 0xff0..0x1210_u64 {
        assert_eq!(unplaced.lookup(pc.wrapping_sub(0x2000)), placed.lookup(pc), "{pc:#x}");
    }
    let starts: Vec<_> = unplaced.functions().map(|function| function.expect("sound").start().wrapping_neg()).collect();
    assert_eq!(starts, [0x1000, 0xfc0, 0xf80, 0xf60, 0xf50]);
    // At 0, with a known place, there is nothing before it.
    let placed = SFrameSection::parse(&data, 0).expect("a sound header");
    assert_eq!(placed.function(0).expect_err("before 0").kind, ErrorKind::AddressOverflow);
}

#[test]
fn a_lookup_believes_no_rows_out_of_order() {
    for name in ["058_fre_dup", "059_fre_descending"] {
        let data = fixture::malformed(name);
        let section = SFrameSection::parse(&data, 0x2000).expect("a sound header");
        let error = section.lookup(0x103f).expect_err("the last byte needs all rows");
        assert_eq!(error.kind, ErrorKind::FreOrder, "{name}");
    }
}

/// Bit 5 of the FDE's information, for AArch64 alone (SFrame 2 and 3, `pauth_key`): 0 is key A, 1 key B.
#[test]
fn a_table_knows_the_key_of_each_function() {
    // One function signs with key B, the other with key A. An object has no addresses yet: the index begins after the 28 bytes of the
    // header, and the second entry is told to begin where the first function ends.
    let mut data = fixture::gold_named("a06_pauth_b.v3");
    let (index, place) = (28, 0x1_0000);
    let start = place + index as u64;
    data[index + 16..index + 24].copy_from_slice(&(28_u64 - 16).to_le_bytes());
    let table = SFrameTable::parse(data, place).expect("a sound section");
    for (pc, key) in [(start, PauthKey::B), (start + 27, PauthKey::B), (start + 28, PauthKey::A)] {
        assert_eq!(table.pauth_key(pc), key, "{pc:#x}");
        assert!(matches!(table.entry(pc), Ok(Some(Entry::Row(_)))), "{pc:#x}");
    }
    assert_eq!((table.pauth_key(start + 28 + 16), table.entry(start + 28 + 16)), (PauthKey::A, Ok(None)));
}

/// x86-64's PLT: each entry of 16 bytes pushes at 11 (SFrame 3: the pc type for "pltN entries and trampolines", and `rep_size`).
#[test]
fn the_rows_of_a_block_hold_for_each_that_follows() {
    let data = fixture::gold_named("xl_exe.v3.exe");
    let section = SFrameSection::parse(&data, 0x40_20c0).expect("a sound section");
    let sp = |offset| Ok(Some(row(CfaRule::RegOffset(SP, offset), Rule::CfaOffsetDeref(-8), Rule::Retain)));
    for entry in [0x40_1010, 0x40_1020] {
        for (offset, cfa) in [(0, 8), (10, 8), (11, 16), (15, 16)] {
            assert_eq!(section.lookup(entry + offset), sp(cfa), "{:#x}", entry + offset);
        }
    }
}
