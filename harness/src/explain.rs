//! One point, told in full: registers, code, truth, and each walk with the memory words that gave each of its frames.

use std::cell::RefCell;
use std::fmt::Write as _;

use kunwind::{
    Claims, End, Format, Frame, Regs, StackBounds, Step, Table, Target, Task, Trampoline, Unwinder, WalkState,
};

use crate::Error;
use crate::machine::{Interrupt, RegisterSet};
use crate::oracle::Truth;
use crate::prepared::Prepared;
use crate::scenario::parse_place;
use crate::subject::Live;
use crate::subject::MAX_FRAMES;
use crate::sweep::Trial;

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
        // Of a nested point the second exception's part names it; what stands behind a colon is its kind and start.
        let inner = text.rsplit('/').next().unwrap_or(text);
        let inner = inner.split(':').next().unwrap_or(inner);
        let (place, visit) = inner.split_once('#').unwrap_or((inner, "1"));
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

/// One point while it is told: the point that was asked for, and what has been written of it.
#[derive(Debug)]
pub(crate) struct Teller {
    address: u64,
    visit: u64,
    text: String,
}

impl Teller {
    /// Waits for a point.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] without its function, [`Error::Usage`] when it is inside an instruction.
    pub(crate) fn new(prepared: &Prepared, point: &Point) -> Result<Self, Error> {
        let function = prepared.guest.function(&point.function)?;
        let address = function.address.saturating_add(point.offset);
        if point.offset >= function.size || prepared.listing.line(address).is_none() {
            return Err(Error::Usage(format!("{point} is not the start of an instruction of {}", function.name)));
        }
        Ok(Self { address, visit: point.visit, text: String::new() })
    }

    /// Whether this is the point.
    pub(crate) fn wants(&self, address: u64, visit: u64) -> bool {
        (self.address, self.visit) == (address, visit)
    }

    /// What has been written; nothing if the point never came.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.text.is_empty()).then_some(self.text)
    }

    /// Tells how the machine stands: once for each point.
    pub(crate) fn machine(&mut self, prepared: &Prepared, at: &Interrupt<'_>) {
        let writer = Writer { prepared };
        let mut regs = Regs::none();
        at.read(&RegisterSet::all(prepared.guest.arch), &mut regs);
        writer.registers(&mut self.text, &regs);
        writer.code(&mut self.text, at.pc);
    }

    /// Tells one walk beside the truth.
    pub(crate) fn walk(&mut self, label: &str, trial: &Trial<'_>, start: Frame, live: &Live<'_>, truth: &Truth) {
        let writer = Writer { prepared: trial.prepared };
        writer.truth(&mut self.text, truth);
        writer.damage(&mut self.text, live);
        writer.walk(&mut self.text, label, trial, start, live, truth);
    }
}

/// Writes about one guest.
struct Writer<'p> {
    prepared: &'p Prepared,
}

impl Writer<'_> {
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
            let name = entry.place().name(&guest.symbols);
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

    /// What the walk reads differently than it is.
    fn damage(&self, text: &mut String, live: &Live<'_>) {
        for (address, value) in live.changed {
            let real = live.memory.read_u64(*address).map_or("unreadable".to_owned(), |real| self.place(real));
            let _ = writeln!(text, "damaged: {} reads {}, and is {real}", self.place(*address), self.place(*value));
        }
    }

    fn walk(&self, text: &mut String, label: &str, trial: &Trial<'_>, start: Frame, live: &Live<'_>, truth: &Truth) {
        let guest = &self.prepared.guest;
        let mut buffer = vec![start; MAX_FRAMES];
        let recorded = Recorded { unwinder: &*trial.subject.unwinder, live, steps: RefCell::default() };
        let walk = trial.walk_with(&recorded, start, &recorded, &mut buffer);
        let verdict = trial.judge(truth, &walk);
        let _ = writeln!(text, "\n{label}: {verdict} ({}, end: {})", walk.claim, walk.end);
        let steps = recorded.steps.borrow();
        for (number, frame) in walk.frames.iter().enumerate() {
            let name = guest.symbols.name_of(frame.pc);
            let _ = write!(text, "  {number:>3}  {name:<28} {}", frame.source);
            let abi = guest.arch.abi();
            // A start may know them all, and the machine's registers are told once already.
            for register in [Some(abi.fp), abi.ra, Some(abi.sp)].into_iter().flatten() {
                if let Some(value) = frame.regs.get(register) {
                    let _ = write!(text, "  {}={}", abi.register_name(register), self.place(value));
                }
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
    live: &'a Live<'a>,
    steps: RefCell<Vec<Vec<Read>>>,
}

impl Unwinder for Recorded<'_> {
    fn name(&self) -> &'static str {
        self.unwinder.name()
    }

    fn claims(&self) -> Claims {
        self.unwinder.claims()
    }

    fn needs(&self) -> Option<kunwind::Format> {
        self.unwinder.needs()
    }

    fn fix(&self) -> kunwind::Fix {
        self.unwinder.fix()
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

    fn is_text(&self, address: u64) -> bool {
        self.live.is_text(address)
    }

    fn is_exception_entry(&self, address: u64) -> bool {
        self.live.is_exception_entry(address)
    }

    fn task(&self) -> Option<Task> {
        self.live.task()
    }

    fn table(&self, format: Format) -> Option<&dyn Table> {
        self.live.table(format)
    }

    fn trampoline(&self, address: u64) -> Option<Trampoline> {
        self.live.trampoline(address)
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
        let nested = point("leaf+0x8#1:irq/el1h_irq+0x14#3:nmi@regs");
        assert_eq!(nested, Ok(Point { function: "el1h_irq".into(), offset: 0x14, visit: 3 }));
        assert!(point("leaf#0").is_err());
        assert!(point("+0x8").is_err());
        assert!(point("leaf+0xzz").is_err());
        assert!(point("").is_err());
    }
}
