//! The command line: commands, options and exit status. One file for each command.

mod atlas;
mod check;
mod explain;
mod fidelity;
mod findings;
mod judge;
mod linux;
mod list;
mod output;
mod process;
mod run;
mod selection;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::file::Console;
use crate::interrupt::Interrupt;
use crate::{Error, sframe};

/// Interrupts small guests before every instruction and judges stack unwinders by a truth that uses no unwind data.
///
/// Without a command: run everything and print one table.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
    /// The folder that holds `scenarios` and `guests` [default: the current one, else where this program was built]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    every gate holds
  1    a gate is broken, or the log that is judged is partial
  2    wrong usage, input or output: also a guest that fails, while the others are judged
  3    a run is void: the witnesses of the truth contradict each other, or the guest calls without end
  130  interrupted (SIGINT, SIGTERM): what is known is in FILE.partial, and FILE is as it was; a second signal ends at once

If several apply: 130, 2, 3, 1. A reader that closes standard output (`| head`) changes nothing of this.";

const CHECK_STATUS: &str = "\
Exit status:
  0    every wrong row is listed with its reason ([[wrong-rows]] of a scenario)
  1    a wrong row is not listed, or a listed function has no wrong rows
  2    wrong usage, input or output: also a guest that fails, while the others are judged
  3    a run is void: the witnesses of the truth contradict each other, or the guest calls without end
  130  interrupted (SIGINT, SIGTERM): what is known is in FILE.partial, and FILE is as it was; a second signal ends at once";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and print one table
    #[command(after_help = EXIT_STATUS)]
    Run(run::Arguments),
    /// Judge the recorded runs of `run --log` again, without emulation, and print the same table
    #[command(after_help = EXIT_STATUS)]
    Judge(judge::Arguments),
    /// Compare the unwind rows of guests with the truth, function by function, without any walk
    #[command(after_help = CHECK_STATUS)]
    Check(check::Arguments),
    /// List the scenarios, their variants and their unwinders; or say what is in Linux images
    List(list::Arguments),
    /// Run the scenarios with return hooks, and print where the original addresses are and what unwinders make of it
    Atlas(atlas::Arguments),
    /// Run everything and print which open claims (docs/claims.toml) it confirms, as Markdown
    Findings(findings::Arguments),
    /// Compare the guests' entry, switch and tracer code with that of Linux images: what an unwinder could notice, side by side
    Fidelity(fidelity::Arguments),
    /// Explain one point in full: registers, code, truth, and each walk with the words that it read
    Explain(explain::Arguments),
    /// Dump, validate or encode the SFrame section of a file
    Sframe(sframe::Arguments),
}

/// Every gate holds.
const HOLDS: u8 = 0;
/// A gate is broken.
const BROKEN: u8 = 1;
/// Wrong usage or input; clap uses the same.
pub const USAGE: u8 = 2;
/// A run is void.
const VOID: u8 = 3;

impl Cli {
    /// Executes the command and returns the exit status. Results go to `out`, progress to the terminal, if there is one. No
    /// signal is looked for.
    ///
    /// # Errors
    ///
    /// As [`Cli::execute_on`].
    pub fn execute(&self, out: &mut dyn Write) -> Result<u8, Error> {
        let (err, interrupt) = (&mut std::io::sink(), Interrupt::default());
        self.execute_on(&mut Console { out, document: None, err, interrupt })
    }

    /// Executes the command and returns the exit status.
    ///
    /// # Errors
    ///
    /// Whatever prevents the work; its exit status is [`USAGE`], or [`crate::interrupt::STATUS`] for [`Error::Interrupted`].
    pub fn execute_on(&self, console: &mut Console<'_>) -> Result<u8, Error> {
        let root = self.root.clone().unwrap_or_else(default_root);
        match &self.command {
            None => run::execute(&root, &self.run, console),
            Some(Command::Run(arguments)) => run::execute(&root, arguments, console),
            Some(Command::Judge(arguments)) => judge::execute(arguments, console),
            Some(Command::Check(arguments)) => check::execute(&root, arguments, console),
            Some(Command::List(arguments)) => list::execute(&root, arguments, console),
            Some(Command::Atlas(arguments)) => atlas::execute(&root, arguments, console),
            Some(Command::Findings(arguments)) => findings::execute(&root, arguments, console),
            Some(Command::Fidelity(arguments)) => fidelity::execute(&root, arguments, console),
            Some(Command::Explain(arguments)) => explain::execute(&root, arguments, console),
            Some(Command::Sframe(arguments)) => sframe::execute(arguments, console),
        }
    }
}

fn default_root() -> PathBuf {
    // The empty path: messages then name `scenarios/...` as the user would.
    if Path::new("scenarios").is_dir() { PathBuf::new() } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) }
}
