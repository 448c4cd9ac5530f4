//! Functions that are written from rows, without CFI: limits, and the sizes that the small objects do not reach.

use kunwind::sframe::SFrameAbi;
use kunwind::sframe::write::{FunctionRows, Placement, Reason, RowError, write};
use kunwind::{CfaRule, Entry, Register, Rule, UnwindRow};

use super::elf::fixture;

fn row(abi: SFrameAbi, cfa: i64, ra: Rule) -> Entry {
    let cfa = CfaRule::RegOffset(abi.sp(), cfa);
    Entry::Row(UnwindRow { cfa, ra, fp: Rule::Retain, mangled_ra: false, signal: false })
}

fn function(start: u64, size: u64, rows: Vec<(u64, Entry)>) -> FunctionRows {
    FunctionRows { start, size, signal: false, b_key: false, rows }
}

/// The functions of `x09_addr2.s` and so on: one push at the first instruction, one pop before the last.
fn pushing(abi: SFrameAbi, size: u64) -> FunctionRows {
    let (leaf, pushed, push, pop) = match abi {
        SFrameAbi::Amd64 => {
            let ra = Rule::CfaOffsetDeref(-8);
            (row(abi, 8, ra), row(abi, 16, ra), 1, size - 1)
        }
        SFrameAbi::S390x => (row(abi, 160, Rule::Retain), row(abi, 320, Rule::Retain), 4, size - 2),
        _ => (row(abi, 0, Rule::Retain), row(abi, 16, Rule::CfaOffsetDeref(-16)), 4, size - 4),
    };
    function(0, size, vec![(0, leaf), (push, pushed), (pop, leaf)])
}

#[test]
fn the_size_of_a_function_decides_how_wide_its_offsets_are() {
    let cases: [(&str, SFrameAbi, &[u64]); 4] = [
        ("x09_addr2", SFrameAbi::Amd64, &[255, 256, 257, 65535]),
        ("x10_addr4", SFrameAbi::Amd64, &[65536, 70000]),
        ("a08_addr24", SFrameAbi::Aarch64Le, &[252, 256, 65532, 65536]),
        ("s10_addr", SFrameAbi::S390x, &[254, 256, 65536]),
    ];
    for (name, abi, sizes) in cases {
        let functions: Vec<_> = sizes.iter().map(|size| pushing(abi, *size)).collect();
        let written = write(abi, Placement::Relocatable, &functions).expect("few functions");
        assert_eq!(written.refused, [], "{name}");
        let mut gold = fixture(&format!("{name}.v3.sframe"));
        // For s390x, as fills the section up to its alignment.
        gold.truncate(gold.len() - if abi == SFrameAbi::S390x { (8 - written.bytes.len() % 8) % 8 } else { 0 });
        assert_eq!(written.bytes, gold, "{name}");
    }
}

fn reason(abi: SFrameAbi, function: FunctionRows) -> Reason {
    let written = write(abi, Placement::Linked(0x1000), &[function]).expect("one function");
    assert_eq!(written.refused.len(), 1);
    assert_eq!(&written.bytes[8..16], [0; 8], "no function and no row");
    written.refused[0].1
}

#[test]
fn nothing_is_cut_off() {
    let abi = SFrameAbi::Amd64;
    let ra = Rule::CfaOffsetDeref(-8);
    let one = |entry| function(0, 16, vec![(0, entry)]);
    let too_large = i64::from(i32::MAX) + 1;
    assert_eq!(reason(abi, one(row(abi, too_large, ra))), Reason::Row(RowError::OffsetTooLarge(too_large), 0));
    assert_eq!(reason(abi, one(row(abi, 8, Rule::Retain))), Reason::Row(RowError::NoReturnAddress, 0));
    let alternate = (0..65536).map(|at| (at, row(abi, if at % 2 == 0 { 8 } else { 16 }, ra))).collect();
    assert_eq!(reason(abi, function(0, 65536, alternate)), Reason::TooManyRows(65536));
    assert_eq!(reason(abi, function(0, 1 << 32, vec![])), Reason::TooLarge(1 << 32));
    let twice = vec![(4, row(abi, 8, ra)), (4, row(abi, 16, ra))];
    assert_eq!(reason(abi, function(0, 16, twice)), Reason::RowOrder);
    let gap = vec![(0, row(abi, 8, ra)), (4, Entry::NoRow { signal: false })];
    assert_eq!(reason(abi, function(0, 16, gap)), Reason::Row(RowError::Gap, 4));
    let register = Entry::Row(UnwindRow {
        cfa: CfaRule::RegOffset(Register(17), 0),
        ra,
        fp: Rule::Retain,
        mangled_ra: false,
        signal: false,
    });
    assert_eq!(reason(abi, one(register)), Reason::Row(RowError::Register(Register(17)), 0));
    let arm = SFrameAbi::Aarch64Le;
    let at_cfa = one(row(arm, 16, Rule::CfaOffsetDeref(0)));
    assert_eq!(reason(arm, at_cfa), Reason::Row(RowError::ReturnAddressAtCfa, 0));
}

#[test]
fn the_words_of_a_row_are_as_wide_as_the_widest() {
    let abi = SFrameAbi::Aarch64Le;
    for (cfa, size) in [(127, 0), (128, 1), (32767, 1), (32768, 2), (i64::from(i32::MAX), 2)] {
        let rows = vec![(0, row(abi, cfa, Rule::CfaOffsetDeref(-8)))];
        let written = write(abi, Placement::Linked(0), &[function(0, 4, rows)]).expect("one function");
        // Header, index entry, attribute and the offset of the row come before its info.
        assert_eq!(written.bytes[28 + 16 + 5 + 1], 1 | 2 << 1 | size << 5, "{cfa}");
        assert_eq!(written.bytes.len(), 28 + 16 + 5 + 2 + (2 << size), "{cfa}");
    }
}

#[test]
fn a_linked_index_is_sorted_and_covers_no_address_twice() {
    let abi = SFrameAbi::Amd64;
    let leaf = || vec![(0, row(abi, 8, Rule::CfaOffsetDeref(-8)))];
    let functions = [
        function(0x3000, 0x10, leaf()),
        function(0x1008, 0x10, leaf()),
        function(0x1000, 0x10, leaf()),
        function(0x3000, 0, leaf()),
        function(0x1010, 0x10, leaf()),
    ];
    let written = write(abi, Placement::Linked(0x2000), &functions).expect("few functions");
    // The one at 0x1010 is not covered by one that is written.
    assert_eq!(written.refused, [(1, Reason::Overlap), (3, Reason::Overlap)]);
    let starts: Vec<u64> = super::split::split(&written.bytes, false)
        .1
        .iter()
        .map(|piece| (0x2000 + piece.field as u64).wrapping_add_signed(piece.start))
        .collect();
    assert_eq!(starts, [0x1000, 0x1010, 0x3000]);
}

#[test]
fn a_function_out_of_reach_is_refused() {
    let abi = SFrameAbi::Amd64;
    let leaf = || vec![(0, row(abi, 8, Rule::CfaOffsetDeref(-8)))];
    assert_eq!(reason(abi, function(u64::MAX - 0x1000, 16, leaf())), Reason::OutOfReach);
    assert_eq!(reason(abi, function(0x1000 + (1 << 63), 16, leaf())), Reason::OutOfReach);
    let high = 0xffff_ffff_8000_0000;
    let written = write(abi, Placement::Linked(high), &[function(u64::MAX - 8, 16, leaf())]).expect("one function");
    assert_eq!(written.refused, [(0, Reason::OutOfReach)], "its end is no address");
    let written = write(abi, Placement::Linked(high), &[function(high - 0x1000, 16, leaf())]).expect("one function");
    assert_eq!(written.refused, []);
}
