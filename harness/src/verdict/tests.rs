//! The judge alone: each test gives it a truth and a walk, and says what the verdict must be and why.

use std::rc::Rc;

use super::{Deviation, Rules, Verdict, Walk, WalkEntry};
use crate::cpu::{CodeAddress, MAX_CALLEE_SAVED, Register, Regs};
use crate::guest::conventions::Preserved;
use crate::oracle::{Activation, Cause, MAX_LINKS, Truth};
use crate::subject::{Claim, Compares, End, Outcome};

const SP: Register = Register(31);
const FP: Register = Register(29);
const SAVED: Register = Register(19);

/// An entry: pc, CFA, frame pointer. Three different activations, the middle one a trampoline's, and recursion.
type Entry = (u64, u64, u64);

const A: Entry = (0x10, 0x1000, 0x1100);
const B: Entry = (0x20, 0x2000, 0x2100);
const C: Entry = (0x30, 0x3000, 0x3100);
/// The same pc as B, in another activation.
const B2: Entry = (0x20, 0x2800, 0x2900);
const STRANGER: Entry = (0x99, 0x2000, 0x2100);
const TRAMPOLINE: u64 = 0x20;

fn truth(entries: &[Entry]) -> Truth {
    let mut youngest = None;
    for (resume, cfa, fp) in entries.iter().rev() {
        let mut saved = [0; MAX_CALLEE_SAVED];
        saved[..2].copy_from_slice(&[7, *fp]);
        youngest = Some(Rc::new(Activation {
            resume: *resume,
            cfa: *cfa,
            saved,
            preserved: Preserved::ALL,
            entry: 0,
            links: [0; MAX_LINKS],
            stack: None,
            cause: Cause::Call,
            depth: 0,
            serial: 0,
            parent: youngest.take(),
        }));
    }
    Truth::new(youngest)
}

fn frame((pc, cfa, fp): Entry) -> WalkEntry {
    let mut regs = Regs::none();
    regs.set(SP, cfa);
    regs.set(FP, fp);
    WalkEntry { pc: CodeAddress::Return(pc), regs }
}

const ALL: Compares = Compares { cfa: true, fp: true, callee_saved: true };

fn judge_with(
    compares: Compares,
    trampoline: Option<u64>,
    true_entries: &[Entry],
    frames: &[WalkEntry],
    end: End,
    claim: Claim,
) -> Verdict {
    let mut walked = vec![frame((0x1, 0, 0))];
    walked.extend_from_slice(frames);
    let omissible = |activation: &Activation| Some(activation.resume) == trampoline;
    let rules =
        Rules { compares, sp: SP, fp: FP, callee_saved: &[SAVED, FP], fp_index: Some(1), omissible: &omissible };
    let truth = truth(true_entries);
    let outcome = Outcome { end, claim };
    let verdict = rules.judge(&truth, &Walk { entries: &walked, outcome });
    // Entry by entry, it is the same verdict.
    let mut seen = Vec::new();
    let mut follower = rules.follow(&truth, &mut seen);
    frames.iter().for_each(|frame| _ = follower.takes(frame.pc, &frame.regs));
    assert_eq!(follower.verdict(outcome), verdict, "the follower disagrees");
    verdict
}

fn judge(true_entries: &[Entry], walked: &[Entry], end: End, claim: Claim) -> Verdict {
    let frames: Vec<WalkEntry> = walked.iter().copied().map(frame).collect();
    judge_with(ALL, None, true_entries, &frames, end, claim)
}

#[track_caller]
fn claimed(true_entries: &[Entry], walked: &[Entry], verdict: &str) {
    let found = judge(true_entries, walked, End::Outermost, Claim::Reliable);
    assert_eq!(found.to_string(), verdict, "claimed: {walked:x?}");
    // Without a claim, the same deviation is never worse than `WrongFlagged`.
    for claim in [Claim::Unreliable, Claim::None] {
        let flagged = judge(true_entries, walked, End::Outermost, claim);
        let expected = match (found, claim) {
            (Verdict::Unsound(kind) | Verdict::Overstated(kind), _) => Verdict::WrongFlagged(kind),
            (Verdict::Exact, Claim::Unreliable) => Verdict::Cautious,
            (other, _) => other,
        };
        assert_eq!(flagged, expected, "{claim:?}: {walked:x?}");
    }
}

const STOPPED: End = End::Stopped;

#[test]
fn an_exact_trace() {
    claimed(&[A, B, C], &[A, B, C], "=");
    claimed(&[], &[], "=");
    claimed(&[A, B, B2, C], &[A, B, B2, C], "="); // recursion is legal
}

#[test]
fn an_exact_trace_without_a_proven_end_is_cautious() {
    for claim in [Claim::Unreliable, Claim::None] {
        assert_eq!(judge(&[A, B], &[A, B], STOPPED, claim), Verdict::Cautious, "{claim:?}");
        assert_eq!(judge(&[A, B], &[A, B], End::Full, claim), Verdict::Cautious, "{claim:?}");
    }
}

#[test]
fn a_skipped_activation() {
    claimed(&[A, B, C], &[A, C], "!skipped");
    claimed(&[A, B, C], &[B, C], "!skipped");
    claimed(&[A, B, B2, C], &[A, B2, C], "!skipped"); // the younger of two with the same pc
    claimed(&[A, B, B2, C], &[A, B, C], "!skipped"); // the older
}

#[test]
fn a_truncated_trace() {
    claimed(&[A, B, C], &[A, B], "!truncated");
    claimed(&[A], &[], "!truncated");
}

#[test]
fn a_truncated_trace_that_says_so_is_incomplete() {
    assert_eq!(judge(&[A, B, C], &[A, B], STOPPED, Claim::Unreliable), Verdict::Incomplete(2));
    assert_eq!(judge(&[A, B, C], &[], STOPPED, Claim::None), Verdict::Incomplete(0));
    assert_eq!(judge(&[A, B, C], &[A], End::Full, Claim::Unreliable), Verdict::Incomplete(1));
}

#[test]
fn stopping_does_not_excuse_a_wrong_entry() {
    assert_eq!(
        judge(&[A, B, C], &[STRANGER], STOPPED, Claim::Unreliable),
        Verdict::WrongFlagged(Deviation::Substituted)
    );
    assert_eq!(judge(&[A, B, C], &[B], STOPPED, Claim::Unreliable), Verdict::WrongFlagged(Deviation::Skipped));
    let wrong_cfa = (A.0, A.1 + 8, A.2);
    assert_eq!(
        judge(&[A, B, C], &[wrong_cfa], STOPPED, Claim::Unreliable),
        Verdict::WrongFlagged(Deviation::Truncated)
    );
}

#[test]
fn a_substituted_activation() {
    claimed(&[A, B, C], &[A, STRANGER, C], "!substituted");
    claimed(&[A, B, C], &[A, B, STRANGER], "!substituted");
    claimed(&[A], &[STRANGER], "!substituted");
}

#[test]
fn an_invented_entry() {
    claimed(&[A, B, C], &[A, STRANGER, B, C], "+invented");
    claimed(&[A, B, C], &[A, B, C, STRANGER], "+invented");
    claimed(&[], &[STRANGER], "+invented");
}

#[test]
fn a_repeated_activation() {
    claimed(&[A, B, C], &[A, A, B, C], "+repeated");
    claimed(&[A, B, C], &[A, B, B, C], "+repeated");
    claimed(&[A, B, C], &[A, B, C, C], "+repeated");
    claimed(&[A, B, B2, C], &[A, B, B, B2, C], "+repeated"); // beside legal recursion
}

#[test]
fn a_wrong_state_with_right_pcs() {
    let (wrong_cfa, wrong_fp) = ((B.0, B.1 + 8, B.2), (B.0, B.1, B.2 + 8));
    claimed(&[A, B, C], &[A, wrong_cfa, C], "+state");
    claimed(&[A, B, C], &[A, wrong_fp, C], "+state");
    let all_off: Vec<Entry> = [A, B, C].iter().map(|entry| (entry.0, entry.1 + 8, entry.2)).collect();
    claimed(&[A, B, C], &all_off, "+state");
}

#[test]
fn a_wrong_callee_saved_register_counts_only_where_it_is_compared() {
    let mut wrong = frame(A);
    wrong.regs.set(SAVED, 8);
    let verdict = |compares| judge_with(compares, None, &[A], &[wrong], End::Outermost, Claim::Reliable);
    assert_eq!(verdict(ALL), Verdict::Overstated(Deviation::State));
    assert_eq!(verdict(Compares { callee_saved: false, ..ALL }), Verdict::Exact);
    wrong.regs.set(SAVED, 7);
    assert_eq!(judge_with(ALL, None, &[A], &[wrong], End::Outermost, Claim::Reliable), Verdict::Exact);
}

#[test]
fn what_a_walk_does_not_know_is_not_held_against_it() {
    let mut frames = [frame(A), frame(B)];
    for frame in &mut frames {
        frame.regs = Regs::none();
    }
    assert_eq!(judge_with(ALL, None, &[A, B], &frames, End::Outermost, Claim::Reliable), Verdict::Exact);
}

#[test]
fn without_a_cfa_the_frame_pointer_distinguishes_activations() {
    let mut frames: Vec<WalkEntry> = [A, B2, C].into_iter().map(frame).collect();
    for frame in &mut frames {
        frame.regs.forget(SP);
    }
    let verdict = judge_with(ALL, None, &[A, B, B2, C], &frames, End::Outermost, Claim::Reliable);
    assert_eq!(verdict, Verdict::Unsound(Deviation::Skipped));
}

#[test]
fn an_omissible_function_may_be_left_out_or_named() {
    let verdict = |walked: &[Entry]| {
        let frames: Vec<WalkEntry> = walked.iter().copied().map(frame).collect();
        judge_with(ALL, Some(TRAMPOLINE), &[A, B, C], &frames, End::Outermost, Claim::Reliable).to_string()
    };
    assert_eq!(verdict(&[A, C]), "=");
    assert_eq!(verdict(&[A, B, C]), "=");
    assert_eq!(verdict(&[A]), "!truncated");
    assert_eq!(verdict(&[C]), "!skipped");
    // No required activation is missing, but a false entry is there.
    assert_eq!(verdict(&[A, STRANGER, C]), "+invented");
}

#[test]
fn an_omission_weighs_more_than_a_falsehood_whichever_is_younger() {
    claimed(&[A, B, C], &[A, STRANGER, B], "!truncated");
    let wrong_cfa = (A.0, A.1 + 8, A.2);
    claimed(&[A, B, C], &[wrong_cfa, C], "!skipped");
    claimed(&[A, B, C], &[A, A, C], "!skipped");
}

#[test]
fn the_youngest_omission_gives_the_kind() {
    claimed(&[A, B, C, B2], &[A, C], "!skipped"); // B is skipped, B2 truncated
    claimed(&[A, B, C], &[STRANGER, B], "!substituted"); // A is substituted, C truncated
}

#[test]
fn verdicts_are_ordered_from_worst_to_best() {
    let order = [
        Verdict::Crashed,
        Verdict::TimedOut,
        Verdict::Unsound(Deviation::Skipped),
        Verdict::Overstated(Deviation::State),
        Verdict::WrongFlagged(Deviation::Skipped),
        Verdict::Incomplete(3),
        Verdict::Cautious,
        Verdict::Exact,
    ];
    assert!(order.is_sorted());
}

#[test]
fn verdicts_parse_as_they_print() {
    for text in [
        "#",
        "%",
        "!skipped",
        "!truncated",
        "!substituted",
        "+invented",
        "+repeated",
        "+state",
        "?skipped",
        "?state",
        "<7",
        "~",
        "=",
    ] {
        assert_eq!(text.parse::<Verdict>().map(|verdict| verdict.to_string()), Ok(text.to_owned()));
    }
    for text in ["", "!", "!state", "+skipped", "?", "<", "<x", "%x", "==", "skipped", "é"] {
        assert!(text.parse::<Verdict>().is_err(), "{text:?}");
    }
}
