//! One point, told in full: registers, code, truth, and each walk with the memory words that gave each of its frames.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;

use kunwind::{Claims, CodeAddress, End, Frame, Regs, Source, StackBounds, Step, Target, Unwinder, WalkState};

use crate::Error;
use crate::machine::{Action, Interrupt, Observer, RegisterSet};
use crate::oracle::{Oracle, Truth, Witnesses};
use crate::scenario::{Scenario, Variant, parse_place};
use crate::subject::{Live, Subject};
use crate::sweep::{MAX_FRAMES, Prepared, Trial};

/// How many instructions are shown on each side of the point.
const CONTEXT: usize = 5;

/// The name of a point: `leaf+0x8#1`; without an offset the function's first instruction, without a number the first
/// arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The function.
    pub function: String,
    /// From its start, in bytes.
    pub offset: u64,
    /// The arrival, from 1.
    pub visit: u64,
}

impl std::str::FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, visit) = text.split_once('#').unwrap_or((text, "1"));
        let (function, offset) = parse_place(place)?;
        match visit.parse() {
            Ok(visit) if visit > 0 => Ok(Self { function, offset, visit }),
            _ => Err(format!("{text:?}: the arrival behind # counts from 1")),
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}+{:#x}#{}", self.function, self.offset, self.visit)
    }
}

/// Runs a scenario's variant and explains one point of it.
///
/// # Errors
///
/// Those of a run, and [`Error::Usage`] when the guest never arrives at the point.
pub fn explain(
    root: &Path,
    scenario: &Scenario,
    variant: &Variant,
    subjects: &[Subject],
    point: &Point,
) -> Result<String, Error> {
    let prepared = Prepared::load(root, scenario, variant)?;
    let function = prepared.guest.function(&point.function)?;
    let address = function.address + point.offset;
    if prepared.listing.line(address).is_none() || point.offset >= function.size {
        return Err(Error::Usage(format!("{point} is not the start of an instruction of {}", function.name)));
    }
    let mut watch = Watch {
        prepared: &prepared,
        scenario,
        subjects,
        oracle: prepared.oracle(Witnesses::default()),
        address,
        arrivals: 0,
        wanted: point.visit,
        text: None,
    };
    prepared.machine(&scenario.text.entry)?.run(&mut watch, scenario.text.budget)?;
    let Some(body) = watch.text else {
        let arrivals = watch.arrivals;
        return Err(Error::Usage(format!("{}: the guest arrives {arrivals} times at {point}", scenario.name)));
    };
    let testimony = watch.oracle.finish(&scenario.text.never_resumes);
    let mut text = format!("{} {point}", scenario.name);
    if !variant.name.is_empty() {
        let _ = write!(text, " [{}]", variant.name);
    }
    let _ = match &testimony.contradiction {
        Some(reason) => writeln!(text, "\nthe run is void: {reason}"),
        None => writeln!(text, "\nthe run is not void: the witnesses of the truth agree to its end"),
    };
    Ok(text + &body)
}

/// Waits for the point and writes it down.
struct Watch<'p> {
    prepared: &'p Prepared,
    scenario: &'p Scenario,
    subjects: &'p [Subject],
    oracle: Oracle<'p>,
    address: u64,
    arrivals: u64,
    wanted: u64,
    text: Option<String>,
}

impl Observer for Watch<'_> {
    fn interrupted(&mut self, at: &Interrupt<'_>) -> Action {
        self.oracle.observe(at);
        if at.pc == self.address && !self.oracle.is_void() {
            self.arrivals += 1;
            if self.arrivals == self.wanted {
                self.text = Some(self.describe(at));
            }
        }
        // To the end: only there is it known whether the truth was the truth.
        if self.oracle.is_void() { Action::Stop } else { Action::Continue }
    }
}

impl Watch<'_> {
    fn describe(&self, at: &Interrupt<'_>) -> String {
        let mut text = String::new();
        let mut regs = Regs::none();
        at.read(&RegisterSet::all(self.prepared.guest.arch), &mut regs);
        self.registers(&mut text, &regs);
        self.code(&mut text, at.pc);
        let truth = self.oracle.truth();
        self.truth(&mut text, truth);
        for subject in self.subjects {
            self.walk(&mut text, at, truth, subject, &regs);
        }
        text
    }

    fn registers(&self, text: &mut String, regs: &Regs) {
        let abi = self.prepared.guest.arch.abi();
        let _ = writeln!(text, "\nregisters");
        let known: Vec<_> = regs.iter().collect();
        for row in known.chunks(4) {
            for (register, value) in row {
                let _ = write!(text, "  {:>4} {value:#018x}", abi.register_name(*register));
            }
            text.push('\n');
        }
    }

    fn code(&self, text: &mut String, pc: u64) {
        let symbols = &self.prepared.guest.symbols;
        let _ = writeln!(text, "\ncode");
        let Some(function) = symbols.function_at(pc) else { return };
        let lines: Vec<_> = self.prepared.listing.range(function.address..function.address + function.size).collect();
        let here = lines.iter().position(|line| line.address == pc).unwrap_or(0);
        for line in &lines[here.saturating_sub(CONTEXT)..lines.len().min(here + CONTEXT + 1)] {
            let mark = if line.address == pc { "->" } else { "  " };
            let _ = writeln!(text, "  {mark} {:<24} {}", symbols.name(line.address), line.text);
        }
    }

    /// A stack address relative to its stack, which says more than the number.
    fn place(&self, address: u64) -> String {
        let stacks = &self.prepared.layout.stacks;
        match self.prepared.layout.stack_of(address) {
            Some(index) => {
                format!("{address:#x} ({} stack top-{:#x})", stacks[index].name, stacks[index].bounds.high - address)
            }
            None => format!("{address:#x}"),
        }
    }

    fn truth(&self, text: &mut String, truth: &Truth) {
        let guest = &self.prepared.guest;
        let fp = guest.arch.callee_saved().iter().position(|register| *register == guest.arch.abi().fp);
        let _ = writeln!(text, "\ntruth, youngest activation first");
        for (number, entry) in (1..).zip(truth.activations()) {
            let name = guest.symbols.name_of_return(entry.resume);
            let _ = write!(text, "  {number:>3}  {name:<28} cfa {}", self.place(entry.cfa));
            if let Some(value) = fp.and_then(|index| entry.saved.get(index)) {
                let _ =
                    write!(text, "  {} {}", guest.arch.abi().register_name(guest.arch.abi().fp), self.place(*value));
            }
            text.push('\n');
        }
        if truth.activations().next().is_none() {
            let _ = writeln!(text, "  (none: the interrupted function is the outermost)");
        }
    }

    fn walk(&self, text: &mut String, at: &Interrupt<'_>, truth: &Truth, subject: &Subject, regs: &Regs) {
        let guest = &self.prepared.guest;
        let mut start_regs = Regs::none();
        for register in &subject.registers {
            if let Some(value) = regs.get(*register) {
                start_regs.set(*register, value);
            }
        }
        let start = Frame { pc: CodeAddress::Interrupted(at.pc), regs: start_regs, source: Source::Start };
        let mut buffer = vec![start; MAX_FRAMES];
        let bounds = &self.prepared.bounds;
        let recorded = Recorded {
            unwinder: &*subject.unwinder,
            live: Live { guest, memory: at.memory, stacks: bounds, task: None },
            steps: RefCell::default(),
        };
        let walk = kunwind::walk(&recorded, start, &recorded, &mut WalkState::new(bounds), &mut buffer);
        let trial = Trial { subject, prepared: self.prepared, omissible: &self.scenario.text.omissible };
        let verdict = trial.judge(truth, &walk);
        let _ = writeln!(text, "\n{}: {verdict} ({}, end: {})", subject.name, walk.claim, walk.end);
        let steps = recorded.steps.borrow();
        for (number, frame) in walk.frames.iter().enumerate() {
            let name = match frame.pc {
                CodeAddress::Interrupted(pc) => guest.symbols.name(pc),
                CodeAddress::Return(pc) => guest.symbols.name_of_return(pc),
            };
            let _ = write!(text, "  {number:>3}  {name:<28} {}", frame.source);
            for (register, value) in frame.regs.iter() {
                let _ = write!(text, "  {}={}", guest.arch.abi().register_name(register), self.place(value));
            }
            text.push('\n');
            if number > 0 {
                self.words(text, steps.get(number - 1));
            }
        }
        if walk.end != End::Full && steps.len() == walk.frames.len() {
            let _ = writeln!(text, "  then {}", walk.end);
            self.words(text, steps.last());
        }
    }

    fn words(&self, text: &mut String, step: Option<&Vec<Read>>) {
        for (address, value) in step.into_iter().flatten() {
            let value = value.map_or("unreadable".to_owned(), |value| format!("{value:#x}"));
            let _ = writeln!(text, "         read {} = {value}", self.place(*address));
        }
    }
}

/// An address that was read, and the word there, if it could be.
type Read = (u64, Option<u64>);

/// An unwinder and its target, with every read of every step written down.
struct Recorded<'a> {
    unwinder: &'a dyn Unwinder,
    live: Live<'a>,
    steps: RefCell<Vec<Vec<Read>>>,
}

impl Unwinder for Recorded<'_> {
    fn name(&self) -> &'static str {
        self.unwinder.name()
    }

    fn claims(&self) -> Claims {
        self.unwinder.claims()
    }

    fn step(&self, frame: &mut Frame, state: &mut WalkState, target: &dyn Target) -> Result<Step, kunwind::Error> {
        self.steps.borrow_mut().push(Vec::new());
        self.unwinder.step(frame, state, target)
    }
}

impl Target for Recorded<'_> {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let value = self.live.read_u64(address);
        if let Some(step) = self.steps.borrow_mut().last_mut() {
            step.push((address, value));
        }
        value
    }

    fn stacks(&self) -> &[StackBounds] {
        self.live.stacks()
    }
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn a_point_has_defaults() {
        let point = |text: &str| text.parse::<Point>();
        assert_eq!(point("leaf+0x8#2"), Ok(Point { function: "leaf".into(), offset: 8, visit: 2 }));
        assert_eq!(point("leaf"), Ok(Point { function: "leaf".into(), offset: 0, visit: 1 }));
        assert_eq!(point("leaf+12"), Ok(Point { function: "leaf".into(), offset: 12, visit: 1 }));
        assert!(point("leaf#0").is_err());
        assert!(point("+0x8").is_err());
        assert!(point("leaf+0xzz").is_err());
        assert!(point("").is_err());
    }
}
