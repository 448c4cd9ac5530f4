//! `sframe dump`, `sframe validate` and `sframe encode`: print the SFrame section of a file, check it against the rules, and make
//! one from a file's CFI.

mod append;
mod cfi_file;
mod dump;
mod elf;
mod encode;
mod json;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use kunwind::sframe::{ErrorKind, Profile, SFrameSection, Severity, Surroundings, Version, validate};

use crate::Error;
use crate::error::printed;
use crate::file::Console;
use elf::{Input, Table};

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
    },
    /// Check every rule, and print all findings
    #[command(after_help = EXIT_STATUS)]
    Validate {
        /// An ELF file, or the raw bytes of a section (addresses are distances from its start)
        file: PathBuf,
        /// Which rules to check
        #[arg(long, value_enum, default_value_t = ProfileName::Spec)]
        profile: ProfileName,
    },
    /// Copy an ELF file, add an SFrame section (version 3) made from its CFI, and print what it cannot hold
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
        Command::Dump { file, json: true } => dump_json(file, out),
        Command::Dump { file, json: false } => dump_text(file, out),
        Command::Validate { file, profile } => check(file, *profile, out),
        Command::Encode(arguments) => encode::encode(arguments, console).map(|()| GOOD),
    }
}

fn refuse(path: &Path, reason: String) -> Error {
    Error::Sframe { path: path.to_path_buf(), reason }
}

/// Parses a section. `None` if it is empty.
fn parse<'a>(path: &Path, input: &Input, table: &'a Table) -> Result<Option<SFrameSection<'a>>, Error> {
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
fn require_meaning(path: &Path, input: &Input, section: &SFrameSection<'_>) -> Result<(), Error> {
    let header = section.header();
    if input.is_relocatable && header.version == Version::V2 && !header.is_pcrel() {
        let reason = "an object file with SFrame version 2 and without the flag PCREL: its starts are relative to their fields \
            although it says that they are relative to the section; link it first";
        return Err(refuse(path, reason.to_owned()));
    }
    Ok(())
}

fn dump_text(path: &Path, out: &mut dyn Write) -> Result<u8, Error> {
    let input = Input::load(path)?;
    let mut text = Vec::new();
    let mut status = GOOD;
    for table in &input.tables {
        let written = match parse(path, &input, table)? {
            None => writeln!(text, "{} is empty: there is no data", table.name).map(|()| true),
            Some(section) => dump::write(&input, table, &section, &mut text),
        };
        match written {
            Ok(true) => {}
            Ok(false) => status = BAD,
            Err(error) => return printed(Err(error)).map(|()| BAD),
        }
    }
    printed(out.write_all(&text))?;
    Ok(status)
}

fn dump_json(path: &Path, out: &mut dyn Write) -> Result<u8, Error> {
    let input = Input::load(path)?;
    let [table] = &input.tables[..] else {
        return Err(refuse(path, format!("{} SFrame sections: one JSON document holds one", input.tables.len())));
    };
    let document =
        match parse(path, &input, table)? {
            None => None,
            Some(section) => Some(json::document(&section).map_err(|error| {
                refuse(path, format!("{}: {error}; without --json the rest is printed", table.name))
            })?),
        };
    let text = serde_json::to_string(&document).map_err(|error| refuse(path, error.to_string()))?;
    printed(writeln!(out, "{text}"))?;
    Ok(GOOD)
}

fn check(path: &Path, profile: ProfileName, out: &mut dyn Write) -> Result<u8, Error> {
    let input = Input::load(path)?;
    let rules = match profile {
        ProfileName::Spec => Profile::Spec,
        ProfileName::Lenient => Profile::Lenient,
        ProfileName::Kernel => Profile::Kernel,
    };
    let mut status = GOOD;
    for table in &input.tables {
        if let Ok(section) = table.section() {
            require_meaning(path, &input, &section)?;
        }
        let surroundings = Surroundings { address: table.address, text: &input.text, abi: input.abi };
        let (mut errors, mut notes) = (0_usize, 0_usize);
        let mut result = Ok(());
        validate(&table.data, &surroundings, rules, &mut |finding| {
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
