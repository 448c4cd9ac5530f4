//! Walks that are not exact, before and after they have names.

use rustc_hash::FxHashMap;

use super::shared::{Once, Shared};
use super::{FirstWalk, WordRead};
use crate::cpu::CodeAddress;
use crate::guest::Program;
use crate::oracle::Place;
use crate::subject::KeptSource;
use crate::verdict::Difference;

/// A walk whose verdict is not exact, before anything of it has a name: most never get one, because a finding shows only the
/// first of its instructions.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) pc: u64,
    pub(super) visit: u64,
    /// The outer exception of a nested point.
    pub(super) within: Option<String>,
    pub(super) expected: Vec<Place>,
    /// How many older activations are left out.
    pub(super) older: usize,
    /// The walk's entries, the start included.
    pub(super) entries: Vec<CodeAddress>,
    /// How each of them was found.
    pub(super) rules: Vec<KeptSource>,
    /// What is wrong with its state.
    pub(super) state: Vec<Difference>,
    /// Why there is none, if it did not come back.
    pub(super) why: Option<String>,
    pub(super) words: Vec<Word>,
}

/// A word that a walk read: how many entries it had shown before, the address, the value.
pub(super) type Word = (u64, u64, Option<u64>);

/// Names what findings show: every list, and every word's place and value, once.
#[derive(Debug)]
pub(super) struct Namer<'p> {
    program: &'p Program,
    expected: Once<(Vec<Place>, usize), Vec<String>>,
    got: Once<Vec<CodeAddress>, Vec<String>>,
    rules: Once<Vec<String>, Vec<String>>,
    state: Once<Vec<String>, Vec<String>>,
    words: Once<Vec<Word>, Vec<WordRead>>,
    at: FxHashMap<u64, Shared<String>>,
    values: FxHashMap<u64, Shared<String>>,
}

impl<'p> Namer<'p> {
    /// Nothing has a name yet.
    pub(super) fn new(program: &'p Program) -> Self {
        Self {
            program,
            expected: Once::default(),
            got: Once::default(),
            rules: Once::default(),
            state: Once::default(),
            words: Once::default(),
            at: FxHashMap::default(),
            values: FxHashMap::default(),
        }
    }

    /// The evidence in words.
    pub(super) fn first_walk(&mut self, evidence: Evidence) -> FirstWalk {
        let Evidence { pc, visit, within, expected, older, entries, rules, state, why, words } = evidence;
        let Program { guest, layout, .. } = self.program;
        let symbols = &guest.symbols;
        let outer = within.map(|outer| format!("{outer}/")).unwrap_or_default();
        let of_truth = |(places, older): &(Vec<Place>, usize)| {
            let older = (*older > 0).then(|| format!("and {older} older activations"));
            places.iter().map(|place| place.name(symbols)).chain(older).collect()
        };
        let rules: Vec<String> = rules.iter().map(|rule| rule.tell(guest.cpu.abi)).collect();
        let of_walk = |entries: &Vec<CodeAddress>| entries.iter().skip(1).map(|pc| symbols.name_of(*pc)).collect();
        let (at, values) = (&mut self.at, &mut self.values);
        let word = |(entries, address, value): &Word| WordRead {
            entries: *entries,
            at: at.entry(*address).or_insert_with(|| layout.name(*address).into()).clone(),
            value: value.map(|value| values.entry(value).or_insert_with(|| format!("{value:#x}").into()).clone()),
        };
        FirstWalk {
            point: format!("{outer}{}#{visit}", symbols.name(pc)),
            visit,
            expected: self.expected.of((expected, older), of_truth),
            got: self.got.of(entries, of_walk),
            rules: self.rules.of(rules, |rules| rules.iter().skip(1).cloned().collect()),
            state: self.state.of(state.iter().map(ToString::to_string).collect(), Vec::clone),
            why,
            words: self.words.of(words, |words| words.iter().map(word).collect()),
        }
    }
}
