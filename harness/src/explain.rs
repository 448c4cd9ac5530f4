//! Explains one point in full: registers, code, truth, and each walk with the memory words that gave each of its entries.

mod between;
mod stack;

use std::cell::RefCell;
use std::fmt::Write as _;

use crate::Error;
use crate::cpu::Regs;
use crate::experiment::{Arrival, Column, Visit};
use crate::guest::Program;
use crate::oracle::Truth;
use crate::scenario::{Part, parse_place};
use crate::subject::{End, GuestTarget, MAX_ENTRIES, Question, Reads};
use crate::trace::{Point, RegisterSet};
use crate::verdict::{Deviation, Judge, Verdict, WalkEntry, differences};
use stack::Drawing;

pub use between::{Between, two_points};

/// How many instructions are shown on each side of the point.
const CONTEXT: usize = 5;

/// The name of a point: `leaf+0x8#1`; without an offset the function's first instruction, without a number the first
/// arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointName {
    /// The function.
    pub function: String,
    /// From its start, in bytes.
    pub offset: u64,
    /// The arrival, from 1.
    pub visit: u64,
}

impl std::str::FromStr for PointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The second exception's part names a nested point; kind and start follow a colon.
        let inner = text.rsplit('/').next().unwrap_or(text);
        let inner = inner.split(':').next().unwrap_or(inner);
        let (place, visit) = inner.split_once('#').unwrap_or((inner, "1"));
        let (function, offset) = parse_place(place)?;
        match visit.parse() {
            Ok(visit) if visit > 0 => Ok(Self { function, offset, visit }),
            _ => Err(format!("{text:?}: the arrival after # counts from 1")),
        }
    }
}

impl std::fmt::Display for PointName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}+{:#x}#{}", self.function, self.offset, self.visit)
    }
}

/// Where a point is.
fn address_of(program: &Program, point: &PointName) -> Result<u64, Error> {
    let function = program.guest.function(&point.function)?;
    let address = function.address.saturating_add(point.offset);
    if point.offset >= function.size || program.listing.line(address).is_none() {
        return Err(Error::Usage(format!("{point} is not the start of an instruction of {}", function.name)));
    }
    Ok(address)
}

/// Waits for one point of an experiment and describes it in full.
#[derive(Debug)]
pub struct Explainer<'p> {
    program: &'p Program,
    judge: Judge<'p>,
    part: &'p Part,
    /// The truth that was told last: most walks share theirs.
    truth: String,
    drawing: Drawing,
    omissible: &'p [String],
    has_walk: bool,
    address: u64,
    visit: u64,
    text: String,
}

impl<'p> Explainer<'p> {
    /// Waits for a point, and for the walks of this part; a trace may leave out the functions `omissible`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSymbol`] without its function, [`Error::Usage`] when it is inside an instruction.
    pub fn new(
        program: &'p Program,
        point: &PointName,
        part: &'p Part,
        omissible: &'p [String],
    ) -> Result<Self, Error> {
        let address = address_of(program, point)?;
        let judge = Judge::of_program(program, omissible);
        let (visit, truth, text) = (point.visit, String::new(), String::new());
        let drawing = Drawing::default();
        Ok(Self { program, judge, part, truth, drawing, omissible, has_walk: false, address, visit, text })
    }

    /// The description; `None` if the guest never arrived at the point.
    #[must_use]
    pub fn finish(mut self) -> Option<String> {
        if !self.has_walk && !self.text.is_empty() {
            self.text.push_str("\nnone of these unwinders walks from here\n");
        }
        let drawing = self.drawing.text(self.program);
        self.text.push_str(&drawing);
        (!self.text.is_empty()).then_some(self.text)
    }

    fn wants(&self, at: Arrival) -> bool {
        (self.address, self.visit) == (at.pc, at.visit)
    }

    fn registers(&mut self, regs: &Regs) {
        let abi = self.program.guest.cpu.abi;
        let _ = writeln!(self.text, "\nregisters");
        let known: Vec<_> = regs.iter().collect();
        for row in known.chunks(4) {
            for (register, value) in row {
                let _ = write!(self.text, "  {:>4} {value:#018x}", abi.register_name(*register));
            }
            self.text.push('\n');
        }
    }

    fn code(&mut self, pc: u64) {
        let symbols = &self.program.guest.symbols;
        let _ = writeln!(self.text, "\ncode");
        let Some(function) = symbols.function_at(pc) else { return };
        let lines = self.program.listing.of(function);
        let here = lines.iter().position(|line| line.address == pc).unwrap_or(0);
        for line in &lines[here.saturating_sub(CONTEXT)..lines.len().min(here + CONTEXT + 1)] {
            let mark = if line.address == pc { "->" } else { "  " };
            let _ = writeln!(self.text, "  {mark} {:<24} {}", symbols.name(line.address), line.text);
        }
    }

    /// Tells the truth, unless it is that of the walk before.
    fn truth(&mut self, truth: &Truth) -> bool {
        let told = self.told(truth);
        let is_other = told != self.truth;
        if is_other {
            self.text.push_str(&told);
            self.truth = told;
        }
        is_other
    }

    fn told(&self, truth: &Truth) -> String {
        let Program { guest, layout, .. } = self.program;
        let fp = guest.cpu.fp_index();
        let mut text = String::from("\ntruth, youngest activation first\n");
        for (number, entry) in (1..).zip(truth.activations().take(MAX_ENTRIES)) {
            let name = entry.place().name(&guest.symbols);
            let _ = write!(text, "  {number:>3}  {name:<28} cfa {}", layout.name(entry.cfa));
            if let Some(value) = fp.and_then(|index| entry.kept(index)) {
                let _ = write!(text, "  {} {}", guest.cpu.abi.register_name(guest.cpu.abi.fp), layout.name(value));
            }
            text.push('\n');
        }
        let older = truth.activations().skip(MAX_ENTRIES).count();
        if older > 0 {
            let _ = writeln!(text, "  and {older} older activations");
        }
        if truth.activations().next().is_none() {
            let _ = writeln!(text, "  (none: the interrupted function is the outermost)");
        }
        text
    }

    /// The damaged words, which the walk reads differently.
    fn damage(&mut self, target: &GuestTarget<'_>) {
        let layout = &self.program.layout;
        for (address, value) in target.changed {
            let real = target.memory.read_u64(*address).map_or("unreadable".to_owned(), |real| layout.name(real));
            let (at, value) = (layout.name(*address), layout.name(*value));
            let _ = writeln!(self.text, "damaged: {at} reads {value}, and is {real}");
        }
    }

    fn asked(&mut self, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let Program { guest, layout, .. } = self.program;
        let abi = guest.cpu.abi;
        let (reads, why) = (Reads::default(), RefCell::default());
        let target = question.target.with_reads(&reads);
        let question = Question { target: &target, why: Some(&why), ..*question };
        let (drawing, label) = (RefCell::new(std::mem::take(&mut self.drawing)), column.label());
        let mut entries = String::new();
        let mut number = 0;
        let words = |text: &mut String| {
            for (address, value) in reads.borrow_mut().drain(..) {
                drawing.borrow_mut().read(&label, address, value);
                let value = value.map_or("unreadable".to_owned(), |value| format!("{value:#x}"));
                let _ = writeln!(text, "         read {} = {value}", layout.name(address));
            }
        };
        let (verdict, walk) = self.judge.walk(column.subject, &question, truth, &mut |entry| {
            let _ = write!(entries, "  {number:>3}  {:<28} {}", guest.symbols.name_of(entry.pc), entry.source);
            // Only these: the start may know all registers, which are printed already.
            for register in [Some(abi.fp), abi.ra, Some(abi.sp)].into_iter().flatten() {
                if let Some(value) = entry.regs.get(register) {
                    let _ = write!(entries, "  {}={}", abi.register_name(register), layout.name(value));
                }
            }
            entries.push('\n');
            words(&mut entries);
            number += 1;
        });
        let outcome = walk.outcome;
        let why = why.into_inner();
        if outcome.end != End::Full {
            let _ = writeln!(entries, "  then {why}");
            words(&mut entries);
        }
        let differences = differences(guest.cpu, column.subject.about().compares, truth, walk.entries);
        let first = first_difference(self.program, truth, walk.entries, self.omissible);
        let first = first.filter(|_| !matches!(verdict, Verdict::Exact | Verdict::Cautious));
        self.drawing = drawing.into_inner();
        let _ = write!(self.text, "\n{label}: {verdict} ({}, end: {why})\n{entries}", outcome.claim);
        if let Some(first) = first {
            let _ = writeln!(self.text, "  first difference: {first}");
        }
        for difference in differences {
            let (found, truth) = (layout.name(difference.found), layout.name(difference.truth));
            let _ = writeln!(self.text, "  {difference}: it is {found}, and was {truth} at the call");
        }
        if matches!(verdict, Verdict::Overstated(Deviation::Dead) | Verdict::WrongFlagged(Deviation::Dead)) {
            let (end, below) = (layout.name(target.dead.end), "which the next interrupt may overwrite");
            let _ =
                writeln!(self.text, "  it depends on memory below {end}, {below}: walked again after that, it differs");
        }
    }
}

/// Where a walk leaves the true trace, in words.
fn first_difference(program: &Program, truth: &Truth, entries: &[WalkEntry], omissible: &[String]) -> Option<String> {
    let symbols = &program.guest.symbols;
    let mut waiting = truth.activations().peekable();
    for (number, entry) in entries.iter().enumerate().skip(1) {
        let pc = entry.pc.value();
        // What a trace may leave out is no difference.
        while let Some(activation) = waiting.peek()
            && activation.resume != pc
            && activation.place().function(symbols).is_some_and(|function| omissible.contains(&function.name))
        {
            waiting.next();
        }
        let found = symbols.name_of(entry.pc);
        match waiting.next() {
            None => return Some(format!("entry {number} is {found}, and nothing waits there")),
            Some(activation) if activation.resume != pc => {
                return Some(format!(
                    "entry {number} is {found}, and {} waits there",
                    activation.place().name(symbols)
                ));
            }
            Some(_) => {}
        }
    }
    let next = waiting.next()?.place().name(symbols);
    Some(format!("it ends after entry {}, and {next} waits there", entries.len().saturating_sub(1)))
}

impl Visit for Explainer<'_> {
    fn point(&mut self, at: &Arrival, _: Option<&str>, machine: &Point<'_>) {
        if self.wants(*at) {
            let mut regs = Regs::none();
            machine.read(&RegisterSet::all(self.program.guest.cpu), &mut regs);
            self.registers(&regs);
            self.drawing.regs = Some(regs);
            self.code(at.pc);
        }
    }

    fn walk(&mut self, at: Arrival, _: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let about = column.subject.about();
        if self.wants(at) && self.part.has_walk(&about.name, column.start) {
            self.has_walk = true;
            if self.truth(truth) {
                self.drawing.truth(self.program, truth, question.target);
            }
            self.damage(question.target);
            self.asked(column, question, truth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PointName;

    #[test]
    fn a_point_has_defaults() {
        let point = |text: &str| text.parse::<PointName>();
        assert_eq!(point("leaf+0x8#2"), Ok(PointName { function: "leaf".into(), offset: 8, visit: 2 }));
        assert_eq!(point("leaf"), Ok(PointName { function: "leaf".into(), offset: 0, visit: 1 }));
        assert_eq!(point("leaf+12"), Ok(PointName { function: "leaf".into(), offset: 12, visit: 1 }));
        let nested = point("leaf+0x8#1:irq/el1h_irq+0x14#3:nmi@regs");
        assert_eq!(nested, Ok(PointName { function: "el1h_irq".into(), offset: 0x14, visit: 3 }));
        assert!(point("leaf#0").is_err());
        assert!(point("+0x8").is_err());
        assert!(point("leaf+0xzz").is_err());
        assert!(point("").is_err());
    }
}
