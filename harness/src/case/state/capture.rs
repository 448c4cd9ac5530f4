//! From a point of a live run to the state that is written down there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::{Answered, Bounds, Named, Number, Owner, Page, State, Waits, Written, bytes, sections};
use crate::Error;
use crate::cpu::Cpu;
use crate::guest::{Answer, PAGE, Symbol, UnwindSections, WaitingAtStart};

/// The first lines of a file.
const HEAD: &str = "\
# A part of a run of unwind-harness: `unwind-harness run --case FILE` runs it again, `check --case FILE` judges its unwind data, and
# `explain --case FILE POINT` explains one point. The pages are code and data of the files that [provenance] names, under their licences.
";

/// A page, as it was at the point.
#[derive(Debug, Clone)]
pub struct CapturedPage {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// It may be executed.
    pub executable: bool,
    /// It may be written.
    pub writable: bool,
}

/// A file of which pages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// A point of a live run, and what its kernel answered from there on.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The CPU.
    pub cpu: &'static Cpu,
    /// The first instruction.
    pub pc: u64,
    /// Where it ends, before that instruction.
    pub stop: u64,
    /// Registers, by the names that a state knows.
    pub registers: Vec<(String, u128)>,
    /// The stacks.
    pub stacks: Vec<Range<u64>>,
    /// Who waits for a call to return, youngest first.
    pub waiting: Vec<WaitingAtStart>,
    /// What the kernel answered, in order.
    pub answers: Vec<Answer>,
    /// The pages, by address.
    pub pages: BTreeMap<u64, CapturedPage>,
    /// Functions.
    pub symbols: Vec<Symbol>,
    /// Unwind data.
    pub unwind: UnwindSections,
    /// The command that did it.
    pub command: String,
    /// The files.
    pub sources: Vec<Source>,
}

impl Captured {
    /// The state, with these pages alone, or with all.
    #[must_use]
    pub fn state(&self, path: &Path, kept: Option<&BTreeSet<u64>>) -> State {
        let is_kept = |page: u64| kept.is_none_or(|kept| kept.contains(&page));
        let pages: Vec<_> = self.pages.iter().filter(|(address, _)| is_kept(**address)).collect();
        let last_of = |symbol: &Symbol| symbol.address.saturating_add(symbol.size.max(1)) - 1;
        let is_named = |symbol: &&Symbol| {
            let touched = symbol.address & !(PAGE - 1)..=last_of(symbol);
            self.waiting.iter().any(|it| (symbol.address..=last_of(symbol)).contains(&it.resume.wrapping_sub(1)))
                || kept.is_none_or(|kept| kept.range(touched).next().is_some())
        };
        State {
            path: path.to_path_buf(),
            elf: None,
            bias: None,
            arch: self.cpu.name.to_owned(),
            start: Some(format!("{:#x}", self.pc)),
            stop: Some(format!("{:#x}", self.stop)),
            unwinders: Vec::new(),
            memory: Owner::User,
            cpu: None,
            registers: self.registers.iter().map(|(name, value)| (name.clone(), Number(*value))).collect(),
            stack: self.stacks.iter().map(|it| Bounds { low: word(it.start), high: word(it.end) }).collect(),
            activation: self.waiting.iter().map(waits).collect(),
            syscall: self.answers.iter().map(|answer| answered(answer, &is_kept)).collect(),
            section: sections::pack(&self.unwind),
            symbol: self.symbols.iter().filter(is_named).map(named).collect(),
            page: runs(&pages).into_iter().map(packed).collect(),
            provenance: self.provenance(),
        }
    }

    fn provenance(&self) -> toml::Table {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let source = |source: &Source| {
            let pairs = [("name", &source.name), ("sha256", &source.sha256)];
            toml::Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect())
        };
        let files = toml::Value::Array(self.sources.iter().map(source).collect());
        let pairs = [("command", text(&self.command)), ("tool", text(env!("CARGO_PKG_VERSION"))), ("file", files)];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl State {
    /// The text of the file.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`].
    pub fn to_text(&self) -> Result<String, Error> {
        let text = toml::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(format!("{HEAD}{text}"))
    }
}

fn word(value: u64) -> Number {
    Number(value.into())
}

fn waits(waiting: &WaitingAtStart) -> Waits {
    let WaitingAtStart { resume, cfa, saved } = waiting;
    Waits { r#return: word(*resume), cfa: word(*cfa), saved: saved.iter().copied().map(word).collect() }
}

fn named(symbol: &Symbol) -> Named {
    Named { name: symbol.name.clone(), address: word(symbol.address), size: word(symbol.size) }
}

/// An answer, without what is written to pages that are not kept.
fn answered(answer: &Answer, is_kept: &dyn Fn(u64) -> bool) -> Answered {
    let mut write = Vec::new();
    for (address, bytes) in &answer.writes {
        let mut at = *address;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let size = ((PAGE - at % PAGE) as usize).min(rest.len());
            let (here, behind) = rest.split_at(size);
            if is_kept(at & !(PAGE - 1)) {
                write.push(Written { address: word(at), data: bytes::pack(here) });
            }
            (at, rest) = (at + size as u64, behind);
        }
    }
    Answered { result: word(answer.result), write }
}

/// Pages that follow each other, and may be used for the same.
fn runs<'p>(pages: &[(&u64, &'p CapturedPage)]) -> Vec<(u64, Vec<&'p CapturedPage>)> {
    let mut runs: Vec<(u64, Vec<&CapturedPage>)> = Vec::new();
    for (address, page) in pages {
        match runs.last_mut() {
            Some((start, run))
                if *start + run.len() as u64 * PAGE == **address
                    && run.last().is_some_and(|last| flags(last) == flags(page)) =>
            {
                run.push(page);
            }
            _ => runs.push((**address, vec![page])),
        }
    }
    runs
}

fn packed((address, run): (u64, Vec<&CapturedPage>)) -> Page {
    let data: Vec<u8> = run.iter().flat_map(|page| page.bytes.iter().copied()).collect();
    Page { address: word(address), data: bytes::pack(&data), flags: run.first().map(|page| flags(page).to_owned()) }
}

const fn flags(page: &CapturedPage) -> &'static str {
    match (page.writable, page.executable) {
        (false, false) => "r",
        (true, false) => "rw",
        (false, true) => "rx",
        (true, true) => "rwx",
    }
}
