//! From a run to its case.

use std::collections::BTreeSet;

use super::conventions::{Means, named as named_registers};
use super::hex::{Hex, Span};
use super::memory::{Mapped, Pages};
use super::{Case, FORMAT, MAX_PAGES, Owner, Placed, Provenance, Start, Walks, sections, symbols};
use crate::Error;
use crate::guest::layout::Stack;
use crate::guest::{PAGE, Program, StartState, Symbol};
use crate::trace::Memory;

/// What a case is made of, besides the program.
pub struct Frozen<'a> {
    /// The scenario: `<cpu>/<name>`.
    pub scenario: String,
    /// The variant, or the release; empty for the only one.
    pub variant: String,
    /// The scenario's TOML.
    pub text: String,
    /// The names of the unwinders that walked.
    pub unwinders: Vec<String>,
    /// The names of functions that the scenario uses.
    pub functions: BTreeSet<&'a str>,
    /// Addresses whose functions must keep their names: those in the walks.
    pub named: BTreeSet<u64>,
    /// The addresses of the pages that the runs used.
    pub pages: BTreeSet<u64>,
    /// Memory as it is before a run.
    pub memory: &'a dyn Memory,
    /// The walks, for each kind of interruption.
    pub walks: Vec<Walks>,
    /// Where the guest comes from.
    pub provenance: Provenance,
}

impl std::fmt::Debug for Frozen<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Frozen").field("scenario", &self.scenario).finish_non_exhaustive()
    }
}

impl Case {
    /// Freezes runs of a program.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they use more pages than a case may hold.
    pub fn freeze(program: &Program, frozen: Frozen<'_>) -> Result<Self, Error> {
        let Program { guest, conventions, layout, start, offsets, float_arguments, .. } = program;
        let cpu = guest.cpu;
        let Frozen { scenario, variant, text, unwinders, functions, named, pages, memory, walks, provenance } = frozen;
        let count = pages.len();
        if count as u64 > MAX_PAGES {
            return Err(Error::Usage(format!(
                "{scenario}: it uses {count} pages, and a case holds at most {MAX_PAGES}"
            )));
        }
        let data = contents(memory, &pages)?;
        let is_kept = |symbol: &&Symbol| {
            let end = symbol.address.saturating_add(symbol.size.max(1));
            pages.range(symbol.address & !(PAGE - 1)..end).next().is_some()
                || named.range(symbol.address..end).next().is_some()
                || functions.iter().any(|name| match name.strip_suffix('*') {
                    Some(prefix) => symbol.name.starts_with(prefix),
                    None => symbol.name == *name,
                })
        };
        let stack = |stack: &Stack| Placed {
            name: stack.name.clone(),
            role: stack.role,
            bounds: Span(stack.bounds.low..stack.bounds.high),
        };
        if let Some(unread) = guest.unwind.unread.first() {
            return Err(Error::Usage(format!("{scenario}: its unwind data cannot be read: {}", unread.reason)));
        }
        let stop = conventions.sentinel.ok_or_else(|| Error::Internal(format!("{scenario}: its run has no end")))?;
        Ok(Self {
            path: std::path::PathBuf::new(),
            format: FORMAT,
            arch: cpu.name.to_owned(),
            memory: if conventions.kernel.is_some() { Owner::Kernel } else { Owner::User },
            scenario,
            variant,
            interrupt: walks.iter().map(|walks| walks.interrupt.clone()).collect(),
            unwinders,
            stop: Hex(stop),
            sp: Hex(layout.sp),
            guards: layout.has_guards,
            text,
            offsets: offsets.clone(),
            float_arguments: float_arguments.iter().copied().map(Hex).collect(),
            provenance,
            start: start.as_ref().map(|StartState { pc, registers, constant, task, thread }| Start {
                thread: thread.map(Hex),
                pc: Hex(*pc),
                task: Hex(*task),
                registers: named_registers(cpu, registers),
                constant: named_registers(cpu, constant),
            }),
            conventions: Means::new(conventions, cpu),
            stack: layout.stacks.iter().map(stack).collect(),
            section: sections::pack(&guest.unwind),
            mapped: guest.segments.iter().map(Mapped::new).collect(),
            symbols: guest.symbols.all().iter().filter(is_kept).map(symbols::line).collect(),
            walks,
            page: vec![Pages::new(&pages, &data)],
        })
    }
}

/// The bytes of these pages.
fn contents(memory: &dyn Memory, pages: &BTreeSet<u64>) -> Result<Vec<u8>, Error> {
    let mut data = vec![0; pages.len() * PAGE as usize];
    for (address, page) in pages.iter().zip(data.chunks_exact_mut(PAGE as usize)) {
        if !memory.read(*address, page) {
            return Err(Error::Internal(format!("page {address:#x} was used, and cannot be read")));
        }
    }
    Ok(data)
}
