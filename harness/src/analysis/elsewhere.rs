//! What designs make of other functions than the trampoline: it waits there for what it has called, or a return address is hooked.

use std::collections::BTreeMap;

use super::atlas::{Interval, Row, State};
use super::windows::{Cell, Strip, Trampoline, worst};

/// The most functions that stand alone.
const MOST: usize = 4;

/// A function, or several, in which a walk of some design is unsound.
#[derive(Debug)]
pub struct Elsewhere<'r> {
    /// The functions.
    pub functions: Vec<&'r str>,
    /// For each strip the worst that happens there, and where; `None`: it makes no walk there.
    pub cells: Vec<Option<(Cell, &'r Interval)>>,
}

/// Other functions in which a walk is unsound, under the trampoline's return hook. Those in which that can happen come first, with
/// the most designs; the others are one.
#[must_use]
pub fn elsewhere<'r>(trampoline: &Trampoline<'r>, rows: &'r [Row]) -> Vec<Elsewhere<'r>> {
    let outside: Vec<Vec<&Interval>> =
        trampoline.strips.iter().map(|strip| intervals(trampoline, strip, rows)).collect();
    // How many designs are unsound in each function: where that can happen, and in all.
    let mut designs: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for intervals in &outside {
        let mut own: BTreeMap<&str, bool> = BTreeMap::new();
        for it in intervals.iter().filter(|it| it.state == State::Unsound) {
            *own.entry(&it.function).or_default() |= it.reachable && it.callable;
        }
        for (name, is_real) in own {
            let (real, all) = designs.entry(name).or_default();
            *real += usize::from(is_real);
            *all += 1;
        }
    }
    let mut names: Vec<(&str, (usize, usize))> = designs.into_iter().collect();
    names.sort_by_key(|(_, designs)| std::cmp::Reverse(*designs));
    let real = names.iter().filter(|(_, (real, _))| *real > 0).count();
    let alone = if names.len() <= MOST { names.len() } else { real.min(MOST) };
    let names: Vec<&str> = names.into_iter().map(|(name, _)| name).collect();
    let (alone, together) = names.split_at(alone);
    let groups = alone.iter().map(std::slice::from_ref).chain((!together.is_empty()).then_some(together));
    groups
        .map(|functions| {
            let cells = outside.iter().map(|intervals| {
                let here: Vec<&'r Interval> =
                    intervals.iter().copied().filter(|it| functions.contains(&it.function.as_str())).collect();
                let cell = worst(&here, 0);
                // The first of the worst.
                let shown = here.iter().rev().filter(|it| Some(it.state) == cell.state);
                shown.max_by_key(|it| it.reachable && it.callable).map(|shown| (cell, *shown))
            });
            Elsewhere { functions: functions.to_vec(), cells: cells.collect() }
        })
        .collect()
}

/// The intervals of a strip outside of the trampoline, for the same return hook.
fn intervals<'r>(trampoline: &Trampoline<'_>, strip: &Strip<'_>, rows: &'r [Row]) -> Vec<&'r Interval> {
    let is_its = |row: &&Row| {
        row.names()[..3] == [trampoline.cpu, trampoline.hook, strip.fix] && strip.unwinders.contains(&&*row.unwinder)
    };
    let intervals = rows.iter().filter(is_its).flat_map(|row| &row.intervals);
    intervals.filter(|interval| interval.function != trampoline.function).collect()
}
