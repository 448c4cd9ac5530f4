//! Random and mutated sections: nothing panics, nothing takes long, and lookup says what a plain search says, by either of its ways.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use kunwind::sframe::{
    Error, ErrorKind, Fde, PcType, Profile, SFrameSection, SFrameTable, Severity, Surroundings, validate,
};
use kunwind::{Entry, PlainRow, RowCache, SavedWords};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRunner};

use super::fixture;

/// The same cases in every run.
fn runner(cases: u32) -> TestRunner {
    let seed = RngSeed::Fixed(0x5f);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: seed,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
}

const ADDRESS: u64 = 0x2000;

fn seeds() -> Vec<Vec<u8>> {
    let gold = fixture::gold().into_iter().map(|gold| gold.data);
    let malformed = fixture::sections(&fixture::folder().join("malformed")).into_iter().map(|(_, data)| data);
    gold.chain(malformed).filter(|data| (28..2000).contains(&data.len())).collect()
}

/// The sections of version 3 in little endian, and what must be in their headers that lookup takes the short way.
fn usual_seeds() -> Vec<Vec<u8>> {
    let mut sections = seeds();
    sections.retain(|data| data.starts_with(&[0xe2, 0xde, 3]));
    // Sorted, and starts relative to their fields. Where that is not true, both ways must be led astray alike.
    sections.iter_mut().for_each(|data| data[3] |= 1 | 4);
    sections
}

/// A section with a few bytes changed, most of them near its start, and perhaps cut short.
fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<bool>(), prop_oneof![any::<u8>(), select(vec![0, 1, 0x7f, 0x80, 0xff])]);
    (select(seeds), vec(change, 0..6), proptest::option::weighted(0.1, any::<Index>())).prop_map(
        |(mut data, changes, cut)| {
            for (place, is_early, byte) in changes {
                let range = if is_early { data.len().min(0x60) } else { data.len() };
                data[place.index(range)] = byte;
            }
            if let Some(cut) = cut {
                data.truncate(cut.index(data.len()));
            }
            data
        },
    )
}

/// The pcs at which something begins or ends.
fn interesting(section: &SFrameSection<'_>) -> Vec<u64> {
    let mut pcs = vec![0, ADDRESS, u64::MAX];
    for function in section.functions().flatten().take(64) {
        let (start, end) = (function.start(), function.start().wrapping_add(function.size().into()));
        pcs.extend([start.wrapping_sub(1), start, end.wrapping_sub(1), end]);
        pcs.extend(function.fres().flatten().take(64).map(|fre| start.wrapping_add(fre.start().into())));
    }
    pcs
}

fn is_valid(data: &[u8]) -> bool {
    let mut is_valid = true;
    let surroundings = Surroundings { address: Some(ADDRESS), ..Surroundings::default() };
    validate(data, &surroundings, Profile::Lenient, &mut |finding| is_valid &= finding.severity != Severity::Error);
    is_valid
}

/// What lookup must say of a valid section: every function and every row is looked at, in no clever order.
fn plain_lookup(section: &SFrameSection<'_>, pc: u64) -> Result<Option<Entry>, Error> {
    let holds = |function: &Fde<'_>| pc.checked_sub(function.start()).is_some_and(|at| at < function.size().into());
    let mut found: Option<Fde<'_>> = None;
    let mut nearest = None;
    for function in section.functions() {
        let function = function?;
        let is_nearer =
            function.start() <= pc && function.size() > 0 && nearest.is_none_or(|near| function.start() > near);
        if is_nearer {
            (nearest, found) = (Some(function.start()), None);
        }
        if nearest == Some(function.start()) && found.is_none() && holds(&function) {
            found = Some(function);
        }
    }
    let Some(function) = found else { return Ok(None) };
    let at = pc - function.start();
    let key = if function.pc_type() == PcType::Mask { at % u64::from(function.rep_size()) } else { at };
    let fres: Vec<_> = function.fres().collect::<Result<_, _>>()?;
    let fre = fres.iter().rev().find(|fre| u64::from(fre.start()) <= key);
    Ok(Some(fre.map_or(Ok(Entry::NoRow { signal: function.is_signal() }), |fre| fre.entry())?))
}

thread_local! {
    static ROWS: RowCache = const { RowCache::new() };
}

/// A number for a table: the rows of all cases are kept together.
fn next_number() -> NonZeroU64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    NonZeroU64::MIN.saturating_add(LAST.fetch_add(1, Ordering::Relaxed))
}

/// What is kept of a section is what it says, when it is asked for first and later.
fn kept_is_equal<D: AsRef<[u8]>>(
    table: &SFrameTable<D>,
    number: NonZeroU64,
    pc: u64,
    found: Result<Option<Entry>, usize>,
) -> Result<(), TestCaseError> {
    let plain = match found {
        Ok(Some(Entry::Row(row))) => PlainRow::of(&row, SavedWords::Unknown),
        _ => None,
    };
    let found = found.map_err(|offset| kunwind::Error::BadTable { pc, offset });
    for _ in 0..2 {
        let (kept, kept_plain) = ROWS.with(|rows| (rows.entry(number, pc, table), rows.plain(number, pc, table)));
        prop_assert_eq!(kept, found, "{:#x}", pc);
        prop_assert_eq!(kept_plain, plain, "{:#x}", pc);
    }
    Ok(())
}

/// Everything that can be asked of bytes, and how many sections turned out to be valid.
fn ask(data: &[u8]) -> Result<(), TestCaseError> {
    for profile in [Profile::Spec, Profile::Kernel] {
        let mut findings = 0_usize;
        let text = 0x1000..0x2000;
        let surroundings = Surroundings { address: Some(ADDRESS), text: std::slice::from_ref(&text), abi: None };
        validate(data, &surroundings, profile, &mut |_| findings += 1);
        prop_assert!(findings <= 16 * data.len() + 16, "{findings} findings");
    }
    let section = match SFrameSection::parse(data, ADDRESS) {
        Ok(section) => section,
        Err(error) => {
            prop_assert!(error.kind == ErrorKind::Empty || !is_valid(data), "{error}");
            return Ok(());
        }
    };
    prop_assert!(section.len() <= data.len());
    let is_valid = is_valid(data);
    let (table, number) = (SFrameTable::parse(data, ADDRESS).expect("it was read"), next_number());
    for pc in interesting(&section) {
        let found = section.lookup(pc);
        prop_assert_eq!(found, section.lookup_any(pc), "{:#x}", pc);
        if is_valid {
            prop_assert_eq!(found, plain_lookup(&section, pc), "{:#x}", pc);
        }
        kept_is_equal(&table, number, pc, found.map_err(|error| error.offset))?;
    }
    Ok(())
}

#[test]
fn mutated_sections() {
    runner(4000).run(&mutated(seeds()), |data| ask(&data)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn mutated_sections_of_the_usual_kind() {
    runner(8000).run(&mutated(usual_seeds()), |data| ask(&data)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_bytes_after_a_preamble() {
    let preamble = (select(vec![2_u8, 3]), 0_u8..8, 1_u8..5);
    let data =
        (preamble, vec(any::<u8>(), 0..200), any::<bool>()).prop_map(|((version, flags, abi), rest, is_small)| {
            let magic = if abi == 1 || abi == 4 { [0xde, 0xe2] } else { [0xe2, 0xde] };
            let mut data = [&magic[..], &[version, flags, abi], &rest].concat();
            if is_small && data.len() >= 28 {
                // Counts and offsets that can be inside.
                data[5..28].iter_mut().for_each(|byte| *byte &= 0x0f);
                let big = magic[0] == 0xde;
                for word in data[8..28].chunks_exact_mut(4) {
                    let low = word[0];
                    word.fill(0);
                    word[if big { 3 } else { 0 }] = low;
                }
            }
            data
        });
    runner(4000).run(&data, |data| ask(&data)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn sound_sections_are_looked_up_as_plainly() {
    let mut valid = 0;
    for data in seeds() {
        ask(&data).unwrap_or_else(|error| panic!("{error}"));
        valid += usize::from(is_valid(&data));
    }
    // Otherwise nothing was compared.
    assert!(valid > 140, "{valid}");
}
