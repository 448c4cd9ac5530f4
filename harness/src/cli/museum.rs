//! `museum`: historical bugs as pairs, each caught before its fix and clean after it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{width, write};
use super::{BROKEN, HOLDS, USAGE};
use crate::error::printed;
use crate::file::{Console, Output};
use crate::museum::{Group, Judged, load, markdown, select, visit, write_all, write_summary};
use crate::near::did_you_mean;
use crate::{Error, cpu};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only exhibits whose name, or whose group's name, contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Only this CPU: arm64, riscv64 or x86_64
    #[arg(long, value_name = "CPU")]
    arch: Option<String>,
    /// Print every exhibit, not one line for each group; also what a filter selects is printed so
    #[arg(long)]
    all: bool,
    /// Print the tables of docs/museum.md, without a run
    #[arg(long, conflicts_with_all = ["all", "json"])]
    markdown: bool,
    /// Write the results as JSON to this file, replacing it; `-`: to standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let all = load(root)?;
    let selected = selected(&all, arguments)?;
    if arguments.markdown {
        return printed(write!(console.document(), "{}", markdown(&selected))).map(|()| HOLDS);
    }
    let outputs = Output::prepare([("--json", arguments.json.as_ref())])?;
    console.interrupt.defer();
    let progress = console.show_progress();
    let judged = visit(root, &selected, &all, None, &console.interrupt)?;
    drop(progress);
    console.interrupt.no_longer_defer();
    let [json] = &outputs;
    write(json.as_ref(), false, console, &mut |out| {
        serde_json::to_writer(&mut *out, &judged)?;
        writeln!(out)
    })?;
    let out = console.text(&outputs);
    let is_long = arguments.all || !arguments.filters.is_empty();
    printed(if is_long { write_all(&judged, width(), out) } else { write_summary(&judged, out) })?;
    Ok(status(&judged))
}

/// The exit status: what was not judged does not hold.
fn status(judged: &Judged) -> u8 {
    match (judged.totals.not_judged, judged.holds()) {
        (1.., _) => USAGE,
        (0, true) => HOLDS,
        (0, false) => BROKEN,
    }
}

fn selected(all: &[Group], arguments: &Arguments) -> Result<Vec<Group>, Error> {
    let mut selected = select(all, &arguments.filters);
    if let Some(arch) = &arguments.arch {
        if cpu::by_name(arch).is_none() {
            return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
        }
        for group in &mut selected {
            group.exhibits.retain(|exhibit| exhibit.cpu() == arch);
        }
        selected.retain(|group| !group.exhibits.is_empty());
    }
    let names = || {
        let of = |group: &Group| {
            let exhibits = group.exhibits.iter().map(|exhibit| exhibit.name.clone());
            std::iter::once(group.name.clone()).chain(exhibits).collect::<Vec<_>>()
        };
        all.iter().flat_map(of).collect::<Vec<String>>()
    };
    for filter in &arguments.filters {
        if select(all, std::slice::from_ref(filter)).is_empty() {
            let near = did_you_mean(filter, names().iter().map(String::as_str));
            let advice = "; `museum --all` lists them";
            return Err(Error::Usage(format!("{filter}: no exhibit and no group has this name{near}{advice}")));
        }
    }
    if selected.is_empty() {
        return Err(Error::Usage("no exhibit has both the name and the CPU".to_owned()));
    }
    Ok(selected)
}
