//! Several sections of one file.

use kunwind::dwarf::CfiSection;
use kunwind::sframe::write::{Choice, FromCfi, Placement, Reason, Unneeded, from_sections};
use kunwind::sframe::{SFrameAbi, SFrameSection};
use kunwind::{CfaRule, Entry, Register};

use super::cfi::{AMD64, Frames};

/// `DW_CFA_advance_loc 1`, `DW_CFA_def_cfa_offset 16`.
const PUSH: &[u8] = &[0x41, 0x0e, 16];

/// Functions of one section: their start, size and program.
type Functions<'a> = &'a [(u64, u64, &'a [u8])];

/// What `.eh_frame` and `.debug_frame` with these functions give together.
fn merged(eh: Functions<'_>, debug: Functions<'_>) -> FromCfi {
    let build = |section, functions: Functions<'_>| {
        let mut frames = Frames::new(section, SFrameAbi::Amd64);
        let cie = frames.cie(b"", AMD64);
        for (start, size, program) in functions {
            frames.fde(cie, *start, *size, program);
        }
        frames.build()
    };
    let both = [build(CfiSection::EhFrame, eh), build(CfiSection::DebugFrame, debug)];
    let sections: Vec<_> = both.iter().map(super::cfi::Built::cfi).collect();
    // Nothing that is linked lies below 0x1000.
    let mut choose = |_: usize, function: &kunwind::dwarf::CfiFunction| match function.start {
        ..0x1000 => Choice::Skip(Unneeded::Discarded),
        _ => Choice::Take,
    };
    from_sections(&sections, SFrameAbi::Amd64, Placement::Linked(0x8000), &mut choose).expect("few functions")
}

fn functions(made: &FromCfi) -> Vec<(u64, usize)> {
    made.functions.iter().map(|function| function.start).zip(made.origins.iter().copied()).collect()
}

fn refusals(made: &FromCfi) -> Vec<(usize, u64, Reason)> {
    let start = |range: Option<(u64, u64)>| range.expect("its range").0;
    made.refusals.iter().map(|refusal| (refusal.section, start(refusal.range), refusal.reason)).collect()
}

fn skipped(made: &FromCfi) -> Vec<(usize, u64, Unneeded)> {
    made.skipped.iter().map(|skipped| (skipped.section, skipped.function.start, skipped.why)).collect()
}

#[test]
fn what_only_one_section_has_is_taken() {
    let made = merged(&[(0x1000, 16, PUSH)], &[(0x1020, 16, &[]), (0x1010, 16, PUSH)]);
    assert_eq!(functions(&made), [(0x1000, 0), (0x1020, 1), (0x1010, 1)]);
    assert_eq!((refusals(&made), skipped(&made)), (vec![], vec![]));
}

#[test]
fn what_both_say_alike_is_taken_once() {
    // The second has the same rows in other instructions.
    let made = merged(&[(0x1000, 16, PUSH)], &[(0x1000, 16, &[0x41, 0x0e, 16, 0x41, 0x0a, 0x0b])]);
    assert_eq!(functions(&made), [(0x1000, 0)]);
    assert_eq!(refusals(&made), []);
    assert_eq!(skipped(&made), [(1, 0x1000, Unneeded::Repeated)]);
    // What neither can say is said once.
    let no_fp: &[u8] = &[0x07, 6];
    let made = merged(&[(0x1000, 16, no_fp)], &[(0x1000, 16, no_fp)]);
    assert_eq!((functions(&made).len(), refusals(&made).len(), skipped(&made).len()), (0, 1, 1));
}

#[test]
fn a_contradiction_is_said_and_the_first_one_wins() {
    let cases: [(Functions<'_>, Functions<'_>); 3] = [
        (&[(0x1000, 16, PUSH)], &[(0x1000, 16, &[])]),
        (&[(0x1000, 16, PUSH)], &[(0x1000, 17, PUSH)]),
        (&[(0x1000, 16, PUSH)], &[(0x1000, 16, &[0x07, 6])]),
    ];
    for (eh, debug) in cases {
        let made = merged(eh, debug);
        assert_eq!(functions(&made), [(0x1000, 0)]);
        assert_eq!(refusals(&made), [(1, 0x1000, Reason::Contradiction)]);
        let section = SFrameSection::parse(&made.written.bytes, 0x8000).expect("a section");
        let Ok(Some(Entry::Row(row))) = section.lookup(0x1001) else { panic!("a row") };
        assert_eq!(row.cfa, CfaRule::RegOffset(Register(7), 16));
    }
    // Also within one section.
    let made = merged(&[(0x1000, 16, PUSH), (0x1000, 16, &[])], &[]);
    assert_eq!(refusals(&made), [(0, 0x1000, Reason::Contradiction)]);
}

#[test]
fn an_overlap_is_refused_in_the_later_section() {
    for start in [0xff8, 0x1008] {
        let made = merged(&[(0x1000, 16, PUSH)], &[(start.max(0x1000), 16, &[])]);
        assert!(!refusals(&made).is_empty());
    }
    let made = merged(&[(0x2000, 16, PUSH)], &[(0x1ff8, 16, &[]), (0x2008, 16, &[])]);
    assert_eq!(functions(&made), [(0x2000, 0)]);
    assert_eq!(refusals(&made), [(1, 0x1ff8, Reason::Overlap), (1, 0x2008, Reason::Overlap)]);
}

#[test]
fn what_the_caller_leaves_out_is_left_out() {
    let made = merged(&[(0x1000, 16, PUSH)], &[(0, 0x29, &[]), (0, 0x2c, &[]), (0x1010, 0, &[])]);
    assert_eq!(functions(&made), [(0x1000, 0)]);
    assert_eq!(refusals(&made), []);
    let expected = [(1, 0, Unneeded::Discarded), (1, 0, Unneeded::Discarded), (1, 0x1010, Unneeded::Empty)];
    assert_eq!(skipped(&made), expected);
}

#[test]
fn a_function_of_which_nothing_is_said_is_named() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let cie = frames.cie(b"", &[0x80 | 16, 1]);
    frames.fde(cie, 0x1000, 16, &[]);
    frames.fde(cie, 0x1010, 16, &[0x41, 0x0c, 7, 8]);
    let built = frames.build();
    let made = from_sections(&[built.cfi()], SFrameAbi::Amd64, Placement::Relocatable, &mut |_, _| Choice::Take);
    let made = made.expect("few functions");
    assert_eq!((made.functions.len(), made.without_rows), (2, vec![0]));
}
