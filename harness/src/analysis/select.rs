//! Walks selected by who walks, where and under which interruption, and what became of them: the numbers of docs/findings.
//!
//! All selections count by one rule. Arrivals at which the interruption is masked count nowhere, and neither do runs that are void,
//! or that are a kernel under a condition alone. An instruction is a function's name, an offset in it, and its disassembly: the
//! same function in several guests counts once. What one arrival of it deserves, it deserves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::atlas::{hook_of, pieces};
use super::headline::{Starts, command};
use crate::guest::return_hook::together;
use crate::recording::{ColumnResult, Finding, ListedFunction, ListedInstruction, Recording, Run, Section};
use crate::scenario::Interruption;
use crate::subject::Claims;
use crate::verdict::{Deviation, Verdict};

/// Which walks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Selection {
    /// The CPU.
    pub cpu: String,
    /// The unwinder.
    pub unwinder: String,
    /// The starts.
    pub starts: Starts,
    /// The kinds of interruption; empty: all but `corrupt`, which is about damaged stacks.
    #[serde(default)]
    pub kinds: Vec<Interruption>,
    /// The scenarios, without the CPU; empty: all.
    #[serde(default)]
    pub scenarios: Vec<String>,
    /// Scenarios that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// The variants; empty: all.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Variants that are left out.
    #[serde(default)]
    pub without_variants: Vec<String>,
    /// The functions that were interrupted; empty: all.
    #[serde(default)]
    pub within: Vec<String>,
    /// The return hook whose trampoline runs or waits, as the atlas names it; `none`: the scenario has no return hook; nothing: both.
    #[serde(default)]
    pub hook: Option<String>,
    /// The fix that build and unwinder implement together, as the atlas names it.
    #[serde(default)]
    pub fix: Option<String>,
}

/// What became of a walk, from the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It claims to be reliable, but leaves out or replaces a caller; or it did not come back.
    Unsound,
    /// It leaves out or replaces a caller, and is of an unwinder that never claims anything.
    Missing,
    /// No caller is missing, but something in it is false, and nothing says so.
    Overstated,
    /// It stopped, or says that it may be wrong.
    Refused,
    /// All of it is right, and claimed, if the unwinder claims anything.
    Right,
}

impl Class {
    fn of(verdict: Verdict, claims: Claims) -> Self {
        let is_silent = claims == Claims::Never;
        match verdict {
            Verdict::Crashed | Verdict::TimedOut | Verdict::Unsound(_) => Self::Unsound,
            Verdict::WrongFlagged(Deviation::Skipped | Deviation::Truncated | Deviation::Substituted) if is_silent => {
                Self::Missing
            }
            Verdict::WrongFlagged(_) if is_silent => Self::Overstated,
            Verdict::Overstated(_) => Self::Overstated,
            Verdict::WrongFlagged(_) | Verdict::Incomplete(_) | Verdict::Cautious => Self::Refused,
            Verdict::Exact => Self::Right,
        }
    }
}

/// A function's name, an offset in bytes, and the disassembly.
pub type Instruction = (String, u64, String);

/// What became of the walks of a selection.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many walks there are of each class.
    pub walks: BTreeMap<Class, u64>,
    /// The instructions from which they start, with the classes of all arrivals.
    pub instructions: BTreeMap<Instruction, BTreeSet<Class>>,
    /// The first walk of the worst class, if that class is not [`Class::Right`].
    pub first: Option<Shown>,
    /// How the walks claim; `None` where there is none.
    pub claims: Option<Claims>,
    /// The offsets of all instructions of each function, to tell which are neighbours.
    offsets: BTreeMap<String, BTreeSet<u64>>,
}

/// A walk that is shown as an example.
#[derive(Debug)]
pub struct Shown {
    class: Class,
    /// The point, as commands name it.
    pub point: String,
    /// The true trace, without the interrupted instruction.
    pub expected: Vec<String>,
    /// The walk's trace, without its start.
    pub got: Vec<String>,
    /// The command that explains it.
    pub command: String,
}

impl Counts {
    /// How many walks there are.
    #[must_use]
    pub fn all_walks(&self) -> u64 {
        self.walks.values().sum()
    }

    /// How many walks are of this class.
    #[must_use]
    pub fn walks_of(&self, class: Class) -> u64 {
        self.walks.get(&class).copied().unwrap_or(0)
    }

    /// The instructions of a class: any arrival is, or, for [`Class::Right`], all are.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Instruction> {
        let is_it = move |classes: &BTreeSet<Class>| match class {
            Class::Right => classes.iter().all(|one| *one == class),
            _ => classes.contains(&class),
        };
        self.instructions.iter().filter(move |(_, classes)| is_it(classes)).map(|(at, _)| at)
    }

    /// The worst class that there is.
    #[must_use]
    pub fn worst(&self) -> Option<Class> {
        self.walks.iter().find(|(_, walks)| **walks > 0).map(|(class, _)| *class)
    }

    /// The instructions of a class as ranges: function, first and last offset.
    #[must_use]
    pub fn ranges(&self, class: Class) -> Vec<(&str, u64, u64)> {
        let wanted: BTreeSet<(&str, u64)> = self.of(class).map(|(name, at, _)| (name.as_str(), *at)).collect();
        let mut ranges: Vec<(&str, u64, u64)> = Vec::new();
        for (name, offsets) in &self.offsets {
            let mut is_open = false;
            for at in offsets {
                let is_here = wanted.contains(&(name.as_str(), *at));
                match ranges.last_mut().filter(|_| is_open && is_here) {
                    Some(range) => range.2 = *at,
                    None if is_here => ranges.push((name, *at, *at)),
                    None => {}
                }
                is_open = is_here;
            }
        }
        ranges
    }
}

impl Selection {
    /// Counts the selected walks of a recording.
    #[must_use]
    pub fn count(&self, recording: &Recording) -> Counts {
        let mut counts = Counts::default();
        let mut shown: Option<Shown> = None;
        for section in recording.sections.iter().filter(|section| self.has(section)) {
            for (index, column) in section.columns.iter().enumerate().filter(|(_, it)| self.has_column(section, it)) {
                for function in section.functions.iter().filter(|function| self.has_function(function)) {
                    for instruction in &function.instructions {
                        self.add((section, column, index, function, instruction), &mut counts);
                    }
                }
                self.show(section, column, &mut shown);
            }
        }
        counts.first = shown.filter(|shown| Some(shown.class) == counts.worst());
        counts
    }

    fn has(&self, section: &Section) -> bool {
        let Some((cpu, name)) = section.scenario.split_once('/') else { return false };
        let is_listed = |list: &[String], name: &str| list.iter().any(|one| one == name);
        let variant = section.variant.as_deref().unwrap_or_default();
        let is_kind = if self.kinds.is_empty() {
            section.interrupt != Interruption::Corrupt
        } else {
            self.kinds.contains(&section.interrupt)
        };
        let is_hook = match self.hook.as_deref() {
            None => true,
            Some("none") => section.return_hook.is_none(),
            Some(_) => section.return_hook.is_some(),
        };
        section.is_whole()
            && section.condition.is_none()
            && cpu == self.cpu
            && is_kind
            && is_hook
            && (self.scenarios.is_empty() || is_listed(&self.scenarios, name))
            && !is_listed(&self.without, name)
            && (self.variants.is_empty() || is_listed(&self.variants, variant))
            && !is_listed(&self.without_variants, variant)
    }

    fn has_column(&self, section: &Section, column: &ColumnResult) -> bool {
        let is_fix = self.fix.as_deref().is_none_or(|fix| {
            section.return_hook.as_ref().is_some_and(|hook| together(&hook.build, column.fix) == Some(fix))
        });
        column.name == self.unwinder && column.is_callable() == (self.starts == Starts::Callable) && is_fix
    }

    fn has_function(&self, function: &ListedFunction) -> bool {
        self.within.is_empty() || self.within.contains(&function.name)
    }

    fn add(&self, (section, column, index, function, instruction): Here<'_>, counts: &mut Counts) {
        counts.offsets.entry(function.name.clone()).or_default().insert(instruction.offset);
        for run in instruction.runs.get(index).into_iter().flatten().filter(|run| run.reachable) {
            let walks = self.walks(section, function, instruction, run, run.first..=run.last);
            if walks == 0 {
                continue;
            }
            let class = Class::of(run.verdict, column.claims);
            *counts.walks.entry(class).or_default() += walks;
            counts.claims = Some(column.claims);
            let at = (function.name.clone(), instruction.offset, instruction.text.clone());
            counts.instructions.entry(at).or_default().insert(class);
        }
    }

    /// How many of these arrivals of a run count for the return hook.
    fn walks(
        &self,
        section: &Section,
        function: &ListedFunction,
        instruction: &ListedInstruction,
        run: &Run,
        arrivals: std::ops::RangeInclusive<u64>,
    ) -> u64 {
        let overlap =
            |first: u64, last: u64| (last.min(*arrivals.end()) + 1).saturating_sub(first.max(*arrivals.start()));
        let Some(wanted) = self.hook.as_deref().filter(|hook| *hook != "none") else {
            return overlap(run.first, run.last);
        };
        let of_scenario = section.return_hook.as_ref().map_or("", |hook| &hook.name);
        let running = function.trampoline_of.as_deref();
        let counted = pieces(instruction, run).into_iter().filter(|piece| {
            (!piece.places.is_empty() || running.is_some())
                && hook_of(running.or(piece.trampoline_of), of_scenario) == wanted
        });
        counted.map(|piece| overlap(piece.first, piece.first + piece.walks - 1)).sum()
    }

    /// Keeps the first finding of the worst class.
    fn show(&self, section: &Section, column: &ColumnResult, shown: &mut Option<Shown>) {
        let of_column =
            |finding: &&Finding| finding.reachable && (&finding.subject, finding.start) == (&column.name, column.start);
        for finding in section.findings.iter().filter(of_column) {
            let class = Class::of(finding.verdict, column.claims);
            if shown.as_ref().is_some_and(|known| known.class <= class) || class == Class::Right {
                continue;
            }
            let functions = section.functions.iter().filter(|it| it.name == finding.range.function);
            let is_counted = functions.filter(|function| self.has_function(function)).any(|function| {
                let visit = finding.first.visit;
                let mut instructions = function.instructions.iter().filter(|it| it.offset == finding.range.first);
                let index = section.columns.iter().position(|it| std::ptr::eq(it, column));
                instructions.any(|instruction| {
                    let runs = index.and_then(|index| instruction.runs.get(index)).into_iter().flatten();
                    let mut here = runs.filter(|run| (run.first..=run.last).contains(&visit));
                    here.any(|run| self.walks(section, function, instruction, run, visit..=visit) > 0)
                })
            });
            if is_counted {
                let first = &finding.first;
                *shown = Some(Shown {
                    class,
                    point: first.point.clone(),
                    expected: first.expected.to_vec(),
                    got: first.got.to_vec(),
                    command: command(section, finding),
                });
            }
        }
    }
}

/// One instruction in one column, and the column's index.
type Here<'a> = (&'a Section, &'a ColumnResult, usize, &'a ListedFunction, &'a ListedInstruction);
