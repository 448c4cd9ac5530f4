//! `diff`: two recordings, compared.

use std::path::{Path, PathBuf};

use clap::Args;

use super::narrow::{Known, Narrow, narrow};
use super::output::width;
use super::revision::{recordings, side};
use super::{BROKEN, HOLDS};
use crate::Error;
use crate::analysis::diff::diff;
use crate::error::printed;
use crate::file::Console;
use crate::report;
use crate::scenario::Part;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What `--json` wrote before; or a git revision (`main~1`), whose snapshots are compared; or a folder with snapshots (`.`)
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// What it wrote now; or a revision or folder
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    narrow: Narrow,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (mut old, mut new) = recordings(side(root, &arguments.old)?, side(root, &arguments.new)?)?;
    let mut part = Part::default();
    arguments.narrow.add_to(&mut part, &Known::of_recordings([&old, &new]))?;
    // A function may be in one of them only.
    if let (Err(error), Err(_)) = (narrow(&mut old, &part), narrow(&mut new, &part)) {
        return Err(error);
    }
    for (path, recording) in [(&arguments.old, &old), (&arguments.new, &new)] {
        if let Some(partial) = &recording.partial {
            let _ = writeln!(console.err, "note: {}: {partial}", path.display());
        }
    }
    let found = diff(&old, &new);
    printed(report::diff::write(&found, width(), console.out))?;
    if found.is_empty() && found.compared == 0 {
        return Err(Error::Usage("nothing was compared: neither of them has such a run".to_owned()));
    }
    Ok(if found.is_empty() { HOLDS } else { BROKEN })
}
