//! How each unwinder fared in several runs together. Every row follows the same rule: distinct instructions beside walks, and the
//! worst run beside the best.

use rustc_hash::FxHashMap;

use super::novelty::Sums;
use crate::cpu;
use crate::recording::{ColumnResult, Counters, Section};
use crate::subject::{self, Claims};
use crate::verdict::Verdict;

/// What a row sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An unwinder, from all its starts.
    Unwinder,
    /// An unwinder from one start.
    Start,
}

/// One unwinder in several runs.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its name; by start, its label.
    pub name: String,
    /// Whether its walks claim anything: else soundness means nothing.
    pub claims: bool,
    /// Its verdicts, counted.
    pub counters: Counters,
    /// How its deviations stand to what the scenarios demand.
    pub sums: Sums,
    /// The distinct instructions from which it walked.
    pub instructions: usize,
    /// Those from which some walk was unsound.
    pub unsound_instructions: usize,
    /// The walks that Linux or a debugger asks for, from points where the interruption can arrive.
    pub asked: u64,
    /// Those of them that are unsound or did not come back.
    pub asked_unsound: u64,
    /// The run with the smallest share of exact walks.
    pub worst: Option<Share>,
    /// The run with the largest.
    pub best: Option<Share>,
}

/// How many walks of a run are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// These.
    pub exact: u64,
    /// Of these; not 0.
    pub walks: u64,
}

impl Share {
    /// Whether it is smaller than another.
    #[must_use]
    pub const fn is_less(self, other: Self) -> bool {
        (self.exact as u128) * (other.walks as u128) < (other.exact as u128) * (self.walks as u128)
    }

    /// In tenths of a percent, rounded down: 1000 only if all are exact.
    #[must_use]
    pub const fn per_mille(self) -> u64 {
        ((self.exact as u128) * 1000 / (self.walks as u128)) as u64
    }
}

/// How a row as a whole stands to what is demanded. Ordered from what needs attention to what does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// This many walks break a gate.
    New(u64),
    /// Some are unsound or did not come back, and no gate was held against them.
    NotHeld,
    /// Some are unsound or did not come back, and a `[[known]]` says so of each.
    Expected,
    /// The same, but nothing is demanded of this many of them: nobody has listed them.
    PartlyExempt(u64),
    /// The same, and nothing is demanded of any of them.
    Exempt,
    /// It made no walk.
    NoWalk,
    /// None is unsound, but then none claims anything.
    NoClaim,
    /// None is unsound.
    Sound,
}

impl Row {
    /// How it stands to what is demanded.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        match self.sums {
            Sums { new: 1.., .. } => Standing::New(self.sums.new),
            Sums { unheld: 1.., .. } => Standing::NotHeld,
            Sums { known: 1.., exempt: 0, .. } => Standing::Expected,
            Sums { known: 1.., exempt, .. } => Standing::PartlyExempt(exempt),
            Sums { exempt: 1.., .. } => Standing::Exempt,
            _ if self.counters.walks == 0 => Standing::NoWalk,
            _ if !self.claims => Standing::NoClaim,
            _ => Standing::Sound,
        }
    }

    /// The share of exact walks; `None`: it made none.
    #[must_use]
    pub const fn complete(&self) -> Option<Share> {
        match self.counters {
            Counters { walks: 0, .. } => None,
            Counters { exact, walks, .. } => Some(Share { exact, walks }),
        }
    }

    fn add(&mut self, section: &Section, column: &ColumnResult) {
        self.claims |= column.claims != Claims::Never;
        self.counters.merge(&column.counters);
        self.sums = self.sums.plus(Sums::of(section, column));
        if column.is_callable() {
            self.asked += column.counters.walks - column.counters.masked;
            self.asked_unsound += column.counters.unsound_reachable + column.counters.lost();
        }
        let Counters { exact, walks, .. } = column.counters;
        if walks > 0 {
            let share = Share { exact, walks };
            self.worst = Some(self.worst.filter(|worst| !share.is_less(*worst)).unwrap_or(share));
            self.best = Some(self.best.filter(|best| !best.is_less(share)).unwrap_or(share));
        }
    }
}

/// The rows of these runs, in the order of columns. What was not judged adds nothing.
#[must_use]
pub fn rows<'r>(sections: impl IntoIterator<Item = &'r Section>, by: By) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    // The functions of guests, by number.
    let mut functions: FxHashMap<(&str, &str), usize> = FxHashMap::default();
    // Of each row, function and offset: whether a walk from there was unsound.
    let mut seen: Vec<FxHashMap<(usize, u64), bool>> = Vec::new();
    let mut order: Vec<String> = Vec::new();
    for section in sections.into_iter().filter(|section| section.void.is_none() && section.not_judged.is_none()) {
        if order.is_empty() {
            order = names(section);
        }
        let places: Vec<usize> = { section.columns.iter() }
            .map(|column| {
                let name = match by {
                    By::Unwinder => column.name.clone(),
                    By::Start => column.label(),
                };
                let place = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                    rows.push(Row { name, ..Row::default() });
                    seen.push(FxHashMap::default());
                    rows.len() - 1
                });
                rows[place].add(section, column);
                place
            })
            .collect();
        for function in &section.functions {
            let next = functions.len();
            let number = *functions.entry((section.guest.name.as_str(), function.name.as_str())).or_insert(next);
            for instruction in &function.instructions {
                for (place, runs) in places.iter().zip(&instruction.runs).filter(|(_, runs)| !runs.is_empty()) {
                    let is_unsound = runs.iter().any(|run| matches!(run.verdict, Verdict::Unsound(_)));
                    *seen[*place].entry((number, instruction.offset)).or_default() |= is_unsound;
                }
            }
        }
    }
    for (row, seen) in rows.iter_mut().zip(seen) {
        row.instructions = seen.len();
        row.unsound_instructions = seen.values().filter(|is_unsound| **is_unsound).count();
    }
    // A run may lack columns of others, so the order of first appearance is not that of columns.
    let place = |row: &Row| order.iter().position(|name| row.name.split('@').next() == Some(name));
    rows.sort_by_key(|row| (place(row).is_none(), place(row)));
    rows
}

/// The unwinders of a run's CPU, in the order of columns.
fn names(section: &Section) -> Vec<String> {
    let Some(cpu) = cpu::by_name(cpu_of(section)) else { return Vec::new() };
    subject::all(cpu).iter().map(|subject| subject.about().name.clone()).collect()
}

/// The CPU of a run, by name.
#[must_use]
pub fn cpu_of(section: &Section) -> &str {
    section.scenario.split('/').next().unwrap_or_default()
}

/// What several runs have in common, each once, in order.
#[must_use]
pub fn distinct<'r, T: PartialEq>(sections: &[&'r Section], what: impl Fn(&'r Section) -> T) -> Vec<T> {
    let mut found = Vec::new();
    for section in sections {
        let value = what(section);
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Row, Share, Standing};
    use crate::analysis::novelty::Sums;

    #[test]
    fn a_share_is_a_hundred_percent_only_if_all_are_exact() {
        assert_eq!(Share { exact: 99_999, walks: 100_000 }.per_mille(), 999);
        assert_eq!(Share { exact: 5, walks: 5 }.per_mille(), 1000);
    }

    #[test]
    fn what_is_new_comes_first() {
        let row = |sums| Row { sums, ..Row::default() };
        let new = row(Sums { new: 1, known: 5, exempt: 5, unheld: 5 });
        let known = row(Sums { known: 1, ..Sums::default() });
        let partly = row(Sums { known: 1, exempt: 9, ..Sums::default() });
        assert_eq!(new.standing(), Standing::New(1));
        assert_eq!(known.standing(), Standing::Expected);
        assert_eq!(partly.standing(), Standing::PartlyExempt(9));
        assert_eq!(row(Sums { exempt: 9, ..Sums::default() }).standing(), Standing::Exempt);
        assert_eq!(row(Sums::default()).standing(), Standing::NoWalk);
        assert!(new.standing() < known.standing());
    }
}
