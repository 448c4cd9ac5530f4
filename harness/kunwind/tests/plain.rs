//! Plain rows, and rows that are kept, change no walk: frames, states and ends are those of the general code, for random rows on random
//! stacks.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use kunwind::{
    Abi, CfaRule, CodeAddress, Entry, Error, Format, Frame, PlainRow, Register, Regs, RowCache, Rule, SavedWord,
    SavedWords, Source, StackBounds, Table, TableUnwinder, Target, UnwindRow, WalkState, abi, walk_each,
};

use crate::no_kernel::no_kernel;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRunner};

/// Functions of one pc each.
const PCS: std::ops::Range<u64> = 0x100..0x108;
const STACKS: [StackBounds; 2] = [StackBounds { low: 0x1000, high: 0x1100 }, StackBounds { low: 0x2000, high: 0x2080 }];
const WORDS: usize = 48;
/// Longer than any walk that consumes one of these words in each step.
const LONGEST: usize = WORDS + 2;

type Rules = Vec<(Register, Rule)>;

/// What the table says of one pc.
#[derive(Clone, Debug)]
struct Function {
    entry: Result<Option<Entry>, Error>,
    /// None in a table that knows no other registers.
    saved: Option<Rules>,
}

/// The same rows: without plain ones, with them, and with those kept that the table has or that are made from its answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    General,
    Plain,
    Kept { made: bool },
}

struct Rows<'r> {
    functions: &'r BTreeMap<u64, Function>,
    lists: Vec<Vec<SavedWord>>,
    way: Way,
    cache: &'r RowCache,
    plain: Cell<u64>,
}

impl<'r> Rows<'r> {
    fn new(functions: &'r BTreeMap<u64, Function>, way: Way, cache: &'r RowCache) -> Self {
        // List 0 is the empty one; then comes one for each function, empty where it cannot be one.
        let words = |function: &Function| function.saved.as_deref().and_then(words).unwrap_or_default();
        let lists = [Vec::new()].into_iter().chain(functions.values().map(words)).collect();
        Self { functions, lists, way, cache, plain: Cell::new(0) }
    }

    fn of_pc(&self, pc: u64) -> Option<PlainRow> {
        let function = self.functions.get(&pc)?;
        let Ok(Some(Entry::Row(row))) = function.entry else { return None };
        let saved = match &function.saved {
            None => SavedWords::Unknown,
            Some(rules) => SavedWords::List(if words(rules)?.is_empty() { 0 } else { (pc - PCS.start) as u16 + 1 }),
        };
        PlainRow::of(&row, saved)
    }
}

/// The rules as words, if that is what they are.
fn words(rules: &[(Register, Rule)]) -> Option<Vec<SavedWord>> {
    rules.iter().map(|(register, rule)| SavedWord::of(*register, *rule)).collect()
}

impl Table for Rows<'_> {
    fn entry(&self, pc: u64) -> Result<Option<Entry>, Error> {
        self.functions.get(&pc).map_or(Ok(None), |function| function.entry)
    }

    fn saved(&self, pc: u64) -> Option<&[(Register, Rule)]> {
        self.functions.get(&pc)?.saved.as_deref()
    }

    fn plain(&self, pc: u64) -> Option<PlainRow> {
        let found = match self.way {
            Way::General => None,
            Way::Plain => self.of_pc(pc),
            Way::Kept { made } => {
                let number = NonZeroU64::MIN.saturating_add(made.into());
                let table = Self {
                    way: if made { Way::General } else { Way::Plain },
                    ..Self::new(self.functions, self.way, self.cache)
                };
                self.cache.plain(number, pc, &table)
            }
        };
        self.plain.set(self.plain.get() + u64::from(found.is_some()));
        found
    }

    fn saved_words(&self, list: u16) -> &[SavedWord] {
        &self.lists[usize::from(list)]
    }
}

struct Memory<'r> {
    words: &'r [u64],
    rows: Rows<'r>,
}

impl Target for Memory<'_> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut before = 0;
        for stack in STACKS {
            if stack.contains(address, 8) {
                // The last word of each stack cannot be read.
                let word = before + ((address - stack.low) / 8) as usize;
                return self.words.get(word).copied().filter(|_| address < stack.high - 8);
            }
            before += ((stack.high - stack.low) / 8) as usize;
        }
        None
    }

    fn stacks(&self) -> &[StackBounds] {
        &STACKS
    }

    fn table(&self, _: Format) -> Option<&dyn Table> {
        Some(&self.rows)
    }

    no_kernel!();
}

/// An offset in words, often one that makes sense; or one that is far away.
fn offset(usual: std::ops::Range<i64>) -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => usual.prop_map(|words| 8 * words),
        1 => select(vec![4, -4, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN, 1 << 31]),
    ]
}

fn any_register() -> impl Strategy<Value = Register> {
    select(vec![3, 6, 7, 19, 29, 30, 31, 40]).prop_map(Register)
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        8 => offset(-6..2).prop_map(Rule::CfaOffsetDeref),
        2 => Just(Rule::Retain),
        1 => offset(-4..4).prop_map(Rule::CfaOffset),
        1 => (any_register(), offset(-4..4)).prop_map(|(base, offset)| Rule::RegOffset(base, offset)),
        1 => Just(Rule::Undefined),
    ]
}

fn row(of: &'static Abi) -> impl Strategy<Value = Entry> {
    let base = prop_oneof![20 => select(vec![of.sp, of.fp]), 1 => any_register()];
    let cfa = prop_oneof![
        20 => (base.clone(), 1_i64..3).prop_map(|(base, records)| CfaRule::RegOffset(base, 16 * records)),
        2 => (base.clone(), offset(1..6)).prop_map(|(base, offset)| CfaRule::RegOffset(base, offset)),
        1 => (base, offset(0..6)).prop_map(|(base, offset)| CfaRule::RegOffsetDeref(base, offset)),
    ];
    let ra = prop_oneof![20 => Just(Rule::CfaOffsetDeref(-8)), 2 => rule()];
    let fp = prop_oneof![6 => Just(Rule::CfaOffsetDeref(-16)), 3 => Just(Rule::Retain), 1 => rule()];
    let flags = (any::<bool>(), proptest::bool::weighted(0.2));
    (cfa, ra, fp, flags)
        .prop_map(|(cfa, ra, fp, (mangled_ra, signal))| Entry::Row(UnwindRow { cfa, ra, fp, mangled_ra, signal }))
}

fn function(of: &'static Abi, has_saved: bool) -> impl Strategy<Value = Function> {
    let entry = prop_oneof![
        30 => row(of).prop_map(|row| Ok(Some(row))),
        1 => select(vec![Ok(None), Ok(Some(Entry::Outermost)), Ok(Some(Entry::NoRow { signal: false })), Err(Error::NoTable)]),
    ];
    // Not what a row says itself; each register once.
    let others = move |rules: &mut Rules| {
        rules.retain(|(register, _)| *register != of.sp && *register != of.fp && Some(*register) != of.ra);
        rules.sort_by_key(|(register, _)| *register);
        rules.dedup_by_key(|(register, _)| *register);
    };
    let saved_rule = prop_oneof![6 => offset(-6..1).prop_map(Rule::CfaOffsetDeref), 1 => rule()];
    (entry, vec((any_register(), saved_rule), 0..4)).prop_map(move |(entry, mut saved)| {
        others(&mut saved);
        Function { entry, saved: has_saved.then_some(saved) }
    })
}

/// A word of a stack, by its place: often a pc or, in each second word, an address a little above; or anything.
fn word(place: usize) -> impl Strategy<Value = u64> {
    let pc = (PCS.start + 1..PCS.end, any::<bool>()).prop_map(|(pc, is_signed)| pc | u64::from(is_signed) << 60);
    let above = (0_usize..3).prop_map(move |records| address(place + 2 * records));
    let (pcs, addresses) = if place % 2 == 1 { (30, 1) } else { (1, 30) };
    prop_oneof![pcs => pc, addresses => above, 1 => (0..WORDS).prop_map(address), 1 => any::<u64>()]
}

/// Where a word is.
fn address(word: usize) -> u64 {
    let first = ((STACKS[0].high - STACKS[0].low) / 8) as usize;
    if word < first { STACKS[0].low + 8 * word as u64 } else { STACKS[1].low + 8 * (word - first) as u64 }
}

#[derive(Clone, Debug)]
struct Case {
    of: &'static Abi,
    functions: BTreeMap<u64, Function>,
    words: Vec<u64>,
    start: (u64, u64, u64, u64),
}

fn case() -> impl Strategy<Value = Case> {
    (select(vec![&abi::X86_64, &abi::ARM64]), any::<bool>()).prop_flat_map(|(of, has_saved)| {
        let functions = vec(function(of, has_saved), (PCS.end - PCS.start) as usize);
        let start = (PCS, 0_usize..4, 0_usize..4, word(0));
        (functions, (0..WORDS).map(word).collect::<Vec<_>>(), start).prop_map(
            move |(functions, words, (pc, sp, fp, other))| Case {
                of,
                functions: PCS.zip(functions).collect(),
                words,
                start: (pc, address(2 * sp), address(2 * fp), other),
            },
        )
    })
}

/// All that a walk shows, and how many of its rows were plain.
fn walked(case: &Case, way: Way, cache: &RowCache) -> (Vec<(Frame, WalkState)>, impl PartialEq + std::fmt::Debug, u64) {
    let (pc, sp, fp, other) = case.start;
    let mut regs = Regs::none();
    for (register, value) in [(case.of.sp, sp), (case.of.fp, fp), (Register(3), other), (Register(19), other ^ 8)] {
        regs.set(register, value);
    }
    let start = Frame { pc: CodeAddress::Interrupted(pc), regs, source: Source::Start };
    let target = Memory { words: &case.words, rows: Rows::new(&case.functions, way, cache) };
    let mut seen = Vec::new();
    let mut state = WalkState::new(&STACKS);
    let unwinder = TableUnwinder::new(case.of, Format::Dwarf);
    let end = walk_each(&unwinder, start, &target, &mut state, |frame, state| {
        seen.push((*frame, *state));
        if seen.len() < LONGEST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (seen, end, target.rows.plain.get())
}

#[test]
#[cfg_attr(feature = "mutants", ignore = "they are planted in the general code, so that no row is plain")]
fn a_walk_by_plain_rows_is_the_general_walk() {
    let config = ProptestConfig {
        cases: 8_000,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x17),
        ..ProptestConfig::default()
    };
    let mut counts = BTreeMap::from([("plain", 0), ("made", 0), ("kept", 0), ("frames", 0), ("long", 0)]);
    let counted = std::cell::RefCell::new(&mut counts);
    TestRunner::new(config)
        .run(&case(), |case| {
            let cache = RowCache::new();
            let (frames, end, none) = walked(&case, Way::General, &cache);
            prop_assert_eq!(none, 0);
            let add = |what, count| *counted.borrow_mut().get_mut(what).expect("a known count") += count;
            for (way, what) in [
                (Way::Plain, "plain"),
                (Way::Kept { made: true }, "made"),
                (Way::Kept { made: false }, "kept"),
                (Way::Kept { made: false }, "kept"),
            ] {
                let (found, found_end, plain) = walked(&case, way, &cache);
                let differ = found.iter().zip(&frames).find(|(found, frame)| found != frame);
                prop_assert!(differ.is_none(), "{way:?}: {differ:?}");
                prop_assert_eq!((found.len(), &found_end), (frames.len(), &end), "{:?}", way);
                add(what, plain);
            }
            add("frames", frames.len() as u64);
            add("long", u64::from(frames.len() > 4));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // Otherwise little was compared.
    assert!(
        counts["plain"] > 5_000 && counts["kept"] > 5_000 && counts["made"] > 2_000 && counts["long"] > 200,
        "{counts:?}"
    );
}
