//! `findings`: which open claims a run confirms.

use std::path::Path;

use super::output::{finish, status};
use super::{BROKEN, HOLDS};
use crate::Error;
use crate::analysis::claims::Claims;
use crate::error::printed;
use crate::file::Console;
use crate::report;
use crate::scenario::load_all;
use crate::suite::{Options, run_all};

pub(super) fn execute(root: &Path, console: &mut Console<'_>) -> Result<u8, Error> {
    let claims = Claims::load(root)?;
    let options = Options { keep_going: true, interrupt: console.interrupt.clone(), ..Options::default() };
    let scenarios = load_all(root)?;
    for scenario in &scenarios {
        claims.require(&scenario.text.claims).map_err(|error| scenario.blame_key("claims", error))?;
    }
    console.interrupt.defer();
    let (recording, _) = run_all(root, &scenarios, &options)?;
    console.interrupt.no_longer_defer();
    printed(report::findings::write(&recording, &claims, console.out))?;
    // The page says what was found; only what is not in it is a reason to fail.
    let status = match status(&recording, true) {
        BROKEN if recording.partial.is_none() => HOLDS,
        status => status,
    };
    Ok(finish(&recording, status, console))
}
