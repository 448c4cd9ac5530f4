//! The witness of stores: when a callee-saved register came back changed, the guest runs once more, and this witness finds the
//! store that did it. It knows the register's value at the call, so it needs no unwind data to see where that value is saved:
//! a word is a slot if it was stored while the register held the value, and has the value then.
//!
//! ```text
//!            +-----------------------+ <- CFA of the function that must preserve the register
//!            | slot: [cfa-0x38]      |    the first store that makes it another value, while it is still
//!            |                       |    needed, is the evidence
//!      SP -> +-----------------------+
//!            | a slot may be here    |    below SP anything may overwrite it
//! ```

use rustc_hash::FxHashMap;

use super::{Activation, Oracle, Place};
use crate::cpu::Register;
use crate::trace::{Point, Previous, RegisterSet};

/// A callee-saved register that came back changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clobbered {
    /// The number of the transfer that was the call.
    pub call: u64,
    /// The register's index in [`crate::cpu::Cpu::callee_saved`].
    pub index: usize,
}

/// Looks for the store.
#[derive(Debug)]
pub(super) struct StoreWitness {
    clobbered: Clobbered,
    register: RegisterSet,
    /// Stores since the point before: address, size.
    stores: Vec<(u64, usize)>,
    /// From the call on.
    call: Option<Call>,
}

/// The call during which the register changes.
#[derive(Debug)]
struct Call {
    /// The register's value at the call, now, and when the called function ran last: what others change, they restore.
    then: u64,
    now: u64,
    own: u64,
    /// The CFA of the called function, how many activations there are while it runs, and the task.
    cfa: u64,
    depth: usize,
    task: u64,
    /// How the register got the value that it has now.
    latest: Change,
    /// How it got the one that the called function has in it, and how that was first no longer the value at the call.
    changed: Change,
    left: Change,
    /// By address.
    slots: FxHashMap<u64, Slot>,
    /// How many slots there have been.
    count: usize,
}

/// A change of the register.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    /// The instruction.
    by: Option<u64>,
    /// A slot that had been stored over and held the new value: the instruction restored it from there.
    from: Option<(u64, Slot)>,
}

/// A word that holds, or held, the value.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Its number among the slots.
    number: usize,
    /// The instruction that saved the register there, and how many activations there were.
    saved_by: u64,
    depth: usize,
    /// The first store that made it another value.
    lost: Option<Lost>,
}

/// A store over a slot.
#[derive(Debug, Clone, Copy)]
struct Lost {
    /// The instruction; that before which the hardware stored, when it took an exception.
    by: u64,
    by_hardware: bool,
    /// Where the function that had saved the register was waiting; `None` if it was running itself.
    waited_at: Option<Place>,
}

impl StoreWitness {
    pub(super) fn new(clobbered: Clobbered, register: RegisterSet) -> Self {
        Self { clobbered, register, stores: Vec::new(), call: None }
    }
}

impl Oracle<'_> {
    /// Whether it must be told of each store.
    #[must_use]
    pub const fn wants_stores(&self) -> bool {
        self.stores.is_some()
    }

    /// The guest is about to write `size` bytes at this address, or the hardware has done so.
    pub fn stored(&mut self, address: u64, size: usize) {
        if let Some(witness) = &mut self.stores
            && witness.call.is_some()
        {
            witness.stores.push((address, size));
        }
    }

    /// A call was made: the one that the witness waits for, perhaps.
    pub(super) fn watch_call(&mut self, number: u64) {
        let task = self.strand();
        let Some(witness) = self.stores.as_mut().filter(|witness| witness.clobbered.call == number) else { return };
        let Some(activation) = &self.truth.youngest else { return };
        let then = activation.saved[witness.clobbered.index];
        let (cfa, depth) = (activation.cfa, activation.depth);
        let slots = FxHashMap::default();
        witness.call = Some(Call {
            then,
            now: then,
            own: then,
            cfa,
            depth,
            task,
            latest: Change::default(),
            changed: Change::default(),
            left: Change::default(),
            slots,
            count: 0,
        });
    }

    /// Follows the machine over the instruction before this point.
    pub(super) fn watch_stores(&mut self, at: &Point<'_>) {
        let task = self.strand();
        let Some(witness) = &mut self.stores else { return };
        let stores = std::mem::take(&mut witness.stores);
        let Some(call) = &mut witness.call else { return };
        let (by, by_hardware) = match at.previous {
            Some(Previous::Retired { pc, .. }) => (pc, false),
            Some(Previous::Delivered { pc, .. }) => (pc, true),
            None => return,
        };
        let depth = self.truth.depth();
        for word in stores.into_iter().flat_map(words) {
            let holds = at.memory.read_u64(word) == Some(call.then);
            if holds && call.now == call.then && task == call.task {
                call.slots.insert(word, Slot { number: call.count, saved_by: by, depth, lost: None });
                call.count += 1;
                continue;
            }
            match call.slots.get_mut(&word) {
                Some(slot) if holds => slot.lost = None,
                Some(slot) => {
                    let waits = self.truth.activations().find(|waits| waits.depth == slot.depth + 1);
                    let waited_at = waits.map(Activation::place);
                    slot.lost.get_or_insert(Lost { by, by_hardware, waited_at });
                }
                None => {}
            }
        }
        if task == call.task {
            let mut now = [0];
            at.read_values(&witness.register, &mut now);
            if now[0] != call.now {
                call.now = now[0];
                // The function's own slot counts before those of functions that it called.
                let gave_it =
                    |(word, slot): &(&u64, &Slot)| slot.lost.is_some() && at.memory.read_u64(**word) == Some(now[0]);
                let slot = call.slots.iter().filter(gave_it).min_by_key(|(_, slot)| (slot.depth, slot.number));
                call.latest = Change { by: Some(by), from: slot.map(|(word, slot)| (*word, *slot)) };
            }
            if depth == call.depth && call.now != call.own {
                call.left = if call.own == call.then { call.latest } else { call.left };
                call.changed = call.latest;
                call.own = call.now;
            }
        }
    }

    /// What the witness has seen of a register that has changed, if this is the call that it watched.
    pub(super) fn evidence(&self, activation: &Activation, index: usize) -> Option<String> {
        let witness = self.stores.as_ref().filter(|witness| witness.clobbered.index == index)?;
        let call = witness.call.as_ref().filter(|call| (call.cfa, call.depth) == (activation.cfa, activation.depth))?;
        let register = self.guest.cpu.callee_saved[index];
        if let Some((at, Slot { lost: Some(lost), saved_by, .. })) = call.changed.from {
            return Some(self.describe_loss(register, at, saved_by, lost, call.cfa));
        }
        let symbols = &self.guest.symbols;
        // What was nowhere saved was lost when the register was first changed; else something else was restored.
        let changed = if call.slots.is_empty() { call.left } else { call.changed };
        let changed = changed.by.map_or("an instruction that was not seen".to_owned(), |pc| symbols.name(pc));
        let own =
            call.slots.iter().filter(|(_, slot)| slot.lost.is_none()).min_by_key(|(_, slot)| (slot.depth, slot.number));
        let saved = match own {
            Some((at, slot)) => format!(
                "nothing was stored over {}, where {} had saved it",
                self.slot(*at, call.cfa),
                symbols.name(slot.saved_by)
            ),
            None if call.slots.is_empty() => "no store to a slot that held it was seen".to_owned(),
            None => "no store over a slot that held it gave it this value".to_owned(),
        };
        Some(format!("{saved}: the register itself was changed at {changed}"))
    }

    fn describe_loss(&self, register: Register, at: u64, saved_by: u64, lost: Lost, cfa: u64) -> String {
        let symbols = &self.guest.symbols;
        let name = self.guest.cpu.abi.register_name(register);
        let by = symbols.name(lost.by);
        let by = if lost.by_hardware { format!("the exception that was taken at {by}") } else { by };
        let slot = self.slot(at, cfa);
        let while_waiting = match lost.waited_at {
            Some(place) => format!("while {} waited", place.name(symbols)),
            None => "in the function itself".to_owned(),
        };
        format!("{by} stored over {slot}, where {} had saved {name}, {while_waiting}", symbols.name(saved_by))
    }

    /// A slot, by its distance from the CFA if it lies on the same stack.
    fn slot(&self, at: u64, cfa: u64) -> String {
        let stack = self.layout.stack_of(cfa.wrapping_sub(1));
        match stack.is_some() && self.layout.stack_of(at) == stack {
            true if at < cfa => format!("[cfa-{:#x}]", cfa - at),
            true => format!("[cfa+{:#x}]", at - cfa),
            false if self.layout.stack_of(at).is_some() => format!("the word at {}", self.layout.place(at)),
            false => self.guest.symbols.name_of_data(at),
        }
    }
}

/// The words that a store touches.
fn words((address, size): (u64, usize)) -> impl Iterator<Item = u64> {
    (address & !7..address.saturating_add(size as u64)).step_by(8)
}
