//! The bounds of stacks, and how much of them a walk has used up. Nothing is read here: what lies on a stack is not
//! known.

use crate::error::Error;

/// How many stacks one walk can be offered: a bit for each says whether it was entered. Linux on arm64 offers at most six (task, IRQ,
/// overflow, two for SDEI, EFI), x86-64 eight; a process has one for each thread.
pub const MAX_STACKS: usize = u64::BITS as usize;

/// One stack: addresses `low..high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackBounds {
    /// The lowest address that belongs to the stack.
    pub low: u64,
    /// The address just above the stack: SP when it is empty.
    pub high: u64,
}

impl StackBounds {
    /// Whether `size` bytes at `address` lie wholly inside.
    #[must_use]
    #[inline]
    pub const fn contains(&self, address: u64, size: u64) -> bool {
        address >= self.low && address < self.high && size <= self.high - address
    }
}

/// What a walk may still read: the rest of the stack it is on, and the stacks that it has not entered.
///
/// Stacks are consumed one way (Linux `arch/arm64/include/asm/stacktrace/common.h`): inside a stack only addresses
/// above the last consumed object are acceptable, and a stack that was left cannot be entered again. So no walk can
/// loop, and none can read more than the stacks hold.
///
/// ```text
/// low                                           high
///  | consumed: out of reach | object | acceptable |
///                                    ^ `low` of what is left, once the object is consumed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackWindows {
    current: Option<StackBounds>,
    /// A bit for each stack that has not been entered, by its index among those of the target.
    unused: u64,
}

impl StackWindows {
    /// Nothing has been consumed. Stacks beyond [`MAX_STACKS`] are not offered.
    #[must_use]
    pub const fn new(stacks: &[StackBounds]) -> Self {
        let unused = if stacks.len() < MAX_STACKS { (1 << stacks.len()) - 1 } else { u64::MAX };
        Self { current: None, unused }
    }

    /// Whether [`StackWindows::consume`] would take these bytes. `stacks` are those of [`StackWindows::new`].
    #[must_use]
    #[inline]
    pub fn can_consume(&self, stacks: &[StackBounds], address: u64, size: u64) -> bool {
        let bytes = mutant!("object-partly-outside", size, 1);
        self.current.is_some_and(|current| current.contains(address, bytes))
            || self.entered(stacks, address, bytes).is_some()
    }

    /// Takes `size` bytes at `address`: from now on everything below their end is out of reach. `stacks` are those of
    /// [`StackWindows::new`].
    ///
    /// # Errors
    ///
    /// [`Error::OutsideStacks`] when the bytes are not wholly inside the rest of the current stack or inside a stack
    /// that has not been entered. Nothing is consumed then.
    #[inline]
    pub fn consume(&mut self, stacks: &[StackBounds], address: u64, size: u64) -> Result<(), Error> {
        let high = match self.current {
            Some(current) if current.contains(address, size) => current.high,
            _ => {
                let entered = mutant!("one-stack-alone", self.entered(stacks, address, size), None);
                let (index, stack) = entered.ok_or(Error::OutsideStacks(address))?;
                mutant!("stack-entered-again", self.unused &= !(1 << index), ());
                stack.high
            }
        };
        self.current = Some(StackBounds { low: mutant!("object-not-consumed", address + size, address), high });
        Ok(())
    }

    /// The stack that holds these bytes, if it has not been entered, and its index.
    fn entered(&self, stacks: &[StackBounds], address: u64, size: u64) -> Option<(usize, StackBounds)> {
        let mut offered = stacks.iter().copied().take(MAX_STACKS).enumerate();
        offered.find(|(index, stack)| self.unused >> index & 1 == 1 && stack.contains(address, size))
    }
}

/// The stack that a walk is on, and those that it has entered. Linux on x86-64 has this (`get_stack_info` and its
/// `visit_mask`, `arch/x86/kernel/dumpstack_64.c`). A walk by ORC has it in place of [`StackWindows`]: all of the present
/// stack may be read, in any order, and a stack that was left cannot be entered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackVisits {
    current: Option<usize>,
    /// A bit for each stack, by its index among those of the target.
    visited: u64,
}

impl StackVisits {
    /// The index of the present stack.
    pub(crate) const fn current(&self) -> Option<usize> {
        self.current
    }

    /// Moves to the stack that holds this address. If there is none, or it was entered before, the walk is on no stack.
    pub(crate) fn enter(&mut self, stacks: &[StackBounds], address: u64) -> bool {
        let found = stacks.iter().take(u64::BITS as usize).position(|stack| stack.contains(address, 1));
        self.current = found.filter(|index| mutant!("visited-stack-entered", self.visited >> index & 1 == 0, true));
        if let Some(index) = self.current {
            self.visited |= 1 << index;
        }
        self.current.is_some()
    }

    /// Whether these bytes lie wholly on the present stack, or on another, which is entered for them.
    pub(crate) fn access(&mut self, stacks: &[StackBounds], address: u64, size: u64) -> bool {
        mutant!(
            "access-unchecked",
            self.holds(stacks, address, size) || (self.enter(stacks, address) && self.holds(stacks, address, size)),
            true
        )
    }

    /// Whether the word at this address is on the present stack.
    pub(crate) fn is_on_current(&self, stacks: &[StackBounds], address: u64) -> bool {
        self.holds(stacks, address, 8)
    }

    /// Moves to the stack that holds these bytes, from one to the next as they were entered: the loop of
    /// `update_stack_state` (`arch/x86/kernel/unwind_frame.c`). The first stack is the one with this address. Stacks in
    /// between, where no frame is, count as visited.
    pub(crate) fn follow(
        &mut self,
        stacks: &[StackBounds],
        entered_from: impl Fn(&StackBounds) -> Option<u64>,
        address: u64,
        size: u64,
    ) -> bool {
        if self.visited == 0 {
            self.enter(stacks, address);
        }
        while !self.holds(stacks, address, size) {
            let current = self.current.and_then(|index| stacks.get(index));
            if !mutant!("stack-entered-from-anywhere", current.and_then(&entered_from), Some(address))
                .is_some_and(|sp| self.enter(stacks, sp))
            {
                return false;
            }
        }
        true
    }

    fn holds(&self, stacks: &[StackBounds], address: u64, size: u64) -> bool {
        self.current.and_then(|index| stacks.get(index)).is_some_and(|stack| stack.contains(address, size))
    }
}

#[cfg(test)]
mod tests {
    use super::{StackBounds, StackWindows};
    use crate::error::Error;

    const TASK: StackBounds = StackBounds { low: 0x1000, high: 0x2000 };
    const IRQ: StackBounds = StackBounds { low: 0x4000, high: 0x5000 };

    #[test]
    fn a_stack_is_consumed_upwards() {
        let mut windows = StackWindows::new(&[TASK]);
        let stacks = &[TASK];
        assert_eq!(windows.consume(stacks, 0x1100, 16), Ok(()));
        assert_eq!(windows.consume(stacks, 0x1100, 16), Err(Error::OutsideStacks(0x1100)), "the same record twice");
        assert_eq!(windows.consume(stacks, 0x1108, 16), Err(Error::OutsideStacks(0x1108)), "overlaps the last record");
        assert_eq!(windows.consume(stacks, 0x1110, 16), Ok(()), "the next one may follow at once");
    }

    #[test]
    fn a_stack_that_was_left_is_gone() {
        let mut windows = StackWindows::new(&[TASK, IRQ]);
        let stacks = &[TASK, IRQ];
        assert_eq!(windows.consume(stacks, 0x4800, 16), Ok(()));
        assert_eq!(windows.consume(stacks, 0x1800, 16), Ok(()), "the order of the addresses does not matter");
        assert_eq!(windows.consume(stacks, 0x4900, 16), Err(Error::OutsideStacks(0x4900)));
    }

    #[test]
    fn an_object_must_lie_wholly_inside() {
        let mut windows = StackWindows::new(&[TASK]);
        let stacks = &[TASK];
        assert_eq!(windows.consume(stacks, 0x1ff8, 16), Err(Error::OutsideStacks(0x1ff8)));
        assert_eq!(windows.consume(stacks, 0x0ff8, 16), Err(Error::OutsideStacks(0x0ff8)));
        assert_eq!(windows.consume(stacks, u64::MAX - 7, 16), Err(Error::OutsideStacks(u64::MAX - 7)));
        assert!(!windows.can_consume(stacks, 0x1ff8, 16) && windows.can_consume(stacks, 0x1ff0, 16));
        assert_eq!(windows.consume(stacks, 0x1ff0, 16), Ok(()));
        assert_eq!(windows.consume(stacks, 0x2000, 16), Err(Error::OutsideStacks(0x2000)));
    }
    #[test]
    fn no_stack_is_lost_among_many() {
        let stacks: [StackBounds; 70] = core::array::from_fn(|index| {
            let low = 0x1_0000 * (index as u64 + 1);
            StackBounds { low, high: low + 0x1000 }
        });
        let mut windows = StackWindows::new(&stacks);
        assert_eq!(windows.consume(&stacks, stacks[63].low, 16), Ok(()));
        assert_eq!(windows.consume(&stacks, stacks[8].low, 16), Ok(()));
        assert_eq!(windows.consume(&stacks, stacks[63].low + 16, 16), Err(Error::OutsideStacks(stacks[63].low + 16)));
        assert!(!windows.can_consume(&stacks, stacks[64].low, 16), "more are not offered");
    }
}
