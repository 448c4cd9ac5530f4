//! `run --snapshots`: every verdict of a scenario, kept in a file beside it, so that what changes is seen.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use crate::Error;
use crate::error::printed;
use crate::file::{self, Output};
use crate::recording::{Recording, Section};
use crate::report::snapshot;
use crate::scenario::Part;

const BAD: Style = AnsiColor::Red.on_default().bold();

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Compare with ROOT/snapshots: one that differs, or is missing, is like a broken gate
    Check,
    /// Write them
    Write,
}

/// What stands above a page that this program has written.
const HEAD: &str = "---\nsource: unwind-harness run --snapshots write\n---\n";

/// How many changed lines of a page are shown.
const SHOWN: usize = 12;

/// Refuses a part of a scenario, whose page would lack the rest.
///
/// # Errors
///
/// [`Error::Usage`].
pub(super) fn require_whole(part: &Part) -> Result<(), Error> {
    if *part == Part::default() {
        return Ok(());
    }
    let reason = "--snapshots keeps whole scenarios: name no variant, kind, unwinder, start or function beside it";
    Err(Error::Usage(reason.to_owned()))
}

/// Compares or writes the pages of all scenarios of a recording, and says what differs. False: something does.
///
/// # Errors
///
/// [`Error::File`] where a snapshot cannot be read or written.
pub(super) fn hold(root: &Path, what: What, recording: &Recording, out: &mut dyn Write) -> Result<bool, Error> {
    let mut by_scenario: BTreeMap<&str, Vec<Section>> = BTreeMap::new();
    for section in &recording.sections {
        by_scenario.entry(&section.scenario).or_default().push(section.clone());
    }
    let (mut same, mut written, mut differ) = (0, 0, 0);
    for (name, sections) in &by_scenario {
        if sections.iter().any(|section| section.not_judged.is_some() || section.interrupted) {
            printed(writeln!(out, "snapshot of {name}: left alone, because not everything was judged"))?;
            differ += 1;
            continue;
        }
        let path = root.join("snapshots").join(format!("{name}.snap"));
        let mut page = Vec::new();
        printed(snapshot::write(sections, &mut page))?;
        let page = String::from_utf8_lossy(&page);
        let old = if path.exists() { Some(file::read_text(&path)?) } else { None };
        let (head, before) = old.as_deref().map_or((HEAD, None), |text| {
            let page = snapshot::page(text);
            (&text[..text.len() - page.len()], Some(page.trim_end()))
        });
        if before == Some(page.trim_end()) {
            same += 1;
        } else if what == What::Write {
            replace(&path, head, page.trim_end())?;
            written += 1;
        } else {
            printed(tell(name, before, &page, out))?;
            differ += 1;
        }
    }
    let counts = [(same, "as they were"), (written, "written"), (differ, "not")];
    let counts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    printed(writeln!(out, "snapshots: {}", counts.join(", ")))?;
    Ok(differ == 0)
}

fn replace(path: &PathBuf, head: &str, page: &str) -> Result<(), Error> {
    file::make_folder_of(path)?;
    let [output] = Output::prepare([("--snapshots", Some(path))])?;
    let Some(output) = output else { return Ok(()) };
    output.write(&mut std::io::sink(), &mut |out| writeln!(out, "{head}{page}"))
}

/// The lines that only one of two pages has.
fn tell(name: &str, before: Option<&str>, page: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let Some(before) = before else {
        return writeln!(out, "{BAD}no snapshot{BAD:#} of {name}: --snapshots write");
    };
    writeln!(out, "{BAD}snapshot differs{BAD:#}: {name}")?;
    let gone = missing(before, page).into_iter().map(|line| format!("- {line}"));
    let lines: Vec<String> = gone.chain(missing(page, before).into_iter().map(|line| format!("+ {line}"))).collect();
    for line in lines.iter().take(SHOWN) {
        writeln!(out, "  {line}")?;
    }
    if lines.len() > SHOWN {
        writeln!(out, "  and {} more lines", lines.len() - SHOWN)?;
    }
    Ok(())
}

/// The lines of one that the other lacks.
fn missing<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in other.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let is_missing = |line: &&str| match counts.get_mut(*line) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    one.lines().filter(is_missing).collect()
}
