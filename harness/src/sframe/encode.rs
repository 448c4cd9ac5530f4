//! `sframe encode`: copies an ELF file and adds the SFrame section made from its CFI.

use std::fs::{Metadata, Permissions};
use std::path::PathBuf;

use clap::Args;
use kunwind::sframe::write::{FromCfi, Placement, from_sections};
use kunwind::sframe::{Severity, Surroundings, validate};

use super::append::{self, Plan};
use super::cfi_file::{AllCfi, Elf};
use super::elf::Input;
use super::report::Report;
use super::select::Selection;
use super::source::{Addition, Bytes, Source};
use super::{BAD, GOOD, ProfileName, refuse};
use crate::Error;
use crate::error::printed;
use crate::file::{Console, Output};

pub(super) const EXIT_STATUS: &str = "\
Exit status:
  0  the copy has rows for every function that the CFI describes
  1  the copy was written, and functions are left out: the output lists them
  2  wrong usage or input, or the section would not be valid: nothing was written";

/// How many findings a refusal names.
const MAX_FINDINGS: usize = 5;

/// What to encode.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// An ELF file with .eh_frame or .debug_frame: an executable, a shared object, or an object for the linker
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write the copy; an existing file is not overwritten; `-`: to standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Replace the .sframe sections that the file has
    #[arg(long)]
    replace: bool,
    /// The rules that the new section must follow, or nothing is written
    #[arg(long, value_enum, default_value_t = ProfileName::Spec)]
    profile: ProfileName,
    /// Exit with 0 although functions are left out
    #[arg(long)]
    allow_refused: bool,
}

/// Writes the copy, prints what its section holds and what it cannot hold, and returns the exit status.
///
/// # Errors
///
/// When the file cannot be read or holds nothing to encode, its section would not be valid, or the copy cannot be written. Nothing is
/// written then.
pub(super) fn encode(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let Arguments { input, output, replace, profile, allow_refused } = arguments;
    let (outputs, name) = (Output::prepare([("--output", Some(output))])?, output.display());
    let [output] = outputs.each_ref().map(Option::as_ref);
    let output = output.ok_or_else(|| Error::Usage("--output is missing".to_owned()))?;
    output.require_new("encode")?;
    let (source, metadata) = Source::open(input)?;
    source.check_copy().map_err(|reason| refuse(input, reason))?;
    let (addition, mut report) = make(&source, *replace, *profile).map_err(|reason| refuse(input, reason))?;
    let (permissions, dropped) = permissions(&metadata);
    report.note(dropped);
    let interrupt = console.interrupt.clone();
    output.create(console.document(), &mut |piece| source.copy(&addition, piece), permissions, &interrupt)?;
    printed(write!(console.text(&outputs), "{name}: {}", report.text))?;
    Ok(if report.is_complete || *allow_refused { GOOD } else { BAD })
}

/// The permissions for the copy, and what it does not get: a program that runs as somebody else must be made so by hand.
#[cfg(unix)]
fn permissions(input: &Metadata) -> (Permissions, Option<&'static str>) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let warning = "warning: the copy is not set-user-ID or set-group-ID, as the input is; `chmod` it if it must be";
    let is_set_id = input.mode() & 0o6000 != 0;
    (Permissions::from_mode(input.mode() & 0o777), is_set_id.then_some(warning))
}

#[cfg(not(unix))]
fn permissions(input: &Metadata) -> (Permissions, Option<&'static str>) {
    (input.permissions(), None)
}

/// What the copy gets, and a report. The section is validated before anything is written.
fn make(source: &Source, replace: bool, profile: ProfileName) -> Result<(Addition, Report), String> {
    let elf = Elf::parse(source.bytes())?;
    if elf.sframes().next().is_some() && !replace {
        return Err("it has a .sframe section; --replace puts another in its place".to_owned());
    }
    let is_relocatable = elf.is_relocatable();
    if is_relocatable && matches!(profile, ProfileName::Kernel) {
        return Err(
            "an object file, whose index only the linker sorts: --profile kernel is for linked files".to_owned()
        );
    }
    let cfi = elf.cfi()?;
    let plan = if is_relocatable { None } else { Some(Plan::new(&elf)?) };
    let placement = plan.map_or(Placement::Relocatable, |plan| Placement::Linked(plan.address));
    let selection = Selection::new(&elf, &cfi);
    let sections: Vec<_> = cfi.sections.iter().map(super::cfi_file::OwnedCfi::cfi).collect();
    let made =
        from_sections(&sections, elf.abi, placement, &mut |section, function| selection.choose(section, function))
            .map_err(|error| error.to_string())?;
    let addition = match &plan {
        Some(plan) => plan.add(&elf, &made.written.bytes)?,
        None => relocatable(&elf, &cfi, &made)?,
    };
    check(source.with(&addition), &made.written.bytes, profile)?;
    Ok((addition, Report::new(&elf, &cfi, &made, plan.as_ref())))
}

/// What an object file gets.
fn relocatable(elf: &Elf<'_>, cfi: &AllCfi, made: &FromCfi) -> Result<Addition, String> {
    let mut starts = Vec::new();
    for relocation in &made.written.relocations {
        let section = &cfi.sections[made.origins[relocation.function]];
        let fde = made.functions[relocation.function].fde;
        let target = section.start_of(fde);
        let target = target
            .ok_or_else(|| format!("the FDE at {fde:#x} of {} has no relocation for its function", section.name))?;
        starts.push((relocation.offset, target.symbol, target.addend));
    }
    append::relocatable(elf, &made.written.bytes, &starts)
}

/// Reads the copy before it is written: it must have one section, this one, and the section must follow the rules.
fn check(copy: Bytes<'_>, section: &[u8], profile: ProfileName) -> Result<(), String> {
    let input = Input::parse(copy)?;
    let [table] = &input.tables[..] else {
        return Err(format!("the copy would have {} SFrame sections", input.tables.len()));
    };
    if table.data.len() != section.len() || (!input.is_relocatable && *table.data != *section) {
        return Err("the copy would not have the section where it should be".to_owned());
    }
    let surroundings = Surroundings { address: table.address, text: &input.text, abi: input.abi };
    let mut errors = Vec::new();
    validate(&table.data, &surroundings, profile.rules(), &mut |finding| {
        if finding.severity == Severity::Error && errors.len() < MAX_FINDINGS {
            errors.push(finding.error.to_string());
        }
    });
    if errors.is_empty() {
        return Ok(());
    }
    Err(format!("the section would not be valid ({}): {}; nothing was written", profile.name(), errors.join("; ")))
}
