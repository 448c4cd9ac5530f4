//! Where the stacks of a run are placed, and the poison that fills them.

use kunwind::StackBounds;

use super::conventions::{Conventions, StackRole};
use super::{Guest, Listing};
use crate::Error;
use crate::cpu::FlowKind;

/// A placed stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its name in scenarios.
    pub name: String,
    /// Its bounds.
    pub bounds: StackBounds,
    /// Whose it is.
    pub role: StackRole,
}

/// The placement of all stacks of a guest.
#[derive(Debug, Clone)]
pub struct Layout {
    /// By address, low to high.
    pub stacks: Vec<Stack>,
    /// SP at the entry.
    pub sp: u64,
    /// Words that the guest reads: (address, value).
    pub words: Vec<(u64, u64)>,
    /// Whether the pages between the stacks are guard pages.
    pub has_guards: bool,
}

impl Layout {
    /// Lays out the stacks that a guest declares: in this order (low to high), or by name if it is empty.
    ///
    /// Each stack is aligned to twice its size, as in kernels with VMAP_STACK, so that one bit of SP shows an overflow. The
    /// gaps between stacks belong to none of them.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when `order` is not a permutation of the declared stacks, [`Error::Elf`] when a declared size is not
    /// a power of two or the arena is too small, [`Error::MissingSymbol`] without a task stack or an arena.
    pub fn new(guest: &Guest, conventions: &Conventions, order: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        let reject = |reason: String| Error::Elf { path: guest.path.clone(), reason };
        let declared = &conventions.stacks;
        let names: Vec<&str> = if order.is_empty() {
            declared.iter().map(|stack| stack.name.as_str()).collect()
        } else {
            order.iter().map(String::as_str).collect()
        };
        let mut sorted = names.clone();
        sorted.sort_unstable();
        if !sorted.iter().eq(declared.iter().map(|stack| &stack.name)) {
            let known: Vec<_> = declared.iter().map(|stack| &stack.name).collect();
            return Err(Error::Usage(format!("stacks = {names:?}, but guest {} declares {known:?}", guest.name)));
        }
        let arena = conventions.arena.clone().ok_or_else(|| {
            guest.missing("__stack_arena_low", "guests/guest.ld defines the arena in which stacks are placed")
        })?;
        let mut next = arena.start;
        let mut stacks = Vec::new();
        let mut words = Vec::new();
        for name in names {
            let Some(stack) = declared.iter().find(|stack| stack.name == name) else { continue };
            let size = stack.size;
            if !size.is_power_of_two() || !(0x400..=1 << 20).contains(&size) {
                return Err(reject(format!(
                    "stack {name} has size {size:#x}, not a power of two from 0x400 to 0x100000"
                )));
            }
            let low = next.next_multiple_of(2 * size);
            let bounds = StackBounds { low, high: low + size };
            if bounds.high > arena.end {
                return Err(reject(format!("the arena is too small for stack {name}: grow .stacks in guest.ld")));
            }
            words.extend([(stack.low_word, bounds.low), (stack.high_word, bounds.high)]);
            stacks.push(Stack { name: name.to_owned(), bounds, role: stack.role });
            next = bounds.high + 1; // never adjacent: the next one starts at a multiple of twice its size
        }
        let first = stacks.iter().find(|stack| stack.role == StackRole::First).map(|stack| stack.bounds.high);
        let sp = first.ok_or_else(|| {
            guest.missing("__stack_task_low", "a guest starts on its task stack; declare one with STACK")
        })?;
        Ok(Self { stacks, sp: sp - cfa_mod32, words, has_guards: true })
    }

    /// The stacks of a guest that has placed them itself, among its data. The run starts with this SP.
    #[must_use]
    pub fn fixed(mut stacks: Vec<Stack>, sp: u64) -> Self {
        stacks.sort_by_key(|stack| stack.bounds.low);
        Self { stacks, sp, words: Vec::new(), has_guards: false }
    }

    /// An address as its distance from the top of its stack: the same wherever the stack is placed. Just the number for an address
    /// on no stack.
    #[must_use]
    pub fn place(&self, address: u64) -> String {
        match self.stack_of(address).map(|index| &self.stacks[index]) {
            Some(stack) => format!("{} stack top-{:#x}", stack.name, stack.bounds.high - address),
            None => format!("{address:#x}"),
        }
    }

    /// An address with its distance from the top of its stack, which says more than the number alone; just the number for an
    /// address on no stack.
    #[must_use]
    pub fn name(&self, address: u64) -> String {
        match self.stack_of(address) {
            Some(_) => format!("{address:#x} ({})", self.place(address)),
            None => format!("{address:#x}"),
        }
    }

    /// The index of the stack that SP points into. An empty stack's SP is its high end.
    #[must_use]
    pub fn stack_of(&self, sp: u64) -> Option<usize> {
        self.stacks.iter().position(|stack| stack.bounds.low <= sp && sp <= stack.bounds.high)
    }
}

/// Plausible but wrong values for memory that was never written: an unwinder that reads a slot too early must not be right
/// by luck.
#[derive(Debug, Default)]
pub struct Poison {
    /// Text addresses that do not follow a call, so no call can leave one as its return address. (The oracle voids a run in
    /// which one does.)
    text: Vec<u64>,
    stacks: Vec<StackBounds>,
}

impl Poison {
    /// Collects the candidates of a guest, whose calls are the ISA's, and also transfers of this kind.
    #[must_use]
    pub fn new(listing: &Listing, stacks: &[Stack], calls: FlowKind) -> Self {
        /// Enough variety; a large image has many more candidates.
        const MAX_TEXT: usize = 1 << 14;
        let mut text = Vec::new();
        let mut after_call = false;
        for (address, kind) in listing.kinds() {
            if text.len() == MAX_TEXT {
                break;
            }
            if !after_call {
                text.push(address);
            }
            after_call = kind == FlowKind::Call || kind == calls;
        }
        Self { text, stacks: stacks.iter().map(|stack| stack.bounds).collect() }
    }

    /// Whether poison may hold this text address.
    #[must_use]
    pub fn may_be(&self, address: u64) -> bool {
        self.text.binary_search(&address).is_ok()
    }

    /// The poison for the word at this address; always the same.
    #[must_use]
    pub fn word(&self, address: u64) -> u64 {
        let random = scramble(address);
        let choice = random >> 32;
        match random & 7 {
            0 => 0,
            1 => 1,
            2 => 2,
            3..=5 if !self.text.is_empty() => self.text[(choice as usize) % self.text.len()],
            _ => {
                // A stack address, aligned like a frame record; half of them lie a little above, as in a real chain.
                let stack = self.stacks.iter().find(|stack| stack.contains(address, 8)).or(self.stacks.first());
                let Some(stack) = stack else { return 2 };
                let size = stack.high - stack.low;
                let near = address + 16 + (choice & 0xf) * 16;
                let target = if choice & 0x10 == 0 && near < stack.high { near } else { stack.low + choice % size };
                target & !15
            }
        }
    }
}

/// The initial value of a register: odd, so it is no aligned pointer, and in no mapped page.
#[must_use]
pub fn planted(register: u8) -> u64 {
    (scramble(0x5eed + u64::from(register)) >> 8) | 0x0051_0000_0000_0001
}

/// SplitMix64 (Steele, Lea, Flood 2014): a fixed, well-mixed function of its argument.
const fn scramble(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
