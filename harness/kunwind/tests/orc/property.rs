//! Random tables and stacks: nothing panics, nothing runs for ever, and the look-up says what a plain search says.

use kunwind::kernel::Form;
use kunwind::orc::{OrcBase, OrcEntry, OrcTable, OrcType, write};
use kunwind::{End, Frame, ReturnHook, check_steps};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRunner};

use super::memory::{DATA, IRQ, Kernel, RSP, TASK, TEXT, interrupted, named, running};

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x0c),
        ..ProptestConfig::default()
    })
}

fn entry() -> impl Strategy<Value = OrcEntry> {
    let base = || (0_u8..11).prop_map(|number| OrcBase::try_from(number).expect("all of them exist"));
    let kind = select(vec![OrcType::Call, OrcType::Call, OrcType::Regs, OrcType::RegsPartial, OrcType::EndOfStack]);
    let offset = || prop_oneof![(-4_i16..40).prop_map(|words| words * 8), any::<i16>()];
    (kind, base(), offset(), base(), offset(), any::<bool>()).prop_map(
        |(kind, sp, sp_offset, bp, bp_offset, signal)| OrcEntry { kind, sp, sp_offset, bp, bp_offset, signal },
    )
}

#[test]
fn whatever_the_bytes_are_they_are_read_or_refused() {
    let strategy = (vec(any::<u8>(), 0..120), any::<u64>(), vec(any::<u8>(), 0..180), vec(any::<u64>(), 1..20));
    let outcome = runner(2000).run(&strategy, |(offsets, address, entries, pcs)| {
        if let Ok(table) = OrcTable::parse(&offsets, address, &entries) {
            let _ = table.validate();
            for pc in pcs.into_iter().chain((0..=table.len()).filter_map(|index| table.address_of(index))) {
                let _ = table.lookup(pc);
            }
        }
        // Lengths that fit are rare: cut them to fit.
        let count = (offsets.len() / 4).min(entries.len() / 6);
        let table = OrcTable::parse(&offsets[..count * 4], address, &entries[..count * 6]).expect("cut to fit");
        for index in 0..=count {
            let _ = table.address_of(index).map(|pc| table.lookup(pc));
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn lookup_is_the_last_entry_that_is_not_above() {
    let strategy = (vec((0_u64..2000, entry()), 0..40), vec(0_u64..2200, 1..40));
    let outcome = runner(500).run(&strategy, |(mut entries, pcs)| {
        entries.sort_by_key(|(address, _)| *address);
        entries.dedup_by_key(|(address, _)| *address);
        let written = write(&entries, 0x8000).expect("all is near");
        let table = OrcTable::parse(&written.offsets, 0x8000, &written.entries).expect("it was written");
        prop_assert_eq!(table.validate(), Ok(()));
        for pc in pcs {
            let plain = entries.iter().rev().find(|(address, _)| *address <= pc).map(|(_, entry)| *entry);
            prop_assert_eq!(table.lookup(pc), Ok(plain));
        }
        Ok(())
    });
    outcome.unwrap();
}

/// A word that leads somewhere: onto a stack, into the text, to the tracer's data, or anywhere.
fn word() -> impl Strategy<Value = u64> {
    let near = |base: u64, words: u64| (0..words).prop_map(move |index| base + index * 8);
    prop_oneof![
        4 => near(TASK.low, 64),
        2 => near(IRQ.low, 64),
        1 => near(TASK.high - 64, 16),
        6 => (0_u64..0x80).prop_map(|offset| TEXT + offset),
        1 => Just(TEXT + 0x1000),
        1 => near(DATA, 8),
        1 => select(vec![0, 1, 8, u64::MAX, u64::MAX - 7]),
        1 => any::<u64>(),
    ]
}

#[test]
fn every_walk_ends_that_knows_its_sp() {
    let entries = vec(entry(), 8);
    let strategy = (entries, vec(word(), 200), (word(), word(), word()), any::<bool>(), 0_u64..600);
    let outcome = runner(3000).run(&strategy, |(entries, words, (pc, sp, bp), is_interrupted, ret_stack)| {
        let places: Vec<(u64, OrcEntry)> = (0..).map(|index| TEXT + index * 16).zip(entries).collect();
        let stacks = (0..64).map(|index| TASK.low + index * 8).chain((0..64).map(|index| IRQ.low + index * 8));
        let data = (0..24).map(|index| DATA + index * 8);
        let words: Vec<(u64, u64)> = stacks.chain(data).zip(words).collect();
        let kind = if ret_stack % 2 == 0 { ReturnHook::Fgraph } else { ReturnHook::Rethook };
        let mut kernel = Kernel::new(&places, &words).with_trampoline(kind, TEXT + 0x1000);
        kernel.ret_stack = Some(ret_stack);
        let start = if is_interrupted { interrupted(pc, sp, bp) } else { running(pc, sp, bp) };
        for form in [Form::Reliable, Form::BestEffort] {
            let name = if form == Form::Reliable { "x86-orc-detect" } else { "x86-orc:best-effort" };
            prop_assert_eq!(check_steps(named(name), start, &kernel), Ok(()));
            let (frames, end, _) = kernel.frames(form, start);
            // Each stack once, and on each SP rises. Only an SP that is on no stack is compared with nothing.
            let is_lost =
                |frame: &Frame| frame.regs.get(RSP).is_none_or(|sp| !TASK.contains(sp, 8) && !IRQ.contains(sp, 8));
            prop_assert!(end != End::Full || frames.iter().any(is_lost), "{} frames", frames.len());
        }
        Ok(())
    });
    outcome.unwrap();
}
