//! `check`: unwind rows, judged.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{status, write_file};
use super::selection::{Selection, select};
use crate::error::printed;
use crate::report::{self, json};
use crate::scenario::load_all;
use crate::{Error, rows};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Write the report as JSON to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Error> {
    let scenarios = select(root, &arguments.selection)?;
    let recording = rows::run_all(root, &scenarios, &load_all(root)?)?;
    if let Some(path) = &arguments.json {
        write_file(path, |out| json::write(&recording, out))?;
    }
    printed(report::rows::write(&recording, out))?;
    Ok(status(&recording, false))
}
