//! `atlas`: hooked return addresses.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::names::one_of;
use super::output::{finish, is_cut, status, width, write};
use super::selection::{Selection, require_subjects, select};
use super::{BROKEN, HOLDS};
use crate::Error;
use crate::analysis::atlas::{Row, rows};
use crate::analysis::intervals::fold;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::guest::return_hook::{BUILDS, HOOKS, UNWINDERS_ALONE};
use crate::recording::Recording;
use crate::report::atlas::{json, screen, text};
use crate::report::html;
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
    /// Print where walks are not right, or no rule can find the address: starts, kinds and unwinders that fare alike together
    #[arg(long)]
    intervals: bool,
    /// Print a line for each CPU, return hook, fix and unwinder, with counters
    #[arg(long, conflicts_with = "intervals")]
    all: bool,
    /// Write the rows as JSON to this file, replacing it; `-`: to standard output, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report of these runs as one HTML page, with the windows drawn, to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    require_names(arguments)?;
    arguments
        .selection
        .refuse_case("the atlas compares builds of guests, and a case is one of them; `run` takes it")?;
    let (mut scenarios, _) = select(root, &arguments.selection)?;
    scenarios.retain(|scenario| scenario.text.return_hook.is_some());
    if scenarios.is_empty() {
        return Err(Error::Usage("none of these scenarios has a return hook".to_owned()));
    }
    let outputs = Output::prepare([("--json", arguments.json.as_ref()), ("--html", arguments.html.as_ref())])?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    console.interrupt.defer();
    let progress = console.show_progress();
    let (recording, _) = run_all(root, &scenarios, &options)?;
    drop(progress);
    let mut rows = rows(&recording);
    let Arguments { return_hook, fix, unwinder, .. } = arguments;
    let had_rows = !rows.is_empty();
    for (index, wanted) in [(1, return_hook), (2, fix), (3, unwinder)] {
        rows.retain(|row| wanted.as_ref().is_none_or(|wanted| row.names()[index].eq_ignore_ascii_case(wanted)));
    }
    let is_cut = is_cut(&recording, console);
    if had_rows && rows.is_empty() && !is_cut {
        return Err(Error::Usage(
            "the atlas has no such row; without --return-hook, --fix and --unwinder it prints all rows".to_owned(),
        ));
    }
    let [json, html] = &outputs;
    write(json.as_ref(), is_cut, console, &mut |out| json::write(&rows, &recording, out))?;
    write(html.as_ref(), is_cut, console, &mut |out| html::write(&recording, out))?;
    console.interrupt.no_longer_defer();
    printed(show(arguments, &rows, &recording, console.text(&outputs)))?;
    let status = match status(&recording, true) {
        BROKEN if recording.partial.is_none() => HOLDS, // the atlas holds no gates
        status => status,
    };
    Ok(finish(&recording, status, console))
}

/// Prints the screens, or what is asked for instead.
fn show(arguments: &Arguments, rows: &[Row], recording: &Recording, out: &mut dyn Write) -> std::io::Result<()> {
    if arguments.all {
        text::write(rows, recording, out)
    } else if arguments.intervals {
        text::write_intervals(&fold(recording, rows), recording, width(), out)
    } else {
        screen::write(rows, recording, arguments.return_hook.is_some(), width(), out)
    }
}

/// Refuses names that no row can have, before anything runs.
fn require_names(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { return_hook, fix, unwinder, .. } = arguments;
    let known = |option: &str, name: &str, known: &[&str]| {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        one_of(option, name, "name", &known).map(drop)
    };
    if let Some(hook) = return_hook {
        known("--return-hook", hook.split(',').next().unwrap_or_default(), &HOOKS)?;
    }
    if let Some(fix) = fix {
        known("--fix", fix, &[&BUILDS[..], &UNWINDERS_ALONE].concat())?;
    }
    require_subjects(unwinder.as_slice())
}
