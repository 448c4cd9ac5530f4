//! The recording as JUnit XML: a test suite for each run, with a test case for each subject, and the same for each guest whose rows
//! were checked, with its functions and tables. It has no times, so that the same input gives the same bytes.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::cases::{Case, Outcome, suites};
use crate::recording::Recording;

/// The types of `skipped` elements: why it is not a pass.
const EXPECTED: &str = "expected";
const NOT_APPLICABLE: &str = "not applicable";

/// Writes the recording.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let mut report = Report::new("unwind-harness");
    for suite in suites(recording) {
        let mut element = TestSuite::new(suite.name.as_str());
        for Case { name, outcome } in &suite.cases {
            let mut case = TestCase::new(name.as_str(), status(outcome));
            case.set_classname(suite.name.as_str());
            element.add_test_case(case);
        }
        report.add_test_suite(element);
    }
    let failed = |error: quick_junit::SerializeError| io::Error::other(error.to_string());
    out.write_all(report.to_string().map_err(failed)?.as_bytes())
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    let with = |mut status: TestCaseStatus, kind: &str, text: &str| {
        status.set_type(kind).set_message(text.lines().next().unwrap_or_default());
        if text.lines().count() > 1 {
            status.set_description(text);
        }
        status
    };
    match outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail(reasons) => {
            with(TestCaseStatus::non_success(NonSuccessKind::Failure), "gate", &reasons.join("\n"))
        }
        Outcome::Expected(reason) => with(TestCaseStatus::skipped(), EXPECTED, reason),
        Outcome::Skipped(reason) => with(TestCaseStatus::skipped(), NOT_APPLICABLE, reason),
        Outcome::Error(what, reason) => with(TestCaseStatus::non_success(NonSuccessKind::Error), what, reason),
    }
}
