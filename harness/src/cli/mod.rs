//! The command line: commands, options and exit status. One file for each command.

mod atlas;
mod check;
mod diff;
mod documents;
mod explain;
mod export;
mod fidelity;
mod findings;
mod foreign;
mod judge;
mod linux;
mod list;
mod merge;
mod museum;
mod mutate;
mod names;
mod narrow;
mod output;
mod process;
mod revision;
mod run;
mod save;
mod selection;
mod snapshots;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anstream::ColorChoice;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::error::printed;
use crate::file::Console;
use crate::interrupt::Interrupt;
use crate::progress::Form;
use crate::report::json;
use crate::{Error, sframe};

/// Interrupts small guests before every instruction and judges stack unwinders by a truth that uses no unwind data.
///
/// Without a command: run everything and print one screen.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_STATUS, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
    /// The folder that holds `scenarios` and `guests` [default: the current one, else where this program was built]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(flatten)]
    talk: Talk,
}

/// How much is said, and in which colours.
#[derive(Debug, Args)]
struct Talk {
    /// Show no progress
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Say of each run that it has ended
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Whether text for people has colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    every gate holds
  1    a gate is broken, or the log that is judged is partial
  2    wrong usage, input or output: also a guest that fails, while the others are judged, and a run without any walk
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

const MUTATE_STATUS: &str = "\
Exit status:
  0    of each table, at least --least percent of the mutants that could be told apart were caught
  1    fewer were
  2    wrong usage, input or output: also a guest that fails, while the others are judged
  3    a run is void
  130  interrupted (SIGINT, SIGTERM): what is known is in FILE.partial, and FILE is as it was";

const DIFF_STATUS: &str = "\
Exit status:
  0    no verdict differs, and neither report has a run that the other lacks
  1    something differs
  2    wrong usage or input";

const MUSEUM_STATUS: &str = "\
Exit status:
  0    every bug is caught before its fix, as its exhibit says, and none is reported after it
  1    one is missed or still reported, or something was seen that no exhibit accounts for
  2    wrong usage, input or output: also a guest that fails or a run that is void, while the others are judged
  130  interrupted (SIGINT, SIGTERM)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios and print one screen: of a few scenarios a short table each, with their findings
    #[command(after_help = EXIT_STATUS)]
    Run(run::Arguments),
    /// Judge the recorded runs of `run --log` again, without emulation, and print the same screen
    #[command(after_help = EXIT_STATUS)]
    Judge(judge::Arguments),
    /// Put the reports of shards (`run --shard`) together: the report of the whole run
    #[command(after_help = EXIT_STATUS)]
    Merge(merge::Arguments),
    /// Compare two reports of --json, or the snapshots of two git revisions: which instructions have other verdicts
    #[command(after_help = DIFF_STATUS)]
    Diff(diff::Arguments),
    /// Compare the unwind rows of guests with the truth, function by function, without any walk
    #[command(after_help = CHECK_STATUS)]
    Check(check::Arguments),
    /// Plant mistakes in the unwind rows of guests, one at a time, and count those that `check` would miss
    #[command(after_help = MUTATE_STATUS)]
    Mutate(mutate::Arguments),
    /// List the scenarios, the unwinders that walk in them, and their variants; or say what is in Linux images
    List(list::Arguments),
    /// Run the scenarios with return hooks, and print where the original addresses are and what unwinders make of it
    Atlas(atlas::Arguments),
    /// Run everything and print what it says about the threads and the open claims (docs/findings.md), as Markdown
    Findings(findings::Arguments),
    /// Compare the guests' entry, switch and tracer code with that of Linux images: what an unwinder could notice, side by side
    Fidelity(fidelity::Arguments),
    /// Run the museum: historical bugs, each of which must be caught before its fix and not be reported after it
    #[command(after_help = MUSEUM_STATUS)]
    Museum(museum::Arguments),
    /// Explain one point in full: registers, code, truth, and each walk with the words that it read
    Explain(explain::Arguments),
    /// Write points as data: registers, stack, modules and the true trace, for other programs (docs/export.md)
    Export(export::Arguments),
    /// Dump, validate or encode the SFrame section of a file
    Sframe(sframe::Arguments),
    /// Print what completes this program's arguments in a shell: for bash, `source <(unwind-harness completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, of a command if one is named: `unwind-harness man run | man -l -`
    Man {
        /// The command
        command: Option<String>,
    },
    /// Print the JSON Schema of the JSON report (docs/recording.schema.json)
    #[command(hide = true)]
    Schema,
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
    /// Whether text for people has colours.
    #[must_use]
    pub const fn color(&self) -> ColorChoice {
        match self.talk.color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }

    /// Reads a command line, with the program's name first. What stands before a command is for every command, or it is refused: it
    /// would be passed over.
    ///
    /// # Errors
    ///
    /// Wrong usage, and what asks for help or the version.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        if let Some((name, _)) = matches.subcommand() {
            let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
            let own = command.get_arguments().filter(|argument| !argument.is_global_set());
            let mut own = own.filter(|argument| is_given(argument.get_id().as_str())).map(ToString::to_string);
            if let Some(misplaced) = own.next() {
                drop(own);
                let reason = format!("`{misplaced}` stands before the command `{name}`: write it behind");
                return Err(command.error(ErrorKind::ArgumentConflict, reason));
            }
        }
        Self::from_arg_matches(&matches)
    }

    /// How progress is shown.
    #[must_use]
    pub const fn progress(&self, is_terminal: bool) -> Form {
        match (self.talk.quiet, is_terminal) {
            (true, _) => Form::Silent,
            (false, true) => Form::Bar,
            (false, false) => Form::Lines,
        }
    }

    /// Whether each run is told that ends.
    #[must_use]
    pub const fn is_verbose(&self) -> bool {
        self.talk.verbose
    }

    /// Executes the command and returns the exit status. Results go to `out`, progress to the terminal, if there is one. No
    /// signal is looked for.
    ///
    /// # Errors
    ///
    /// As [`Cli::execute_on`].
    pub fn execute(&self, out: &mut dyn Write) -> Result<u8, Error> {
        let (err, interrupt) = (&mut std::io::sink(), Interrupt::default());
        self.execute_on(&mut Console { out, document: None, err, interrupt, progress: Form::Silent, verbose: false })
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
            Some(Command::Merge(arguments)) => merge::execute(arguments, console),
            Some(Command::Diff(arguments)) => diff::execute(&root, arguments, console),
            Some(Command::Check(arguments)) => check::execute(&root, arguments, console),
            Some(Command::Mutate(arguments)) => mutate::execute(&root, arguments, console),
            Some(Command::List(arguments)) => list::execute(&root, arguments, console),
            Some(Command::Atlas(arguments)) => atlas::execute(&root, arguments, console),
            Some(Command::Findings(arguments)) => findings::execute(&root, arguments, console),
            Some(Command::Fidelity(arguments)) => fidelity::execute(&root, arguments, console),
            Some(Command::Museum(arguments)) => museum::execute(&root, arguments, console),
            Some(Command::Explain(arguments)) => explain::execute(&root, arguments, console),
            Some(Command::Export(arguments)) => export::execute(&root, arguments, console),
            Some(Command::Sframe(arguments)) => sframe::execute(arguments, console),
            Some(Command::Completions { shell }) => completions(*shell, console.document()),
            Some(Command::Man { command }) => man(command.as_deref(), console.document()),
            Some(Command::Schema) => printed(json::write_schema(console.document())).map(|()| HOLDS),
        }
    }
}

/// Prints a shell's completions.
fn completions(shell: Shell, out: &mut dyn Write) -> Result<u8, Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "unwind-harness", &mut text);
    printed(out.write_all(&text)).map(|()| HOLDS)
}

/// Prints the manual page of the program, or of one of its commands.
fn man(command: Option<&str>, out: &mut dyn Write) -> Result<u8, Error> {
    let mut all = Cli::command();
    all.build(); // the commands then have the options that all share, and their full names
    let wanted = match command {
        None => all,
        Some(name) => match all.find_subcommand(name).filter(|found| !found.is_hide_set()) {
            Some(found) => found.clone(),
            None => return Err(Error::Usage(format!("man {name}: there is no such command; --help lists them"))),
        },
    };
    let mut text = Vec::new();
    printed(clap_mangen::Man::new(wanted).render(&mut text).and_then(|()| out.write_all(&text))).map(|()| HOLDS)
}

fn default_root() -> PathBuf {
    // The empty path: messages then name `scenarios/...` as the user would.
    if Path::new("scenarios").is_dir() { PathBuf::new() } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) }
}
