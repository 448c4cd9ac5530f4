//! The recording as KTAP, version 1 (the kernel's Documentation/dev-tools/ktap.rst): a test for each run, with a subtest for each
//! subject, and the same for each guest whose rows were checked, with its functions and tables.

use std::io::Write;

use super::cases::{Case, Outcome, Suite, suites};
use crate::recording::Recording;

/// Writes the recording.
///
/// # Errors
///
/// Those of `out`.
pub fn write(recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    let suites = suites(recording);
    writeln!(out, "KTAP version 1\n1..{}", suites.len())?;
    for (number, suite) in (1..).zip(&suites) {
        write_suite(number, suite, out)?;
    }
    Ok(())
}

fn write_suite(number: usize, suite: &Suite, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "  KTAP version 1\n  1..{}", suite.cases.len())?;
    for (number, case) in (1..).zip(&suite.cases) {
        write_case(number, case, out)?;
    }
    let name = description(&suite.name);
    match suite.skipped() {
        _ if suite.is_bad() => writeln!(out, "not ok {number} {name}"),
        Some(reason) => writeln!(out, "ok {number} {name} # SKIP {}", one_line(reason)),
        None => writeln!(out, "ok {number} {name}"),
    }
}

fn write_case(number: usize, case: &Case, out: &mut dyn Write) -> std::io::Result<()> {
    let name = description(&case.name);
    match &case.outcome {
        Outcome::Pass => writeln!(out, "  ok {number} {name}"),
        Outcome::Fail(reasons) => {
            for line in reasons.iter().flat_map(|reason| reason.lines()) {
                writeln!(out, "  # {}", one_line(line))?;
            }
            writeln!(out, "  not ok {number} {name}")
        }
        Outcome::Expected(reason) => writeln!(out, "  ok {number} {name} # XFAIL {}", one_line(reason)),
        Outcome::Skipped(reason) => writeln!(out, "  ok {number} {name} # SKIP {}", one_line(reason)),
        Outcome::Error(what, reason) => writeln!(out, "  not ok {number} {name} # ERROR {what}: {}", one_line(reason)),
    }
}

/// A description, which cannot hold the sign that begins a directive, nor a character that ends the line.
fn description(name: &str) -> String {
    one_line(name).replace('#', "_")
}

/// Text without line breaks and other characters that control a terminal.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}
