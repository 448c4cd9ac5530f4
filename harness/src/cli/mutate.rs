//! `mutate`: mistakes planted in unwind rows, and how many of them `check` catches.

use std::path::{Path, PathBuf};

use clap::Args;
use kunwind::Format;

use super::output::write;
use super::selection::{Selection, select};
use super::{BROKEN, HOLDS, USAGE, VOID};
use crate::error::printed;
use crate::file::{Console, Output};
use crate::recording::mutation::State;
use crate::report;
use crate::rows::{FORMATS, mutate_all};
use crate::{Error, interrupt};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Only rows of this table (may be repeated): sframe, dwarf or orc
    #[arg(long = "table", value_name = "TABLE", value_parser = ["sframe", "dwarf", "orc"])]
    tables: Vec<String>,
    /// The least score in percent, of each table, with which the status is 0
    #[arg(long, value_name = "PERCENT", default_value_t = 99, value_parser = clap::value_parser!(u64).range(..=100))]
    least: u64,
    /// Tell of every function and of every mutant that was missed
    #[arg(long)]
    all: bool,
    /// Write the result as JSON to this file, replacing it; `-`: to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let mut selection = arguments.selection.clone();
    if selection.filters == ["all"] {
        selection.filters.clear();
    }
    let (scenarios, _) = select(root, &selection)?;
    let is_wanted =
        |format: &Format| arguments.tables.is_empty() || arguments.tables.contains(&format.name().to_owned());
    let formats: Vec<Format> = FORMATS.into_iter().filter(is_wanted).collect();
    let outputs = Output::prepare([("--json", arguments.json.as_ref())])?;
    console.interrupt.defer();
    let progress = console.show_progress();
    let mutation = mutate_all(root, &scenarios, &formats, &console.interrupt);
    drop(progress);
    if mutation.guests.is_empty() {
        let reason = "there is nothing to mutate: none of these guests has unwind data in such tables";
        return Err(Error::Usage(reason.to_owned()));
    }
    let has = |is_its: fn(&State) -> bool| mutation.guests.iter().any(|guest| is_its(&guest.state));
    // A request that came when all was done has cut nothing.
    let is_cut = console.interrupt.is_asked() && has(|state| matches!(state, State::NotReached(_)));
    let [json] = &outputs;
    write(json.as_ref(), is_cut, console, &mut |out| report::json::write_mutation(&mutation, out))?;
    console.interrupt.no_longer_defer();
    printed(report::mutation::write(&mutation, arguments.all, console.text(&outputs)))?;
    if is_cut {
        let _ = writeln!(console.err, "interrupted");
        return Ok(interrupt::STATUS);
    }
    let is_low = |counts: &crate::recording::mutation::MutantCounts| {
        counts.score().is_some_and(|score| score < arguments.least * 100)
    };
    Ok(if has(|state| matches!(state, State::Failed(_) | State::NotReached(_))) {
        USAGE
    } else if has(|state| matches!(state, State::Void(_))) {
        VOID
    } else if report::mutation::totals(&mutation).values().any(is_low) {
        BROKEN
    } else {
        HOLDS
    })
}
