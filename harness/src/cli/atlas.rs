//! `atlas`: hooked return addresses.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::write_file;
use super::selection::{Selection, select};
use super::{HOLDS, VOID};
use crate::Error;
use crate::analysis::atlas::rows;
use crate::error::printed;
use crate::report::atlas::{html, json, text};
use crate::suite::{Options, run_all};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Only rows of this return hook: fgraph, ftrace, rethook, ...
    #[arg(long, value_name = "NAME")]
    return_hook: Option<String>,
    /// Only rows of this fix: F0, F1, ...
    #[arg(long, value_name = "NAME")]
    fix: Option<String>,
    /// Only rows of this unwinder
    #[arg(long, value_name = "NAME")]
    unwinder: Option<String>,
    /// Below each row, print where its walks are not right or no rule can find the address
    #[arg(long)]
    intervals: bool,
    /// Write the rows as JSON to this file, replacing it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with rows, intervals and listings to this file, replacing it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Error> {
    let mut scenarios = select(root, &arguments.selection)?;
    scenarios.retain(|scenario| scenario.text.return_hook.is_some());
    if scenarios.is_empty() {
        return Err(Error::Usage("none of these scenarios has a return hook".to_owned()));
    }
    let (recording, _) = run_all(root, &scenarios, &Options::default())?;
    let mut rows = rows(&recording);
    let Arguments { return_hook, fix, unwinder, .. } = arguments;
    let had_rows = !rows.is_empty();
    for (index, wanted) in [(1, return_hook), (2, fix), (3, unwinder)] {
        rows.retain(|row| wanted.as_ref().is_none_or(|wanted| row.names()[index] == wanted));
    }
    if had_rows && rows.is_empty() {
        return Err(Error::Usage(
            "the atlas has no such row; without --return-hook, --fix and --unwinder it prints all rows".to_owned(),
        ));
    }
    if let Some(path) = &arguments.json {
        write_file(path, |out| json::write(&rows, out))?;
    }
    if let Some(path) = &arguments.html {
        write_file(path, |out| html::write(&rows, &recording, out))?;
    }
    printed(text::write(&rows, arguments.intervals, out))?;
    Ok(if recording.is_void() { VOID } else { HOLDS })
}
