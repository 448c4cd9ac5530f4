//! What can go wrong before there is anything to judge: loading, booting, running, scenarios.
//!
//! An unwinder's failure is a result, never one of these. Each error names the file, symbol or address, and says what to do
//! about it where that is not obvious.

use std::path::PathBuf;

/// An error of the harness or of its input.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not an ELF file that can be run, or not as it is asked for.
    #[error("{path}: cannot be used: {reason}")]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not a Linux image that can be read, or the image lacks what is asked for.
    #[error("{path}: {reason}")]
    Linux {
        /// The package or image.
        path: PathBuf,
        /// What is wrong, or what is missing.
        reason: String,
    },
    /// The guest lacks a symbol that the harness needs.
    #[error("{path}: no symbol `{symbol}`: {hint}{near}")]
    MissingSymbol {
        /// The guest.
        path: PathBuf,
        /// The symbol's name.
        symbol: String,
        /// What it is needed for.
        hint: &'static str,
        /// Symbols that may be meant, in words.
        near: String,
    },
    /// A file has no readable SFrame section.
    #[error("{path}: {reason}")]
    Sframe {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A scenario is malformed or contradicts itself.
    #[error("{path}: {reason}")]
    Scenario {
        /// The TOML file.
        path: PathBuf,
        /// What is wrong, with line and column where the TOML itself is malformed.
        reason: String,
    },
    /// A frozen case is malformed.
    #[error("{path}: {reason}")]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its key, or with line and column where the TOML itself is malformed.
        reason: String,
    },
    /// The guest did something that guests must not do.
    #[error("guest {guest}: {reason} at {at}, after {executed} instructions")]
    Run {
        /// The guest's name.
        guest: String,
        /// What it did.
        reason: String,
        /// The instruction, as symbol+offset.
        at: String,
        /// How many instructions had been started.
        executed: u64,
    },
    /// The emulator refused a request of the harness.
    #[error("emulator: {doing}: {reason}")]
    Emulator {
        /// The request.
        doing: &'static str,
        /// Unicorn's answer.
        reason: String,
    },
    /// A log is malformed, or does not match the guest or scenario that it is replayed with.
    #[error("log of {run}: event at byte {at}: {reason}")]
    Log {
        /// Which run.
        run: String,
        /// The offset in its events, in bytes.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// An unwinder that runs as a process of its own cannot be asked.
    #[error("unwinder {name}: {reason}")]
    Unwinder {
        /// Its name, or the command that starts it.
        name: String,
        /// Why.
        reason: String,
    },
    /// What a scenario asks for cannot be had from its guest.
    #[error("{path}: {key}: {source}")]
    OfScenario {
        /// The TOML file.
        path: PathBuf,
        /// The key that asks for it, with its value.
        key: String,
        /// Why.
        source: Box<Error>,
    },
    /// The user has stopped the program.
    #[error("interrupted")]
    Interrupted,
    /// A mistake of the harness itself.
    #[error("internal error, please report it: {0}")]
    Internal(String),
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
}

/// Turns the result of writing to standard output into ours.
///
/// # Errors
///
/// [`Error::File`].
pub fn printed(result: std::io::Result<()>) -> Result<(), Error> {
    result.map_err(|source| Error::File { path: "standard output".into(), source })
}
