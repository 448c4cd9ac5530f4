//! The machine-readable report: schema 1, described in docs/report.md.

use std::io::Write;

use serde::Serialize;

use super::{Counters, Report, Section};

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    scenarios: Vec<Scenario<'a>>,
    totals: Totals<'a>,
}

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    variant: Option<&'a str>,
    interrupt: &'a str,
    points: u64,
    distinct_pcs: usize,
    unwitnessed: usize,
    void: Option<&'a str>,
    claims: &'a [String],
    subjects: Ordered<'a>,
    findings: Vec<Finding<'a>>,
}

#[derive(Serialize)]
struct Finding<'a> {
    subject: &'a str,
    start: &'a str,
    verdict: String,
    range: String,
    count: u64,
    reachable: bool,
    first: First<'a>,
}

#[derive(Serialize)]
struct First<'a> {
    point: String,
    expected: &'a [String],
    got: &'a [String],
}

#[derive(Serialize)]
struct Totals<'a> {
    points: u64,
    void: usize,
    subjects: Ordered<'a>,
}

/// A map in the order of columns.
struct Ordered<'a>(Vec<(&'a str, Counters)>);

impl Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, counters)| (name, counters)))
    }
}

/// Writes the report, with a newline at its end.
///
/// # Errors
///
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let document = Document {
        schema: 1,
        scenarios: report.sections.iter().map(scenario).collect(),
        totals: Totals {
            points: report.sections.iter().filter(|section| section.void.is_none()).map(|section| section.points).sum(),
            void: report.sections.iter().filter(|section| section.void.is_some()).count(),
            subjects: Ordered(super::text::totals(report)),
        },
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn scenario(section: &Section) -> Scenario<'_> {
    Scenario {
        name: &section.scenario,
        variant: section.variant.as_deref(),
        interrupt: section.interrupt,
        points: section.points,
        distinct_pcs: section.distinct_pcs,
        unwitnessed: section.unwitnessed.iter().map(|(_, count)| count).sum(),
        void: section.void.as_deref(),
        claims: &section.claims,
        subjects: Ordered(super::text::by_subject(&section.subjects)),
        findings: section.findings.iter().map(finding).collect(),
    }
}

fn finding(finding: &super::Finding) -> Finding<'_> {
    Finding {
        subject: &finding.subject,
        start: finding.start.name(),
        verdict: finding.verdict.to_string(),
        range: finding.range(),
        count: finding.count,
        reachable: finding.reachable,
        first: First { point: finding.point(), expected: &finding.expected, got: &finding.got },
    }
}
