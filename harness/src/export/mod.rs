//! Points as data: registers, stack, modules and the true trace, in forms that other programs read (docs/export.md).

mod core;
mod jsonl;
mod minidump;
mod of_cpu;
mod perf;
mod write;

use std::ops::ControlFlow;

use kunwind::Target as _;

use crate::Error;
use crate::cpu::{Cpu, Regs};
use crate::experiment::{Arrival, Column, Visit};
use crate::guest::Program;
use crate::oracle::Truth;
use crate::scenario::Part;
use crate::subject::{About, Claim, End, Entry, MAX_ENTRIES, Outcome, Question, Start, Subject};

pub use self::core::core;
pub use jsonl::{header, point};
pub use minidump::minidump;
pub use perf::PerfData;

/// One point.
#[derive(Debug, Clone)]
pub struct ExportedPoint {
    /// Its name, as `explain` takes it; with its start unless that is `live`.
    pub name: String,
    /// Where a walk would start.
    pub start: Start,
    /// The instruction at which it would.
    pub pc: u64,
    /// The registers there.
    pub regs: Regs,
    /// SP, and the stack from there up.
    pub stack: (u64, Vec<u8>),
    /// How many bytes of the stack lie above those.
    pub cut: u64,
    /// Who waits, youngest first: where each will resume, with which SP, and by what name.
    pub truth: Vec<(u64, u64, String)>,
}

/// What a run's points are exported of.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'p> {
    /// The guest.
    pub program: &'p Program,
    /// The run, as in `arm64/leaf probe`.
    pub title: &'p str,
}

/// Takes a point; breaks if it wants no more.
pub type Take<'a> = dyn FnMut(&ExportedPoint) -> Result<ControlFlow<()>, Error> + 'a;

/// Collects the points of a run.
pub struct Collector<'a> {
    program: &'a Program,
    part: &'a Part,
    /// The most bytes of a stack.
    stack: u64,
    take: &'a mut Take<'a>,
    /// Whether no more are wanted.
    is_full: bool,
    failed: Option<Error>,
}

impl std::fmt::Debug for Collector<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Collector").field("stack", &self.stack).finish_non_exhaustive()
    }
}

impl<'a> Collector<'a> {
    /// Of a program, with at most so many bytes of each stack.
    pub fn new(program: &'a Program, part: &'a Part, stack: u64, take: &'a mut Take<'a>) -> Self {
        Self { program, part, stack, take, is_full: false, failed: None }
    }

    /// What went wrong while points were taken.
    ///
    /// # Errors
    ///
    /// That of the taker.
    pub fn finish(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }

    fn exported(
        &self,
        at: Arrival,
        within: Option<&str>,
        start: Start,
        question: &Question<'_>,
        truth: &Truth,
    ) -> ExportedPoint {
        let Program { guest, layout, .. } = self.program;
        let sp = question.regs.get(guest.cpu.sp).unwrap_or_default();
        let high = layout.stack_of(sp).map_or(sp, |stack| layout.stacks[stack].bounds.high);
        let end = high.min(sp.saturating_add(self.stack));
        let (mut bytes, mut next) = (Vec::new(), sp);
        while next < end {
            let Some(word) = question.target.read_u64(next) else { break };
            bytes.extend(word.to_le_bytes());
            next += 8;
        }
        let outer = within.map(|outer| format!("{outer}/")).unwrap_or_default();
        let of = if start == Start::Live { String::new() } else { format!("@{}", start.name()) };
        let truth = truth
            .activations()
            .take(MAX_ENTRIES)
            .map(|activation| (activation.resume, activation.cfa, activation.place().name(&guest.symbols)));
        ExportedPoint {
            name: format!("{outer}{}#{}{of}", guest.symbols.name(at.pc), at.visit),
            start,
            pc: question.pc.value(),
            regs: *question.regs,
            cut: high.saturating_sub(sp + bytes.len() as u64),
            stack: (sp, bytes),
            truth: truth.collect(),
        }
    }
}

impl Visit for Collector<'_> {
    fn walk(&mut self, at: Arrival, within: Option<&str>, column: &Column<'_>, question: &Question<'_>, truth: &Truth) {
        let symbols = &self.program.guest.symbols;
        let is_wanted = symbols.function_at(at.pc).is_some_and(|it| self.part.has_place(&it.name, at.pc - it.address));
        let starts = &self.part.starts;
        if self.is_full || !is_wanted || !(starts.is_empty() || starts.contains(&column.start)) {
            return;
        }
        let point = self.exported(at, within, column.start, question, truth);
        match (self.take)(&point) {
            Ok(flow) => self.is_full = flow.is_break(),
            Err(error) => (self.failed, self.is_full) = (Some(error), true),
        }
    }
}

/// Stands for whoever will walk later: it knows all registers.
#[derive(Debug)]
pub struct Later {
    about: About,
}

impl Later {
    /// On a CPU.
    #[must_use]
    pub fn new(cpu: &Cpu) -> Self {
        Self { about: About::of_others("export".to_owned(), cpu) }
    }
}

impl Subject for Later {
    fn about(&self) -> &About {
        &self.about
    }

    fn walk(&self, _: &Question<'_>, _: &mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>) -> Outcome {
        Outcome { end: End::Stopped, claim: Claim::None }
    }
}
