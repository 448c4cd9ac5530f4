//! `fidelity`: the guests' mimics of a kernel's code beside that code.

use std::path::{Path, PathBuf};

use clap::Args;

use super::HOLDS;
use crate::Error;
use crate::cpu;
use crate::error::printed;
use crate::fidelity::{Comparison, compare};
use crate::file::Console;
use crate::linux::{KernelImage, list};

/// What to compare.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A Linux image or package, or a folder of them
    #[arg(long, value_name = "PATH")]
    linux: PathBuf,
    /// Show the events of this function alone, by its name in the guest or in the image; without it, a table of all
    #[arg(value_name = "FUNCTION")]
    function: Option<String>,
    /// Only images for this CPU
    #[arg(long, value_name = "CPU")]
    arch: Option<String>,
    /// A section of Markdown for each image: the table, and each function that differs
    #[arg(long, conflicts_with = "function")]
    markdown: bool,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let arch = arguments.arch.as_deref();
    if let Some(arch) = arch
        && cpu::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
    }
    let mut shown = 0;
    let mut known = Vec::new();
    for path in list(&arguments.linux)?.images {
        if console.interrupt.is_asked() {
            return Err(Error::Interrupted);
        }
        let image = KernelImage::open(&path)?;
        if arch.is_some_and(|arch| arch != image.cpu.name) {
            continue;
        }
        let comparisons = compare(root, &image)?;
        let text = match arguments.function.as_deref() {
            None if arguments.markdown => crate::fidelity::markdown(&image, &comparisons),
            None => crate::fidelity::table(&image, &comparisons),
            Some(name) => {
                let is_it = |comparison: &&Comparison| comparison.is_named(name);
                known.extend(comparisons.iter().map(|comparison| comparison.image.clone()));
                comparisons.iter().filter(is_it).map(crate::fidelity::side_by_side).collect()
            }
        };
        if !text.is_empty() {
            let title = if arguments.function.is_some() { crate::fidelity::title(&image) } else { String::new() };
            let separator = if shown > 0 { "\n" } else { "" };
            printed(write!(console.out, "{separator}{title}{text}"))?;
            shown += 1;
        }
    }
    match &arguments.function {
        Some(name) if shown == 0 => {
            known.sort();
            known.dedup();
            Err(Error::Usage(format!("{name}: no such function; there are {}", known.join(", "))))
        }
        _ => Ok(HOLDS),
    }
}
