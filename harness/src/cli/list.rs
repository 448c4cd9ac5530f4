//! `list`: the scenarios.

use std::path::Path;

use super::HOLDS;
use super::selection::{Selection, select};
use crate::error::printed;
use crate::file::Console;
use crate::{Error, subject};

pub(super) fn execute(root: &Path, selection: &Selection, console: &mut Console<'_>) -> Result<u8, Error> {
    for scenario in select(root, selection)? {
        let variants: Vec<_> = scenario.variants().into_iter().map(|variant| variant.name).collect();
        let variants = variants.join(" ");
        let kinds: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        let subjects: Vec<_> = subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect();
        let line = format!("{:<36} {:<12} {:<20} {variants}", scenario.name, kinds.join(" "), subjects.join(" "));
        printed(writeln!(console.out, "{}", line.trim_end()))?;
    }
    Ok(HOLDS)
}
