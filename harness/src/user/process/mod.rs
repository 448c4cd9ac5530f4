//! A process: an unmodified program under an emulated Linux kernel, from its first instruction to `exit_group`.
//!
//! Everything that a program can learn from its kernel is the same in every run: addresses, times, random bytes, numbers of
//! processes and threads. So a first run without an observer shows what a second one will do: which files are mapped where, and
//! where the stacks of threads are. The kernel's state belongs to one run; docs/process.md says which system calls there are.

mod abi;
mod answer;
mod bytes;
mod calls;
mod files;
mod hardware;
mod image;
mod io;
mod memory;
mod program;
mod siginfo;
mod signals;
mod start;
mod threads;
mod time;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::cpu::{self, Cpu};
use crate::file::{self, MAX_BINARY};

pub use files::{Files, Written};
pub use hardware::{Floats, Hardware, Permission};
pub use program::{Mapped, program};
pub use threads::QUANTUM;

use abi::UserAbi;
use memory::MemoryMap;
use threads::Threads;
use time::Clock;

/// The number of the process.
const PID: u32 = 1000;

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program's file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
    /// The CPU that it is for.
    pub cpu: &'static Cpu,
    /// Its arguments, without its name.
    pub arguments: Vec<String>,
    /// Its environment, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// The folder that it sees as `/`; without one it sees no file.
    pub sysroot: Option<PathBuf>,
    /// The vDSO, by name, if one is given.
    pub vdso: Option<(String, Arc<Vec<u8>>)>,
    /// The address of the signal trampoline in the vDSO, as its file gives it.
    pub trampoline: Option<u64>,
    /// How many instructions may run.
    pub budget: u64,
    /// The signals that arrive from outside.
    pub signals: Vec<Arrival>,
    /// The contexts that it makes, if it makes any: known from an earlier run.
    pub contexts: Contexts,
}

/// What `makecontext` makes: fibers, each with a stack of its own, which lies anywhere in the memory of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contexts {
    /// The address of `makecontext`.
    pub maker: Option<u64>,
    /// Their stacks, in the order in which they were made.
    pub stacks: Vec<Range<u64>>,
}

/// The stack of the context at this address, which is to be made: `uc_stack` of `ucontext_t`, behind `uc_flags` and `uc_link` on every
/// CPU (Linux include/uapi/asm-generic/ucontext.h).
#[must_use]
pub fn context_stack(read: impl Fn(u64) -> Option<u64>, context: u64) -> Option<Range<u64>> {
    let low = read(context.checked_add(16)?)?;
    let size = read(context.checked_add(32)?)?;
    let high = low.checked_add(size).filter(|high| *high > low)?;
    Some(low..high)
}

/// A signal that arrives from outside: before an instruction of this range, when control comes there for the `visit`th time, or each
/// time up to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The signal.
    pub signal: u32,
    /// The instructions.
    pub range: Range<u64>,
    /// Which arrival of control at an instruction it is, from 1; or up to which it is each of them.
    pub visits: u64,
    /// Whether it is each of them.
    pub each: bool,
}

impl Arrival {
    /// Whether the signal arrives when control comes to an instruction for the `visit`th time.
    #[must_use]
    pub const fn takes(&self, visit: u64) -> bool {
        if self.each { visit <= self.visits } else { visit == self.visits }
    }
}

impl Launch {
    /// Reads a program. Its CPU is what its file says.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Elf`] when it is no program for one of the CPUs.
    pub fn open(file: &Path, sysroot: Option<PathBuf>) -> Result<Self, Error> {
        let bytes = file::read(file, MAX_BINARY)?;
        let machine = bytes.get(18..20).map_or(0, |word| u16::from_le_bytes([word[0], word[1]]));
        let found = cpu::ALL.into_iter().find(|cpu| cpu.elf_machine == machine && bytes.starts_with(b"\x7fELF"));
        let reject = |reason: String| Error::Elf { path: file.to_path_buf(), reason };
        let Some(cpu) = found else {
            return Err(reject(format!("it is no ELF file for one of {}", cpu::names())));
        };
        image::Image::parse(&bytes, cpu).map_err(reject)?;
        Ok(Self {
            file: file.to_path_buf(),
            bytes: Arc::new(bytes),
            cpu,
            arguments: Vec::new(),
            environment: Vec::new(),
            sysroot,
            vdso: None,
            trampoline: None,
            budget: DEFAULT_BUDGET,
            signals: Vec::new(),
            contexts: Contexts::default(),
        })
    }

    /// The name under which the program sees itself.
    #[must_use]
    pub fn name(&self) -> String {
        format!("/{}", self.file.file_name().unwrap_or_default().to_string_lossy())
    }

    /// The areas in which the process can have memory.
    ///
    /// # Errors
    ///
    /// What is wrong with the program.
    pub fn arenas(&self) -> Result<[Range<u64>; 3], String> {
        let image = image::Image::parse(&self.bytes, self.cpu)?;
        let arenas = memory::arenas(start::program_address(&image));
        let [program, others @ ..] = &arenas;
        if others.iter().any(|other| program.end > other.start && program.start < other.end) {
            return Err(format!("its addresses, from {:#x} on, are where libraries and stacks go", program.start));
        }
        Ok(arenas)
    }
}

/// How many instructions a process may run, if nothing else is said: small programs need some 100,000.
pub const DEFAULT_BUDGET: u64 = 100_000_000;

/// A part of a file that is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMapping {
    /// The file, as the process names it.
    pub path: String,
    /// What is in the file.
    pub bytes: Arc<Vec<u8>>,
    /// The addresses.
    pub range: Range<u64>,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Whether it was code when it was mapped.
    pub executable: bool,
}

/// A signal has been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The interrupted instruction, which is still to run.
    pub pc: u64,
    /// SP there.
    pub sp: u64,
    /// The frame pointer's register there.
    pub fp: u64,
    /// Where the handler returns to.
    pub returns_to: u64,
}

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status.
    pub status: u8,
}

/// What follows a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The process goes on, whichever thread runs.
    Continue,
    /// A handler runs.
    Delivered(Delivered),
    /// It has ended.
    Ended(Ended),
}

/// A process and its kernel.
#[derive(Debug, Clone)]
pub struct Process {
    abi: &'static UserAbi,
    memory: MemoryMap,
    files: Files,
    actions: [signals::Action; signals::SIGNALS + 1],
    threads: Threads,
    clock: Clock,
    random: Random,
    /// Where handlers return to, if not to a restorer of the C library.
    trampoline: Option<u64>,
    /// Everything that was mapped from files, in order.
    mappings: Vec<FileMapping>,
    /// Code that is of no file: the trampoline of signals.
    own_code: Option<(u64, Vec<u8>)>,
    /// Where stacks are, or were: of threads, and for handlers.
    stacks: Vec<Range<u64>>,
    /// How many system calls there were.
    calls: u64,
    /// Whether no program has started: a function of a file is called alone.
    is_call: bool,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// Why it cannot be loaded.
    pub fn start(launch: &Launch, hardware: &mut dyn Hardware) -> Result<Self, String> {
        let [program, ..] = launch.arenas()?;
        let files = Files::new(launch.sysroot.clone(), launch.name());
        let mut process = Self::with(launch.cpu, MemoryMap::new(program.start), files, false);
        process.execute(hardware, launch)?;
        Ok(process)
    }

    /// The kernel for a function that is called alone: it sees no file, and there is one thread, which no signal interrupts. `areas` are
    /// those of its heap and of `mmap`.
    #[must_use]
    pub fn of_call(cpu: &Cpu, areas: [Range<u64>; 2]) -> Self {
        Self::with(cpu, MemoryMap::of_call(areas), Files::new(None, String::new()), true)
    }

    fn with(cpu: &Cpu, memory: MemoryMap, files: Files, is_call: bool) -> Self {
        Self {
            abi: abi::of(cpu),
            memory,
            files,
            actions: [signals::Action::default(); signals::SIGNALS + 1],
            threads: Threads::new(),
            clock: Clock::new(),
            random: Random(SEED),
            trampoline: None,
            mappings: Vec::new(),
            own_code: None,
            stacks: Vec::new(),
            calls: 0,
            is_call,
        }
    }

    /// The symbol in a vDSO of this CPU to which handlers return.
    #[must_use]
    pub fn trampoline_symbol(cpu: &Cpu) -> &'static str {
        abi::of(cpu).trampoline_symbol
    }

    /// Everything that was mapped from files, in order.
    #[must_use]
    pub fn mappings(&self) -> &[FileMapping] {
        &self.mappings
    }

    /// Code that is of no file: its address, and its bytes.
    #[must_use]
    pub fn own_code(&self) -> Option<(u64, &[u8])> {
        self.own_code.as_ref().map(|(address, bytes)| (*address, bytes.as_slice()))
    }

    /// Where stacks are, or were.
    #[must_use]
    pub fn stacks(&self) -> &[Range<u64>] {
        &self.stacks
    }

    /// What it has written to standard output, and to standard error.
    #[must_use]
    pub fn output(&self) -> &[Written; 2] {
        &self.files.output
    }

    /// How many system calls it has made.
    #[must_use]
    pub const fn system_calls(&self) -> u64 {
        self.calls
    }
}

/// Random bytes that are the same in every run.
#[derive(Debug, Clone)]
struct Random(u64);

/// The seed of all random bytes.
const SEED: u64 = 0x0123_4567_89ab_cdef;

impl Random {
    /// xorshift64 (Marsaglia 2003).
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }
}
