//! A guest with everything that is derived from it once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use kunwind::StackBounds;

use super::conventions::{self, Conventions};
use super::{Guest, Layout, Listing, Listings, PAGE, Poison, Tables};
use crate::Error;
use crate::cpu::{Cpu, FlowKind, Register};

/// A guest that is ready to run, with everything that is derived from it once.
#[derive(Debug)]
pub struct Program {
    /// The guest.
    pub guest: Arc<Guest>,
    /// The conventions of its kind.
    pub conventions: Conventions,
    /// Its disassembly.
    pub listing: Listing,
    /// Where its stacks are.
    pub layout: Layout,
    /// What they are filled with.
    pub poison: Poison,
    /// Their bounds alone, for walks.
    pub bounds: Vec<StackBounds>,
    /// Its unwind data.
    pub tables: Tables,
    /// How a run of it begins, if not at a function with planted values in all registers but SP.
    pub start: Option<StartState>,
    /// Functions that choose among implementations, which have to run before anything else.
    pub indirect: Indirect,
    /// Functions without arguments that have run once before any run begins: what a kernel prepares while it boots.
    pub booted_by: Vec<u64>,
    /// Functions that prepare a program before anything else runs.
    pub constructors: Constructors,
    /// What the registers for floating-point arguments hold when a run begins, in order.
    pub float_arguments: Vec<u64>,
    /// The offsets and sizes in bytes on which start and conventions rest, by the kernel's own names: `task_struct.stack`.
    pub offsets: BTreeMap<String, u64>,
    /// What else a run begins with that starts in the middle of a program.
    pub midway: Option<Midway>,
    /// The addresses of the pages that its memory holds, in a frozen case: they include the poison. `None`: all.
    pub held: Option<Arc<BTreeSet<u64>>>,
}

/// Functions of a program that return the address of another one, which depends on the CPU (`STT_GNU_IFUNC`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indirect {
    /// Their arguments.
    pub arguments: Vec<u64>,
    /// Their addresses, each with that of the word that will hold the result; in the order in which they run.
    pub words: Vec<(u64, u64)>,
}

/// The constructors of a program's files (`.init_array`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constructors {
    /// They, in the order in which they run.
    pub all: Vec<Constructor>,
    /// The address of a word that is 0: their arguments are no arguments, and no environment.
    pub argument: u64,
    /// How many have run.
    pub ran: usize,
    /// Those that could not run, and why.
    pub failed: Vec<String>,
}

/// A constructor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constructor {
    /// Its file.
    pub file: String,
    /// Its address.
    pub address: u64,
}

/// The state of a CPU in which a run begins: that of a kernel which has long been booted, or of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartState {
    /// The first instruction.
    pub pc: u64,
    /// General registers, SP and [`StartState::constant`] apart; all others are planted.
    pub registers: Vec<(Register, u64)>,
    /// General registers that keep their values while this task runs in the kernel, whatever it calls: riscv64's gp and tp.
    pub constant: Vec<(Register, u64)>,
    /// The running task, by the address of its structure, for a CPU that keeps it in a system register.
    pub task: u64,
    /// In a program: the thread pointer.
    pub thread: Option<u64>,
}

/// What a run begins with that starts in the middle of a program, besides the general registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Midway {
    /// Other registers, by their names in Unicorn's register enums.
    pub registers: Vec<(String, u128)>,
    /// The functions that wait for a call to return, youngest first.
    pub waiting: Vec<WaitingAtStart>,
    /// The answers of the kernel to its system calls, in order.
    pub answers: Vec<Answer>,
}

/// What a kernel answers to a system call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the call returns.
    pub result: u64,
    /// The memory that the kernel writes: addresses and bytes.
    pub writes: Vec<(u64, Vec<u8>)>,
}

/// A function that has been waiting for a call to return since before the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAtStart {
    /// Where it will resume.
    pub resume: u64,
    /// The SP with which it will: the CFA of the function that it called.
    pub cfa: u64,
    /// The values that its callee-saved registers will have, in the order of [`Cpu::callee_saved`], as far as they are known.
    pub saved: Vec<u64>,
}

impl Program {
    /// Loads a guest of this repository, whose conventions are those of [`conventions::mimic()`], and lists it among these.
    ///
    /// # Errors
    ///
    /// As [`Guest::load`] and [`Program::new`].
    pub fn load(
        path: &Path,
        cpu: &'static Cpu,
        stacks: &[String],
        cfa_mod32: u64,
        listings: &Listings,
    ) -> Result<Self, Error> {
        let guest = Guest::load(path, cpu)?;
        let conventions = conventions::mimic(&guest);
        conventions.check(&guest)?;
        let layout = Layout::new(&guest, &conventions, stacks, cfa_mod32)?;
        let guest = Arc::new(guest);
        let listing = Listing::shared(Arc::clone(&guest), listings)?;
        Self::derive(guest, conventions, layout, listing)
    }

    /// Derives what a run needs from a loaded guest of this repository.
    ///
    /// # Errors
    ///
    /// As [`Program::new`].
    pub fn mimic(guest: Guest, stacks: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        let conventions = conventions::mimic(&guest);
        Self::new(guest, conventions, stacks, cfa_mod32)
    }

    /// Derives what a run needs from a loaded guest.
    ///
    /// # Errors
    ///
    /// As [`Conventions::check`], [`Listing::new`], [`Layout::new`] and [`Tables::new`].
    pub fn new(guest: Guest, conventions: Conventions, stacks: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        conventions.check(&guest)?;
        let layout = Layout::new(&guest, &conventions, stacks, cfa_mod32)?;
        Self::with_layout(guest, conventions, layout)
    }

    /// Makes a program of a frozen guest, of whose memory there are only these pages.
    ///
    /// # Errors
    ///
    /// As [`Program::with_layout`].
    pub fn frozen(guest: Guest, conventions: Conventions, layout: Layout, held: BTreeSet<u64>) -> Result<Self, Error> {
        let program = Self::with_layout(guest, conventions, layout)?;
        Ok(Self { poison: Poison::default(), held: Some(Arc::new(held)), ..program })
    }

    /// Derives what a run needs from a loaded guest whose stacks are placed.
    ///
    /// # Errors
    ///
    /// As [`Listing::new`] and [`Tables::new`].
    pub fn with_layout(guest: Guest, conventions: Conventions, layout: Layout) -> Result<Self, Error> {
        let guest = Arc::new(guest);
        let listing = Listing::new(Arc::clone(&guest))?;
        Self::derive(guest, conventions, layout, listing)
    }

    fn derive(guest: Arc<Guest>, conventions: Conventions, layout: Layout, listing: Listing) -> Result<Self, Error> {
        let poison = Poison::new(&listing, &layout.stacks, FlowKind::Call);
        let bounds = layout.stacks.iter().map(|stack| stack.bounds).collect();
        let tables = Tables::new(&guest, &conventions)?;
        Ok(Self {
            guest,
            conventions,
            listing,
            layout,
            poison,
            bounds,
            tables,
            start: None,
            midway: None,
            indirect: Indirect::default(),
            booted_by: Vec::new(),
            constructors: Constructors::default(),
            float_arguments: Vec::new(),
            offsets: BTreeMap::new(),
            held: None,
        })
    }

    /// The writable words that an interrupted run must leave as an undisturbed run leaves them: all but the stacks,
    /// `.scratch`, the request to reschedule and what is declared to be unsettled.
    pub fn lasting_words(&self) -> impl Iterator<Item = u64> + '_ {
        let places = [self.conventions.scratch.clone(), self.conventions.arena.clone()];
        let stacks = self.bounds.iter().map(|bounds| bounds.low..bounds.high);
        // A request to reschedule that no exit has granted stays.
        let request = self.conventions.kernel.as_ref().and_then(|kernel| kernel.symbols.need_resched);
        let request = request.map(|(word, _)| word..word + 8);
        let left_out = places.into_iter().flatten().chain(stacks).chain(request);
        let left_out: Vec<_> = left_out.chain(self.conventions.unsettled.iter().cloned()).collect();
        let segments = self.guest.segments.iter().filter(|segment| segment.writable);
        let pages = segments.flat_map(|segment| (segment.address..segment.end()).step_by(PAGE as usize));
        // A guest cannot change a page of a frozen case that the case does not hold.
        let pages = pages.filter(|page| self.held.as_ref().is_none_or(|held| held.contains(page)));
        pages.flat_map(move |page| {
            let end = page + PAGE;
            let out: Vec<_> = left_out.iter().filter(|out| out.start < end && page < out.end).cloned().collect();
            let is_out = out.iter().any(|out| out.start <= page && end <= out.end);
            let words = if is_out { page..page } else { page..end };
            words.step_by(8).filter(move |address| !out.iter().any(|range| range.contains(address)))
        })
    }
}
