//! `check`: unwind rows, judged.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{finish, status, write_json};
use super::selection::{Selection, select};
use crate::error::printed;
use crate::file::{Console, Output};
use crate::report;
use crate::scenario::load_all;
use crate::{Error, rows};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// With --elf: also say which functions that did not run have rows, and whether they can be read
    #[arg(long, requires = "elf")]
    all_functions: bool,
    /// Write the report as JSON to this file, replacing it; `-`: to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (mut scenarios, skipped) = select(root, &arguments.selection)?;
    for call in scenarios.iter_mut().filter_map(|scenario| scenario.text.elf.as_mut()) {
        call.all_functions |= arguments.all_functions;
    }
    for process in scenarios.iter_mut().filter_map(|scenario| scenario.text.process.as_mut()) {
        process.all_functions |= arguments.all_functions;
    }
    let outputs = Output::prepare([("--json", arguments.json.as_ref())])?;
    // Nothing in the repository excuses somebody's file, and a case brings its scenario along.
    let Selection { elf, case, .. } = &arguments.selection;
    let excuses = match (&elf.elf, case) {
        (Some(_), _) => Vec::new(),
        (None, Some(_)) => scenarios.iter().filter(|scenario| scenario.state.is_none()).cloned().collect(),
        (None, None) => load_all(root)?,
    };
    console.interrupt.defer();
    let mut recording = rows::check_all(root, &scenarios, &excuses, &console.interrupt, true)?;
    if recording.rows.is_empty() && recording.partial.is_none() {
        let reason = "nothing was judged: none of these guests has unwind data in tables (.sframe, CFI or ORC)";
        return Err(Error::Usage(reason.to_owned()));
    }
    recording.skipped.splice(0..0, skipped);
    let [json] = &outputs;
    write_json(json.as_ref(), console, &recording)?;
    console.interrupt.no_longer_defer();
    let out = console.text(&outputs);
    printed(super::process::write(&scenarios, out))?;
    printed(report::rows::write(&recording, out))?;
    Ok(finish(&recording, status(&recording, false), console))
}
