//! `findings`: which open claims a run confirms.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{finish, status};
use super::selection::{ImageCall, of_images};
use super::{BROKEN, HOLDS};
use crate::Error;
use crate::analysis::claims::Claims;
use crate::error::printed;
use crate::file::Console;
use crate::report;
use crate::scenario::load_all;
use crate::suite::{Options, run_all};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run the scenarios of scenarios/linux in this kernel, or in each of a folder, and print which known defects they have
    #[arg(long, value_name = "IMAGE")]
    linux: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    if let Some(path) = &arguments.linux {
        return of_linux(root, path, console);
    }
    let claims = Claims::load(root)?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    let scenarios = load_all(root)?;
    for scenario in &scenarios {
        claims.require(&scenario.text.claims).map_err(|error| scenario.blame_key("claims", error))?;
    }
    console.interrupt.defer();
    let progress = console.show_progress();
    let (recording, _) = run_all(root, &scenarios, &options)?;
    drop(progress);
    console.interrupt.no_longer_defer();
    printed(report::findings::write(&recording, &claims, console.out))?;
    // The page says what was found; only what is not in it is a reason to fail.
    let status = match status(&recording, true) {
        BROKEN if recording.partial.is_none() => HOLDS,
        status => status,
    };
    Ok(finish(&recording, status, console))
}

fn of_linux(root: &Path, path: &Path, console: &mut Console<'_>) -> Result<u8, Error> {
    let (scenarios, skipped) = of_images(root, path, &ImageCall::default())?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    console.interrupt.defer();
    let progress = console.show_progress();
    let (mut recording, _) = run_all(root, &scenarios, &options)?;
    drop(progress);
    console.interrupt.no_longer_defer();
    recording.skipped.splice(0..0, skipped);
    printed(report::linux::write(&scenarios, &recording, console.out))?;
    // The page is checked in; what is not in it is said beside it.
    printed(report::skipped::write(&recording.skipped, console.err))?;
    Ok(finish(&recording, status(&recording, true), console))
}
