//! `--elf FILE --process`: a program, run as a process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Error;
use crate::recording::{ARGUMENTS, word};
use crate::scenario::{Asked, ProcessText, Scenario, process};
use crate::user::process::{DEFAULT_BUDGET, Written};

/// A program, and what it sees.
#[derive(Debug, Default, Clone, Args)]
pub(super) struct OfProcess {
    /// Run the program of --elf as a process, from its first instruction to its exit; its arguments come last, behind `--`
    #[arg(long, requires = "elf", conflicts_with = "function")]
    pub(super) process: bool,
    /// With --process: the folder that it sees as `/`, with its dynamic loader and libraries; `/` for those of this machine
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// With --process: the vDSO; without one it has none
    #[arg(long, value_name = "FILE")]
    vdso: Option<PathBuf>,
    /// With --process: a variable of its environment, which is empty otherwise (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// With --process: a signal, and where it arrives: `10@qsort+0x8`, at the third arrival there `10@qsort+0x8#3` (may be repeated)
    #[arg(long, value_name = "N@PLACE")]
    signal: Vec<String>,
    /// With --process: a signal arrives before each instruction of this function: `qsort`, with another signal than 10 `12@qsort`
    #[arg(long, value_name = "FUNCTION")]
    signal_everywhere: Vec<String>,
    /// With --process: only points in this function, or in this file (`libc.so.6`) (may be repeated)
    #[arg(long, value_name = "FUNCTION|FILE")]
    within: Vec<String>,
    /// With --process: how many arrivals at each instruction are points, besides later ones in a new state [default: 2]
    #[arg(long, value_name = "N")]
    max_visits: Option<std::num::NonZeroU64>,
    /// With --process: how many instructions it may run [default: 100,000,000]
    #[arg(long, value_name = "N")]
    budget: Option<std::num::NonZeroU64>,
    /// With --process: the arguments of the program
    #[arg(id = "program_arguments", last = true, value_name = "ARGS")]
    program_arguments: Vec<String>,
}

impl OfProcess {
    /// The scenario of the process, if one is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for what only a process can have, without one; else what keeps the program from being loaded.
    pub(super) fn scenario(&self, file: Option<&Path>) -> Result<Option<Scenario>, Error> {
        let Some(file) = file.filter(|_| self.process) else { return self.refuse_without_process().map(|()| None) };
        let text = ProcessText {
            file: file.to_path_buf(),
            sysroot: self.sysroot.clone(),
            vdso: self.vdso.clone(),
            arguments: self.program_arguments.clone(),
            env: self.env.clone(),
            ..ProcessText::default()
        };
        let launch = text.launch(Path::new(""), self.budget.map_or(DEFAULT_BUDGET, Into::into))?;
        let asked = Asked {
            within: self.within.clone(),
            max_visits: self.max_visits.map(Into::into),
            signals: self.signal.clone(),
            signal_everywhere: self.signal_everywhere.clone(),
        };
        process(launch, &asked).map(Some)
    }

    /// The options, as a command has them; the arguments of the program stand last.
    pub(super) fn words(&self) -> String {
        if !self.process {
            return String::new();
        }
        let path = |path: &PathBuf| word(&path.to_string_lossy());
        let one = |option: &str, value: Option<String>| value.map(|value| format!(" {option} {value}"));
        let many = |option: &str, values: &[String]| -> String {
            values.iter().map(|value| format!(" {option} {}", word(value))).collect()
        };
        let single = [
            one("--sysroot", self.sysroot.as_ref().map(path)),
            one("--vdso", self.vdso.as_ref().map(path)),
            one("--max-visits", self.max_visits.map(|visits| visits.to_string())),
            one("--budget", self.budget.map(|budget| budget.to_string())),
        ];
        let mut words = " --process".to_owned();
        words.extend(single.into_iter().flatten());
        words += &many("--env", &self.env);
        words += &many("--signal", &self.signal);
        words += &many("--signal-everywhere", &self.signal_everywhere);
        words += &many("--within", &self.within);
        if !self.program_arguments.is_empty() {
            let arguments: Vec<String> = self.program_arguments.iter().map(|argument| word(argument)).collect();
            words += ARGUMENTS;
            words += &arguments.join(" ");
        }
        words
    }

    /// Refuses what means nothing without `--process`. clap does not: what an option requires is dropped if it conflicts with another
    /// one that is given, as `--call`.
    fn refuse_without_process(&self) -> Result<(), Error> {
        const ALONE: &str = "it needs --elf FILE --process";
        const OF_SCENARIO: &str = "it needs --elf FILE --process; of others, the scenario says it (docs/scenario.md)";
        const POINTS: &str =
            "it needs --elf FILE --process; elsewhere, --function NAME selects the points in a function";
        let given = [
            ("--sysroot", self.sysroot.is_some(), ALONE),
            ("--vdso", self.vdso.is_some(), ALONE),
            ("--env", !self.env.is_empty(), ALONE),
            ("--signal", !self.signal.is_empty(), ALONE),
            ("--signal-everywhere", !self.signal_everywhere.is_empty(), ALONE),
            ("--within", !self.within.is_empty(), POINTS),
            ("--max-visits", self.max_visits.is_some(), OF_SCENARIO),
            ("--budget", self.budget.is_some(), OF_SCENARIO),
            ("arguments behind `--`", !self.program_arguments.is_empty(), ALONE),
        ];
        match given.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((option, _, reason)) => Err(Error::Usage(format!("{option}: {reason}"))),
            None => Ok(()),
        }
    }
}

/// Prints what the processes of these scenarios have shown.
pub(super) fn write(scenarios: &[Scenario], out: &mut dyn Write) -> io::Result<()> {
    for process in scenarios.iter().filter_map(|scenario| scenario.process()) {
        let kernel = &process.shown.kernel;
        let status = process.shown.status.map_or("?".to_owned(), |status| status.to_string());
        write!(out, "{}: exit status {status}, ", process.launch.name().trim_start_matches('/'))?;
        write!(out, "{} instructions, {} system calls", process.executed, kernel.system_calls())?;
        if process.shown.delivered > 0 {
            write!(out, ", {} signals from outside", process.shown.delivered)?;
        }
        writeln!(out)?;
        for file in &process.files {
            writeln!(out, "  {:#x}..{:#x} {}", file.range.start, file.range.end, file.name)?;
        }
        for (name, written) in ["standard output", "standard error"].iter().zip(kernel.output()) {
            show(name, written, out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Prints what was written, without what a terminal would take for a command.
fn show(name: &str, written: &Written, out: &mut dyn Write) -> io::Result<()> {
    if written.total == 0 {
        return Ok(());
    }
    let kept = written.bytes.len() as u64;
    let cut = if kept < written.total { format!(", of which the first {kept} are shown") } else { String::new() };
    writeln!(out, "  {name}, {} bytes{cut}:", written.total)?;
    for line in String::from_utf8_lossy(&written.bytes).lines() {
        let plain: String =
            line.chars().map(|it| if it.is_control() && it != '\t' { '\u{fffd}' } else { it }).collect();
        writeln!(out, "  | {plain}")?;
    }
    Ok(())
}
