//! `sframe dump`, `sframe validate` and `sframe encode`: print the SFrame section of a file, check it against the rules, and make
//! one from a file's CFI.

mod append;
mod cfi_file;
mod dump;
mod elf;
mod encode;
mod json;
mod report;
mod select;
mod source;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use kunwind::sframe::{ErrorKind, Profile, SFrameSection, Severity, Surroundings, Version, validate};

use crate::Error;
use crate::error::printed;
use crate::file::Console;
use elf::{Input, Table};
use source::Source;

const EXIT_STATUS: &str = "\
Exit status:
  0  all is read, or valid
  1  a function or row cannot be read, or the section is not valid
  2  wrong usage, or a file without an SFrame section that can be read";

/// The arguments of `sframe`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all functions and rows
    #[command(after_help = EXIT_STATUS)]
    Dump {
        /// An ELF file, or the raw bytes of a section (addresses are distances from its start)
        file: PathBuf,
        /// Print one JSON document: docs/sframe.md
        #[arg(long)]
        json: bool,
        /// Where a raw section is loaded: starts become addresses
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        base: Option<u64>,
    },
    /// Check every rule, and print all findings
    #[command(after_help = EXIT_STATUS)]
    Validate {
        /// An ELF file, or the raw bytes of a section (addresses are distances from its start)
        file: PathBuf,
        /// Which rules to check
        #[arg(long, value_enum, default_value_t = ProfileName::Spec)]
        profile: ProfileName,
        /// Where a raw section is loaded: starts become addresses
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        base: Option<u64>,
    },
    /// Copy an ELF file, add an SFrame section (version 3) made from its CFI, and print what it cannot hold
    #[command(after_help = encode::EXIT_STATUS)]
    Encode(encode::Arguments),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    /// The specification
    Spec,
    /// The specification, with notes instead of errors for what changes no row
    Lenient,
    /// What the kernel's reader of user space sections accepts
    Kernel,
}

impl ProfileName {
    const fn name(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Lenient => "lenient",
            Self::Kernel => "kernel",
        }
    }

    const fn rules(self) -> Profile {
        match self {
            Self::Spec => Profile::Spec,
            Self::Lenient => Profile::Lenient,
            Self::Kernel => Profile::Kernel,
        }
    }
}

/// An address, in hexadecimal with `0x` or in decimal.
fn parse_address(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    number.map_err(|error| format!("{error}; an address is a number such as 0x401000"))
}

/// Everything could be read, or is valid.
const GOOD: u8 = 0;
/// Something could not be read, or is not valid.
const BAD: u8 = 1;

/// Executes the command and returns the exit status.
///
/// # Errors
///
/// When the file cannot be read, or has no readable SFrame section.
pub fn execute(arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let out = &mut *console.out;
    match &arguments.command {
        Command::Dump { file, json, base } => dump(file, *json, *base, out),
        Command::Validate { file, profile, base } => check(file, *profile, *base, out),
        Command::Encode(arguments) => encode::encode(arguments, console),
    }
}

fn refuse(path: &Path, reason: String) -> Error {
    Error::Sframe { path: path.to_path_buf(), reason }
}

/// Parses a section. `None` if it is empty.
fn parse<'a>(path: &Path, input: &Input<'_>, table: &'a Table<'_>) -> Result<Option<SFrameSection<'a>>, Error> {
    let section = match table.section() {
        Ok(section) => section,
        Err(error) if error.kind == ErrorKind::Empty => return Ok(None),
        Err(error) => {
            let advice = match (error.kind, error.value) {
                (ErrorKind::UnsupportedVersion, 1) => "; version 1 is obsolete: assemble with GNU as 2.41 or later",
                _ => "; `unwind-harness sframe validate` lists all that is wrong",
            };
            return Err(refuse(path, format!("{}: {error}{advice}", table.name)));
        }
    };
    require_meaning(path, input, &section)?;
    Ok(Some(section))
}

/// GNU as 2.41 to 2.44 writes starts into object files that only its own linker understands.
fn require_meaning(path: &Path, input: &Input<'_>, section: &SFrameSection<'_>) -> Result<(), Error> {
    let header = section.header();
    if input.is_relocatable && header.version == Version::V2 && !header.is_pcrel() {
        let reason = "an object file with SFrame version 2 and without the flag PCREL: its starts are relative to their fields \
            although it says that they are relative to the section; link it first";
        return Err(refuse(path, reason.to_owned()));
    }
    Ok(())
}

/// Prints while it reads: several functions may share their rows, so that the text of a small section can be very long.
fn dump(path: &Path, json: bool, base: Option<u64>, out: &mut dyn Write) -> Result<u8, Error> {
    let (source, _) = Source::open(path)?;
    let input = Input::read(path, &source, base)?;
    if json && input.tables.len() != 1 {
        return Err(refuse(path, format!("{} SFrame sections: one JSON document holds one", input.tables.len())));
    }
    let parsed = input.tables.iter().map(|table| Ok((table, parse(path, &input, table)?)));
    let sections = parsed.collect::<Result<Vec<_>, Error>>()?;
    let mut out = BufWriter::new(out);
    let mut is_whole = true;
    for (table, section) in &sections {
        let written = match section {
            section if json => json::write(section.as_ref(), &mut out),
            None => writeln!(out, "{} is empty: there is no data", table.name).map(|()| true),
            Some(section) => dump::write(&input, table, section, &mut out),
        };
        let mut whole = true;
        printed(written.map(|written| whole = written))?;
        is_whole &= whole;
    }
    printed(out.flush())?;
    Ok(if is_whole { GOOD } else { BAD })
}

fn check(path: &Path, profile: ProfileName, base: Option<u64>, out: &mut dyn Write) -> Result<u8, Error> {
    let (source, _) = Source::open(path)?;
    let input = Input::read(path, &source, base)?;
    let mut status = GOOD;
    for table in &input.tables {
        if let Ok(section) = table.section() {
            require_meaning(path, &input, &section)?;
        }
        let surroundings = Surroundings { address: table.address, text: &input.text, abi: input.abi };
        let (mut errors, mut notes) = (0_usize, 0_usize);
        let mut result = Ok(());
        validate(&table.data, &surroundings, profile.rules(), &mut |finding| {
            let (severity, count) = match finding.severity {
                Severity::Error => ("error", &mut errors),
                Severity::Note => ("note", &mut notes),
            };
            *count += 1;
            if result.is_ok() {
                result = writeln!(out, "{}: {severity}: {}", table.name, finding.error);
            }
        });
        let remarks = result.and_then(|()| input.remarks(table, None, out));
        let verdict = if errors == 0 { "valid" } else { "not valid" };
        let (error_word, note_word) = (plural(errors, "error"), plural(notes, "note"));
        let name = profile.name();
        printed(remarks.and_then(|()| {
            writeln!(out, "{}: {verdict} ({name}): {errors} {error_word}, {notes} {note_word}", table.name)
        }))?;
        if errors != 0 {
            status = BAD;
        }
    }
    Ok(status)
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 { word.to_owned() } else { format!("{word}s") }
}
