//! `check`: unwind rows, judged.

use std::path::{Path, PathBuf};

use clap::Args;

use super::documents::{Documents, write_as, write_documents};
use super::narrow::{Narrow, Within, narrow};
use super::output::{finish, status};
use super::selection::{Selection, select_part};
use crate::error::printed;
use crate::file::{Console, Output};
use crate::report;
use crate::scenario::{Range, load_all};
use crate::user::CALLBACK;
use crate::{Error, rows};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    within: Within,
    /// With --elf: also say which functions that did not run have rows, and whether they can be read; without --call, of all
    #[arg(long, requires = "elf")]
    all_functions: bool,
    #[command(flatten)]
    documents: Documents,
    /// Write the report as SARIF 2.1.0, for code scanning, to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    if arguments.all_functions && arguments.selection.elf.elf.is_none() {
        return Err(Error::Usage("--all-functions: it needs a file (--elf)".to_owned()));
    }
    let narrowed = Narrow { within: arguments.within.clone(), ..Narrow::default() };
    let mut selection = arguments.selection.clone();
    if arguments.all_functions && selection.call.function.is_none() && !selection.process.process {
        // Nothing of the file runs: a function of ours is called.
        selection.call.function = Some(format!("{CALLBACK}zero"));
    }
    let (mut scenarios, skipped, part) = select_part(root, &selection, &narrowed)?;
    if let Some(place) = part.places.first() {
        let Range { function, .. } = place;
        return Err(Error::Usage(format!(
            "{place}: check judges the rows of whole functions; name the function alone: --function {function}"
        )));
    }
    for call in scenarios.iter_mut().filter_map(|scenario| scenario.text.elf.as_mut()) {
        call.all_functions |= arguments.all_functions;
    }
    for process in scenarios.iter_mut().filter_map(|scenario| scenario.text.process.as_mut()) {
        process.all_functions |= arguments.all_functions;
    }
    let [json, junit, ktap, html] = arguments.documents.named();
    let outputs = Output::prepare([json, junit, ktap, html, ("--sarif", arguments.sarif.as_ref())])?;
    // Nothing in the repository excuses somebody's file, and a case brings its scenario along.
    let Selection { elf, case, .. } = &arguments.selection;
    let excuses = match (&elf.elf, case) {
        (Some(_), _) => Vec::new(),
        (None, Some(_)) => scenarios.iter().filter(|scenario| scenario.state().is_none()).cloned().collect(),
        (None, None) => load_all(root)?,
    };
    console.interrupt.defer();
    let progress = console.show_progress();
    let mut recording = rows::check_all(root, &scenarios, &excuses, &console.interrupt, true)?;
    drop(progress);
    if recording.rows.is_empty() && recording.partial.is_none() {
        let reason = "nothing was judged: none of these guests has unwind data in tables (.sframe, CFI or ORC)";
        return Err(Error::Usage(reason.to_owned()));
    }
    rows::retain_variants(&mut recording, &scenarios, &part);
    narrow(&mut recording, &part)?;
    recording.skipped.splice(0..0, skipped);
    let [documents @ .., sarif] = &outputs;
    write_documents(documents, console, &recording)?;
    write_as(sarif.as_ref(), report::sarif::write, console, &recording)?;
    console.interrupt.no_longer_defer();
    let out = console.text(&outputs);
    printed(super::process::write(&scenarios, out))?;
    printed(report::rows::write(&recording, out))?;
    for guest in recording.rows.iter().filter(|_| arguments.all_functions) {
        printed(report::certificate::write_not_run(guest, out))?;
    }
    Ok(finish(&recording, status(&recording, false), console))
}
