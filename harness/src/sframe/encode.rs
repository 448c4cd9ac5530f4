//! `sframe encode`: copies an ELF file and adds the SFrame section made from its CFI.

use std::path::PathBuf;

use clap::Args;
use kunwind::sframe::write::{FromCfi, Placement, from_cfi};

use super::append::{self, Plan};
use super::cfi_file::{Elf, OwnedCfi};
use super::refuse;
use crate::error::printed;
use crate::file::{Console, Output};
use crate::{Error, file};

/// What to encode.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// An ELF file with .eh_frame or .debug_frame: an executable, a shared object, or an object for the linker
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write the copy; an existing file is not overwritten; `-`: to standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Replace the .sframe section that the file has
    #[arg(long)]
    replace: bool,
}

/// Writes the copy, and prints what its section holds and what it cannot hold.
///
/// # Errors
///
/// When the file cannot be read or holds nothing to encode, or the copy cannot be written. Nothing is written then.
pub(super) fn encode(arguments: &Arguments, console: &mut Console<'_>) -> Result<(), Error> {
    let Arguments { input, output, replace } = arguments;
    let (outputs, name) = (Output::prepare([("--output", Some(output))])?, output.display());
    let [output] = outputs.each_ref().map(Option::as_ref);
    let output = output.ok_or_else(|| Error::Usage("--output is missing".to_owned()))?;
    output.require_new("encode")?;
    let (_, metadata) = file::open(input)?;
    let data = file::read(input, file::MAX_BINARY)?;
    let encoded = encode_bytes(&data, *replace).map_err(|reason| refuse(input, reason))?;
    let interrupt = console.interrupt.clone();
    output.create(console.document(), &encoded.bytes, metadata.permissions(), &interrupt)?;
    printed(write!(console.text(&outputs), "{name}: {}", encoded.summary))
}

/// The copy, and a summary.
struct Encoded {
    bytes: Vec<u8>,
    summary: String,
}

fn encode_bytes(data: &[u8], replace: bool) -> Result<Encoded, String> {
    let elf = Elf::parse(data)?;
    if elf.sframe().is_some() && !replace {
        return Err("it has a .sframe section; --replace puts another in its place".to_owned());
    }
    let owned = elf.cfi()?;
    let (made, bytes, place) = if elf.is_relocatable() {
        let made = from_cfi(&owned.cfi(), elf.abi, Placement::Relocatable).map_err(|error| error.to_string())?;
        let bytes = relocatable(&elf, &owned, &made)?;
        let place = format!("with {} relocations, for the linker to place", made.written.relocations.len());
        (made, bytes, place)
    } else {
        let plan = Plan::new(&elf)?;
        let made =
            from_cfi(&owned.cfi(), elf.abi, Placement::Linked(plan.address)).map_err(|error| error.to_string())?;
        let bytes = plan.write(&elf, &made.written.bytes)?;
        (made, bytes, format!("at {:#x}, in a new segment", plan.address))
    };
    Ok(Encoded { bytes, summary: summary(&elf, owned.name, &made, &place) })
}

fn relocatable(elf: &Elf<'_>, owned: &OwnedCfi, made: &FromCfi) -> Result<Vec<u8>, String> {
    let mut starts = Vec::new();
    for relocation in &made.written.relocations {
        let fde = made.functions[relocation.function].fde;
        let (symbol, addend) = owned
            .start_of(fde)
            .ok_or_else(|| format!("the FDE at {fde:#x} of {} has no relocation for its function", owned.name))?;
        starts.push((relocation.offset, symbol, addend));
    }
    append::relocatable(elf, &made.written.bytes, &starts, elf.symbol_table())
}

/// What the section holds, and the functions that it cannot hold.
fn summary(elf: &Elf<'_>, cfi: &str, made: &FromCfi, place: &str) -> String {
    let section = &made.written.bytes;
    let count = |at: usize| {
        let bytes: [u8; 4] = section[at..at + 4].try_into().unwrap_or_default();
        if elf.abi.is_big_endian() { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let (functions, rows) = (count(8), count(12));
    let mut text = format!(
        ".sframe version 3 ({}) from {cfi}, {} bytes {place}: {functions} functions, {rows} rows\n",
        elf.abi.name(),
        section.len()
    );
    if made.refusals.is_empty() {
        return text;
    }
    text += &format!("{} without rows, because the format cannot say what their CFI says:\n", made.refusals.len());
    for refusal in &made.refusals {
        let name = match refusal.range {
            None => format!("FDE at {:#x} of {cfi}", refusal.fde),
            // The addresses of a relocatable file are made up.
            Some((_, size)) if elf.is_relocatable() => format!("FDE at {:#x} of {cfi}, {size} bytes", refusal.fde),
            Some((start, size)) => {
                let name = elf.name_of(start).map(|name| format!(" {name}")).unwrap_or_default();
                format!("{start:#x}..{:#x}{name}", start.wrapping_add(size))
            }
        };
        text += &format!("  {name}: {}\n", refusal.reason);
    }
    text
}
