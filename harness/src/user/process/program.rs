//! What is known of a process when it has run once: all files that were mapped as code, with their symbols and unwind data, as one
//! program.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use kunwind::StackBounds;

use super::image::Image;
use super::{FileMapping, Launch, Process, memory};
use crate::Error;
use crate::guest::conventions::StackRole;
use crate::guest::layout::Stack;
use crate::guest::{Conventions, Guest, Layout, PAGE, Poison, Program, Segment, Symbol, Symbols};
use crate::user::Module;

/// The name of code that the kernel gives a process which has no vDSO.
const TRAMPOLINE: &str = "[sigreturn]";

/// A file that a process has mapped as code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its name, without folders.
    pub name: String,
    /// Its addresses.
    pub range: Range<u64>,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
}

/// The program that a process was, and its files. `executed` has the instructions that it has executed, with their sizes in bytes: code
/// without a name gets one, so that it can be a point.
///
/// # Errors
///
/// [`Error::Elf`] for a file that cannot be read as what it was mapped as, else as [`Program::with_layout`].
pub fn program(
    launch: &Launch,
    process: &Process,
    executed: &BTreeMap<u64, u32>,
) -> Result<(Program, Vec<Mapped>), Error> {
    let mut modules: Vec<Module> = Vec::new();
    let mut seen: BTreeSet<(&str, u64)> = BTreeSet::new();
    let mut files = Vec::new();
    for mapping in process.mappings().iter().filter(|mapping| mapping.executable) {
        let Some(bias) = bias(mapping, launch) else { continue };
        if !seen.insert((&mapping.path, bias)) {
            continue;
        }
        let mut module = Module::parse(Path::new(&mapping.path), &mapping.bytes)?;
        module.shift(bias)?;
        let (low, high) = module.extent();
        let name = Path::new(&mapping.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(Mapped { name, range: low..high, sha256: module.hash.clone() });
        modules.push(module);
    }
    let missing = || Error::Internal(format!("{}: it has no code", launch.name()));
    let guest = crate::user::guest(&modules, launch.name().trim_start_matches('/').to_owned()).ok_or_else(missing)?;
    // A program without a dynamic loader is where it was found, for whoever reads its file, and not where it sees itself.
    let path = if modules.len() == 1 { launch.file.clone() } else { guest.path.clone() };
    let guest = with_own_code(Guest { path, ..guest }, process);
    let guest = with_names(guest, executed, &files, &modules);
    let conventions = Conventions { is_process: true, makes_context: launch.contexts.maker, ..Conventions::default() };
    let program = Program::with_layout(guest, conventions, layout(launch, process))?;
    Ok((Program { poison: Poison::default(), ..program }, files))
}

/// How far from its own addresses a file is mapped.
fn bias(mapping: &FileMapping, launch: &Launch) -> Option<u64> {
    let image = Image::parse(&mapping.bytes, launch.cpu).ok()?;
    let is_it = |file: &Range<usize>| file.start as u64 & !(PAGE - 1) == mapping.offset;
    let load = image.loads.iter().find(|load| load.permission.execute && is_it(&load.file))?;
    Some(mapping.range.start.wrapping_sub(load.memory.start & !(PAGE - 1)))
}

/// Adds the code that the kernel has given the process.
fn with_own_code(mut guest: Guest, process: &Process) -> Guest {
    let Some((address, code)) = process.own_code() else { return guest };
    let mut data = vec![0; PAGE as usize];
    data[..code.len()].copy_from_slice(code);
    guest.segments.push(Segment { address, data, executable: true, writable: false });
    guest.segments.sort_by_key(|segment| segment.address);
    let mut symbols = guest.symbols.all().to_vec();
    symbols.push(Symbol {
        name: TRAMPOLINE.to_owned(),
        address,
        size: code.len() as u64,
        is_function: true,
        is_global: false,
        is_size_inferred: false,
    });
    guest.symbols = Symbols::new(symbols);
    guest
}

/// Names executed code that has none: from the first instruction to the last of those that follow each other.
fn with_names(mut guest: Guest, executed: &BTreeMap<u64, u32>, files: &[Mapped], modules: &[Module]) -> Guest {
    let mut unnamed: Vec<Range<u64>> = Vec::new();
    for (pc, size) in executed.iter().filter(|(pc, _)| guest.symbols.function_at(**pc).is_none()) {
        let end = pc + u64::from(*size);
        match unnamed.last_mut() {
            Some(last) if last.end == *pc => last.end = end,
            _ => unnamed.push(*pc..end),
        }
    }
    let mut symbols = guest.symbols.all().to_vec();
    for range in unnamed {
        let file = files.iter().zip(modules).find(|(file, _)| file.range.contains(&range.start));
        let name = match file {
            Some((file, module)) => format!("{}:code_{:x}", file.name, range.start.wrapping_sub(module.bias)),
            None => format!("code_{:x}", range.start),
        };
        symbols.push(Symbol {
            name,
            address: range.start,
            size: range.end - range.start,
            is_function: true,
            is_global: false,
            is_size_inferred: true,
        });
    }
    guest.symbols = Symbols::new(symbols);
    guest
}

/// The stacks: the first thread's, and those that it has given to threads, handlers and fibers.
fn layout(launch: &Launch, process: &Process) -> Layout {
    let mut stacks: BTreeMap<u64, Stack> = BTreeMap::new();
    let others = process.stacks().iter().map(|range| (range, StackRole::User));
    let fibers = launch.contexts.stacks.iter().map(|range| (range, StackRole::Fiber));
    for (range, role) in others.chain(fibers) {
        let overlaps = |stack: &Stack| stack.bounds.low < range.end && range.start < stack.bounds.high;
        if stacks.values().any(overlaps) {
            continue; // used again, or part of another stack
        }
        let is_first = stacks.is_empty();
        let (role, name) =
            if is_first { (StackRole::First, "main".to_owned()) } else { (role, format!("stack {}", stacks.len())) };
        let bounds = StackBounds { low: range.start, high: range.end };
        stacks.insert(range.start, Stack { name, bounds, role });
    }
    Layout::fixed(stacks.into_values().collect(), memory::STACK_TOP)
}
