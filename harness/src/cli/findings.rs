//! `findings`: which open claims a run confirms.

use std::io::Write;
use std::path::Path;

use super::HOLDS;
use crate::Error;
use crate::analysis::claims::Claims;
use crate::error::printed;
use crate::report;
use crate::scenario::load_all;
use crate::suite::{Options, run_all};

pub(super) fn execute(root: &Path, out: &mut dyn Write) -> Result<u8, Error> {
    let claims = Claims::load(root)?;
    let (recording, _) = run_all(root, &load_all(root)?, &Options::default())?;
    printed(report::findings::write(&recording, &claims, out))?;
    Ok(HOLDS)
}
