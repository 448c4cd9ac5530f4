//! `fidelity`: the guests' mimics of a kernel's code beside that code.

use std::path::{Path, PathBuf};

use clap::Args;

use super::HOLDS;
use super::output::write;
use crate::Error;
use crate::cpu;
use crate::error::printed;
use crate::fidelity::{Compared, Comparison, Pages, compare};
use crate::file::{Console, Output};
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
    /// Write fidelity.md and fidelity/CPU.md in this folder, replacing them; of each CPU there must be one image
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["function", "arch"])]
    markdown: Option<PathBuf>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let arch = arguments.arch.as_deref();
    if let Some(arch) = arch
        && cpu::by_name(arch).is_none()
    {
        return Err(Error::Usage(format!("--arch {arch}: no such CPU; there are {}", cpu::names())));
    }
    let pages = arguments.markdown.as_ref().map(|_| Pages::load(root)).transpose()?;
    let mut compared = Vec::new();
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
        if pages.is_some() {
            compared.push(Compared::new(&image, comparisons));
            continue;
        }
        let text = match arguments.function.as_deref() {
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
    if let (Some(pages), Some(folder)) = (&pages, &arguments.markdown) {
        for (path, text) in pages.of(&compared)? {
            let [output] = Output::prepare([("--markdown", Some(&folder.join(path)))])?;
            write(output.as_ref(), false, console, &mut |out| out.write_all(text.as_bytes()))?;
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
