//! What is written is read again by the crate's own reader, which is held to the sections of others by its own tests.

use kunwind::dwarf::Storage;
use kunwind::sframe::write::{FunctionRows, Placement, Reason, write};
use kunwind::sframe::{Profile, SFrameAbi, SFrameSection, Severity, Surroundings, validate};
use kunwind::{CfaRule, Entry, Register, Rule, UnwindRow};
use object::read::{Object as _, ObjectSection as _};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRunner};

use super::elf::{Elf, fixture};
use super::{convert, linked};

/// The same cases in every run.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x5f),
        ..ProptestConfig::default()
    }
}

/// All that is wrong with a section, by the specification and by the kernel.
pub(crate) fn findings(bytes: &[u8], address: u64, abi: SFrameAbi) -> Vec<String> {
    let surroundings = Surroundings { address: Some(address), text: &[], abi: Some(abi) };
    let mut found = Vec::new();
    // The kernel takes no section without rows.
    let is_empty = bytes[8..12] == [0; 4] || bytes[12..16] == [0; 4];
    for profile in if is_empty { &[Profile::Spec][..] } else { &[Profile::Spec, Profile::Kernel] } {
        validate(bytes, &surroundings, *profile, &mut |finding| {
            if finding.severity == Severity::Error {
                found.push(format!("{profile:?}: {}", finding.error));
            }
        });
    }
    found
}

#[test]
fn every_pc_has_the_row_of_the_cfi() {
    let mut storage = Storage::new();
    for name in linked::FILES {
        let bytes = fixture(name);
        let elf = Elf::new(&bytes);
        let address = elf.file.section_by_name(".sframe").expect(".sframe").address();
        let made = convert(&elf, Placement::Linked(address));
        assert_eq!(findings(&made.written.bytes, address, elf.abi()), [] as [&str; 0], "{name}");
        let section = SFrameSection::parse(&made.written.bytes, address).expect("a section");
        let owned = elf.cfi();
        let mut compared = 0;
        for code in elf.file.sections().filter(|section| section.kind() == object::SectionKind::Text) {
            for pc in code.address()..code.address() + code.size() {
                let read = section.lookup(pc).expect("it is sound");
                let is_refused = made
                    .refusals
                    .iter()
                    .any(|refusal| refusal.range.is_some_and(|(start, size)| (start..start + size).contains(&pc)));
                let cfi = owned.cfi().lookup(pc, &mut storage).expect("it can be run");
                let expected = match cfi {
                    // A signal frame that cannot be written is at least known as one.
                    Some(cfi) if is_refused => cfi.function.signal.then_some(Entry::NoRow { signal: true }),
                    Some(cfi) => Some(cfi.entry.expect("a row")),
                    None => None,
                };
                assert_eq!(read, expected, "{name} {pc:#x}");
                compared += usize::from(read.is_some());
            }
        }
        assert!(compared > 10, "{name}: {compared}");
    }
}

fn offset() -> impl Strategy<Value = i64> {
    let edges =
        select(vec![-129, -128, 127, 128, -32769, -32768, 32767, 32768, i64::from(i32::MIN), i64::from(i32::MAX)]);
    let near_too_large = select(vec![i64::from(i32::MAX) + 1, i64::MIN, i64::MAX]);
    prop_oneof![8 => (-40_i64..40).prop_map(|words| words * 8), 2 => edges, 1 => -70000_i64..70000, 1 => near_too_large]
}

fn register(abi: SFrameAbi) -> impl Strategy<Value = Register> {
    prop_oneof![4 => Just(abi.sp()), 4 => Just(abi.fp()), 1 => (0_u8..40).prop_map(Register)]
}

fn rule(abi: SFrameAbi) -> impl Strategy<Value = Rule> {
    prop_oneof![
        6 => Just(Rule::Retain),
        6 => Just(Rule::CfaOffsetDeref(if abi.fixed_ra_offset() == 0 { -16 } else { abi.fixed_ra_offset().into() })),
        3 => offset().prop_map(Rule::CfaOffsetDeref),
        1 => offset().prop_map(Rule::CfaOffset),
        1 => (register(abi), offset()).prop_map(|(register, offset)| Rule::RegOffset(register, offset)),
        1 => (register(abi), offset()).prop_map(|(register, offset)| Rule::RegOffsetDeref(register, offset)),
    ]
}

fn entry(abi: SFrameAbi, signal: bool) -> impl Strategy<Value = Entry> {
    let cfa = (register(abi), offset(), prop::bool::weighted(0.1)).prop_map(|(register, offset, is_deref)| {
        if is_deref { CfaRule::RegOffsetDeref(register, offset) } else { CfaRule::RegOffset(register, offset) }
    });
    let row = (cfa, rule(abi), rule(abi), any::<bool>()).prop_map(move |(cfa, ra, fp, mangled_ra)| {
        Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra: mangled_ra && abi.has_pauth(), signal })
    });
    prop_oneof![12 => row, 1 => Just(Entry::Outermost), 1 => Just(Entry::NoRow { signal })]
}

/// A function at address 0: it is placed later.
fn function(abi: SFrameAbi) -> impl Strategy<Value = FunctionRows> {
    let size = prop_oneof![1_u64..300, 65_000_u64..70_000];
    (size, any::<bool>(), any::<bool>()).prop_flat_map(move |(size, signal, b_key)| {
        prop::collection::btree_map(0..size, entry(abi, signal), 0..5).prop_map(move |rows| FunctionRows {
            start: 0,
            size,
            signal,
            b_key,
            rows: rows.into_iter().collect(),
        })
    })
}

fn functions() -> impl Strategy<Value = (SFrameAbi, u64, Vec<FunctionRows>)> {
    select(SFrameAbi::ALL.to_vec()).prop_flat_map(|abi| {
        (Just(abi), any::<u32>(), vec((function(abi), 0_u64..100), 0..6)).prop_map(|(abi, section, functions)| {
            let mut next = 0x10_0000_u64;
            let placed = functions.into_iter().map(|(mut function, gap)| {
                function.start = next + gap;
                next = function.start + function.size;
                function
            });
            // The index has to be sorted by the writer.
            (abi, section.into(), placed.collect::<Vec<_>>().into_iter().rev().collect())
        })
    })
}

fn expected(function: &FunctionRows, offset: u64) -> Entry {
    let row = function.rows.iter().rev().find(|(start, _)| *start <= offset);
    row.map_or(Entry::NoRow { signal: function.signal }, |(_, entry)| *entry)
}

#[test]
fn rows_are_read_as_they_were_written() {
    let (written, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let result = TestRunner::new(config(3000)).run(&functions(), |(abi, address, functions)| {
        let made = write(abi, Placement::Linked(address), &functions).expect("few functions");
        prop_assert_eq!(findings(&made.bytes, address, abi), [] as [&str; 0]);
        let section = SFrameSection::parse(&made.bytes, address).expect("a section");
        for (index, function) in functions.iter().enumerate() {
            let reason = made.refused.iter().find(|(other, _)| *other == index).map(|(_, reason)| *reason);
            prop_assert!(matches!(reason, None | Some(Reason::Row(..))), "{:?}", reason);
            let starts = function.rows.iter().map(|(start, _)| *start);
            for offset in
                starts.clone().chain(starts.map(|start| start.saturating_sub(1))).chain([0, function.size - 1])
            {
                let read =
                    section.lookup(function.start + offset).map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(read, reason.is_none().then(|| expected(function, offset)));
            }
            let counter = if reason.is_none() { &written } else { &refused };
            counter.set(counter.get() + 1);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(written.get() > 1000 && refused.get() > 1000, "{written:?} written, {refused:?} refused");
}
