//! Scenarios of processes: the program is the user's, and what it will do is learned from a first run.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Asked, Model, Origin, Scenario};
use crate::Error;
use crate::guest::Program;
use crate::machine::{Machine, ProcessMachine, Shown};
use crate::scenario::parse_place;
use crate::trace::{Action, Observer, Point, RegisterSet, Run};
use crate::user::process::{self, Arrival, Contexts, Launch, Mapped};

/// The signal that arrives everywhere: programs use it for themselves (Linux include/uapi/asm-generic/signal.h).
const SIGUSR1: u32 = 10;

/// A process that has run once, without an observer. Every other run of it is the same.
#[derive(Debug)]
pub struct Traced {
    /// How it is launched, with all its signals.
    pub launch: Launch,
    /// What it has shown.
    pub shown: Shown,
    /// How many instructions it has started.
    pub executed: u64,
    /// The instructions, with their sizes in bytes.
    pub instructions: BTreeMap<u64, u32>,
    /// The files that it has mapped as code.
    pub files: Vec<Mapped>,
}

impl Traced {
    fn of(launch: Launch) -> Result<Self, Error> {
        let (traced, stacks) = Self::once(launch)?;
        let maker = traced.launch.contexts.maker;
        let (traced, stacks, maker) = match maker {
            Some(_) => (traced, stacks, maker),
            None => {
                let program = traced.program()?;
                let maker = program.guest.symbols.function_named("makecontext").map(|maker| maker.address);
                let maker = maker.filter(|maker| traced.instructions.contains_key(maker));
                if maker.is_none() {
                    return Ok(traced);
                }
                // Once more, now that it is known where contexts are made.
                let contexts = Contexts { maker, stacks: Vec::new() };
                let (traced, stacks) = Self::once(Launch { contexts, ..traced.launch })?;
                (traced, stacks, maker)
            }
        };
        let contexts = Contexts { maker, stacks };
        Ok(Self { launch: Launch { contexts, ..traced.launch }, ..traced })
    }

    /// Runs it, and tells on which stacks it has made contexts, if it is known where.
    fn once(launch: Launch) -> Result<(Self, Vec<Range<u64>>), Error> {
        let mut machine = ProcessMachine::new(&launch, None)?;
        let argument = RegisterSet::new(launch.cpu, launch.cpu.arguments.first().copied());
        let mut seen =
            Executed { sizes: FxHashMap::default(), maker: launch.contexts.maker, argument, stacks: Vec::new() };
        let ended = machine.drive(&mut seen);
        let shown = machine.shown().cloned();
        let executed = ended.map_err(|error| with_output(error, shown.as_ref()))?.executed;
        let shown = shown.ok_or_else(|| Error::Internal(format!("{}: it has shown nothing", launch.name())))?;
        drop(machine);
        let instructions: BTreeMap<u64, u32> = seen.sizes.into_iter().collect();
        let (_, files) = process::program(&launch, &shown.kernel, &instructions)?;
        Ok((Self { launch, shown, executed, instructions, files }, seen.stacks))
    }

    /// The program that the process was.
    ///
    /// # Errors
    ///
    /// As [`process::program`].
    pub fn program(&self) -> Result<Program, Error> {
        process::program(&self.launch, &self.shown.kernel, &self.instructions).map(|(program, _)| program)
    }
}

/// Notes which instructions are executed, and on which stacks contexts are made.
#[derive(Debug)]
struct Executed {
    sizes: FxHashMap<u64, u32>,
    maker: Option<u64>,
    argument: RegisterSet,
    stacks: Vec<Range<u64>>,
}

impl Observer for Executed {
    fn point(&mut self, at: &Point<'_>) -> Action {
        self.sizes.insert(at.pc, at.size);
        if self.maker == Some(at.pc) {
            let mut context = [0];
            at.read_values(&self.argument, &mut context);
            self.stacks.extend(process::context_stack(|address| at.memory.read_u64(address), context[0]));
        }
        Action::Continue
    }
}

/// An error with the last line that the process has written to standard error: it often says why.
fn with_output(error: Error, shown: Option<&Shown>) -> Error {
    let Some(shown) = shown else { return error };
    let [_, complaint] = shown.kernel.output();
    let text = String::from_utf8_lossy(&complaint.bytes);
    let Some(last) = text.lines().rev().find(|line| !line.trim().is_empty()) else { return error };
    match error {
        Error::Run { guest, reason, at, executed } => {
            Error::Run { guest, reason: format!("{reason}; it has written {last:?}"), at, executed }
        }
        other => other,
    }
}

/// The scenario of a process. It is run here, once or (if signals arrive) twice, to learn what it will do.
///
/// # Errors
///
/// [`Error::Run`] when it does not come to its end, [`Error::Usage`] for a place that it does not have or a signal that never arrives,
/// else as [`ProcessMachine::new`] and [`process::program`].
pub fn process(launch: Launch, asked: &Asked) -> Result<Scenario, Error> {
    let cpu = launch.cpu;
    let name = launch.name().trim_start_matches('/').to_owned();
    let max_visits = asked.visits();
    let mut traced = Traced::of(launch)?;
    let mut program = traced.program()?;
    if !asked.signals.is_empty() || !asked.signal_everywhere.is_empty() {
        let signals = arrivals(&program, asked, max_visits)?;
        traced = Traced::of(Launch { signals, ..traced.launch })?;
        if traced.shown.delivered == 0 {
            return Err(Error::Usage(format!(
                "no signal arrived: {name} does not come to these places with a handler for it"
            )));
        }
        program = traced.program()?;
    }
    let within = within(&program, &traced.files, &asked.within)?;
    let path = PathBuf::from(format!("scenarios/{}/{name}.toml", cpu.name));
    let source = super::process_text::source(&traced.launch, asked, max_visits)?;
    let mut scenario = Scenario::parse(&path, &source)?;
    scenario.text.within = within;
    scenario.origin = Origin::Process(Arc::new(traced));
    Ok(scenario)
}

impl Scenario {
    /// The same scenario, of which everything is known: a process has run once. Paths are relative to `root`.
    ///
    /// # Errors
    ///
    /// As [`process()`] and [`Launch::open`], with the name of the scenario's file.
    pub fn traced(self, root: &Path) -> Result<Self, Error> {
        let Some(wanted) = self.text.process.as_ref().filter(|_| self.process().is_none()) else { return Ok(self) };
        let asked = Asked {
            within: self.text.within.clone(),
            max_visits: Some(self.text.max_visits),
            signals: wanted.signals.clone(),
            signal_everywhere: wanted.signal_everywhere.clone(),
        };
        let launch = wanted.launch(root, self.text.budget).and_then(|launch| {
            let reason = || format!("it is for {}, and the scenario for {}", launch.cpu.name, self.cpu.name);
            let is_same = launch.cpu.name == self.cpu.name;
            if is_same { Ok(launch) } else { Err(Error::Elf { path: wanted.file.clone(), reason: reason() }) }
        });
        let traced = launch.and_then(|launch| process(launch, &asked));
        let Self { origin, text, .. } = traced.map_err(|error| self.blame_key("[process]", error))?;
        Ok(Self { origin, text: super::Text { within: text.within, ..self.text }, ..self })
    }

    pub(super) fn untraced(&self) -> Error {
        Error::Internal(format!("{}: the process has not run before", self.name))
    }

    /// What it runs: a guest as the scenario wants it, or a process.
    ///
    /// # Errors
    ///
    /// As [`Machine::new`] and [`ProcessMachine::new`].
    pub fn live<'p>(&'p self, program: &'p Program) -> Result<Box<dyn Run + 'p>, Error> {
        if let Some(process) = self.process() {
            return Ok(Box::new(ProcessMachine::new(&process.launch, Some(&program.guest.symbols))?));
        }
        if self.text.process.is_some() {
            return Err(self.untraced());
        }
        let mut machine = Machine::new(program, &self.text.entry, self.text.budget)?;
        if self.text.cpu == Model::Max {
            machine.use_max_cpu();
        }
        Ok(Box::new(machine))
    }
}

/// The functions that these names mean: one, or all of a file.
fn within(program: &Program, files: &[Mapped], names: &[String]) -> Result<Vec<String>, Error> {
    let mut functions = Vec::new();
    let symbols = &program.guest.symbols;
    for name in names {
        if let Some(file) = files.iter().find(|file| file.name == *name) {
            let inside = symbols.functions().iter().filter(|function| file.range.contains(&function.address));
            functions.extend(inside.map(|function| function.name.clone()));
        } else if let Some(function) = symbols.function_named(name) {
            functions.push(function.name.clone());
        } else {
            let known: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            return Err(Error::Usage(format!(
                "--within {name}: no such function, and no such file{}; the files are {}",
                symbols.near(name),
                known.join(", ")
            )));
        }
    }
    Ok(functions)
}

/// Where signals arrive.
fn arrivals(program: &Program, asked: &Asked, max_visits: u64) -> Result<Vec<Arrival>, Error> {
    let mut arrivals = Vec::new();
    for text in &asked.signals {
        let wrong = |reason: &str| Error::Usage(format!("--signal {text}: {reason}; write 10@FUNCTION+0x8"));
        let (signal, place) = text.split_once('@').ok_or_else(|| wrong("where does it arrive?"))?;
        let signal = number(signal).ok_or_else(|| wrong("a signal is a number from 1 to 64"))?;
        let (place, visit) = place.split_once('#').unwrap_or((place, "1"));
        let visits =
            visit.parse().ok().filter(|visit| *visit > 0).ok_or_else(|| wrong("an arrival is a number from 1"))?;
        let (name, offset) = parse_place(place).map_err(|reason| wrong(&reason))?;
        let function = program.guest.symbols.function_named(&name);
        let at = function.map(|function| function.address.wrapping_add(offset));
        let at = at.ok_or_else(|| wrong(&no_function(program, &name)))?;
        arrivals.push(Arrival { signal, range: at..at + 1, visits, each: false });
    }
    for text in &asked.signal_everywhere {
        let wrong = |reason: &str| Error::Usage(format!("--signal-everywhere {text}: {reason}"));
        let (signal, name) = match text.split_once('@') {
            Some((signal, name)) => (number(signal).ok_or_else(|| wrong("a signal is a number from 1 to 64"))?, name),
            None => (SIGUSR1, text.as_str()),
        };
        let function = program.guest.symbols.function_named(name);
        let function = function.ok_or_else(|| wrong(&no_function(program, name)))?;
        let range = function.address..function.address + function.size;
        arrivals.push(Arrival { signal, range, visits: max_visits, each: true });
    }
    Ok(arrivals)
}

fn no_function(program: &Program, name: &str) -> String {
    format!("there is no function {name}{}", program.guest.symbols.near(name))
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=64).contains(number))
}
