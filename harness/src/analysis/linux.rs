//! Which defects of released kernels a run over images has shown.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::recording::{FirstWalk, Recording, Section};
use crate::scenario::{Defect, Scenario};

/// What a run says about a defect in one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is there.
    Open {
        /// The walks that show it.
        walks: u64,
        /// The distinct instructions at which they were made.
        instructions: usize,
        /// All walks of that kind.
        of: u64,
    },
    /// It could have shown itself in this many walks, and did not.
    Closed(u64),
    /// The image does not have what is defective, for this reason.
    Absent(String),
    /// Nothing can be said, for this reason.
    NotJudged(String),
}

/// A defect in one image.
#[derive(Debug)]
pub struct Shown<'r> {
    /// The defect.
    pub defect: &'r Defect,
    /// The run that was to show it.
    pub section: &'r Section,
    /// What it says.
    pub status: Status,
    /// The first walk that shows it, beside the truth.
    pub first: Option<&'r FirstWalk>,
}

impl Shown<'_> {
    /// The release of the image.
    #[must_use]
    pub fn release(&self) -> &str {
        self.section.variant.as_deref().unwrap_or_default()
    }
}

/// Every defect of the scenarios, in every image.
#[must_use]
pub fn shown<'r>(scenarios: &'r [Scenario], recording: &'r Recording) -> Vec<Shown<'r>> {
    let mut all = Vec::new();
    for section in &recording.sections {
        let of_section = |scenario: &&Scenario| {
            let release = scenario.image().map(|image| &image.release);
            scenario.name == section.scenario && release == section.variant.as_ref()
        };
        let Some(scenario) = scenarios.iter().find(of_section) else { continue };
        let Some(call) = &scenario.text.linux else { continue };
        let can_have =
            |defect: &&Defect| defect.only.is_empty() || defect.only.iter().any(|cpu| cpu == scenario.cpu.name);
        all.extend(call.defects.iter().filter(can_have).map(|defect| of_section_and_defect(section, defect)));
    }
    all.sort_by(|left, right| {
        let key = |shown: &Shown<'_>| shown.section.scenario.split('/').next().map(str::to_owned);
        (&left.defect.id, key(left))
            .cmp(&(&right.defect.id, key(right)))
            .then_with(|| compare_releases(left.release(), right.release()))
    });
    all
}

fn of_section_and_defect<'r>(section: &'r Section, defect: &'r Defect) -> Shown<'r> {
    let shown = |status, first| Shown { defect, section, status, first };
    let reason = section.not_judged.clone().or_else(|| section.void.as_ref().map(|void| format!("void: {void}")));
    if let Some(reason) = reason {
        return shown(Status::NotJudged(reason), None);
    }
    let Some(column) = section.columns.iter().find(|column| column.label() == defect.unwinder) else {
        return shown(Status::Absent(format!("it has no {}", defect.unwinder)), None);
    };
    let is_its = |finding: &&crate::recording::Finding| {
        finding.label() == defect.unwinder
            && defect.verdict.contains(&finding.verdict)
            && defect.is_within(&finding.range.function)
    };
    let findings: Vec<_> = section.findings.iter().filter(is_its).collect();
    let instructions: BTreeSet<_> = findings
        .iter()
        .flat_map(|finding| section.offsets(finding).map(|offset| (&finding.range.function, offset)))
        .collect();
    let walks = findings.iter().map(|finding| finding.count).sum();
    // A window is not closed because nobody came to it.
    let is_reached = section.functions.iter().any(|function| defect.is_within(&function.name));
    if column.counters.walks == 0 || !is_reached {
        return shown(Status::NotJudged("no walk was made there".to_owned()), None);
    }
    match findings.first() {
        None => shown(Status::Closed(column.counters.walks), None),
        Some(first) => {
            let status = Status::Open { walks, instructions: instructions.len(), of: column.counters.walks };
            shown(status, Some(&first.first))
        }
    }
}

/// Compares releases as people do: 6.12 is after 6.1.
#[must_use]
pub fn compare_releases(left: &str, right: &str) -> Ordering {
    let numbers =
        |release: &str| -> Vec<u64> { release.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect() };
    numbers(left).cmp(&numbers(right)).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_by_number() {
        let mut releases = ["7.3.4+deb13-cloud-arm64", "6.1.0-50-arm64", "6.12.117+deb13-arm64", "6.1.0-9-arm64"];
        releases.sort_by(|left, right| compare_releases(left, right));
        assert_eq!(releases, ["6.1.0-9-arm64", "6.1.0-50-arm64", "6.12.117+deb13-arm64", "7.3.4+deb13-cloud-arm64"]);
    }
}
