//! What is new: the one definition of it, for gates and reports alike.

use crate::recording::{ColumnResult, Finding, Novelty, Section};
use crate::scenario::Level;
use crate::verdict::Verdict;

/// How a verdict at one instruction stands to a demand. What a `[[known]]` lists is known, whether or not the demand would allow it.
#[must_use]
pub const fn of(level: Level, verdict: Verdict, is_listed: bool) -> Novelty {
    match level {
        _ if is_listed => Novelty::Known,
        Level::Any | Level::Absent => Novelty::Exempt,
        _ if level.allows(verdict) => Novelty::Allowed,
        _ => Novelty::New,
    }
}

/// How many walks of a finding start at one of its instructions.
#[must_use]
pub fn walks_at(section: &Section, finding: &Finding, offset: u64) -> u64 {
    let column = section.columns.iter().position(|column| is_of(finding, column));
    let functions = section.functions.iter().filter(|function| function.name == finding.range.function);
    let instruction = functions.flat_map(|function| &function.instructions).find(|one| one.offset == offset);
    let runs = column.zip(instruction).and_then(|(column, instruction)| instruction.runs.get(column));
    let same =
        runs.into_iter().flatten().filter(|run| (run.verdict, run.reachable) == (finding.verdict, finding.reachable));
    same.map(|run| run.last - run.first + 1).sum()
}

/// Whether a finding is of this column.
#[must_use]
pub fn is_of(finding: &Finding, column: &ColumnResult) -> bool {
    (finding.start, &finding.subject) == (column.start, &column.name)
}

/// The walks of a column that are not exact, by how they stand to the demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Those that break a gate, whatever their verdict.
    pub new: u64,
    /// The unsound and crashed ones that a `[[known]]` lists.
    pub known: u64,
    /// The unsound and crashed ones of a subject of which nothing is demanded.
    pub exempt: u64,
    /// The unsound and crashed ones that no gate was held against: of a run that was interrupted.
    pub unheld: u64,
}

impl Sums {
    /// Of one column.
    #[must_use]
    pub fn of(section: &Section, column: &ColumnResult) -> Self {
        let mut sums = Self::default();
        for finding in section.findings.iter().filter(|finding| is_of(finding, column)) {
            sums.new += finding.new;
            let rest = finding.count.saturating_sub(finding.new);
            if !finding.verdict.is_unsound() {
                continue;
            }
            match finding.novelty {
                Some(Novelty::Exempt) => sums.exempt += rest,
                Some(_) => sums.known += rest,
                None => sums.unheld += rest,
            }
        }
        sums
    }

    /// The sums with those of another column.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            new: self.new + other.new,
            known: self.known + other.known,
            exempt: self.exempt + other.exempt,
            unheld: self.unheld + other.unheld,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Novelty, of};
    use crate::verdict::{Deviation, Verdict};

    #[test]
    fn only_what_is_forbidden_and_not_listed_is_new() {
        let unsound = Verdict::Unsound(Deviation::Skipped);
        assert_eq!(of(Level::Sound, unsound, false), Novelty::New);
        assert_eq!(of(Level::Sound, unsound, true), Novelty::Known);
        assert_eq!(of(Level::Any, unsound, false), Novelty::Exempt);
        assert_eq!(of(Level::Sound, Verdict::Cautious, false), Novelty::Allowed);
        assert_eq!(of(Level::Exact, Verdict::Cautious, false), Novelty::New);
        assert_eq!(of(Level::Sound, Verdict::Crashed, false), Novelty::New);
    }
}
