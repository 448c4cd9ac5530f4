//! Where the return addresses are: for an activation, the places that hold the address at which it will resume.
//!
//! A return hook (function graph tracer, kretprobes, rethooks) replaces a return address by a trampoline's. The tracer's code is
//! not asked what it replaced and where it keeps the original. The truth knows the address, so the machine is searched for it:
//!
//! ```text
//!            high addresses
//!          +--------------------------+ <- CFA of the activation's callee
//!          | slot of the call (x86)   |    its frame: `in_frame`
//!          | record {fp, RA} (others) |
//!          | other live words         |    `stack`, or `record` where a chain of records passes
//!          | pt_regs {.., pc, ..}     |    `pt_regs`: the pc to which an exception will return
//!    SP -> +--------------------------+
//!          | below SP                 |    `stale`: anything may overwrite it
//!          +--------------------------+
//!    the task's ret_stack, below its index: `ret_stack`; above it: `stale`
//!    the task's rethook nodes {next, address}: `node`; registers: `callee_saved`, `register`
//! ```

use std::fmt;

use super::activation::{Activation, Truth};
use crate::cpu::{Cpu, Linkage, Register};
use crate::guest::Layout;
use crate::trace::Memory;

/// How far below SP to look for a stale copy, in bytes.
const BELOW_SP: u64 = 1024;
/// No list of nodes in a guest is longer.
const MAX_NODES: usize = 64;
/// The words of a ret_stack: 4096 bytes (guests/KERNEL.md).
const RET_STACK_WORDS: u64 = 512;

/// The stack words that have been written since SP was last above them. All others are leftovers of earlier calls.
#[derive(Debug)]
pub struct LiveWords {
    /// For each stack, its lowest address, and whether each of its words has been written.
    stacks: Vec<(u64, Vec<bool>)>,
    sp: u64,
}

impl LiveWords {
    /// Nothing has been written.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let bounds = layout.stacks.iter().map(|stack| stack.bounds);
        let stacks = bounds.map(|bounds| (bounds.low, vec![false; ((bounds.high - bounds.low) / 8) as usize]));
        Self { stacks: stacks.collect(), sp: 0 }
    }

    /// The guest has written `size` bytes at this address.
    pub fn store(&mut self, address: u64, size: usize) {
        for at in (address & !7..address.saturating_add(size as u64)).step_by(8) {
            if let Some(written) = self.word(at) {
                *written = true;
            }
        }
    }

    /// SP is now here. The words that it passed on its way up are dead; so are all words below it on a stack to which it
    /// switched.
    pub fn follow(&mut self, sp: u64, layout: &Layout) {
        if sp == self.sp {
            return;
        }
        let (stack, before) = (layout.stack_of(sp), layout.stack_of(self.sp));
        let from = if stack == before { self.sp } else { stack.map_or(sp, |stack| layout.stacks[stack].bounds.low) };
        self.sp = sp;
        for (low, written) in &mut self.stacks {
            let words = |bytes: u64| (bytes.div_ceil(8) as usize).min(written.len());
            let (start, end) = (words((from & !7).saturating_sub(*low)), words(sp.saturating_sub(*low)));
            written[start..end.max(start)].fill(false);
        }
    }

    fn word(&mut self, at: u64) -> Option<&mut bool> {
        let (low, written) = self.stacks.iter_mut().rev().find(|(low, _)| *low <= at)?;
        written.get_mut(usize::try_from((at - *low) / 8).ok()?)
    }

    fn is_live(&self, at: u64) -> bool {
        let of_stack = self.stacks.iter().rev().find(|(low, _)| *low <= at);
        of_stack.and_then(|(low, written)| written.get(((at - low) / 8) as usize)).copied().unwrap_or(false)
    }
}

/// What can be seen of the machine at a point.
pub struct MachineView<'a> {
    /// The CPU.
    pub cpu: &'static Cpu,
    /// Where the stacks are.
    pub layout: &'a Layout,
    /// Memory.
    pub memory: &'a dyn Memory,
    /// Which stack words are live.
    pub live: &'a LiveWords,
    /// The registers, as far as they are known.
    pub register: &'a dyn Fn(Register) -> Option<u64>,
    /// The offset from the interrupted SP to the saved pc in pt_regs, where handlers may change it.
    pub saved_pc: Option<i64>,
    /// The frame pointer's register.
    pub fp: Register,
    /// The offset from the frame pointer to its record.
    pub record: i64,
    /// The address of the first word of the task's ret_stack, and the index of the first free one.
    pub ret_stack: Option<(u64, u64)>,
    /// The word with the task's first rethook node.
    pub rethooks: Option<u64>,
    /// Whether control will never return to this activation: a trampoline's call that only makes room for an address, or a
    /// breakpoint.
    pub is_gone: &'a dyn Fn(&Activation) -> bool,
}

impl fmt::Debug for MachineView<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MachineView").field("ret_stack", &self.ret_stack).finish_non_exhaustive()
    }
}

/// Where a displaced return address is: one that is not where a call or a prologue leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressPlaces {
    /// The activation to which it belongs: its index in the truth, 0 for the youngest.
    pub index: usize,
    /// On the ret_stack, below its index.
    pub ret_stack: bool,
    /// In a node of the task's list.
    pub node: bool,
    /// In a frame record of the chain, but outside the frame to which the address belongs.
    pub record: bool,
    /// In a callee-saved register, as data.
    pub callee_saved: Option<Register>,
    /// In another register.
    pub register: Option<Register>,
    /// In the pt_regs of an exception, as the pc to which it will return.
    pub pt_regs: bool,
    /// In a live stack word that is not part of a record.
    pub stack: bool,
    /// In memory that anything may overwrite: below SP, or above the index of the ret_stack.
    pub stale: bool,
}

impl AddressPlaces {
    /// Whether only places are left that no unwinder's rule may trust.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        !(self.ret_stack || self.node || self.record || self.pt_regs)
    }

    /// The places, for a listing.
    #[must_use]
    pub fn describe(&self, cpu: &Cpu) -> String {
        let name = |register: &Register| cpu.abi.register_name(*register).to_owned();
        let mut places: Vec<String> = Vec::new();
        let trusted =
            [(self.ret_stack, "ret_stack"), (self.node, "node"), (self.record, "record"), (self.pt_regs, "pt_regs")];
        places.extend(trusted.iter().filter(|(is, _)| *is).map(|(_, place)| (*place).to_owned()));
        places.extend(self.callee_saved.as_ref().map(name));
        places.extend(self.register.as_ref().map(name));
        places.extend(self.stack.then(|| "stack".to_owned()));
        places.extend(self.stale.then(|| "stale".to_owned()));
        match (self.is_lost(), places.is_empty()) {
            (true, true) => "lost".to_owned(),
            (true, false) => format!("lost:{}", places.join("+")),
            (false, _) => places.join("+"),
        }
    }
}

/// The registers of the running code, or those that an exception interrupted, which are in pt_regs.
struct State {
    fp: Option<u64>,
    links: Vec<u64>,
    /// The youngest activation whose return address they may hold: its index in the truth.
    since: usize,
}

impl State {
    fn interrupted(view: &MachineView<'_>, by: &Activation, index: usize) -> Self {
        let fp = view.cpu.callee_saved.iter().position(|register| *register == view.fp);
        let links = by.links[..view.cpu.links().len()].to_vec();
        Self { fp: fp.map(|fp| by.saved[fp]), links, since: index + 1 }
    }
}

/// Finds the youngest return address that is neither in its frame nor in a link register, and the places that hold it; `None`
/// if there is none.
#[must_use]
pub fn displaced(truth: &Truth, view: &MachineView<'_>) -> Option<AddressPlaces> {
    let in_kernel = truth.of_kernel();
    let activations: Vec<&Activation> = in_kernel.activations().collect();
    let sp = (view.register)(view.cpu.sp)?;
    let mut below = sp;
    let mut state = State {
        fp: (view.register)(view.fp),
        links: view.cpu.links().iter().filter_map(|link| (view.register)(*link)).collect(),
        since: 0,
    };
    for (index, activation) in activations.iter().enumerate() {
        // An exception's resume address is in pt_regs, not in a frame; so are the link registers that it interrupted.
        if activation.cause != super::Cause::Call {
            below = activation.cfa;
            // Control never returns to a breakpoint whose handler has changed the pc, so its registers do not count.
            if !(view.is_gone)(activation) {
                state = State::interrupted(view, activation, index);
            }
            continue;
        }
        let address = activation.resume;
        let is_oldest = index + 1 == activations.len();
        let in_frame = in_frame(view, below, activation.cfa, address, is_oldest);
        let is_youngest = !activations[state.since..index].iter().any(|younger| younger.resume == address);
        let in_link = is_youngest && state.links.contains(&address);
        if !in_frame && !in_link && !(view.is_gone)(activation) {
            let pt_regs = activations[..index].iter().any(|by| in_pt_regs(view, by, address));
            let found = look(view, address, &state, activation.cfa);
            return Some(AddressPlaces { index, pt_regs, stack: found.stack && !pt_regs, ..found });
        }
        below = activation.cfa;
    }
    None
}

/// Whether the frame between these addresses holds the return address where a call or a prologue leaves it: in the word that the
/// call pushed, or in a frame record, with a frame pointer in the word below (0 in the oldest record). Anywhere else it is data.
fn in_frame(view: &MachineView<'_>, low: u64, cfa: u64, address: u64, is_oldest: bool) -> bool {
    // The word first: few hold the address.
    let is_there = |at: u64| view.memory.read_u64(at) == Some(address) && view.live.is_live(at);
    match view.cpu.linkage {
        Linkage::Push => is_there(cfa.wrapping_sub(8)),
        Linkage::Register(_) => words_of(view, low, cfa).any(|at| {
            let fp = || view.memory.read_u64(at.wrapping_sub(8));
            is_there(at)
                && view.live.is_live(at.wrapping_sub(8))
                && fp().is_some_and(|fp| view.layout.stack_of(fp).is_some() || (is_oldest && fp == 0))
        }),
    }
}

/// Whether this is an exception whose handler has changed the pc in pt_regs to this address.
fn in_pt_regs(view: &MachineView<'_>, by: &Activation, address: u64) -> bool {
    let at = view.saved_pc.filter(|_| by.cause == super::Cause::Exception);
    let at = at.map(|saved_pc| by.cfa.wrapping_add_signed(saved_pc));
    at.is_some_and(|at| view.live.is_live(at) && view.memory.read_u64(at) == Some(address))
}

/// Whether one of the live words from `low` to `high` holds the address.
fn in_words(view: &MachineView<'_>, low: u64, high: u64, address: u64) -> bool {
    words_of(view, low, high).any(|at| view.memory.read_u64(at) == Some(address) && view.live.is_live(at))
}

/// The words from `low` to `high`, where both are on one stack.
fn words_of(view: &MachineView<'_>, low: u64, high: u64) -> impl Iterator<Item = u64> {
    /// More than what the code that switches stacks leaves on the older one.
    const AT_SWITCH: u64 = 64;
    let stack = view.layout.stack_of(high.wrapping_sub(1));
    // A frame that spans two stacks has its words on the older one; the words below them there belong to other frames.
    let low = if stack.is_some() && stack == view.layout.stack_of(low) { low } else { high.saturating_sub(AT_SWITCH) };
    (low & !7..high).step_by(8)
}

/// Looks for the address in every place.
fn look(view: &MachineView<'_>, address: u64, state: &State, cfa: u64) -> AddressPlaces {
    let mut found = AddressPlaces::default();
    let sp = (view.register)(view.cpu.sp).unwrap_or(cfa);
    let read = |at: u64| view.memory.read_u64(at);
    if let Some((words, index)) = view.ret_stack {
        let index = index.min(RET_STACK_WORDS);
        let holds = |mut range: std::ops::Range<u64>| range.any(|word| read(words + word * 8) == Some(address));
        found.ret_stack = holds(0..index);
        found.stale |= holds(index..RET_STACK_WORDS);
    }
    let mut node = view.rethooks.and_then(read).unwrap_or(0);
    for _ in 0..MAX_NODES {
        if node == 0 {
            break;
        }
        found.node |= read(node + 8) == Some(address);
        node = read(node).unwrap_or(0);
    }
    found.record = in_chain(view, address, state, cfa);
    let general = (0..view.cpu.registers).map(Register);
    for register in general.filter(|register| (view.register)(*register) == Some(address)) {
        if view.cpu.callee_saved.contains(&register) {
            found.callee_saved.get_or_insert(register);
        } else {
            found.register.get_or_insert(register);
        }
    }
    // Code that was interrupted on another stack has its pt_regs there, and what was pushed after them.
    let others = view.layout.stack_of(cfa.wrapping_sub(1)).filter(|stack| view.layout.stack_of(sp) != Some(*stack));
    let low = others.filter(|_| state.since > 0).map_or(sp, |stack| view.layout.stacks[stack].bounds.low);
    found.stack = !found.record && in_words(view, low, cfa, address);
    // Below SP, and in stack words that their frames have not written.
    let mut all = (sp.saturating_sub(BELOW_SP) & !7..cfa.max(sp)).step_by(8);
    found.stale |= all.any(|at| read(at) == Some(address) && (at < sp || !view.live.is_live(at)));
    found
}

/// Whether a frame record of the chain holds the address below its CFA.
fn in_chain(view: &MachineView<'_>, address: u64, state: &State, cfa: u64) -> bool {
    /// A longer chain has been overwritten.
    const MAX_RECORDS: usize = 64;
    let Some(mut fp) = state.fp else { return false };
    for _ in 0..MAX_RECORDS {
        let at = fp.wrapping_add_signed(view.record);
        let (Some(next), Some(return_address)) = (view.memory.read_u64(at), view.memory.read_u64(at.wrapping_add(8)))
        else {
            return false;
        };
        if return_address == address && at < cfa && view.live.is_live(at.wrapping_add(8)) {
            return true;
        }
        if next <= fp {
            return false;
        }
        fp = next;
    }
    false
}
