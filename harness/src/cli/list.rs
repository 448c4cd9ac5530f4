//! `list`: the scenarios, or what is in Linux images.

use std::path::Path;

use clap::Args;

use super::HOLDS;
use super::linux;
use super::selection::{Selection, choose};
use crate::error::printed;
use crate::file::Console;
use crate::{Error, subject};

/// What to list.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Of each image: the symbols of this name, or what is at this address (0x...); can be repeated
    #[arg(long, value_name = "NAME|ADDRESS", requires = "linux")]
    symbol: Vec<String>,
    /// Of each image: the layout of a type or of a field: `pt_regs`, `task_struct.thread.cpu_context`; can be repeated
    #[arg(long = "type", value_name = "TYPE[.FIELD]", requires = "linux")]
    types: Vec<String>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let selection = &arguments.selection;
    if let Some(path) = &selection.linux {
        let asked = linux::Asked { symbols: &arguments.symbol, types: &arguments.types };
        return linux::execute(path, selection.arch.as_deref(), &asked, console);
    }
    for scenario in choose(root, selection)?.0 {
        let variants: Vec<_> = scenario.variants().into_iter().map(|variant| variant.name).collect();
        let variants = variants.join(" ");
        let kinds: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        let subjects: Vec<_> = subject::all(scenario.cpu).iter().map(|subject| subject.about().name.clone()).collect();
        let line = format!("{:<36} {:<12} {:<20} {variants}", scenario.name, kinds.join(" "), subjects.join(" "));
        printed(writeln!(console.out, "{}", line.trim_end()))?;
    }
    Ok(HOLDS)
}
