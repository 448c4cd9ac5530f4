//! A function of a file, called: the files are loaded and linked, and a function of ours calls it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::argument::{self, Argument, Buffer, Placed};
use super::link::{self, MISSING, OfCpu};
use super::module::{Kind, Module};
use super::of_cpu;
use super::tls::{self, ThreadLayout};
use super::{ours, read, refused};
use crate::Error;
use crate::cpu::Register;
use crate::guest::conventions::{Conventions, StackRole};
use crate::guest::layout::Stack;
use crate::guest::{Constructor, Constructors, Guest, Indirect, Layout, PAGE, Program, Segment, StartState, Symbols};

/// Where modules are loaded that can be anywhere: all below 2 GiB, so that an object without position-independent code reaches all.
const MODULES: u64 = 0x1000_0000;
/// Where they must end.
const MODULES_END: u64 = 0x6000_0000;
/// How far apart they are at least.
const MODULE_GAP: u64 = 0x1_0000;
/// The stack, from its lowest address on.
const STACK: u64 = 0x6200_0000;
/// Its size in bytes.
const STACK_SIZE: u64 = 0x4_0000;

/// The memory that a call can ask its kernel for: the heap (`brk`), and what `mmap` finds. Nobody is behind it.
const HEAP: Range<u64> = 0x7900_0000..0x7940_0000;
const MAPPINGS: Range<u64> = 0x7980_0000..0x7a80_0000;

/// The areas of memory that a call can ask for.
#[must_use]
pub const fn areas() -> [Range<u64>; 2] {
    [HEAP, MAPPINGS]
}

/// The table `[elf]` of a scenario: a function that is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ElfCall {
    /// The file with the function; relative to the root.
    pub file: PathBuf,
    /// The function.
    pub call: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<Argument>,
    /// Files that it needs, besides those that it names itself and that are in its folder.
    #[serde(default)]
    pub lib: Vec<PathBuf>,
    /// Whether `check` looks at the functions that did not run, too. Of them it can say only whether there are rows.
    #[serde(default)]
    pub all_functions: bool,
}

/// A call that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The program.
    pub program: Program,
    /// What its arguments point to.
    pub buffers: Vec<Buffer>,
    /// The names of the files that are loaded.
    pub modules: Vec<String>,
    /// The names of files that are needed and were not found.
    pub absent: Vec<String>,
}

/// Reads a file and all that it needs, and puts them into their places.
///
/// # Errors
///
/// As [`Module::load`], and [`Error::Elf`] when a file is for another CPU or there is no room.
pub fn load(file: &Path, libraries: &[PathBuf]) -> Result<(Vec<Module>, Vec<String>), Error> {
    let mut modules = vec![Module::load(file)?];
    for path in libraries {
        modules.push(Module::load(path)?);
    }
    let folder = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let (mut next, mut absent) = (0, Vec::new());
    while let Some(module) = modules.get(next) {
        for name in module.dynamic.needed.clone() {
            if modules.iter().any(|module| module.name == name) || absent.contains(&name) {
                continue;
            }
            let path = folder.join(&name);
            if name.contains('/') || !path.is_file() {
                absent.push(name);
            } else {
                modules.push(Module::load(&path)?);
            }
        }
        next += 1;
    }
    let cpu = modules[0].cpu;
    if let Some(other) = modules.iter().find(|module| module.cpu.name != cpu.name) {
        return Err(refused(
            &other.path,
            format!("it is for {}, and {} for {}", other.cpu.name, file.display(), cpu.name),
        ));
    }
    put(&mut modules)?;
    Ok((modules, absent))
}

/// Puts modules into their places.
fn put(modules: &mut [Module]) -> Result<(), Error> {
    let mut next = MODULES;
    for module in modules.iter_mut().filter(|module| module.kind != Kind::Fixed) {
        let (low, high) = module.extent();
        let by = next.saturating_sub(low & !(PAGE - 1));
        module.shift(by)?;
        next = (next + (high - low)).next_multiple_of(MODULE_GAP) + MODULE_GAP;
    }
    let extents: Vec<(u64, u64)> = modules.iter().map(Module::extent).collect();
    for (index, (module, (low, high))) in modules.iter().zip(&extents).enumerate() {
        let others = extents[..index].iter().find(|other| other.0 < *high && *low < other.1);
        let is_free = *high <= MODULES_END && *low > 0;
        if !is_free || others.is_some() {
            let reason =
                format!("it is loaded at {low:#x} to {high:#x}, where it meets another file or our own memory");
            return Err(refused(&module.path, reason));
        }
    }
    Ok(())
}

/// Makes a program of a call. Relative paths are below `base`.
///
/// # Errors
///
/// As [`load`]; [`Error::MissingSymbol`] without the function, [`Error::Usage`] for an argument that cannot be placed, and as
/// [`Program::with_layout`].
pub fn prepare(base: &Path, call: &ElfCall) -> Result<Prepared, Error> {
    let libraries: Vec<PathBuf> = call.lib.iter().map(|path| base.join(path)).collect();
    let file = base.join(&call.file);
    let (mut modules, absent) = load(&file, &libraries)?;
    let of_cpu = of_cpu::of(modules[0].cpu);
    let thread = ThreadLayout::new(&modules, of_cpu);
    let linked = link::link(&mut modules, of_cpu, &thread.offsets, ours::TLS)?;
    set_canary(&mut modules);
    let (placed, data) = argument::place(&call.arguments, base, &modules)?;
    let thread_segment = thread.segment(&modules, of_cpu);
    let stubs: Vec<String> = placed.stubs.iter().map(|(name, _)| name.clone()).collect();
    let (code, our_symbols, our_frames) = ours::code(of_cpu, &stubs);
    let own = call.call.strip_prefix(ours::CALLBACK).and_then(ours::callback).map(|address| (address, false));
    let found = own.or_else(|| link::find(&modules, &call.call));
    let (function, is_indirect) = found.ok_or_else(|| no_function(&modules, &call.call))?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let guest = read::guest(&modules, stem).ok_or_else(|| refused(&file, "it has nothing to load"))?;
    let symbols = guest.symbols.all().iter().cloned().chain(our_symbols).collect();
    let mut guest = Guest { symbols: Symbols::new(symbols), ..guest };
    guest.unwind.eh_frame.push(our_frames);
    guest.segments.extend([code, data, thread_segment]);
    let stack = kunwind::StackBounds { low: STACK, high: STACK + STACK_SIZE };
    for Range { start: address, end } in [stack.low..stack.high, HEAP, MAPPINGS] {
        let data = vec![0; (end - address) as usize];
        guest.segments.push(Segment { address, data, executable: false, writable: true });
    }
    guest.segments.sort_by_key(|segment| segment.address);
    let conventions = Conventions {
        sentinel: Some(ours::sentinel(of_cpu.code())),
        missing: linked.missing.iter().cloned().zip((MISSING..).step_by(PAGE as usize)).map(|(a, b)| (b, a)).collect(),
        ..Conventions::default()
    };
    let (start, sp, mut words) = start(of_cpu, (&modules, &thread), &placed, stack.high);
    let mut indirect = linked.indirect;
    match is_indirect {
        true => indirect.push((function, ours::DATA)),
        false => words.push((ours::DATA, function)),
    }
    let resolvers = placed.stubs.iter().enumerate();
    indirect.extend(resolvers.map(|(number, (_, resolver))| (*resolver, ours::stub(number).1)));
    let room = ours::DATA + 64;
    words.extend((room..).step_by(8).zip(of_cpu.capabilities()));
    let stacks = vec![Stack { name: "task".to_owned(), bounds: stack, role: StackRole::First }];
    let layout = Layout { words, ..Layout::fixed(stacks, sp) };
    let prepares = link::find(&modules, PREPARES_TYPES).map(|(address, _)| address);
    let program = Program {
        start: Some(start),
        booted_by: prepares.into_iter().collect(),
        constructors: Constructors {
            all: constructors(&modules),
            argument: ours::DATA + 0x80,
            ..Constructors::default()
        },
        float_arguments: placed.floats,
        indirect: Indirect { arguments: of_cpu.resolver_arguments(room), words: indirect },
        ..Program::with_layout(guest, conventions, layout)?
    };
    let modules = modules.iter().map(|module| module.name.clone()).collect();
    Ok(Prepared { program, buffers: placed.buffers, modules, absent })
}

/// The constructors of all modules: those that others need come first.
fn constructors(modules: &[Module]) -> Vec<Constructor> {
    let of_module = |module: &Module| -> Vec<Constructor> {
        let words = module.dynamic.constructors.clone().step_by(8).filter_map(|place| module.word(place));
        // 0 and -1 stand for none (gABI chapter 5).
        let functions = words.filter(|address| !matches!(*address, 0 | u64::MAX));
        functions.map(|address| Constructor { file: module.name.clone(), address }).collect()
    };
    modules.iter().rev().flat_map(of_module).collect()
}

/// glibc's function that prepares the tables behind `isspace` and the like for a thread: start-up code calls it.
const PREPARES_TYPES: &str = "__ctype_init";

/// The words that stack protectors compare, where they are variables (glibc on CPUs that have no fixed place for them).
fn set_canary(modules: &mut [Module]) {
    let Some((address, _)) = link::find(modules, "__stack_chk_guard") else { return };
    for module in modules {
        module.write(address, &tls::CANARY.to_le_bytes());
    }
}

fn no_function(modules: &[Module], name: &str) -> Error {
    let is_named = |symbol: &&crate::guest::Symbol| symbol.is_function && !symbol.name.starts_with("sub_");
    let all = modules[0].symbols.iter().filter(is_named);
    let near: Vec<&str> = all.map(|symbol| &*symbol.name).filter(|known| known.contains(name)).take(8).collect();
    let some: Vec<&str> = modules[0].symbols.iter().filter(is_named).map(|symbol| &*symbol.name).take(8).collect();
    let hint = match (near.is_empty(), some.is_empty()) {
        (false, _) => format!("there are {}", near.join(", ")),
        (true, false) => format!(
            "no symbol of it has such a name; it has {}{}",
            some.join(", "),
            if some.len() < 8 { "" } else { " .." }
        ),
        (true, true) => {
            "it has no names of functions: is it stripped? Code with unwind data is called sub_, and its address"
                .to_owned()
        }
    };
    refused(&modules[0].path, format!("no function `{name}`: {hint}"))
}

/// The registers, SP and the words on the stack with which the run begins.
fn start(
    of_cpu: &dyn OfCpu,
    (modules, thread): (&[Module], &ThreadLayout),
    placed: &Placed,
    top: u64,
) -> (StartState, u64, Vec<(u64, u64)>) {
    let cpu = modules[0].cpu;
    let in_registers = cpu.arguments.len().min(placed.values.len());
    let (first, rest) = placed.values.split_at(in_registers);
    // Above it nobody needs anything; some room, as in a program, whose arguments and environment are there.
    let sp = (top - 0x100 - 8 * rest.len() as u64) & !15;
    let words = (sp..).step_by(8).zip(rest.iter().copied()).collect();
    let mut registers: Vec<(Register, u64)> = cpu.arguments.iter().copied().zip(first.iter().copied()).collect();
    // Nobody has called us: no frame record. And how many floating-point arguments there are, which functions
    // with variable arguments ask.
    registers.push((cpu.abi.fp, 0));
    if !cpu.arguments.contains(&cpu.result) {
        registers.push((cpu.result, placed.floats.len() as u64));
    }
    let mut constant: Vec<(Register, u64)> =
        of_cpu.thread_register().map(|tp| (tp, thread.pointer)).into_iter().collect();
    let gp = of_cpu.global_pointer().and_then(|(gp, name)| Some((gp, link::find(modules, name)?.0)));
    constant.extend(gp);
    let start = StartState { pc: ours::START, registers, constant, task: 0, thread: Some(thread.pointer) };
    (start, sp, words)
}
