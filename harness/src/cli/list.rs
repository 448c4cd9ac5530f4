//! `list`: the scenarios with the unwinders that walk in them, or what is in Linux images.

use std::path::Path;

use clap::Args;

use super::HOLDS;
use super::linux;
use super::selection::{Selection, choose};
use crate::Error;
use crate::error::printed;
use crate::file::Console;
use crate::pool::in_parallel;
use crate::suite::walking;

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
    let scenarios = choose(root, selection)?.0;
    let folder = root.to_path_buf();
    let walking = in_parallel(scenarios.clone(), 1, &console.interrupt, move |scenario| walking(&folder, scenario));
    for (scenario, walking) in scenarios.iter().zip(walking) {
        let variants: Vec<_> = scenario.variants().into_iter().map(|variant| variant.name).collect();
        let variants = variants.join(" ");
        let kinds: Vec<_> = scenario.text.interrupt.iter().map(|kind| kind.name()).collect();
        let subjects = match walking {
            Some(Ok(names)) => names.join(" "),
            Some(Err(error)) => format!("(its guest cannot be loaded: {error})"),
            None => return Err(Error::Interrupted),
        };
        let line = format!("{:<36} {:<12} {subjects:<20} {variants}", scenario.name, kinds.join(" "));
        printed(writeln!(console.out, "{}", line.trim_end()))?;
    }
    Ok(HOLDS)
}
