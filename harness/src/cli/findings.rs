//! `findings`: what a run says about the threads and the open claims.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{finish, is_cut, status};
use super::selection::{ImageCall, of_images};
use super::{BROKEN, HOLDS};
use crate::analysis::claims::Claims;
use crate::error::printed;
use crate::file::{self, Console, Output};
use crate::recording::Recording;
use crate::report;
use crate::report::findings::{Page, Sources, is_prose, names, pages};
use crate::scenario::load_all;
use crate::suite::{Options, run_all};
use crate::{Error, interrupt};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The page to print: findings, s0 to s4 (a thread each), hooked, claims, stacks or refusals
    #[arg(value_name = "PAGE", default_value = "findings")]
    page: String,
    /// Write all pages into docs/ of the root instead; with --linux, docs/linux.md and docs/data/linux.md
    #[arg(long, conflicts_with = "page")]
    write: bool,
    /// Run the scenarios of scenarios/linux in this kernel, or in each of a folder, and print which known defects they have
    #[arg(long, value_name = "IMAGE")]
    linux: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    if let Some(path) = &arguments.linux {
        return of_linux(root, path, arguments.write, console);
    }
    if !names().any(|name| name == arguments.page) {
        let known: Vec<&str> = names().collect();
        return Err(Error::Usage(format!("{:?}: no such page; there are {}", arguments.page, known.join(", "))));
    }
    let claims = Claims::load(root)?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    let scenarios = load_all(root)?;
    for scenario in &scenarios {
        claims.require(&scenario.text.claims).map_err(|error| scenario.blame_key("claims", error))?;
    }
    // A folder of one's own has no sentences.
    let needs_sources = arguments.write || is_prose(&arguments.page);
    let sources = if needs_sources { Sources::load(root)? } else { Sources::default() };
    console.interrupt.defer();
    let progress = console.show_progress();
    let (recording, _) = run_all(root, &scenarios, &options)?;
    drop(progress);
    console.interrupt.no_longer_defer();
    if is_cut(&recording, console) && needs_sources {
        return Ok(without_pages(&recording, console)); // their sentences are about the whole run
    }
    let pages = pages(&recording, &claims, &sources)?;
    if arguments.write {
        write(root, &recording, &pages, console)?;
    } else if let Some(page) = pages.iter().find(|page| page.name() == arguments.page) {
        printed(console.out.write_all(page.text.as_bytes()))?;
    }
    // The page says what was found; only what is not in it is a reason to fail.
    let status = match status(&recording, true) {
        BROKEN if recording.partial.is_none() => HOLDS,
        status => status,
    };
    Ok(finish(&recording, status, console))
}

/// Says that the user has stopped the run, so that no page is made of it.
fn without_pages(recording: &Recording, console: &mut Console<'_>) -> u8 {
    if let Some(partial) = &recording.partial {
        // There is nowhere to say that standard error is closed.
        let _ = writeln!(console.err, "no page was made: {partial}");
    }
    finish(recording, interrupt::STATUS, console)
}

/// Replaces the pages, if nothing is missing from the run.
fn write(root: &Path, recording: &Recording, pages: &[Page], console: &mut Console<'_>) -> Result<(), Error> {
    if recording.partial.is_some() || recording.not_judged().next().is_some() {
        return Err(Error::Usage("--write: the run is not whole, so no page was written".to_owned()));
    }
    replace(root, pages, console)
}

fn replace(root: &Path, pages: &[Page], console: &mut Console<'_>) -> Result<(), Error> {
    for page in pages {
        let path = root.join(page.path);
        file::make_folder_of(&path)?;
        let [output] = Output::prepare([("--write", Some(&path))])?;
        if let Some(output) = output {
            output.write(console.out, &mut |out| out.write_all(page.text.as_bytes()))?;
        }
    }
    Ok(())
}

fn of_linux(root: &Path, path: &Path, is_written: bool, console: &mut Console<'_>) -> Result<u8, Error> {
    let (scenarios, skipped) = of_images(root, path, &ImageCall::default())?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    console.interrupt.defer();
    let progress = console.show_progress();
    let (mut recording, _) = run_all(root, &scenarios, &options)?;
    drop(progress);
    console.interrupt.no_longer_defer();
    recording.skipped.splice(0..0, skipped);
    if is_cut(&recording, console) && is_written {
        return Ok(without_pages(&recording, console));
    }
    if is_written {
        let (mut page, mut numbers) = (Vec::new(), Vec::new());
        printed(report::linux::write(&scenarios, &recording, &mut page))?;
        printed(report::linux::write_numbers(&scenarios, &recording, &mut numbers))?;
        let page_of = |path, text: Vec<u8>| Page { path, text: String::from_utf8_lossy(&text).into_owned() };
        // An image that cannot be judged has a line that says so, so that these pages may have gaps.
        replace(root, &[page_of("docs/linux.md", page), page_of("docs/data/linux.md", numbers)], console)?;
    } else {
        printed(report::linux::write(&scenarios, &recording, console.out))?;
    }
    // The page is checked in; what is not in it is said beside it.
    printed(report::skipped::write(&recording.skipped, console.err))?;
    Ok(finish(&recording, status(&recording, true), console))
}
