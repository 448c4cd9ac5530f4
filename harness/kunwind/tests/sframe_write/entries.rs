//! Entries that are wrong in themselves: what is around them is still found, and what is lost has its place and its reason.

use kunwind::dwarf::{CfiSection, Unsupported};
use kunwind::sframe::SFrameAbi;
use kunwind::sframe::write::{Choice, FromCfi, Placement, Reason, Unneeded, from_cfi, from_sections};

use super::cfi::{AMD64, Frames};

const BOTH: [CfiSection; 2] = [CfiSection::EhFrame, CfiSection::DebugFrame];

fn made(frames: &Frames) -> FromCfi {
    from_cfi(&frames.build().cfi(), SFrameAbi::Amd64, Placement::Linked(0x8000)).expect("few functions")
}

fn starts(made: &FromCfi) -> Vec<u64> {
    made.functions.iter().map(|function| function.start).collect()
}

/// The places and reasons of what was refused.
fn refused(made: &FromCfi) -> Vec<(usize, Reason)> {
    made.refusals.iter().map(|refusal| (refusal.fde, refusal.reason)).collect()
}

#[test]
fn a_bad_cie_pointer_loses_one_function() {
    for section in BOTH {
        let mut frames = Frames::new(section, SFrameAbi::Amd64);
        let cie = frames.cie(b"", AMD64);
        let fdes: Vec<usize> = (0..5).map(|at| frames.fde(cie, 0x1000 + at * 16, 16, &[])).collect();
        let outside = 0x10_0000;
        // Out of the section, into the middle of the CIE, and to an FDE.
        frames.point(fdes[1], outside, false);
        frames.point(fdes[2], cie + 1, false);
        frames.point(fdes[4], fdes[0], false);
        let made = made(&frames);
        assert_eq!(starts(&made), [0x1000, 0x1030], "{section:?}");
        let bad = Reason::Cfi(Unsupported::CiePointer, 0);
        assert_eq!(refused(&made), [(fdes[1], bad), (fdes[2], bad), (fdes[4], bad)], "{section:?}");
    }
}

#[test]
fn after_a_bad_length_the_rest_is_named() {
    for section in BOTH {
        for length in [2, 0x7fff_ffff] {
            let mut frames = Frames::new(section, SFrameAbi::Amd64);
            let cie = frames.cie(b"", AMD64);
            let fdes: Vec<usize> = (0..3).map(|at| frames.fde(cie, 0x1000 + at * 16, 16, &[])).collect();
            frames.set_length(fdes[1], length);
            let lost = (frames.bytes.len() - fdes[1]) as u64;
            let made = made(&frames);
            assert_eq!(starts(&made), [0x1000]);
            assert_eq!(refused(&made), [(fdes[1], Reason::Cfi(Unsupported::LostRest(lost), 0))], "{length}");
        }
    }
}

#[test]
fn padding_after_the_last_entry_is_no_loss() {
    for padding in 1..9 {
        let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
        let cie = frames.cie(b"", AMD64);
        frames.fde(cie, 0x1000, 16, &[]);
        let end = frames.bytes.len();
        frames.bytes.resize(end + padding, 0);
        assert_eq!(made(&frames).refusals, [], "{padding} zeros");
        frames.bytes.push(1);
        assert_eq!(made(&frames).refusals.len(), 1, "{padding} zeros, and something else");
    }
}

#[test]
fn a_large_cie_takes_no_time() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    // `DW_CFA_def_cfa` again and again. Without a limit this would run for minutes.
    let program: Vec<u8> = AMD64.iter().copied().chain([0x0c, 7, 8].into_iter().cycle().take(600_000)).collect();
    let large = frames.cie(b"", &program);
    let size = frames.bytes.len() as u64;
    let small = frames.cie(b"", AMD64);
    frames.fde(small, 0x1000, 16, &[]);
    let fdes: Vec<usize> = (0..20_000).map(|at| frames.fde(large, 0x2000 + at * 16, 16, &[])).collect();
    let made = made(&frames);
    assert_eq!(starts(&made), [0x1000]);
    let refused = refused(&made);
    assert_eq!(refused.len(), fdes.len());
    assert_eq!(refused[7], (fdes[7], Reason::Cfi(Unsupported::LargeCie(size), 0)));
}

#[test]
fn a_long_augmentation_takes_no_time() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let letters: Vec<u8> = std::iter::once(b'z').chain(std::iter::repeat_n(b'S', 600_000)).collect();
    let cie = frames.cie(&letters, AMD64);
    for at in 0..20_000 {
        frames.augmented(cie, 0x2000 + at * 16, 16, &[0], &[]);
    }
    assert_eq!(made(&frames).refusals.len(), 20_000);
}

#[test]
fn more_rows_than_fit_are_counted_and_not_kept() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let cie = frames.cie(b"", AMD64);
    let alternate =
        |rows: usize| -> Vec<u8> { (1..rows).flat_map(|at| [0x41, 0x0e, if at % 2 == 0 { 8 } else { 16 }]).collect() };
    frames.fde(cie, 0x10_0000, 0x10_0000, &alternate(65_535));
    let fde = frames.fde(cie, 0x20_0000, 0x10_0000, &alternate(70_000));
    // A leading gap is no row, and rows that are equal are one.
    let gap = frames.cie(b"", &[0x80 | 16, 1]);
    frames.fde(gap, 0x30_0000, 0x10_0000, &[&[0x41, 0x0c, 7, 8][..], &alternate(65_535), &[0x41; 1000]].concat());
    let made = made(&frames);
    assert_eq!(refused(&made), [(fde, Reason::TooManyRows(70_000))]);
    assert_eq!(starts(&made), [0x10_0000, 0x30_0000]);
}

#[test]
fn functions_that_overlap_take_no_time() {
    for section in BOTH {
        let mut frames = Frames::new(section, SFrameAbi::Amd64);
        let cie = frames.cie(b"", AMD64);
        for at in 0..30_000 {
            frames.fde(cie, 0x1000 + (30_000 - at) * 16, 1 << 40, &[]);
        }
        let both = [frames.build(), frames.build()];
        let sections: Vec<_> = both.iter().map(super::cfi::Built::cfi).collect();
        let made = from_sections(&sections, SFrameAbi::Amd64, Placement::Linked(0x8000), &mut |_, _| Choice::Take);
        let made = made.expect("few functions");
        assert_eq!((made.skipped.len(), made.refusals.len()), (30_000, 30_000));
    }
}

#[test]
fn a_function_without_code_is_not_needed() {
    let mut frames = Frames::new(CfiSection::EhFrame, SFrameAbi::Amd64);
    let cie = frames.cie(b"", AMD64);
    frames.fde(cie, 0x1000, 3, &[0x41, 0x0e, 16]);
    frames.fde(cie, 0x1003, 0, &[0x0e, 32]);
    let made = made(&frames);
    assert_eq!(starts(&made), [0x1000]);
    assert_eq!(made.refusals, []);
    let skipped: Vec<_> = made.skipped.iter().map(|skipped| (skipped.function.start, skipped.why)).collect();
    assert_eq!(skipped, [(0x1003, Unneeded::Empty)]);
}
